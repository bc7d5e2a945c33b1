//! Tables of plain text, which are Markdown too.

/// A table being filled.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let head = columns.iter().map(ToString::to_string).collect();
        Self { title: title.to_owned(), rows: vec![head] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// Prints it.
    pub fn print(&self) {
        println!("\n### {}\n", self.title);
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let lengths = self.rows.iter().map(|row| row[column].chars().count());
            lengths.max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (at, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            println!("| {} |", cells.join(" | "));
            if at == 0 {
                let line: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                println!("| {} |", line.join(" | "));
            }
        }
    }
}

/// A target with what was measured against it: `bound` is the least (or the most) that will do.
pub struct Target {
    text: String,
    met: bool,
}

impl Target {
    /// At least so much.
    pub fn least(measured: f64, bound: f64, text: &str) -> Self {
        Self { text: text.to_owned(), met: measured >= bound }
    }

    /// At most so much.
    pub fn most(measured: f64, bound: f64, text: &str) -> Self {
        Self { text: text.to_owned(), met: measured <= bound }
    }

    /// As it stands in a table.
    pub fn cell(&self) -> String {
        format!("{} {}", self.text, if self.met { "✓" } else { "MISS" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_bound_and_missed_beyond() {
        assert_eq!(Target::least(12.0, 12.0, "12 ×").cell(), "12 × ✓");
        assert_eq!(Target::least(11.9, 12.0, "12 ×").cell(), "12 × MISS");
        assert_eq!(Target::most(1.0, 1.0, "1 s").cell(), "1 s ✓");
        assert_eq!(Target::most(1.1, 1.0, "1 s").cell(), "1 s MISS");
        assert_eq!(Target::most(f64::NAN, 1.0, "1 s").cell(), "1 s MISS");
    }

    #[test]
    #[should_panic(expected = "a row has a cell for each column")]
    fn a_row_of_another_width_is_a_mistake() {
        Table::new("t", &["a", "b"]).row(vec!["1".to_owned()]);
    }
}

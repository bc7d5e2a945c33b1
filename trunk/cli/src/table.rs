//! Tables: aligned columns for people, tabs for programs.

use crate::look::{Look, Tone, clean_line};

/// Rows under a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it may hold text from elsewhere.
    pub(crate) fn row(&mut self, cells: &[&str]) {
        assert_eq!(cells.len(), self.head.len(), "a row has a cell per column");
        self.rows.push(cells.iter().map(|cell| clean_line(cell)).collect());
    }

    /// The text, with a line break at the end of each row.
    pub(crate) fn text(&self, look: &Look) -> String {
        if look.plain {
            return self.rows.iter().map(|row| row.join("\t") + "\n").collect();
        }
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| row[at].chars().count());
            cells.chain([self.head[at].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let head = line(&self.head, &widths).to_uppercase();
        let mut out = look.paint(Tone::Faint, head) + "\n";
        for row in &self.rows {
            out += &(line(row, &widths) + "\n");
        }
        out
    }
}

fn line(cells: &[impl AsRef<str>], widths: &[usize]) -> String {
    let mut out = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = cell.as_ref();
        out += cell;
        out.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn table() -> Table {
        let mut table = Table::new(&["name", "kind"]);
        table.row(&["laptop", "this device"]);
        table.row(&["Zoë's\tphone", "phone"]);
        table
    }

    #[test]
    fn people_get_columns() {
        expect![[r#"
            NAME         KIND
            laptop       this device
            Zoë's phone  phone
        "#]]
        .assert_eq(&table().text(&Look::bare()));
    }

    #[test]
    fn programs_get_tabs_and_no_head() {
        let look = Look { plain: true, ..Look::bare() };
        expect![[r#"
            laptop	this device
            Zoë's phone	phone
        "#]]
        .assert_eq(&table().text(&look));
    }
}

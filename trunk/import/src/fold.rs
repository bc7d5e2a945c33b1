//! Long lines in expected outputs, folded so that they can be read. For tests alone.

/// How many letters a line may have; indented, it stays within the width of a source file.
const WIDTH: usize = 76;

/// Breaks every long line of `text`; what follows a break starts with `» `.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::new();
    for line in text.lines() {
        for (index, letter) in line.trim_end().chars().enumerate() {
            if index > 0 && index % WIDTH == 0 {
                folded.push_str("\n» ");
            }
            folded.push(letter);
        }
        folded.push('\n');
    }
    folded
}

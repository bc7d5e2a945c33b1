//! Names that documents can carry: what other platforms call a field or a table may not fit here.

/// Longest name of a field or collection, so that paths and index keys stay short.
const NAME_BYTES_MAX: usize = 255;

/// The field name closest to `raw`: not empty, not too long, no control characters, not reserved
/// (`__…__` belongs to the document store).
pub(crate) fn field_name(raw: &str) -> String {
    let plain: String = raw.chars().filter(|letter| !letter.is_control()).collect();
    let mut name = cut(plain.trim(), NAME_BYTES_MAX).to_owned();
    while name.len() >= 4 && name.starts_with("__") && name.ends_with("__") {
        name.remove(0);
    }
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// A collection named after a file: letters, digits, `-` and `_` stay, anything else becomes `-`.
pub(crate) fn collection_name(stem: &str) -> String {
    let mut name = String::new();
    for letter in stem.chars() {
        if letter.is_alphanumeric() || letter == '_' {
            name.push(letter);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = cut(name.trim_matches(|edge| edge == '-' || edge == '_'), NAME_BYTES_MAX);
    if name.is_empty() { "table".to_owned() } else { name.to_owned() }
}

/// The longest beginning of `text` that has at most `bytes_max` bytes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_are_made_to_fit() {
        assert_eq!(field_name(" Due date "), "Due date");
        assert_eq!(field_name("__name__"), "_name__");
        assert_eq!(field_name("____"), "___");
        assert_eq!(field_name("\u{0}"), "unnamed");
        assert_eq!(field_name(&"é".repeat(200)).len(), 254);
        assert_eq!(collection_name("my people (2024)"), "my-people-2024");
        assert_eq!(collection_name("家計簿"), "家計簿");
        assert_eq!(collection_name("//.."), "table");
    }
}

//! Paths inside a source: which names are taken, and how a note's relative reference is resolved.
//!
//! Nothing here touches a disk; following or refusing symbolic links is left to whoever lists one.

/// Longest part between two slashes: what common file systems can hold.
pub const SEGMENT_BYTES_MAX: usize = 255;

/// Longest whole path. Longer ones cannot be opened on common systems and only serve to hurt.
pub const PATH_BYTES_MAX: usize = 4_096;

/// Why a name in a source is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing is left of the name.
    #[error("name is empty")]
    Empty,
    /// The name starts at the root of a disk.
    #[error("name is absolute")]
    Absolute,
    /// The name climbs out of its folder.
    #[error("name contains `..`")]
    Parent,
    /// The name holds a backslash, a folder separator on some systems and a letter on others.
    #[error("name contains a backslash")]
    Backslash,
    /// The name holds NUL or another control character.
    #[error("name contains a control character")]
    Control,
    /// One part is longer than [`SEGMENT_BYTES_MAX`], or the whole than [`PATH_BYTES_MAX`].
    #[error("name is too long")]
    TooLong,
}

/// Checks a name from an archive or a folder and returns it with `./` and doubled slashes removed.
///
/// # Errors
///
/// When the name could reach outside its folder or cannot be shown and stored everywhere.
pub fn safe_path(raw: &str) -> Result<String, PathError> {
    if raw.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if raw.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if raw.contains('\\') {
        return Err(PathError::Backslash);
    }
    let mut start = raw.bytes();
    let drive = matches!(
        (start.next(), start.next()),
        (Some(letter), Some(b':')) if letter.is_ascii_alphabetic()
    );
    if raw.starts_with('/') || drive {
        return Err(PathError::Absolute);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err(PathError::Parent),
            long if long.len() > SEGMENT_BYTES_MAX => return Err(PathError::TooLong),
            fine => kept.push(fine),
        }
    }
    if kept.is_empty() { Err(PathError::Empty) } else { Ok(kept.join("/")) }
}

/// The name after the last slash.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder before the last slash, empty at the top.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The file name without its extension.
pub(crate) fn stem(path: &str) -> &str {
    let name = file_name(path);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// The extension in lower case, empty when there is none.
pub(crate) fn extension(path: &str) -> String {
    match file_name(path).rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_lowercase(),
        _ => String::new(),
    }
}

/// The shortest leading part of `path` that is hidden or belongs to an operating system.
pub(crate) fn hidden_part(path: &str) -> Option<&str> {
    let mut end = 0;
    for segment in path.split('/') {
        end += segment.len();
        let system = matches!(segment, "__MACOSX" | "Thumbs.db" | "desktop.ini");
        if segment.starts_with('.') || system {
            return path.get(..end);
        }
        end += 1;
    }
    None
}

/// Follows `reference` from `folder`; none when it climbs out of the source.
pub(crate) fn join(folder: &str, reference: &str) -> Option<String> {
    let (from, reference) = match reference.strip_prefix('/') {
        Some(rooted) => ("", rooted),
        None => (folder, reference),
    };
    let mut kept: Vec<&str> = from.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in reference.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop()?;
            }
            name => kept.push(name),
        }
    }
    (!kept.is_empty()).then(|| kept.join("/"))
}

/// Replaces `%41` by `A` wherever that gives text; anything else stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let plain = pair.filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match plain.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) if byte == b'%' => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused_with_a_reason() {
        let long = "a".repeat(256);
        let deep = "a/".repeat(3_000);
        for (name, reason) in [
            ("", PathError::Empty),
            ("./", PathError::Empty),
            ("/etc/passwd", PathError::Absolute),
            ("C:/notes.md", PathError::Absolute),
            ("../up.md", PathError::Parent),
            ("a/../b.md", PathError::Parent),
            ("a\\b.md", PathError::Backslash),
            ("a\0b.md", PathError::Control),
            (long.as_str(), PathError::TooLong),
            (deep.as_str(), PathError::TooLong),
        ] {
            assert_eq!(safe_path(name), Err(reason), "{name:?}");
        }
    }

    #[test]
    fn ordinary_names_are_kept_and_tidied() {
        assert_eq!(safe_path("./a//b.md").unwrap(), "a/b.md");
        assert_eq!(safe_path("Ελλάδα/日本.md").unwrap(), "Ελλάδα/日本.md");
        assert_eq!(safe_path("a..b/..c.md").unwrap(), "a..b/..c.md");
    }

    #[test]
    fn references_are_followed_but_never_out_of_the_source() {
        assert_eq!(join("a/b", "../c.png").as_deref(), Some("a/c.png"));
        assert_eq!(join("a/b", "/c.png").as_deref(), Some("c.png"));
        assert_eq!(join("a", "../../c.png"), None);
        assert_eq!(percent_decode("a%20b%zz%e4%b8%ad"), "a b%zz中");
        assert_eq!(percent_decode("%ff"), "%ff");
    }

    #[test]
    fn hidden_folders_are_named_once_by_their_top() {
        assert_eq!(hidden_part(".obsidian/app.json"), Some(".obsidian"));
        assert_eq!(hidden_part("a/.git/x"), Some("a/.git"));
        assert_eq!(hidden_part("a/b.md"), None);
    }
}

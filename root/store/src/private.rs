//! Files beside the segments that only their owner may read: keys, names, addresses.
//!
//! What is in them is left to the callers, and permissions to `platform`.

use crate::platform;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Makes a folder, and those above it, for its owner alone.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() { Ok(()) } else { platform::create_folder(path) }
}

/// Replaces a file whole: after a crash it holds the old bytes or the new ones. Only the owner may
/// read it.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut fresh_name = name.to_owned();
    fresh_name.push(".new");
    let fresh = folder.join(fresh_name);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = platform::create_file(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    platform::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_replaced_whole_and_leaves_its_neighbours_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("keys");
        create_private_folder(&folder).unwrap();
        create_private_folder(&folder).unwrap();
        fs::write(folder.join("device.new"), "a neighbour").unwrap();
        fs::write(folder.join("device.key.new"), "left by a crash").unwrap();
        for text in ["first, which is long", "second"] {
            write_private(&folder.join("device.key"), text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(folder.join("device.key")).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(folder.join("device.new")).unwrap(), "a neighbour");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_private(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

//! The sample notes, kept inside the binary so that the demo works wherever that was installed.

use std::io;
use std::path::{Path, PathBuf};

/// Names below `examples/notes-sample`, and contents.
macro_rules! notes {
    ($($name:literal)*) => {
        &[$((
            $name,
            include_bytes!(concat!("../../../../examples/notes-sample/", $name)).as_slice(),
        )),*]
    };
}

const NOTES: &[(&str, &[u8])] = notes![
    "Bicycle.md"
    "Ideas for Sunday.md"
    "Night sky.md"
    "Reading list.md"
    "Small measures.md"
    "Welcome.md"
    "garden/Garden plan.md"
    "garden/Rain barrel.md"
    "garden/Slugs.md"
    "images/garden.svg"
    "kitchen/Bread, third attempt.md"
    "kitchen/Soup for rainy days.md"
    "日本の朝.md"
];

/// Writes the notes into a new folder below `root`.
pub(super) fn write(root: &Path) -> io::Result<PathBuf> {
    let folder = root.join("notes");
    for (name, bytes) in NOTES {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        std::fs::write(path, bytes)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn below(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, root, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_sample_note_is_in_the_binary() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/notes-sample");
        let mut there = BTreeSet::new();
        below(&examples, &examples, &mut there);
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path()).unwrap();
        let mut here = BTreeSet::new();
        below(&written, &written, &mut here);
        assert_eq!(here, there);
    }
}

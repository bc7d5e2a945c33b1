//! Folders of pods that stand still: copying, comparing, finding what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file below `dir`, by its path from there. What a running pod leaves in `run` is left out.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                if path != dir.join("run") {
                    todo.push(path);
                }
            } else if entry.file_type().unwrap().is_file() {
                let bytes = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

/// Writes `files` below `dir`.
pub fn lay_out(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The store folder of the only identity of a pod.
pub fn store(dir: &Path) -> PathBuf {
    let mut identities = fs::read_dir(dir.join("identities")).unwrap().flatten();
    let one = identities.next().unwrap().path().join("store");
    assert!(identities.next().is_none(), "there are several identities in {}", dir.display());
    one
}

/// Whether `needle` is in `hay`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

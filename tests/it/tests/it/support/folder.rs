//! Folders of pods that stand still: copying, comparing, finding what is in them.

use super::Node;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
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

/// What stands below `dir` while its pod runs, without what is read: the number of each file on its
/// disk, which is another one for one that was replaced, and its length. The index is left out.
pub fn outline(dir: &Path) -> BTreeMap<PathBuf, (u64, u64)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(folder) = todo.pop() {
        // Whatever is looked at may go away meanwhile.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name == "index" || name == "run" {
                continue;
            }
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                todo.push(entry.path());
            }
            found.insert(entry.path(), (about.ino(), if about.is_dir() { 0 } else { about.len() }));
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

/// Where the header and each section of a segment end, as far as it is whole.
pub fn ends_of_sections(segment: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    // Each begins with its length, seven bits a byte.
    while let Some(bytes) = segment[at..].iter().position(|byte| byte & 0x80 == 0) {
        let digits = segment[at..=at + bytes].iter().rev();
        let length = digits.fold(0, |length, byte| (length << 7) | usize::from(byte & 0x7f));
        at += bytes + 1 + length;
        if at > segment.len() {
            break;
        }
        ends.push(at);
    }
    ends
}

/// The segment that a stopped pod writes to.
pub fn segment(node: &Node) -> PathBuf {
    let mut segments = std::fs::read_dir(store(&node.dir).join("segments")).unwrap().flatten();
    let one = segments.next().unwrap().path();
    assert!(segments.next().is_none(), "the pod has begun another segment");
    one
}

/// Whether `needle` is in `hay`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

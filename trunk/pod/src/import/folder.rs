//! A source over a folder, or over a single file.
//!
//! Symbolic links are listed as refused and never followed, so that an import reads what was
//! pointed at and nothing else.

use rhizome_import::{Entry, Listed, Refusal, Source, SourceError, safe_path};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Folders nested deeper are not looked into: honest ones are not.
const DEPTH_MAX: usize = 64;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 << 10;

/// A folder on this computer.
pub struct FolderSource {
    root: PathBuf,
    only: Option<PathBuf>,
}

impl FolderSource {
    /// Reads `path`: all of a folder, or one file.
    pub fn new(path: &Path) -> Self {
        match path.parent() {
            Some(parent) if path.is_file() => {
                Self { root: parent.to_owned(), only: Some(path.to_owned()) }
            }
            _ => Self { root: path.to_owned(), only: None },
        }
    }

    fn list(&self, folder: &Path, depth: usize, visit: &mut dyn FnMut(Listed)) -> io::Result<()> {
        let mut paths = match &self.only {
            Some(only) => vec![only.clone()],
            None => fs::read_dir(folder)?
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<Vec<_>>>()?,
        };
        paths.sort();
        for path in paths {
            let data = fs::symlink_metadata(&path)?;
            if data.is_dir() && depth < DEPTH_MAX {
                self.list(&path, depth + 1, visit)?;
            } else {
                visit(self.listed(&path, &data));
            }
        }
        Ok(())
    }

    fn listed(&self, path: &Path, data: &Metadata) -> Listed {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        let shown = inside.to_string_lossy().into_owned();
        let refused = |reason| Listed::Refused { path: shown.clone(), reason };
        let Some(name) = inside.to_str() else { return refused(Refusal::NameEncoding) };
        let name = if cfg!(windows) { name.replace('\\', "/") } else { name.to_owned() };
        match safe_path(&name) {
            Err(error) => refused(Refusal::Path(error)),
            Ok(_) if data.is_symlink() => refused(Refusal::Symlink),
            Ok(_) if !data.is_file() => refused(Refusal::Special),
            Ok(path) => {
                let modified =
                    data.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let modified_ms = modified.and_then(|since| u64::try_from(since.as_millis()).ok());
                Listed::Entry(Entry { path, bytes: data.len(), modified_ms })
            }
        }
    }

    /// The file at `path`, if no part of the way is a link.
    fn open(&self, path: &str) -> io::Result<File> {
        let mut at = self.root.clone();
        let not_found = || io::Error::from(io::ErrorKind::NotFound);
        for part in safe_path(path).map_err(|_| not_found())?.split('/') {
            at.push(part);
            if fs::symlink_metadata(&at)?.is_symlink() {
                return Err(not_found());
            }
        }
        if self.only.as_ref().is_some_and(|only| *only != at) || !at.is_file() {
            return Err(not_found());
        }
        File::open(at)
    }
}

fn source_error(source: io::Error) -> SourceError {
    match source.kind() {
        io::ErrorKind::NotFound => SourceError::NotFound,
        _ => SourceError::Read { source },
    }
}

impl Source for FolderSource {
    fn entries(&self, visit: &mut dyn FnMut(Listed)) -> Result<(), SourceError> {
        let mut all = Vec::new();
        self.list(&self.root, 0, &mut |listed| all.push(listed)).map_err(source_error)?;
        all.sort_by(|a, b| a.path().cmp(b.path()));
        all.into_iter().for_each(visit);
        Ok(())
    }

    fn stream(
        &self,
        path: &str,
        bytes_max: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, SourceError> {
        let mut file = self.open(path).map_err(source_error)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut piece).map_err(source_error)?;
            if count == 0 {
                return Ok(bytes);
            }
            bytes += count as u64;
            if bytes > bytes_max {
                return Err(SourceError::TooLarge { bytes_max });
            }
            take(&piece[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &FolderSource) -> Vec<String> {
        let mut lines = Vec::new();
        let visit = &mut |listed: Listed| {
            lines.push(match listed {
                Listed::Entry(entry) => format!("{} {}", entry.path, entry.bytes),
                Listed::Refused { path, reason } => format!("{path}: {reason}"),
            });
        };
        source.entries(visit).unwrap();
        lines
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_is_read_in_order_and_links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        let root = dir.path().join("vault");
        fs::create_dir_all(root.join("b")).unwrap();
        fs::write(root.join("b/z.md"), "zz").unwrap();
        fs::write(root.join("a.md"), "a").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link.md")).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        let source = FolderSource::new(&root);
        let expected = ["a.md 1", "b/z.md 2", "link.md: symbolic link", "up: symbolic link"];
        assert_eq!(paths(&source), expected);
        assert_eq!(source.read("b/z.md", 2).unwrap(), b"zz");
        assert!(matches!(source.read("b/z.md", 1), Err(SourceError::TooLarge { bytes_max: 1 })));
        for outside in ["link.md", "up/secret", "../secret", "b", "/etc/hosts"] {
            assert!(matches!(source.read(outside, 9), Err(SourceError::NotFound)), "{outside}");
        }
    }

    #[test]
    fn a_single_file_is_a_source_of_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("books.csv"), "id\n1\n").unwrap();
        fs::write(dir.path().join("other.csv"), "id\n2\n").unwrap();
        let source = FolderSource::new(&dir.path().join("books.csv"));
        assert_eq!(paths(&source), ["books.csv 5"]);
        assert!(source.read("books.csv", 5).is_ok());
        assert!(matches!(source.read("other.csv", 5), Err(SourceError::NotFound)));
    }
}

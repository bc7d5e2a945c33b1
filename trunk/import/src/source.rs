//! Where an import's bytes come from: a list of entries and a way to read one of them, bounded.
//!
//! A source reports what it refuses next to what it holds, so that nothing disappears unseen.

use std::collections::BTreeMap;

use crate::path::{PathError, safe_path};

/// A folder, an archive, or a table of bytes in memory.
pub trait Source {
    /// Visits every entry and every refusal, in the order of their paths.
    ///
    /// # Errors
    ///
    /// When the listing itself fails; a single bad entry is a [`Listed::Refused`].
    fn entries(&self, visit: &mut dyn FnMut(Listed)) -> Result<(), SourceError>;

    /// Hands the bytes of the entry at `path` to `take`, piece by piece, and returns how many.
    ///
    /// # Errors
    ///
    /// [`SourceError::TooLarge`] as soon as there are more than `bytes_max`, whatever the entry
    /// declared; the pieces handed out until then are to be thrown away.
    fn stream(
        &self,
        path: &str,
        bytes_max: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, SourceError>;

    /// Reads the whole entry at `path`.
    ///
    /// # Errors
    ///
    /// As [`Source::stream`].
    fn read(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        self.stream(path, bytes_max, &mut |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }
}

/// One line of a source's listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listed {
    /// A file that can be read.
    Entry(Entry),
    /// A name that is not read, and why.
    Refused {
        /// The name as far as it can be shown.
        path: String,
        /// Why it is not read.
        reason: Refusal,
    },
}

impl Listed {
    /// The path of the entry or the refusal.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Listed::Entry(entry) => &entry.path,
            Listed::Refused { path, .. } => path,
        }
    }
}

/// A file in a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where it is, with slashes, as [`safe_path`] returned it.
    pub path: String,
    /// How long it says it is. Only a hint: reading is bounded separately.
    pub bytes: u64,
    /// When it was last changed, if the source knows. Milliseconds since 1970.
    pub modified_ms: Option<u64>,
}

/// Why a source does not hand out one of its entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The name is not safe.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The name does not decode as text.
    #[error("name is not text")]
    NameEncoding,
    /// It is a symbolic link.
    #[error("symbolic link")]
    Symlink,
    /// It is a device, a pipe or another thing that is no file.
    #[error("not a regular file")]
    Special,
    /// Several entries have this name, so that it is unclear which one is meant.
    #[error("name occurs more than once")]
    Duplicate,
    /// It is encrypted.
    #[error("encrypted entry")]
    Encrypted,
    /// It inflates far beyond what honest data does.
    #[error("inflates suspiciously: looks like a zip bomb")]
    Bomb,
    /// It uses a compression method that is not read here.
    #[error("unsupported compression method")]
    Compression,
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no such entry.
    #[error("entry is not there")]
    NotFound,
    /// The entry is longer than the caller takes.
    #[error("entry is larger than {bytes_max} bytes")]
    TooLarge {
        /// The caller's limit.
        bytes_max: u64,
    },
    /// The entry inflates far beyond what honest data does.
    #[error("entry inflates suspiciously: looks like a zip bomb")]
    Bomb,
    /// The archive is damaged at this entry.
    #[error("archive is damaged")]
    Damaged {
        /// What the archive reader said.
        source: zip::result::ZipError,
    },
    /// The bytes could not be read, or do not match their checksum.
    #[error("entry cannot be read")]
    Read {
        /// What the reader said.
        source: std::io::Error,
    },
}

/// A source in memory.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    files: BTreeMap<String, (Vec<u8>, Option<u64>)>,
    refused: BTreeMap<String, Refusal>,
}

impl MemorySource {
    /// A source without entries.
    #[must_use]
    pub fn new() -> MemorySource {
        MemorySource::default()
    }

    /// Adds or replaces one entry; an unsafe name is listed as refused.
    #[must_use]
    pub fn with(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> MemorySource {
        self.insert(path, bytes.into(), None);
        self
    }

    /// Adds or replaces one entry with the time of its last change.
    pub fn insert(&mut self, path: &str, bytes: Vec<u8>, modified_ms: Option<u64>) {
        match safe_path(path) {
            Ok(path) => {
                self.files.insert(path, (bytes, modified_ms));
            }
            Err(reason) => {
                self.refused.insert(path.to_owned(), Refusal::Path(reason));
            }
        }
    }
}

impl Source for MemorySource {
    fn entries(&self, visit: &mut dyn FnMut(Listed)) -> Result<(), SourceError> {
        let files = self.files.iter().map(|(path, (bytes, modified_ms))| {
            Listed::Entry(Entry {
                path: path.clone(),
                bytes: bytes.len() as u64,
                modified_ms: *modified_ms,
            })
        });
        let refused = self
            .refused
            .iter()
            .map(|(path, reason)| Listed::Refused { path: path.clone(), reason: *reason });
        let mut listed: Vec<Listed> = files.chain(refused).collect();
        listed.sort_by(|left, right| left.path().cmp(right.path()));
        listed.into_iter().for_each(visit);
        Ok(())
    }

    fn stream(
        &self,
        path: &str,
        bytes_max: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, SourceError> {
        let (bytes, _) = self.files.get(path).ok_or(SourceError::NotFound)?;
        let length = bytes.len() as u64;
        if length > bytes_max {
            return Err(SourceError::TooLarge { bytes_max });
        }
        take(bytes);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_names_what_is_refused_beside_what_is_held() {
        let source = MemorySource::new().with("b.md", "b").with("../a.md", "a");
        let mut paths = Vec::new();
        source.entries(&mut |listed| paths.push(format!("{listed:?}"))).unwrap();
        assert_eq!(paths.len(), 2);
        assert!(paths[0].contains("Refused") && paths[0].contains("../a.md"));
        assert!(matches!(source.read("b.md", 0), Err(SourceError::TooLarge { bytes_max: 0 })));
        assert!(matches!(source.read("c.md", 9), Err(SourceError::NotFound)));
        assert_eq!(source.read("b.md", 1).unwrap(), b"b");
    }
}

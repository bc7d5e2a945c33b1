//! The folder of a store: its FORMAT, its LOCK, its segments and its index.
//!
//! The layout is drawn in `docs/format/store-folder.md`. A folder of a newer program is left
//! untouched; one of an older program is brought forward step by step, and goes on where it was
//! killed. What lies in the files is left to `segments` and `index`.

mod migrate;

use crate::private::write_private;
use crate::{FileDisk, LockError, platform};
use migrate::{STEPS, Step};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The version of the folder that this program writes.
pub const STORE_VERSION: u32 = 1;

const FORMAT: &str = "FORMAT";
/// What a crash may leave of a FORMAT being written.
const FORMAT_NEW: &str = "FORMAT.new";
const LOCK: &str = "LOCK";
const SEGMENTS: &str = "segments";
const INDEX: &str = "index";
const INDEX_DROPPED: &str = "index.dropped";

/// What opens FORMAT, in front of the version.
const FORMAT_START: &str = "rhizome-store ";

/// FORMAT is a line; whatever is longer is not ours.
const FORMAT_BYTES_MAX: usize = 64;

/// Why a store folder could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A newer program wrote it. It was not touched.
    #[error("{} has format {found}, newer than {known}", .folder.display())]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// Somebody uses it.
    #[error("{} cannot be locked", .folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: LockError,
    },
    /// It holds something else, or a store whose FORMAT is lost or damaged.
    #[error("{} is not a store: its FORMAT is missing or damaged", .folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
    },
    /// An older program wrote it, and no way leads from there to here.
    #[error("{} has format {found}, which this program cannot bring forward", .folder.display())]
    TooOld {
        /// The folder.
        folder: PathBuf,
        /// The version found.
        found: u32,
    },
    /// Bringing it forward failed; the next attempt goes on from there.
    #[error("{} cannot be brought forward: {step}", .folder.display())]
    Migration {
        /// The folder.
        folder: PathBuf,
        /// The step that failed.
        step: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk refused.
    #[error("{} cannot be used", .folder.display())]
    Disk {
        /// The folder.
        folder: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// A store folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct StoreFolder {
    folder: PathBuf,
    _lock: File,
}

impl StoreFolder {
    /// Opens `folder`, or makes a new store where there is nothing.
    pub fn open(folder: &Path) -> Result<Self, FolderError> {
        Self::open_as(folder, STORE_VERSION, STEPS)
    }

    fn open_as(folder: &Path, version: u32, steps: &[Step<'_>]) -> Result<Self, FolderError> {
        let disk = |source| FolderError::Disk { folder: folder.to_owned(), source };
        // Looking comes before locking, since locking leaves a file behind.
        check_format(folder, version)?;
        platform::create_folder(folder).map_err(disk)?;
        let lock = platform::lock_file(&folder.join(LOCK))
            .map_err(|source| FolderError::Locked { folder: folder.to_owned(), source })?;
        // Somebody may have been faster before we held the lock.
        match check_format(folder, version)? {
            None => write_format(folder, version).map_err(disk)?,
            Some(found) if found < version => migrate::run(folder, found, version, steps)?,
            Some(_) => migrate::finish(folder).map_err(disk)?,
        }
        remove_dropped_index(folder).map_err(disk)?;
        platform::create_folder(&folder.join(SEGMENTS)).map_err(disk)?;
        platform::create_folder(&folder.join(INDEX)).map_err(disk)?;
        platform::sync_folder(folder).map_err(disk)?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Where the index is.
    #[must_use]
    pub fn index_path(&self) -> PathBuf {
        self.folder.join(INDEX)
    }

    /// The disk that holds the segments.
    pub fn segments_disk(&self) -> io::Result<FileDisk> {
        FileDisk::open(&self.folder.join(SEGMENTS))
    }

    /// Forgets the index, which must be closed, so that it is built again from the segments.
    /// Killed half-way, it is either all there or all gone.
    pub fn wipe_index(&self) -> io::Result<()> {
        remove_dropped_index(&self.folder)?;
        std::fs::rename(self.index_path(), self.folder.join(INDEX_DROPPED))?;
        platform::create_folder(&self.index_path())?;
        platform::sync_folder(&self.folder)?;
        remove_dropped_index(&self.folder)
    }
}

fn remove_dropped_index(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder.join(INDEX_DROPPED)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The version of `folder`, `None` if nothing is there yet. Changes nothing.
fn check_format(folder: &Path, known: u32) -> Result<Option<u32>, FolderError> {
    let disk = |source| FolderError::Disk { folder: folder.to_owned(), source };
    let newer = |found| FolderError::Newer { folder: folder.to_owned(), found, known };
    let foreign = || FolderError::Foreign { folder: folder.to_owned() };
    let text = match read_small(&folder.join(FORMAT)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if is_new(folder).map_err(disk)? { Ok(None) } else { Err(foreign()) };
        }
        Err(error) => return Err(disk(error)),
    };
    let found = read_version(&text).ok_or_else(foreign)?;
    if found > known {
        return Err(newer(found));
    }
    // A newer program may have been killed while it brought the folder forward.
    match migrate::under_way(folder).map_err(disk)? {
        Some(step) if step.to > known => Err(newer(step.to)),
        _ => Ok(Some(found)),
    }
}

/// Whether `folder` holds nothing but what a store leaves before its FORMAT.
fn is_new(folder: &Path) -> io::Result<bool> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if name != LOCK && name != FORMAT_NEW {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_version(text: &str) -> Option<u32> {
    let (line, _) = text.split_once('\n')?;
    let digits = line.strip_prefix(FORMAT_START)?;
    let version: u32 = digits.parse().ok()?;
    (version.to_string() == digits).then_some(version)
}

fn write_format(folder: &Path, version: u32) -> io::Result<()> {
    replace_file(folder, FORMAT, &format!("{FORMAT_START}{version}\n"))
}

/// The first bytes of a small file, as text; what is no text is no text of ours.
fn read_small(path: &Path) -> io::Result<String> {
    let file = platform::open_file(path)?;
    let mut bytes = vec![0; FORMAT_BYTES_MAX];
    let count = platform::read_at(&file, 0, &mut bytes)?;
    bytes.truncate(count);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a small file so that a crash leaves the old one or the new one.
fn replace_file(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    write_private(&folder.join(name), text.as_bytes())
}

#[cfg(test)]
mod tests;

//! What the segments need of a disk, and the disk made of real files.
//!
//! A [`Disk`] is one folder of files that grow at their end. [`MemoryDisk`] forgets what was not
//! synced when it crashes, [`FaultDisk`] fails on demand, and [`WatchedDisk`] asks before every
//! change; they serve tests and the simulator.
//! What the files mean is left to `segments`.

mod fault;
mod memory;
mod watched;

pub use fault::{FaultDisk, Faults, Flip};
pub use memory::{Crash, MemoryDisk};
pub use watched::{Change, Watch, WatchedDisk};

use crate::platform;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many files of one folder stay open: enough for the segments a busy pod reads from, far
/// below the 1,024 files a process may open by default on Linux.
const FILES_OPEN_MAX: usize = 64;

/// Room that appends leave on the disk, so that the index can follow what was appended: twice what
/// may wait to be written into it.
const RESERVE_BYTES: u64 = 2 * crate::PENDING_BYTES_MAX as u64;

/// On a small disk the reserve is this part of it, or there would be nothing left to write.
const RESERVE_PART: u64 = 16;

/// One folder of files that grow at their end.
///
/// Nothing is durable before [`Disk::sync`] of its file and, for a file made, removed or renamed
/// since, [`Disk::sync_dir`].
pub trait Disk: Send + Sync {
    /// Makes an empty file; fails if there is one of that name.
    fn create(&self, name: &str) -> io::Result<()>;

    /// Writes `bytes` after the last byte. After an error any part of them may be there.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written to the file durable. After an error nothing is known about it.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Fills as much of `buffer` as the file holds from `offset` on; returns how much that was.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Bytes in the file.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// Drops all bytes from `len` on.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;

    /// The names of all files, ascending.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes the file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, replacing one that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A [`Disk`] of real files in a real folder. It is full a little before the disk is.
#[derive(Debug)]
pub struct FileDisk {
    folder: PathBuf,
    files: Mutex<BTreeMap<String, Arc<File>>>,
    reserve_bytes: u64,
}

/// Whether so little room is left on the disk of `folder` that a [`FileDisk`] there takes no
/// appends.
pub fn is_short_of_room(folder: &Path) -> io::Result<bool> {
    Ok(platform::free_bytes(folder)? < reserve_bytes(folder)?)
}

fn reserve_bytes(folder: &Path) -> io::Result<u64> {
    Ok((platform::total_bytes(folder)? / RESERVE_PART).min(RESERVE_BYTES))
}

impl FileDisk {
    /// Uses `folder`, which is made if it is missing.
    pub fn open(folder: &Path) -> io::Result<Self> {
        if !folder.is_dir() {
            platform::create_folder(folder)?;
        }
        let reserve_bytes = reserve_bytes(folder)?;
        Ok(Self { folder: folder.to_owned(), files: Mutex::default(), reserve_bytes })
    }

    fn check_room(&self, bytes: usize) -> io::Result<()> {
        let free = platform::free_bytes(&self.folder)?;
        if free >= self.reserve_bytes.saturating_add(bytes as u64) {
            return Ok(());
        }
        let (free, kept) = (free >> 10, self.reserve_bytes >> 10);
        let what = format!("{free} KiB are free, and {kept} KiB are kept for the index");
        Err(io::Error::new(io::ErrorKind::StorageFull, what))
    }

    fn path(&self, name: &str) -> PathBuf {
        assert!(!name.contains(['/', '\\']), "a name stays within its folder");
        self.folder.join(name)
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(name) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(platform::open_file(&self.path(name))?);
        if files.len() >= FILES_OPEN_MAX {
            files.pop_first();
        }
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn forget(&self, name: &str) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Disk for FileDisk {
    fn create(&self, name: &str) -> io::Result<()> {
        platform::create_file(&self.path(name)).map(drop)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(name)?;
        self.check_room(bytes.len())?;
        platform::write_at(&file, file.metadata()?.len(), bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        platform::read_at(&*self.file(name)?, offset, buffer)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.forget(name);
        std::fs::remove_file(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        std::fs::rename(self.path(from), self.path(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        platform::sync_folder(&self.folder)
    }
}

#[cfg(test)]
mod tests;

//! Everything that differs between operating systems: private permissions, making a folder's
//! entries durable, reading and writing at a position, and locking a file.
//!
//! It leaves names, formats and order of writes to its callers.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Why a lock file could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process, or another place in this one, holds it.
    #[error("it is in use by another process")]
    Held,
    /// The disk refused.
    #[error("lock file cannot be used")]
    Disk {
        /// What the disk said.
        source: io::Error,
    },
}

/// Creates `path` (which must not exist) for reading and writing, for its owner alone.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    system::make_private(&mut options);
    options.open(path)
}

/// Opens `path` for reading and writing, or for reading where writing is forbidden, so that a
/// read-only disk can still be read.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    match opened {
        Err(error) if is_write_protected(&error) => OpenOptions::new().read(true).open(path),
        opened => opened,
    }
}

/// Whether the disk, or its permissions, forbid writing.
pub(crate) fn is_write_protected(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Whether the disk, or the owner's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Creates `path` and the folders above it, for their owner alone.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    system::make_private_folder(&mut builder);
    builder.create(path)
}

/// Makes the names in the folder `path` durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    system::sync_folder(path)
}

/// Bytes that may still be written to the disk of `folder`.
#[cfg(any(unix, windows))]
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    fs4::available_space(folder)
}

/// Bytes that the disk of `folder` has.
#[cfg(any(unix, windows))]
pub(crate) fn total_bytes(folder: &Path) -> io::Result<u64> {
    fs4::total_space(folder)
}

/// Elsewhere nobody says; the disk refuses when it is full.
#[cfg(not(any(unix, windows)))]
pub(crate) fn free_bytes(_folder: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

#[cfg(not(any(unix, windows)))]
pub(crate) fn total_bytes(_folder: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Fills as much of `buffer` as the file holds from `offset` on; returns how much that was.
pub(crate) fn read_at(file: &File, mut offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match system::read_some_at(file, offset, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) => {
                filled += bytes;
                offset += bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match system::write_some_at(file, offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes the lock file `path`, creating it first. The lock lasts as long as the returned file; the
/// operating system releases it when the process dies, however it dies.
pub(crate) fn lock_file(path: &Path) -> Result<File, LockError> {
    let file = match create_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_file(path),
        created => created,
    };
    let file = file.map_err(|source| LockError::Disk { source })?;
    system::try_lock(&file)?;
    Ok(file)
}

#[cfg(any(unix, windows))]
fn try_lock(file: &File) -> Result<(), LockError> {
    match fs4::FileExt::try_lock(file) {
        Ok(()) => Ok(()),
        Err(fs4::TryLockError::WouldBlock) => Err(LockError::Held),
        Err(fs4::TryLockError::Error(source)) => Err(LockError::Disk { source }),
    }
}

#[cfg(unix)]
mod system {
    pub(super) use super::try_lock;
    use std::fs::{DirBuilder, File, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
    use std::path::Path;

    pub(super) fn make_private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    pub(super) fn make_private_folder(builder: &mut DirBuilder) {
        builder.mode(0o700);
    }

    pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    pub(super) fn read_some_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    pub(super) fn write_some_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }
}

/// On Windows a folder below the user's profile is private already, and NTFS journals names.
#[cfg(windows)]
mod system {
    pub(super) use super::try_lock;
    use std::fs::{DirBuilder, File, OpenOptions};
    use std::io;
    use std::os::windows::fs::FileExt;
    use std::path::Path;

    pub(super) fn make_private(_options: &mut OpenOptions) {}

    pub(super) fn make_private_folder(_builder: &mut DirBuilder) {}

    pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn read_some_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match file.seek_read(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }

    pub(super) fn write_some_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        file.seek_write(bytes, offset)
    }
}

/// Elsewhere there is no positioned access: a lock keeps seek and access together. Nothing else
/// runs beside us there, so a lock file needs no lock.
#[cfg(not(any(unix, windows)))]
mod system {
    use super::LockError;
    use std::fs::{DirBuilder, File, OpenOptions};
    use std::io::{self, Read, Seek, SeekFrom, Write};
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    static SEEK: Mutex<()> = Mutex::new(());

    pub(super) fn make_private(_options: &mut OpenOptions) {}

    pub(super) fn make_private_folder(_builder: &mut DirBuilder) {}

    pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn read_some_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let _together = SEEK.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.read(buffer)
    }

    pub(super) fn write_some_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let _together = SEEK.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.write(bytes)
    }

    pub(super) fn try_lock(_file: &File) -> Result<(), LockError> {
        Ok(())
    }
}

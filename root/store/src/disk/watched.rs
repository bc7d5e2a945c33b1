//! A disk that asks before every change, so that a test sees each step, stops it, or cuts power.

use super::Disk;
use std::io;
use std::sync::Arc;

/// What is about to happen to a disk.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Change {
    /// [`Disk::create`].
    Create,
    /// [`Disk::append`].
    Append,
    /// [`Disk::sync`].
    Sync,
    /// [`Disk::truncate`].
    Truncate,
    /// [`Disk::remove`].
    Remove,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::sync_dir`].
    SyncDir,
}

/// What is asked before a change; an error is what the change comes to.
pub type Watch = dyn Fn(Change) -> io::Result<()> + Send + Sync;

/// A [`Disk`] over another one that asks before every change.
pub struct WatchedDisk {
    below: Arc<dyn Disk>,
    watch: Box<Watch>,
}

impl WatchedDisk {
    /// Asks `watch`.
    #[must_use]
    pub fn new(below: Arc<dyn Disk>, watch: Box<Watch>) -> Self {
        Self { below, watch }
    }
}

impl Disk for WatchedDisk {
    fn create(&self, name: &str) -> io::Result<()> {
        (self.watch)(Change::Create)?;
        self.below.create(name)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        (self.watch)(Change::Append)?;
        self.below.append(name, bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        (self.watch)(Change::Sync)?;
        self.below.sync(name)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.below.read_at(name, offset, buffer)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.below.len(name)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        (self.watch)(Change::Truncate)?;
        self.below.truncate(name, len)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.below.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        (self.watch)(Change::Remove)?;
        self.below.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (self.watch)(Change::Rename)?;
        self.below.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        (self.watch)(Change::SyncDir)?;
        self.below.sync_dir()
    }
}

//! A disk in memory that crashes like a real one: what was not synced is lost, wholly or in part.

use super::Disk;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk writes whole or not at all: the sector of the disks that are still sold.
const SECTOR_BYTES: usize = 512;

/// A [`Disk`] in memory. Clones share their files.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    world: Arc<Mutex<World>>,
}

/// How much of what was not synced survives a crash.
pub enum Crash<'a> {
    /// Nothing.
    Nothing,
    /// The first operations, and the first bytes of the next one if it is an append.
    Prefix {
        /// How many operations survive whole.
        operations: usize,
        /// How many bytes of the next append survive.
        torn_bytes: usize,
    },
    /// Whatever the function picks, sector by sector: disks reorder what nobody told them to sync.
    Picked(&'a mut dyn FnMut() -> bool),
}

#[derive(Clone, Debug, Default)]
struct World {
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    files: Vec<Content>,
    pending: Vec<Operation>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Operation {
    Link { name: String, file: usize },
    Unlink { name: String },
    Rename { from: String, to: String },
    Append { file: usize, offset: usize, bytes: Vec<u8> },
    Truncate { file: usize, len: usize },
}

impl Operation {
    fn file(&self) -> Option<usize> {
        match self {
            Self::Append { file, .. } | Self::Truncate { file, .. } => Some(*file),
            Self::Link { .. } | Self::Unlink { .. } | Self::Rename { .. } => None,
        }
    }
}

impl MemoryDisk {
    /// A copy that shares nothing, so that several ends of one story can be tried.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { world: Arc::new(Mutex::new(self.world().clone())) }
    }

    /// Puts a durable file there, replacing one of that name.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut world = self.world();
        let file = world.files.len();
        world.files.push(Content { now: bytes.clone(), durable: bytes });
        world.names.insert(name.to_owned(), file);
        world.names_durable.insert(name.to_owned(), file);
    }

    /// The bytes of a file as they are read now.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).map(|file| world.files[*file].now.clone())
    }

    /// How many operations a crash could still lose.
    #[must_use]
    pub fn pending_operations(&self) -> usize {
        self.world().pending.len()
    }

    /// Cuts the power.
    pub fn crash(&self, crash: Crash<'_>) {
        let mut world = self.world();
        let pending = std::mem::take(&mut world.pending);
        match crash {
            Crash::Nothing => {}
            Crash::Prefix { operations, torn_bytes } => {
                for operation in &pending[..operations.min(pending.len())] {
                    world.settle(operation);
                }
                if let Some(Operation::Append { file, offset, bytes }) = pending.get(operations) {
                    world.settle_bytes(*file, *offset, &bytes[..torn_bytes.min(bytes.len())]);
                }
            }
            Crash::Picked(pick) => {
                for operation in &pending {
                    world.settle_picked(operation, pick);
                }
            }
        }
        world.names = world.names_durable.clone();
        for content in &mut world.files {
            content.now = content.durable.clone();
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes one operation durable.
    fn settle(&mut self, operation: &Operation) {
        match operation {
            Operation::Link { name, file } => {
                self.names_durable.insert(name.clone(), *file);
            }
            Operation::Unlink { name } => {
                self.names_durable.remove(name);
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.names_durable.remove(from) {
                    self.names_durable.insert(to.clone(), file);
                }
            }
            Operation::Append { file, offset, bytes } => self.settle_bytes(*file, *offset, bytes),
            Operation::Truncate { file, len } => self.files[*file].durable.truncate(*len),
        }
    }

    fn settle_picked(&mut self, operation: &Operation, pick: &mut dyn FnMut() -> bool) {
        let Operation::Append { file, offset, bytes } = operation else {
            if pick() {
                self.settle(operation);
            }
            return;
        };
        let mut done = 0;
        while done < bytes.len() {
            let sector_end = SECTOR_BYTES - (offset + done) % SECTOR_BYTES;
            let bytes = &bytes[done..bytes.len().min(done + sector_end)];
            if pick() {
                self.settle_bytes(*file, offset + done, bytes);
            }
            done += bytes.len();
        }
    }

    /// Writes durable bytes; what was skipped before them reads as zeros, as on a real disk.
    fn settle_bytes(&mut self, file: usize, offset: usize, bytes: &[u8]) {
        let durable = &mut self.files[file].durable;
        let end = offset + bytes.len();
        if durable.len() < end && !bytes.is_empty() {
            durable.resize(end, 0);
        }
        durable[offset..end].copy_from_slice(bytes);
    }
}

impl Disk for MemoryDisk {
    fn create(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        if world.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = world.files.len();
        world.files.push(Content::default());
        world.names.insert(name.to_owned(), file);
        world.pending.push(Operation::Link { name: name.to_owned(), file });
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let file = world.file(name)?;
        let offset = world.files[file].now.len();
        world.files[file].now.extend_from_slice(bytes);
        world.pending.push(Operation::Append { file, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        let file = world.file(name)?;
        let pending = std::mem::take(&mut world.pending);
        for operation in pending {
            if operation.file() == Some(file) {
                world.settle(&operation);
            } else {
                world.pending.push(operation);
            }
        }
        Ok(())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.world();
        let bytes = &world.files[world.file(name)?].now;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = &bytes[offset..];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let world = self.world();
        Ok(world.files[world.file(name)?].now.len() as u64)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let mut world = self.world();
        let file = world.file(name)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        world.files[file].now.truncate(len);
        world.pending.push(Operation::Truncate { file, len });
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.world().names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.file(name)?;
        world.names.remove(name);
        world.pending.push(Operation::Unlink { name: name.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let file = world.file(from)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), file);
        world.pending.push(Operation::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.world();
        let pending = std::mem::take(&mut world.pending);
        for operation in pending {
            if operation.file().is_none() {
                world.settle(&operation);
            } else {
                world.pending.push(operation);
            }
        }
        Ok(())
    }
}

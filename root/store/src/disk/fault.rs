//! A disk that fails when told to: full, read-only, torn, flipped, or refusing to sync.

use super::Disk;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bit that reads wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flip {
    /// In which file.
    pub name: String,
    /// In which byte.
    pub offset: u64,
    /// Which bit, 0 to 7.
    pub bit: u8,
}

/// What goes wrong, and how often what was asked for.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// How many bytes can still be appended before the disk is full.
    pub space_bytes: Option<u64>,
    /// Which sync, counted from 1 over the life of the disk, fails.
    pub sync_fails_at: Option<u64>,
    /// Which append, counted from 1, stops after that many bytes.
    pub append_tears_at: Option<(u64, usize)>,
    /// Whether truncating fails.
    pub truncate_fails: bool,
    /// Whether all changes are refused.
    pub read_only: bool,
    /// Bits that read wrong.
    pub flips: Vec<Flip>,
    /// Syncs so far.
    pub syncs: u64,
    /// Appends so far.
    pub appends: u64,
    /// Faults that struck so far.
    pub struck: u64,
}

/// A [`Disk`] over another one that fails as its [`Faults`] say.
pub struct FaultDisk {
    below: Arc<dyn Disk>,
    faults: Mutex<Faults>,
}

impl FaultDisk {
    /// Fails nothing yet.
    #[must_use]
    pub fn new(below: Arc<dyn Disk>) -> Self {
        Self { below, faults: Mutex::default() }
    }

    /// The faults, to be changed or read.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writable(&self) -> io::Result<()> {
        let mut faults = self.faults();
        if faults.read_only {
            faults.struck += 1;
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }
}

impl Disk for FaultDisk {
    fn create(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        self.below.create(name)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        let mut faults = self.faults();
        faults.appends += 1;
        let appends = faults.appends;
        if let Some((_, kept)) = faults.append_tears_at.filter(|(at, _)| *at == appends) {
            faults.struck += 1;
            self.below.append(name, &bytes[..kept.min(bytes.len())])?;
            return Err(io::Error::other("injected write error"));
        }
        if let Some(space) = &mut faults.space_bytes {
            let fits = usize::try_from(*space).unwrap_or(usize::MAX).min(bytes.len());
            *space -= fits as u64;
            if fits < bytes.len() {
                faults.struck += 1;
                self.below.append(name, &bytes[..fits])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        drop(faults);
        self.below.append(name, bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut faults = self.faults();
        faults.syncs += 1;
        if faults.sync_fails_at == Some(faults.syncs) {
            faults.struck += 1;
            return Err(io::Error::other("injected sync error"));
        }
        drop(faults);
        self.below.sync(name)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.below.read_at(name, offset, buffer)?;
        let mut faults = self.faults();
        let mut struck = 0;
        for flip in faults.flips.iter().filter(|flip| flip.name == name) {
            let at = flip.offset.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = at.and_then(|at| buffer[..count].get_mut(at)) {
                *byte ^= 1 << flip.bit;
                struck += 1;
            }
        }
        faults.struck += struck;
        Ok(count)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.below.len(name)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.check_writable()?;
        if self.faults().truncate_fails {
            self.faults().struck += 1;
            return Err(io::Error::other("injected truncate error"));
        }
        let before = self.below.len(name)?;
        self.below.truncate(name, len)?;
        if let Some(space) = &mut self.faults().space_bytes {
            *space += before.saturating_sub(len);
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.below.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        let before = self.below.len(name)?;
        self.below.remove(name)?;
        if let Some(space) = &mut self.faults().space_bytes {
            *space += before;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        self.below.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.below.sync_dir()
    }
}

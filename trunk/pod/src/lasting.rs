//! The index of an identity, which outlasts what it lies in.
//!
//! A database that failed once answers nothing any more, reads included, and a full disk is enough
//! to make it fail. Then the actor opens the index again ([`Shelf`]), folds into it what the
//! segments hold beyond it, and shows it here; whoever reads meanwhile waits. While the disk has no
//! room for an index, it lies in memory.

use rhizome_log::{Batch, Index, IndexError, MemoryIndex, Visit};
use rhizome_store::{
    BufferedIndex, FlushIndex, Numbered, PackedIndex, SledConfig, SledIndex, is_short_of_room,
};
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::block_in_place;

/// How long a reader waits for another index: to read a large identity's segments takes seconds.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Bytes of an identity's prefix in an index that many share.
pub const SHARED_PREFIX_BYTES: usize = 8;

/// Which rows of an identity end in a number that counts up.
fn numbered(key: &[u8]) -> Option<usize> {
    rhizome_replica::numbered_rows(key).or_else(|| rhizome_doc::numbered_rows(key))
}

/// Where an index lies and how it is opened.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    numbered: Numbered,
}

/// An index that was opened.
pub struct Opened {
    /// The index.
    pub index: Arc<dyn FlushIndex>,
    /// Whether it lies in memory, because the disk has no room for it.
    pub in_memory: bool,
}

impl Shelf {
    /// The index of one identity in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), numbered }
    }

    /// The index in `folder` that many identities share, each behind its prefix.
    #[must_use]
    pub fn shared(folder: &Path) -> Self {
        let numbered: Numbered =
            |key| Some(SHARED_PREFIX_BYTES + numbered(key.get(SHARED_PREFIX_BYTES..)?)?);
        Self { folder: folder.to_owned(), numbered }
    }

    /// Opens it. `failures` is how often it has failed since the process began: one that fails
    /// twice, or does not open, is built anew. Nobody else may be using the folder.
    pub fn open(&self, failures: u32) -> Result<Opened, IndexError> {
        if failures > 0 && self.is_short_of_room() {
            return Ok(self.in_memory());
        }
        if failures > 1 {
            self.wipe()?;
        }
        self.on_disk_or_in_memory().or_else(|error| {
            tracing::warn!(%error, "index cannot be opened and is built anew");
            self.wipe()?;
            self.on_disk()
        })
    }

    /// Opens it and changes nothing if that fails.
    pub fn on_disk_or_in_memory(&self) -> Result<Opened, IndexError> {
        match self.on_disk() {
            Err(_) if self.is_short_of_room() => Ok(self.in_memory()),
            opened => opened,
        }
    }

    fn on_disk(&self) -> Result<Opened, IndexError> {
        let sled = SledIndex::open(&self.folder, &SledConfig::default())?;
        let packed = PackedIndex::new(sled, self.numbered);
        let index = Arc::new(BufferedIndex::new(Arc::new(packed))?);
        Ok(Opened { index, in_memory: false })
    }

    fn in_memory(&self) -> Opened {
        tracing::warn!(folder = %self.folder.display(), "no room for an index: it is in memory");
        Opened { index: Arc::new(MemoryIndex::default()), in_memory: true }
    }

    fn wipe(&self) -> Result<(), IndexError> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(IndexError { what: format!("it cannot be removed: {error}") })
            }
            _ => Ok(()),
        }
    }

    /// Whether the disk takes nothing more, as far as it says.
    #[must_use]
    pub fn is_short_of_room(&self) -> bool {
        // The folder itself may have gone with the index in it.
        let folder = self.folder.parent().unwrap_or(&self.folder);
        is_short_of_room(folder).unwrap_or(false)
    }
}

/// How an identity's index is opened again.
pub struct Renewal {
    shelf: Shelf,
    failures: u32,
    in_memory: bool,
}

impl Renewal {
    /// Of an index that was just opened from `shelf`.
    #[must_use]
    pub const fn new(shelf: Shelf, in_memory: bool) -> Self {
        Self { shelf, failures: 0, in_memory }
    }

    /// Whether the index lies in memory and there is room for it on the disk again.
    #[must_use]
    pub fn may_go_back(&self) -> bool {
        self.in_memory && !self.shelf.is_short_of_room()
    }

    /// Opens the index again; nobody may hold the one before.
    pub fn open(&mut self) -> Result<Arc<dyn Index>, IndexError> {
        // To come back from memory is no failure, but the index on the disk did fail before.
        self.failures += u32::from(!self.in_memory || self.failures == 0);
        let opened = self.shelf.open(self.failures)?;
        self.in_memory = opened.in_memory;
        Ok(opened.index)
    }
}

/// What everybody but the actor reads. Clones of the [`Arc`] share it.
pub struct LastingIndex {
    shown: RwLock<Shown>,
    turn: Mutex<Turn>,
    turned: Condvar,
    broken: Notify,
}

/// The index that is shown, counted.
#[derive(Clone)]
struct Shown {
    number: u64,
    index: Arc<dyn Index>,
}

/// What becomes of the index that is shown. Nobody looks here while it answers.
struct Turn {
    /// Which one that is.
    number: u64,
    /// Somebody could not read it.
    broken: bool,
    /// There will be no other.
    last: bool,
}

impl LastingIndex {
    /// Shows `index`. It is `renewable` if the actor opens it again when it fails.
    #[must_use]
    pub fn new(index: Arc<dyn Index>, renewable: bool) -> Self {
        Self {
            shown: RwLock::new(Shown { number: 0, index }),
            turn: Mutex::new(Turn { number: 0, broken: false, last: !renewable }),
            turned: Condvar::new(),
            broken: Notify::new(),
        }
    }

    /// Resolves when somebody may have been unable to read: see [`Self::is_broken`].
    pub async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Whether somebody could not read what is shown now.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.turn().broken
    }

    /// Lets go of the index that is shown: whoever reads waits for the next.
    pub fn hide(&self) {
        let number = self.turn().number;
        self.put(Shown { number, index: Arc::new(Gone) });
    }

    /// Shows another one, whole.
    pub fn show(&self, index: Arc<dyn Index>) {
        let mut turn = self.turn();
        turn.number += 1;
        turn.broken = false;
        self.put(Shown { number: turn.number, index });
        self.turned.notify_all();
    }

    /// Nobody opens it again: whoever reads learns what is wrong.
    pub fn end(&self) {
        self.turn().last = true;
        self.turned.notify_all();
    }

    fn put(&self, next: Shown) {
        let before = {
            let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shown, next)
        };
        // To drop a database takes time.
        drop(before);
    }

    fn shown(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the index, and once more if another one takes its place.
    fn ask<T>(
        &self,
        mut ask: impl FnMut(&dyn Index) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let Shown { number, index } = self.shown();
        let answer = ask(&*index);
        // Whoever waits holds on to nothing: the folder must become free.
        drop(index);
        match answer {
            Err(_) if self.another(number) => ask(&*self.shown().index),
            answer => answer,
        }
    }

    /// Waits for another index than that of this number.
    fn another(&self, number: u64) -> bool {
        let same = |now: &Turn| now.number == number && !now.last;
        if self.turn().last {
            return false;
        }
        block_in_place(|| {
            let mut turn = self.turn();
            if same(&turn) {
                turn.broken = true;
                self.broken.notify_one();
            }
            let waited = self.turned.wait_timeout_while(turn, WAIT_MAX, |now| same(now));
            let (turn, _) = waited.unwrap_or_else(PoisonError::into_inner);
            turn.number != number
        })
    }
}

impl Index for LastingIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.ask(|index| index.get(key))
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        let mut last: Option<Vec<u8>> = None;
        self.ask(|index| {
            // What was visited before the index failed is not visited again.
            let after = last.clone();
            let after = after.as_deref().map(Bound::Excluded);
            let (from, to) = match reverse {
                false => (after.unwrap_or(from), to),
                true => (from, after.unwrap_or(to)),
            };
            index.scan(from, to, reverse, &mut |key, value| {
                let flow = visit(key, value);
                if flow == ControlFlow::Continue(()) {
                    let last = last.get_or_insert_default();
                    last.clear();
                    last.extend_from_slice(key);
                }
                flow
            })
        })
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.ask(|index| index.write(batch.clone()))
    }
}

/// Stands in while there is no index.
pub struct Gone;

impl Gone {
    fn error() -> IndexError {
        IndexError { what: "it is being opened again".to_owned() }
    }
}

impl Index for Gone {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Err(Self::error())
    }

    fn scan(
        &self,
        _: Bound<&[u8]>,
        _: Bound<&[u8]>,
        _: bool,
        _: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        Err(Self::error())
    }

    fn write(&self, _: Batch) -> Result<(), IndexError> {
        Err(Self::error())
    }
}

#[cfg(test)]
mod tests;

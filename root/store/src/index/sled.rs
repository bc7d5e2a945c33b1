//! The index in sled, as one tree of rows.
//!
//! sled orders its writes but does not make them durable (its flush is no fsync), which suits an
//! index that may lose its tail. Being able to build it again is left to the segments.

use super::intent::{INTENT_KEYS_MIN, INTENTS, Intents};
use super::{FlushIndex, is_empty_range};
use rhizome_log::{Batch, Index, IndexError, Visit};
use serde::{Deserialize, Serialize};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a folder may stay locked by a database of this process that was dropped: its threads
/// end a little later than it does.
const LOCKED_WAIT: Duration = Duration::from_secs(5);

/// How often it is tried.
const LOCKED_PAUSE: Duration = Duration::from_millis(10);

/// How the index in sled behaves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SledConfig {
    /// Bytes of pages kept in memory. Too low and every query reads the disk; too high and an idle
    /// pod takes what a phone has not got.
    pub cache_bytes: u64,
    /// How often pages are written down, in milliseconds. Too low and an idle disk never sleeps;
    /// too high and more of the segments is read again after a crash.
    pub flush_every_ms: u64,
}

impl Default for SledConfig {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, flush_every_ms: 2_000 }
    }
}

/// The tree of the rows. Its name is their version: rows of another one are not seen, so the index
/// is built again.
const TREE: &[u8] = b"rows-2";

/// An [`Index`] in a folder, by sled.
pub struct SledIndex {
    database: sled::Db,
    rows: sled::Tree,
    intents: Intents,
}

impl SledIndex {
    /// Opens the index in `folder`, or begins one. An index that cannot be opened is to be wiped
    /// and built again.
    #[tracing::instrument(level = "debug")]
    pub fn open(folder: &Path, config: &SledConfig) -> Result<Self, IndexError> {
        let sled = sled::Config::default()
            .path(folder)
            .cache_capacity(config.cache_bytes)
            .flush_every_ms(Some(config.flush_every_ms))
            .mode(sled::Mode::HighThroughput);
        let since = Instant::now();
        loop {
            // sled trusts what it reads more than a damaged disk deserves.
            let opened = catch_unwind(AssertUnwindSafe(|| sled.open()));
            match opened {
                Ok(Ok(database)) => {
                    return Self::over(database);
                }
                Ok(Err(error)) if is_locked(&error) && since.elapsed() < LOCKED_WAIT => {
                    std::thread::sleep(LOCKED_PAUSE);
                }
                Ok(Err(error)) => return Err(index_error(&error)),
                Err(_) => {
                    return Err(IndexError { what: "sled panicked while opening it".to_owned() });
                }
            }
        }
    }

    fn over(database: sled::Db) -> Result<Self, IndexError> {
        forget_others(&database).map_err(|error| index_error(&error))?;
        let rows = database.open_tree(TREE).map_err(|error| index_error(&error))?;
        let intents = Intents::open(&database, &rows)?;
        Ok(Self { database, rows, intents })
    }
}

/// Removes the rows of other versions.
fn forget_others(database: &sled::Db) -> sled::Result<()> {
    // The first version lay in the default tree, which cannot be dropped.
    if !database.is_empty() {
        database.clear()?;
    }
    for name in database.tree_names() {
        if name != TREE && name != INTENTS && *name != *database.name() {
            database.drop_tree(name)?;
        }
    }
    Ok(())
}

/// sled says so in words alone. Another process is no reason: it would hold the lock of the folder.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

pub(super) fn index_error(error: &sled::Error) -> IndexError {
    IndexError { what: error.to_string() }
}

impl Index for SledIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let value = self.rows.get(key).map_err(|error| index_error(&error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let mut range = self.rows.range::<&[u8], _>((from, to));
        loop {
            let next = if reverse { range.next_back() } else { range.next() };
            let Some(next) = next else { return Ok(()) };
            let (key, value) = next.map_err(|error| index_error(&error))?;
            if visit(&key, &value).is_break() {
                return Ok(());
            }
        }
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let mut changes = sled::Batch::default();
        for (key, value) in batch.changes {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        self.rows.apply_batch(changes).map_err(|error| index_error(&error))
    }
}

impl FlushIndex for SledIndex {
    fn flush(&self) -> Result<(), IndexError> {
        self.database.flush().map(drop).map_err(|error| index_error(&error))
    }

    fn write_hidden(&self, batch: Batch) -> Result<(), IndexError> {
        if batch.changes.len() < INTENT_KEYS_MIN {
            return self.write(batch);
        }
        self.intents.carry_out(&self.rows, batch)
    }
}

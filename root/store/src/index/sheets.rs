//! The index that devices use: sheets for what comes in bulk, sled for the trickle.
//!
//! sled takes some ten microseconds for each key and keeps it in several places. So it holds only
//! what has come in lately and in small portions, with the catalogue of the sheets; a large batch
//! becomes a sheet of its own, together with what sled held, in one write. Sheets of a size are
//! merged by a thread that lives as long as there is something to merge.
//!
//! Nothing here is the truth: a sheet that is damaged says so, and the index is built again.

mod build;
mod bytes;
mod catalogue;
mod filter;
mod page;
mod plan;
mod sheet;
mod walk;

use super::{FlushIndex, SledConfig, SledIndex, is_empty_range};
use crate::platform;
use build::SheetWriter;
use bytes::damaged;
use catalogue::Listed;
use rhizome_log::{Batch, Index, IndexError, Visit};
use sheet::{Cursor, Sheet, file_name};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;
use walk::{Source, Walk};

/// From how many bytes on a batch becomes a sheet: below, sled is quicker than a file of its own.
const BULK_BYTES_MIN: usize = 192 << 10;

/// How many bytes sled holds at most. They are held in memory too, and read when opening, at a
/// millisecond for some hundred KiB.
const SMALL_BYTES_MAX: usize = 512 << 10;

/// How many sheets there may be before writers wait for merging: reads look into each of them.
const SHEETS_MAX: usize = 32;

/// What an entry costs in memory besides its bytes.
const ENTRY_BYTES: usize = 64;

/// Where the catalogue lies in sled, and what stands before each key there.
const CATALOGUE: [u8; 1] = [0];
const SMALL: u8 = 1;

const SLED_FOLDER: &str = "sled";
const SHEETS_FOLDER: &str = "sheets";

type Map = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An [`Index`] in a folder, made of sheets and sled.
pub struct SheetIndex {
    shared: Arc<Shared>,
    merging: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    folder: PathBuf,
    sled: SledIndex,
    bounds: Bounds,
    state: RwLock<State>,
    writer: Mutex<Writer>,
    /// Wakes writers: sheets were merged.
    merged: Condvar,
    closing: AtomicBool,
}

/// When what happens; tests make it happen sooner.
#[derive(Clone, Copy)]
struct Bounds {
    bulk_bytes_min: usize,
    small_bytes_max: usize,
}

/// What readers see.
#[derive(Clone, Default)]
struct State {
    /// What sled holds.
    small: Arc<Map>,
    /// Newest first.
    sheets: Vec<Arc<Sheet>>,
}

/// What only one writer at a time may touch.
struct Writer {
    next_id: u64,
    small_bytes: usize,
    merging: bool,
    failed: bool,
}

fn index_error(path: &Path, error: &io::Error) -> IndexError {
    IndexError { what: format!("{}: {error}", path.display()) }
}

fn cost(key: &[u8], value: Option<&Vec<u8>>) -> usize {
    key.len() + value.map_or(0, Vec::len) + ENTRY_BYTES
}

impl SheetIndex {
    /// Opens the index in `folder`, or begins one. An index that cannot be opened is to be wiped
    /// and built again.
    #[tracing::instrument(level = "debug")]
    pub fn open(folder: &Path, config: &SledConfig) -> Result<Self, IndexError> {
        let bounds = Bounds { bulk_bytes_min: BULK_BYTES_MIN, small_bytes_max: SMALL_BYTES_MAX };
        Self::open_with(folder, config, bounds)
    }

    fn open_with(folder: &Path, config: &SledConfig, bounds: Bounds) -> Result<Self, IndexError> {
        let sheets_folder = folder.join(SHEETS_FOLDER);
        platform::create_folder(&sheets_folder)
            .map_err(|error| index_error(&sheets_folder, &error))?;
        let sled = SledIndex::open(&folder.join(SLED_FOLDER), config)?;
        let listed = match sled.get(&CATALOGUE)? {
            Some(bytes) => catalogue::read(&bytes).ok_or_else(|| damaged("catalogue of sheets"))?,
            None => Vec::new(),
        };
        remove_others(&sheets_folder, &listed)?;
        let sheets: Result<Vec<Arc<Sheet>>, IndexError> = listed
            .iter()
            .map(|one| Ok(Arc::new(Sheet::open(&sheets_folder, one.id, one.bytes)?)))
            .collect();
        let small = read_small(&sled)?;
        let writer = Writer {
            next_id: listed.iter().map(|one| one.id).max().unwrap_or(0) + 1,
            small_bytes: small.iter().map(|(key, value)| cost(key, value.as_ref())).sum(),
            merging: false,
            failed: false,
        };
        let shared = Arc::new(Shared {
            folder: sheets_folder,
            sled,
            bounds,
            state: RwLock::new(State { small: Arc::new(small), sheets: sheets? }),
            writer: Mutex::new(writer),
            merged: Condvar::new(),
            closing: AtomicBool::new(false),
        });
        Ok(Self { shared, merging: Mutex::default() })
    }

    /// Starts merging if something is due and nobody is at it.
    fn merge_if_due(&self) {
        let mut writer = self.shared.writer();
        if writer.merging || writer.failed || self.shared.due().is_none() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let work = move || shared.merge_all();
        let spawned = std::thread::Builder::new().name("index-merge".to_owned()).spawn(work);
        match spawned {
            Ok(thread) => {
                writer.merging = true;
                drop(writer);
                let mut merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
                // The one before has nothing left to do: it ends now if it has not ended yet.
                if merging.replace(thread).is_some_and(|before| before.join().is_err()) {
                    tracing::error!("the thread that merges sheets panicked");
                }
            }
            Err(error) => tracing::warn!(%error, "no thread to merge sheets; the next write tries"),
        }
    }

    /// Waits until nothing is being merged.
    #[cfg(test)]
    fn wait_for_merging(&self) {
        let shared = &self.shared;
        let writer = shared.merged.wait_while(shared.writer(), |writer| writer.merging);
        drop(writer.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for SheetIndex {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        let merging = self.merging.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if merging.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that merges sheets panicked");
        }
    }
}

/// Removes files that the catalogue does not know: half-written or merged ones.
fn remove_others(folder: &Path, listed: &[Listed]) -> Result<(), IndexError> {
    let failed = |error: io::Error| index_error(folder, &error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let known = listed.iter().any(|one| entry.file_name() == *file_name(one.id));
        if !known {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn read_small(sled: &SledIndex) -> Result<Map, IndexError> {
    let mut small = Map::new();
    sled.scan(Bound::Included(&[SMALL]), Bound::Unbounded, false, &mut |key, value| {
        let value = value.split_first().map(|(_, value)| value.to_vec());
        small.insert(key[1..].to_vec(), value);
        ControlFlow::Continue(())
    })?;
    Ok(small)
}

/// An entry as sled holds it: a value behind a byte, so that one that is removed differs from one
/// that is empty.
fn small_entry(key: &[u8], value: Option<&[u8]>) -> (Vec<u8>, Option<Vec<u8>>) {
    let stored = value.map_or_else(Vec::new, |value| [&[1], value].concat());
    ([&[SMALL], key].concat(), Some(stored))
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_sheets(&self, sheets: Vec<Arc<Sheet>>) {
        metrics::gauge!("rhizome_index_sheets").set(sheets.len() as f64);
        self.state.write().unwrap_or_else(PoisonError::into_inner).sheets = sheets;
    }

    /// How many of the newest sheets are to be merged, if any.
    fn due(&self) -> Option<usize> {
        let sizes: Vec<u64> = self.state().sheets.iter().map(|sheet| sheet.bytes).collect();
        plan::plan(&sizes)
    }

    /// Adds changes to what sled holds.
    fn write_small(&self, writer: &mut Writer, changes: &Map) -> Result<(), IndexError> {
        let stored = changes.iter().map(|(key, value)| small_entry(key, value.as_deref()));
        self.sled.write(Batch { changes: stored.collect() })?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let small = Arc::make_mut(&mut state.small);
        for (key, value) in changes {
            writer.small_bytes += cost(key, value.as_ref());
            if let Some(old) = small.insert(key.clone(), value.clone()) {
                writer.small_bytes -= cost(key, old.as_ref());
            }
        }
        Ok(())
    }

    /// Makes a sheet of what sled holds and of changes on top of it.
    fn write_sheet(&self, writer: &mut Writer, changes: &Map) -> Result<(), IndexError> {
        let State { small, sheets } = self.state();
        let id = writer.next_id;
        let mut sheet = SheetWriter::create(&self.folder, id)?;
        writer.next_id += 1;
        let sources = [changes, &*small].map(|map| Source::Map(map.range::<[u8], _>(..).peekable()));
        let mut walk = Walk::new(sources.into(), false);
        // Below the first sheet there is nothing to hide.
        let keeps = |value: Option<&[u8]>| value.is_some() || !sheets.is_empty();
        while let Some(pushed) = walk.next(|key, value| match keeps(value) {
            true => sheet.push(key, value),
            false => Ok(()),
        })? {
            pushed?;
        }
        let sheet = Arc::new(sheet.finish()?);
        let sheets: Vec<Arc<Sheet>> = std::iter::once(sheet).chain(sheets).collect();
        let mut stored = vec![(CATALOGUE.to_vec(), Some(listed(&sheets)))];
        stored.extend(small.keys().map(|key| ([&[SMALL], key.as_slice()].concat(), None)));
        self.sled.write(Batch { changes: stored })?;
        metrics::gauge!("rhizome_index_sheets").set(sheets.len() as f64);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) =
            State { small: Arc::default(), sheets };
        writer.small_bytes = 0;
        Ok(())
    }

    /// The thread: merges until nothing is due.
    fn merge_all(&self) {
        loop {
            let mut writer = self.writer();
            let Some(count) = self.due().filter(|_| !self.closing.load(Ordering::Acquire)) else {
                writer.merging = false;
                self.merged.notify_all();
                return;
            };
            let id = writer.next_id;
            writer.next_id += 1;
            drop(writer);
            let merged = self.merge(id, count);
            if let Err(error) = merged {
                // Everything is still there; the index only stays slower than it could be.
                tracing::error!(%error, "sheets cannot be merged");
                self.writer().failed = true;
            }
            self.merged.notify_all();
            if self.writer().failed {
                self.writer().merging = false;
                self.merged.notify_all();
                return;
            }
        }
    }

    /// Merges the newest `count` sheets into one.
    fn merge(&self, id: u64, count: usize) -> Result<(), IndexError> {
        let started = Instant::now();
        let sheets = self.state().sheets;
        let (old, older) = sheets.split_at(count);
        let mut merged = SheetWriter::create(&self.folder, id)?;
        let everything = (Bound::Unbounded, Bound::Unbounded);
        let cursors = old
            .iter()
            .map(|sheet| Ok(Source::Sheet(Cursor::new(Arc::clone(sheet), everything, false)?)));
        let mut walk = Walk::new(cursors.collect::<Result<_, IndexError>>()?, false);
        let keeps = |value: Option<&[u8]>| value.is_some() || !older.is_empty();
        while let Some(pushed) = walk.next(|key, value| match keeps(value) {
            true => merged.push(key, value),
            false => Ok(()),
        })? {
            pushed?;
            if self.closing.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        let merged = Arc::new(merged.finish()?);
        metrics::counter!("rhizome_index_merged_bytes_total").increment(merged.bytes);
        let writer = self.writer();
        let mut sheets = self.state().sheets;
        // What was written meanwhile lies in front.
        let first = sheets.iter().position(|sheet| sheet.id == old[0].id);
        let first = first.expect("only this thread takes sheets away");
        sheets.splice(first..first + count, [merged]);
        self.sled.write(Batch { changes: vec![(CATALOGUE.to_vec(), Some(listed(&sheets)))] })?;
        self.set_sheets(sheets);
        drop(writer);
        // Only once the new catalogue is on the disk nobody can come back for the old files.
        self.sled.flush()?;
        old.iter().for_each(|sheet| sheet.retire());
        metrics::histogram!("rhizome_index_merge_seconds").record(started.elapsed());
        Ok(())
    }
}

fn listed(sheets: &[Arc<Sheet>]) -> Vec<u8> {
    let listed: Vec<Listed> =
        sheets.iter().map(|sheet| Listed { id: sheet.id, bytes: sheet.bytes }).collect();
    catalogue::write(&listed)
}

impl Index for SheetIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let State { small, sheets } = self.shared.state();
        if let Some(value) = small.get(key) {
            return Ok(value.clone());
        }
        let hash = filter::hash(key);
        for sheet in &sheets {
            if let Some(value) = sheet.get(key, hash)? {
                return Ok(value);
            }
        }
        Ok(None)
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
        let State { small, sheets } = self.shared.state();
        let range = small.range::<[u8], _>((from, to));
        let mut sources = vec![match reverse {
            true => Source::MapReversed(range.rev().peekable()),
            false => Source::Map(range.peekable()),
        }];
        for sheet in sheets {
            sources.push(Source::Sheet(Cursor::new(sheet, (from, to), reverse)?));
        }
        let mut walk = Walk::new(sources, reverse);
        while let Some(flow) = walk.next(|key, value| match value {
            Some(value) => visit(key, value),
            None => ControlFlow::Continue(()),
        })? {
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.write_changes(&batch.changes.into_iter().collect())
    }
}

impl FlushIndex for SheetIndex {
    fn flush(&self) -> Result<(), IndexError> {
        self.shared.sled.flush()
    }

    fn write_changes(&self, changes: &Map) -> Result<(), IndexError> {
        if changes.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let bytes: usize = changes.iter().map(|(key, value)| cost(key, value.as_ref())).sum();
        let mut writer = shared.writer();
        let crowded =
            |writer: &mut Writer| writer.merging && shared.state().sheets.len() >= SHEETS_MAX;
        writer = shared.merged.wait_while(writer, crowded).unwrap_or_else(PoisonError::into_inner);
        let Bounds { bulk_bytes_min, small_bytes_max } = shared.bounds;
        if bytes < bulk_bytes_min && writer.small_bytes + bytes <= small_bytes_max {
            return shared.write_small(&mut writer, changes);
        }
        shared.write_sheet(&mut writer, changes)?;
        drop(writer);
        self.merge_if_due();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The store that many threads share: appends meet in one write and one fdatasync.
//!
//! Whoever arrives while the disk is busy joins the batch that goes next, and the first of them
//! that finds the disk free writes for all (leader and followers). Reads take no part in that.
//! Segments are left to [`crate::Segments`]; which thread blocks is the caller's choice.

use crate::segments::{Base, Encoded, check_sizes, read, scan};
use crate::{
    Disk, Mark, OpenError, Place, ReadError, Report, Section, SectionVisit, Segments,
    SegmentsConfig, StoreError,
};
use rhizome_block::Cid;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// How many bytes may wait for the write that goes next. Appends wait beyond, so that a disk slower
/// than its writers costs time and not memory; 16 MiB is a tenth of a second of a slow disk.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;

/// How much memory of a written batch is kept for the next one.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// The blocks of one replica, or of many that share a disk. Clones share the store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    segments: Mutex<Segments>,
    queue: Mutex<Queue>,
    written: Condvar,
}

struct Queue {
    open: Encoded,
    outcome: Arc<Outcome>,
    spare: Encoded,
    writing: bool,
    end: Mark,
    failed: Option<Arc<str>>,
}

/// What became of a batch.
type Outcome = OnceLock<Result<Base, StoreError>>;

impl Store {
    /// Opens the segments in `disk`, verifies and visits what lies after `since` (or everything),
    /// and cuts a torn tail.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: SegmentsConfig,
        since: Option<Mark>,
        visit: &mut SectionVisit<'_>,
    ) -> Result<(Self, Report), OpenError> {
        let (segments, report) = Segments::open(Arc::clone(&disk), config, since, visit)?;
        let queue = Queue {
            open: Encoded::default(),
            outcome: Arc::default(),
            spare: Encoded::default(),
            writing: false,
            end: segments.end(),
            failed: None,
        };
        let shared = Shared {
            disk,
            segments: Mutex::new(segments),
            queue: Mutex::new(queue),
            written: Condvar::new(),
        };
        Ok((Self { shared: Arc::new(shared) }, report))
    }

    /// Appends `sections`, all or none, and returns where they lie once they are durable. Blocks
    /// for about one fdatasync.
    pub fn append_durable(&self, sections: &[Section<'_>]) -> Result<Vec<Place>, StoreError> {
        check_sizes(sections)?;
        if sections.is_empty() {
            return Ok(Vec::new());
        }
        let mut queue = self.queue();
        while queue.open.len() >= QUEUE_BYTES_MAX {
            queue = self.wait(queue);
        }
        let mut places = Vec::new();
        queue.open.push(sections, &mut places);
        let outcome = Arc::clone(&queue.outcome);
        loop {
            if let Some(outcome) = outcome.get() {
                outcome.clone()?.settle(&mut places);
                return Ok(places);
            }
            queue = if queue.writing { self.wait(queue) } else { self.write_open(queue) };
        }
    }

    /// Appends a good copy of a block that is damaged. Later sections of one name win, so readers
    /// that scan find this one.
    pub fn repair(&self, cid: Cid, bytes: &[u8]) -> Result<Place, StoreError> {
        if !cid.names(bytes) {
            return Err(StoreError::Misnamed { cid });
        }
        let places = self.append_durable(&[Section { cid, bytes }])?;
        metrics::counter!("rhizome_store_repairs_total").increment(1);
        Ok(places[0])
    }

    /// Reads the block at `place` and checks its hash: against `expected`, or else against the
    /// name it was stored with.
    pub fn read(&self, place: Place, expected: Option<&Cid>) -> Result<Vec<u8>, ReadError> {
        read(&*self.shared.disk, place, expected)
    }

    /// Verifies and visits every section from `mark` to the end, and returns the end and what was
    /// found. Sections appended meanwhile are not visited.
    pub fn visit_from(
        &self,
        mark: Mark,
        visit: &mut SectionVisit<'_>,
    ) -> io::Result<(Mark, Report)> {
        let end = self.end();
        let scanned = scan(&*self.shared.disk, mark, Some(end), visit)?;
        Ok((end, scanned.report))
    }

    /// How far the durable part reaches.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.queue().end
    }

    /// Why the store takes no more appends, if so. Reads go on; opening it again looks what the
    /// disk holds.
    #[must_use]
    pub fn failed(&self) -> Option<Arc<str>> {
        self.queue().failed.clone()
    }

    /// Writes the open batch for all that are in it.
    fn write_open<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let spare = std::mem::take(&mut queue.spare);
        let mut batch = std::mem::replace(&mut queue.open, spare);
        let outcome = std::mem::take(&mut queue.outcome);
        queue.writing = true;
        drop(queue);

        let mut segments = self.shared.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let written = segments.write(&batch);
        let end = segments.end();
        drop(segments);
        batch.clear(SPARE_BYTES_MAX);

        let mut queue = self.queue();
        if let Err(StoreError::Failed { what }) = &written {
            queue.failed = Some(Arc::clone(what));
        }
        queue.end = end;
        queue.writing = false;
        queue.spare = batch;
        let first = outcome.set(written).is_ok();
        assert!(first, "a batch is written once");
        self.shared.written.notify_all();
        queue
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.shared.written.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl rhizome_log::Blocks for Store {
    fn read(&self, place: Place, cid: &Cid) -> Result<Vec<u8>, rhizome_log::ReadError> {
        self.read(place, Some(cid)).map_err(|error| match error {
            ReadError::Damaged { .. } => rhizome_log::ReadError::Damaged { cid: *cid },
            ReadError::Disk { source, .. } => {
                rhizome_log::ReadError::Disk { cid: *cid, what: source.to_string() }
            }
        })
    }
}

#[cfg(test)]
mod tests;

//! The store that many threads share: appends meet in one write and one fdatasync.
//!
//! Whoever arrives while the disk is busy joins the batch that goes next, and the first of them
//! that finds the disk free writes for all (leader and followers). Reads take no part in that.
//! Segments are left to [`crate::Segments`]; which thread blocks is the caller's choice.

use crate::segments::{
    Base, Encoded, Layout, check_first, check_sizes, read, remove, rewrite, scan,
};
use crate::{
    CompactError, Compacted, Disk, Mark, OpenError, Place, ReadError, Report, Section,
    SectionVisit, Segments, SegmentsConfig, StoreError,
};
use rhizome_block::Cid;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// How many bytes may wait for the write that goes next. Appends wait beyond, so that a disk slower
/// than its writers costs time and not memory; 16 MiB is a tenth of a second of a slow disk.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;

/// How much memory of a written batch is kept for the next one.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// The blocks of one replica, or of many that share a disk. Clones share the store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    /// The generation of the marks it gives: they go into an index whose places are of that one.
    generation: u32,
}

struct Shared {
    disk: Arc<dyn Disk>,
    segments: Mutex<Segments>,
    queue: Mutex<Queue>,
    written: Condvar,
    segment_bytes_max: u64,
    /// Held while segments are compacted: one at a time.
    compacting: Mutex<()>,
    /// Held by whoever visits, so that no file goes while it is read from end to end.
    visiting: RwLock<()>,
}

struct Queue {
    open: Encoded,
    outcome: Arc<Outcome>,
    spare: Encoded,
    writing: bool,
    end: Mark,
    layout: Arc<Layout>,
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
        let segment_bytes_max = config.segment_bytes_max;
        let (segments, report) = Segments::open(Arc::clone(&disk), config, since, visit)?;
        let queue = Queue {
            open: Encoded::default(),
            outcome: Arc::default(),
            spare: Encoded::default(),
            writing: false,
            end: segments.end(),
            layout: Arc::clone(segments.layout()),
            failed: None,
        };
        let shared = Shared {
            disk,
            segments: Mutex::new(segments),
            queue: Mutex::new(queue),
            written: Condvar::new(),
            segment_bytes_max,
            compacting: Mutex::default(),
            visiting: RwLock::default(),
        };
        let store = Self { shared: Arc::new(shared), generation: 0 };
        Ok((store.renewed(), report))
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
        match read(&*self.shared.disk, place, expected) {
            Err(ReadError::Damaged { .. }) if place.segment < self.queue().layout.first() => {
                Err(ReadError::Compacted { place })
            }
            read => read,
        }
    }

    /// Verifies and visits every section from `mark` to the end, and returns the end and what was
    /// found. Sections appended meanwhile are not visited. `visit` must neither visit nor compact.
    pub fn visit_from(
        &self,
        mark: Mark,
        visit: &mut SectionVisit<'_>,
    ) -> io::Result<(Mark, Report)> {
        let _visiting = self.shared.visiting.read().unwrap_or_else(PoisonError::into_inner);
        let queue = self.queue();
        let (end, layout) = (queue.end, Arc::clone(&queue.layout));
        drop(queue);
        let scanned = scan(&*self.shared.disk, &layout, mark, Some(end), visit)?;
        Ok((Mark { generation: self.generation, ..end }, scanned.report))
    }

    /// Rewrites everything that was appended so far: `first` in front, then the blocks for which
    /// `keep` says so, in their order; the others are gone. The disk must have room for what is
    /// kept. Others may append and read meanwhile, and `keep` may append, too.
    ///
    /// Afterwards the blocks lie elsewhere ([`ReadError::Compacted`]), and marks taken before do
    /// not count ([`Report::restarted`]). Whoever keeps places empties them, and builds them again
    /// with what [`Store::renewed`] returns. After an error nothing has changed.
    pub fn compact(
        &self,
        first: &[Section<'_>],
        keep: &mut dyn FnMut(Place, &Cid, &[u8]) -> bool,
    ) -> Result<Compacted, CompactError> {
        check_first(first)?;
        let shared = &*self.shared;
        let _alone = shared.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.change(|segments| segments.end_active(first))?;
        let rewritten = rewrite(&*shared.disk, shared.segment_bytes_max, ended, first, keep)?;
        let left = self.change(|segments| segments.switch(&rewritten))?;
        let visited = shared.visiting.write().unwrap_or_else(PoisonError::into_inner);
        remove(&*shared.disk, &left);
        drop(visited);
        let compacted = rewritten.compacted();
        metrics::counter!("rhizome_store_compactions_total").increment(1);
        tracing::info!(?compacted, "segments compacted");
        Ok(compacted)
    }

    /// This store for whoever builds places anew after a compaction: the marks it gives are of the
    /// present generation. Those of any other handle say that their places are out of date.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let generation = self.queue().layout.generation();
        Self { shared: Arc::clone(&self.shared), generation }
    }

    /// Where the first block lies.
    #[must_use]
    pub fn start(&self) -> Mark {
        let segment = self.queue().layout.first();
        Mark { generation: self.generation, segment, offset: 0 }
    }

    /// How far the durable part reaches.
    #[must_use]
    pub fn end(&self) -> Mark {
        Mark { generation: self.generation, ..self.queue().end }
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

        let written = self.change(|segments| segments.write(&batch));
        batch.clear(SPARE_BYTES_MAX);

        let mut queue = self.queue();
        queue.writing = false;
        queue.spare = batch;
        let first = outcome.set(written).is_ok();
        assert!(first, "a batch is written once");
        self.shared.written.notify_all();
        queue
    }

    /// Changes the segments and tells everybody where they end now, and whether they failed.
    fn change<T>(&self, change: impl FnOnce(&mut Segments) -> T) -> T {
        let mut segments = self.shared.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut segments);
        let mut queue = self.queue();
        queue.end = segments.end();
        queue.layout = Arc::clone(segments.layout());
        queue.failed = segments.failed.clone();
        changed
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
            ReadError::Compacted { .. } => {
                rhizome_log::ReadError::Disk { cid: *cid, what: error.to_string() }
            }
            ReadError::Disk { source, .. } => {
                rhizome_log::ReadError::Disk { cid: *cid, what: source.to_string() }
            }
        })
    }
}

#[cfg(test)]
mod tests;

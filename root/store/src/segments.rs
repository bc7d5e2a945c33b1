//! Segments: append-only CARv1 files that are the truth about everything this replica holds.
//!
//! [`Segments`] has one writer: it appends sections, makes them durable in one go, rolls over to
//! the next file, cuts torn tails and reports damage. The format is drawn in
//! `docs/format/segment.md`. Sharing one writer among threads is left to [`crate::Store`], meaning
//! of the blocks to its callers.

mod car;
mod compact;
mod layout;
mod read;
mod repair;
mod scan;
mod window;

pub use compact::{CompactError, Compacted};
pub(crate) use compact::{check_first, rewrite};
pub(crate) use layout::{Layout, remove};
pub use read::ReadError;
pub(crate) use read::read;
use rhizome_block::planted::{Bug, planted};
pub(crate) use scan::scan;
pub use scan::{Damage, DamageKind, Report, SectionVisit, Torn};

use crate::{Disk, Place, platform};
use rhizome_block::{BLOCK_BYTES_READ_MAX, Cid};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// One block to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Its name, which must be the hash of its bytes.
    pub cid: Cid,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A position between two sections: how far somebody has read.
///
/// The default is before everything. Any other is good until the segments are compacted: then
/// opening or visiting from it begins at the start, and [`Report::restarted`] says so.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub struct Mark {
    /// Which compaction it follows; 0 is before the first one.
    pub generation: u32,
    /// Number of the segment, counted from 1; 0 is before all of them.
    pub segment: u32,
    /// First byte of the segment that was not read.
    pub offset: u64,
}

impl Mark {
    /// As bytes: segment, offset, and generation unless it is 0, big-endian.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.segment.to_be_bytes().to_vec();
        bytes.extend(self.offset.to_be_bytes());
        if self.generation > 0 {
            bytes.extend(self.generation.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Mark::to_bytes`] wrote; anything else is no mark.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (segment, bytes) = bytes.split_first_chunk()?;
        let (offset, bytes) = bytes.split_first_chunk()?;
        let generation = match bytes {
            [] => 0,
            bytes => u32::from_be_bytes(bytes.try_into().ok()?),
        };
        let (segment, offset) = (u32::from_be_bytes(*segment), u64::from_be_bytes(*offset));
        Some(Self { generation, segment, offset })
    }
}

/// How segments are kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentsConfig {
    /// From how many bytes on a segment is closed and the next one begun. Small segments cost open
    /// files, large ones cost time when one must be searched for what is left of it.
    pub segment_bytes_max: u64,
}

impl Default for SegmentsConfig {
    fn default() -> Self {
        Self { segment_bytes_max: 64 << 20 }
    }
}

/// Why segments could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("segments cannot be opened")]
#[non_exhaustive]
pub struct OpenError {
    /// What the disk said.
    #[from]
    pub source: io::Error,
}

/// Why blocks were not appended. None of them is in the store, unless it says `Failed`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full. Appending works again once there is space.
    #[error("disk is full")]
    Full {
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// The disk refused, and what it had written was cut away again.
    #[error("disk refuses to write")]
    Write {
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// It is unknown what the disk holds. The store must be opened again, which looks.
    #[error("store has failed and must be opened again: {what}")]
    Failed {
        /// What made it fail.
        what: Arc<str>,
    },
    /// A block is larger than anybody would read.
    #[error("block {cid} has {bytes} bytes, more than {BLOCK_BYTES_READ_MAX}")]
    TooLarge {
        /// The block.
        cid: Cid,
        /// Its size.
        bytes: usize,
    },
    /// A block offered for repair is not what its name says.
    #[error("block {cid} is not what its name says")]
    Misnamed {
        /// The name.
        cid: Cid,
    },
}

/// Sections encoded one after the other, with a CAR header in front that is left out where the
/// file already has one.
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    sections: u64,
}

impl Default for Encoded {
    fn default() -> Self {
        Self { bytes: car::HEADER.to_vec(), sections: 0 }
    }
}

impl Encoded {
    /// Adds `sections` and their places, whose offsets count from the start of this buffer.
    pub(crate) fn push(&mut self, sections: &[Section<'_>], places: &mut Vec<Place>) {
        places.reserve(sections.len());
        for section in sections {
            debug_assert!(section.cid.names(section.bytes), "a section is what its name says");
            let offset = car::put_section(&mut self.bytes, &section.cid, section.bytes) as u64;
            places.push(Place { segment: 0, offset, bytes: section.bytes.len() as u32 });
        }
        self.sections += sections.len() as u64;
    }

    /// Bytes waiting to be written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - car::HEADER.len()
    }

    /// Forgets the sections and keeps the memory, up to `keep_max` bytes of it.
    pub(crate) fn clear(&mut self, keep_max: usize) {
        self.bytes.truncate(car::HEADER.len());
        self.bytes.shrink_to(keep_max);
        self.sections = 0;
    }
}

/// Where an [`Encoded`] buffer lies in the segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    segment: u32,
    /// What to add to an offset in the buffer.
    shift: u64,
}

impl Base {
    /// Turns places in the buffer into places in the segments.
    pub(crate) fn settle(self, places: &mut [Place]) {
        for place in places {
            place.segment = self.segment;
            place.offset += self.shift;
        }
    }
}

/// Checks that nobody would refuse to read `sections`.
pub(crate) fn check_sizes(sections: &[Section<'_>]) -> Result<(), StoreError> {
    match sections.iter().find(|section| section.bytes.len() > BLOCK_BYTES_READ_MAX) {
        None => Ok(()),
        Some(section) => Err(StoreError::TooLarge { cid: section.cid, bytes: section.bytes.len() }),
    }
}

/// The segments of one store, and their only writer.
pub struct Segments {
    disk: Arc<dyn Disk>,
    config: SegmentsConfig,
    layout: Arc<Layout>,
    /// The segment that was written last, or will be the first, and its durable bytes.
    active: Mark,
    active_exists: bool,
    /// Whether the active segment takes no more writes, because its end is damage.
    sealed: bool,
    pending: Encoded,
    pub(crate) failed: Option<Arc<str>>,
}

impl Segments {
    /// Opens the segments in `disk`, verifies and visits what lies after `since` (or everything),
    /// and cuts a torn tail. What is there when this returns is durable.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: SegmentsConfig,
        since: Option<Mark>,
        visit: &mut SectionVisit<'_>,
    ) -> Result<(Self, Report), OpenError> {
        let layout = layout::tidy(&*disk)?;
        let scanned = scan(&*disk, &layout, since.unwrap_or_default(), None, visit)?;
        if scanned.exists {
            let name = car::segment_name(scanned.end.segment);
            if scanned.report.torn.is_some() {
                disk.truncate(&name, scanned.end.offset)?;
            }
            // A killed process may have left bytes that are read but not yet durable.
            disk.sync(&name)?;
            disk.sync_dir()?;
        }
        let segments = Self {
            disk,
            config,
            layout: Arc::new(layout),
            active: scanned.end,
            active_exists: scanned.exists,
            sealed: scanned.sealed,
            pending: Encoded::default(),
            failed: None,
        };
        scanned.report.count();
        Ok((segments, scanned.report))
    }

    /// Adds `sections` to what the next [`Segments::commit`] writes. The places hold from then on.
    pub fn append(&mut self, sections: &[Section<'_>]) -> Result<Vec<Place>, StoreError> {
        self.check_alive()?;
        check_sizes(sections)?;
        let mut places = Vec::new();
        self.pending.push(sections, &mut places);
        self.base().settle(&mut places);
        Ok(places)
    }

    /// Makes everything appended since the last commit durable: one write, one fdatasync. After an
    /// error all of it is gone, and its places mean nothing.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let mut pending = std::mem::take(&mut self.pending);
        let outcome = self.write(&pending);
        pending.clear(usize::MAX);
        self.pending = pending;
        outcome.map(drop)
    }

    /// How far the durable part reaches.
    #[must_use]
    pub fn end(&self) -> Mark {
        Mark { generation: self.layout.generation(), ..self.active }
    }

    /// Which segments count.
    pub(crate) const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Why appending is no longer possible, if so.
    #[must_use]
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Reads and verifies the block at `place`; see [`ReadError`].
    pub fn read(&self, place: Place, expected: Option<&Cid>) -> Result<Vec<u8>, ReadError> {
        read(&*self.disk, place, expected)
    }

    /// Writes and syncs `buffer`; tells where it lies.
    pub(crate) fn write(&mut self, buffer: &Encoded) -> Result<Base, StoreError> {
        self.check_alive()?;
        let base = self.base();
        if buffer.sections == 0 {
            return Ok(base);
        }
        let next = self.next();
        let bytes = match next.offset {
            0 => &buffer.bytes[..],
            _ => &buffer.bytes[car::HEADER.len()..],
        };
        let create = next.segment != self.active.segment || !self.active_exists;
        let name = car::segment_name(next.segment);
        self.put(&name, next.offset, create, bytes)?;
        let started = Instant::now();
        let synced = match planted(Bug::SyncSkipped) {
            true => Ok(()),
            false => self.disk.sync(&name),
        };
        let synced = synced.and_then(|()| match create {
            true => self.disk.sync_dir(),
            false => Ok(()),
        });
        let synced = synced.or_else(|error| match planted(Bug::SyncErrorIgnored) {
            true => Ok(()),
            false => Err(error),
        });
        metrics::histogram!("rhizome_store_fsync_seconds").record(started.elapsed());
        synced.map_err(|error| self.fail(&format!("{name} cannot be synced: {error}")))?;
        self.active = Mark { offset: next.offset + bytes.len() as u64, ..next };
        self.active_exists = true;
        self.sealed = false;
        metrics::counter!("rhizome_store_commits_total").increment(1);
        metrics::counter!("rhizome_store_append_sections_total").increment(buffer.sections);
        metrics::counter!("rhizome_store_append_bytes_total").increment(bytes.len() as u64);
        Ok(base)
    }

    /// Writes `bytes` at the end of a segment, or cuts away what became of them.
    fn put(&mut self, name: &str, end: u64, create: bool, bytes: &[u8]) -> Result<(), StoreError> {
        if create {
            self.disk.create(name).map_err(refusal)?;
        }
        let Err(error) = self.disk.append(name, bytes) else { return Ok(()) };
        tracing::warn!(segment = name, %error, "write failed, cutting it away");
        metrics::counter!("rhizome_store_write_errors_total").increment(1);
        let cut = match create {
            true => self.disk.remove(name).and_then(|()| self.disk.sync_dir()),
            // The sync matters: what the caller is told has failed must not come back later.
            false => self.disk.truncate(name, end).and_then(|()| self.disk.sync(name)),
        };
        match cut {
            Ok(()) => Err(refusal(error)),
            // A disk that forbids every change has not taken a part of this one.
            Err(_) if !create && platform::is_write_protected(&error) => Err(refusal(error)),
            Err(cut) => Err(self.fail(&format!("{name} holds a part of a write: {cut}"))),
        }
    }

    fn base(&self) -> Base {
        let next = self.next();
        let header = if next.offset == 0 { 0 } else { car::HEADER.len() as u64 };
        // A segment that is not empty has its header: `open` cuts one that is torn.
        Base { segment: next.segment, shift: next.offset - header }
    }

    /// Where the next write goes.
    fn next(&self) -> Mark {
        let full = self.active.offset >= self.config.segment_bytes_max.max(1);
        if self.active.segment == 0 || self.sealed || full {
            Mark { segment: self.active.segment + 1, ..Mark::default() }
        } else {
            self.active
        }
    }

    fn check_alive(&self) -> Result<(), StoreError> {
        match &self.failed {
            None => Ok(()),
            Some(what) => Err(StoreError::Failed { what: Arc::clone(what) }),
        }
    }

    fn fail(&mut self, what: &str) -> StoreError {
        tracing::error!(what, "store has failed, appends are refused from now on");
        metrics::counter!("rhizome_store_failures_total").increment(1);
        let what: Arc<str> = what.into();
        self.failed = Some(Arc::clone(&what));
        StoreError::Failed { what }
    }
}

fn refusal(error: io::Error) -> StoreError {
    let source = Arc::new(error);
    match platform::is_full(&source) {
        true => StoreError::Full { source },
        false => StoreError::Write { source },
    }
}

#[cfg(test)]
pub(crate) mod tests;

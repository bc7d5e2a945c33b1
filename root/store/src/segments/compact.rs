//! Compaction: what is kept of all ended segments is written into new ones, which then take their
//! place at once.
//!
//! The new segments get numbers of their own, so that no place and no mark means two things, and
//! appends go on behind those numbers meanwhile. One rename makes the new ones count (`layout`);
//! until it is durable nothing that counted is touched. Which blocks are kept is the caller's to
//! say.

use super::layout::{self, Layout, SetAside};
use super::scan::scan_closed;
use super::{Damage, DamageKind, Mark, Report, Section, Segments, StoreError};
use super::{car, check_sizes, refusal, repair};
use crate::{Disk, Place};
use rhizome_block::Cid;
use std::io;
use std::sync::Arc;

/// How many damages are looked into: whoever has more has lost the disk, not blocks.
const DAMAGES_MAX: usize = 4_096;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// What a compaction came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Compacted {
    /// Bytes of the segments that were rewritten.
    pub bytes_before: u64,
    /// Bytes of those that took their place.
    pub bytes_after: u64,
    /// Blocks that were left out.
    pub blocks_dropped: u64,
    /// Blocks that were kept, those that were put in front left out.
    pub blocks_kept: u64,
    /// Where the part begins that was not rewritten: what was appended meanwhile and later.
    pub untouched_from: Mark,
}

/// Why segments were not compacted. All of them are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// Something in them is damaged, and no good copy of it was appended since. A peer may have
    /// one: [`crate::Store::repair`].
    #[error(
        "segment {} is damaged at {}{}",
        .damage.mark.segment,
        .damage.mark.offset,
        .damage.cid.map_or_else(String::new, |cid| format!(", block {cid}"))
    )]
    Damaged {
        /// The first damage.
        damage: Damage,
    },
    /// The disk does not read.
    #[error("segments cannot be read")]
    Read {
        /// What the disk said.
        source: io::Error,
    },
    /// The disk does not write. The store goes on as before unless it says that it failed.
    #[error("segments cannot be rewritten")]
    Write {
        /// What became of it.
        #[from]
        source: StoreError,
    },
}

/// Segments that were ended for a compaction, and the numbers that were set aside for it.
#[derive(Debug)]
pub(crate) struct Ended {
    layout: Arc<Layout>,
    /// The last segment to be rewritten.
    last: u32,
    bytes: u64,
    set_aside: SetAside,
}

/// Segments that were rewritten and do not count yet.
#[derive(Debug)]
pub(crate) struct Rewritten {
    ended: Ended,
    /// The last segment that was written.
    last: u32,
    compacted: Compacted,
}

impl Ended {
    /// The start of each segment to be rewritten, in their order.
    fn segments(&self) -> impl Iterator<Item = Mark> {
        let counted = (self.layout.first()..=self.last).filter(|one| self.layout.counts(*one));
        counted.map(|segment| self.layout.mark(segment, 0))
    }
}

impl Rewritten {
    /// What it came to.
    pub(crate) const fn compacted(&self) -> Compacted {
        self.compacted
    }
}

fn missing(error: io::Error, mark: Mark) -> CompactError {
    if error.kind() != io::ErrorKind::NotFound {
        return CompactError::Read { source: error };
    }
    let damage = Damage { mark, bytes: 0, cid: None, kind: DamageKind::Missing };
    CompactError::Damaged { damage }
}

/// Checks that blocks that are to stand in front are what their names say.
pub(crate) fn check_first(first: &[Section<'_>]) -> Result<(), StoreError> {
    check_sizes(first)?;
    match first.iter().find(|section| !section.cid.names(section.bytes)) {
        None => Ok(()),
        Some(section) => Err(StoreError::Misnamed { cid: section.cid }),
    }
}

impl Segments {
    /// Ends the active segment and sets numbers aside for all that is there and `first`: the next
    /// write goes behind them.
    pub(crate) fn end_active(&mut self, first: &[Section<'_>]) -> Result<Ended, CompactError> {
        self.check_alive()?;
        let mut ended = Ended {
            layout: Arc::clone(&self.layout),
            last: self.active.segment,
            bytes: 0,
            set_aside: SetAside { first: 0, last: 0 },
        };
        let mut bytes = 0;
        for mark in ended.segments() {
            let len = self.disk.len(&car::segment_name(mark.segment));
            bytes += len.map_err(|error| missing(error, mark))?;
        }
        ended.bytes = bytes;
        let sections = first.iter().map(|one| (one.bytes.len() + car::HEAD_BYTES_MAX) as u64);
        let set_aside = self.numbers_for(bytes + sections.sum::<u64>());
        let set_aside = set_aside.ok_or_else(|| refusal(io::Error::other("no number is left")))?;
        ended.set_aside = set_aside;
        self.disk.create(&set_aside.name()).map_err(refusal)?;
        // Appends behind a gap that nothing explains would look as if segments were lost.
        self.disk
            .sync_dir()
            .map_err(|error| self.fail(&format!("names cannot be made durable: {error}")))?;
        self.layout = Arc::new(self.layout.with(set_aside));
        self.active = self.layout.mark(set_aside.last, 0);
        (self.active_exists, self.sealed) = (false, true);
        Ok(ended)
    }

    /// Numbers for as many segments as `bytes` of sections can fill, and one more: the mark at the
    /// end of what is ended lies in no segment.
    fn numbers_for(&self, bytes: u64) -> Option<SetAside> {
        let header = car::HEADER.len() as u64;
        // No section is shorter than its name.
        let full = self.config.segment_bytes_max.saturating_sub(header).max(Cid::BYTES as u64);
        let first = self.active.segment.checked_add(1)?;
        let last = first.checked_add(u32::try_from(bytes / full + 1).ok()?)?;
        // The next number is for what is appended meanwhile.
        last.checked_add(1).map(|_| SetAside { first, last })
    }

    /// Makes the segments count that were rewritten, and none before them. Returns the files that
    /// are left behind.
    pub(crate) fn switch(&mut self, rewritten: &Rewritten) -> Result<Vec<String>, StoreError> {
        let Rewritten { ended: Ended { set_aside, .. }, last, .. } = rewritten;
        let name = set_aside.compacted_name(*last);
        if let Err(error) = self.disk.rename(&set_aside.name(), &name) {
            // What was written stays: whether it counts is told by the names alone.
            let unchanged = self.disk.list().is_ok_and(|names| !names.contains(&name));
            return Err(match unchanged {
                true => refusal(error),
                false => self.fail(&format!("{name} may be there or not: {error}")),
            });
        }
        self.disk
            .sync_dir()
            .map_err(|error| self.fail(&format!("{name} cannot be made durable: {error}")))?;
        self.layout = Arc::new(self.layout.compacted(*set_aside, *last));
        self.active = Mark { generation: self.layout.generation(), ..self.active };
        Ok(self.disk.list().map_or_else(|_| Vec::new(), |names| Layout::read(&names).1))
    }
}

/// Writes `first` and what `keep` says of all ended segments into new ones and makes them durable.
/// After an error they are gone, or will be when the segments are opened again.
pub(crate) fn rewrite(
    disk: &dyn Disk,
    segment_bytes_max: u64,
    ended: Ended,
    first: &[Section<'_>],
    keep: &mut dyn FnMut(Place, &Cid, &[u8]) -> bool,
) -> Result<Rewritten, CompactError> {
    let mut output = Output::new(disk, segment_bytes_max, ended.set_aside);
    let copied = copy(disk, &ended, first, keep, &mut output);
    let finished = copied.and_then(|copied| {
        output.end_segment().and_then(|()| disk.sync_dir()).map_err(refusal)?;
        Ok(copied)
    });
    match finished {
        Ok((blocks_kept, blocks_dropped)) => {
            let compacted = Compacted {
                bytes_before: ended.bytes,
                bytes_after: output.bytes,
                blocks_dropped,
                blocks_kept,
                untouched_from: Mark {
                    generation: ended.set_aside.first,
                    segment: ended.set_aside.last + 1,
                    offset: 0,
                },
            };
            Ok(Rewritten { last: output.next - 1, ended, compacted })
        }
        Err(error) => {
            layout::remove(disk, &output.names());
            Err(error)
        }
    }
}

/// Returns how many blocks were kept and dropped.
fn copy(
    disk: &dyn Disk,
    ended: &Ended,
    first: &[Section<'_>],
    keep: &mut dyn FnMut(Place, &Cid, &[u8]) -> bool,
    output: &mut Output<'_>,
) -> Result<(u64, u64), CompactError> {
    for section in first {
        output.put(&section.cid, section.bytes).map_err(refusal)?;
    }
    let (mut kept, mut dropped) = (0, 0);
    let mut damages = Vec::new();
    let mut buffer = Vec::new();
    for mark in ended.segments() {
        let mut written = Ok(());
        let mut report = Report::default();
        let mut visit = |place: Place, cid: Cid, bytes: &[u8]| {
            if written.is_err() {
                return;
            }
            if keep(place, &cid, bytes) {
                kept += 1;
                written = output.put(&cid, bytes);
            } else {
                dropped += 1;
            }
        };
        scan_closed(disk, mark, &mut visit, &mut report, &mut buffer).map_err(unread)?;
        written.map_err(refusal)?;
        damages.append(&mut report.damages);
        if damages.len() > DAMAGES_MAX {
            return Err(CompactError::Damaged { damage: damages[0] });
        }
    }
    match repair::unrepaired(disk, &damages, ended.segments()).map_err(unread)? {
        Some(damage) => Err(CompactError::Damaged { damage }),
        None => Ok((kept, dropped)),
    }
}

fn unread(source: io::Error) -> CompactError {
    CompactError::Read { source }
}

/// Writes sections into segments, the next one when one is full.
struct Output<'a> {
    disk: &'a dyn Disk,
    segment_bytes_max: u64,
    set_aside: SetAside,
    /// The segment that comes after the one being written.
    next: u32,
    /// Bytes of the segment being written; 0 if none is.
    segment_bytes: u64,
    /// What is not written yet of it.
    buffer: Vec<u8>,
    /// Bytes of all segments.
    bytes: u64,
}

impl<'a> Output<'a> {
    fn new(disk: &'a dyn Disk, segment_bytes_max: u64, set_aside: SetAside) -> Self {
        let (next, segment_bytes, bytes) = (set_aside.first, 0, 0);
        Self { disk, segment_bytes_max, set_aside, next, segment_bytes, buffer: Vec::new(), bytes }
    }

    fn put(&mut self, cid: &Cid, bytes: &[u8]) -> io::Result<()> {
        if self.segment_bytes >= self.segment_bytes_max.max(1) {
            self.end_segment()?;
        }
        let before = self.buffer.len();
        if self.segment_bytes == 0 {
            assert!(self.next < self.set_aside.last, "numbers suffice for all that is kept");
            self.disk.create(&car::segment_name(self.next))?;
            self.next += 1;
            self.buffer.extend_from_slice(&car::HEADER);
        }
        car::put_section(&mut self.buffer, cid, bytes);
        let added = (self.buffer.len() - before) as u64;
        self.segment_bytes += added;
        self.bytes += added;
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.disk.append(&car::segment_name(self.next - 1), &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the segment being written durable, if there is one.
    fn end_segment(&mut self) -> io::Result<()> {
        if self.segment_bytes == 0 {
            return Ok(());
        }
        self.write()?;
        self.segment_bytes = 0;
        self.disk.sync(&car::segment_name(self.next - 1))
    }

    /// The files made so far.
    fn names(&self) -> Vec<String> {
        (self.set_aside.first..self.next).map(car::segment_name).collect()
    }
}

#[cfg(test)]
mod tests;

//! Reading segments from end to end: verifying every section, telling a torn tail from damage,
//! and finding the next whole section after damage.

use super::window::Window;
use super::{Layout, Mark, car};
use crate::{Disk, Place};
use rhizome_block::Cid;
use std::collections::BTreeSet;
use std::io;

/// What a scan calls for each whole section, in the order they were written.
pub type SectionVisit<'a> = dyn FnMut(Place, Cid, &[u8]) + 'a;

/// How many damages are listed one by one; beyond, they are counted. A disk that is gone as far as
/// that is not repaired block by block.
const DAMAGES_LISTED_MAX: usize = 65_536;

/// How many bytes may be hashed to find the next whole section. Foreign bytes within damage can
/// pose as many heads of large sections; four segments' worth ends that game within a second.
const SEARCH_HASH_BYTES_MAX: usize = 256 << 20;

/// What a scan found besides whole sections.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Whole sections.
    pub sections: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// The tail that was cut, if there was one. Nothing in it was acknowledged, unless the disk
    /// lost it later: a device that cuts must not go on numbering where it was.
    pub torn: Option<Torn>,
    /// Damage, in order; at most 65,536 of them.
    pub damages: Vec<Damage>,
    /// How many damages there are, listed or not.
    pub damages_count: u64,
    /// Whether the segments were compacted after the mark that was given: everything was visited,
    /// and whatever was built up to that mark must be forgotten first, places above all.
    pub restarted: bool,
}

/// A last section that was never wholly written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Torn {
    /// Where it began.
    pub mark: Mark,
    /// How many bytes were cut.
    pub bytes: u64,
}

/// Bytes that are not what they were when they were written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Where it begins.
    pub mark: Mark,
    /// How far the next whole section is away.
    pub bytes: u64,
    /// The name of the (first) block in it, if that can be read. It may be damaged too.
    pub cid: Option<Cid>,
    /// What happened.
    pub kind: DamageKind,
}

/// What happened to the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DamageKind {
    /// They changed.
    Changed,
    /// The segment is missing, or ends before a place that was durable.
    Missing,
}

impl Report {
    pub(super) fn add(&mut self, damage: Damage) {
        self.damages_count += 1;
        if self.damages.len() < DAMAGES_LISTED_MAX {
            self.damages.push(damage);
        }
    }

    /// Tells the metrics and the trace what was found.
    pub(super) fn count(&self) {
        metrics::counter!("rhizome_store_damages_total").increment(self.damages_count);
        if let Some(torn) = &self.torn {
            metrics::counter!("rhizome_store_torn_tails_total").increment(1);
            tracing::warn!(segment = torn.mark.segment, bytes = torn.bytes, "cut a torn tail");
        }
        for damage in self.damages.iter().take(8) {
            tracing::error!(?damage, "segment is damaged");
        }
    }
}

/// What a scan found and where it ended.
pub(crate) struct Scanned {
    pub(crate) report: Report,
    /// Where the last segment ends, its torn tail left out; the start if there is none.
    pub(super) end: Mark,
    /// Whether that segment exists.
    pub(super) exists: bool,
    /// Whether the last segment must not be written to: its end is damage.
    pub(super) sealed: bool,
}

/// Visits every whole section from `since` up to `until`, or to the end, in segments that count.
#[tracing::instrument(level = "debug", skip(disk, layout, visit))]
pub(crate) fn scan(
    disk: &dyn Disk,
    layout: &Layout,
    since: Mark,
    until: Option<Mark>,
    visit: &mut SectionVisit<'_>,
) -> io::Result<Scanned> {
    let restarted = !layout.knows(since);
    let since = if restarted { Mark::default() } else { since };
    let names = disk.list()?;
    let numbers = names.iter().filter_map(|name| car::segment_number(name));
    let present: BTreeSet<u32> = numbers.filter(|segment| layout.counts(*segment)).collect();
    let last_present = present.last().copied().unwrap_or(0);
    let last_known = last_present.max(layout.last_set_aside()).max(since.segment);
    let exists = last_present > 0 && last_present == last_known;
    let mut scanned = Scanned {
        report: Report { restarted, ..Report::default() },
        end: layout.mark(last_known, 0),
        exists,
        // The number of a segment that was lost or set aside is not used again.
        sealed: !exists && last_known > 0,
    };
    let mut buffer = Vec::new();
    let first = since.segment.max(layout.first());
    for segment in first..=until.map_or(last_known, |until| until.segment) {
        if !layout.counts(segment) {
            continue;
        }
        let offset = if segment == since.segment { since.offset } else { 0 };
        if !present.contains(&segment) {
            let (mark, kind) = (layout.mark(segment, 0), DamageKind::Missing);
            scanned.report.add(Damage { mark, bytes: offset, cid: None, kind });
            continue;
        }
        let len = disk.len(&car::segment_name(segment))?;
        let bound = until.filter(|until| until.segment == segment);
        let end = bound.map_or(len, |until| until.offset.min(len));
        let part = (layout.mark(segment, offset), end);
        let tail = scan_segment(disk, part, visit, &mut scanned.report, &mut buffer)?;
        let is_last = until.is_none() && exists && segment == last_present;
        if is_last {
            scanned.end.offset = end;
        }
        let Tail::Bad { offset, cid, searched } = tail else { continue };
        let (mark, bytes) = (layout.mark(segment, offset), end - offset);
        if is_last && searched {
            scanned.report.torn = Some(Torn { mark, bytes });
            scanned.end.offset = offset;
        } else {
            let kind = DamageKind::Changed;
            scanned.report.add(Damage { mark, bytes, cid, kind });
            scanned.sealed |= is_last;
        }
    }
    Ok(scanned)
}

/// Visits every whole section of one closed segment, whose end is damage if it is bad.
pub(super) fn scan_closed(
    disk: &dyn Disk,
    mark: Mark,
    visit: &mut SectionVisit<'_>,
    report: &mut Report,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    let end = disk.len(&car::segment_name(mark.segment))?;
    if let Tail::Bad { offset, cid, .. } = scan_segment(disk, (mark, end), visit, report, buffer)? {
        let (mark, kind) = (Mark { offset, ..mark }, DamageKind::Changed);
        report.add(Damage { mark, bytes: end - offset, cid, kind });
    }
    Ok(())
}

/// Visits every whole section of one segment from a mark up to an end, using the memory of
/// `buffer`.
fn scan_segment(
    disk: &dyn Disk,
    (from, end): (Mark, u64),
    visit: &mut SectionVisit<'_>,
    report: &mut Report,
    buffer: &mut Vec<u8>,
) -> io::Result<Tail> {
    let name = car::segment_name(from.segment);
    let window = Window::new(disk, &name, end, std::mem::take(buffer));
    let mut one = One { start: Mark { offset: 0, ..from }, window, visit, report };
    let tail = one.run(from)?;
    *buffer = one.window.into_buffer();
    Ok(tail)
}

/// How a segment ends.
enum Tail {
    /// With a whole section.
    Whole,
    /// With bytes that hold no whole section, as far as they were `searched`.
    Bad { offset: u64, cid: Option<Cid>, searched: bool },
}

/// Where the next whole section begins.
enum Next {
    At(u64),
    /// There is none.
    None,
    /// Looking for it would take too long.
    TooFar,
}

/// One segment being scanned.
struct One<'a, 'v> {
    start: Mark,
    window: Window<'a>,
    visit: &'a mut SectionVisit<'v>,
    report: &'a mut Report,
}

impl One<'_, '_> {
    fn run(&mut self, from: Mark) -> io::Result<Tail> {
        let end = self.window.end();
        let mut offset = from.offset;
        if offset > end {
            let mark = Mark { offset: end, ..self.start };
            let (bytes, kind) = (offset - end, DamageKind::Missing);
            self.report.add(Damage { mark, bytes, cid: None, kind });
            return Ok(Tail::Whole);
        }
        if offset == 0 && self.window.at(0, car::HEADER.len())?.starts_with(&car::HEADER) {
            offset = car::HEADER.len() as u64;
        }
        while offset < end {
            if let Some(head) = self.whole(offset)? {
                offset = self.take(offset, head)?;
                continue;
            }
            let bad = offset;
            let mut chain = Vec::new();
            let next = self.next_whole(bad, &mut chain)?;
            match next {
                Next::At(next) => {
                    self.report_bad(bad, next, &chain)?;
                    offset = next;
                }
                Next::None | Next::TooFar => {
                    let cid = self.head(bad)?.map(|head| head.cid);
                    let searched = matches!(next, Next::None);
                    return Ok(Tail::Bad { offset: bad, cid, searched });
                }
            }
        }
        Ok(Tail::Whole)
    }

    /// Visits the whole section at `offset`; returns where the next one begins.
    fn take(&mut self, offset: u64, head: car::Head) -> io::Result<u64> {
        let place = Place {
            segment: self.start.segment,
            offset: offset + head.bytes as u64,
            bytes: head.data_bytes as u32,
        };
        let bytes = self.window.at(offset, head.bytes + head.data_bytes)?;
        (self.visit)(place, head.cid, &bytes[head.bytes..head.bytes + head.data_bytes]);
        self.report.sections += 1;
        self.report.bytes += head.data_bytes as u64;
        Ok(place.offset + head.data_bytes as u64)
    }

    /// Reports the sections that begin at `bad` and at each of `chain`, all before `next`.
    fn report_bad(&mut self, bad: u64, next: u64, chain: &[u64]) -> io::Result<()> {
        let starts: Vec<u64> = std::iter::once(bad).chain(chain.iter().copied()).collect();
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(next);
            let cid = self.head(*start)?.map(|head| head.cid);
            let mark = Mark { offset: *start, ..self.start };
            let kind = DamageKind::Changed;
            self.report.add(Damage { mark, bytes: end - start, cid, kind });
        }
        Ok(())
    }

    fn head(&mut self, offset: u64) -> io::Result<Option<car::Head>> {
        Ok(car::read_head(self.window.at(offset, car::HEAD_BYTES_MAX)?))
    }

    /// The head of the section at `offset`, if that section is whole.
    fn whole(&mut self, offset: u64) -> io::Result<Option<car::Head>> {
        let Some(head) = self.head(offset)? else { return Ok(None) };
        let total = head.bytes + head.data_bytes;
        let Some(bytes) = self.window.at(offset, total)?.get(head.bytes..total) else {
            return Ok(None);
        };
        Ok(head.cid.names(bytes).then_some(head))
    }

    /// Finds the next whole section after the bad one at `bad`.
    ///
    /// First it trusts the lengths: what most often changes is data, and its neighbours are then
    /// found without looking at it, which matters because others chose it. `chain` receives the
    /// bad sections passed on the way.
    fn next_whole(&mut self, bad: u64, chain: &mut Vec<u64>) -> io::Result<Next> {
        let end = self.window.end();
        let mut offset = bad;
        while let Some(head) = self.head(offset)? {
            let next = offset + (head.bytes + head.data_bytes) as u64;
            if next >= end {
                break;
            }
            if self.whole(next)?.is_some() {
                return Ok(Next::At(next));
            }
            chain.push(next);
            offset = next;
        }
        chain.clear();
        self.search(bad + 1)
    }

    /// Looks at every byte from `from` on for the head of a whole section.
    fn search(&mut self, from: u64) -> io::Result<Next> {
        let mut hashed = 0;
        let mut offset = from;
        loop {
            let bytes = self.window.at(offset, car::HEAD_BYTES_MAX)?;
            let Some(at) = find_name(bytes) else {
                // A name may begin in the last bytes of what was read.
                let looked = bytes.len().saturating_sub(NAME_START_BYTES - 1) as u64;
                if looked == 0 {
                    return Ok(Next::None);
                }
                offset += looked;
                continue;
            };
            let name = offset + at as u64;
            for length_bytes in 1..=car::LENGTH_BYTES_MAX {
                let start = name.checked_sub(length_bytes as u64).filter(|start| *start >= from);
                let Some(start) = start else { break };
                let Some(head) = self.head(start)? else { continue };
                let fits = start + (head.bytes + head.data_bytes) as u64 <= self.window.end();
                if head.bytes != length_bytes + Cid::BYTES || !fits {
                    continue;
                }
                hashed += head.data_bytes;
                if hashed > SEARCH_HASH_BYTES_MAX {
                    return Ok(Next::TooFar);
                }
                if self.whole(start)?.is_some() {
                    return Ok(Next::At(start));
                }
            }
            offset = name + 1;
        }
    }
}

/// How many bytes of a name are always the same, but for the codec.
const NAME_START_BYTES: usize = 4;

/// Finds what looks like the start of a name: CIDv1, one of our two codecs, SHA2-256, 32 bytes.
fn find_name(bytes: &[u8]) -> Option<usize> {
    bytes.windows(NAME_START_BYTES).position(|four| matches!(four, [0x01, 0x55 | 0x71, 0x12, 0x20]))
}

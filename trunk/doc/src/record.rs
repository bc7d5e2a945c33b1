//! A stored document: its fields, who assigned them when, what was lost on the way.
//!
//! The bytes are compact binary of our own (`docs/format/document.md`): equal documents have equal
//! bytes, which is what state hashes and snapshots rest on. How events change a record is
//! [`crate::fold`]'s.

use crate::stamp::{Stamp, StampTree};
use crate::stored::Stored;
use rhizome_log::{Clock, LogId, Position};
use rhizome_schema::binary::{self, BinaryError, Reader};
use rhizome_schema::{FIELD_DEPTH_MAX, Fields, Value};
use std::sync::Arc;

/// The version of records we write. Those of version 1, which do not name the last change, are read
/// too.
const VERSION: u8 = 2;

/// Most conflicts a document keeps; the oldest go first. They stay in its history.
pub const CONFLICTS_MAX: usize = 64;

/// Why a value is not in the document.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Why {
    /// It was written earlier than the current value, which its writer did not know.
    Yielded,
    /// A later writer, who did not know it, wrote over it.
    Overwritten,
}

/// A value that lost to one its writer did not know (or whose writer did not know it).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The field; empty for the whole document.
    pub field: Vec<String>,
    /// The value that lost; `None` if a removal lost.
    pub lost: Option<Value>,
    /// Who wrote it when.
    pub stamp: Stamp,
    /// How it lost.
    pub why: Why,
}

/// A document as it is stored: existing, or removed, or never there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// The fields, if the document exists.
    pub value: Option<Arc<Fields>>,
    /// Who assigned what when. A root stamp without a value is a tombstone.
    pub stamps: StampTree,
    /// Values that lost, by stamp.
    pub conflicts: Vec<Conflict>,
    /// When it came into being (writer's clock, milliseconds).
    pub created_ms: u64,
    /// When it last changed (writer's clock, milliseconds).
    pub updated_ms: u64,
    /// How many committed events changed it.
    pub changes: u64,
    /// Where the last of them took effect.
    pub at: Option<Position>,
    /// The last of them, where the history begins: its log and its place there.
    pub last: Option<(LogId, u64)>,
    /// How many pending events are folded on top (0 in a committed record).
    pub pending: u64,
    /// The last of them.
    pub pending_last: Option<Stamp>,
}

impl Record {
    /// The stored bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let stamps = self.all_stamps();
        let mut logs: Vec<LogId> = stamps.iter().map(|stamp| stamp.log).collect();
        logs.extend(self.last.map(|(log, _)| log));
        logs.sort_unstable();
        logs.dedup();
        let mut out = Vec::with_capacity(256);
        out.push(VERSION);
        for number in [self.pending, self.changes, self.created_ms, self.updated_ms] {
            binary::put_number(&mut out, number);
        }
        let at = self.at.unwrap_or_default();
        binary::put_number(&mut out, at.g);
        binary::put_number(&mut out, at.i);
        binary::put_number(&mut out, logs.len() as u64);
        logs.iter().for_each(|log| out.extend_from_slice(&log.to_bytes()));
        let place = |log: &LogId| logs.binary_search(log).expect("all logs were collected") as u64;
        let (last, seq) = self.last.map_or((0, 0), |(log, seq)| (1 + place(&log), seq));
        binary::put_number(&mut out, last);
        binary::put_number(&mut out, seq);
        binary::put_number(&mut out, stamps.len() as u64);
        for stamp in &stamps {
            for number in [place(&stamp.log), stamp.seq, stamp.clock.0] {
                binary::put_number(&mut out, number);
            }
        }
        put_stamp(&mut out, &stamps, self.pending_last);
        put_tree(&mut out, &stamps, &self.stamps);
        binary::put_number(&mut out, self.conflicts.len() as u64);
        self.conflicts.iter().for_each(|conflict| put_conflict(&mut out, &stamps, conflict));
        match &self.value {
            None => out.push(0),
            Some(fields) => {
                out.push(1);
                binary::put_fields(&mut out, fields);
            }
        }
        out
    }

    /// All stamps, sorted, each once.
    fn all_stamps(&self) -> Vec<Stamp> {
        let mut stamps = Vec::with_capacity(4);
        self.stamps.each(&mut |stamp| stamps.push(stamp));
        stamps.extend(self.conflicts.iter().map(|conflict| conflict.stamp));
        stamps.extend(self.pending_last);
        stamps.sort_unstable();
        stamps.dedup();
        stamps
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BinaryError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if !(1..=VERSION).contains(&version) {
            return Err(BinaryError { what: "version of a document" });
        }
        let mut record = Self {
            pending: reader.number()?,
            changes: reader.number()?,
            created_ms: reader.number()?,
            updated_ms: reader.number()?,
            ..Self::default()
        };
        let at = Position { g: reader.number()?, i: reader.number()? };
        record.at = (at != Position::default()).then_some(at);
        let logs = take_logs(&mut reader)?;
        if version > 1 {
            record.last = take_last(&mut reader, &logs)?;
        }
        let stamps = take_stamps(&mut reader, &logs)?;
        record.pending_last = take_stamp(&mut reader, &stamps)?;
        record.stamps = take_tree(&mut reader, &stamps, 0)?;
        let conflicts = reader.count()?;
        record.conflicts = (0..conflicts)
            .map(|_| take_conflict(&mut reader, &stamps))
            .collect::<Result<_, _>>()?;
        record.value = match reader.byte()? {
            0 => None,
            1 => Some(Arc::new(reader.fields()?)),
            _ => return Err(BinaryError { what: "document" }),
        };
        reader.finish()?;
        Ok(record)
    }

    /// The same after a committed event that was applied to it.
    pub(crate) fn changed_by(mut self, event: &Stored, at: Position) -> Self {
        self.changes += 1;
        (self.at, self.last) = (Some(at), Some((event.log, event.seq)));
        self
    }

    /// The same without what belongs to pending events alone.
    #[must_use]
    pub fn without_pending(mut self) -> Self {
        self.pending = 0;
        self.pending_last = None;
        self
    }
}

fn put_stamp(out: &mut Vec<u8>, stamps: &[Stamp], stamp: Option<Stamp>) {
    let place = stamp.map_or(0, |stamp| {
        1 + stamps.binary_search(&stamp).expect("all stamps were collected") as u64
    });
    binary::put_number(out, place);
}

fn put_tree(out: &mut Vec<u8>, stamps: &[Stamp], tree: &StampTree) {
    put_stamp(out, stamps, tree.own);
    binary::put_number(out, tree.below.len() as u64);
    for (name, child) in &tree.below {
        binary::put_bytes(out, name.as_bytes());
        put_tree(out, stamps, child);
    }
}

fn put_conflict(out: &mut Vec<u8>, stamps: &[Stamp], conflict: &Conflict) {
    binary::put_number(out, conflict.field.len() as u64);
    conflict.field.iter().for_each(|name| binary::put_bytes(out, name.as_bytes()));
    put_stamp(out, stamps, Some(conflict.stamp));
    out.push(match conflict.why {
        Why::Yielded => 0,
        Why::Overwritten => 1,
    });
    match &conflict.lost {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            binary::put_value(out, value);
        }
    }
}

/// Reads the logs that stamps name.
fn take_logs(reader: &mut Reader<'_>) -> Result<Vec<LogId>, BinaryError> {
    let count = reader.count()?;
    (0..count).map(|_| Ok(LogId::from_bytes(&reader.array()?))).collect()
}

fn take_last(reader: &mut Reader<'_>, logs: &[LogId]) -> Result<Option<(LogId, u64)>, BinaryError> {
    let (place, seq) = (reader.number()?, reader.number()?);
    let Some(place) = place.checked_sub(1) else {
        return if seq == 0 { Ok(None) } else { Err(BinaryError { what: "last change" }) };
    };
    let log = usize::try_from(place).ok().and_then(|place| logs.get(place));
    log.map(|log| Some((*log, seq))).ok_or(BinaryError { what: "log of the last change" })
}

fn take_stamps(reader: &mut Reader<'_>, logs: &[LogId]) -> Result<Vec<Stamp>, BinaryError> {
    let count = reader.count()?;
    let one = |_| {
        let log = usize::try_from(reader.number()?).ok().and_then(|log| logs.get(log));
        let log = *log.ok_or(BinaryError { what: "log of a stamp" })?;
        Ok(Stamp { log, seq: reader.number()?, clock: Clock(reader.number()?) })
    };
    (0..count).map(one).collect()
}

fn take_stamp(reader: &mut Reader<'_>, stamps: &[Stamp]) -> Result<Option<Stamp>, BinaryError> {
    let Some(place) = reader.number()?.checked_sub(1) else { return Ok(None) };
    let stamp = usize::try_from(place).ok().and_then(|place| stamps.get(place));
    stamp.copied().map(Some).ok_or(BinaryError { what: "stamp" })
}

fn take_tree(
    reader: &mut Reader<'_>,
    stamps: &[Stamp],
    depth: usize,
) -> Result<StampTree, BinaryError> {
    if depth > FIELD_DEPTH_MAX * 2 {
        return Err(BinaryError { what: "depth of stamps" });
    }
    let own = take_stamp(reader, stamps)?;
    let count = reader.count()?;
    let child = |_| Ok((reader.text()?.to_owned(), take_tree(reader, stamps, depth + 1)?));
    Ok(StampTree { own, below: (0..count).map(child).collect::<Result<_, _>>()? })
}

fn take_conflict(reader: &mut Reader<'_>, stamps: &[Stamp]) -> Result<Conflict, BinaryError> {
    let names = reader.count()?;
    let field = (0..names).map(|_| reader.text().map(str::to_owned));
    let field = field.collect::<Result<_, _>>()?;
    let stamp = take_stamp(reader, stamps)?.ok_or(BinaryError { what: "stamp of a conflict" })?;
    let why = match reader.byte()? {
        0 => Why::Yielded,
        1 => Why::Overwritten,
        _ => return Err(BinaryError { what: "reason of a conflict" }),
    };
    let lost = match reader.byte()? {
        0 => None,
        1 => Some(reader.value()?),
        _ => return Err(BinaryError { what: "value of a conflict" }),
    };
    Ok(Conflict { field, lost, stamp, why })
}

#[cfg(test)]
mod tests;

//! What the index keeps about events: pending ones whole, committed ones by reference, and why
//! some changed nothing. Compact binary of our own (`docs/format/index.md`).

use crate::mutation::{Batch, Op};
use crate::stamp::{Knows, Stamp, Writer};
use rhizome_block::Cid;
use rhizome_log::{Clock, EventId, Knowledge, LogId, OpenEvent, Position};
use rhizome_schema::DocPath;
use rhizome_schema::binary::{self, BinaryError, Reader};
use std::sync::Arc;

const VERSION: u8 = 1;

/// What an event did to a document, in a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Summary {
    /// It replaced the document.
    Set,
    /// It merged fields into it.
    Merge,
    /// It changed fields.
    Update,
    /// It removed the document.
    Delete,
}

impl Summary {
    pub(crate) fn of(op: &Op) -> Self {
        match op {
            Op::Set { merge: crate::Merge::None, .. } => Self::Set,
            Op::Set { .. } => Self::Merge,
            Op::Update(_) => Self::Update,
            Op::Delete => Self::Delete,
        }
    }

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Merge => "merge",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Set => 0,
            Self::Merge => 1,
            Self::Update => 2,
            Self::Delete => 3,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, BinaryError> {
        let known = [Self::Set, Self::Merge, Self::Update, Self::Delete];
        known.get(usize::from(byte)).copied().ok_or(BinaryError { what: "summary" })
    }
}

/// An event as it is kept while pending.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Stored {
    pub id: EventId,
    pub log: LogId,
    pub seq: u64,
    pub hlc: Clock,
    pub clock: Clock,
    pub knows: Arc<Knowledge>,
    /// The documents it touches, with the last thing it does to each; empty if the body is bad.
    pub docs: Vec<(DocPath, Summary)>,
    pub body: Vec<u8>,
}

/// The documents `batch` touches, each once, in the order of first touch.
pub(crate) fn touched(batch: &Batch) -> Vec<(DocPath, Summary)> {
    let mut docs: Vec<(DocPath, Summary)> = Vec::with_capacity(batch.ops.len());
    let mut places = rustc_hash::FxHashMap::default();
    for mutation in &batch.ops {
        let summary = Summary::of(&mutation.op);
        let place = *places.entry(&mutation.path).or_insert(docs.len());
        match docs.get_mut(place) {
            Some(known) => known.1 = summary,
            None => docs.push((mutation.path.clone(), summary)),
        }
    }
    docs
}

impl Stored {
    /// The event as it is kept while pending.
    pub(crate) fn new(event: &OpenEvent, docs: Vec<(DocPath, Summary)>) -> Self {
        Self { body: event.body.clone(), ..Self::without_body(event, docs) }
    }

    /// The event as far as folding it once needs it.
    pub(crate) fn without_body(event: &OpenEvent, docs: Vec<(DocPath, Summary)>) -> Self {
        Self {
            id: event.id,
            log: event.log,
            seq: event.seq,
            hlc: event.hlc,
            clock: event.clock,
            knows: Arc::clone(&event.knows),
            docs,
            body: Vec::new(),
        }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { clock: self.clock, log: self.log, seq: self.seq }
    }

    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer { stamp: self.stamp(), knows: Knows::Heads(&self.knows), hlc: self.hlc }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 256);
        out.push(VERSION);
        out.extend_from_slice(&self.id.0.to_bytes());
        out.extend_from_slice(&self.log.to_bytes());
        for number in [self.seq, self.hlc.0, self.clock.0, self.knows.len() as u64] {
            binary::put_number(&mut out, number);
        }
        for (log, seq) in &*self.knows {
            out.extend_from_slice(&log.to_bytes());
            binary::put_number(&mut out, *seq);
        }
        binary::put_number(&mut out, self.docs.len() as u64);
        for (path, summary) in &self.docs {
            binary::put_bytes(&mut out, path.as_str().as_bytes());
            out.push(summary.byte());
        }
        binary::put_bytes(&mut out, &self.body);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, BinaryError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let id = take_id(&mut reader)?;
        let log = LogId::from_bytes(&reader.array()?);
        let seq = reader.number()?;
        let hlc = Clock(reader.number()?);
        let clock = Clock(reader.number()?);
        let count = reader.count()?;
        let known = |_| Ok((LogId::from_bytes(&reader.array()?), reader.number()?));
        let knows = Arc::new((0..count).map(known).collect::<Result<_, _>>()?);
        let count = reader.count()?;
        let doc = |_| {
            let path = DocPath::parse(reader.text()?).map_err(|_| BinaryError { what: "path" })?;
            Ok((path, Summary::from_byte(reader.byte()?)?))
        };
        let docs = (0..count).map(doc).collect::<Result<_, _>>()?;
        let body = reader.bytes()?.to_vec();
        reader.finish()?;
        Ok(Self { id, log, seq, hlc, clock, knows, docs, body })
    }
}

/// A committed change of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryEntry {
    /// The event.
    pub id: EventId,
    /// The log it stands in; its author is the device that wrote.
    pub log: LogId,
    /// Its place in the log.
    pub seq: u64,
    /// The writer's clock.
    pub hlc: Clock,
    /// Its effective clock.
    pub clock: Clock,
    /// Where it took effect; `None` while it is pending.
    pub at: Option<Position>,
    /// What it did.
    pub summary: Summary,
}

impl HistoryEntry {
    pub(crate) fn new(event: &Stored, summary: Summary, at: Option<Position>) -> Self {
        Self {
            id: event.id,
            log: event.log,
            seq: event.seq,
            hlc: event.hlc,
            clock: event.clock,
            at,
            summary,
        }
    }
}

/// A committed event, as the history of its documents keeps it. Its log and place are the key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Past {
    pub id: EventId,
    pub hlc: Clock,
    pub clock: Clock,
    pub at: Position,
    pub docs: Vec<PastChange>,
}

/// What a committed event did to one document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PastChange {
    pub path: DocPath,
    pub summary: Summary,
    /// The change of the document before this one: its log, and its place there.
    pub before: Option<(LogId, u64)>,
}

impl Past {
    /// Of an event; `before` gives the change before it of each of its documents.
    pub(crate) fn new(
        event: &Stored,
        at: Position,
        before: impl Fn(&DocPath) -> Option<(LogId, u64)>,
    ) -> Self {
        let change = |(path, summary): &(DocPath, Summary)| PastChange {
            path: path.clone(),
            summary: *summary,
            before: before(path),
        };
        let docs = event.docs.iter().map(change).collect();
        Self { id: event.id, hlc: event.hlc, clock: event.clock, at, docs }
    }

    /// What it did to a document, and the change before it.
    pub(crate) fn of(
        &self,
        path: &DocPath,
        (log, seq): (LogId, u64),
    ) -> Option<(HistoryEntry, Option<(LogId, u64)>)> {
        let change = self.docs.iter().find(|change| change.path == *path)?;
        let entry = HistoryEntry {
            id: self.id,
            log,
            seq,
            hlc: self.hlc,
            clock: self.clock,
            at: Some(self.at),
            summary: change.summary,
        };
        Some((entry, change.before))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.push(VERSION);
        out.extend_from_slice(&self.id.0.to_bytes());
        for number in [self.hlc.0, self.clock.0, self.at.g, self.at.i, self.docs.len() as u64] {
            binary::put_number(&mut out, number);
        }
        for change in &self.docs {
            binary::put_bytes(&mut out, change.path.as_str().as_bytes());
            out.push(change.summary.byte());
            out.push(u8::from(change.before.is_some()));
            if let Some((log, seq)) = change.before {
                out.extend_from_slice(&log.to_bytes());
                binary::put_number(&mut out, seq);
            }
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, BinaryError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let id = take_id(&mut reader)?;
        let (hlc, clock) = (Clock(reader.number()?), Clock(reader.number()?));
        let at = Position { g: reader.number()?, i: reader.number()? };
        let count = reader.count()?;
        let docs = (0..count).map(|_| take_change(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { id, hlc, clock, at, docs })
    }
}

fn take_change(reader: &mut Reader<'_>) -> Result<PastChange, BinaryError> {
    let path = DocPath::parse(reader.text()?).map_err(|_| BinaryError { what: "path" })?;
    let summary = Summary::from_byte(reader.byte()?)?;
    let before = match reader.byte()? {
        0 => None,
        1 => Some((LogId::from_bytes(&reader.array()?), reader.number()?)),
        _ => return Err(BinaryError { what: "change before" }),
    };
    Ok(PastChange { path, summary, before })
}

/// An event that changed nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The event.
    pub id: EventId,
    /// Where it took effect, which it had none; `None` while it is pending.
    pub at: Option<Position>,
    /// Whether its body could not be read (`false`: its batch was refused).
    pub unreadable: bool,
    /// Why, in words.
    pub reason: String,
}

impl Outcome {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.unreadable)];
        out.extend_from_slice(&self.id.0.to_bytes());
        let at = self.at.unwrap_or_default();
        binary::put_number(&mut out, at.g);
        binary::put_number(&mut out, at.i);
        binary::put_bytes(&mut out, self.reason.as_bytes());
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, BinaryError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let unreadable = reader.byte()? != 0;
        let id = take_id(&mut reader)?;
        let at = Position { g: reader.number()?, i: reader.number()? };
        let at = (at != Position::default()).then_some(at);
        let reason = reader.text()?.to_owned();
        reader.finish()?;
        Ok(Self { id, at, unreadable, reason })
    }
}

fn version(reader: &mut Reader<'_>) -> Result<(), BinaryError> {
    if reader.byte()? == VERSION { Ok(()) } else { Err(BinaryError { what: "version" }) }
}

fn take_id(reader: &mut Reader<'_>) -> Result<EventId, BinaryError> {
    let bytes: [u8; Cid::BYTES] = reader.array()?;
    Cid::from_bytes(&bytes).map(EventId).map_err(|_| BinaryError { what: "event id" })
}

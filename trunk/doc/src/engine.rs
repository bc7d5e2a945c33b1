//! The document store of one app: deliveries in, changed documents out, all state in the index.
//!
//! For each document the index holds the *view* (committed plus pending) and, while something is
//! pending, the *committed* record beneath it. Three things happen to them:
//!
//! - An event that sorts behind everything pending on its documents moves their views forward.
//! - The first pending event of all its documents settles: the committed records move forward, the
//!   views already contain it.
//! - Anything else folds the pending events again on top of the committed records, for these
//!   documents and for those that share a pending batch with them, because a batch applies whole
//!   or not at all. The work is bounded by what is pending, never by history.
//!
//! So the state is a function of the committed prefix and the set of pending events, whatever the
//! order of arrival. Queries are [`crate::query`]'s, hashes and snapshots [`crate::state`]'s.

use crate::change::{Change, Doc};
use crate::field_index::{self, FieldIndex};
use crate::fold::{Records, Refusal, apply_batch};
use crate::keys::{self, Keys};
use crate::mutation::{Batch, BatchError};
use crate::record::Record;
use crate::scope::Scope;
use crate::stamp::{Knows, Stamp, Writer};
use crate::stored::{HistoryEntry, Outcome, Past, Stored, touched};
use rhizome_block::planted::{Bug, planted};
use rhizome_identity::DeviceId;
use rhizome_log::{
    Clock, Delivery, Index, IndexError, LogId, LogTag, OpenEvent, Overlay, Position, scan_prefix,
};
use rhizome_schema::binary::BinaryError;
use rhizome_schema::{Code, DocPath};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Why documents could not be read or moved forward.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The index cannot be used.
    #[error("documents cannot be reached")]
    Index(#[from] IndexError),
    /// What the index holds is not what was written; rebuild it from the log.
    #[error("index holds a damaged {what}")]
    Damaged {
        /// What was being read.
        what: &'static str,
        /// How it is damaged.
        source: BinaryError,
    },
}

impl DocumentError {
    /// The code an application is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Index(_) => Code::Unavailable,
            Self::Damaged { .. } => Code::DataLoss,
        }
    }
}

/// Why a batch may not be written here and now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It breaks a rule, whatever the documents hold.
    #[error("batch breaks a rule")]
    Batch(#[from] BatchError),
    /// The documents do not allow it.
    #[error("documents do not allow the batch")]
    Refused(#[from] Refusal),
    /// The documents could not be read.
    #[error("documents could not be read")]
    Document(#[from] DocumentError),
}

impl WriteError {
    /// The code an application is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Batch(error) => error.code(),
            Self::Refused(refusal) => refusal.code(),
            Self::Document(error) => error.code(),
        }
    }
}

pub(crate) fn damaged(what: &'static str) -> impl FnOnce(BinaryError) -> DocumentError {
    move |source| DocumentError::Damaged { what, source }
}

/// The documents of one app. It holds no state besides the app's name.
#[derive(Clone, Debug)]
pub struct Documents {
    app: Arc<str>,
    pub(crate) keys: Keys,
}

impl Documents {
    /// The documents of `app`, whose name may not hold the character 0.
    #[must_use]
    pub fn new(app: &str) -> Self {
        assert!(!app.contains('\0'), "names of apps are checked before they get here");
        Self { app: app.into(), keys: Keys::new(app) }
    }

    /// Name of the app.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Takes news in order and returns what changed, one entry per document and piece of news.
    ///
    /// News of other apps is passed over; news about an event that is unknown here is taken to be
    /// of another app, for a position does not name its app. Writing the overlay makes the changes
    /// durable and visible, and belongs in the same batch as the replica's own progress, so that
    /// nothing is delivered twice or not at all.
    pub fn deliver(
        &self,
        overlay: &mut Overlay<'_>,
        deliveries: &[Delivery],
    ) -> Result<Vec<Change>, DocumentError> {
        let mut work = Work::new(&self.keys, overlay);
        for delivery in deliveries {
            match delivery {
                Delivery::Pending(event) if event.app == self.app => work.pend(event)?,
                Delivery::Effective { event, at } if event.app == self.app => {
                    work.commit(event, *at)?;
                }
                Delivery::Settled { log, seq, at } => work.settle(log, *seq, *at)?,
                Delivery::Retracted { log, seq } => work.retract(log, *seq)?,
                Delivery::Pending(_) | Delivery::Effective { .. } => {}
            }
        }
        Ok(work.changes)
    }

    /// Checks a batch that is about to be written: its form, and whether the documents as seen
    /// here allow it. Nothing changes.
    pub fn check(&self, overlay: &Overlay<'_>, batch: &Batch) -> Result<(), WriteError> {
        batch.to_body()?;
        let mut records = Records::new();
        for (path, _) in touched(batch) {
            let record = load(overlay, &self.keys.view(&path))?;
            records.insert(path, record);
        }
        let log = LogId { author: DeviceId([0xff; 32]), tag: LogTag([0; 16]), incarnation: 0 };
        let stamp = Stamp { clock: Clock(u64::MAX), log, seq: u64::MAX };
        let writer = Writer { stamp, knows: Knows::Everything, hlc: Clock(0) };
        Ok(apply_batch(&mut records, batch, writer)?)
    }

    /// The document as seen here, pending changes included.
    pub fn get(
        &self,
        index: &dyn Index,
        path: &DocPath,
    ) -> Result<Option<Arc<Doc>>, DocumentError> {
        Ok(self.record(index, path)?.and_then(|record| Doc::of(path, &record)))
    }

    /// Everything stored about a document as seen here: stamps and conflicts too.
    pub fn record(
        &self,
        index: &dyn Index,
        path: &DocPath,
    ) -> Result<Option<Record>, DocumentError> {
        let bytes = index.get(&self.keys.view(path))?;
        bytes.map(|bytes| Record::from_bytes(&bytes).map_err(damaged("document"))).transpose()
    }

    /// What happened to a document, oldest first: committed changes, then pending ones.
    pub fn history(
        &self,
        index: &dyn Index,
        path: &DocPath,
    ) -> Result<Vec<HistoryEntry>, DocumentError> {
        let mut entries = self.past(index, path)?;
        entries.reverse();
        let mut stamps = Vec::new();
        scan_prefix(index, &self.keys.doc(keys::PENDING_OF, path), false, &mut |key, _| {
            stamps.extend(keys::stamp_of(key));
            ControlFlow::Continue(())
        })?;
        for stamp in stamps {
            let bytes = index.get(&self.keys.event(keys::PENDING, &stamp.log, stamp.seq))?;
            let event = Stored::from_bytes(&bytes.unwrap_or_default());
            let event = event.map_err(damaged("pending event"))?;
            let summary = event.docs.iter().find(|(other, _)| other == path);
            entries.extend(summary.map(|(_, what)| HistoryEntry::new(&event, *what, None)));
        }
        Ok(entries)
    }

    /// The committed changes of a document, newest first, as far as they happened here: a snapshot
    /// stands for earlier ones.
    fn past(&self, index: &dyn Index, path: &DocPath) -> Result<Vec<HistoryEntry>, DocumentError> {
        let mut entries = Vec::new();
        let mut next = self.record(index, path)?.and_then(|record| record.last);
        while let Some((log, seq)) = next {
            let bytes = index.get(&self.keys.event(keys::HISTORY, &log, seq))?;
            let Some(bytes) = bytes else { break };
            let past = Past::from_bytes(&bytes).map_err(damaged("history"))?;
            let Some((entry, before)) = past.of(path, (log, seq)) else { break };
            entries.push(entry);
            next = before;
        }
        Ok(entries)
    }

    /// Why an event changed nothing, if it did not: an unreadable body, or a refused batch.
    pub fn outcome(
        &self,
        index: &dyn Index,
        log: &LogId,
        seq: u64,
    ) -> Result<Option<Outcome>, DocumentError> {
        let bytes = index.get(&self.keys.event(keys::OUTCOME, log, seq))?;
        bytes.map(|bytes| Outcome::from_bytes(&bytes).map_err(damaged("outcome"))).transpose()
    }

    /// All events that changed nothing, by log and place in it.
    pub fn outcomes(&self, index: &dyn Index) -> Result<Vec<Outcome>, DocumentError> {
        let mut outcomes = Vec::new();
        scan_prefix(index, &self.keys.space(keys::OUTCOME), false, &mut |_, value| {
            outcomes.push(Outcome::from_bytes(value).map_err(damaged("outcome")));
            ControlFlow::Continue(())
        })?;
        outcomes.into_iter().collect()
    }
}

fn load(overlay: &Overlay<'_>, key: &[u8]) -> Result<Record, DocumentError> {
    match overlay.get(key)? {
        Some(bytes) => Record::from_bytes(&bytes).map_err(damaged("document")),
        None => Ok(Record::default()),
    }
}

/// A document being refolded.
struct Refolded {
    before: Record,
    committed: Record,
    /// Whether the committed record is not yet stored where it belongs.
    moved: bool,
}

/// One call of [`Documents::deliver`] under way.
pub(crate) struct Work<'a, 'b> {
    keys: &'a Keys,
    overlay: &'a mut Overlay<'b>,
    /// Indexes of the scopes met so far.
    indexes: FxHashMap<Scope, Arc<Vec<FieldIndex>>>,
    /// What is pending on the documents met so far, so that settling a long tail scans it once.
    queues: FxHashMap<DocPath, BTreeSet<Stamp>>,
    pub(crate) changes: Vec<Change>,
}

impl<'a, 'b> Work<'a, 'b> {
    pub(crate) fn new(keys: &'a Keys, overlay: &'a mut Overlay<'b>) -> Self {
        let (indexes, queues) = (FxHashMap::default(), FxHashMap::default());
        Self { keys, overlay, indexes, queues, changes: Vec::new() }
    }

    pub(crate) fn view(&self, path: &DocPath) -> Result<Record, DocumentError> {
        load(self.overlay, &self.keys.view(path))
    }

    /// The committed record beneath `view`.
    fn committed(&self, path: &DocPath, view: &Record) -> Result<Record, DocumentError> {
        if view.pending == 0 {
            return Ok(view.clone());
        }
        load(self.overlay, &self.keys.committed(path))
    }

    fn event(&self, log: &LogId, seq: u64) -> Result<Option<Stored>, DocumentError> {
        let bytes = self.overlay.get(&self.keys.event(keys::PENDING, log, seq))?;
        bytes.map(|bytes| Stored::from_bytes(&bytes).map_err(damaged("pending event"))).transpose()
    }

    fn queue(&mut self, path: &DocPath) -> Result<&mut BTreeSet<Stamp>, DocumentError> {
        if !self.queues.contains_key(path) {
            let mut queue = BTreeSet::new();
            let prefix = self.keys.doc(keys::PENDING_OF, path);
            self.overlay.scan_prefix(&prefix, &mut |key, _| {
                queue.extend(keys::stamp_of(key));
                ControlFlow::Continue(())
            })?;
            self.queues.insert(path.clone(), queue);
        }
        Ok(self.queues.get_mut(path).expect("it was put there"))
    }

    fn enqueue(&mut self, path: &DocPath, stamp: Stamp) {
        self.overlay.put(self.keys.pending_of(path, &stamp), []);
        if let Some(queue) = self.queues.get_mut(path) {
            queue.insert(stamp);
        }
    }

    fn dequeue(&mut self, path: &DocPath, stamp: Stamp) {
        self.overlay.remove(self.keys.pending_of(path, &stamp));
        if let Some(queue) = self.queues.get_mut(path) {
            queue.remove(&stamp);
        }
    }

    fn note(&mut self, event: &Stored, at: Option<Position>, reason: String, unreadable: bool) {
        let outcome = Outcome { id: event.id, at, unreadable, reason };
        let key = self.keys.event(keys::OUTCOME, &event.log, event.seq);
        self.overlay.put(key, outcome.to_bytes());
    }

    /// A new event without a place in the order.
    fn pend(&mut self, event: &OpenEvent) -> Result<(), DocumentError> {
        let key = self.keys.event(keys::PENDING, &event.log, event.seq);
        if self.overlay.get(&key)?.is_some() {
            return Ok(());
        }
        let batch = Batch::from_body(&event.body);
        let docs = batch.as_ref().map(touched).unwrap_or_default();
        let stored = Stored::new(event, docs);
        self.overlay.put(key, stored.to_bytes());
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                self.note(&stored, None, error.to_string(), true);
                return Ok(());
            }
        };
        let stamp = stored.stamp();
        let mut records = Records::new();
        let mut last = true;
        for (path, _) in &stored.docs {
            self.enqueue(path, stamp);
            let view = self.view(path)?;
            last &= view.pending_last.is_none_or(|last| last < stamp);
            records.insert(path.clone(), view);
        }
        if !last && !planted(Bug::MiddleNotRefolded) {
            let start = stored.docs.iter().map(|(path, _)| (path.clone(), None));
            return self.refold(start.collect());
        }
        let before = records.clone();
        if let Err(refusal) = apply_batch(&mut records, &batch, stored.writer()) {
            self.note(&stored, None, refusal.to_string(), false);
        }
        for (path, mut after) in records {
            after.pending += 1;
            after.pending_last = Some(stamp);
            let before = &before[&path];
            let committed = (before.pending == 0).then_some(before);
            self.store(&path, before, committed, &after)?;
        }
        Ok(())
    }

    /// An event takes effect that was never pending here.
    fn commit(&mut self, event: &OpenEvent, at: Position) -> Result<(), DocumentError> {
        let key = self.keys.event(keys::PENDING, &event.log, event.seq);
        if self.overlay.get(&key)?.is_some() {
            return self.settle(&event.log, event.seq, at);
        }
        let batch = match Batch::from_body(&event.body) {
            Ok(batch) => batch,
            Err(error) => {
                self.note(&Stored::new(event, Vec::new()), Some(at), error.to_string(), true);
                return Ok(());
            }
        };
        let docs = touched(&batch);
        let stored = Stored::without_body(event, docs);
        let mut records = Records::new();
        let mut calm = true;
        for (path, _) in &stored.docs {
            let view = self.view(path)?;
            calm &= view.pending == 0;
            records.insert(path.clone(), self.committed(path, &view)?);
        }
        let before = calm.then(|| records.clone());
        if !self.advance(&mut records, &stored, &batch, at) {
            return Ok(());
        }
        match before {
            Some(before) => records
                .iter()
                .try_for_each(|(path, after)| self.store(path, &before[path], None, after)),
            None => self.refold(records.into_iter().map(|(path, r)| (path, Some(r))).collect()),
        }
    }

    /// Applies a committed event to committed records; `false` if it was refused.
    fn advance(
        &mut self,
        records: &mut Records,
        event: &Stored,
        batch: &Batch,
        at: Position,
    ) -> bool {
        if planted(Bug::EffectTwice) {
            let _ = apply_batch(records, batch, event.writer());
        }
        let verdict = apply_batch(records, batch, event.writer());
        if let Err(refusal) = &verdict {
            self.note(event, Some(at), refusal.to_string(), false);
            return false;
        }
        self.remember(event, at, records);
        for (path, _) in &event.docs {
            let record = records.get_mut(path).expect("the batch was applied to it");
            *record = std::mem::take(record).changed_by(event, at);
        }
        true
    }

    /// Adds a committed event to the history of its documents, as they were before it.
    fn remember(&mut self, event: &Stored, at: Position, before: &Records) {
        let past = Past::new(event, at, |path| before.get(path).and_then(|record| record.last));
        let key = self.keys.event(keys::HISTORY, &event.log, event.seq);
        self.overlay.put(key, past.to_bytes());
    }

    /// Takes a pending event out of all queues.
    fn take(&mut self, log: &LogId, seq: u64) -> Result<Option<Stored>, DocumentError> {
        let Some(event) = self.event(log, seq)? else { return Ok(None) };
        self.overlay.remove(self.keys.event(keys::PENDING, log, seq));
        Ok(Some(event))
    }

    /// A pending event takes effect.
    fn settle(&mut self, log: &LogId, seq: u64, at: Position) -> Result<(), DocumentError> {
        let Some(event) = self.take(log, seq)? else { return Ok(()) };
        let outcome_key = self.keys.event(keys::OUTCOME, log, seq);
        let outcome = match self.overlay.get(&outcome_key)? {
            Some(bytes) => Some(Outcome::from_bytes(&bytes).map_err(damaged("outcome"))?),
            None => None,
        };
        if let Some(Outcome { unreadable: true, reason, .. }) = outcome {
            self.note(&event, Some(at), reason, true);
            return Ok(());
        }
        let stamp = event.stamp();
        let mut first = true;
        let mut views = Records::new();
        for (path, _) in &event.docs {
            let view = self.view(path)?;
            first &= view.pending == 1 || self.queue(path)?.first() == Some(&stamp);
            views.insert(path.clone(), view);
        }
        for (path, _) in &event.docs {
            self.dequeue(path, stamp);
        }
        if first && outcome.is_none() && views.values().all(|view| view.pending == 1) {
            return self.settle_alone(&event, views, at);
        }
        let batch = self.body_of(&event)?;
        let mut records = Records::new();
        for (path, view) in &views {
            records.insert(path.clone(), self.committed(path, view)?);
        }
        if self.advance(&mut records, &event, &batch, at) && outcome.is_some() {
            self.overlay.remove(outcome_key);
        }
        if !first {
            return self.refold(records.into_iter().map(|(path, r)| (path, Some(r))).collect());
        }
        for (path, before) in views {
            let committed = &records[&path];
            let Record { changes, at, last, .. } = *committed;
            let mut after = Record { changes, at, last, ..before.clone() };
            after.pending -= 1;
            if after.pending == 0 {
                after = committed.clone();
            }
            self.store(&path, &before, Some(committed), &after)?;
        }
        Ok(())
    }

    /// The event was all that was pending on its documents, and applied: the views are what the
    /// committed records become.
    fn settle_alone(
        &mut self,
        event: &Stored,
        views: Records,
        at: Position,
    ) -> Result<(), DocumentError> {
        self.remember(event, at, &views);
        for (path, before) in views {
            let after = before.clone().without_pending().changed_by(event, at);
            self.store(&path, &before, None, &after)?;
        }
        Ok(())
    }

    /// A pending event will never take effect.
    fn retract(&mut self, log: &LogId, seq: u64) -> Result<(), DocumentError> {
        let Some(event) = self.take(log, seq)? else { return Ok(()) };
        let key = self.keys.event(keys::OUTCOME, log, seq);
        if self.overlay.get(&key)?.is_some() {
            self.overlay.remove(key);
        }
        let stamp = event.stamp();
        let mut start = Vec::new();
        for (path, _) in event.docs {
            self.dequeue(&path, stamp);
            start.push((path, None));
        }
        self.refold(start)
    }

    fn body_of(&self, event: &Stored) -> Result<Batch, DocumentError> {
        let wrong = |_| damaged("pending event")(BinaryError { what: "body" });
        Batch::from_body(&event.body).map_err(wrong)
    }

    /// Folds what is pending again, for these documents (with a new committed record, if given)
    /// and all that share a pending batch with them.
    pub(crate) fn refold(
        &mut self,
        start: Vec<(DocPath, Option<Record>)>,
    ) -> Result<(), DocumentError> {
        let mut todo = VecDeque::from(start);
        let mut docs: BTreeMap<DocPath, Refolded> = BTreeMap::new();
        let mut events: BTreeMap<Stamp, Stored> = BTreeMap::new();
        while let Some((path, committed)) = todo.pop_front() {
            if docs.contains_key(&path) {
                continue;
            }
            for stamp in self.queue(&path)?.clone() {
                if events.contains_key(&stamp) {
                    continue;
                }
                let missing = || damaged("pending event")(BinaryError { what: "event" });
                let event = self.event(&stamp.log, stamp.seq)?.ok_or_else(missing)?;
                todo.extend(event.docs.iter().map(|(path, _)| (path.clone(), None)));
                events.insert(stamp, event);
            }
            let before = self.view(&path)?;
            let moved = committed.is_some() || before.pending == 0;
            let committed = match committed {
                Some(committed) => committed,
                None => self.committed(&path, &before)?,
            };
            docs.insert(path, Refolded { before, committed, moved });
        }
        let mut records: Records =
            docs.iter().map(|(path, doc)| (path.clone(), doc.committed.clone())).collect();
        for (stamp, event) in &events {
            let batch = self.body_of(event)?;
            let key = self.keys.event(keys::OUTCOME, &event.log, event.seq);
            match apply_batch(&mut records, &batch, event.writer()) {
                Err(refusal) => self.note(event, None, refusal.to_string(), false),
                Ok(()) if self.overlay.get(&key)?.is_some() => self.overlay.remove(key),
                Ok(()) => {}
            }
            for (path, _) in &event.docs {
                let record = records.get_mut(path).expect("the closure holds all its documents");
                record.pending += 1;
                record.pending_last = Some(*stamp);
            }
        }
        for (path, doc) in docs {
            let committed = doc.moved.then_some(&doc.committed);
            self.store(&path, &doc.before, committed, &records[&path])?;
        }
        Ok(())
    }

    /// Writes a document that was `before` and is `after`; `committed` is given if the committed
    /// record beneath it changed or is not stored on its own yet.
    fn store(
        &mut self,
        path: &DocPath,
        before: &Record,
        committed: Option<&Record>,
        after: &Record,
    ) -> Result<(), DocumentError> {
        if before == after && committed.is_none() {
            return Ok(());
        }
        let nothing = Record::default();
        if *after == nothing {
            self.overlay.remove(self.keys.view(path));
        } else {
            self.overlay.put(self.keys.view(path), after.to_bytes());
        }
        match committed {
            Some(committed) if after.pending > 0 && *committed != nothing => {
                self.overlay.put(self.keys.committed(path), committed.to_bytes());
            }
            _ if before.pending > 0 && after.pending == 0 => {
                self.overlay.remove(self.keys.committed(path));
            }
            _ => {}
        }
        let (old, new) = (before.value.as_deref(), after.value.as_deref());
        for scope in Scope::both(path) {
            let indexes = self.indexes_of(&scope)?;
            field_index::update(self.keys, self.overlay, (&scope, &indexes), path, old, new);
        }
        let change = Change {
            path: path.clone(),
            before: Doc::of(path, before),
            after: Doc::of(path, after),
        };
        if change.before != change.after {
            self.changes.push(change);
        }
        Ok(())
    }

    fn indexes_of(&mut self, scope: &Scope) -> Result<Arc<Vec<FieldIndex>>, DocumentError> {
        if let Some(known) = self.indexes.get(scope) {
            return Ok(Arc::clone(known));
        }
        let bytes = self.overlay.get(&field_index::registry_key(self.keys, scope))?;
        let indexes = Arc::new(field_index::read_registry(bytes.as_deref())?);
        self.indexes.insert(scope.clone(), Arc::clone(&indexes));
        Ok(indexes)
    }
}

#[cfg(test)]
mod tests;

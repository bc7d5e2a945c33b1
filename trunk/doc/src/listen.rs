//! Listeners: one document or one query, kept up to date by changes instead of asking again.
//!
//! A listener is pure: it is given changes and returns snapshots. Whoever carries snapshots to a
//! slow consumer keeps the latest result and merges what lies between, so that queues stay bounded
//! and nobody misses the current state; that is the driver's work. A query with a limit reads its
//! window again when a document leaves it and others may wait behind it; all else costs in
//! proportion to what changed.

use crate::answer::AnswerError;
use crate::change::{Change, Doc};
use crate::engine::Documents;
use crate::query::Query;
use rhizome_log::Index;
use rhizome_schema::DocPath;
use rustc_hash::FxHashMap;
use std::cmp::Ordering;
use std::sync::Arc;

/// What is listened to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// One document.
    Document(DocPath),
    /// The result of a query.
    Query(Query),
}

/// What happened to a document of the result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It left.
    Removed,
    /// It came.
    Added,
    /// Its fields changed, or its place.
    Modified,
    /// Only `pending`, position or conflicts changed.
    Metadata,
}

/// One step from the old result to the new one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DocChange {
    /// What happened.
    pub kind: Kind,
    /// The document (as it was, if it left).
    pub doc: Arc<Doc>,
    /// Its place before the step; `None` if it came.
    pub old_index: Option<usize>,
    /// Its place after the step; `None` if it left.
    pub new_index: Option<usize>,
}

/// A result and how it came from the one before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// All documents, in order.
    pub docs: Vec<Arc<Doc>>,
    /// Removed, added, modified, metadata; applying them one by one to the old result gives the
    /// new one.
    pub changes: Vec<DocChange>,
    /// Whether any document is pending.
    pub has_pending_writes: bool,
}

impl Snapshot {
    /// Whether contents or places are as they were, so that only those who asked for metadata are
    /// told.
    #[must_use]
    pub fn is_metadata_only(&self) -> bool {
        self.changes.iter().all(|change| change.kind == Kind::Metadata)
    }
}

/// One open listener.
#[derive(Clone, Debug)]
pub struct Listener {
    target: Target,
    docs: Vec<Arc<Doc>>,
}

impl Listener {
    /// Opens a listener; the first snapshot has everything as added.
    pub fn open(
        documents: &Documents,
        index: &dyn Index,
        target: Target,
    ) -> Result<(Self, Snapshot), AnswerError> {
        let mut listener = Self { target, docs: Vec::new() };
        let docs = listener.read(documents, index)?;
        let snapshot = listener.advance(docs);
        Ok((listener, snapshot))
    }

    /// The current result.
    #[must_use]
    pub fn docs(&self) -> &[Arc<Doc>] {
        &self.docs
    }

    /// Takes the changes of one delivery, after they were written to `index`. `None`: nothing that
    /// is listened to changed.
    pub fn update(
        &mut self,
        documents: &Documents,
        index: &dyn Index,
        changes: &[Change],
    ) -> Result<Option<Snapshot>, AnswerError> {
        let concerned = |change: &&Change| self.concerns(&change.path);
        let docs = match &self.target {
            Target::Document(_) => match changes.iter().rfind(concerned) {
                Some(change) => change.after.iter().cloned().collect(),
                None => return Ok(None),
            },
            Target::Query(query) => {
                let changes: Vec<&Change> = changes.iter().filter(concerned).collect();
                match self.window(query, &changes) {
                    Some(docs) => docs,
                    None => self.read(documents, index)?,
                }
            }
        };
        if docs == self.docs { Ok(None) } else { Ok(Some(self.advance(docs))) }
    }

    /// The result after changes; `None` if documents that were never in it may belong there.
    fn window(&self, query: &Query, changes: &[&Change]) -> Option<Vec<Arc<Doc>>> {
        if query.last {
            // What is kept of the end is kept of the beginning the other way round.
            let turned = |docs: &[Arc<Doc>]| docs.iter().rev().cloned().collect::<Vec<_>>();
            let docs = first(&query.reversed(), &turned(&self.docs), changes)?;
            return Some(turned(&docs));
        }
        first(query, &self.docs, changes)
    }

    fn concerns(&self, path: &DocPath) -> bool {
        match &self.target {
            Target::Document(document) => document == path,
            Target::Query(query) => query.scope.holds(path),
        }
    }

    fn read(&self, documents: &Documents, index: &dyn Index) -> Result<Vec<Arc<Doc>>, AnswerError> {
        match &self.target {
            Target::Document(path) => Ok(documents.get(index, path)?.into_iter().collect()),
            Target::Query(query) => documents.query(index, query),
        }
    }

    /// Makes `docs` the result and says how it came from the one before.
    fn advance(&mut self, docs: Vec<Arc<Doc>>) -> Snapshot {
        let changes = self.target.steps(&self.docs, &docs);
        self.docs.clone_from(&docs);
        let has_pending_writes = docs.iter().any(|doc| doc.pending);
        Snapshot { docs, changes, has_pending_writes }
    }
}

/// The first documents of a result after changes, as far as they are known.
fn first(query: &Query, before: &[Arc<Doc>], changes: &[&Change]) -> Option<Vec<Arc<Doc>>> {
    let mut docs = before.to_vec();
    let full = query.limit == Some(before.len());
    let mut left = false;
    for change in changes {
        left |= replace(query, &mut docs, change);
    }
    docs.truncate(query.limit.unwrap_or(usize::MAX));
    // A full window whose documents moved behind its old end may have lost them to documents that
    // were never in it.
    let behind =
        |doc: &Arc<Doc>| before.last().is_some_and(|last| query.compare(doc, last).is_gt());
    let others = full && (left || docs.iter().any(behind));
    (!others).then_some(docs)
}

/// Puts one change into a result. `true` if a document left it.
fn replace(query: &Query, docs: &mut Vec<Arc<Doc>>, change: &Change) -> bool {
    let old = docs.iter().position(|doc| doc.path == change.path);
    if let Some(old) = old {
        docs.remove(old);
    }
    let Some(doc) = change.after.as_ref().filter(|doc| query.matches(doc)) else {
        return old.is_some();
    };
    let place = docs.binary_search_by(|other| query.compare(other, doc));
    docs.insert(place.unwrap_or_else(|place| place), Arc::clone(doc));
    false
}

impl Target {
    fn compare(&self, a: &Doc, b: &Doc) -> Ordering {
        match self {
            Self::Document(_) => Ordering::Equal,
            Self::Query(query) => query.compare(a, b),
        }
    }

    /// The steps from one result to another: removed, added, modified, metadata. Each place is the
    /// one at its step: documents not yet stepped over stand where their old contents put them.
    fn steps(&self, old: &[Arc<Doc>], new: &[Arc<Doc>]) -> Vec<DocChange> {
        let of = |docs: &[Arc<Doc>]| {
            let entry = |doc: &Arc<Doc>| (doc.path.clone(), Arc::clone(doc));
            docs.iter().map(entry).collect::<FxHashMap<_, _>>()
        };
        let (before, after) = (of(old), of(new));
        let mut now = old.to_vec();
        let mut changes = Vec::new();
        for doc in old.iter().filter(|doc| !after.contains_key(&doc.path)) {
            changes.push(self.step(Kind::Removed, &mut now, doc, false));
        }
        for doc in new.iter().filter(|doc| !before.contains_key(&doc.path)) {
            changes.push(self.step(Kind::Added, &mut now, doc, true));
        }
        let kept = new.iter().filter_map(|doc| Some((doc, before.get(&doc.path)?)));
        let (metadata, modified): (Vec<_>, Vec<_>) =
            kept.filter(|(doc, was)| doc != was).partition(|(doc, was)| was.same_contents(doc));
        for (doc, _) in modified {
            changes.push(self.step(Kind::Modified, &mut now, doc, true));
        }
        for (doc, _) in metadata {
            changes.push(self.step(Kind::Metadata, &mut now, doc, true));
        }
        changes
    }

    /// Takes `doc` out of `now` if it is there, and puts it in its place if it `stays`.
    fn step(&self, kind: Kind, now: &mut Vec<Arc<Doc>>, doc: &Arc<Doc>, stays: bool) -> DocChange {
        let old_index = now.iter().position(|other| other.path == doc.path);
        if let Some(old) = old_index {
            now.remove(old);
        }
        let new_index = stays.then(|| {
            let place = now.binary_search_by(|other| self.compare(other, doc));
            place.unwrap_or_else(|place| place)
        });
        if let Some(new) = new_index {
            now.insert(new, Arc::clone(doc));
        }
        DocChange { kind, doc: Arc::clone(doc), old_index, new_index }
    }
}

#[cfg(test)]
mod tests;

//! Answering queries from the index: choosing a plan, building what is missing, reading a range.

use crate::change::Doc;
use crate::condition::Branch;
use crate::engine::{DocumentError, Documents, damaged};
use crate::field_index::{self, FieldIndex, INDEXES_MAX, Part};
use crate::keys;
use crate::plan::{Keys, Plan, Step, bounds, index_parts};
use crate::query::{Direction, Query, QueryError};
use crate::record::Record;
use crate::scope::Scope;
use rhizome_log::{Index, Overlay, prefix_end};
use rhizome_schema::{Code, DocPath};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It cannot be asked.
    #[error("query cannot be asked")]
    Query(#[from] QueryError),
    /// The documents could not be read.
    #[error("documents could not be read")]
    Document(#[from] DocumentError),
}

impl AnswerError {
    /// The code an application is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Query(error) => error.code(),
            Self::Document(error) => error.code(),
        }
    }
}

/// How far the building of an index has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Building {
    /// Queries use it.
    Complete,
    /// There are documents left; call again.
    More,
    /// The scope has [`INDEXES_MAX`] indexes already; the query goes on scanning.
    Full,
}

impl Documents {
    /// How `query` would be answered now.
    pub fn plan(&self, index: &dyn Index, query: &Query) -> Result<Plan, AnswerError> {
        query.validate()?;
        let known = self.indexes(index, &query.scope)?;
        let mut steps = Vec::new();
        for branch in query.branches() {
            match step(query, &branch, &known) {
                Ok(step) => steps.push(step),
                Err(wanted) => return Ok(Plan::Scan { wanted }),
            }
        }
        Ok(Plan::Read(steps))
    }

    /// The indexes of a scope.
    pub fn indexes(
        &self,
        index: &dyn Index,
        scope: &Scope,
    ) -> Result<Vec<FieldIndex>, DocumentError> {
        let key = field_index::registry_key(&self.keys, scope);
        field_index::read_registry(index.get(&key)?.as_deref())
    }

    /// Builds the index a plan wants, at most `documents_max` documents at a time, so that writes
    /// are never kept waiting. It can be interrupted anywhere and goes on where it stood.
    pub fn build_index(
        &self,
        overlay: &mut Overlay<'_>,
        scope: &Scope,
        parts: &[Part],
        documents_max: usize,
    ) -> Result<Building, DocumentError> {
        let key = field_index::registry_key(&self.keys, scope);
        let mut known = field_index::read_registry(overlay.get(&key)?.as_deref())?;
        let at = match known.iter().position(|one| one.parts == parts) {
            Some(at) => at,
            None if known.len() >= INDEXES_MAX => return Ok(Building::Full),
            None => {
                let number = known.iter().map(|one| one.number + 1).max().unwrap_or(0);
                let (parts, cursor) = (parts.to_vec(), Vec::new());
                known.push(FieldIndex { number, parts, complete: false, cursor });
                known.len() - 1
            }
        };
        let one = &mut known[at];
        if one.complete {
            return Ok(Building::Complete);
        }
        let prefix = self.views(scope);
        let from = if one.cursor.is_empty() { prefix.clone() } else { one.cursor.clone() };
        let mut seen: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        overlay.scan(&from, prefix_end(&prefix).as_deref(), &mut |key, value| {
            seen.push((key.to_vec(), value.to_vec()));
            if seen.len() > documents_max {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        one.complete = seen.len() <= documents_max;
        one.cursor = Vec::new();
        if !one.complete {
            // The surplus one is where the next call begins.
            one.cursor = seen.pop().map(|(key, _)| key).unwrap_or_default();
        }
        for (key, value) in seen {
            let (path, record) = self.read_view(&key, &value)?;
            if let Some(fields) = record.value.as_ref().filter(|_| scope.holds(&path)) {
                for key in field_index::entry_keys(&self.keys, scope, one, &path, fields) {
                    overlay.put(key, scope.entry(&path));
                }
            }
        }
        let building = if one.complete { Building::Complete } else { Building::More };
        overlay.put(key, field_index::write_registry(&known));
        Ok(building)
    }

    fn read_view(&self, key: &[u8], value: &[u8]) -> Result<(DocPath, Record), DocumentError> {
        let space = self.keys.space(keys::VIEW).len();
        let wrong = || damaged("document")(rhizome_schema::binary::BinaryError { what: "path" });
        let path = keys::path_of(key, space).ok_or_else(wrong)?;
        Ok((path, Record::from_bytes(value).map_err(damaged("document"))?))
    }

    /// What begins the keys of all documents that may be in a scope.
    fn views(&self, scope: &Scope) -> Vec<u8> {
        match scope {
            Scope::Collection(collection) => self.keys.with(keys::VIEW, &collection.key()),
            Scope::Group(_) => self.keys.space(keys::VIEW),
        }
    }

    /// The documents of the result, in order.
    pub fn query(&self, index: &dyn Index, query: &Query) -> Result<Vec<Arc<Doc>>, AnswerError> {
        query.validate()?;
        if query.last {
            let mut docs = self.query(index, &query.reversed())?;
            docs.reverse();
            return Ok(docs);
        }
        let steps = match self.plan(index, query)? {
            Plan::Read(steps) => steps,
            Plan::Scan { .. } => {
                let views = self.views(&query.scope);
                let keys = Keys { to: prefix_end(&views), from: views };
                let docs = self.read_views(index, query, &keys, None)?;
                return Ok(merged(query, docs));
            }
        };
        let (mut docs, many) = (Vec::new(), steps.len() > 1);
        for (branch, step) in query.branches().iter().zip(&steps) {
            docs.append(&mut self.read(index, query, branch, step)?);
        }
        Ok(if many { merged(query, docs) } else { docs })
    }

    /// The first documents of one branch.
    fn read(
        &self,
        index: &dyn Index,
        query: &Query,
        branch: &Branch,
        step: &Step,
    ) -> Result<Vec<Arc<Doc>>, AnswerError> {
        match step {
            Step::Document(path) => {
                let doc = self.get(index, path)?.filter(|doc| query.matches(doc));
                Ok(doc.into_iter().collect())
            }
            Step::Names => {
                let keys = bounds(query, branch, &[], self.views(&query.scope));
                self.read_views(index, query, &keys, query.limit)
            }
            Step::Range { number, parts } => {
                let prefix = field_index::entry_prefix(&self.keys, &query.scope, *number);
                self.read_range(index, query, &bounds(query, branch, parts, prefix))
            }
        }
    }

    fn read_views(
        &self,
        index: &dyn Index,
        query: &Query,
        keys: &Keys,
        limit: Option<usize>,
    ) -> Result<Vec<Arc<Doc>>, AnswerError> {
        let found = |key: &[u8], value: &[u8]| {
            let (path, record) = self.read_view(key, value)?;
            Ok(Doc::of(&path, &record))
        };
        collect(index, query, keys, limit, &found)
    }

    fn read_range(
        &self,
        index: &dyn Index,
        query: &Query,
        keys: &Keys,
    ) -> Result<Vec<Arc<Doc>>, AnswerError> {
        let wrong = || damaged("index entry")(rhizome_schema::binary::BinaryError { what: "id" });
        let found = |_: &[u8], entry: &[u8]| {
            let path = query.scope.document(entry).ok_or_else(wrong)?;
            self.get(index, &path)
        };
        collect(index, query, keys, query.limit, &found)
    }
}

/// What answers a branch; `Err` is the index that it lacks.
fn step(query: &Query, branch: &Branch, known: &[FieldIndex]) -> Result<Step, Vec<Part>> {
    if let Some(path) = branch.name() {
        return Ok(Step::Document(path.clone()));
    }
    let Some(parts) = index_parts(query, branch) else { return Ok(Step::Names) };
    match known.iter().find(|one| one.complete && one.parts == parts) {
        Some(one) => Ok(Step::Range { number: one.number, parts }),
        None => Err(parts),
    }
}

/// Documents of several branches, each once, as one result.
fn merged(query: &Query, mut docs: Vec<Arc<Doc>>) -> Vec<Arc<Doc>> {
    docs.sort_by(|a, b| query.compare(a, b));
    docs.dedup_by(|a, b| a.path == b.path);
    docs.truncate(query.limit.unwrap_or(usize::MAX));
    docs
}

/// What a row of the index stands for, if it still exists.
type Found<'a> = dyn Fn(&[u8], &[u8]) -> Result<Option<Arc<Doc>>, DocumentError> + 'a;

/// The first matching documents between keys, in the direction of the query.
fn collect(
    index: &dyn Index,
    query: &Query,
    keys: &Keys,
    limit: Option<usize>,
    found: &Found<'_>,
) -> Result<Vec<Arc<Doc>>, AnswerError> {
    let reverse = query.name_direction() == Direction::Descending;
    let mut docs = Vec::new();
    let mut wrong = Ok(());
    let to = keys.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    index
        .scan(Bound::Included(&keys.from), to, reverse, &mut |key, value| {
            match found(key, value) {
                Ok(doc) => docs.extend(doc.filter(|doc| query.matches(doc))),
                Err(error) => wrong = Err(error),
            }
            if wrong.is_err() || limit.is_some_and(|limit| docs.len() >= limit) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .map_err(DocumentError::from)?;
    wrong?;
    Ok(docs)
}

#[cfg(test)]
mod tests;

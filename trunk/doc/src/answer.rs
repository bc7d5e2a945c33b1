//! Answering queries from the index: choosing a plan, building what is missing, reading a range.

use crate::change::Doc;
use crate::engine::{DocumentError, Documents, damaged};
use crate::field_index::{self, FieldIndex, INDEXES_MAX, Part, PartKind, push_part};
use crate::keys;
use crate::query::{Direction, Operator, Plan, Query, QueryError};
use crate::record::Record;
use rhizome_log::{Index, Overlay, prefix_end};
use rhizome_schema::{Code, CollectionPath, DocPath, Value};
use std::collections::BTreeSet;
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
    /// The collection has [`INDEXES_MAX`] indexes already; the query goes on scanning.
    Full,
}

impl Documents {
    /// How `query` would be answered now.
    pub fn plan(&self, index: &dyn Index, query: &Query) -> Result<Plan, AnswerError> {
        query.validate()?;
        let Some(parts) = query.index_parts() else {
            return Ok(Plan::Names { reverse: query.name_direction() == Direction::Descending });
        };
        let known = self.indexes(index, &query.collection)?;
        let fits = known.into_iter().find(|one| one.complete && one.parts == parts);
        Ok(match fits {
            Some(one) => Plan::Range { number: one.number, parts },
            None => Plan::Scan { wanted: parts },
        })
    }

    /// The indexes of a collection.
    pub fn indexes(
        &self,
        index: &dyn Index,
        collection: &CollectionPath,
    ) -> Result<Vec<FieldIndex>, DocumentError> {
        let key = field_index::registry_key(&self.keys, collection);
        field_index::read_registry(index.get(&key)?.as_deref())
    }

    /// Builds the index a plan wants, at most `documents_max` documents at a time, so that writes
    /// are never kept waiting. It can be interrupted anywhere and goes on where it stood.
    pub fn build_index(
        &self,
        overlay: &mut Overlay<'_>,
        collection: &CollectionPath,
        parts: &[Part],
        documents_max: usize,
    ) -> Result<Building, DocumentError> {
        let key = field_index::registry_key(&self.keys, collection);
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
        let prefix = self.keys.with(keys::VIEW, &collection.key());
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
            if let Some(fields) = &record.value {
                for key in field_index::entry_keys(&self.keys, one, &path, fields) {
                    overlay.put(key, path.id_key());
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

    /// The documents of the result, in order.
    pub fn query(&self, index: &dyn Index, query: &Query) -> Result<Vec<Arc<Doc>>, AnswerError> {
        match self.plan(index, query)? {
            Plan::Range { number, parts } => self.read_range(index, query, number, &parts),
            Plan::Names { reverse } => self.read_names(index, query, reverse, query.limit),
            Plan::Scan { .. } => {
                let mut docs = self.read_names(index, query, false, None)?;
                docs.sort_by(|a, b| query.compare(a, b));
                docs.truncate(query.limit.unwrap_or(usize::MAX));
                Ok(docs)
            }
        }
    }

    fn read_names(
        &self,
        index: &dyn Index,
        query: &Query,
        reverse: bool,
        limit: Option<usize>,
    ) -> Result<Vec<Arc<Doc>>, AnswerError> {
        let prefix = self.keys.with(keys::VIEW, &query.collection.key());
        let mut docs = Vec::new();
        let mut wrong = Ok(());
        rhizome_log::scan_prefix(index, &prefix, reverse, &mut |key, value| {
            match self.read_view(key, value) {
                Ok((path, record)) => {
                    let matching = Doc::of(&path, &record).filter(|doc| query.matches(&doc.fields));
                    docs.extend(matching);
                }
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

    fn read_range(
        &self,
        index: &dyn Index,
        query: &Query,
        number: u32,
        parts: &[Part],
    ) -> Result<Vec<Arc<Doc>>, AnswerError> {
        let prefix = field_index::entry_prefix(&self.keys, &query.collection, number);
        let (from, to) = bounds(query, parts, prefix);
        let reverse = query.name_direction() == Direction::Descending;
        let mut docs = Vec::new();
        let mut wrong = Ok(());
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        index
            .scan(Bound::Included(&from), to, reverse, &mut |_, id_key| {
                match self.entry(index, query, id_key) {
                    Ok(doc) => docs.extend(doc.filter(|doc| query.matches(&doc.fields))),
                    Err(error) => wrong = Err(error),
                }
                if wrong.is_err() || query.limit.is_some_and(|limit| docs.len() >= limit) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .map_err(DocumentError::from)?;
        wrong?;
        Ok(docs)
    }

    fn entry(
        &self,
        index: &dyn Index,
        query: &Query,
        id_key: &[u8],
    ) -> Result<Option<Arc<Doc>>, DocumentError> {
        let wrong = || damaged("index entry")(rhizome_schema::binary::BinaryError { what: "id" });
        let path = DocPath::from_id_key(&query.collection, id_key).ok_or_else(wrong)?;
        self.get(index, &path)
    }
}

/// The range of an index that holds every match: the values of the equalities, then the
/// inequalities on the first ordered field. What the range lets through is checked again.
fn bounds(query: &Query, parts: &[Part], mut prefix: Vec<u8>) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut used: BTreeSet<&Part> = BTreeSet::new();
    for part in parts {
        let wanted = query.filters.iter().find(|filter| {
            filter.field == part.field
                && match part.kind {
                    PartKind::Contains => filter.operator == Operator::ArrayContains,
                    _ => filter.operator == Operator::Equal,
                }
        });
        let Some(filter) = wanted else { break };
        push_part(&mut prefix, part.kind, &filter.value);
        used.insert(part);
    }
    let (mut from, mut to) = (prefix.clone(), prefix_end(&prefix));
    let Some(part) = parts.get(used.len()) else { return (from, to) };
    for filter in query.filters.iter().filter(|filter| filter.field == part.field) {
        let ascending = part.kind == PartKind::Ascending;
        let key = |value: &Value| {
            let mut key = prefix.clone();
            push_part(&mut key, part.kind, value);
            key
        };
        let lower = matches!(
            (filter.operator, ascending),
            (Operator::Greater | Operator::GreaterOrEqual, true)
                | (Operator::Less | Operator::LessOrEqual, false)
        );
        let upper = matches!(
            (filter.operator, ascending),
            (Operator::Less | Operator::LessOrEqual, true)
                | (Operator::Greater | Operator::GreaterOrEqual, false)
        );
        if lower {
            from = from.max(key(&filter.value));
        }
        if upper {
            let end = prefix_end(&key(&filter.value));
            to = match (to, end) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    (from, to)
}

#[cfg(test)]
mod tests;

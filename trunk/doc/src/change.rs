//! Documents as readers see them, and how they changed.

use crate::record::Record;
use rhizome_log::Position;
use rhizome_schema::{DocPath, Fields};
use std::sync::Arc;

/// A document that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Doc {
    /// Its path.
    pub path: DocPath,
    /// Its fields.
    pub fields: Arc<Fields>,
    /// When it came into being (writer's clock, milliseconds).
    pub created_ms: u64,
    /// When it last changed (writer's clock, milliseconds).
    pub updated_ms: u64,
    /// Whether part of it has no place in the order yet (Firestore's `hasPendingWrites`).
    pub pending: bool,
    /// Where the last committed change took effect.
    pub at: Option<Position>,
    /// How many values lost and wait for somebody to look.
    pub conflicts: usize,
}

impl Doc {
    pub(crate) fn of(path: &DocPath, record: &Record) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            path: path.clone(),
            fields: Arc::clone(record.value.as_ref()?),
            created_ms: record.created_ms,
            updated_ms: record.updated_ms,
            pending: record.pending > 0,
            at: record.at,
            conflicts: record.conflicts.len(),
        }))
    }

    /// Whether everything an application reads is the same; `pending` and position may differ.
    #[must_use]
    pub fn same_contents(&self, other: &Self) -> bool {
        self.path == other.path
            && (Arc::ptr_eq(&self.fields, &other.fields) || self.fields == other.fields)
    }
}

/// A document before and after a piece of news.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its path.
    pub path: DocPath,
    /// What it was, if it existed.
    pub before: Option<Arc<Doc>>,
    /// What it is, if it exists.
    pub after: Option<Arc<Doc>>,
}

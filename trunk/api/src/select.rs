//! Which documents a query is about: conditions, order, cursors, limit.

use crate::data::{Filter, OrderBy};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a document must meet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Condition {
    /// One field compares like this: `{"field": …, "op": …, "value": …}`.
    Is(Filter),
    /// All of these hold: `{"all": […]}`.
    All {
        /// They.
        all: Vec<Condition>,
    },
    /// One of these holds: `{"any": […]}`.
    Any {
        /// They.
        any: Vec<Condition>,
    },
}

/// Where a result begins or ends.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cursor {
    /// Values of the ordered fields, in their order; fewer are a prefix.
    pub values: Vec<Value>,
    /// Whether documents that equal them are in the result.
    #[serde(default)]
    pub inclusive: bool,
}

/// Which documents of a collection, in which order. The field `__name__` stands for the document's
/// name; it compares with an id of the collection or a whole path, as text.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Selection {
    /// Whether to look in every collection of that name, wherever it lies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
    /// Conditions that all hold.
    #[serde(default, rename = "where")]
    pub conditions: Vec<Condition>,
    /// The order; by name if not given.
    #[serde(default)]
    pub order: Vec<OrderBy>,
    /// Where to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Cursor>,
    /// Where to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Cursor>,
    /// How many at most.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Whether the limit keeps the last ones instead of the first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

impl Selection {
    /// Whether it takes every document of the collection.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

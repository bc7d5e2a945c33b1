//! Documents as folds of ordered events: mutations, views, queries, indexes, listeners.
//!
//! A document is what the ordered log says it is. This crate takes the news of `root/replica`
//! (events pending, settled, retracted), keeps documents in the `Index`, and answers reads, queries
//! and listeners from there; nothing is read by replaying history, and memory grows with open
//! listeners only. Collaborative values and transactions come with the document-engine issue.

mod aggregate;
mod answer;
mod change;
mod condition;
mod engine;
mod export;
mod field_index;
mod filter;
#[cfg(test)]
mod fixture;
mod fold;
mod keys;
mod listen;
mod mutation;
mod plan;
mod query;
mod record;
mod scope;
mod stamp;
mod state;
mod stored;

pub use aggregate::Aggregate;
pub use answer::{AnswerError, Building};
pub use change::{Change, Doc};
pub use condition::Condition;
pub use engine::{DocumentError, Documents, WriteError};
pub use field_index::{FieldIndex, INDEXES_MAX, Part, PartKind};
pub use filter::{Filter, Operator};
pub use fold::Refusal;
pub use keys::numbered_rows;
pub use listen::{DocChange, Kind, Listener, Snapshot, Target};
pub use mutation::{
    BATCH_BYTES_MAX, Batch, BatchError, BatchKind, FIELD_OPS_MAX, FieldOp, Merge, Mutation, Op,
};
pub use plan::{Plan, Step};
pub use query::{Cursor, Direction, Query, QueryError};
pub use record::{CONFLICTS_MAX, Conflict, Record, Why};
pub use scope::Scope;
pub use stamp::{Stamp, StampTree};
pub use state::{IndexCheck, VisitCommitted};
pub use stored::{HistoryEntry, Outcome, Summary};

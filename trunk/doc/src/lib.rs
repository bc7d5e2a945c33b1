//! Documents as folds of ordered events: mutations, views, queries, indexes, listeners.
//!
//! A document is what the ordered log says it is. This crate takes the news of `root/replica`
//! (events pending, settled, retracted), keeps documents in the `Index`, and answers reads, queries
//! and listeners from there; nothing is read by replaying history, and memory grows with open
//! listeners only. Collaborative values, transactions and the rest of the query language come with
//! the document-engine issue; what is not supported is refused as `unimplemented`.

mod answer;
mod change;
mod engine;
mod export;
mod field_index;
#[cfg(test)]
mod fixture;
mod fold;
mod keys;
mod listen;
mod mutation;
mod query;
mod record;
mod stamp;
mod state;
mod stored;

pub use answer::{AnswerError, Building};
pub use change::{Change, Doc};
pub use engine::{DocumentError, Documents, WriteError};
pub use field_index::{FieldIndex, INDEXES_MAX, Part, PartKind};
pub use fold::Refusal;
pub use keys::numbered_rows;
pub use listen::{DocChange, Kind, Listener, Snapshot, Target};
pub use mutation::{
    BATCH_BYTES_MAX, Batch, BatchError, BatchKind, FIELD_OPS_MAX, FieldOp, Merge, Mutation, Op,
};
pub use query::{Cursor, Direction, Filter, Operator, Plan, Query, QueryError};
pub use record::{CONFLICTS_MAX, Conflict, Record, Why};
pub use stamp::{Stamp, StampTree};
pub use state::{IndexCheck, VisitCommitted};
pub use stored::{HistoryEntry, Outcome, Summary};

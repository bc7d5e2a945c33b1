//! Events in per-author, per-app, hash-linked logs, and the Index they are found through.
//!
//! One log has one writer; an app's data is the union of its authors' logs. This crate builds,
//! checks and opens events and carries the sync session that ships them. It leaves the order
//! between logs to `root/cluster`, decisions to `root/replica` and meaning to `trunk`.

mod blocks;
mod deliver;
mod event;
#[cfg(test)]
mod fixture;
mod ids;
mod index;
mod run;
mod session;

pub use blocks::{Blocks, Place, ReadError};
pub use deliver::{Delivery, OpenEvent};
pub use event::{
    ALGORITHM, DEPS_MAX, Dep, EVENT_BYTES_MAX, EVENT_VERSION, Event, EventError, EventKind, Header,
    Payload, PayloadKind, Slot, read_header,
};
pub use ids::{Clock, EventId, Knowledge, LogId, LogTag, Position};
pub use index::{Batch, Index, IndexError, MemoryIndex, Overlay, Visit, prefix_end, scan_prefix};
pub use rhizome_identity::Seen;
pub use run::{
    Head, RUN_BYTES_MAX, RUN_EVENTS_MAX, RUN_VERSION, Run, RunError, RunKind, RunSignature, Stretch,
};
pub use session::{EVENTS_UNDER_WAY_MAX, Session, SessionEffect, SessionInput};

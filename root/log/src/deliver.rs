//! What the replica tells the layer above: events it opened, and when they take effect.

use crate::{Clock, EventId, Knowledge, LogId, Position};
use rhizome_block::Cid;
use std::sync::Arc;

/// An event after its signature, chain and seal have been checked and its contents decrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenEvent {
    /// Its name.
    pub id: EventId,
    /// The log it stands in.
    pub log: LogId,
    /// Its place in the log, counted from 1.
    pub seq: u64,
    /// Name of the app.
    pub app: Arc<str>,
    /// The author's hybrid clock when it wrote.
    pub hlc: Clock,
    /// The effective clock: `max(hlc, 1 + the greatest effective clock among its dependencies and
    /// its predecessor)`. Later edits win by this one.
    pub clock: Clock,
    /// Last sequence numbers of the app's other logs that the author knew when it wrote.
    pub knows: Arc<Knowledge>,
    /// The schema it was written under.
    pub schema: Option<Cid>,
    /// What the app wrote: for documents, the DAG-CBOR of a batch of mutations.
    pub body: Vec<u8>,
}

/// One piece of news for the layer above. Equal news in equal order gives equal state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// An event is known and durable here, but has no place in the order yet.
    Pending(OpenEvent),
    /// An event delivered as [`Delivery::Pending`] took effect at this position.
    Settled {
        /// Its log.
        log: LogId,
        /// Its place in the log.
        seq: u64,
        /// Where it took effect.
        at: Position,
    },
    /// An event took effect without having been pending here.
    Effective {
        /// The event.
        event: OpenEvent,
        /// Where it took effect.
        at: Position,
    },
    /// A pending event will never take effect (its author was revoked before it was placed).
    Retracted {
        /// Its log.
        log: LogId,
        /// Its place in the log.
        seq: u64,
    },
}

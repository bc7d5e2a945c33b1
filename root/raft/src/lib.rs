//! The openraft adapter and the guard in front of it, and nothing else.
//!
//! Three or five voters of one identity agree on one order. openraft carries the Raft protocol;
//! around it stand the guard, which lets no peer speak to openraft directly ([`GuardError`]), and
//! the certificates, which make what is committed provable to everybody. An entry counts as
//! committed here when a majority of voters, a trusted one among them if there is any, has signed
//! the order up to it after it was durable with them. openraft's own commit index is only one of
//! the conditions for that.
//!
//! One group lives for one *generation*. All its first voters start with the same sets of voters
//! and the same base, both from the control log; changes inside the generation are joint changes
//! ([`RaftOrder::reconcile`]). There is no pre-vote in openraft 0.9: a voter that was cut off
//! raises the term when it returns, which costs one election. Devices that sleep therefore never
//! vote, and a device with `may_lead` off neither founds a group nor calls elections.
//!
//! Left to others: which devices vote (`root/cluster`), disks, wires and the bytes that entries
//! name (the traits [`RaftDisk`], [`RaftTransport`], [`Holdings`]), what entries mean
//! (`root/replica`), and everybody who does not vote: they pull entries and certificates by the
//! sync session.
#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "tests keep fixtures and measure on real files")
)]

mod bounds;
mod bucket;
mod client;
mod config;
#[cfg(test)]
mod fixture;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod guard;
mod keeper;
mod ledger;
mod machine;
mod node;
mod order;
mod payload;
mod record;
mod serve;
mod shared;
mod state;
mod store;
mod tally;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod types;
mod voters;
mod wire;

pub use bounds::{BODIES_PER_ENTRY_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
pub use config::{Holdings, RaftConfig, RaftTransport, TransportError};
pub use guard::GuardError;
pub use ledger::RaftBase;
pub use node::{Ballot, LogAt, NodeId};
pub use order::{ProposeError, RaftEvent, RaftOrder, RaftStatus, StartError};
pub use payload::{Batch, Members, Payload, RaftEntry};
pub use record::{
    BaseRecord, BaseRecordKind, CommitRecord, CommitRecordKind, DiskError, EntryRecord,
    EntryRecordKind, PurgeRecord, PurgeRecordKind, RECORD_VERSION, RaftDisk, RaftRecord,
    RecordError, TruncateRecord, TruncateRecordKind, VoteRecord, VoteRecordKind,
};
pub use voters::VoterSet;
pub use wire::WireError;

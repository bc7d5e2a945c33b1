//! One order for all logs: entries, chain hash, certificates, the one-voter sequencer, planning.
//!
//! The order decides nothing about contents. It says which stretch of which log comes next, chains
//! those statements by hash, and has a majority of voters sign them. What takes effect when is a
//! pure function of the committed prefix. Talking to voters is left to `root/raft` and the sync
//! session, deciding to `root/replica`.

mod certificate;
mod effect;
mod entry;
#[cfg(test)]
mod fixture;
mod plan;
mod sequencer;

pub use certificate::{
    Ack, AckKind, CERTIFICATE_ACKS_MAX, Certificate, CertificateError, CertificateKind,
};
pub use effect::{EffectCursors, Ready};
pub use entry::{
    Chain, ENTRY_VERSION, Entry, EntryBody, EntryError, EntryKind, OrderedEntry, genesis_chain,
};
pub use plan::{Candidate, VOTERS_MAX, VoterPolicy, plan_voters};
pub use sequencer::Sequencer;

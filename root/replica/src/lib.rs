//! One whole replica as one pure machine: log, sync, order, sealing, recovery.
//!
//! [`Replica::step`] takes the time, some randomness and one input, and returns what must happen
//! because of it. Pod, browser and simulator perform those effects and decide nothing, so what is
//! simulated is what runs. State is a fold of the blocks in the segments: every change is staged,
//! appended by the driver, and completed once it is durable. This crate knows events, control
//! records, order and blocks; documents are left to `trunk/doc`.

mod access;
mod again;
mod base;
mod command;
mod complete;
mod control;
mod dispute;
mod doubt;
mod feed;
#[cfg(test)]
mod fixture;
mod found;
mod input;
mod keys;
mod listed;
mod message;
mod open;
mod order;
mod peer;
mod pins;
mod quarantine;
mod queues;
mod reform;
mod rows;
mod seal;
mod ship;
mod stage;
mod state;
mod status;
mod write;

pub use access::{Access, ReplicaError};
pub use base::{Base, BaseKind, BaseLog};
pub use command::{Command, CommandError, Outcome, RevokeReason};
pub use dispute::{Proof, Story};
pub use found::{FOLD_VERSION, Founding, RecoveryError, found, recovery_record};
pub use input::{
    Alarm, CloseReason, Effect, Input, OrderCommand, OrderNews, Tick, Ticket, VoterList, Write,
};
pub use keys::{ReplicaKeys, epoch_info};
pub use listed::{block_bytes, event_bytes};
pub use message::{ControlHead, MESSAGE_BYTES_MAX, Message, MessageError, MessageKind};
pub use open::Replay;
pub use order::past_control;
pub use pins::{Manifest, ManifestError, ManifestKind, PIN_BLOCKS_MAX, PinPurpose, PinSet};
pub use queues::Queue;
pub use reform::{ReformPlan, outlasts_rewind};
pub use rows::{RowError, numbered_rows, space};
pub use seal::{Seal, SealError, SealKind, SealStatus};
pub use state::Replica;
pub use status::{LogStatus, PeerStatus, Status};

#[cfg(test)]
mod tests;

//! The control log: who belongs to an identity and what holds, as a chain of signed records.
//!
//! [`ControlRecord`] is one record, [`ControlState`] what a chain of them amounts to,
//! [`ControlLog`] all that are known and which of them count. The rules are in one file.

mod body;
mod error;
mod log;
mod record;
mod rules;
mod state;
#[cfg(test)]
mod tests;

pub use body::{
    AddDevice, Adopt, ChangeVoters, ControlBody, Dormant, EpochChange, LOG_HEADS_MAX, LogHead,
    Policy, Reform, Removal, RevokeDevice, RevokeReason,
};
pub use error::{CommitError, ControlError, VoterRule};
pub use log::{
    Committed, ControlLog, HeadChange, Inserted, TENTATIVE_MAX, WAITING_BYTES_MAX, WAITING_MAX,
};
pub use record::{
    ControlRecord, Draft, RECORD_BYTES_MAX, RECORD_SIGNATURES_MAX, RecordError, SignedBy,
};
pub use rules::{ADOPT_DEPTH_MAX, ADOPT_KEYS_BYTES_MAX, NEWCOMER_WAIT_MS, PREVIOUS_BYTES_MAX};
pub use state::{
    ADMIN_SIGNATURES, ADMINS_GUARDED, Admission, Adopted, ControlState, Device, Epoch,
    GENERATION_FIRST, KIT_WEIGHT, Revoked,
};

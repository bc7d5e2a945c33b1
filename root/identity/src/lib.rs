//! Identities and devices: keys, certificates, the control log, the recovery kit, linking.
//!
//! This crate decides who belongs to an identity and what each device may do. It leaves contents to
//! `root/log`, the order of records to `root/cluster`, and disks and sockets to the IO crates.

mod certificate;
mod control;
#[cfg(test)]
mod fixture;
mod format;
mod genesis;
mod ids;
mod keys;
mod kit;
pub mod link;
mod words;

pub use certificate::{
    Acceptance, Capability, CertificateBody, CertificateError, CertificateRule, DeviceCertificate,
    DeviceKind, NAME_SEALED_BYTES_MAX,
};
pub use control::{
    ADMIN_SIGNATURES, ADMINS_GUARDED, ADOPT_DEPTH_MAX, ADOPT_KEYS_BYTES_MAX, AddDevice, Admission,
    Adopt, Adopted, ChangeVoters, CommitError, Committed, ControlBody, ControlError, ControlLog,
    ControlRecord, ControlState, Device, Dormant, Draft, Epoch, EpochChange, GENERATION_FIRST,
    HeadChange, Inserted, KIT_WEIGHT, LOG_HEADS_MAX, LogHead, NEWCOMER_WAIT_MS, PREVIOUS_BYTES_MAX,
    Policy, RECORD_BYTES_MAX, RECORD_SIGNATURES_MAX, RecordError, Reform, Removal, RevokeDevice,
    RevokeReason, Revoked, SignedBy, TENTATIVE_MAX, VoterRule, WAITING_BYTES_MAX, WAITING_MAX,
};
pub use genesis::{GENESIS_BYTES_MAX, Genesis, GenesisError, NewIdentity};
pub use ids::{
    Author, DeviceId, DeviceIdError, EpochId, IdentityId, SealingPublic, Seen, SigningPublic, Wrap,
};
pub use keys::{DeviceKeys, Signature, SignatureError, SigningKeys, verify};
pub use kit::{KIT_CHECK_WORDS, KIT_CODE_CHARACTERS, KIT_WORDS, KeyId, KitError, RecoveryKit};
pub use words::UnknownWord;

//! What a control record can say.
//!
//! The enum grows: a record whose body this build does not know is [`super::RecordError::Unknown`],
//! which the replica stores and forwards without applying. Grants and a change of recovery keys
//! will be bodies of their own.

use crate::{DeviceCertificate, DeviceId, Seen, Wrap};
use rhizome_block::Cid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The bodies of version 1 by the name under which they are encoded.
pub(super) const KNOWN_BODIES: [&str; 8] = [
    "add-device",
    "revoke-device",
    "rotate-epoch",
    "change-voters",
    "set-policy",
    "adopt",
    "dormant",
    "reform",
];

/// What a control record says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlBody {
    /// A device joins, or gets its next certificate.
    AddDevice(AddDevice),
    /// A device leaves, and a new epoch begins without it.
    RevokeDevice(RevokeDevice),
    /// A new epoch begins.
    RotateEpoch(EpochChange),
    /// Other devices vote on the order.
    ChangeVoters(ChangeVoters),
    /// Rules change.
    SetPolicy(Policy),
    /// Another identity is grafted onto this one.
    Adopt(Adopt),
    /// A long-absent device stops counting, or counts again.
    Dormant(Dormant),
    /// The voters are lost for good; others take over.
    Reform(Reform),
}

impl ControlBody {
    /// How many devices it removes, which decides between equally signed records.
    #[must_use]
    pub fn revocations(&self) -> usize {
        match self {
            Self::RevokeDevice(_) => 1,
            Self::Reform(reform) => reform.revoked.len(),
            _ => 0,
        }
    }

    /// The epoch that it begins.
    #[must_use]
    pub const fn epoch(&self) -> Option<&EpochChange> {
        match self {
            Self::RevokeDevice(RevokeDevice { epoch, .. })
            | Self::Reform(Reform { epoch, .. })
            | Self::RotateEpoch(epoch) => Some(epoch),
            _ => None,
        }
    }
}

/// A device joins, or gets its next certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AddDevice {
    /// Its certificate, signed by the author of the record.
    pub certificate: DeviceCertificate,
    /// For a newcomer with a sealing key: the secret of the current epoch, wrapped to it. Earlier
    /// secrets follow from that one. Otherwise empty.
    pub wraps: Vec<Wrap>,
}

/// Why a device was removed, for people to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevokeReason {
    /// Nobody knows where it is.
    Lost,
    /// It is no longer used.
    Retired,
    /// Somebody else has, or had, its keys.
    Compromised,
}

/// The last accepted event of one log.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct LogHead {
    /// Who writes the log.
    pub author: DeviceId,
    /// Which app it belongs to, as a keyed hash.
    #[serde(with = "serde_bytes")]
    pub tag: [u8; 16],
    /// Which try of that author.
    pub incarnation: u32,
    /// Sequence number of the event.
    pub seq: u64,
    /// The event.
    pub head: Cid,
}

/// Most logs one record can name heads of; at 130 bytes each they fill an eighth of a block.
pub const LOG_HEADS_MAX: usize = 1024;

/// A device leaves. Accepted is what it wrote up to `last`; the rest is quarantined.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RevokeDevice {
    /// Which.
    pub device: DeviceId,
    /// The last accepted event of each of its logs, in the order of [`LogHead`], each log once.
    pub last: Vec<LogHead>,
    /// The epoch that begins without it.
    pub epoch: EpochChange,
    /// Why.
    pub reason: RevokeReason,
}

/// A new epoch.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct EpochChange {
    /// One more than the epoch before.
    pub n: u32,
    /// The new secret, wrapped to every live sealing key and the recovery key, and to nobody else.
    pub wraps: Vec<Wrap>,
    /// The secret of the epoch before, encrypted under the new one.
    #[serde(with = "serde_bytes")]
    pub previous: Vec<u8>,
}

/// Other devices vote.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ChangeVoters {
    /// The current generation, or the next one if a new group begins.
    pub generation: u64,
    /// The voters: one, three or five.
    pub voters: Vec<DeviceId>,
    /// The place in the order after which they vote.
    pub base: Seen,
}

/// Rules; what is absent stays.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The version of the rules by which events are folded from here on. It only rises.
    pub fold: Option<u32>,
}

/// Another identity is grafted onto this one: its logs become readable here, unchanged.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Adopt {
    /// Its genesis.
    pub genesis: ByteBuf,
    /// Its control chain, from height 1 to its head.
    pub records: Vec<ByteBuf>,
    /// The heads of its logs, in the order of [`LogHead`], each log once.
    pub heads: Vec<LogHead>,
    /// Its epoch secrets, encrypted under the current epoch of this identity.
    pub keys: ByteBuf,
}

/// A device stops counting for sealing and pruning, or counts again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Dormant {
    /// Which.
    pub device: DeviceId,
    /// Whether it is dormant from here on.
    pub dormant: bool,
}

/// One of the devices that a reform removes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// Which.
    pub device: DeviceId,
    /// The last accepted event of each of its logs, as in [`RevokeDevice`].
    pub last: Vec<LogHead>,
}

/// Others take over from voters that are lost for good.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reform {
    /// The next generation.
    pub generation: u64,
    /// The new voters: one, three or five.
    pub voters: Vec<DeviceId>,
    /// The highest certified place in the order that the author knows.
    pub base: Seen,
    /// Who leaves with it, each once.
    pub revoked: Vec<Removal>,
    /// The epoch that begins with it.
    pub epoch: EpochChange,
    /// Why.
    pub reason: RevokeReason,
}

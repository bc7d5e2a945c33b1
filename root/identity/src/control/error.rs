//! Why a well-formed control record does not count.

use crate::{CertificateError, DeviceId, GenesisError, RecordError, SignatureError};
use rhizome_block::Cid;

/// A rule about sets of voters that one of them breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VoterRule {
    /// Even numbers add failures without adding safety, and more than five only add work.
    #[error("there are {count} voters, not one, three or five")]
    Count {
        /// How many.
        count: usize,
    },
    /// One is named twice.
    #[error("a voter is named twice")]
    Repeated,
    /// One is unknown, removed or dormant.
    #[error("voter {device} is not a live device")]
    NotLive {
        /// Which.
        device: DeviceId,
    },
    /// One may not order.
    #[error("voter {device} may not sequence")]
    NotSequencer {
        /// Which.
        device: DeviceId,
    },
    /// A phone or browser is one of several, although its system puts it to sleep.
    #[error("voter {device} sleeps and can only vote alone")]
    Sleeps {
        /// Which.
        device: DeviceId,
    },
    /// A reform names one voter; more follow by a change of voters, which both groups sign.
    #[error("a reform names {count} voters, not one")]
    ReformedBySeveral {
        /// How many.
        count: usize,
    },
    /// Cloud peers could outvote the trusted devices.
    #[error("cloud peers would be a majority over trusted voters")]
    UntrustedMajority,
}

/// Why a control record does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It belongs to another identity.
    #[error("control record belongs to another identity")]
    Identity,
    /// It is larger than a block.
    #[error("control record of {bytes} bytes does not fit a block")]
    Size {
        /// Its size.
        bytes: usize,
    },
    /// Its height is not one more than its parent's.
    #[error("control record has height {found} after {parent}")]
    Height {
        /// What it says.
        found: u64,
        /// The height of its parent.
        parent: u64,
    },
    /// Another record of its height is committed already, or one below it.
    #[error("control record at height {height} lost to a committed one")]
    Superseded {
        /// Its height.
        height: u64,
    },
    /// Too much is tentative or waiting; commit or drop something first.
    #[error("control log holds its {limit} of what is not yet committed")]
    Full {
        /// The limit that was reached.
        limit: &'static str,
    },
    /// Signatures are missing, too many, repeated, or the author's is not the first.
    #[error("signatures are not the author's first and each signer's once")]
    SignatureList,
    /// A signature does not verify.
    #[error("control record is not signed by whom it names")]
    Signature {
        /// What the check said.
        source: SignatureError,
    },
    /// A signer is not a live device that may administer.
    #[error("device {device} may not sign this record")]
    NotAdmin {
        /// Which.
        device: DeviceId,
    },
    /// A signer joined less than 24 hours before, by the clocks of the two records.
    #[error("device {device} is too new to remove others")]
    Newcomer {
        /// Which.
        device: DeviceId,
    },
    /// Too few admin devices agreed.
    #[error("{needed} admin signatures are needed, there are {found}")]
    SignaturesNeeded {
        /// How many are needed.
        needed: usize,
        /// How many count.
        found: usize,
    },
    /// The device was part of the identity before; ids never return.
    #[error("device {device} was removed before and cannot return")]
    Returned {
        /// Which.
        device: DeviceId,
    },
    /// The certificate does not hold.
    #[error("certificate in the record does not hold")]
    Certificate {
        /// What the check said.
        source: CertificateError,
    },
    /// The certificate names another signer than the author of the record.
    #[error("certificate is not issued by the author of the record")]
    Issuer,
    /// A next certificate does not have a higher serial, or changes the sealing key.
    #[error("certificate does not continue the one before")]
    Serial,
    /// The keys belong to somebody else already.
    #[error("keys of the certificate are in use")]
    KeysInUse,
    /// A secret is not wrapped to exactly those who should have it.
    #[error("secret is not wrapped to exactly those who should have it")]
    Wraps,
    /// The epoch is not the next one.
    #[error("epoch {found} does not follow {current}")]
    Epoch {
        /// What the record says.
        found: u32,
        /// The epoch before.
        current: u32,
    },
    /// The record names a device that is not live.
    #[error("device {device} is not live")]
    NotLive {
        /// Which.
        device: DeviceId,
    },
    /// Heads are too many, out of order, or of somebody else's logs.
    #[error("log heads are not a sorted list of the right logs")]
    Heads,
    /// Nobody would be left to administer the identity.
    #[error("no admin device would be left")]
    LastAdmin,
    /// The generation does not follow.
    #[error("generation {found} does not follow {current}")]
    Generation {
        /// What the record says.
        found: u64,
        /// The current one.
        current: u64,
    },
    /// The voters break a rule.
    #[error("voters break a rule")]
    Voters {
        /// Which one.
        source: VoterRule,
    },
    /// The policy changes nothing, or lowers the fold version.
    #[error("policy does not raise the fold version")]
    Policy,
    /// The device is in that state already.
    #[error("device {device} already is what the record makes it")]
    Unchanged {
        /// Which.
        device: DeviceId,
    },
    /// The adopted genesis does not hold.
    #[error("adopted genesis does not hold")]
    AdoptGenesis {
        /// What the check said.
        source: GenesisError,
    },
    /// An adopted record cannot be read.
    #[error("adopted control record cannot be read")]
    AdoptRecord {
        /// What the decoder said.
        source: RecordError,
    },
    /// An adopted record does not hold in the adopted chain.
    #[error("adopted control chain does not hold")]
    AdoptChain {
        /// What the check said.
        source: Box<ControlError>,
    },
    /// The adopted identity is this one, is adopted already, or nests too deep.
    #[error("identity cannot be adopted here")]
    Adopt,
}

/// Why a record could not be committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The log has no such record; it may wait for its parent, or have lost.
    #[error("control record {cid} is not placed")]
    NotPlaced {
        /// Which.
        cid: Cid,
    },
}

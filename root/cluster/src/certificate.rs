//! Proof that an order is committed: acknowledgements of a majority of voters.
//!
//! Each voter signs `(g, i, C_i)` once the entries up to `i` and the bytes they name are durable at
//! its place. The chain hash makes one acknowledgement cover everything before it. Two signed
//! acknowledgements of one voter for one `(g, i)` with two hashes prove that it told two stories.

use rhizome_block::{Block, CborError, Version, decode, kind};
use rhizome_identity::{DeviceId, Signature, SigningKeys, verify};
use rhizome_log::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Version of the formats here, which each acknowledgement signs.
const VERSION: u8 = 1;

/// Most acknowledgements a certificate may carry: one of each voter, and voters are at most five.
pub const CERTIFICATE_ACKS_MAX: usize = crate::VOTERS_MAX;

const SIGN_DOMAIN: &str = "ack";

kind! {
    /// Kind of an acknowledgement.
    pub AckKind = "ack"
}

kind! {
    /// Kind of a certificate.
    pub CertificateKind = "certificate"
}

/// One voter's word that it holds the order up to `seen`, durably.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Kind.
    pub k: AckKind,
    /// Version.
    pub v: Version<VERSION>,
    /// The voter.
    pub device: DeviceId,
    /// What it holds.
    pub seen: Seen,
    /// Its signature.
    pub sig: Signature,
}

impl Ack {
    /// Signs for `seen`.
    #[must_use]
    pub fn sign(keys: &SigningKeys, seen: Seen) -> Self {
        let sig = keys.sign(SIGN_DOMAIN, &signed_bytes(&seen));
        Self { k: AckKind, v: Version, device: keys.device_id(), seen, sig }
    }

    /// Whether the voter signed this.
    pub fn verify(&self) -> Result<(), CertificateError> {
        verify(&self.device.0, SIGN_DOMAIN, &signed_bytes(&self.seen), &self.sig)
            .map_err(|_| CertificateError::Signature { device: self.device })
    }
}

/// Version, generation, index, chain hash.
fn signed_bytes(seen: &Seen) -> [u8; 49] {
    let mut bytes = [0; 49];
    bytes[0] = VERSION;
    bytes[1..9].copy_from_slice(&seen.g.to_be_bytes());
    bytes[9..17].copy_from_slice(&seen.i.to_be_bytes());
    bytes[17..].copy_from_slice(&seen.c);
    bytes
}

/// Acknowledgements of a majority for one position.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Kind.
    pub k: CertificateKind,
    /// Version.
    pub v: Version<VERSION>,
    /// What is committed.
    pub seen: Seen,
    /// Who says so.
    pub acks: Vec<(DeviceId, Signature)>,
}

/// Why a certificate proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not the format.
    #[error("certificate is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// Another version.
    #[error("certificate has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// A signature in it is wrong.
    #[error("acknowledgement of device {device} has a wrong signature")]
    Signature {
        /// The device.
        device: DeviceId,
    },
    /// Somebody signed who has no vote.
    #[error("device {device} acknowledged but is no voter")]
    NoVoter {
        /// The device.
        device: DeviceId,
    },
    /// Fewer than a majority signed.
    #[error("{have} of {voters} voters acknowledged, {needed} are needed")]
    NoMajority {
        /// Distinct voters that signed.
        have: usize,
        /// Voters there are.
        voters: usize,
        /// A majority.
        needed: usize,
    },
    /// Only untrusted voters signed although a trusted one exists.
    #[error("no trusted device is among the voters that acknowledged")]
    NoTrusted,
}

impl Certificate {
    /// Joins acknowledgements for one position.
    #[must_use]
    pub fn new(seen: Seen, acks: Vec<(DeviceId, Signature)>) -> Self {
        Self { k: CertificateKind, v: Version, seen, acks }
    }

    /// Whether a majority of `voters` signed, a trusted one among them if there is any.
    ///
    /// `trusted` are the voters that hold keys: all but cloud peers.
    pub fn verify(
        &self,
        voters: &BTreeSet<DeviceId>,
        trusted: &BTreeSet<DeviceId>,
    ) -> Result<(), CertificateError> {
        let mut signers = BTreeSet::new();
        for (device, sig) in self.acks.iter().take(CERTIFICATE_ACKS_MAX) {
            if !voters.contains(device) {
                return Err(CertificateError::NoVoter { device: *device });
            }
            verify(&device.0, SIGN_DOMAIN, &signed_bytes(&self.seen), sig)
                .map_err(|_| CertificateError::Signature { device: *device })?;
            signers.insert(*device);
        }
        let needed = voters.len() / 2 + 1;
        if signers.len() < needed {
            let (have, voters) = (signers.len(), voters.len());
            return Err(CertificateError::NoMajority { have, voters, needed });
        }
        if !trusted.is_empty() && signers.is_disjoint(trusted) {
            return Err(CertificateError::NoTrusted);
        }
        Ok(())
    }

    /// The block that is stored.
    #[must_use]
    pub fn block(&self) -> Block {
        Block::encode(self).expect("a certificate has a DAG-CBOR form")
    }

    /// Reads a stored certificate.
    pub fn read(bytes: &[u8]) -> Result<Self, CertificateError> {
        decode(bytes).map_err(|source| match source {
            CborError::Version { version } => CertificateError::Version { version },
            source => CertificateError::Malformed { source },
        })
    }
}

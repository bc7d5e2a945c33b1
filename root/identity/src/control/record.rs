//! One control record: a body, its place in the chain, and who signed it.
//!
//! A record is read and its own form checked here; whether its signers were entitled to it is
//! decided by the rules, against the state at its parent.

use super::body::{ControlBody, KNOWN_BODIES};
use crate::format::{Alg1, V1};
use crate::keys::{Signature, SignatureError, SigningKeys, verify};
use crate::{Author, IdentityId, Seen};
use ipld_core::ipld::Ipld;
use rhizome_block::{BLOCK_BYTES_MAX, CborError, Cid, Codec};
use serde::{Deserialize, Serialize};

/// Domain of the signatures of control records.
const CONTROL_DOMAIN: &str = "control";

/// Most bytes of a control record: it must fit one block.
pub const RECORD_BYTES_MAX: usize = BLOCK_BYTES_MAX;

/// Most signatures of one record. Two suffice for every rule; more only add weight.
pub const RECORD_SIGNATURES_MAX: usize = 8;

/// Why bytes are not a control record that this build can apply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is larger than [`RECORD_BYTES_MAX`].
    #[error("control record of {bytes} bytes is larger than {RECORD_BYTES_MAX}")]
    Size {
        /// Its size.
        bytes: usize,
    },
    /// The bytes are no control record.
    #[error("bytes are not a control record")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// It is a control record of a later build: store it, forward it, do not apply it.
    #[error("control record uses {what}, which this version does not know")]
    Unknown {
        /// The unknown version, algorithm or body.
        what: String,
    },
}

rhizome_block::kind!(
    /// The kind text of a control record.
    pub(crate) ControlKind = "control"
);

/// One signature and whose it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SignedBy {
    /// Who.
    pub by: Author,
    /// Over everything in the record but the signatures.
    pub signature: Signature,
}

/// What a control record says, before it is signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Draft {
    /// Whose record.
    pub identity: IdentityId,
    /// Its place: one more than its parent; the genesis has height 0.
    pub height: u64,
    /// Its parent: a control record, or the genesis.
    pub prev: Cid,
    /// The newest place in the order that the author has applied.
    pub seen: Option<Seen>,
    /// Who writes it, and signs it first.
    pub author: Author,
    /// Hybrid clock of the author: milliseconds since 1970 in the upper 48 bits.
    pub clock: u64,
    /// What it says.
    pub body: ControlBody,
}

/// A signed control record.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ControlRecord {
    k: ControlKind,
    v: V1,
    alg: Alg1,
    identity: IdentityId,
    height: u64,
    prev: Cid,
    seen: Option<Seen>,
    author: Author,
    clock: u64,
    body: ControlBody,
    signatures: Vec<SignedBy>,
}

/// What is signed.
#[derive(Serialize)]
struct Signed<'a> {
    k: ControlKind,
    v: V1,
    alg: Alg1,
    identity: &'a IdentityId,
    height: u64,
    prev: &'a Cid,
    seen: &'a Option<Seen>,
    author: &'a Author,
    clock: u64,
    body: &'a ControlBody,
}

impl Draft {
    /// Signs the record as its author, whose key is `keys`.
    #[must_use]
    pub fn sign(self, keys: &SigningKeys) -> ControlRecord {
        let author = self.author;
        let mut record = ControlRecord {
            k: ControlKind,
            v: V1,
            alg: Alg1,
            identity: self.identity,
            height: self.height,
            prev: self.prev,
            seen: self.seen,
            author,
            clock: self.clock,
            body: self.body,
            signatures: Vec::new(),
        };
        record.cosign(author, keys);
        record
    }
}

impl ControlRecord {
    /// Adds a signature of `by`, whose key is `keys`. This changes the record's name.
    pub fn cosign(&mut self, by: Author, keys: &SigningKeys) {
        let signature = keys.sign(CONTROL_DOMAIN, &self.signed_bytes());
        self.signatures.push(SignedBy { by, signature });
    }

    /// Reads a record; nothing about its signatures is checked yet.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::Size { bytes: bytes.len() });
        }
        rhizome_block::decode(bytes).map_err(|source| match unknown(bytes) {
            Some(what) => RecordError::Unknown { what },
            None => RecordError::Malformed { source },
        })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rhizome_block::encode(self).expect("a control record has a DAG-CBOR form")
    }

    /// The name of the record.
    #[must_use]
    pub fn cid(&self) -> Cid {
        Cid::of(Codec::DagCbor, &self.to_bytes())
    }

    /// Checks one of its signatures against the key of its signer.
    pub(super) fn verify(&self, signed: &SignedBy, key: &[u8; 32]) -> Result<(), SignatureError> {
        verify(key, CONTROL_DOMAIN, &self.signed_bytes(), &signed.signature)
    }

    /// Whose record.
    #[must_use]
    pub const fn identity(&self) -> IdentityId {
        self.identity
    }

    /// Its place in the chain, from 1.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// Its parent.
    #[must_use]
    pub const fn prev(&self) -> Cid {
        self.prev
    }

    /// The newest place in the order that the author had applied.
    #[must_use]
    pub const fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// Who wrote it.
    #[must_use]
    pub const fn author(&self) -> Author {
        self.author
    }

    /// Hybrid clock of the author.
    #[must_use]
    pub const fn clock(&self) -> u64 {
        self.clock
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &ControlBody {
        &self.body
    }

    /// Its signatures, the author's first.
    #[must_use]
    pub fn signatures(&self) -> &[SignedBy] {
        &self.signatures
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let signed = Signed {
            k: self.k,
            v: self.v,
            alg: self.alg,
            identity: &self.identity,
            height: self.height,
            prev: &self.prev,
            seen: &self.seen,
            author: &self.author,
            clock: self.clock,
            body: &self.body,
        };
        rhizome_block::encode(&signed).expect("a control record has a DAG-CBOR form")
    }
}

/// What in these bytes is newer than this build, if they are a control record at all.
fn unknown(bytes: &[u8]) -> Option<String> {
    if rhizome_block::peek_kind(bytes) != Some("control") {
        return None;
    }
    let Ok(Ipld::Map(fields)) = rhizome_block::decode::<Ipld>(bytes) else { return None };
    for name in ["v", "alg"] {
        match fields.get(name)? {
            Ipld::Integer(1) => {}
            Ipld::Integer(number) => return Some(format!("{name} {number}")),
            _ => return None,
        }
    }
    let body = match fields.get("body")? {
        Ipld::String(name) => name,
        Ipld::Map(body) if body.len() == 1 => body.keys().next()?,
        _ => return None,
    };
    let known = KNOWN_BODIES.contains(&body.as_str());
    (!known).then(|| format!("body {:?}", body.chars().take(40).collect::<String>()))
}

//! Envelopes between voters: what is asked, what is answered, and the proofs that travel along.
//!
//! Drawn in `docs/format/raft.md`. Reading is strict; judging is left to `guard`.

use crate::bounds::{ACKS_PER_REPLY_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::{Ballot, LogAt, RaftBase, RaftEntry};
use rhizome_block::{CborError, Version, decode, encode, kind};
use rhizome_cluster::{Ack, Certificate};
use rhizome_identity::IdentityId;
use rhizome_log::Seen;
use serde::{Deserialize, Serialize};

/// Version of both envelopes.
pub(crate) const WIRE_VERSION: u8 = 1;

kind! {
    /// Kind of a request.
    pub(crate) RequestKind = "raft-request"
}

kind! {
    /// Kind of a reply.
    pub(crate) ReplyKind = "raft-reply"
}

/// What one voter asks another.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct RequestEnvelope {
    pub(crate) k: RequestKind,
    pub(crate) v: Version<WIRE_VERSION>,
    pub(crate) identity: IdentityId,
    pub(crate) generation: u64,
    /// The newest certificate the sender has no reason to think the receiver knows.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) request: Request,
}

/// The request itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Entries, or a heartbeat.
    Append(Append),
    /// A candidate asks for a vote.
    Vote(VoteCall),
    /// A position to start from.
    Base(BaseCall),
    /// Nothing besides the certificate.
    Certified,
}

/// A leader's entries after `prev`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Append {
    pub(crate) ballot: Ballot,
    pub(crate) prev: Option<LogAt>,
    /// The leader's order after `prev`.
    pub(crate) chain: Seen,
    pub(crate) entries: Vec<RaftEntry>,
    pub(crate) commit: Option<LogAt>,
}

/// A candidate's ballot and the end of its log.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct VoteCall {
    pub(crate) ballot: Ballot,
    pub(crate) last: Option<LogAt>,
}

/// A leader's snapshot position.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct BaseCall {
    pub(crate) ballot: Ballot,
    pub(crate) base: RaftBase,
}

/// What a voter answers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReplyEnvelope {
    pub(crate) k: ReplyKind,
    pub(crate) v: Version<WIRE_VERSION>,
    pub(crate) answer: Answer,
    /// What the answering voter now holds durably.
    pub(crate) acks: Vec<Ack>,
}

/// The answer itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To [`Request::Append`].
    Appended(Appended),
    /// The log has another entry, or none, where `prev` is.
    Conflict,
    /// A higher ballot is known.
    Outvoted(Ballot),
    /// To [`Request::Vote`].
    Voted(Voted),
    /// To [`Request::Base`]: adopted, under this ballot.
    Adopted(Ballot),
    /// To [`Request::Certified`].
    Noted,
    /// The generation is over; `generation` is the one that counts.
    Superseded(u64),
    /// A rule of the guard, or a state of the node, forbids it.
    Refused(String),
}

/// The log matches up to `matched`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Appended {
    pub(crate) matched: Option<LogAt>,
    /// The voter holds the last matched entry but has already signed another hash at that index;
    /// it will sign the next one.
    pub(crate) withheld: bool,
}

/// A vote, given or not.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Voted {
    pub(crate) ballot: Ballot,
    pub(crate) granted: bool,
    pub(crate) last: Option<LogAt>,
}

/// Why bytes are no envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// More bytes than the limit.
    #[error("message of {bytes} bytes is beyond {max}")]
    Size {
        /// How many.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not the format.
    #[error("message is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// Another version.
    #[error("message has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// More acknowledgements than the limit.
    #[error("reply carries {acks} acknowledgements")]
    Acks {
        /// How many.
        acks: usize,
    },
}

impl RequestEnvelope {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self).expect("an envelope has a DAG-CBOR form")
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        read(bytes, REQUEST_BYTES_MAX)
    }
}

impl ReplyEnvelope {
    pub(crate) const fn new(answer: Answer, acks: Vec<Ack>) -> Self {
        Self { k: ReplyKind, v: Version, answer, acks }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self).expect("an envelope has a DAG-CBOR form")
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let envelope: Self = read(bytes, REPLY_BYTES_MAX)?;
        match envelope.acks.len() {
            0..=ACKS_PER_REPLY_MAX => Ok(envelope),
            acks => Err(WireError::Acks { acks }),
        }
    }
}

fn read<T>(bytes: &[u8], max: usize) -> Result<T, WireError>
where
    T: Serialize + serde::de::DeserializeOwned,
{
    if bytes.len() > max {
        return Err(WireError::Size { bytes: bytes.len(), max });
    }
    decode(bytes).map_err(|source| match source {
        CborError::Version { version } => WireError::Version { version },
        source => WireError::Malformed { source },
    })
}

#[cfg(test)]
mod tests;

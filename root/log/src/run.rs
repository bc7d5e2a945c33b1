//! Runs: stretches of one log that end at a signed head.
//!
//! One signature covers everything up to its head, because each header names the one before it. A
//! run travels without what the receiver can compute: headers are rebuilt from the bodies, and the
//! signature over the rebuilt head proves them all. Drawn in `docs/format/run.md`.

use crate::event::{Event, EventError, Slot};
use crate::{EventId, LogId, Seen};
use rhizome_block::planted::{Bug, planted};
use rhizome_block::{Block, CborError, Version, decode, kind};
use rhizome_identity::{EpochId, Signature, SigningKeys, verify};
use serde::{Deserialize, Serialize};

/// Version of the run formats.
pub const RUN_VERSION: u8 = 1;

/// Most events of one run on the wire, so that a receiver checks and stores in bounded steps.
pub const RUN_EVENTS_MAX: usize = 4096;

/// Most body bytes a sender puts into one run; a frame carries 4 MiB.
pub const RUN_BYTES_MAX: usize = 2 << 20;

const SIGN_DOMAIN: &str = "run";

kind! {
    /// Kind of a run signature.
    pub RunKind = "run"
}

/// The last event of a log that somebody holds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Its place.
    pub seq: u64,
    /// Its id.
    pub id: EventId,
}

/// An author's signature over a log up to `head`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RunSignature {
    /// Kind.
    pub k: RunKind,
    /// [`RUN_VERSION`].
    pub v: Version<RUN_VERSION>,
    /// The log.
    pub log: LogId,
    /// Its signed head.
    pub head: Head,
    /// The author's signature over version, log, seq and head.
    pub sig: Signature,
}

impl RunSignature {
    /// Signs `log` up to `head`.
    #[must_use]
    pub fn sign(keys: &SigningKeys, log: LogId, head: Head) -> Self {
        let sig = keys.sign(SIGN_DOMAIN, &signed_bytes(&log, &head));
        Self { k: RunKind, v: Version, log, head, sig }
    }

    /// Whether the log's author signed this.
    pub fn verify(&self) -> Result<(), RunError> {
        verify(&self.log.author.0, SIGN_DOMAIN, &signed_bytes(&self.log, &self.head), &self.sig)
            .map_err(|_| RunError::Signature { log: self.log, seq: self.head.seq })
    }

    /// The block that is stored.
    #[must_use]
    pub fn block(&self) -> Block {
        Block::encode(self).expect("a run signature has a DAG-CBOR form")
    }

    /// Reads the stored block.
    pub fn read(bytes: &[u8]) -> Result<Self, RunError> {
        decode(bytes).map_err(|source| match source {
            CborError::Version { version } => RunError::Version { version },
            source => RunError::Malformed { source },
        })
    }
}

/// Bytes that a run signature covers: version, log, seq, head.
const SIGNED_BYTES: usize = 1 + LogId::BYTES + 8 + 36;

fn signed_bytes(log: &LogId, head: &Head) -> [u8; SIGNED_BYTES] {
    let mut bytes = [0; SIGNED_BYTES];
    bytes[0] = RUN_VERSION;
    let (named, rest) = bytes[1..].split_at_mut(LogId::BYTES);
    named.copy_from_slice(&log.to_bytes());
    rest[..8].copy_from_slice(&head.seq.to_be_bytes());
    rest[8..].copy_from_slice(&head.id.0.to_bytes());
    bytes
}

/// Why a run was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The bytes are not a run.
    #[error("run is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// Another version.
    #[error("run signature has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// Empty, or beyond [`RUN_EVENTS_MAX`].
    #[error("run of {events} events is out of bounds")]
    Size {
        /// How many it holds.
        events: usize,
    },
    /// An event of it is malformed.
    #[error("event {seq} of a run is refused")]
    Event {
        /// Which.
        seq: u64,
        /// Why.
        source: EventError,
    },
    /// The events do not lead to the signed head.
    #[error("run does not end at its signed head")]
    Head,
    /// The author's signature is wrong.
    #[error("signature over event {seq} of log {log:?} is wrong")]
    Signature {
        /// The log.
        log: LogId,
        /// The signed head.
        seq: u64,
    },
}

/// Events that share an epoch and a view of the order: most of a run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Their epoch.
    pub epoch: EpochId,
    /// The order their author had applied.
    pub seen: Seen,
    /// Their bodies.
    pub bodies: Vec<serde_bytes::ByteBuf>,
}

/// A run as it travels.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The log.
    pub log: LogId,
    /// Place of the first event.
    pub first: u64,
    /// The event before it.
    pub prev: Option<EventId>,
    /// The events.
    pub stretches: Vec<Stretch>,
    /// The signature over the last of them.
    pub signature: RunSignature,
}

impl Run {
    /// Packs consecutive `events`, the last of which is the head that `signature` covers.
    #[must_use]
    pub fn pack(events: &[Event], signature: RunSignature) -> Self {
        let first = events.first().expect("a run holds an event");
        let mut stretches: Vec<Stretch> = Vec::new();
        for event in events {
            let Slot { epoch, seen, .. } = event.slot();
            let body = serde_bytes::ByteBuf::from(event.body.clone());
            match stretches.last_mut() {
                Some(last) if last.epoch == epoch && last.seen == seen => last.bodies.push(body),
                _ => stretches.push(Stretch { epoch, seen, bodies: vec![body] }),
            }
        }
        let (log, first, prev) = (first.header.log, first.header.seq, first.header.prev);
        Self { log, first, prev, stretches, signature }
    }

    /// Rebuilds the events, checks that they lead to the signed head, and checks the signature.
    pub fn unpack(self) -> Result<(Vec<Event>, RunSignature), RunError> {
        let count: usize = self.stretches.iter().map(|stretch| stretch.bodies.len()).sum();
        if count == 0 || count > RUN_EVENTS_MAX || self.signature.log != self.log {
            return Err(RunError::Size { events: count });
        }
        let mut events = Vec::with_capacity(count);
        let (mut seq, mut prev) = (self.first, self.prev);
        for Stretch { epoch, seen, bodies } in self.stretches {
            for body in bodies {
                let slot = Slot { log: self.log, seq, prev, epoch, seen };
                let event = Event::at(&slot, body.into_vec())
                    .map_err(|source| RunError::Event { seq, source })?;
                prev = Some(event.id);
                seq = seq.checked_add(1).ok_or(RunError::Head)?;
                events.push(event);
            }
        }
        let last = events.last().ok_or(RunError::Head)?;
        let led = self.signature.head == (Head { seq: last.header.seq, id: last.id });
        if !led && !planted(Bug::HeadUnchecked) {
            return Err(RunError::Head);
        }
        if !planted(Bug::SignatureUnchecked) {
            self.signature.verify()?;
        }
        Ok((events, self.signature))
    }
}

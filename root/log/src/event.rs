//! An event: a header everybody can check, and a body only devices can open.
//!
//! The header is a DAG-CBOR block whose [`Cid`] is the event's id; the body is a raw block whose
//! digest stands in the header. The header without the body's length and hash is the associated
//! data of the seal, so a body cannot be moved to another place. Drawn in `docs/format/event.md`.

use crate::{Clock, EventId, LogId, Seen};
use rhizome_block::{CborError, Cid, Codec, Version, decode, encode, kind};
use rhizome_identity::EpochId;
use rhizome_seal::EventKey;
use serde::{Deserialize, Serialize};

/// Version of the event format.
pub const EVENT_VERSION: u8 = 1;

/// The one algorithm suite so far: Ed25519, SHA2-256, XChaCha20-Poly1305, BLAKE3 commitment.
pub const ALGORITHM: u8 = 1;

/// Most bytes of a sealed body. Larger values become trees of blocks (`design.md` 4).
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Most logs one event may depend on: an app with more authors than this needs sub-apps.
pub const DEPS_MAX: usize = 1024;

kind! {
    /// Kind of an event header.
    pub EventKind = "event"
}

kind! {
    /// Kind of the opened contents of an event.
    pub PayloadKind = "payload"
}

/// Why an event could not be made, checked or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The contents do not fit an event.
    #[error("contents of {bytes} bytes exceed the {EVENT_BYTES_MAX} bytes of an event")]
    TooLarge {
        /// Bytes of the sealed body.
        bytes: usize,
    },
    /// The header or the payload is not in its format.
    #[error("{what} is malformed")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// What the decoder said.
        source: CborError,
    },
    /// Another version.
    #[error("{what} has version {version}, which this program does not know")]
    Version {
        /// Of which part.
        what: &'static str,
        /// The version.
        version: u64,
    },
    /// Another algorithm suite.
    #[error("event has algorithm suite {alg}, which this program does not know")]
    Algorithm {
        /// Which.
        alg: u8,
    },
    /// The body is not the one the header names.
    #[error("body does not match its header")]
    BodyMismatch,
    /// The seal does not open: another key, or somebody changed the bytes.
    #[error("seal of the event does not open")]
    Seal {
        /// What the seal said.
        source: rhizome_seal::EnvelopeError,
    },
    /// The epoch's secret is not known here.
    #[error("key of the event is not known on this device")]
    NoKey,
    /// More dependencies than [`DEPS_MAX`].
    #[error("event names {count} dependencies, more than {DEPS_MAX}")]
    Dependencies {
        /// How many it names.
        count: usize,
    },
}

/// What stands in front of an event, open to whoever stores it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Kind.
    pub k: EventKind,
    /// [`EVENT_VERSION`].
    pub v: Version<EVENT_VERSION>,
    /// [`ALGORITHM`].
    pub alg: u8,
    /// The log it stands in.
    pub log: LogId,
    /// Its place there, counted from 1.
    pub seq: u64,
    /// The event before it.
    pub prev: Option<EventId>,
    /// The epoch whose secret seals it.
    pub epoch: EpochId,
    /// The newest order its author had applied.
    pub seen: Seen,
    /// Bytes of the body.
    pub ct_len: u32,
    /// SHA2-256 of the body.
    #[serde(with = "serde_bytes")]
    pub ct_hash: [u8; 32],
}

/// The part of the header that the seal binds.
#[derive(Serialize)]
struct BoundHeader {
    k: EventKind,
    v: Version<EVENT_VERSION>,
    alg: u8,
    log: LogId,
    seq: u64,
    prev: Option<EventId>,
    epoch: EpochId,
    seen: Seen,
}

/// Where an event stands and under which keys: the header before there is a body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slot {
    /// The log.
    pub log: LogId,
    /// The place in it.
    pub seq: u64,
    /// The event before it.
    pub prev: Option<EventId>,
    /// The epoch to seal under.
    pub epoch: EpochId,
    /// The newest order applied.
    pub seen: Seen,
}

impl Slot {
    /// The associated data of the seal.
    pub(crate) fn associated_data(&self) -> Vec<u8> {
        let bound = BoundHeader {
            k: EventKind,
            v: Version,
            alg: ALGORITHM,
            log: self.log,
            seq: self.seq,
            prev: self.prev,
            epoch: self.epoch,
            seen: self.seen,
        };
        encode(&bound).expect("integers, bytes and links have a DAG-CBOR form")
    }

    /// The header that names `body`.
    #[must_use]
    pub fn header(&self, body: &[u8]) -> Header {
        Header {
            k: EventKind,
            v: Version,
            alg: ALGORITHM,
            log: self.log,
            seq: self.seq,
            prev: self.prev,
            epoch: self.epoch,
            seen: self.seen,
            ct_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            ct_hash: *Cid::of(Codec::Raw, body).digest(),
        }
    }

    /// Seals `payload` into this place.
    pub fn seal(
        &self,
        key: &EventKey,
        nonce: [u8; 24],
        payload: &Payload,
    ) -> Result<Event, EventError> {
        let plain =
            encode(payload).map_err(|source| EventError::Malformed { what: "payload", source })?;
        let bytes = rhizome_seal::body_bytes(plain.len());
        if bytes > EVENT_BYTES_MAX {
            return Err(EventError::TooLarge { bytes });
        }
        let body = key.seal(&self.associated_data(), nonce, &plain);
        Ok(Event::new(self.header(&body), body))
    }
}

/// One author's knowledge of another log when it wrote.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Dep {
    /// The other log.
    pub log: LogId,
    /// Its last event the author had.
    pub seq: u64,
    /// That event.
    pub id: EventId,
}

/// What an event says, once opened.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// Kind.
    pub k: PayloadKind,
    /// [`EVENT_VERSION`].
    pub v: Version<EVENT_VERSION>,
    /// Name of the app; in the first event of a log only.
    pub app: Option<String>,
    /// Heads of the app's other logs that changed since the author's previous event.
    pub deps: Vec<Dep>,
    /// The author's hybrid clock.
    pub hlc: Clock,
    /// The schema the body was written under.
    pub schema: Option<Cid>,
    /// What the app wrote.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// A sealed event as it is stored and shipped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its header.
    pub header: Header,
    /// The header's block.
    pub header_bytes: Vec<u8>,
    /// The body's block: nonce and ciphertext.
    pub body: Vec<u8>,
}

impl Event {
    fn new(header: Header, body: Vec<u8>) -> Self {
        let header_bytes = encode(&header).expect("a header has a DAG-CBOR form");
        let id = EventId(Cid::of(Codec::DagCbor, &header_bytes));
        Self { id, header, header_bytes, body }
    }

    /// Rebuilds the event of `body` at `slot`, as a receiver does.
    pub fn at(slot: &Slot, body: Vec<u8>) -> Result<Self, EventError> {
        if body.len() > EVENT_BYTES_MAX {
            return Err(EventError::TooLarge { bytes: body.len() });
        }
        Ok(Self::new(slot.header(&body), body))
    }

    /// Reads both blocks as they stand on disk.
    pub fn read(header_bytes: Vec<u8>, body: Vec<u8>) -> Result<Self, EventError> {
        let header = read_header(&header_bytes)?;
        if *Cid::of(Codec::Raw, &body).digest() != header.ct_hash {
            return Err(EventError::BodyMismatch);
        }
        let id = EventId(Cid::of(Codec::DagCbor, &header_bytes));
        Ok(Self { id, header, header_bytes, body })
    }

    /// The name of the body's block.
    #[must_use]
    pub fn body_cid(&self) -> Cid {
        Cid::from_digest(Codec::Raw, self.header.ct_hash)
    }

    /// Where it stands.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let Header { log, seq, prev, epoch, seen, .. } = self.header;
        Slot { log, seq, prev, epoch, seen }
    }

    /// Opens the seal.
    pub fn open(&self, key: &EventKey) -> Result<Payload, EventError> {
        let plain = key
            .open(&self.slot().associated_data(), &self.body)
            .map_err(|source| EventError::Seal { source })?;
        let payload: Payload = decode(&plain).map_err(|source| unreadable("payload", source))?;
        if payload.deps.len() > DEPS_MAX {
            return Err(EventError::Dependencies { count: payload.deps.len() });
        }
        Ok(payload)
    }
}

/// Reads a header block.
pub fn read_header(bytes: &[u8]) -> Result<Header, EventError> {
    let header: Header = decode(bytes).map_err(|source| unreadable("event header", source))?;
    if header.alg == ALGORITHM {
        Ok(header)
    } else {
        Err(EventError::Algorithm { alg: header.alg })
    }
}

fn unreadable(what: &'static str, source: CborError) -> EventError {
    match source {
        CborError::Version { version } => EventError::Version { what, version },
        source => EventError::Malformed { what, source },
    }
}

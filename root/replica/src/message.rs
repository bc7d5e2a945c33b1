//! What two replicas of one identity say to each other.
//!
//! One message is one frame. A session opens with [`Message::Hello`] from both sides; after that
//! each side says what moved. Drawn in `docs/format/session.md`.

use rhizome_block::{CborError, Cid, Version, decode, encode, kind};
use rhizome_cluster::Certificate;
use rhizome_log::{LogId, Run, Seen};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Most bytes of one message: a frame of the transport.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

const VERSION: u8 = 1;

kind! {
    /// Kind of a message.
    pub MessageKind = "message"
}

/// A control record that somebody has: its height in the chain and its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ControlHead {
    /// Height, counted from 1; 0 is the genesis.
    pub height: u64,
    /// The record, or the genesis.
    pub record: Cid,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// What the sender holds, durably.
    Hello {
        /// Head of its control log.
        control: ControlHead,
        /// How far it holds the committed order.
        order: Seen,
        /// Its signed heads.
        heads: Vec<(LogId, u64)>,
        /// Pinned sets it holds whole.
        pins: Vec<Cid>,
    },
    /// The sender does not know the receiver: show the control records that admit you.
    Introduce,
    /// Control records, oldest first.
    Control {
        /// Their blocks.
        records: Vec<ByteBuf>,
    },
    /// Entries of the order and the proof that they are committed.
    Order {
        /// Entry blocks, in order.
        entries: Vec<ByteBuf>,
        /// Covers the last of them.
        certificate: Certificate,
    },
    /// The sender now holds the order up to here, durably.
    OrderAt {
        /// Its end.
        seen: Seen,
    },
    /// The sender now holds these heads, durably.
    Heads {
        /// Logs that moved.
        heads: Vec<(LogId, u64)>,
    },
    /// Events.
    Run {
        /// The run.
        run: Run,
    },
    /// The sender could not take a run; it holds this log up to here.
    Refused {
        /// The log.
        log: LogId,
        /// Last event it holds.
        held: u64,
    },
    /// The sender had this run from somebody else: of this log, it needs no more than heads.
    Enough {
        /// The log.
        log: LogId,
    },
    /// The sender lacks events of this log that the receiver said it holds, and nobody brings them.
    Want {
        /// The log.
        log: LogId,
        /// The last event it holds.
        after: u64,
    },
    /// The sender has a set of blocks that the receiver may want to keep.
    Offer {
        /// The set's manifest block, which lists its blocks as plain links.
        manifest: ByteBuf,
    },
    /// The sender wants these blocks.
    WantBlocks {
        /// Their names.
        cids: Vec<Cid>,
    },
    /// Blocks that were wanted; a wanted block the sender does not have is left out.
    Blocks {
        /// Their bytes.
        blocks: Vec<(Cid, ByteBuf)>,
    },
    /// What devices say the state is at places of the order.
    Seals {
        /// Their blocks.
        seals: Vec<ByteBuf>,
    },
    /// The sender holds these sets whole, durably.
    Kept {
        /// Their manifests.
        pins: Vec<Cid>,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    k: MessageKind,
    v: Version<VERSION>,
    body: Message,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("message of {bytes} bytes is longer than {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
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
}

impl Message {
    /// The frame to send.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MessageError> {
        let envelope = Envelope { k: MessageKind, v: Version, body: self.clone() };
        let bytes = encode(&envelope).map_err(|source| MessageError::Malformed { source })?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads a received frame.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong { bytes: bytes.len() });
        }
        let envelope: Envelope = decode(bytes).map_err(|source| match source {
            CborError::Version { version } => MessageError::Version { version },
            source => MessageError::Malformed { source },
        })?;
        Ok(envelope.body)
    }
}

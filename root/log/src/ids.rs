//! Names of logs and events, and positions in the order.

use rhizome_block::Cid;
use rhizome_identity::{DeviceId, Seen};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// An event: the [`Cid`] of its header block.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Cid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which app a log belongs to, in a form that tells a host nothing: a keyed hash of the app's name.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogTag(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Debug for LogTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One single-writer log: an author, an app, and which try it is of that author.
///
/// An author starts a new incarnation when it can no longer be sure what it signed last, so that no
/// sequence number is ever signed twice.
///
/// In binary it is 52 bytes: author, tag, incarnation (big-endian), so that binary order is the
/// order of the type.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LogId {
    /// Who writes it.
    pub author: DeviceId,
    /// Which app it belongs to.
    pub tag: LogTag,
    /// Counts from 0.
    pub incarnation: u32,
}

impl LogId {
    /// Bytes of the binary form.
    pub const BYTES: usize = 52;

    /// The binary form.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(&self.author.0);
        bytes[32..48].copy_from_slice(&self.tag.0);
        bytes[48..].copy_from_slice(&self.incarnation.to_be_bytes());
        bytes
    }

    /// Reads the binary form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (author, rest) = bytes.split_first_chunk::<32>().expect("52 bytes hold 32");
        let (tag, rest) = rest.split_first_chunk::<16>().expect("20 bytes hold 16");
        let incarnation = rest.first_chunk::<4>().expect("4 bytes are left");
        Self {
            author: DeviceId(*author),
            tag: LogTag(*tag),
            incarnation: u32::from_be_bytes(*incarnation),
        }
    }
}

impl Serialize for LogId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteArray::<{ Self::BYTES }>::deserialize(deserializer)?;
        Ok(Self::from_bytes(&bytes.into_array()))
    }
}

/// Hybrid clock: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Clock(pub u64);

impl Clock {
    /// The clock at the start of a millisecond.
    #[must_use]
    pub const fn at_ms(ms: u64) -> Self {
        Self(ms << 16)
    }

    /// The wall time in it, in milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A place in the committed order: generation, then index. Indexes go on counting across
/// generations; the generation tells which group of voters placed it.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub struct Position {
    /// Generation.
    pub g: u64,
    /// Index, counted from 1.
    pub i: u64,
}

/// What an author knew of the other logs of an app: for each, the last sequence number.
pub type Knowledge = BTreeMap<LogId, u64>;

impl From<Seen> for Position {
    fn from(seen: Seen) -> Self {
        Self { g: seen.g, i: seen.i }
    }
}

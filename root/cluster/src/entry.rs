//! Entries of the order and the hash chain through them.
//!
//! An entry names a stretch of a log or a control record; the bytes travel by the sync session and
//! lie in the logs, so an entry is small and the order can be redone without losing anything.
//! `C_i = SHA2-256("rhizome chain v1" ‖ C_{i-1} ‖ g ‖ i ‖ SHA2-256(entry block))`, with `C_0` the
//! digest of the identity's genesis. Drawn in `docs/format/order.md`.

use rhizome_block::{Block, CborError, Cid, Version, decode, kind};
use rhizome_identity::IdentityId;
use rhizome_log::{Head, LogId, Position, Seen};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of the entry format.
pub const ENTRY_VERSION: u8 = 1;

kind! {
    /// Kind of an order entry.
    pub EntryKind = "entry"
}

/// What an entry places.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum EntryBody {
    /// Events of one log up to a signed head, from the first that is not placed yet.
    Range {
        /// The log.
        log: LogId,
        /// First event placed by this entry.
        from: u64,
        /// Last one, a signed head.
        head: Head,
    },
    /// A control record.
    Control {
        /// Its block.
        record: Cid,
    },
}

/// One entry of the order, at its place.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Kind.
    pub k: EntryKind,
    /// [`ENTRY_VERSION`].
    pub v: Version<ENTRY_VERSION>,
    /// Generation of voters that placed it. (Spelt out in the block, because a key before `k`
    /// would hide the kind.)
    #[serde(rename = "generation")]
    pub g: u64,
    /// Index in the order, counted from 1.
    #[serde(rename = "index")]
    pub i: u64,
    /// What it places.
    pub body: EntryBody,
}

/// Why bytes are not an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not the format.
    #[error("order entry is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// Another version.
    #[error("order entry has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// The entry does not come right after what is known.
    #[error("order entry {found:?} does not follow {known:?}")]
    Gap {
        /// The last known position.
        known: Position,
        /// The entry's.
        found: Position,
    },
}

impl Entry {
    /// Puts `body` at a place.
    #[must_use]
    pub fn new(at: Position, body: EntryBody) -> Self {
        Self { k: EntryKind, v: Version, g: at.g, i: at.i, body }
    }

    /// Its place.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { g: self.g, i: self.i }
    }

    /// The block that is stored and chained.
    #[must_use]
    pub fn block(&self) -> Block {
        Block::encode(self).expect("an entry has a DAG-CBOR form")
    }

    /// Reads a stored entry.
    pub fn read(bytes: &[u8]) -> Result<Self, EntryError> {
        decode(bytes).map_err(|source| match source {
            CborError::Version { version } => EntryError::Version { version },
            source => EntryError::Malformed { source },
        })
    }
}

/// An entry with its block and the chain hash after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrderedEntry {
    /// The entry.
    pub entry: Entry,
    /// Its block.
    pub block: Block,
    /// Position and chain hash after it.
    pub seen: Seen,
}

/// `C_0` of an identity.
#[must_use]
pub fn genesis_chain(identity: &IdentityId) -> Seen {
    Seen { g: 0, i: 0, c: *identity.0.digest() }
}

/// The end of a chain of entries, ready to take the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chain {
    end: Seen,
}

impl Chain {
    /// Goes on from a known end.
    #[must_use]
    pub const fn from(end: Seen) -> Self {
        Self { end }
    }

    /// Position and hash of the last entry.
    #[must_use]
    pub const fn end(&self) -> Seen {
        self.end
    }

    /// Appends `body` in generation `g` and returns it with its place and hash.
    pub fn push(&mut self, g: u64, body: EntryBody) -> OrderedEntry {
        let entry = Entry::new(Position { g, i: self.end.i + 1 }, body);
        self.link(entry)
    }

    /// Appends an entry that came from elsewhere.
    pub fn extend(&mut self, entry: Entry) -> Result<OrderedEntry, EntryError> {
        if entry.i != self.end.i + 1 || entry.g < self.end.g {
            let found = entry.position();
            return Err(EntryError::Gap { known: self.end.into(), found });
        }
        Ok(self.link(entry))
    }

    fn link(&mut self, entry: Entry) -> OrderedEntry {
        let block = entry.block();
        let mut hash = Sha256::new();
        hash.update(b"rhizome chain v1");
        hash.update(self.end.c);
        hash.update(entry.g.to_be_bytes());
        hash.update(entry.i.to_be_bytes());
        hash.update(block.cid.digest());
        self.end = Seen { g: entry.g, i: entry.i, c: hash.finalize().into() };
        OrderedEntry { entry, block, seen: self.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhizome_block::{Codec, peek_kind};

    #[test]
    fn the_kind_of_an_entry_stands_first_in_its_block() {
        let body = EntryBody::Control { record: Cid::of(Codec::DagCbor, b"record") };
        let entry = Entry::new(Position { g: 1, i: 2 }, body);
        assert_eq!(peek_kind(&entry.block().bytes), Some("entry"));
        assert_eq!(Entry::read(&entry.block().bytes).unwrap(), entry);
    }

    #[test]
    fn an_entry_that_leaves_a_gap_or_goes_back_is_refused() {
        let body = EntryBody::Control { record: Cid::of(Codec::DagCbor, b"record") };
        let mut chain = Chain::from(Seen { g: 2, i: 5, c: [0; 32] });
        let at = |g, i| Entry::new(Position { g, i }, body.clone());
        assert!(chain.extend(at(2, 7)).is_err());
        assert!(chain.extend(at(1, 6)).is_err());
        assert_eq!(chain.extend(at(2, 6)).unwrap().seen.i, 6);
    }
}

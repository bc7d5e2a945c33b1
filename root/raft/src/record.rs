//! What a voter keeps on disk: Raft entries, votes, and where the log begins.
//!
//! Each record is one DAG-CBOR block, in the same append-only segments as everything else. A log
//! is what its records say when they are read in the order they were written. Drawn in
//! `docs/format/raft.md`.

use crate::{Ballot, LogAt, RaftBase, RaftEntry};
use async_trait::async_trait;
use rhizome_block::{Block, CborError, Version, decode, kind, peek_kind};
use rhizome_cluster::Certificate;
use rhizome_log::Seen;
use serde::{Deserialize, Serialize};

/// Version of all records here.
pub const RECORD_VERSION: u8 = 1;

kind! {
    /// Kind of an entry.
    pub EntryRecordKind = "raft-entry"
}
kind! {
    /// Kind of a vote.
    pub VoteRecordKind = "raft-vote"
}
kind! {
    /// Kind of a cut.
    pub TruncateRecordKind = "raft-truncate"
}
kind! {
    /// Kind of a purge.
    pub PurgeRecordKind = "raft-purge"
}
kind! {
    /// Kind of a base.
    pub BaseRecordKind = "raft-base"
}
kind! {
    /// Kind of a commit note.
    pub CommitRecordKind = "raft-commit"
}

/// One record of one generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RaftRecord {
    /// An entry was appended.
    Entry(EntryRecord),
    /// A vote was given.
    Vote(VoteRecord),
    /// Entries from an index on were cut off.
    Truncate(TruncateRecord),
    /// Entries up to an index are needed no more.
    Purge(PurgeRecord),
    /// A position the log can start from.
    Base(BaseRecord),
    /// Something is committed. Written now and then, for a quicker start.
    Commit(CommitRecord),
}

/// An appended entry.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// Kind.
    pub k: EntryRecordKind,
    /// [`RECORD_VERSION`].
    pub v: Version<RECORD_VERSION>,
    /// Generation.
    pub generation: u64,
    /// The entry.
    pub entry: RaftEntry,
    /// The order after it.
    pub end: Seen,
}

/// A vote. Once it is durable, no smaller one is ever given.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VoteRecord {
    /// Kind.
    pub k: VoteRecordKind,
    /// [`RECORD_VERSION`].
    pub v: Version<RECORD_VERSION>,
    /// Generation.
    pub generation: u64,
    /// The vote.
    pub ballot: Ballot,
}

/// A cut.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TruncateRecord {
    /// Kind.
    pub k: TruncateRecordKind,
    /// [`RECORD_VERSION`].
    pub v: Version<RECORD_VERSION>,
    /// Generation.
    pub generation: u64,
    /// First index that is gone.
    pub since: u64,
}

/// A purge.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PurgeRecord {
    /// Kind.
    pub k: PurgeRecordKind,
    /// [`RECORD_VERSION`].
    pub v: Version<RECORD_VERSION>,
    /// Generation.
    pub generation: u64,
    /// Last entry that is gone.
    pub upto: LogAt,
    /// The order after it.
    pub end: Seen,
}

/// A base: built here, or adopted from a leader.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// Kind.
    pub k: BaseRecordKind,
    /// [`RECORD_VERSION`].
    pub v: Version<RECORD_VERSION>,
    /// Generation.
    pub generation: u64,
    /// The base.
    pub base: RaftBase,
}

/// A note of what is committed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Kind.
    pub k: CommitRecordKind,
    /// [`RECORD_VERSION`].
    pub v: Version<RECORD_VERSION>,
    /// Generation.
    pub generation: u64,
    /// The proof.
    pub certificate: Certificate,
}

/// Why a block is no Raft record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another kind of block.
    #[error("block is no raft record")]
    Kind,
    /// Not the format.
    #[error("raft record is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// Another version.
    #[error("raft record has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
}

impl RaftRecord {
    pub(crate) const fn entry(generation: u64, entry: RaftEntry, end: Seen) -> Self {
        Self::Entry(EntryRecord { k: EntryRecordKind, v: Version, generation, entry, end })
    }

    pub(crate) const fn vote(generation: u64, ballot: Ballot) -> Self {
        Self::Vote(VoteRecord { k: VoteRecordKind, v: Version, generation, ballot })
    }

    pub(crate) const fn truncate(generation: u64, since: u64) -> Self {
        Self::Truncate(TruncateRecord { k: TruncateRecordKind, v: Version, generation, since })
    }

    pub(crate) const fn purge(generation: u64, upto: LogAt, end: Seen) -> Self {
        Self::Purge(PurgeRecord { k: PurgeRecordKind, v: Version, generation, upto, end })
    }

    pub(crate) const fn base(generation: u64, base: RaftBase) -> Self {
        Self::Base(BaseRecord { k: BaseRecordKind, v: Version, generation, base })
    }

    pub(crate) const fn commit(generation: u64, certificate: Certificate) -> Self {
        Self::Commit(CommitRecord { k: CommitRecordKind, v: Version, generation, certificate })
    }

    /// The generation it belongs to.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        match self {
            Self::Entry(record) => record.generation,
            Self::Vote(record) => record.generation,
            Self::Truncate(record) => record.generation,
            Self::Purge(record) => record.generation,
            Self::Base(record) => record.generation,
            Self::Commit(record) => record.generation,
        }
    }

    /// The block that is stored.
    #[must_use]
    pub fn block(&self) -> Block {
        let block = match self {
            Self::Entry(record) => Block::encode(record),
            Self::Vote(record) => Block::encode(record),
            Self::Truncate(record) => Block::encode(record),
            Self::Purge(record) => Block::encode(record),
            Self::Base(record) => Block::encode(record),
            Self::Commit(record) => Block::encode(record),
        };
        block.expect("a raft record has a DAG-CBOR form")
    }

    /// Reads a stored block.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        fn read<T>(bytes: &[u8]) -> Result<T, RecordError>
        where
            T: Serialize + serde::de::DeserializeOwned,
        {
            decode(bytes).map_err(|source| match source {
                CborError::Version { version } => RecordError::Version { version },
                source => RecordError::Malformed { source },
            })
        }
        match peek_kind(bytes) {
            Some("raft-entry") => read(bytes).map(Self::Entry),
            Some("raft-vote") => read(bytes).map(Self::Vote),
            Some("raft-truncate") => read(bytes).map(Self::Truncate),
            Some("raft-purge") => read(bytes).map(Self::Purge),
            Some("raft-base") => read(bytes).map(Self::Base),
            Some("raft-commit") => read(bytes).map(Self::Commit),
            _ => Err(RecordError::Kind),
        }
    }
}

/// The disk failed, or what it holds is not a Raft log.
#[derive(Debug, thiserror::Error)]
#[error("raft records cannot be kept")]
pub struct DiskError {
    /// What happened.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Durable storage of records. The pod implements it over `root/store`.
#[async_trait]
pub trait RaftDisk: Send + Sync + 'static {
    /// Appends `records` and returns once they are durable. Called by one task, one call at a time.
    async fn append(&self, records: Vec<RaftRecord>) -> Result<(), DiskError>;

    /// All records of `generation`, in the order they were appended. Records of entries that a
    /// later purge covers may be missing.
    async fn load(&self, generation: u64) -> Result<Vec<RaftRecord>, DiskError>;
}

#[cfg(test)]
mod tests;

//! Checkpoints: sealed states as trees of encrypted blocks.

use serde::{Deserialize, Serialize};

/// One checkpoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Snapshot {
    /// The Cid of its manifest.
    pub id: String,
    /// The generation of the order it was cut at.
    pub generation: u64,
    /// The index in the order it was cut at.
    pub index: u64,
    /// When it was cut, in milliseconds since 1970.
    pub created_ms: u64,
    /// How many documents it holds.
    pub documents: u64,
    /// How many bytes its blocks take.
    pub bytes: u64,
    /// How many of those bytes the checkpoint before it did not have.
    #[serde(default)]
    pub new_bytes: u64,
    /// Whether a majority of the trusted devices signed it.
    pub sealed: bool,
    /// Who acknowledged holding all of it.
    pub pinned_by: Vec<String>,
}

/// The checkpoint that was cut.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CreateAnswer {
    /// The checkpoint.
    pub snapshot: Snapshot,
    /// Who was asked to hold it and did not answer yet.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// Devices that have not said yet that they come to the same documents.
    #[serde(default)]
    pub unsealed_by: Vec<String>,
}

/// The checkpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListAnswer {
    /// Newest first.
    pub snapshots: Vec<Snapshot>,
}

/// Checks a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct VerifyRequest {
    /// Its id or the start of it; the newest if not given.
    #[serde(default)]
    pub id: Option<String>,
}

/// What the check found.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct VerifyAnswer {
    /// The checkpoint.
    pub snapshot: Snapshot,
    /// Whether the state derived again from the log is the state that was sealed.
    pub root_matches: bool,
    /// How many blocks were read and hashed again.
    pub blocks: u64,
    /// Blocks of it that are not here or are damaged.
    pub missing: Vec<String>,
    /// What each holder answered when asked for random blocks.
    #[serde(default)]
    pub holders: Vec<Audit>,
}

/// What a holder answered.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Audit {
    /// Its name.
    pub holder: String,
    /// How many blocks it was asked for.
    pub asked: u64,
    /// How many it had.
    pub had: u64,
}

/// Writes a checkpoint to a file.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportRequest {
    /// The path of the file, absolute.
    pub to: String,
    /// Which one; the newest if not given.
    #[serde(default)]
    pub id: Option<String>,
}

/// The file is there.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportAnswer {
    /// The path of the file.
    pub path: String,
    /// The root that the CAR file names.
    pub root: String,
    /// How many blocks it holds.
    pub blocks: u64,
    /// How large it is.
    pub bytes: u64,
}

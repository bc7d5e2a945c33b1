//! Bringing in what other platforms hold: plan, apply, report, undo.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the source is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportKind {
    /// A folder of Markdown notes.
    #[default]
    Markdown,
    /// Google Keep from a Takeout archive.
    Keep,
    /// A table with a header line.
    Csv,
}

/// Asks what an import would do.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlanRequest {
    /// What the source is.
    pub kind: ImportKind,
    /// Where it is, as an absolute path on the pod's computer.
    pub path: String,
    /// Where the documents go; the kind's own collection if not given.
    #[serde(default)]
    pub collection: Option<String>,
}

/// What an import would do.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlanAnswer {
    /// What the source is.
    pub kind: ImportKind,
    /// Where it is.
    pub path: String,
    /// Where the documents go.
    pub collection: String,
    /// How many are not here yet.
    pub new: u64,
    /// How many are here and differ.
    pub updated: u64,
    /// How many are here already, just so.
    pub unchanged: u64,
    /// How many attachments there are.
    pub attachments: u64,
    /// How many bytes documents and attachments have.
    pub bytes: u64,
    /// A few of them as they would look.
    pub sample: Vec<SampleDocument>,
    /// What has no place in a document and would be lost.
    pub losses: Vec<Loss>,
    /// What cannot be read.
    pub failed: Vec<Item>,
}

/// One document as it would look.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SampleDocument {
    /// Its path.
    pub path: String,
    /// Where it comes from.
    pub source: String,
    /// Its fields, shortened.
    pub fields: Value,
}

/// Something that would be lost.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Loss {
    /// What it is.
    pub what: String,
    /// How often it occurs.
    pub count: u64,
}

/// One thing of the source that was not taken over.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Item {
    /// Where it is in the source.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Imports.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApplyRequest {
    /// What the source is.
    pub kind: ImportKind,
    /// Where it is, as an absolute path on the pod's computer.
    pub path: String,
    /// Where the documents go; the kind's own collection if not given.
    #[serde(default)]
    pub collection: Option<String>,
    /// The name of the batch, to go on with one that was interrupted; made up if not given.
    #[serde(default)]
    pub batch: Option<String>,
}

/// How the import goes on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ApplyEvent {
    /// The name of the batch, before anything is written.
    Started {
        /// For `import undo`.
        batch: String,
    },
    /// How far it is.
    Progress {
        /// How many items are done.
        done: u64,
        /// How many there are.
        total: u64,
        /// How many bytes were written.
        bytes: u64,
        /// How long it will still take, once that can be said.
        #[serde(default)]
        eta_ms: Option<u64>,
    },
}

/// What the import did.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApplyAnswer {
    /// The name of the batch.
    pub batch: String,
    /// Where the documents went.
    pub collection: String,
    /// How many are new.
    pub imported: u64,
    /// How many were changed.
    pub updated: u64,
    /// How many were here already, just so.
    pub unchanged: u64,
    /// How many attachments came along.
    pub attachments: u64,
    /// What was left out, and why.
    pub skipped: Vec<Item>,
    /// What cannot be read, and why.
    pub failed: Vec<Item>,
    /// How many bytes documents and attachments have.
    pub bytes: u64,
    /// How long it took.
    pub took_ms: u64,
}

/// Takes an import back.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UndoRequest {
    /// The name of the batch.
    pub batch: String,
}

/// What was taken back.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UndoAnswer {
    /// The name of the batch.
    pub batch: String,
    /// How many documents were deleted.
    pub removed: u64,
    /// How many documents have their earlier content again.
    pub restored: u64,
    /// What was kept, and why: somebody changed it since.
    pub kept: Vec<Item>,
}

/// The imports so far.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListAnswer {
    /// Newest first.
    pub batches: Vec<Batch>,
}

/// One import.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Batch {
    /// Its name.
    pub id: String,
    /// What the source was.
    pub kind: ImportKind,
    /// Where it was.
    pub path: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How many documents were new.
    pub imported: u64,
    /// How many were changed.
    pub updated: u64,
    /// How many items failed.
    pub failed: u64,
    /// Whether it came to its end.
    pub finished: bool,
    /// Whether it was taken back.
    pub undone: bool,
}

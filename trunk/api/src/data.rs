//! Documents: reading, writing, finding, watching. Values are JSON in the loss-free form of
//! `rhizome_schema::json`.

use crate::select::Selection;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How far something has travelled. Each is backed by an acknowledgement.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// On this device's disk.
    #[default]
    Local,
    /// On at least one other device or peer too.
    Copied,
    /// Certified at its place in the order.
    Committed,
    /// In a checkpoint that a pin target holds.
    Pinned,
}

/// Which state is read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadLevel {
    /// Everything known here.
    #[default]
    Local,
    /// Only what has its place in the order.
    Committed,
}

/// A place in the order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// The generation.
    pub g: u64,
    /// The index in it.
    pub i: u64,
}

/// One document.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Document {
    /// Its path: collection, id, and so on.
    pub path: String,
    /// Its fields.
    pub fields: Value,
    /// How far its newest change has travelled.
    pub durability: Durability,
    /// When it was last changed, by the clock of who changed it, in milliseconds since 1970.
    #[serde(default)]
    pub updated_ms: Option<u64>,
    /// Where its last committed change stands.
    #[serde(default)]
    pub version: Option<Position>,
    /// How many values yielded to others and are kept beside them.
    #[serde(default)]
    pub conflicts: u64,
}

/// Lists collections, or the documents of one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LsRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// Whose documents; the collections are listed if not given.
    #[serde(default)]
    pub collection: Option<String>,
    /// How many at most.
    #[serde(default)]
    pub limit: Option<u64>,
    /// The path after which to begin.
    #[serde(default)]
    pub after: Option<String>,
}

/// What is there.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LsAnswer {
    /// Collections with their sizes.
    pub collections: Vec<Collection>,
    /// Documents of the collection, by id.
    pub documents: Vec<Document>,
    /// What to pass as `after` for the rest, if there is a rest.
    #[serde(default)]
    pub next: Option<String>,
}

/// One collection.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Collection {
    /// Its path.
    pub path: String,
    /// How many documents it holds.
    pub documents: u64,
}

/// Reads one document.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct GetRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The path of the document.
    pub path: String,
    /// Which state to read.
    #[serde(default)]
    pub level: ReadLevel,
}

/// The document.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct GetAnswer {
    /// The document.
    pub document: Document,
}

/// Writes one document whole, or merges into it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SetRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The path of the document.
    pub path: String,
    /// Its fields.
    pub fields: Value,
    /// Whether fields that are not named stay.
    #[serde(default)]
    pub merge: bool,
    /// How far to wait; the disk of this device if not given.
    #[serde(default)]
    pub wait: Option<Durability>,
    /// How long to wait.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Changes fields of a document that exists.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpdateRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The path of the document.
    pub path: String,
    /// By field path: a value, or an operation: `{"$increment":n}`, `{"$arrayUnion":[…]}`,
    /// `{"$arrayRemove":[…]}`, `{"$delete":true}`, `{"$serverTime":true}`.
    pub fields: BTreeMap<String, Value>,
    /// How far to wait; the disk of this device if not given.
    #[serde(default)]
    pub wait: Option<Durability>,
    /// How long to wait.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Deletes one document.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeleteRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The path of the document.
    pub path: String,
    /// How far to wait; the disk of this device if not given.
    #[serde(default)]
    pub wait: Option<Durability>,
    /// How long to wait.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Applies several writes as one event.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct BatchRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The writes, in order.
    pub ops: Vec<Write>,
    /// How far to wait; the disk of this device if not given.
    #[serde(default)]
    pub wait: Option<Durability>,
    /// How long to wait.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// One write of a batch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Write {
    /// As `data.set`.
    Set {
        /// The path of the document.
        path: String,
        /// Its fields.
        fields: Value,
        /// Whether fields that are not named stay.
        #[serde(default)]
        merge: bool,
    },
    /// As `data.update`.
    Update {
        /// The path of the document.
        path: String,
        /// By field path, a value or an operation.
        fields: BTreeMap<String, Value>,
    },
    /// As `data.delete`.
    Delete {
        /// The path of the document.
        path: String,
    },
}

/// The write is durable on this device, or further if that was asked for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct WriteAnswer {
    /// The paths that were written.
    pub paths: Vec<String>,
    /// The Cid of the event.
    pub event: String,
    /// How far it has travelled.
    pub durability: Durability,
    /// How many other devices or peers acknowledged holding it.
    #[serde(default)]
    pub copies: u64,
}

/// How a field compares.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum CompareOp {
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Equal.
    #[serde(rename = "==")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Greater or equal.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
    /// An array that holds the value.
    #[serde(rename = "array-contains")]
    ArrayContains,
    /// One of the values.
    #[serde(rename = "in")]
    In,
    /// An array that holds one of the values.
    #[serde(rename = "array-contains-any")]
    ArrayContainsAny,
    /// None of the values.
    #[serde(rename = "not-in")]
    NotIn,
}

/// One condition.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Filter {
    /// The path of the field.
    pub field: String,
    /// How it compares.
    pub op: CompareOp,
    /// With what.
    pub value: Value,
}

/// Which way an order runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Direction {
    /// Upwards.
    #[default]
    #[serde(rename = "asc")]
    Ascending,
    /// Downwards.
    #[serde(rename = "desc")]
    Descending,
}

/// One key of the order.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct OrderBy {
    /// The path of the field.
    pub field: String,
    /// Which way.
    #[serde(default)]
    pub dir: Direction,
}

/// Finds documents.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueryRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The collection; of a group, its name alone.
    pub collection: String,
    /// Which of its documents; these fields stand beside the others.
    #[serde(flatten)]
    pub selection: Selection,
    /// Whether to say how it was found.
    #[serde(default)]
    pub explain: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueryAnswer {
    /// In the order of the query.
    pub documents: Vec<Document>,
    /// How it was found, if asked for.
    #[serde(default)]
    pub explain: Option<Explain>,
}

/// A number about a result.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// How many documents there are.
    Count,
    /// The sum of a field's numbers.
    Sum(String),
    /// Their average; null if there are none.
    Average(String),
}

/// Asks for numbers about the documents of a query that have every field the numbers are of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AggregateRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The collection; of a group, its name alone.
    pub collection: String,
    /// Which of its documents; these fields stand beside the others.
    #[serde(flatten)]
    pub selection: Selection,
    /// The numbers.
    pub numbers: Vec<Aggregate>,
}

/// The numbers asked for, in that order.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AggregateAnswer {
    /// They, as values of documents are written.
    pub values: Vec<Value>,
}

/// How a query was answered.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Explain {
    /// The index that was used; a scan of the collection if none.
    #[serde(default)]
    pub index: Option<String>,
    /// How many entries were looked at.
    pub scanned: u64,
    /// How many documents matched.
    pub matched: u64,
    /// How long it took, in microseconds.
    #[serde(default)]
    pub took_us: u64,
}

/// Finds documents and tells every change from then on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct WatchRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The collection, or the path of one document.
    pub path: String,
    /// Which of its documents; these fields stand beside the others.
    #[serde(flatten)]
    pub selection: Selection,
    /// Whether to tell when only the durability changed.
    #[serde(default)]
    pub metadata: bool,
}

/// What a listener hears.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum WatchEvent {
    /// The first has all documents as added; each later one what changed since, at one instant.
    Snapshot {
        /// Removed first, then added, then modified, each in the order of the query.
        changes: Vec<Change>,
        /// Whether some of it is known here alone.
        pending: bool,
        /// Whether this device has not caught up with the committed order.
        from_cache: bool,
    },
}

/// What happened to a document of a query.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It matches now.
    #[default]
    Added,
    /// It matched and still does.
    Modified,
    /// It matches no longer.
    Removed,
}

/// One change.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The path of the document.
    pub path: String,
    /// Its fields, or those it had before it was removed.
    pub fields: Value,
    /// How far its newest change has travelled.
    pub durability: Durability,
    /// Where it stood before.
    #[serde(default)]
    pub old_index: Option<u64>,
    /// Where it stands now.
    #[serde(default)]
    pub new_index: Option<u64>,
}

/// Asks for the history of a document.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct HistoryRequest {
    /// The app; the pod's own if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The path of the document.
    pub path: String,
    /// How many at most.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// The history of a document.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct HistoryAnswer {
    /// The path of the document.
    pub path: String,
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
}

/// One change of the past.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct HistoryEntry {
    /// The Cid of the event.
    pub event: String,
    /// When, by the clock of who changed it, in milliseconds since 1970.
    pub at_ms: u64,
    /// The name of the device.
    pub device: String,
    /// What it was: `set`, `merge`, `update` or `delete`.
    pub kind: String,
    /// What it assigned, by field path; operations as in `data.update`.
    #[serde(default)]
    pub fields: Value,
    /// How far it has travelled.
    pub durability: Durability,
    /// Its place in the order, once it has one.
    #[serde(default)]
    pub position: Option<Position>,
    /// Whether some of it yielded to another change and is kept as a conflict.
    #[serde(default)]
    pub yielded: bool,
}

/// Streams documents.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportRequest {
    /// The app; all apps if not given.
    #[serde(default)]
    pub app: Option<String>,
    /// The collection; all of them if not given.
    #[serde(default)]
    pub collection: Option<String>,
}

/// What an export streams.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ExportEvent {
    /// One document, in canonical order: by app, then by path.
    Document(ExportDocument),
}

/// One document of an export.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportDocument {
    /// The app it belongs to.
    pub app: String,
    /// Its fields.
    pub fields: Value,
    /// Its path.
    pub path: String,
}

impl ExportDocument {
    /// The document as its line in an export, without the line break: JSON with sorted keys. The
    /// hash of an export is the SHA-256 of all lines, each with a line break, so that
    /// `rhizome data export | sha256sum` computes it too.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("text keys and JSON values always become JSON")
    }
}

/// The export is complete.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportAnswer {
    /// How many documents were streamed.
    pub documents: u64,
    /// The SHA-256 of the lines, in hexadecimal.
    pub hash: String,
}

/// Waits until everything written here has travelled far enough.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SettleRequest {
    /// How far: copied, committed or pinned.
    pub level: Durability,
    /// How long to wait; then the error `RZ-0107`.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// It has.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SettleAnswer {
    /// How far everything is at least.
    pub level: Durability,
    /// How many events that is.
    pub events: u64,
    /// How long it took.
    pub waited_ms: u64,
}

/// Hashes of what this device holds. Devices with the same events and the same committed order
/// have the same hashes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct HashAnswer {
    /// How many documents there are.
    pub documents: u64,
    /// The hash that `data.export` of everything ends with.
    pub export_hash: String,
    /// Over values, clocks, conflicts, tombstones and control state, pending changes included.
    pub state_hash: String,
    /// The same over what is committed.
    pub committed_hash: String,
    /// Whether the live indexes equal rebuilt ones.
    pub indexes_ok: bool,
}

//! Events and segments as they are.

use crate::data::{Durability, Position};
use serde::{Deserialize, Serialize};

/// Asks for the newest events.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TailRequest {
    /// Whether to go on with those that follow.
    #[serde(default)]
    pub follow: bool,
    /// How many of the newest to begin with.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// What happens in the logs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum TailEvent {
    /// One event.
    Entry(Entry),
}

/// One event in short.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// Its Cid.
    pub id: String,
    /// When its author wrote it, by the author's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// The name of the device that wrote it.
    pub device: String,
    /// The app it belongs to; nothing for a control record.
    #[serde(default)]
    pub app: Option<String>,
    /// Its place in its author's log.
    pub seq: u64,
    /// What it did, in a few words.
    pub summary: String,
    /// How far it has travelled.
    pub durability: Durability,
    /// Its place in the order, once it has one.
    #[serde(default)]
    pub position: Option<Position>,
    /// Its size on disk.
    pub bytes: u64,
}

/// What reading everything again found.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct VerifyAnswer {
    /// How many segment files.
    pub segments: u64,
    /// How many blocks whose hash was computed again.
    pub blocks: u64,
    /// How many of them are events.
    pub events: u64,
    /// How many signatures were checked.
    pub signatures: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// How long it took.
    pub took_ms: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// One damaged place.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Damage {
    /// The segment file.
    pub segment: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Whether a peer had the block and it was put back.
    pub repaired: bool,
}

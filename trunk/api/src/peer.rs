//! Cloud peers and other addresses.

use crate::device::Device;
use serde::{Deserialize, Serialize};

/// Adds a cloud peer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AddRequest {
    /// `rhizome-peer://host:port#key` as its owner hands it out, or `host:port`.
    pub address: String,
}

/// The peer is one of the identity's devices now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AddAnswer {
    /// The peer.
    pub peer: Peer,
    /// What it can see, a phrase each.
    #[serde(default)]
    pub sees: Vec<String>,
    /// What it cannot see, a phrase each.
    #[serde(default)]
    pub cannot_see: Vec<String>,
}

/// One peer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Peer {
    /// As a device of the identity.
    pub device: Device,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// How many bytes of what is here it acknowledged holding, if it did.
    #[serde(default)]
    pub holds_bytes: Option<u64>,
    /// How many bytes it takes, if it said.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Why it was not reached the last time.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// The peers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListAnswer {
    /// By name.
    pub peers: Vec<Peer>,
}

/// Tries to reach a peer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestRequest {
    /// Its name, its id, the start of its id, or an address.
    pub peer: String,
}

/// How far it went.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestAnswer {
    /// What was asked for.
    pub peer: String,
    /// Whether every step worked.
    pub reachable: bool,
    /// How long a question and its answer take.
    #[serde(default)]
    pub round_trip_ms: Option<u64>,
    /// What was tried, in order; nothing after the first failure.
    pub steps: Vec<TestStep>,
}

/// One step.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestStep {
    /// What was tried.
    pub what: String,
    /// Whether it worked.
    pub ok: bool,
    /// What was found.
    #[serde(default)]
    pub detail: String,
}

//! What a Raft entry carries, in our own form.

use crate::NodeId;
use rhizome_cluster::EntryBody;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bodies that are placed together. Cloning shares them: an entry goes to every follower.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Batch(pub Arc<Vec<EntryBody>>);

/// Who votes, and who may be sent the log, as Raft's joint consensus has it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Members {
    /// One set of voters, or two while the group changes from the first to the second.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// All nodes, voters and those about to become voters.
    pub nodes: BTreeSet<NodeId>,
}

/// A Raft entry without its place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// A new leader's first entry: it places nothing.
    Blank,
    /// Bodies for the order.
    Bodies(Batch),
    /// A change of the group.
    Members(Members),
}

impl Payload {
    /// The bodies it places.
    #[must_use]
    pub fn bodies(&self) -> &[EntryBody] {
        match self {
            Self::Bodies(batch) => &batch.0,
            Self::Blank | Self::Members(_) => &[],
        }
    }
}

/// A Raft entry.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RaftEntry {
    /// Its place.
    pub at: crate::LogAt,
    /// What it carries.
    pub payload: Payload,
}

//! How the pod is: every number backed by an acknowledgement, never by the absence of an error.

use crate::device::Device;
use crate::identity::Identity;
use crate::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How everything is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusAnswer {
    /// The version of the pod.
    pub version: String,
    /// The folder it serves.
    pub dir: String,
    /// The pod's clock, to which every time here compares, in milliseconds since 1970.
    pub now_ms: u64,
    /// The identity in use, if there is one yet.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The state in one word of a closed list.
    pub state: State,
    /// The devices, this one first.
    pub devices: Vec<Device>,
    /// How the order stands.
    pub order: Order,
    /// What is on this disk.
    pub storage: Storage,
    /// How far what was written has travelled.
    pub durability: DurabilitySummary,
    /// The newest checkpoint.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// Where this pod listens.
    #[serde(default)]
    pub listening: Vec<String>,
    /// What this pod hosts for others.
    #[serde(default)]
    pub hosting: Option<Hosting>,
    /// The configuration in force.
    #[serde(default)]
    pub config: Value,
}

/// The words for a pod's state. The list is closed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateWord {
    /// Everything written here is confirmed.
    UpToDate,
    /// A write is on its way to the disk.
    #[default]
    SavingHere,
    /// Events are on their way to a device.
    Copying,
    /// A device that should hold a copy cannot be reached.
    WaitingForDevice,
    /// The peer that places events cannot be reached.
    OrderPending,
    /// A person must do something.
    NeedsAttention,
    /// A person switched it off.
    Paused,
    /// The disk is nearly full; writes stop soon, or stopped.
    LowDisk,
    /// The recovery kit is needed.
    Locked,
}

/// The state with who, since when, and what to do about it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    /// The word.
    pub is: StateWord,
    /// The device or peer that is waited for.
    #[serde(default)]
    pub who: Option<String>,
    /// Since when, in milliseconds since 1970.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// How many events are left to copy.
    #[serde(default)]
    pub left: Option<u64>,
    /// Why attention is needed, or which kit opens the lock.
    #[serde(default)]
    pub reason: Option<String>,
    /// What to do: a command, or a sentence.
    #[serde(default)]
    pub action: Option<String>,
}

/// How the order stands.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Order {
    /// The generation.
    pub generation: u64,
    /// The highest index that is certified.
    pub index: u64,
    /// The highest index whose events have taken effect here.
    pub applied: u64,
    /// The names of the devices that vote.
    pub voters: Vec<String>,
    /// The name of the device that leads, if it is known.
    #[serde(default)]
    pub leader: Option<String>,
    /// Whether every event known here is certified.
    pub committed_all: bool,
    /// Who is waiting for whom, oldest first.
    pub waiting: Vec<Waiting>,
}

/// One wait.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waiting {
    /// What waits, such as `3 changes`.
    pub what: String,
    /// The device or peer it waits for.
    pub for_whom: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What to do about it: a command, or a sentence.
    pub action: String,
}

/// What is on this disk.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Storage {
    /// Segments, which are the truth.
    pub segment_bytes: u64,
    /// The index, which can be rebuilt.
    pub index_bytes: u64,
    /// How many events.
    pub events: u64,
    /// How many documents.
    pub documents: u64,
    /// How many attachments.
    pub attachments: u64,
    /// How much the disk still takes, if it says.
    #[serde(default)]
    pub free_bytes: Option<u64>,
}

/// How far the events known here have travelled. Each is counted once, where it is furthest.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DurabilitySummary {
    /// Nobody else acknowledged holding them.
    pub local_only: u64,
    /// Another device acknowledged holding them; they have no certified place yet.
    pub copied: u64,
    /// A majority of voters acknowledged their place.
    pub committed: u64,
    /// In a checkpoint that a pin target acknowledged holding.
    pub pinned: u64,
    /// How many other devices or peers acknowledged holding everything.
    pub full_copies: u64,
    /// What removed devices wrote and nobody counts: kept, not applied.
    #[serde(default)]
    pub aside: u64,
}

/// What this pod hosts for others.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hosting {
    /// How many identities.
    pub identities: u64,
    /// How many bytes of theirs.
    pub bytes: u64,
}

/// Asks for a check-up.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DoctorRequest {
    /// Whether to rebuild the index from the segments.
    #[serde(default)]
    pub rebuild: bool,
}

/// What the check-up found.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DoctorAnswer {
    /// In the order they were checked.
    pub findings: Vec<Finding>,
    /// Whether the index was rebuilt.
    pub rebuilt: bool,
    /// How long it took.
    pub took_ms: u64,
}

/// How bad a finding is.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum FindingLevel {
    /// As it should be.
    #[default]
    Ok,
    /// Will become a problem.
    Warning,
    /// Is a problem.
    Problem,
}

/// One finding.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: FindingLevel,
    /// What was checked.
    pub what: String,
    /// What was found.
    #[serde(default)]
    pub detail: String,
    /// What to do about it: a command, or a sentence.
    #[serde(default)]
    pub action: Option<String>,
}

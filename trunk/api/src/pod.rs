//! The process itself: is it there, let it end, let it invite.

use serde::{Deserialize, Serialize};

/// The pod is there.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PingAnswer {
    /// The version of the pod.
    pub version: String,
    /// Its process id, for people who look for it.
    pub pid: u32,
    /// The folder it serves.
    #[serde(default)]
    pub dir: String,
    /// When it started, in milliseconds since 1970.
    #[serde(default)]
    pub started_ms: u64,
}

/// An invitation to use this pod as a cloud peer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct InviteAnswer {
    /// What the other person hands to `rhizome peer add`.
    pub url: String,
    /// When it stops working, if it does.
    #[serde(default)]
    pub expires_ms: Option<u64>,
}

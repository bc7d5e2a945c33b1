//! What a voter is started with, and the traits its surroundings implement.

use crate::VoterSet;
use async_trait::async_trait;
use rhizome_block::Cid;
use rhizome_cluster::EntryBody;
use rhizome_identity::{DeviceId, IdentityId};
use rhizome_log::Seen;
use std::time::Duration;

/// How one voter takes part in one generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RaftConfig {
    /// The identity whose order this is.
    pub identity: IdentityId,
    /// This device. It must be in `voters`, or in the last of `history` while it is leaving.
    pub me: DeviceId,
    /// The generation. Its entries carry it.
    pub generation: u64,
    /// The last entry of the generation before; the same for all voters.
    pub base: Seen,
    /// The voters there are to be, by the control log.
    pub voters: VoterSet,
    /// The voters this generation had before, oldest first. Empty when it begins.
    pub history: Vec<VoterSet>,
    /// Whether this device is one of those the generation begins with. A device that joins later
    /// must not found the group a second time, or there would be two.
    pub founding: bool,
    /// Whether this device may lead. Off for a witness; a group where nobody may lead stands still.
    pub may_lead: bool,
    /// The order is handed out from after this index on: what the replica has already.
    pub applied: u64,
    /// Time between heartbeats, and the longest an append may take. Too low: slow followers time
    /// out. Too high: a dead leader is noticed late.
    pub heartbeat_ms: u64,
    /// Bounds of the random election timeout. Too low: elections without need. Too high: the
    /// order stands still longer after a crash, which is about twice this.
    pub election_ms: (u64, u64),
}

impl RaftConfig {
    /// Heartbeat and election times for one machine or one local network.
    pub const LOCAL_MS: (u64, (u64, u64)) = (150, (500, 1_000));

    /// Heartbeat and election times across the internet (`security.md` 4.6).
    pub const INTERNET_MS: (u64, (u64, u64)) = (300, (1_000, 3_000));

    /// A founding voter of a generation, with local times.
    #[must_use]
    pub fn founder(
        identity: IdentityId,
        me: DeviceId,
        generation: u64,
        base: Seen,
        voters: VoterSet,
    ) -> Self {
        let (heartbeat_ms, election_ms) = Self::LOCAL_MS;
        Self {
            identity,
            me,
            generation,
            base,
            voters,
            history: Vec::new(),
            founding: true,
            may_lead: true,
            applied: base.i,
            heartbeat_ms,
            election_ms,
        }
    }

    /// The voters the generation began with.
    pub(crate) fn first(&self) -> &VoterSet {
        self.history.first().unwrap_or(&self.voters)
    }

    /// The control record that admitted this device, by the newest set that has it.
    pub(crate) fn admitted(&self) -> Option<&Cid> {
        let sets = [&self.voters].into_iter().chain(self.history.iter().rev());
        sets.filter_map(|set| set.admitted.get(&self.me)).next()
    }
}

/// A peer was not reached, or did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer from voter: {what}")]
pub struct TransportError {
    /// What happened.
    pub what: String,
}

/// Sends one request to a voter and waits for its reply. The pod implements it over a QUIC stream
/// to the endpoint that proves the device's key.
#[async_trait]
pub trait RaftTransport: Send + Sync + 'static {
    /// Returns the reply, or fails after `timeout`. A reply beyond [`crate::REPLY_BYTES_MAX`] need
    /// not be read to its end.
    async fn call(
        &self,
        to: DeviceId,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, TransportError>;
}

/// Tells what this device holds besides the Raft log.
#[async_trait]
pub trait Holdings: Send + Sync + 'static {
    /// Whether the bytes that `body` names are durable here, waiting up to `patience` for them.
    /// Asking may start to fetch them. Must return at once when `patience` is zero.
    async fn held(&self, body: &EntryBody, patience: Duration) -> bool;

    /// Whether the replica has applied the order up to `seen`, with that very hash, waiting up to
    /// `patience`. A voter asks before it starts its Raft log from there.
    async fn reached(&self, seen: &Seen, patience: Duration) -> bool;
}

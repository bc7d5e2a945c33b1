//! The handle to one voter: propose, answer peers, follow the control log, stop.

use crate::bounds::{
    DISK_JOBS_MAX, ENTRIES_PER_REQUEST_MAX, EVENTS_WAITING_MAX, LOG_KEEP, PROPOSALS_WAITING_MAX,
    SNAPSHOT_PATIENCE, UNCERTIFIED_MAX,
};
use crate::client::Clients;
use crate::machine::Machine;
use crate::shared::{Parts, Shared};
use crate::state::State;
use crate::store::{Store, restore, write};
use crate::types::Raft;
use crate::voters::{KnownSet, Voters};
use crate::{
    DiskError, GuardError, Holdings, NodeId, RaftConfig, RaftDisk, RaftTransport, VoterSet, keeper,
};
use openraft::{Config, EmptyNode, ServerState, SnapshotPolicy};
use rhizome_cluster::{Certificate, Entry, EntryBody};
use rhizome_identity::{DeviceId, SigningKeys};
use rhizome_log::Seen;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a voter tells its surroundings.
#[derive(Debug)]
#[non_exhaustive]
pub enum RaftEvent {
    /// Entries are committed, in order and without holes since the event before, each once per
    /// start. After a start or a jump by snapshot the first may lie beyond what the replica has;
    /// it then pulls what is between by the sync session.
    Committed {
        /// The entries.
        entries: Vec<Entry>,
        /// The proof. It may cover more than these entries.
        certificate: Certificate,
    },
    /// Who leads now, if anybody is known to. What was proposed to another leader and is not
    /// committed must be proposed again.
    Leader(Option<DeviceId>),
    /// A peer broke a rule and was not listened to.
    Refused {
        /// The peer.
        from: DeviceId,
        /// The rule.
        reason: GuardError,
    },
    /// A voter says that a newer generation counts. Its word is no proof: ask for its control log.
    Superseded {
        /// Who says so.
        from: DeviceId,
        /// The generation.
        generation: u64,
    },
    /// This node cannot go on: its disk failed, or openraft gave up. It has stopped.
    Failed(String),
}

/// Why a voter could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The control log gives this device no vote.
    #[error("this device is no voter of the generation")]
    NoVoter,
    /// The keys are not this device's.
    #[error("signing keys are not those of this device")]
    Keys,
    /// What is on disk could not be read back.
    #[error("raft log could not be restored")]
    Disk {
        /// Why.
        source: DiskError,
    },
    /// openraft would not start.
    #[error("raft could not be started: {what}")]
    Raft {
        /// What it said.
        what: String,
    },
}

/// Why bodies were not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Somebody else leads, or nobody.
    #[error("this device does not lead")]
    NotLeader {
        /// Who does.
        leader: Option<DeviceId>,
    },
    /// Too much waits to be placed or certified. Propose again after the next event.
    #[error("too much waits to be committed")]
    Busy,
    /// The voter has stopped.
    #[error("this voter has stopped")]
    Stopped,
}

/// How a voter is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RaftStatus {
    /// The term.
    pub term: u64,
    /// Who leads.
    pub leader: Option<DeviceId>,
    /// Who votes now. Two sets' worth while the group changes.
    pub voters: Vec<DeviceId>,
    /// Whether the group is what [`RaftOrder::reconcile`] asked for.
    pub settled: bool,
    /// The end of the log.
    pub end: Seen,
    /// The newest certified position that the log holds.
    pub certified: Seen,
    /// Raft entries in memory.
    pub held: u64,
    /// Bodies that wait to be proposed.
    pub waiting: usize,
}

/// One voter of one generation. Clones share it. Call [`RaftOrder::stop`] when done with it.
#[derive(Clone)]
pub struct RaftOrder {
    pub(crate) shared: Arc<Shared>,
    raft: Raft,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl RaftOrder {
    /// Restores the log and starts to take part. Events are to be read from the channel: while
    /// nobody reads, the order is not handed out.
    pub async fn start(
        config: RaftConfig,
        keys: Arc<SigningKeys>,
        disk: Arc<dyn RaftDisk>,
        transport: Arc<dyn RaftTransport>,
        holdings: Arc<dyn Holdings>,
    ) -> Result<(Self, mpsc::Receiver<RaftEvent>), StartError> {
        if keys.device_id() != config.me {
            return Err(StartError::Keys);
        }
        let admitted = config.admitted().ok_or(StartError::NoVoter)?;
        let me = NodeId::of(&config.identity, config.generation, &config.me, admitted);
        let voters =
            Voters::new(config.identity, config.generation, &config.history, &config.voters);
        let (generation, base) = (config.generation, config.base);
        let mut state = State::new(me, keys, generation, base, voters, config.applied);
        let records = disk.load(generation).await.map_err(|source| StartError::Disk { source })?;
        restore(&mut state, &records).map_err(|source| StartError::Disk { source })?;
        let is_new = state.ledger.last().is_none();

        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let (jobs, queue) = mpsc::channel(DISK_JOBS_MAX);
        let shared = Shared::new(Parts {
            identity: config.identity,
            me: config.me,
            generation,
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            state,
            transport,
            holdings,
            jobs,
            events,
        });
        let writer = tokio::spawn(write(Arc::clone(&shared), disk, queue));
        let order = Self::run(&config, me, is_new, shared).await?;
        order.track(writer);
        Ok((order, receiver))
    }

    async fn run(
        config: &RaftConfig,
        me: NodeId,
        is_new: bool,
        shared: Arc<Shared>,
    ) -> Result<Self, StartError> {
        let failed = |what: String| StartError::Raft { what };
        let settings = settings(config).validate().map_err(|error| failed(error.to_string()))?;
        let clients = Clients { shared: Arc::clone(&shared) };
        let store = Store { shared: Arc::clone(&shared) };
        let machine = Machine { shared: Arc::clone(&shared) };
        let raft = Raft::new(me, Arc::new(settings), clients, store, machine)
            .await
            .map_err(|error| failed(error.to_string()))?;
        assert!(shared.raft.set(raft.clone()).is_ok(), "a voter is started once");
        // All founders found the same group, that of the first set, whatever became of it since.
        let first = KnownSet::new(&config.identity, config.generation, config.first()).ids;
        if is_new && config.founding && config.may_lead && first.contains(&me) {
            let members: BTreeMap<_, _> =
                first.into_iter().map(|id| (id, EmptyNode::new())).collect();
            // Another founder may have been quicker, and its first entries be here already.
            if let Err(error) = raft.initialize(members).await {
                tracing::debug!(%error, "raft group is founded already");
            }
        }
        let order = Self { shared, raft, tasks: Arc::new(Mutex::new(Vec::new())) };
        order.track(tokio::spawn(keeper::keep(Arc::clone(&order.shared), order.raft.clone())));
        order.shared.progress();
        Ok(order)
    }

    fn track(&self, task: JoinHandle<()>) {
        self.tasks.lock().expect("nobody panics while holding the tasks").push(task);
    }

    /// Asks to place bodies whose bytes are durable here, in this order. Returns once they are
    /// taken, not once they are committed: that is an event. Bodies that wait are lost when the
    /// lead is.
    pub async fn propose(&self, bodies: Vec<EntryBody>) -> Result<(), ProposeError> {
        if self.shared.is_stopped() {
            return Err(ProposeError::Stopped);
        }
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        {
            let mut state = self.shared.state();
            let waiting = state.waiting_proposals() + bodies.len();
            if waiting > PROPOSALS_WAITING_MAX || state.uncertified() > UNCERTIFIED_MAX {
                return Err(ProposeError::Busy);
            }
            state.enqueue(bodies);
        }
        keeper::flush(&self.shared, &self.raft).await.map_err(|()| ProposeError::Stopped)
    }

    /// Answers one request of `from`, whose key the transport has proven. The guard stands here.
    pub async fn handle(&self, from: DeviceId, request: &[u8]) -> Vec<u8> {
        self.shared.answer(from, request).await
    }

    /// Follows the control log: these are to vote. Every voter is told, the leader brings it about
    /// by one joint change, without a stop. Asking for the same again changes nothing.
    pub fn reconcile(&self, voters: &VoterSet) {
        Arc::make_mut(&mut self.shared.state().voters).want(voters);
        self.shared.wake.notify_one();
    }

    /// Lets this device lead, or keeps it from calling elections. A leader goes on leading.
    pub fn set_may_lead(&self, may_lead: bool) {
        self.raft.runtime_config().elect(may_lead);
    }

    /// Whether this device leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.raft.server_metrics().borrow().state == ServerState::Leader
    }

    /// Who leads, as far as this device knows.
    #[must_use]
    pub fn leader(&self) -> Option<DeviceId> {
        let leader = self.raft.server_metrics().borrow().current_leader;
        leader.and_then(|node| self.shared.state().voters.device_of(&node))
    }

    /// How this voter is doing.
    #[must_use]
    pub fn metrics(&self) -> RaftStatus {
        let leader = self.leader();
        let state = self.shared.state();
        let members = state.ledger.members();
        let configs = || members.iter().flat_map(|members| members.configs.iter());
        let mut voters: Vec<_> =
            configs().flatten().filter_map(|node| state.voters.device_of(node)).collect();
        voters.sort_unstable();
        voters.dedup();
        RaftStatus {
            term: state.ballot.term,
            leader,
            voters,
            settled: configs().eq([&state.voters.wanted().ids]),
            end: state.ledger.end(),
            certified: state.certified_seen,
            held: state.ledger.iter().count() as u64,
            waiting: state.waiting_proposals(),
        }
    }

    /// Stops the voter. What is durable stays; the lead, if this device has it, passes on after an
    /// election timeout.
    pub async fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        let tasks = {
            let mut tasks = self.tasks.lock().expect("nobody panics while holding the tasks");
            std::mem::take(&mut *tasks)
        };
        // Closes the queue of the disk, whose task then ends after the last job.
        self.shared.close_jobs();
        for task in tasks {
            let _ = task.await;
        }
    }
}

fn settings(config: &RaftConfig) -> Config {
    Config {
        cluster_name: format!("{}/{}", config.identity, config.generation),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.election_ms.0,
        election_timeout_max: config.election_ms.1,
        max_payload_entries: ENTRIES_PER_REQUEST_MAX as u64,
        install_snapshot_timeout: u64::try_from(SNAPSHOT_PATIENCE.as_millis())
            .expect("a patience of seconds"),
        // The keeper cuts snapshots: openraft does not know what is certified.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: LOG_KEEP,
        purge_batch_size: 1,
        enable_elect: config.may_lead,
        ..Config::default()
    }
}

//! What openraft does without a guard. These tests assert the **wrong** behaviour: they show why
//! the guard stands there, and would turn round if openraft ever protected itself.

use crate::types::{Raft, Types};
use crate::{Batch, NodeId, RaftBase};
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    Config, EmptyNode, Entry, EntryPayload, LeaderId, LogId, LogState, OptionalSend, RaftLogReader,
    RaftSnapshotBuilder, Snapshot, SnapshotMeta, StoredMembership, Vote,
};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type StorageError = crate::types::StorageError;
type CallError = RPCError<NodeId, EmptyNode, RaftError<NodeId>>;
type Peers = Arc<Mutex<BTreeMap<NodeId, Raft>>>;

/// The simplest log that is right.
#[derive(Clone, Default)]
struct PlainLog(Arc<Mutex<PlainState>>);

type PlainState = (BTreeMap<u64, Entry<Types>>, Option<Vote<NodeId>>);

impl RaftLogReader<Types> for PlainLog {
    async fn try_get_log_entries<RB>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, StorageError>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.0.lock().unwrap().0.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Types> for PlainLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let last_log_id = self.0.lock().unwrap().0.values().last().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: None, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), StorageError> {
        self.0.lock().unwrap().1 = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        Ok(self.0.lock().unwrap().1)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| (entry.log_id.index, entry));
        self.0.lock().unwrap().0.extend(entries);
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId<NodeId>) -> Result<(), StorageError> {
        self.0.lock().unwrap().0.split_off(&since.index);
        Ok(())
    }

    async fn purge(&mut self, _upto: LogId<NodeId>) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Remembers how many bodies were applied.
#[derive(Clone, Default)]
struct PlainMachine(Arc<Mutex<usize>>);

impl RaftSnapshotBuilder<Types> for PlainMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        unreachable!("these logs are short")
    }
}

impl RaftStateMachine<Types> for PlainMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<NodeId>>, StoredMembership<NodeId, EmptyNode>), StorageError> {
        Ok(Default::default())
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let bodies = |entry: Entry<Types>| match entry.payload {
            EntryPayload::Normal(batch) => batch.0.len(),
            _ => 0,
        };
        let applied: Vec<_> = entries.into_iter().map(bodies).collect();
        *self.0.lock().unwrap() += applied.iter().sum::<usize>();
        Ok(applied.into_iter().map(|_| ()).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<RaftBase>, StorageError> {
        unreachable!("these logs are short")
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta<NodeId, EmptyNode>,
        _snapshot: Box<RaftBase>,
    ) -> Result<(), StorageError> {
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        Ok(None)
    }
}

/// Calls the other node directly.
#[derive(Clone)]
struct PlainNet {
    peers: Peers,
    to: NodeId,
}

impl PlainNet {
    fn peer(&self) -> Raft {
        self.peers.lock().unwrap()[&self.to].clone()
    }
}

impl RaftNetworkFactory<Types> for PlainNet {
    type Network = Self;

    async fn new_client(&mut self, target: NodeId, _node: &EmptyNode) -> Self {
        Self { peers: Arc::clone(&self.peers), to: target }
    }
}

impl RaftNetwork<Types> for PlainNet {
    async fn append_entries(
        &mut self,
        call: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, CallError> {
        let gone = |_| RPCError::Unreachable(Unreachable::new(&std::fmt::Error));
        self.peer().append_entries(call).await.map_err(gone)
    }

    async fn vote(
        &mut self,
        call: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, CallError> {
        let gone = |_| RPCError::Unreachable(Unreachable::new(&std::fmt::Error));
        self.peer().vote(call).await.map_err(gone)
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote<NodeId>,
        _snapshot: Snapshot<Types>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<Types, Fatal<NodeId>>> {
        unreachable!("these logs are short")
    }
}

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

/// Three plain nodes, and the leader among them.
async fn group() -> (Peers, BTreeMap<NodeId, PlainMachine>, NodeId) {
    let peers = Peers::default();
    let mut machines = BTreeMap::new();
    let settings = Config {
        heartbeat_interval: 30,
        election_timeout_min: 90,
        election_timeout_max: 180,
        ..Config::default()
    };
    let settings = Arc::new(settings.validate().unwrap());
    for n in 1..=3 {
        let net = PlainNet { peers: Arc::clone(&peers), to: node(n) };
        let machine = PlainMachine::default();
        machines.insert(node(n), machine.clone());
        let log = PlainLog::default();
        let raft = Raft::new(node(n), Arc::clone(&settings), net, log, machine).await.unwrap();
        peers.lock().unwrap().insert(node(n), raft);
    }
    let first = peers.lock().unwrap()[&node(1)].clone();
    let members: BTreeMap<_, _> = (1..=3).map(|n| (node(n), EmptyNode::new())).collect();
    first.initialize(members).await.unwrap();
    let wait = first.wait(Some(Duration::from_secs(5)));
    let found = wait.metrics(|metrics| metrics.current_leader.is_some(), "a leader").await;
    (peers, machines, found.unwrap().current_leader.unwrap())
}

async fn write(peers: &Peers, numbers: &[u64]) -> bool {
    let rafts: Vec<_> = peers.lock().unwrap().values().cloned().collect();
    for raft in rafts {
        let batch: Batch = crate::testing::batch(numbers);
        let written = tokio::time::timeout(Duration::from_millis(200), raft.client_write(batch));
        if written.await.is_ok_and(|written| written.is_ok()) {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_forged_term_stops_an_unguarded_group_for_good() {
    let (peers, _, leader) = group().await;
    assert!(write(&peers, &[1]).await);
    let (victim, hostile) = if leader == node(1) { (2, 3) } else { (1, 2) };
    let victim = peers.lock().unwrap()[&node(victim)].clone();
    let forged = AppendEntriesRequest {
        vote: Vote::new_committed(u64::MAX, node(hostile)),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let _ = victim.append_entries(forged).await;
    // Ten elections' worth of time, and more attempts to write than any client would make.
    tokio::time::sleep(Duration::from_millis(900)).await;
    let mut written = 0;
    for n in 0..3 {
        written += u64::from(write(&peers, &[n]).await);
    }
    assert_eq!(written, 0, "openraft recovered by itself: look again at what the guard is for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_commit_index_makes_an_unguarded_follower_apply_what_no_leader_committed() {
    let (peers, machines, leader) = group().await;
    assert!(write(&peers, &[1]).await);
    let hostile = if leader == node(1) { 3 } else { 1 };
    let victim = (1..=3).map(node).find(|n| *n != leader && *n != node(hostile)).unwrap();
    let raft = peers.lock().unwrap()[&victim].clone();
    let wait = raft.wait(Some(Duration::from_secs(5)));
    let last = wait.metrics(|m| m.last_applied.is_some_and(|id| id.index >= 2), "applied").await;
    let last = last.unwrap().last_applied.unwrap();
    let before = *machines[&victim].0.lock().unwrap();
    let term = raft.metrics().borrow().current_term + 1;
    let leader_id = LeaderId::new(term, node(hostile));
    let log_id = LogId::new(leader_id, last.index + 1);
    let forged = AppendEntriesRequest {
        vote: Vote::new_committed(term, node(hostile)),
        prev_log_id: Some(last),
        entries: vec![Entry {
            log_id,
            payload: EntryPayload::Normal(crate::testing::batch(&[666])),
        }],
        leader_commit: Some(log_id),
    };
    let _ = raft.append_entries(forged).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(*machines[&victim].0.lock().unwrap(), before + 1, "openraft checked the commit");
}

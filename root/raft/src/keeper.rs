//! The task that looks after what nobody waits for: the pipeline of proposals, membership,
//! snapshots, and news about the lead.

use crate::bounds::{JOIN_LAG_MAX, SNAPSHOT_EVERY};
use crate::shared::Shared;
use crate::store::{Done, Job};
use crate::types::{Raft, members};
use crate::{NodeId, RaftEvent, RaftRecord};
use openraft::{ChangeMembers, EmptyNode, LogIdOptionExt, ServerState};
use rhizome_identity::DeviceId;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Hands waiting bodies to openraft as long as the pipeline has room.
pub(crate) async fn flush(shared: &Arc<Shared>, raft: &Raft) -> Result<(), ()> {
    loop {
        let batch = shared.state().next_batch();
        let Some(batch) = batch else { return Ok(()) };
        // The answer is not waited for: what is committed comes back as a certificate.
        raft.client_write_ff(batch).await.map_err(|_| ())?;
    }
}

/// Runs until the voter stops.
pub(crate) async fn keep(shared: Arc<Shared>, raft: Raft) {
    let mut server = raft.server_metrics();
    let mut tick = tokio::time::interval(shared.heartbeat);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = Keeper { shared, raft, leader: None, noted: 0, change: None };
    loop {
        tokio::select! {
            changed = server.changed() => {
                if changed.is_err() {
                    keeper.shared.fail("raft has ended".to_owned());
                    return;
                }
            }
            () = keeper.shared.wake.notified() => {}
            _ = tick.tick() => {}
        }
        if keeper.shared.is_stopped() {
            return;
        }
        keeper.round().await;
    }
}

struct Keeper {
    shared: Arc<Shared>,
    raft: Raft,
    /// What was last reported.
    leader: Option<Option<DeviceId>>,
    /// Order index of the last commit record.
    noted: u64,
    /// A membership change under way.
    change: Option<JoinHandle<()>>,
}

impl Keeper {
    async fn round(&mut self) {
        let running = self.raft.metrics().borrow().running_state.clone();
        if let Err(error) = running {
            self.shared.fail(error.to_string());
            return;
        }
        self.report_leader();
        self.shared.progress();
        let nudge = self.shared.state().next_nudge();
        if let Some(batch) = nudge {
            let _ = self.raft.client_write_ff(batch).await;
        }
        let _ = flush(&self.shared, &self.raft).await;
        self.note_commit();
        self.cut_snapshot().await;
        self.change_members();
    }

    fn report_leader(&mut self) {
        let leader = self.raft.server_metrics().borrow().current_leader;
        let leader = leader.and_then(|node| self.shared.state().voters.device_of(&node));
        if self.leader != Some(leader)
            && self.shared.events.try_send(RaftEvent::Leader(leader)).is_ok()
        {
            metrics::counter!("rhizome_raft_leader_changes_total").increment(1);
            self.leader = Some(leader);
        }
    }

    /// Writes down what is certified, for a quicker start. Nobody waits for it.
    fn note_commit(&mut self) {
        let certificate = self.shared.state().certificate.clone();
        let Some(certificate) = certificate.filter(|it| it.seen.i > self.noted) else { return };
        let noted = certificate.seen.i;
        let records = vec![RaftRecord::commit(self.shared.generation, certificate)];
        if self.shared.try_enqueue(Job { records, upto: None, done: Done::Quiet }) {
            self.noted = noted;
        }
    }

    /// Cuts a snapshot when enough is certified since the last; openraft then purges behind it.
    async fn cut_snapshot(&self) {
        let due = {
            let state = self.shared.state();
            let before = state.ledger.base().map_or(0, |base| base.last.index);
            state.base_index().is_some_and(|index| index >= before + SNAPSHOT_EVERY)
        };
        if due {
            let _ = self.raft.trigger().snapshot().await;
        }
    }

    /// Brings the group towards the wanted voters, if this device leads and nothing is under way.
    fn change_members(&mut self) {
        if self.change.as_ref().is_some_and(|change| !change.is_finished()) {
            return;
        }
        self.change = None;
        let server = self.raft.server_metrics().borrow().clone();
        let wanted = self.shared.state().voters.wanted().ids.clone();
        let now = members(server.membership_config.membership());
        if server.state == ServerState::Leader && !now.configs.iter().eq([&wanted]) {
            let change = change(self.raft.clone(), Arc::clone(&self.shared), wanted);
            self.change = Some(tokio::spawn(change));
        }
    }
}

/// One way from the present group to the wanted one: newcomers follow until they are near, then one
/// joint change. What fails is tried again at the keeper's next round.
async fn change(raft: Raft, shared: Arc<Shared>, wanted: BTreeSet<NodeId>) {
    let config = raft.server_metrics().borrow().membership_config.clone();
    let known = members(config.membership()).nodes;
    for node in wanted.difference(&known) {
        if let Err(error) = raft.add_learner(*node, EmptyNode::new(), false).await {
            tracing::debug!(%error, "voter cannot be added yet");
            return;
        }
    }
    let near = |node: &NodeId| {
        let metrics = raft.metrics().borrow().clone();
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = metrics.replication.as_ref().and_then(|all| all.get(node).copied());
        matched.is_some_and(|at| at.index().is_some_and(|i| i + JOIN_LAG_MAX > last))
    };
    while !wanted.iter().all(|node| *node == raft.metrics().borrow().id || near(node)) {
        if !shared.state().leads() || shared.is_stopped() {
            return;
        }
        tokio::time::sleep(shared.heartbeat / 2).await;
    }
    let goal = ChangeMembers::ReplaceAllVoters(wanted);
    match raft.change_membership(goal, false).await {
        Ok(_) => metrics::counter!("rhizome_raft_membership_changes_total").increment(1),
        Err(error) => tracing::debug!(%error, "voters cannot be changed yet"),
    }
}

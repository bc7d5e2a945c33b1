//! What the parts of one voter share: its state behind a lock, and the ways out.
//!
//! The lock is held for moments and never across an `await`. After every change somebody calls
//! [`Shared::progress`], which certifies what can be certified and hands out what is due.

use crate::bounds::{ANNOUNCE_PATIENCE, EVENTS_WAITING_MAX};
use crate::client::call;
use crate::state::State;
use crate::store::Job;
use crate::types::Raft;
use crate::wire::{Answer, Request, RequestEnvelope, RequestKind};
use crate::{GuardError, Holdings, RaftEvent, RaftTransport};
use rhizome_block::Version;
use rhizome_cluster::Certificate;
use rhizome_identity::{DeviceId, IdentityId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Shared by the handle, the guard, the store and the keeper of one voter.
pub(crate) struct Shared {
    pub(crate) identity: IdentityId,
    pub(crate) me: DeviceId,
    pub(crate) generation: u64,
    pub(crate) heartbeat: Duration,
    state: Mutex<State>,
    pub(crate) transport: Arc<dyn RaftTransport>,
    pub(crate) holdings: Arc<dyn Holdings>,
    /// The queue of the disk, until the voter stops.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    pub(crate) events: mpsc::Sender<RaftEvent>,
    pub(crate) raft: OnceLock<Raft>,
    /// Appends enter openraft one by one, so that what the guard saw is what openraft sees.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// Wakes the keeper.
    pub(crate) wake: Notify,
    pub(crate) stopped: AtomicBool,
    started: Instant,
}

/// The parts [`Shared::new`] is made of.
pub(crate) struct Parts {
    pub(crate) identity: IdentityId,
    pub(crate) me: DeviceId,
    pub(crate) generation: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) state: State,
    pub(crate) transport: Arc<dyn RaftTransport>,
    pub(crate) holdings: Arc<dyn Holdings>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) events: mpsc::Sender<RaftEvent>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            identity: parts.identity,
            me: parts.me,
            generation: parts.generation,
            heartbeat: parts.heartbeat,
            state: Mutex::new(parts.state),
            transport: parts.transport,
            holdings: parts.holdings,
            jobs: Mutex::new(Some(parts.jobs)),
            events: parts.events,
            raft: OnceLock::new(),
            gate: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
            stopped: AtomicBool::new(false),
            started: Instant::now(),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the state")
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The queue of the disk, if it is open.
    pub(crate) fn jobs(&self) -> Option<mpsc::Sender<Job>> {
        self.jobs.lock().expect("nobody panics while holding the queue").clone()
    }

    /// Closes the queue of the disk: its task ends after the last job.
    pub(crate) fn close_jobs(&self) {
        *self.jobs.lock().expect("nobody panics while holding the queue") = None;
    }

    pub(crate) fn envelope(
        &self,
        certificate: Option<Certificate>,
        request: Request,
    ) -> RequestEnvelope {
        let (identity, generation) = (self.identity, self.generation);
        RequestEnvelope { k: RequestKind, v: Version, identity, generation, certificate, request }
    }

    /// Certifies what can be certified, hands out what is due, and tells the others.
    pub(crate) fn progress(self: &Arc<Self>) {
        let untold = {
            let mut state = self.state();
            state.certify();
            self.pump(&mut state);
            self.untold(&mut state)
        };
        for device in untold {
            tokio::spawn(Arc::clone(self).tell(device));
        }
    }

    /// Hands out certified entries as long as the channel takes them. What it does not take now is
    /// handed out at the keeper's next round.
    fn pump(&self, state: &mut State) {
        while let Some((entries, certificate)) = state.due() {
            let Ok(permit) = self.events.try_reserve() else { return };
            metrics::counter!("rhizome_raft_committed_entries_total")
                .increment(entries.len() as u64);
            state.set_emitted(entries.last().map_or(0, |entry| entry.i));
            permit.send(RaftEvent::Committed { entries, certificate });
        }
    }

    /// The voters that do not know the newest certificate and are not being told. Only a leader
    /// tells, so that a message is not sent by everybody.
    fn untold(&self, state: &mut State) -> Vec<DeviceId> {
        if !state.leads() || self.is_stopped() {
            return Vec::new();
        }
        let Some(i) = state.certificate.as_ref().map(|certificate| certificate.seen.i) else {
            return Vec::new();
        };
        let mut untold = state.voters.peers();
        untold.remove(&self.me);
        untold.retain(|device| {
            let peer = state.peers.entry(*device).or_default();
            let tell = peer.telling.is_none() && peer.told < i;
            if tell {
                peer.telling = Some(i);
            }
            tell
        });
        untold.into_iter().collect()
    }

    /// Tells one voter what is certified, until it knows the newest or does not answer.
    async fn tell(self: Arc<Self>, device: DeviceId) {
        loop {
            let certificate = {
                let mut state = self.state();
                let newest = state.certificate.clone();
                let leads = state.leads() && !self.is_stopped();
                let peer = state.peers.entry(device).or_default();
                let newest = newest.filter(|certificate| leads && certificate.seen.i > peer.told);
                peer.telling = newest.as_ref().map(|certificate| certificate.seen.i);
                newest
            };
            let Some(certificate) = certificate else { return };
            let i = certificate.seen.i;
            let envelope = self.envelope(Some(certificate), Request::Certified);
            let reply = call(&self, device, &envelope, ANNOUNCE_PATIENCE).await;
            let mut state = self.state();
            let peer = state.peers.entry(device).or_default();
            if !reply.is_ok_and(|reply| reply.answer == Answer::Noted) {
                peer.telling = None;
                return;
            }
            peer.told = peer.told.max(i);
        }
    }

    /// The newest certificate, unless `device` knows it or is being told.
    pub(crate) fn news_for(state: &mut State, device: DeviceId) -> Option<Certificate> {
        let peer = state.peers.entry(device).or_default();
        let known = peer.told.max(peer.telling.unwrap_or(0));
        state.certificate.clone().filter(|certificate| certificate.seen.i > known)
    }

    /// Reports that a peer was refused.
    pub(crate) fn refuse(&self, from: DeviceId, reason: GuardError) {
        metrics::counter!("rhizome_raft_refused_total").increment(1);
        tracing::debug!(%from, %reason, "raft message refused");
        self.remark(RaftEvent::Refused { from, reason });
    }

    /// Sends an event that may be lost. Half of the channel stays free for what is committed:
    /// remarks are many exactly when somebody attacks.
    pub(crate) fn remark(&self, event: RaftEvent) {
        if self.events.capacity() > EVENTS_WAITING_MAX / 2 {
            let _ = self.events.try_send(event);
        }
    }

    /// Reports that this node cannot go on, and stops it.
    pub(crate) fn fail(self: &Arc<Self>, what: String) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(%what, "raft node failed");
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let _ = shared.events.send(RaftEvent::Failed(what)).await;
            if let Some(raft) = shared.raft.get() {
                let _ = raft.shutdown().await;
            }
            shared.wake.notify_one();
        });
    }
}

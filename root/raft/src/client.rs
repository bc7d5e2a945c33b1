//! What this voter asks others, and how it reads their answers.
//!
//! An answer can be as hostile as a request: openraft would follow any ballot it is answered with,
//! and stop at an answer that makes no sense. So answers pass their own rules before openraft sees
//! them; what breaks one counts as silence.

use crate::bounds::{REPLY_BYTES_MAX, SNAPSHOT_PATIENCE};
use crate::shared::Shared;
use crate::types::{Types, ballot, log_at, log_id, raft_entry, vote};
use crate::wire::{
    Answer, Append, Appended, BaseCall, ReplyEnvelope, Request, RequestEnvelope, VoteCall,
};
use crate::{Ballot, GuardError, LogAt, NodeId, TransportError, WireError, guard};
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, Snapshot, Vote};
use rhizome_cluster::Ack;
use rhizome_identity::DeviceId;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No answer.
    #[error("voter did not answer")]
    Transport(#[source] TransportError),
    /// Not an answer.
    #[error("voter answered what is no reply")]
    Wire(#[source] WireError),
    /// The voter will not, or its answer breaks a rule.
    #[error("voter was not heard: {0}")]
    Refused(String),
    /// The node is not a voter any more.
    #[error("node {0} is no voter")]
    Unknown(NodeId),
}

/// Sends an envelope and reads the reply.
pub(crate) async fn call(
    shared: &Shared,
    to: DeviceId,
    envelope: &RequestEnvelope,
    patience: Duration,
) -> Result<ReplyEnvelope, CallError> {
    let bytes = envelope.encode();
    let reply = shared.transport.call(to, bytes, patience).await.map_err(CallError::Transport)?;
    if reply.len() > REPLY_BYTES_MAX {
        let source = WireError::Size { bytes: reply.len(), max: REPLY_BYTES_MAX };
        return Err(CallError::Wire(source));
    }
    let reply = ReplyEnvelope::read(&reply).map_err(CallError::Wire)?;
    match reply.answer {
        Answer::Refused(reason) => Err(CallError::Refused(reason)),
        Answer::Superseded(generation) if generation > shared.generation => {
            // One voter's word is no proof: whoever reads the event asks for the control log.
            let event = crate::RaftEvent::Superseded { from: to, generation };
            shared.remark(event);
            Err(CallError::Refused(format!("generation {generation} counts")))
        }
        _ => Ok(reply),
    }
}

/// Makes one [`Client`] per voter.
pub(crate) struct Clients {
    pub(crate) shared: Arc<Shared>,
}

impl RaftNetworkFactory<Types> for Clients {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, _node: &EmptyNode) -> Client {
        let device = self.shared.state().voters.device_of(&target);
        Client { shared: Arc::clone(&self.shared), node: target, device }
    }
}

/// Talks to one voter in openraft's name.
pub(crate) struct Client {
    shared: Arc<Shared>,
    node: NodeId,
    device: Option<DeviceId>,
}

type AppendError = RPCError<NodeId, EmptyNode, RaftError<NodeId>>;

fn unreachable_error(error: &CallError) -> AppendError {
    RPCError::Unreachable(Unreachable::new(error))
}

/// An append on its way, with what its answer may say.
struct Sent {
    device: DeviceId,
    ballot: Ballot,
    /// The places the follower may say it matches.
    places: Vec<Option<LogAt>>,
}

impl Client {
    fn device(&self) -> Result<DeviceId, CallError> {
        self.device.ok_or(CallError::Unknown(self.node))
    }

    /// Whether an append says nothing new to a voter that answered a moment ago. openraft sends one
    /// to spread each commit index; certificates do that here.
    fn is_idle_talk(&self, device: DeviceId, call: &AppendEntriesRequest<Types>) -> bool {
        if !call.entries.is_empty() || call.prev_log_id.is_none() {
            return false;
        }
        let (now_ms, state) = (self.shared.now_ms(), self.shared.state());
        let Some(peer) = state.peers.get(&device) else { return false };
        let fresh_ms = u64::try_from(self.shared.heartbeat.as_millis() / 2).unwrap_or(u64::MAX);
        let heard = peer.heard_ms.is_some_and(|at| now_ms.saturating_sub(at) < fresh_ms);
        heard && peer.matched == call.prev_log_id.as_ref().map(log_at)
    }

    fn prepare(
        &self,
        device: DeviceId,
        call: AppendEntriesRequest<Types>,
    ) -> (RequestEnvelope, Sent) {
        let prev = call.prev_log_id.as_ref().map(log_at);
        let ballot = ballot(&call.vote);
        let entries: Vec<_> = call.entries.into_iter().map(raft_entry).collect();
        let places = [prev].into_iter().chain(entries.iter().map(|entry| Some(entry.at))).collect();
        let mut state = self.shared.state();
        // Entries that openraft still sends although they are purged are answered by a base.
        let chain = state.ledger.end_at(prev).unwrap_or_default();
        let certificate = Shared::news_for(&mut state, device);
        drop(state);
        let commit = call.leader_commit.as_ref().map(log_at);
        let append = Append { ballot, prev, chain, entries, commit };
        let envelope = self.shared.envelope(certificate, Request::Append(append));
        (envelope, Sent { device, ballot, places })
    }

    async fn append(
        &self,
        call_in: AppendEntriesRequest<Types>,
        patience: Duration,
    ) -> Result<AppendEntriesResponse<NodeId>, CallError> {
        let device = self.device()?;
        if self.is_idle_talk(device, &call_in) {
            return Ok(AppendEntriesResponse::Success);
        }
        let (envelope, sent) = self.prepare(device, call_in);
        let reply = call(&self.shared, device, &envelope, patience).await?;
        let answer =
            self.judge(&sent, &reply.answer).map_err(|error| self.refuse(device, error))?;
        self.count(&sent, reply.acks).map_err(|error| self.refuse(device, error))?;
        self.shared.progress();
        let stuck = sent.places.len() > 1
            && matches!(answer, AppendEntriesResponse::PartialSuccess(at)
                if at.as_ref().map(log_at) == sent.places[0]);
        if stuck {
            // The follower waits for bytes or the control log; openraft would ask again at once.
            tokio::time::sleep(self.shared.heartbeat / 8).await;
        }
        Ok(answer)
    }

    fn refuse(&self, device: DeviceId, error: GuardError) -> CallError {
        let what = CallError::Refused(error.to_string());
        self.shared.refuse(device, error);
        what
    }

    /// Reads the answer to an append.
    fn judge(
        &self,
        sent: &Sent,
        answer: &Answer,
    ) -> Result<AppendEntriesResponse<NodeId>, GuardError> {
        let now_ms = self.shared.now_ms();
        let mut state = self.shared.state();
        let same_lead = state.leads() && state.ballot.term == sent.ballot.term;
        match *answer {
            Answer::Appended(Appended { matched, withheld }) => {
                guard::matched(&sent.places, matched)?;
                let peer = state.peers.entry(sent.device).or_default();
                if same_lead {
                    peer.matched = peer.matched.max(matched);
                    peer.heard_ms = Some(now_ms);
                    state.nudge |= withheld;
                }
                let all = sent.places.last().is_some_and(|last| *last == matched);
                Ok(if all {
                    AppendEntriesResponse::Success
                } else {
                    AppendEntriesResponse::PartialSuccess(matched.map(log_id))
                })
            }
            Answer::Conflict => {
                let prev = sent.places.first().copied().flatten();
                let peer = state.peers.get(&sent.device);
                guard::conflict(prev, peer.and_then(|peer| peer.matched))?;
                Ok(AppendEntriesResponse::Conflict)
            }
            Answer::Outvoted(found) => {
                let higher = guard::outvoted(&state.voters, &sent.ballot, found)?;
                Ok(AppendEntriesResponse::HigherVote(vote(&higher)))
            }
            _ => Err(GuardError::Answer),
        }
    }

    /// Counts the acknowledgements that came with an answer.
    fn count(&self, sent: &Sent, acks: Vec<Ack>) -> Result<(), GuardError> {
        let mut state = self.shared.state();
        if !state.leads() || state.ballot.term != sent.ballot.term {
            return Ok(());
        }
        for ack in acks {
            if ack.device != sent.device {
                return Err(GuardError::Sender);
            }
            if ack.seen.i > state.certified_seen.i {
                guard::acknowledges(&state.ledger, &ack.seen)?;
                state.count(ack);
            }
        }
        Ok(())
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<NodeId>,
        patience: Duration,
    ) -> Result<VoteResponse<NodeId>, CallError> {
        let device = self.device()?;
        let ours = ballot(&request.vote);
        let last = request.last_log_id.as_ref().map(log_at);
        let certificate = self.shared.state().certificate.clone();
        let call_out = Request::Vote(VoteCall { ballot: ours, last });
        let envelope = self.shared.envelope(certificate, call_out);
        let reply = call(&self.shared, device, &envelope, patience).await?;
        let Answer::Voted(voted) = reply.answer else {
            return Err(self.refuse(device, GuardError::Answer));
        };
        let voters = Arc::clone(&self.shared.state().voters);
        let same = (voted.ballot.term, voted.ballot.node) == (ours.term, ours.node);
        let theirs = if same {
            Ok(ours)
        } else {
            // A lower ballot says no without outvoting us: a log that is longer, a fresh leader.
            let lower = (voted.ballot.term, voted.ballot.node) < (ours.term, ours.node);
            if lower { Ok(voted.ballot) } else { guard::outvoted(&voters, &ours, voted.ballot) }
        };
        let theirs = theirs.and_then(|theirs| {
            let last = voted.last.as_ref();
            last.map_or(Ok(()), |last| guard::term(ours.term, last.term)).map(|()| theirs)
        });
        let theirs = theirs.map_err(|error| self.refuse(device, error))?;
        let granted = voted.granted && same;
        Ok(VoteResponse::new(vote(&theirs), voted.last.map(log_id), granted))
    }

    async fn send_base(
        &self,
        by: Vote<NodeId>,
        snapshot: Snapshot<Types>,
    ) -> Result<SnapshotResponse<NodeId>, CallError> {
        let device = self.device()?;
        let ours = ballot(&by);
        let base = *snapshot.snapshot;
        let last = base.last;
        let certificate = Shared::news_for(&mut self.shared.state(), device);
        let call_out = Request::Base(BaseCall { ballot: ours, base });
        let envelope = self.shared.envelope(certificate, call_out);
        let reply = call(&self.shared, device, &envelope, SNAPSHOT_PATIENCE).await?;
        match reply.answer {
            Answer::Adopted(theirs) if (theirs.term, theirs.node) == (ours.term, ours.node) => {
                let mut state = self.shared.state();
                if state.leads() && state.ballot.term == ours.term {
                    let peer = state.peers.entry(device).or_default();
                    peer.matched = peer.matched.max(Some(last));
                }
                Ok(SnapshotResponse::new(by))
            }
            Answer::Adopted(theirs) | Answer::Outvoted(theirs) => {
                let voters = Arc::clone(&self.shared.state().voters);
                let higher = guard::outvoted(&voters, &ours, theirs);
                let higher = higher.map_err(|error| self.refuse(device, error))?;
                Ok(SnapshotResponse::new(vote(&higher)))
            }
            _ => Err(self.refuse(device, GuardError::Answer)),
        }
    }
}

impl RaftNetwork<Types> for Client {
    async fn append_entries(
        &mut self,
        call: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, AppendError> {
        let answer = self.append(call, option.hard_ttl()).await;
        match answer {
            // openraft cannot take "nothing matches yet" for progress.
            Ok(AppendEntriesResponse::PartialSuccess(None)) => {
                let error = CallError::Refused("entries wait for their bytes".to_owned());
                Err(unreachable_error(&error))
            }
            Ok(answer) => Ok(answer),
            Err(error) => Err(unreachable_error(&error)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, AppendError> {
        let answer = self.ask_vote(request, option.hard_ttl()).await;
        answer.map_err(|error| unreachable_error(&error))
    }

    async fn full_snapshot(
        &mut self,
        by: Vote<NodeId>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<Types, Fatal<NodeId>>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = self.send_base(by, snapshot) => {
                answer.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))
            }
        }
    }

    /// A voter that does not answer is asked again after a heartbeat.
    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.shared.heartbeat))
    }
}

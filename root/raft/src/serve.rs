//! Answers other voters: the guard first, openraft after it.

use crate::bounds::{ENTRIES_PER_REQUEST_MAX, SNAPSHOT_PATIENCE};
use crate::shared::Shared;
use crate::state::{Inbound, State};
use crate::types::{ballot, entry, log_at, log_id, meta, vote};
use crate::wire::{
    Answer, Append, Appended, BaseCall, ReplyEnvelope, Request, RequestEnvelope, VoteCall, Voted,
};
use crate::{GuardError, LogAt, NodeId, RaftEntry, RaftRecord, guard};
use openraft::Snapshot;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use rhizome_cluster::{Ack, Certificate};
use rhizome_identity::DeviceId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Shared {
    /// Answers one request of a peer whose key the transport has proven.
    pub(crate) async fn answer(self: &Arc<Self>, from: DeviceId, request: &[u8]) -> Vec<u8> {
        let reply = match self.admit(from, request) {
            Ok((node, envelope)) => self.serve(from, node, envelope).await,
            Err(GuardError::Generation { found, ours }) if found < ours => {
                Ok((Answer::Superseded(ours), Vec::new()))
            }
            Err(error) => Err(error),
        };
        let (answer, acks) = reply.unwrap_or_else(|error| {
            let answer = Answer::Refused(error.to_string());
            self.refuse(from, error);
            (answer, Vec::new())
        });
        ReplyEnvelope::new(answer, acks).encode()
    }

    /// The rules that hold for every request.
    fn admit(
        &self,
        from: DeviceId,
        request: &[u8],
    ) -> Result<(NodeId, RequestEnvelope), GuardError> {
        let now_ms = self.now_ms();
        let node = {
            let mut state = self.state();
            let node = guard::sender(&state.voters, &from);
            let inbound = match node {
                Ok(_) => state.inbound.entry(from).or_insert_with(|| Inbound::new(now_ms)),
                Err(_) => &mut state.strangers,
            };
            inbound.request(request.len(), now_ms)?;
            if node.is_err() {
                // Strangers may learn that their generation is over, and little more.
                inbound.vote(now_ms)?;
            }
            node
        };
        let envelope =
            RequestEnvelope::read(request).map_err(|source| GuardError::Wire { source })?;
        guard::identity(&self.identity, &envelope.identity)?;
        guard::generation(self.generation, envelope.generation)?;
        Ok((node?, envelope))
    }

    async fn serve(
        self: &Arc<Self>,
        from: DeviceId,
        node: NodeId,
        envelope: RequestEnvelope,
    ) -> Result<(Answer, Vec<Ack>), GuardError> {
        let news = envelope.certificate.map_or(Ok(()), |certificate| self.learn(certificate));
        match (envelope.request, news) {
            (Request::Certified, news) => news.map(|()| (Answer::Noted, Vec::new())),
            // A voter set we have not heard of yet signs certificates we cannot judge; that is no
            // reason to miss a heartbeat.
            (request, Ok(()) | Err(GuardError::Certificate { .. })) => match request {
                Request::Append(append) => self.append(node, append).await,
                Request::Vote(call) => self.vote(from, node, call).await,
                Request::Base(call) => self.adopt(node, call).await,
                Request::Certified => Ok((Answer::Noted, Vec::new())),
            },
            (_, Err(error)) => Err(error),
        }
    }

    /// Takes a certificate, if it tells us anything.
    fn learn(self: &Arc<Self>, certificate: Certificate) -> Result<(), GuardError> {
        let voters = {
            let state = self.state();
            if !state.wants(&certificate.seen) {
                return Ok(());
            }
            Arc::clone(&state.voters)
        };
        // Outside the lock: it costs a tenth of a millisecond.
        voters.check(&certificate).map_err(|source| GuardError::Certificate { source })?;
        let moved = self.state().accept(certificate)?;
        if moved {
            self.progress();
        }
        Ok(())
    }

    async fn append(
        self: &Arc<Self>,
        node: NodeId,
        append: Append,
    ) -> Result<(Answer, Vec<Ack>), GuardError> {
        guard::claim(node, &append.ballot)?;
        guard::ballot(&append.ballot, true)?;
        guard::size(&append.entries)?;
        guard::sequence(&append)?;
        let (known, fresh) = {
            let state = self.state();
            guard::term(state.ballot.term, append.ballot.term)?;
            judge(&state, &append)?;
            let known = guard::known_members(&state.voters, &append.entries);
            let have = |entry: &&RaftEntry| {
                state.ledger.get(entry.at.index).is_some_and(|held| held.entry.at == entry.at)
            };
            (known, append.entries[..known].iter().take_while(have).count())
        };
        let held = self.held(&append.entries, fresh, known, Duration::ZERO).await;
        let first = self.deliver(&append, held).await?;
        if held > 0 || known == 0 || !matches!(first.0, Answer::Appended(_)) {
            return Ok(first);
        }
        // The heartbeat in it has been delivered; now there is time to wait for bytes.
        let patience = self.heartbeat / 3;
        let held = self.held(&append.entries, fresh, known, patience).await;
        if held == 0 { Ok(first) } else { self.deliver(&append, held).await }
    }

    /// How many leading entries name only bytes that are durable here. Waits for those of the first
    /// entry alone: what follows can be sent again.
    async fn held(
        &self,
        entries: &[RaftEntry],
        fresh: usize,
        known: usize,
        patience: Duration,
    ) -> usize {
        let until = Instant::now() + patience;
        for (place, entry) in entries.iter().enumerate().take(known).skip(fresh) {
            for body in entry.payload.bodies() {
                let left = until.saturating_duration_since(Instant::now());
                let patience = if place == 0 { left } else { Duration::ZERO };
                if !self.holdings.held(body, patience).await {
                    return place;
                }
            }
        }
        known
    }

    /// Hands the first `count` entries to openraft.
    async fn deliver(
        self: &Arc<Self>,
        append: &Append,
        count: usize,
    ) -> Result<(Answer, Vec<Ack>), GuardError> {
        assert!(count <= ENTRIES_PER_REQUEST_MAX, "the size was checked");
        let entries = &append.entries[..count];
        let matched = entries.last().map(|entry| entry.at).or(append.prev);
        let _gate = self.gate.lock().await;
        let commit = {
            let state = self.state();
            // Again: this may have waited for bytes.
            judge(&state, append)?;
            guard::cap_commit(append.commit, state.certified)
        };
        let call = AppendEntriesRequest {
            vote: vote(&append.ballot),
            prev_log_id: append.prev.map(log_id),
            entries: entries.iter().map(entry).collect(),
            leader_commit: commit.map(log_id),
        };
        let Some(raft) = self.raft.get() else { return Ok(starting()) };
        Ok(match raft.append_entries(call).await {
            Ok(AppendEntriesResponse::Success) => self.appended(append.prev, matched),
            Ok(AppendEntriesResponse::PartialSuccess(at)) => {
                self.appended(append.prev, at.as_ref().map(log_at))
            }
            Ok(AppendEntriesResponse::Conflict) => (Answer::Conflict, Vec::new()),
            Ok(AppendEntriesResponse::HigherVote(found)) => {
                (Answer::Outvoted(ballot(&found)), Vec::new())
            }
            Err(error) => (Answer::Refused(error.to_string()), Vec::new()),
        })
    }

    /// Acknowledges what matches. openraft answers once it is durable.
    fn appended(
        self: &Arc<Self>,
        prev: Option<LogAt>,
        matched: Option<LogAt>,
    ) -> (Answer, Vec<Ack>) {
        let (acks, withheld) = {
            let mut state = self.state();
            let from = prev.map_or(0, |prev| prev.index + 1);
            let acks = matched.map_or_else(Vec::new, |matched| state.acks(from, matched));
            (acks, matched.is_some_and(|matched| state.withholds(matched)))
        };
        self.progress();
        (Answer::Appended(Appended { matched, withheld }), acks)
    }

    async fn vote(
        &self,
        from: DeviceId,
        node: NodeId,
        call: VoteCall,
    ) -> Result<(Answer, Vec<Ack>), GuardError> {
        let now_ms = self.now_ms();
        {
            let mut state = self.state();
            let inbound = state.inbound.entry(from).or_insert_with(|| Inbound::new(now_ms));
            inbound.vote(now_ms)?;
            guard::claim(node, &call.ballot)?;
            guard::ballot(&call.ballot, false)?;
            guard::term(state.ballot.term, call.ballot.term)?;
            guard::place(&call.ballot, call.last.as_ref())?;
        }
        let request = VoteRequest::new(vote(&call.ballot), call.last.map(log_id));
        let Some(raft) = self.raft.get() else { return Ok(starting()) };
        let answer = match raft.vote(request).await {
            Ok(response) => Answer::Voted(Voted {
                ballot: ballot(&response.vote),
                granted: response.vote_granted,
                last: response.last_log_id.as_ref().map(log_at),
            }),
            Err(error) => Answer::Refused(error.to_string()),
        };
        Ok((answer, Vec::new()))
    }

    /// Adopts a position to start from, once the order up to it is here.
    async fn adopt(&self, node: NodeId, call: BaseCall) -> Result<(Answer, Vec<Ack>), GuardError> {
        guard::claim(node, &call.ballot)?;
        guard::ballot(&call.ballot, true)?;
        {
            let state = self.state();
            guard::term(state.ballot.term, call.ballot.term)?;
            guard::base(&state.ledger, &state.voters, &call.ballot, &call.base)?;
        }
        let Some(raft) = self.raft.get() else { return Ok(starting()) };
        if !self.holdings.reached(&call.base.end, SNAPSHOT_PATIENCE / 2).await {
            return Ok((Answer::Refused("the order is still being pulled".to_owned()), Vec::new()));
        }
        // The log itself is purged by openraft before its state machine hears of the base, so the
        // base is on disk before openraft is asked.
        let record = RaftRecord::base(self.generation, call.base.clone());
        if let Err(error) = self.persist(vec![record]).await {
            return Ok((Answer::Refused(error.to_string()), Vec::new()));
        }
        self.state().ledger.expect_base(call.base.clone());
        let snapshot = Snapshot { meta: meta(&call.base), snapshot: Box::new(call.base) };
        let answer = match raft.install_full_snapshot(vote(&call.ballot), snapshot).await {
            Ok(response) => Answer::Adopted(ballot(&response.vote)),
            Err(error) => Answer::Refused(error.to_string()),
        };
        Ok((answer, Vec::new()))
    }
}

/// The rules that depend on our log.
fn judge(state: &State, append: &Append) -> Result<(), GuardError> {
    guard::keeps_certified(&state.ledger, state.certified, append)?;
    guard::extends(&state.ledger, append)
}

fn starting() -> (Answer, Vec<Ack>) {
    (Answer::Refused("node is starting".to_owned()), Vec::new())
}

//! A voter for the fuzzer: the guard and everything behind it but openraft itself, which has not
//! started yet. Built with the feature `fuzz` only.
//!
//! What answers here is `serve`, what judges answers is `client`, what restores is `store`: nothing
//! of them is repeated. [`mend`] makes of an envelope that decodes one that the first rules of the
//! guard let pass, so that the rules behind them are reached.

use crate::bounds::{BODIES_PER_ENTRY_MAX, DISK_JOBS_MAX, EVENTS_WAITING_MAX};
use crate::client::Clients;
use crate::shared::{Parts, Shared};
use crate::state::State;
use crate::store::{Job, restore};
use crate::types::{log_id, vote};
use crate::voters::Voters;
use crate::wire::{Answer, Append, ReplyEnvelope, Request, RequestEnvelope};
use crate::{
    Ballot, Batch, Holdings, LogAt, Members, NodeId, Payload, RaftBase, RaftEntry, RaftEvent,
    RaftRecord, RaftTransport, TransportError, VoterSet,
};
use async_trait::async_trait;
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use openraft::{EmptyNode, Snapshot};
use rhizome_block::{Cid, Codec};
use rhizome_cluster::{Ack, Certificate, EntryBody};
use rhizome_identity::{DeviceId, IdentityId, SigningKeys};
use rhizome_log::Seen;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

const GENERATION: u64 = 2;
const ORIGIN: Seen = Seen { g: 1, i: 10, c: [1; 32] };
const TERM: u64 = 3;
/// Entries of the log that every voter here begins with.
const ENTRIES: u64 = 4;
const HEARTBEAT: Duration = Duration::from_millis(150);

/// Keys of voters 1, 2 and 3; the third is no trusted one.
fn keys(n: u8) -> &'static Arc<SigningKeys> {
    static KEYS: OnceLock<[Arc<SigningKeys>; 3]> = OnceLock::new();
    let made = KEYS.get_or_init(|| [1, 2, 3].map(|n| Arc::new(SigningKeys::from_secret([n; 32]))));
    &made[usize::from(n) - 1]
}

fn identity() -> IdentityId {
    IdentityId(Cid::of(Codec::DagCbor, b"genesis"))
}

fn voters() -> Voters {
    static VOTERS: OnceLock<Voters> = OnceLock::new();
    VOTERS.get_or_init(make_voters).clone()
}

fn make_voters() -> Voters {
    let admitted = |n: u8| (keys(n).device_id(), Cid::of(Codec::DagCbor, &[n]));
    let set = VoterSet {
        admitted: [1, 2, 3].map(admitted).into(),
        trusted: [1, 2].map(|n| keys(n).device_id()).into(),
    };
    Voters::new(identity(), GENERATION, &[], &set)
}

fn node(voters: &Voters, n: u8) -> NodeId {
    voters.node_of(&keys(n).device_id()).expect("all three vote")
}

/// What holds the bodies that an even byte begins, and no others: waiting is never worth it.
struct World {
    reply: Vec<u8>,
}

#[async_trait]
impl Holdings for World {
    async fn held(&self, body: &EntryBody, _patience: Duration) -> bool {
        let cid = match body {
            EntryBody::Control { record } => *record,
            EntryBody::Range { head, .. } => head.id.0,
        };
        cid.digest()[0].is_multiple_of(2)
    }

    async fn reached(&self, seen: &Seen, _patience: Duration) -> bool {
        seen.c[0].is_multiple_of(2)
    }
}

#[async_trait]
impl RaftTransport for World {
    async fn call(
        &self,
        _to: DeviceId,
        _request: Vec<u8>,
        _timeout: Duration,
    ) -> Result<Vec<u8>, TransportError> {
        Ok(self.reply.clone())
    }
}

/// Voter 1 with a few entries of `leader`, and the far ends of its channels.
struct Voter {
    shared: Arc<Shared>,
    _events: mpsc::Receiver<RaftEvent>,
    _jobs: mpsc::Receiver<Job>,
}

fn state(leader: u8) -> State {
    let voters = voters();
    let (me, by) = (node(&voters, 1), node(&voters, leader));
    let mut state = State::new(me, Arc::clone(keys(1)), GENERATION, ORIGIN, voters, ORIGIN.i);
    state.set_ballot(Ballot { term: TERM, node: by, granted: true });
    let ids = state.voters.wanted().ids.clone();
    for index in 0..ENTRIES {
        let record = Cid::of(Codec::DagCbor, &index.to_be_bytes());
        let bodies = vec![EntryBody::Control { record }];
        let payload = match index {
            0 => Payload::Members(Members { configs: vec![ids.clone()], nodes: ids.clone() }),
            _ => Payload::Bodies(Batch(Arc::new(bodies))),
        };
        let at = LogAt { term: if index == 0 { 0 } else { TERM - 1 }, node: by, index };
        state.ledger.push(RaftEntry { at, payload });
    }
    state.durable = state.ledger.last();
    state
}

fn voter(leader: u8, reply: &[u8]) -> Voter {
    let world = Arc::new(World { reply: reply.to_vec() });
    let (jobs, jobs_end) = mpsc::channel(DISK_JOBS_MAX);
    let (events, events_end) = mpsc::channel(EVENTS_WAITING_MAX);
    let shared = Shared::new(Parts {
        identity: identity(),
        me: keys(1).device_id(),
        generation: GENERATION,
        heartbeat: HEARTBEAT,
        state: state(leader),
        transport: world.clone(),
        holdings: world,
        jobs,
        events,
    });
    Voter { shared, _events: events_end, _jobs: jobs_end }
}

/// Answers one request as a follower of its sender, voter 2, and says how the answer reads. Nothing
/// if it is no request.
///
/// # Panics
///
/// If the answer is no reply, or the request is not what it is written as.
pub async fn answer(request: &[u8]) -> Option<String> {
    let read = RequestEnvelope::read(request).ok()?;
    assert!(read.encode() == request, "a request has one form");
    let voter = voter(2, &[]);
    let reply = voter.shared.answer(keys(2).device_id(), request).await;
    let envelope = ReplyEnvelope::read(&reply).expect("an answer is a reply");
    assert!(voter.shared.state().ledger.is_sound(), "the order follows from the log");
    Some(match envelope.answer {
        Answer::Refused(why) => why,
        other => format!("{other:?}"),
    })
}

/// Makes of a request one that comes from voter 2, of this generation, in reach, in sequence, with
/// certificates that are signed. What the rules behind those look at stays as it was.
#[must_use]
pub fn mend(request: &[u8]) -> Option<Vec<u8>> {
    let mut envelope = RequestEnvelope::read(request).ok()?;
    let voters = voters();
    let by = node(&voters, 2);
    (envelope.identity, envelope.generation) = (identity(), GENERATION);
    if let Some(certificate) = &mut envelope.certificate {
        *certificate = signed(certificate);
    }
    let ballot = |ballot: &mut Ballot, granted| {
        *ballot = Ballot { term: ballot.term % (2 * TERM), node: by, granted };
    };
    match &mut envelope.request {
        Request::Append(append) => {
            ballot(&mut append.ballot, true);
            mend_append(append, by);
        }
        Request::Vote(call) => {
            ballot(&mut call.ballot, false);
            call.last = call.last.map(|at| LogAt { node: by, term: at.term % TERM, ..at });
        }
        Request::Base(call) => {
            ballot(&mut call.ballot, true);
            mend_base(&mut call.base, &call.ballot, &voters);
        }
        Request::Certified => {}
    }
    Some(envelope.encode())
}

fn signed(certificate: &Certificate) -> Certificate {
    let mut seen = certificate.seen;
    seen.g = GENERATION;
    let by = certificate.acks.iter().map(|(device, _)| device.0[0] % 3 + 1);
    let acks = by.map(|n| Ack::sign(keys(n), seen)).map(|ack| (ack.device, ack.sig));
    Certificate::new(seen, acks.collect())
}

/// An odd index of `prev` names an entry that is held, an even one stays foreign.
fn mend_append(append: &mut Append, by: NodeId) {
    let ledger = state(2).ledger;
    let own = |at: LogAt| ledger.get(at.index / 2 % ENTRIES).map(|held| held.entry.at);
    append.prev = append.prev.map(|at| if at.index % 2 == 1 { own(at).unwrap_or(at) } else { at });
    if let Some(end) = ledger.end_at(append.prev) {
        append.chain = end;
    }
    let mut index = append.prev.map_or(0, |at| at.index.saturating_add(1));
    let term = append.ballot.term;
    for entry in &mut append.entries {
        entry.at = LogAt { term: entry.at.term.min(term), node: by, index };
        index = index.saturating_add(1);
    }
}

fn mend_base(base: &mut RaftBase, ballot: &Ballot, voters: &Voters) {
    let near = |at: LogAt| LogAt { term: at.term.min(ballot.term), node: ballot.node, ..at };
    (base.last, base.members_at) = (near(base.last), near(base.members_at));
    base.end.g = GENERATION;
    base.end.i %= ORIGIN.i + ENTRIES * BODIES_PER_ENTRY_MAX as u64;
    let ids = voters.wanted().ids.clone();
    base.members = Members { configs: vec![ids.clone()], nodes: ids };
}

/// Has a leader ask voter 2 for everything it can ask and hear `reply` each time. Says whether it
/// took any of it.
pub async fn hear(reply: &[u8]) -> bool {
    if let Ok(envelope) = ReplyEnvelope::read(reply) {
        assert!(envelope.encode() == reply, "a reply has one form");
    }
    let voter = voter(1, reply);
    let other = node(&voter.shared.state().voters, 2);
    let mut clients = Clients { shared: Arc::clone(&voter.shared) };
    let mut client = clients.new_client(other, &EmptyNode {}).await;
    let option = || RPCOption::new(HEARTBEAT);
    let (ballot, prev, base) = {
        let state = voter.shared.state();
        (state.ballot, state.ledger.last(), state.ledger.base_at(ENTRIES - 1))
    };
    let blank = RaftEntry {
        at: LogAt { term: TERM, node: ballot.node, index: ENTRIES },
        payload: Payload::Blank,
    };
    let append = AppendEntriesRequest {
        vote: vote(&ballot),
        prev_log_id: prev.map(log_id),
        entries: vec![crate::types::entry(&blank)],
        leader_commit: None,
    };
    let appended = client.append_entries(append, option()).await.is_ok();
    let candidate = Ballot { granted: false, ..ballot };
    let request = VoteRequest::new(vote(&candidate), prev.map(log_id));
    let voted = client.vote(request, option()).await.is_ok();
    let mut installed = false;
    if let Some(base) = base {
        let snapshot = Snapshot { meta: crate::types::meta(&base), snapshot: Box::new(base) };
        let never = std::future::pending();
        installed = client.full_snapshot(vote(&ballot), snapshot, never, option()).await.is_ok();
    }
    appended || voted || installed
}

/// A reply of voter 2 as a leader hears it: acknowledgements are signed, about what it sent, and a
/// place that it says it matches is one of those it was sent.
#[must_use]
pub fn mend_reply(reply: &[u8]) -> Option<Vec<u8>> {
    let mut envelope = ReplyEnvelope::read(reply).ok()?;
    let state = state(1);
    for ack in &mut envelope.acks {
        let held = state.ledger.get(ack.seen.i % ENTRIES).map_or(ack.seen, |held| held.end);
        *ack = Ack::sign(keys(2), held);
    }
    match &mut envelope.answer {
        Answer::Appended(appended) => appended.matched = appended.matched.and(state.ledger.last()),
        Answer::Outvoted(ballot) | Answer::Adopted(ballot) => mend_ballot(ballot),
        Answer::Voted(voted) => mend_ballot(&mut voted.ballot),
        _ => {}
    }
    Some(envelope.encode())
}

fn mend_ballot(ballot: &mut Ballot) {
    ballot.node = node(&voters(), ballot.node.0[0] % 3 + 1);
    ballot.term %= 2 * TERM;
}

/// Reads records as a voter does that starts again, and says whether they make a log.
#[must_use]
pub fn start(records: &[RaftRecord]) -> bool {
    let voters = voters();
    let me = node(&voters, 1);
    let mut state = State::new(me, Arc::clone(keys(1)), GENERATION, ORIGIN, voters, ORIGIN.i);
    let restored = restore(&mut state, records).is_ok();
    assert!(!restored || state.ledger.is_sound(), "what was restored is a log");
    restored
}

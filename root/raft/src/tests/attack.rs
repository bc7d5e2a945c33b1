//! A voter turns hostile. Whatever it says, the group goes on committing one order.

use super::world::{GENERATION, Log, PATIENCE, World};
use crate::bounds::{BODIES_PER_ENTRY_MAX, REQUEST_BYTES_MAX, VOTES_PER_S};
use crate::testing::{at, batch, bodies_entry, device, identity, signing_keys};
use crate::wire::{
    Answer, Append, Appended, ReplyEnvelope, Request, RequestEnvelope, RequestKind, VoteCall,
};
use crate::{Ballot, LogAt, Members, NodeId, Payload, RaftEntry};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use rhizome_block::{Cid, Codec, Version};
use rhizome_cluster::{Ack, Certificate};
use rhizome_identity::IdentityId;
use rhizome_log::Seen;
use std::time::Duration;
use tokio::time::Instant;

/// The node id of a voter of these tests.
fn node(n: u8) -> NodeId {
    NodeId::of(&identity(), GENERATION, &device(n), &Cid::of(Codec::DagCbor, &[n]))
}

fn envelope(request: Request) -> RequestEnvelope {
    let (identity, generation) = (identity(), GENERATION);
    RequestEnvelope { k: RequestKind, v: Version, identity, generation, certificate: None, request }
}

/// A group with a leader, a hostile voter, and a victim.
struct Scene {
    world: World,
    leader: u8,
    hostile: u8,
    victim: u8,
    /// The victim's ballot, the end of its log, and the order there.
    ballot: Ballot,
    last: LogAt,
    end: Seen,
}

impl Scene {
    async fn new() -> Self {
        let mut world = World::of(&[1, 2, 3], &[]).await;
        world.commit(3).await;
        let leader = world.leader().await;
        let (hostile, victim) = match leader {
            1 => (2, 3),
            2 => (3, 1),
            _ => (1, 2),
        };
        let state_of = |n: u8| {
            let state = world.voter(n).order.shared.state();
            (state.ballot, state.ledger.last(), state.ledger.end())
        };
        // Until the victim's log says so too, it is not worth attacking.
        let until = Instant::now() + PATIENCE;
        while state_of(victim) != state_of(leader) {
            assert!(Instant::now() < until, "the victim does not follow");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (ballot, last, end) = state_of(victim);
        let last = last.unwrap();
        Self { world, leader, hostile, victim, ballot, last, end }
    }

    /// An append in the hostile voter's own name, as if it led the next term.
    fn usurp(&self, entries: Vec<RaftEntry>) -> Append {
        let ballot = Ballot { term: self.ballot.term + 1, node: node(self.hostile), granted: true };
        Append { ballot, prev: Some(self.last), chain: self.end, entries, commit: None }
    }

    fn usurped_entry(&self, payload: Payload) -> RaftEntry {
        let index = self.last.index + 1;
        let (term, node) = (self.ballot.term + 1, node(self.hostile));
        RaftEntry { at: LogAt { term, node, index }, payload }
    }

    async fn send(&self, from: u8, request: &RequestEnvelope) -> Answer {
        self.send_bytes(from, &request.encode()).await
    }

    async fn send_bytes(&self, from: u8, bytes: &[u8]) -> Answer {
        let victim = &self.world.voter(self.victim).order;
        ReplyEnvelope::read(&victim.handle(device(from), bytes).await).unwrap().answer
    }

    #[track_caller]
    fn refused(answer: &Answer, because: &str) {
        let Answer::Refused(reason) = answer else { panic!("{answer:?} was not refused") };
        assert!(reason.contains(because), "{reason}");
    }

    /// The group still commits, and nobody was fooled.
    async fn goes_on(mut self) {
        self.world.commit(2).await;
        self.world.check();
        assert!(self.world.voters.values().all(|voter| voter.log.borrow().failed.is_none()));
        self.world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_out_of_reach_changes_nothing() {
    let scene = Scene::new().await;
    for term in [u64::MAX, 1 << 48, scene.ballot.term + (1 << 16) + 1] {
        let mut append = scene.usurp(Vec::new());
        append.ballot.term = term;
        let answer = scene.send(scene.hostile, &envelope(Request::Append(append))).await;
        Scene::refused(&answer, "too far");
        let ballot = Ballot { term, node: node(scene.hostile), granted: false };
        let call = VoteCall { ballot, last: Some(scene.last) };
        let answer = scene.send(scene.hostile, &envelope(Request::Vote(call))).await;
        Scene::refused(&answer, "too far");
    }
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_index_without_a_certificate_commits_nothing() {
    let scene = Scene::new().await;
    let entry = scene.usurped_entry(Payload::Bodies(batch(&[666])));
    let mut append = scene.usurp(vec![entry.clone()]);
    append.commit = Some(entry.at);
    let answer = scene.send(scene.hostile, &envelope(Request::Append(append.clone()))).await;
    assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
    append.prev = Some(entry.at);
    append.chain = scene.world.voter(scene.victim).order.shared.state().ledger.end();
    append.entries.clear();
    let answer = scene.send(scene.hostile, &envelope(Request::Append(append))).await;
    assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
    let forged = batch(&[666]).0[0].clone();
    let has = |log: &Log| log.entries.iter().any(|entry| entry.body == forged);
    assert!(!has(&scene.world.voter(scene.victim).log.borrow()));
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_other_groups_and_strangers_are_not_heard() {
    let scene = Scene::new().await;
    let heartbeat = envelope(Request::Append(scene.usurp(Vec::new())));
    let older = RequestEnvelope { generation: GENERATION - 1, ..heartbeat.clone() };
    assert_eq!(scene.send(scene.hostile, &older).await, Answer::Superseded(GENERATION));
    let newer = RequestEnvelope { generation: GENERATION + 1, ..heartbeat.clone() };
    Scene::refused(&scene.send(scene.hostile, &newer).await, "generation");
    let other = IdentityId(Cid::of(Codec::DagCbor, b"somebody else"));
    let other = RequestEnvelope { identity: other, ..heartbeat.clone() };
    Scene::refused(&scene.send(scene.hostile, &other).await, "identity");
    Scene::refused(&scene.send(9, &heartbeat).await, "no voter");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_speaks_for_another_or_leads_unelected_by_a_vote_request() {
    let scene = Scene::new().await;
    let mut append = scene.usurp(Vec::new());
    append.ballot.node = node(scene.leader);
    let answer = scene.send(scene.hostile, &envelope(Request::Append(append))).await;
    Scene::refused(&answer, "speaks for");
    let mut ballot = Ballot { term: 9, node: node(scene.leader), granted: false };
    let call = |ballot| envelope(Request::Vote(VoteCall { ballot, last: Some(scene.last) }));
    Scene::refused(&scene.send(scene.hostile, &call(ballot)).await, "speaks for");
    (ballot.node, ballot.granted) = (node(scene.hostile), true);
    Scene::refused(&scene.send(scene.hostile, &call(ballot)).await, "ballot");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certified_entries_are_never_cut_off_or_replaced() {
    let scene = Scene::new().await;
    for index in 0..=scene.last.index {
        let mut append = scene.usurp(Vec::new());
        let (term, node) = (append.ballot.term, append.ballot.node);
        append.prev = Some(LogAt { term, node, index });
        let answer = scene.send(scene.hostile, &envelope(Request::Append(append))).await;
        Scene::refused(&answer, "certified");
    }
    let mut append = scene.usurp(vec![scene.usurped_entry(Payload::Bodies(batch(&[6])))]);
    append.prev = None;
    append.entries[0].at.index = 0;
    let answer = scene.send(scene.hostile, &envelope(Request::Append(append))).await;
    Scene::refused(&answer, "certified");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_order_behind_the_same_log_is_noticed() {
    let scene = Scene::new().await;
    let mut append = scene.usurp(vec![scene.usurped_entry(Payload::Blank)]);
    append.chain.c = [6; 32];
    let answer = scene.send(scene.hostile, &envelope(Request::Append(append))).await;
    Scene::refused(&answer, "order of the sender differs");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_the_control_log_does_not_name_is_not_taken() {
    let scene = Scene::new().await;
    let alone: std::collections::BTreeSet<_> = [node(scene.hostile)].into();
    let members = Members { configs: vec![alone.clone()], nodes: alone };
    let append = scene.usurp(vec![scene.usurped_entry(Payload::Members(members))]);
    let answer = scene.send(scene.hostile, &envelope(Request::Append(append))).await;
    let expected = Appended { matched: Some(scene.last), withheld: false };
    assert_eq!(answer, Answer::Appended(expected), "heard as a heartbeat, and no more");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_out_of_bounds_and_entries_out_of_order_are_refused() {
    let scene = Scene::new().await;
    let many: Vec<u64> = (0..=BODIES_PER_ENTRY_MAX as u64).collect();
    let long = vec![scene.usurped_entry(Payload::Blank); 65];
    let large = vec![scene.usurped_entry(Payload::Bodies(batch(&many)))];
    let empty = vec![scene.usurped_entry(Payload::Bodies(batch(&[])))];
    for entries in [long, large, empty] {
        let request = envelope(Request::Append(scene.usurp(entries)));
        Scene::refused(&scene.send(scene.hostile, &request).await, "bounds");
    }
    let gap = bodies_entry(1, scene.last.index + 2, &[1]);
    let request = envelope(Request::Append(scene.usurp(vec![gap])));
    Scene::refused(&scene.send(scene.hostile, &request).await, "follow");
    let mut future = scene.usurped_entry(Payload::Blank);
    future.at.term += 1;
    let request = envelope(Request::Append(scene.usurp(vec![future])));
    Scene::refused(&scene.send(scene.hostile, &request).await, "follow");
    let huge = vec![0xa1; REQUEST_BYTES_MAX + 1];
    Scene::refused(&scene.send_bytes(scene.hostile, &huge).await, "no envelope");
    Scene::refused(&scene.send_bytes(scene.hostile, b"").await, "no envelope");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_vote_requests_is_cut_short() {
    let scene = Scene::new().await;
    let ballot = Ballot { term: scene.ballot.term, node: node(scene.hostile), granted: false };
    let request = envelope(Request::Vote(VoteCall { ballot, last: None }));
    let mut heard = 0;
    for _ in 0..10 * VOTES_PER_S {
        heard += u64::from(matches!(scene.send(scene.hostile, &request).await, Answer::Voted(_)));
    }
    assert!((1..4 * VOTES_PER_S).contains(&heard), "{heard}");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_too_few_proves_nothing() {
    let scene = Scene::new().await;
    let seen = Seen { i: scene.end.i + 1, c: [6; 32], ..scene.end };
    let ack = Ack::sign(&signing_keys(scene.hostile), seen);
    let forged = Certificate::new(seen, vec![(ack.device, ack.sig)]);
    let request = RequestEnvelope { certificate: Some(forged), ..envelope(Request::Certified) };
    Scene::refused(&scene.send(scene.hostile, &request).await, "certificate");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_certified_orders_raise_the_alarm() {
    let scene = Scene::new().await;
    let seen = Seen { c: [6; 32], ..scene.end };
    let acks = [1, 2].map(|n| Ack::sign(&signing_keys(n), seen));
    let other = Certificate::new(seen, acks.map(|ack| (ack.device, ack.sig)).to_vec());
    let request = RequestEnvelope { certificate: Some(other), ..envelope(Request::Certified) };
    Scene::refused(&scene.send(scene.hostile, &request).await, "two orders");
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_in_answers_do_not_stop_a_leader() {
    let mut scene = Scene::new().await;
    let far = Ballot { term: u64::MAX, node: node(scene.hostile), granted: true };
    let stranger = Ballot { term: scene.ballot.term + 1, node: NodeId([9; 32]), granted: true };
    let beyond = Appended { matched: Some(at(1, 1 << 40)), withheld: true };
    let lies = [
        Answer::Outvoted(far),
        Answer::Outvoted(stranger),
        Answer::Outvoted(Ballot::default()),
        Answer::Conflict,
        Answer::Appended(beyond),
        Answer::Superseded(u64::MAX),
        Answer::Noted,
    ];
    let honest = [scene.leader, scene.victim];
    for lie in lies {
        let forged = ReplyEnvelope::new(lie, Vec::new()).encode();
        scene.world.net.lie(scene.hostile, Some(forged));
        scene.world.commit_on(1, &honest).await;
    }
    for lie in [b"".to_vec(), vec![0; 1 << 20]] {
        scene.world.net.lie(scene.hostile, Some(lie));
        scene.world.commit_on(1, &honest).await;
    }
    scene.world.net.lie(scene.hostile, None);
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_acknowledgements_certify_nothing() {
    let mut scene = Scene::new().await;
    scene.world.net.cut(scene.victim);
    let seen = Seen { i: scene.end.i + 1, ..scene.end };
    let mut ack = Ack::sign(&signing_keys(9), seen);
    ack.device = device(scene.hostile);
    let lie = Answer::Appended(Appended { matched: Some(scene.last), withheld: false });
    let forged = ReplyEnvelope::new(lie, vec![ack]).encode();
    scene.world.net.lie(scene.hostile, Some(forged));
    let bodies = scene.world.propose(1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let has = |log: &Log| log.entries.iter().any(|entry| bodies.contains(&entry.body));
    assert!(!has(&scene.world.voter(scene.leader).log.borrow()));
    scene.world.net.lie(scene.hostile, None);
    scene.world.net.heal();
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_any_kind_never_panic_a_voter() {
    let scene = Scene::new().await;
    let entry = scene.usurped_entry(Payload::Bodies(batch(&[1, 2])));
    let append = envelope(Request::Append(scene.usurp(vec![entry]))).encode();
    let ballot = Ballot { term: 1, node: node(scene.hostile), granted: false };
    let vote = envelope(Request::Vote(VoteCall { ballot, last: Some(scene.last) })).encode();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mutation = (any::<bool>(), any::<prop::sample::Index>(), any::<u8>());
    for _ in 0..2_000 {
        let tree = mutation.new_tree(&mut runner).unwrap();
        let (first, place, byte) = tree.current();
        let mut bytes = if first { append.clone() } else { vote.clone() };
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let victim = &scene.world.voter(scene.victim).order;
        // Numbers in it may be right by chance: only terms nearby get through, which cost time.
        if RequestEnvelope::read(&bytes).is_err() {
            let reply = victim.handle(device(scene.hostile), &bytes).await;
            assert!(ReplyEnvelope::read(&reply).is_ok());
        }
    }
    scene.goes_on().await;
}

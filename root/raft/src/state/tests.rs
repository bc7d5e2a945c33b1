//! When a position is certified, acknowledged or withheld.

use super::*;
use crate::testing::{
    at, batch, bodies_entry, body, device, entry, identity, signing_keys, voter_set, voters,
};
use crate::{Payload, RaftEntry};

const ORIGIN: Seen = Seen { g: 1, i: 10, c: [1; 32] };

fn state() -> State {
    let voters = voters(&[1, 2, 3]);
    let me = voters.node_of(&device(1)).unwrap();
    State::new(me, Arc::new(signing_keys(1)), 2, ORIGIN, voters, ORIGIN.i)
}

fn push(state: &mut State, entries: impl IntoIterator<Item = RaftEntry>) {
    for entry in entries {
        let at = entry.at;
        state.ledger.push(entry);
        state.set_durable(at);
    }
}

/// A state that leads term 1 with `count` batches of one body after the blank entry.
fn leader(count: u64) -> State {
    let mut state = state();
    state.set_ballot(Ballot { term: 1, node: state.me, granted: true });
    push(&mut state, [entry(0, 0, Payload::Blank)]);
    push(&mut state, (1..=count).map(|index| bodies_entry(1, index, &[index])));
    state
}

fn certificate(seen: Seen, signers: &[u8]) -> Certificate {
    let sign = |n: &u8| {
        let ack = Ack::sign(&signing_keys(*n), seen);
        (ack.device, ack.sig)
    };
    Certificate::new(seen, signers.iter().map(sign).collect())
}

#[test]
fn a_leader_certifies_what_is_durable_here_committed_by_raft_and_acknowledged() {
    let mut state = leader(2);
    let seen = state.ledger.end();
    assert!(!state.certify());
    state.count(Ack::sign(&signing_keys(2), seen));
    assert!(!state.certify(), "Raft has not committed it");
    state.committed = Some(at(1, 1));
    assert!(!state.certify(), "Raft has not committed so far");
    state.committed = Some(at(1, 2));
    assert!(state.certify());
    assert_eq!((state.certified, state.certified_seen), (Some(at(1, 2)), seen));

    state.ledger.push(bodies_entry(1, 3, &[3]));
    let seen = state.ledger.end();
    state.committed = Some(at(1, 3));
    state.count(Ack::sign(&signing_keys(2), seen));
    state.count(Ack::sign(&signing_keys(3), seen));
    assert!(!state.certify(), "a majority of others has it, but the leader's disk does not");
    state.set_durable(at(1, 3));
    assert!(state.certify());
}

#[test]
fn acknowledgements_of_an_earlier_term_count_for_nothing() {
    let mut state = leader(2);
    state.count(Ack::sign(&signing_keys(2), state.ledger.end()));
    state.set_ballot(Ballot { term: 2, node: at(2, 0).node, granted: true });
    state.set_ballot(Ballot { term: 3, node: state.me, granted: true });
    assert_eq!(state.committed, None);
    state.committed = Some(at(1, 2));
    assert!(!state.certify());
}

#[test]
fn a_follower_takes_certificates_as_its_log_reaches_them() {
    let mut ahead = leader(5);
    let mut state = state();
    let ends: Vec<Seen> = ahead.ledger.iter().map(|held| held.end).collect();
    assert!(!state.accept(certificate(ends[5], &[1, 2])).unwrap());
    assert!(!state.accept(certificate(ends[3], &[1, 2])).unwrap());
    let entries: Vec<_> = ahead.ledger.iter().map(|held| held.entry.clone()).collect();
    push(&mut state, entries[..5].iter().cloned());
    assert!(state.advance());
    assert_eq!(state.certified_seen, ends[3]);
    let (placed, proof) = state.due().unwrap();
    assert_eq!(placed.iter().map(|entry| entry.i).collect::<Vec<_>>(), [11, 12, 13]);
    assert_eq!(proof.seen, ends[3]);
    state.set_emitted(13);
    assert!(state.due().is_none());
    push(&mut state, entries[5..].iter().cloned());
    assert!(state.advance());
    assert_eq!(state.due().unwrap().0.len(), 2);
    assert!(!state.accept(certificate(ends[4], &[1, 2])).unwrap(), "known");
    let other = Seen { c: [9; 32], ..ends[4] };
    let other = state.accept(certificate(other, &[1, 2]));
    assert!(matches!(other, Err(GuardError::Contradiction { .. })));
    let former = Seen { g: 1, ..ends[5] };
    assert!(state.accept(certificate(former, &[1, 2])).is_err());
    assert!(ahead.truncate(1).is_ok(), "nothing is certified there");
    assert!(matches!(state.truncate(5), Err(GuardError::Rewrite { .. })));
}

#[test]
fn certificates_for_what_has_not_arrived_stay_bounded_and_the_oldest_are_kept() {
    let ahead = leader(200);
    let mut state = state();
    for held in ahead.ledger.iter().skip(1) {
        state.accept(certificate(held.end, &[1, 2])).unwrap();
    }
    assert_eq!(state.waiting.len(), CERTIFICATES_WAITING_MAX);
    assert_eq!(state.waiting.keys().next(), Some(&11));
    assert_eq!(state.waiting.keys().last(), Some(&210), "and the newest");
}

#[test]
fn voters_acknowledge_common_positions_however_their_batches_are_cut() {
    let mut state = leader(100);
    let positions = |acks: Vec<Ack>| acks.iter().map(|ack| ack.seen.i).collect::<Vec<_>>();
    let one = positions(state.acks(1, at(1, 40)));
    let two = positions(state.acks(20, at(1, 60)));
    assert_eq!(one, [26, 42, 47, 48, 49, 50]);
    assert_eq!(two, [42, 58, 67, 68, 69, 70]);
    assert_eq!(positions(state.acks(41, at(1, 40))), [50], "a heartbeat repeats the last");
    assert!(positions(state.acks(1, at(0, 0))).is_empty(), "the origin is of another generation");
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    let mut state = leader(2);
    state.ledger.push(bodies_entry(1, 3, &[3]));
    let acks = state.acks(1, at(1, 3));
    assert_eq!(acks.last().unwrap().seen.i, 12);
    for ack in acks {
        ack.verify().unwrap();
    }
}

#[test]
fn a_position_signed_on_a_dead_branch_is_withheld_and_the_leader_repeats_something() {
    let mut state = leader(2);
    state.set_ballot(Ballot { term: 2, node: at(2, 0).node, granted: true });
    state.truncate(2).unwrap();
    push(&mut state, [bodies_entry(2, 2, &[9])]);
    assert!(state.withholds(at(2, 2)));
    let signed: Vec<u64> = state.acks(2, at(2, 2)).iter().map(|ack| ack.seen.i).collect();
    assert!(signed.is_empty());
    push(&mut state, [bodies_entry(2, 3, &[9])]);
    assert!(!state.withholds(at(2, 3)));

    let mut leader = leader(2);
    assert!(leader.next_nudge().is_none());
    leader.nudge = true;
    assert_eq!(leader.next_nudge(), Some(batch(&[2])));
    assert!(leader.next_nudge().is_none(), "once for each time it is needed");
}

#[test]
fn proposals_gather_while_the_pipeline_is_full_and_are_lost_with_the_lead() {
    let mut state = leader(1);
    for n in 0..PROPOSALS_IN_FLIGHT_MAX as u64 {
        state.enqueue(vec![body(n)]);
        assert_eq!(state.next_batch(), Some(batch(&[n])));
    }
    state.enqueue((0..600).map(body).collect());
    assert!(state.next_batch().is_none());
    assert!(state.set_applied(at(1, 2), true));
    assert_eq!(state.next_batch().unwrap().0.len(), BODIES_PER_ENTRY_MAX);
    state.set_ballot(Ballot { term: 2, node: at(2, 0).node, granted: true });
    assert_eq!((state.waiting_proposals(), state.next_batch()), (0, None));
}

#[test]
fn a_snapshot_is_cut_only_where_everybody_here_has_passed() {
    let mut state = leader(4);
    let ends: Vec<Seen> = state.ledger.iter().map(|held| held.end).collect();
    state.accept(certificate(ends[4], &[1, 2])).unwrap();
    assert_eq!(state.base_index(), None, "openraft has applied nothing");
    state.set_applied(at(1, 3), false);
    assert_eq!(state.base_index(), None, "nothing was handed out");
    state.set_emitted(14);
    assert_eq!(state.base_index(), Some(3));
}

#[test]
fn a_peer_is_measured_by_messages_bytes_and_votes() {
    let mut inbound = Inbound::new(0);
    assert!(inbound.request(1 << 20, 0).is_ok());
    assert!(inbound.request(usize::try_from(BYTES_PER_S).unwrap(), 0).is_err());
    assert!((0..VOTES_PER_S).all(|_| inbound.vote(0).is_ok()));
    assert!(inbound.vote(0).is_err());
    assert!(inbound.vote(1_000).is_ok());
}

#[test]
fn voters_that_leave_count_until_the_change_is_certified() {
    let mut state = leader(1);
    Arc::make_mut(&mut state.voters).want(&voter_set(&[1, 2, 4], &[]));
    let ids = state.voters.wanted().ids.clone();
    assert!(state.voters.node_of(&device(3)).is_some());
    let members = crate::Members { configs: vec![ids.clone()], nodes: ids };
    push(&mut state, [entry(1, 2, Payload::Members(members)), bodies_entry(1, 3, &[3])]);
    state.accept(certificate(state.ledger.end(), &[1, 2])).unwrap();
    assert!(state.voters.node_of(&device(3)).is_none());
    assert_eq!(state.voters.peers().len(), 3);
    let _ = identity();
}

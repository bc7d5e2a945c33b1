//! What a voter finds again on its disk after a restart.

use super::*;
use crate::testing::{at, bodies_entry, device, entry, signing_keys, voters};
use crate::{Ballot, Members, RaftBase};
use rhizome_cluster::{Ack, Certificate};
use rhizome_log::Seen;

const ORIGIN: Seen = Seen { g: 1, i: 10, c: [1; 32] };

fn state() -> State {
    let voters = voters(&[1, 2, 3]);
    let me = voters.node_of(&device(1)).unwrap();
    State::new(me, Arc::new(signing_keys(1)), 2, ORIGIN, voters, ORIGIN.i)
}

fn members() -> Members {
    let ids = voters(&[1, 2, 3]).wanted().ids.clone();
    Members { configs: vec![ids.clone()], nodes: ids }
}

/// Records of a membership entry and `count` batches, and the log they make.
fn records(count: u64) -> (Vec<RaftRecord>, Ledger) {
    let mut ledger = Ledger::new(2, ORIGIN);
    let first = entry(0, 0, Payload::Members(members()));
    let batches = (1..=count).map(|index| bodies_entry(1, index, &[index]));
    let records = [first].into_iter().chain(batches).map(|entry| {
        let end = ledger.push(entry.clone());
        RaftRecord::entry(2, entry, end)
    });
    (records.collect(), ledger)
}

fn restored(records: &[RaftRecord]) -> State {
    let mut state = state();
    restore(&mut state, records).unwrap();
    state
}

#[test]
fn a_log_comes_back_with_votes_cuts_and_what_is_certified() {
    let (mut records, ledger) = records(4);
    let certified = ledger.get(2).unwrap().end;
    let sign = |n| {
        let ack = Ack::sign(&signing_keys(n), certified);
        (ack.device, ack.sig)
    };
    let certificate = Certificate::new(certified, vec![sign(1), sign(2)]);
    let ballot = Ballot { term: 3, node: at(3, 0).node, granted: true };
    records.push(RaftRecord::vote(2, Ballot { term: 1, ..ballot }));
    records.push(RaftRecord::vote(2, ballot));
    records.push(RaftRecord::commit(2, certificate));
    records.push(RaftRecord::truncate(2, 4));
    let state = restored(&records);
    assert_eq!(state.ballot, ballot, "never vote twice");
    assert_eq!((state.ledger.last(), state.durable), (Some(at(1, 3)), Some(at(1, 3))));
    assert_eq!(state.certified, Some(at(1, 2)));
    let cut = ledger.get(4).unwrap().end;
    assert!(state.ledger.signable(&cut));
    assert!(!state.ledger.signable(&Seen { c: [9; 32], ..cut }), "it may have been signed");
}

#[test]
fn a_leader_that_restarts_has_lost_its_lead_but_not_its_vote() {
    let (mut records, _) = records(1);
    let me = state().me;
    let ballot = Ballot { term: 3, node: me, granted: true };
    records.push(RaftRecord::vote(2, ballot));
    let state = restored(&records);
    assert_eq!(state.ballot, Ballot { granted: false, ..ballot });
    assert!(!state.leads());
}

#[test]
fn purged_entries_may_be_missing_and_an_adopted_base_begins_a_log() {
    let (mut records, ledger) = records(6);
    let base = ledger.base_at(4).unwrap();
    let purge = ledger.get(2).unwrap();
    records.push(RaftRecord::base(2, base.clone()));
    records.push(RaftRecord::purge(2, purge.entry.at, purge.end));
    for missing in [0, 1, 3] {
        let state = restored(&records[missing..]);
        assert_eq!(state.ledger.purged(), Some(at(1, 2)));
        assert_eq!((state.ledger.end(), state.ledger.next()), (ledger.end(), 7));
        assert_eq!((state.certified, state.applied), (Some(at(1, 4)), Some(at(1, 4))));
    }
    let far = RaftBase { last: at(1, 90), end: Seen { i: 70, ..base.end }, ..base };
    records.push(RaftRecord::base(2, far.clone()));
    let state = restored(&records);
    assert_eq!((state.ledger.last(), state.ledger.end()), (Some(far.last), far.end));
    assert_eq!(state.ledger.members(), Some(&members()));
}

#[test]
fn a_log_with_a_hole_or_another_order_is_not_taken() {
    let (records, _) = records(4);
    let hole = [&records[..2], &records[3..]].concat();
    assert!(restore(&mut state(), &hole).is_err());
    let mut other = records.clone();
    if let RaftRecord::Entry(record) = &mut other[3] {
        record.end.c = [9; 32];
    }
    assert!(restore(&mut state(), &other).is_err());
    let floor = RaftRecord::purge(2, at(1, 1), ORIGIN);
    assert!(restore(&mut state(), &[floor]).is_err(), "nothing says who votes");
    assert!(restore(&mut state(), &[]).is_ok());
}

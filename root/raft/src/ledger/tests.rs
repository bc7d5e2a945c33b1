//! The order and its chain stay right while a log grows, is cut and is purged.

use super::*;
use crate::NodeId;
use crate::testing::{batch, bodies_entry, entry};
use expect_test::expect;

const ORIGIN: Seen = Seen { g: 1, i: 100, c: [7; 32] };

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(2, ORIGIN);
    let members = Members { configs: vec![[NodeId([1; 32])].into()], nodes: [].into() };
    ledger.push(entry(0, 0, Payload::Members(members)));
    ledger.push(entry(1, 1, Payload::Blank));
    ledger.push(bodies_entry(1, 2, &[1, 2]));
    ledger.push(bodies_entry(1, 3, &[3]));
    ledger
}

#[test]
fn only_bodies_move_the_order_and_the_chain_goes_on_from_the_former_generation() {
    let ledger = ledger();
    let ends: Vec<_> = ledger.iter().map(|held| (held.end.g, held.end.i)).collect();
    expect![[r#"
        [
            (
                1,
                100,
            ),
            (
                1,
                100,
            ),
            (
                2,
                102,
            ),
            (
                2,
                103,
            ),
        ]
    "#]]
    .assert_debug_eq(&ends);
    let mut chain = Chain::from(ORIGIN);
    for n in 1..=3 {
        chain.push(2, batch(&[n]).0[0].clone());
    }
    assert_eq!(ledger.end(), chain.end());
    assert_eq!(ledger.at_order(102).unwrap().0.index, 2);
    assert_eq!(ledger.at_order(100).map(|(at, _)| at.index), Some(0));
    assert!(ledger.at_order(101).is_none(), "inside a batch there is no end");
    assert!(ledger.at_order(104).is_none());
}

#[test]
fn placed_entries_are_cut_exactly_where_asked() {
    let ledger = ledger();
    let at = |from, to, limit| -> Vec<u64> {
        ledger.placed(from, to, limit).iter().map(|entry| entry.i).collect()
    };
    assert_eq!(at(100, 103, 9), [101, 102, 103]);
    assert_eq!(at(101, 102, 9), [102]);
    assert_eq!(at(100, 103, 2), [101, 102]);
    assert!(at(103, 103, 9).is_empty());
}

#[test]
fn a_position_that_was_cut_off_is_never_signed_under_another_hash() {
    let mut ledger = ledger();
    let old = ledger.end();
    ledger.truncate(3);
    ledger.push(bodies_entry(2, 3, &[9]));
    let new = ledger.end();
    assert_eq!((old.i, old.c == new.c), (103, false));
    assert!(!ledger.signable(&new));
    assert!(ledger.signable(&old), "signing the same again says nothing new");
    ledger.push(bodies_entry(2, 4, &[9]));
    assert!(ledger.signable(&ledger.end()));
    ledger.truncate(3);
    ledger.push(bodies_entry(3, 3, &[9]));
    assert_eq!(ledger.end(), new);
    assert!(!ledger.signable(&new), "the first hash stays the only one");
    ledger.forget_spent(103);
    assert!(ledger.signable(&new));
}

#[test]
fn purging_keeps_the_end_and_a_base_replaces_a_log_that_lacks_it() {
    let mut log = ledger();
    let (last, end) = (log.last(), log.end());
    let base = log.base_at(2).unwrap();
    log.set_base(base.clone());
    assert!(log.purge(base.last).is_some());
    assert_eq!((log.last(), log.end(), log.next()), (last, end, 4));
    assert_eq!(log.end_at(Some(base.last)), Some(base.end));
    assert_eq!(log.members().unwrap(), &base.members);

    let mut behind = Ledger::new(2, ORIGIN);
    behind.push(entry(0, 0, Payload::Blank));
    assert!(behind.purge(base.last).is_none(), "nothing tells the order there");
    behind.expect_base(base.clone());
    assert_eq!(behind.purge(base.last), Some(base.end));
    assert_eq!((behind.next(), behind.end()), (3, base.end));
}

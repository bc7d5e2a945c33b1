//! What the guard lets through and what it refuses, rule by rule.

use super::*;
use crate::bounds::VOTER_SETS_MAX;
use crate::testing::{at, batch, bodies_entry, device, entry, identity, voter_set, voters};
use crate::{Members, VoterSet};
use rhizome_block::{Cid, Codec};
use std::collections::BTreeSet;

const ORIGIN: Seen = Seen { g: 1, i: 10, c: [1; 32] };

/// Entries 0 to 2; 1 and 2 place one body each.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(2, ORIGIN);
    ledger.push(entry(0, 0, Payload::Blank));
    ledger.push(bodies_entry(1, 1, &[1]));
    ledger.push(bodies_entry(1, 2, &[2]));
    ledger
}

fn leader(term: u64) -> Ballot {
    Ballot { term, node: at(term, 0).node, granted: true }
}

fn append(term: u64, prev: Option<LogAt>, entries: Vec<RaftEntry>) -> Append {
    let chain = ledger().end_at(prev).unwrap_or_default();
    Append { ballot: leader(term), prev, chain, entries, commit: None }
}

#[test]
fn only_voters_of_the_control_log_are_heard() {
    let voters = voters(&[1, 2, 3]);
    assert!(sender(&voters, &device(1)).is_ok());
    assert!(matches!(sender(&voters, &device(4)), Err(GuardError::Sender)));
}

#[test]
fn only_this_identity_and_generation_are_heard() {
    let other = IdentityId(Cid::of(Codec::Raw, b"other"));
    assert!(super::identity(&identity(), &identity()).is_ok());
    assert!(matches!(super::identity(&identity(), &other), Err(GuardError::Identity)));
    assert!(generation(2, 2).is_ok());
    assert!(matches!(generation(2, 1), Err(GuardError::Generation { found: 1, ours: 2 })));
    assert!(matches!(generation(2, 3), Err(GuardError::Generation { found: 3, ours: 2 })));
}

#[test]
fn a_node_speaks_for_itself_in_its_own_role() {
    let ours = leader(1);
    assert!(claim(ours.node, &ours).is_ok());
    assert!(matches!(claim(NodeId([9; 32]), &ours), Err(GuardError::Claim { .. })));
    assert!(ballot(&ours, true).is_ok());
    assert!(matches!(ballot(&ours, false), Err(GuardError::Ballot)));
}

#[test]
fn terms_move_within_reach() {
    assert!(term(5, 5 + TERM_JUMP_MAX).is_ok());
    assert!(term(5, 0).is_ok(), "openraft answers lower terms itself");
    assert!(term(5, 6 + TERM_JUMP_MAX).is_err());
    assert!(term(TERM_MAX, TERM_MAX).is_ok());
    assert!(term(TERM_MAX, TERM_MAX + 1).is_err());
    assert!(term(u64::MAX, u64::MAX).is_err());
}

#[test]
fn batches_stay_within_bounds() {
    let full = batch(&(0..BODIES_PER_ENTRY_MAX as u64).collect::<Vec<_>>());
    let over = batch(&(0..=BODIES_PER_ENTRY_MAX as u64).collect::<Vec<_>>());
    let one = |batch| vec![entry(1, 0, Payload::Bodies(batch))];
    assert!(size(&one(full.clone())).is_ok());
    assert!(size(&one(over)).is_err());
    assert!(size(&one(batch(&[]))).is_err());
    let blanks = |count| vec![entry(1, 0, Payload::Blank); count];
    assert!(size(&blanks(ENTRIES_PER_REQUEST_MAX)).is_ok());
    assert!(size(&blanks(ENTRIES_PER_REQUEST_MAX + 1)).is_err());
    let most = BODIES_PER_REQUEST_MAX / BODIES_PER_ENTRY_MAX;
    assert!(size(&vec![entry(1, 0, Payload::Bodies(full.clone())); most]).is_ok());
    assert!(size(&vec![entry(1, 0, Payload::Bodies(full)); most + 1]).is_err());
}

#[test]
fn entries_follow_each_other_and_no_leader_writes_before_another() {
    let blank = |term, index| entry(term, index, Payload::Blank);
    let sound = |append: &Append| sequence(append).is_ok();
    assert!(sound(&append(3, None, vec![blank(0, 0), blank(1, 1), blank(3, 2)])));
    assert!(sound(&append(3, Some(at(1, 1)), vec![blank(1, 2)])));
    assert!(!sound(&append(3, Some(at(1, 1)), vec![blank(1, 3)])), "a hole");
    assert!(!sound(&append(3, Some(at(2, 1)), vec![blank(1, 2)])), "an earlier leader");
    assert!(!sound(&append(3, Some(at(1, 1)), vec![blank(4, 2)])), "a later leader");
    assert!(!sound(&append(3, Some(at(4, 1)), vec![])), "a later leader before");
    assert!(!sound(&append(3, Some(at(1, INDEX_MAX)), vec![])), "an index that overflows");
}

#[test]
fn what_is_certified_stays() {
    let ledger = ledger();
    let blank = |term, index| entry(term, index, Payload::Blank);
    let keeps = |append: &Append| keeps_certified(&ledger, Some(at(1, 1)), append).is_ok();
    assert!(keeps(&append(2, Some(at(1, 1)), vec![blank(2, 2)])), "an uncertified tail may go");
    assert!(!keeps(&append(2, Some(at(2, 1)), vec![])));
    assert!(!keeps(&append(2, Some(at(0, 0)), vec![blank(2, 1)])));
    assert!(keeps_certified(&ledger, None, &append(2, Some(at(2, 1)), vec![])).is_ok());
    let mut purged = ledger.clone();
    purged.purge(at(1, 1)).unwrap();
    let keeps = |append: &Append| keeps_certified(&purged, Some(at(1, 1)), append).is_ok();
    assert!(keeps(&append(2, Some(at(0, 0)), vec![blank(1, 1)])), "as far as one can tell");
    assert!(!keeps(&append(2, Some(at(2, 0)), vec![])), "nobody later wrote that");
}

#[test]
fn equal_logs_carry_equal_orders() {
    let ledger = ledger();
    let sound = append(2, Some(at(1, 1)), vec![bodies_entry(1, 2, &[2])]);
    assert!(extends(&ledger, &sound).is_ok());
    let mut other = sound.clone();
    other.chain.c = [9; 32];
    assert!(matches!(extends(&ledger, &other), Err(GuardError::Chain { .. })));
    let other = append(2, Some(at(1, 1)), vec![bodies_entry(1, 2, &[7])]);
    assert!(matches!(extends(&ledger, &other), Err(GuardError::Chain { .. })));
    let unknown = append(2, Some(at(2, 2)), vec![bodies_entry(2, 3, &[7])]);
    assert!(extends(&ledger, &unknown).is_ok(), "openraft will say that it conflicts");
}

#[test]
fn openraft_commits_no_more_than_is_certified() {
    assert_eq!(cap_commit(Some(at(1, 9)), Some(at(1, 2))), Some(at(1, 2)));
    assert_eq!(cap_commit(Some(at(1, 1)), Some(at(1, 2))), Some(at(1, 1)));
    assert_eq!(cap_commit(Some(at(1, 9)), None), None);
    assert_eq!(cap_commit(None, Some(at(1, 2))), None);
}

#[test]
fn entries_wait_at_the_first_membership_nobody_named() {
    let voters = voters(&[1, 2, 3]);
    let ids = voters.wanted().ids.clone();
    let known = Members { configs: vec![ids.clone()], nodes: ids.clone() };
    let one: BTreeSet<_> = ids.iter().take(1).copied().collect();
    let unknown = Members { configs: vec![one], nodes: ids };
    let entries = [
        entry(1, 0, Payload::Members(known)),
        entry(1, 1, Payload::Blank),
        entry(1, 2, Payload::Members(unknown)),
        entry(1, 3, Payload::Blank),
    ];
    assert_eq!(known_members(&voters, &entries), 2);
    assert_eq!(known_members(&voters, &entries[..2]), 2);
}

#[test]
fn a_position_is_adopted_only_if_it_is_needed_and_possible() {
    let (voters, ledger) = (voters(&[1, 2, 3]), ledger());
    let ids = voters.wanted().ids.clone();
    let members = Members { configs: vec![ids.clone()], nodes: ids };
    let end = Seen { g: 2, i: 500, c: [3; 32] };
    let sound = RaftBase { last: at(1, 40), end, members_at: at(0, 0), members };
    let check = |change: fn(&mut RaftBase)| {
        let mut changed = sound.clone();
        change(&mut changed);
        base(&ledger, &voters, &leader(2), &changed).is_ok()
    };
    assert!(check(|_| {}));
    assert!(!check(|base| base.last.index = 2), "the log reaches it");
    assert!(!check(|base| base.end.i = 11), "the order went further");
    assert!(!check(|base| base.end.i = 1 << 40), "so few entries cannot place so much");
    assert!(!check(|base| base.members_at = at(1, 41)), "a membership from later");
    assert!(!check(|base| base.members.configs.clear()), "a membership nobody named");
    assert!(!check(|base| base.last = at(3, 40)), "a leader from later");
}

#[test]
fn answers_outvote_only_with_a_ballot_in_reach_of_a_known_node() {
    let voters = voters(&[1, 2, 3]);
    let node = voters.node_of(&device(2)).unwrap();
    let ours = leader(5);
    let found = |term, node, granted| {
        outvoted(&voters, &ours, Ballot { term, node, granted }).map(|found| found.granted)
    };
    assert!(matches!(found(6, node, true), Ok(false)), "only a leader says that it leads");
    assert!(found(4, node, false).is_err(), "lower");
    assert!(found(u64::MAX, node, false).is_err(), "out of reach");
    assert!(found(6, NodeId([9; 32]), false).is_err(), "a stranger");
}

#[test]
fn answers_match_only_what_was_sent_and_forget_nothing() {
    let sent = [Some(at(1, 1)), Some(at(1, 2))];
    assert!(matched(&sent, Some(at(1, 2))).is_ok());
    assert!(matched(&sent, Some(at(1, 3))).is_err());
    assert!(matched(&sent, None).is_err());
    assert!(conflict(Some(at(1, 3)), Some(at(1, 2))).is_ok());
    assert!(conflict(Some(at(1, 2)), Some(at(1, 2))).is_err());
    assert!(conflict(None, None).is_err(), "before the first entry nothing conflicts");
}

#[test]
fn an_acknowledgement_is_about_our_own_order() {
    let ledger = ledger();
    let end = ledger.end();
    assert_eq!(acknowledges(&ledger, &end).unwrap(), at(1, 2));
    let other = Seen { c: [9; 32], ..end };
    assert!(matches!(acknowledges(&ledger, &other), Err(GuardError::Chain { .. })));
    let beyond = Seen { i: end.i + 1, ..end };
    assert!(matches!(acknowledges(&ledger, &beyond), Err(GuardError::Answer)));
}

#[test]
fn a_long_history_of_voters_stays_bounded() {
    let mut voters = voters(&[1, 2, 3]);
    let sets: Vec<VoterSet> = (0..200).map(|n| voter_set(&[n, n + 1, n + 2], &[])).collect();
    for set in &sets {
        voters.want(set);
    }
    let members = |set: &VoterSet| {
        let known = crate::voters::Voters::new(identity(), 2, &[], set);
        let ids = known.wanted().ids.clone();
        Members { configs: vec![ids.clone()], nodes: ids }
    };
    assert!(voters.knows(&members(&sets[199 - VOTER_SETS_MAX + 1])));
    assert!(!voters.knows(&members(&sets[199 - VOTER_SETS_MAX])));
}

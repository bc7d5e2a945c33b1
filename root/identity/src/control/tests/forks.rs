//! Forks, commits and orders of arrival.

use super::world::*;
use crate::control::*;
use crate::*;
use proptest::prelude::*;
use rhizome_block::Cid;

/// Puts records after the same head of `log` in their own branches and returns the winner.
#[track_caller]
fn winner(log: &ControlLog, records: &[ControlRecord]) -> Cid {
    let mut forward = log.clone();
    let mut backward = log.clone();
    for record in records {
        forward.insert(record.clone()).unwrap();
    }
    for record in records.iter().rev() {
        backward.insert(record.clone()).unwrap();
    }
    assert_eq!(forward.head(), backward.head());
    forward.head()
}

#[test]
fn heavier_signatures_win_then_revocations_then_the_lowest_hash() {
    let log = family();
    let kit = record(&log, &[0], 1, rotate(log.state()));
    let two = record(&log, &[1, 2], 1, rotate(log.state()));
    let one = record(&log, &[3], 1, revoke(log.state(), 4));
    let plain = record(&log, &[2], 1, rotate(log.state()));
    assert_eq!(winner(&log, &[two.clone(), kit.clone(), one.clone()]), kit.cid());
    assert_eq!(winner(&log, &[one.clone(), two.clone()]), two.cid());
    assert_eq!(winner(&log, &[plain.clone(), one.clone()]), one.cid());
    let other = record(&log, &[3], 1, rotate(log.state()));
    assert_eq!(winner(&log, &[plain.clone(), other.clone()]), plain.cid().min(other.cid()));
}

#[test]
fn of_two_reforms_the_heavier_wins_then_more_removals_then_the_lowest_hash() {
    let log = family();
    let by = |signers: &[u8], voter: u8, gone: &[u8]| {
        record(&log, signers, 2, reform(log.state(), &[voter], gone))
    };
    let (plain, other) = (by(&[1], 1, &[]), by(&[3], 3, &[]));
    let lowest = plain.cid().min(other.cid());
    assert_eq!(winner(&log, &[plain.clone(), other.clone()]), lowest);
    let more = by(&[3], 3, &[4]);
    assert_eq!(winner(&log, &[plain.clone(), more.clone(), other.clone()]), more.cid());
    let two = by(&[1, 2], 1, &[]);
    assert_eq!(winner(&log, &[plain.clone(), more.clone(), two.clone()]), two.cid());
    let kit = by(&[0], 2, &[]);
    assert_eq!(winner(&log, &[two, more, kit.clone(), plain]), kit.cid());
}

#[test]
fn a_branch_that_leads_to_a_reform_goes_before_one_without_unless_the_kit_signed_that() {
    let log = family();
    let heavy = record(&log, &[1, 2], 1, revoke(log.state(), 4));
    // A decision of one device, and its reform on top of it.
    let light = record(&log, &[3], 1, rotate(log.state()));
    let mut branch = log.clone();
    branch.insert(light.clone()).unwrap();
    let on_top = record(&branch, &[3], 1, reform(branch.state(), &[3], &[]));
    branch.insert(on_top.clone()).unwrap();
    let all = [light.clone(), on_top.clone(), heavy.clone()];
    assert_eq!(winner(&log, &all), on_top.cid());
    // It goes before one that forks earlier and is weaker, too.
    let weaker = record(&log, &[1], 2, reform(log.state(), &[1], &[]));
    let stronger = record(&log, &[1], 2, reform(log.state(), &[1], &[5]));
    let best = on_top.cid().min(weaker.cid());
    assert_eq!(winner(&log, &[light.clone(), on_top.clone(), weaker]), best);
    assert_eq!(winner(&log, &[light.clone(), on_top.clone(), stronger.clone()]), stronger.cid());
    let kit = record(&log, &[0], 1, revoke(log.state(), 3));
    assert_eq!(winner(&log, &[light, on_top, heavy, stronger, kit.clone()]), kit.cid());
}

#[test]
fn a_branch_that_the_kit_signed_for_stays_so_when_a_device_reforms_on_top_of_it() {
    let log = family();
    let plain = record(&log, &[0], 2, reform(log.state(), &[1], &[]));
    let mut branch = log.clone();
    let light = record(&log, &[3], 1, rotate(log.state()));
    branch.insert(light.clone()).unwrap();
    let more = record(&branch, &[0], 2, reform(branch.state(), &[2], &[4]));
    branch.insert(more.clone()).unwrap();
    let on_top = record(&branch, &[1], 3, reform(branch.state(), &[1], &[]));
    let kits = [plain, light, more.clone()];
    assert_eq!(winner(&log, &kits), more.cid());
    assert_eq!(winner(&log, &[&kits[..], std::slice::from_ref(&on_top)].concat()), on_top.cid());
}

#[test]
fn a_reform_competes_with_what_was_committed_after_its_parent() {
    let mut log = family();
    let parent = log.head();
    let forked = record(&log, &[1], 2, reform(log.state(), &[1], &[4]));
    let committed = put_rotation(&mut log, &[2]);
    log.commit(committed).unwrap();
    let tentative = put_rotation(&mut log, &[3]);
    assert!(matches!(log.insert(forked.clone()), Err(ControlError::Superseded { .. })));
    let mut again = log.reopened(log.committed_state().height() - 1);
    assert_eq!((again.committed_head(), again.head()), (parent, tentative));
    assert!(matches!(again.insert(forked.clone()), Ok(Inserted::Placed { .. })));
    assert_eq!(again.head(), forked.cid());
    // What was committed after it is tentative again, and loses.
    assert_eq!(again.tentative().len(), 3);
}

#[test]
fn a_losing_branch_does_not_win_by_growing() {
    let log = family();
    let winning = record(&log, &[1, 2], 1, rotate(log.state()));
    let mut losing = log.clone();
    put(&mut losing, &[3], 1, rotate(log.state()));
    put_rotation(&mut losing, &[3]);
    let mut both = losing.clone();
    let Ok(Inserted::Placed { change, .. }) = both.insert(winning.clone()) else {
        panic!("the record holds")
    };
    assert_eq!(both.head(), winning.cid());
    assert_eq!(change.entered, [winning.cid()]);
    let newest_first: Vec<Cid> =
        losing.chain_from(5).iter().rev().map(|record| record.cid()).collect();
    assert_eq!(change.left, newest_first);
}

#[test]
fn what_is_committed_beats_what_is_heavier() {
    let log = family();
    let light = record(&log, &[3], 1, rotate(log.state()));
    let heavy = record(&log, &[0], 1, rotate(log.state()));
    let mut here = log.clone();
    here.insert(light.clone()).unwrap();
    here.insert(heavy.clone()).unwrap();
    assert_eq!(here.head(), heavy.cid());
    let done = here.commit(light.cid()).unwrap();
    assert_eq!(done.committed.last(), Some(&light.cid()));
    assert_eq!(done.lost, [heavy.cid()]);
    assert_eq!(done.change, HeadChange { left: vec![heavy.cid()], entered: vec![light.cid()] });
    assert_eq!((here.head(), here.committed_head()), (light.cid(), light.cid()));
    assert!(matches!(here.insert(heavy.clone()), Err(ControlError::Superseded { height: 5 })));
    assert!(here.commit(heavy.cid()).is_err());
    let mut there = log.clone();
    there.insert(light.clone()).unwrap();
    there.commit(light.cid()).unwrap();
    assert!(there.insert(heavy).is_err());
    assert_eq!(here.state(), there.state());
    assert_eq!(here.commit(light.cid()).unwrap(), Committed::default());
}

#[test]
fn the_chain_and_the_tentative_branches_are_what_a_peer_is_missing() {
    let mut log = family();
    log.commit(log.head()).unwrap();
    let side = record(&log, &[3], 1, rotate(log.state()));
    put_rotation(&mut log, &[1, 2]);
    log.insert(side.clone()).unwrap();
    assert_eq!(log.chain_from(0).len(), 5);
    assert_eq!(log.chain_from(4).len(), 2);
    assert_eq!(log.chain_from(u64::MAX).len(), 0);
    assert_eq!(log.tentative().len(), 2);
    let mut peer = world_at(4);
    for record in log.chain_from(4).into_iter().chain(log.tentative()) {
        peer.insert(record.clone()).unwrap();
    }
    assert_eq!(peer.state(), log.state());
    assert!(peer.record(&side.cid()).is_some());
}

fn world_at(height: u64) -> ControlLog {
    let mut log = log();
    for record in family().chain_from(1).into_iter().filter(|one| one.height() <= height) {
        log.insert(record.clone()).unwrap();
    }
    log
}

#[test]
fn a_record_waits_for_its_parent_and_names_the_first_one_missing() {
    let full = family();
    let chain: Vec<_> = full.chain_from(1).into_iter().cloned().collect();
    let mut log = log();
    for at in [3, 2] {
        match log.insert(chain[at].clone()).unwrap() {
            Inserted::Waiting { missing } => assert_eq!(missing, chain[at].prev()),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(log.insert(chain[3].clone()).unwrap(), Inserted::Known));
    log.insert(chain[0].clone()).unwrap();
    match log.insert(chain[1].clone()).unwrap() {
        Inserted::Placed { placed, change, .. } => {
            assert_eq!(placed.len(), 3);
            assert_eq!(change.entered.len(), 3);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log.state(), full.state());
}

#[test]
fn what_waits_is_bounded() {
    let mut log = log();
    let stray = |number: u64| {
        let mut draft = log_draft();
        draft.height = 2;
        draft.clock = number;
        draft.prev = Cid::of(rhizome_block::Codec::DagCbor, b"nobody knows");
        draft.sign(&keys(1).signing)
    };
    for number in 0..WAITING_MAX as u64 {
        log.insert(stray(number)).unwrap();
    }
    assert!(matches!(log.insert(stray(1 << 40)), Err(ControlError::Full { .. })));
    put_rotation(&mut log, &[1]);
    let second = put_rotation(&mut log, &[1]);
    log.commit(second).unwrap();
    let mut later = log.draft(Author::Device(id(1)), 0, None, rotate(log.state()));
    later.prev = Cid::of(rhizome_block::Codec::DagCbor, b"nobody knows");
    let later = log.insert(later.sign(&keys(1).signing));
    assert!(matches!(later, Ok(Inserted::Waiting { .. })), "what came too late makes room");
}

fn log_draft() -> Draft {
    let log = log();
    log.draft(Author::Device(id(1)), 0, None, rotate(log.state()))
}

#[test]
fn what_is_tentative_is_bounded() {
    let mut log = log();
    let draft = log_draft();
    for clock in 0..TENTATIVE_MAX as u64 {
        log.insert(Draft { clock, ..draft.clone() }.sign(&keys(1).signing)).unwrap();
    }
    let last = Draft { clock: u64::MAX, ..draft }.sign(&keys(1).signing);
    assert!(matches!(log.insert(last.clone()), Err(ControlError::Full { .. })));
    log.commit(log.head()).unwrap();
    assert!(matches!(log.insert(last), Err(ControlError::Superseded { .. })));
    let next = rotate(log.state());
    put(&mut log, &[1], 0, next);
}

#[test]
fn what_waited_and_does_not_hold_is_told() {
    let mut log = log();
    let mut ahead = log.clone();
    put(&mut ahead, &[1], 0, add(1, 2, DeviceKind::Desktop, WRITER));
    let bad = record(&ahead, &[2], 1, rotate(ahead.state()));
    log.insert(bad.clone()).unwrap();
    match log.insert(ahead.chain_from(1)[0].clone()).unwrap() {
        Inserted::Placed { refused, .. } => {
            assert!(
                matches!(refused[..], [(cid, ControlError::NotAdmin { .. })] if cid == bad.cid())
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_waits_for_a_record_that_does_not_hold_is_dropped() {
    let mut log = log();
    let mut bad = log_draft();
    bad.author = Author::Device(id(2));
    let bad = bad.sign(&keys(2).signing);
    for clock in 0..WAITING_MAX as u64 {
        let mut child = log_draft();
        (child.height, child.prev, child.clock) = (2, bad.cid(), clock);
        log.insert(child.sign(&keys(1).signing)).unwrap();
    }
    assert!(log.insert(bad).is_err());
    let mut stray = log_draft();
    (stray.height, stray.prev) = (2, Cid::of(rhizome_block::Codec::DagCbor, b"nobody knows"));
    assert!(matches!(log.insert(stray.sign(&keys(1).signing)), Ok(Inserted::Waiting { .. })));
}

/// Two devices that work apart from a common start: two branches of three records, and a third
/// that the kit starts.
fn branches() -> Vec<ControlRecord> {
    let base = family();
    let mut all: Vec<_> = base.chain_from(1).into_iter().cloned().collect();
    for (by, kick) in [(&[1][..], 4), (&[2, 3], 5)] {
        let mut branch = base.clone();
        put(&mut branch, by, 1, revoke(base.state(), kick));
        put_rotation(&mut branch, &by[..1]);
        put(&mut branch, &by[..1], 1, voters(2, &[1, 2, 3]));
        all.extend(branch.chain_from(5).into_iter().cloned());
    }
    all.push(record(&base, &[0], 2, revoke(base.state(), 2)));
    all
}

#[test]
fn a_state_holds_the_same_whatever_was_tried_in_between() {
    let mut log = family();
    let before = log.state().clone();
    let bad =
        [record(&log, &[4], 1, rotate(log.state())), record(&log, &[1], 1, revoke(log.state(), 2))];
    for record in bad {
        log.insert(record).unwrap_err();
    }
    assert_eq!(*log.state(), before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_does_not_matter(order in Just(branches()).prop_shuffle()) {
        let mut straight = log();
        for record in branches() {
            straight.insert(record).unwrap();
        }
        let mut shuffled = log();
        for record in order {
            shuffled.insert(record).unwrap();
        }
        prop_assert_eq!(straight.head(), shuffled.head());
        prop_assert_eq!(straight.state(), shuffled.state());
        let names = |log: &ControlLog| {
            let mut names: Vec<_> = log.tentative().iter().map(|one| one.cid()).collect();
            names.sort();
            names
        };
        prop_assert_eq!(names(&straight), names(&shuffled));
    }

    #[test]
    fn a_commit_in_between_does_not_matter(
        order in Just(branches()).prop_shuffle(), commit_at in 0..11usize,
    ) {
        // The branch of device 1 is committed, although the kit's is heavier.
        let target = branches()[6].cid();
        let mut shuffled = log();
        let mut late = true;
        for (at, record) in order.into_iter().enumerate() {
            let _ = shuffled.insert(record);
            if at >= commit_at && late {
                late = shuffled.commit(target).is_err();
            }
        }
        if late {
            shuffled.commit(target).unwrap();
        }
        prop_assert_eq!(shuffled.head(), target);
        prop_assert_eq!(shuffled.committed_head(), target);
        prop_assert!(shuffled.state().is_live(&id(5)) && !shuffled.state().is_live(&id(4)));
    }
}

//! The control log's rules, forks and formats, each by the sentence it must keep.

mod forks;
mod formats;
mod world;

use super::*;
use crate::*;
use world::*;

#[test]
fn the_first_device_may_do_everything_and_votes_alone() {
    let log = log();
    let state = log.state();
    assert_eq!(state.voters(), [id(1)]);
    assert_eq!((state.height(), state.generation(), state.fold()), (0, GENERATION_FIRST, 1));
    assert!(ADMIN.iter().all(|one| state.may(&id(1), *one)));
    assert_eq!(state.recipients(&[]).len(), 2);
    assert_eq!(log.head(), log.genesis().identity_id().0);
}

#[test]
fn an_admin_admits_devices_and_they_get_the_current_secret() {
    let log = family();
    let state = log.state();
    assert_eq!(state.devices().count(), 5);
    assert_eq!(admins(&log).len(), 3);
    assert!(state.may(&id(4), Capability::Writer) && !state.may(&id(4), Capability::Admin));
    assert!(state.may(&id(5), Capability::Sequencer) && !state.may(&id(5), Capability::Reader));
    assert_eq!(state.epoch().wraps.len(), 5, "four devices with sealing keys, and the kit");
    assert_eq!(state.epochs().len(), 1);
}

#[test]
fn only_live_admin_devices_and_the_kit_sign() {
    let mut log = family();
    let body = rotate(log.state());
    assert!(matches!(refused(&log, &[4], 1, body.clone()), ControlError::NotAdmin { .. }));
    assert!(matches!(refused(&log, &[5], 1, body.clone()), ControlError::NotAdmin { .. }));
    assert!(matches!(refused(&log, &[9], 1, body.clone()), ControlError::NotAdmin { .. }));
    assert!(matches!(refused(&log, &[1, 4], 1, body), ControlError::NotAdmin { .. }));
    let body = revoke(log.state(), 2);
    put(&mut log, &[0], 1, body);
    let body = rotate(log.state());
    assert!(matches!(refused(&log, &[2], 2, body.clone()), ControlError::NotAdmin { .. }));
    put(&mut log, &[3], 2, body);
}

#[test]
fn a_signature_of_another_key_does_not_count() {
    let log = log();
    let body = rotate(log.state());
    let draft = log.draft(Author::Device(id(1)), START << 16, None, body);
    let record = draft.clone().sign(&keys(2).signing);
    let error = log.clone().insert(record).unwrap_err();
    assert!(matches!(error, ControlError::Signature { .. }), "{error:?}");
    let record = Draft { author: Author::Root, ..draft }.sign(&kit().recovery());
    let error = log.clone().insert(record).unwrap_err();
    assert!(matches!(error, ControlError::Signature { .. }), "{error:?}");
}

#[test]
fn signing_twice_adds_nothing() {
    let log = family();
    let body = revoke(log.state(), 2);
    assert!(matches!(refused(&log, &[1, 1], 1, body), ControlError::SignatureList));
}

#[test]
fn removing_one_of_three_admins_takes_two_of_them_or_the_kit() {
    let log = family();
    let body = || revoke(log.state(), 2);
    assert_eq!(log.state().signatures_needed(&body()), 2);
    let error = refused(&log, &[1], 1, body());
    assert!(matches!(error, ControlError::SignaturesNeeded { needed: 2, found: 1 }), "{error:?}");
    put(&mut log.clone(), &[1, 3], 1, body());
    put(&mut log.clone(), &[0], 1, body());
    put(&mut log.clone(), &[1], 1, revoke(log.state(), 4));
}

#[test]
fn making_or_unmaking_one_of_three_admins_takes_two() {
    let log = family();
    let admit = || add(1, 6, DeviceKind::Desktop, ADMIN);
    assert!(matches!(
        refused(&log, &[1], 1, admit()),
        ControlError::SignaturesNeeded { needed: 2, .. }
    ));
    put(&mut log.clone(), &[1, 2], 1, admit());
    put(&mut log.clone(), &[1], 1, add(1, 6, DeviceKind::Desktop, WRITER));
    assert!(matches!(
        refused(&log, &[1], 1, renew(1, 2, WRITER, 2)),
        ControlError::SignaturesNeeded { needed: 2, .. }
    ));
    put(&mut log.clone(), &[1], 1, renew(1, 2, ADMIN, 2));
}

#[test]
fn a_newcomer_removes_nobody_for_a_day() {
    let mut log = log();
    put(&mut log, &[1], 10, add(1, 2, DeviceKind::Desktop, ADMIN));
    let body = revoke(log.state(), 1);
    for (by, days) in [(&[2][..], 10), (&[2], 9), (&[1, 2], 10)] {
        let error = refused(&log, by, days, body.clone());
        assert!(matches!(error, ControlError::Newcomer { .. }), "{error:?}");
    }
    let reform = reform(log.state(), &[2], &[1]);
    assert!(matches!(refused(&log, &[2], 10, reform), ControlError::Newcomer { .. }));
    let certificate = certificate(2, 1, DeviceKind::Laptop, WRITER, 2);
    let wraps = Vec::new();
    let strip = ControlBody::AddDevice(AddDevice { certificate, wraps });
    assert!(matches!(refused(&log, &[2], 10, strip), ControlError::Newcomer { .. }));
    let just_before = log
        .draft(Author::Device(id(2)), (START + 11 * DAY - 1) << 16, None, body.clone())
        .sign(&keys(2).signing);
    assert!(matches!(log.clone().insert(just_before), Err(ControlError::Newcomer { .. })));
    let mut later = log.clone();
    put(&mut later, &[2], 11, body);
    let other = add(2, 3, DeviceKind::Desktop, ADMIN);
    put(&mut log, &[2], 10, other);
}

#[test]
fn a_newcomer_whom_the_kit_admitted_removes_at_once() {
    let mut log = log();
    put(&mut log, &[0], 10, add(0, 2, DeviceKind::Desktop, ADMIN));
    let body = reform(log.state(), &[2], &[1]);
    put(&mut log, &[2], 10, body);
    assert_eq!(log.state().voters(), [id(2)]);
    assert!(!log.state().is_live(&id(1)));
}

#[test]
fn a_next_certificate_does_not_make_a_device_older_or_newer() {
    let mut log = log();
    put(&mut log, &[1], 10, add(1, 2, DeviceKind::Desktop, WRITER));
    put(&mut log, &[1], 20, renew(1, 2, ADMIN, 2));
    let body = revoke(log.state(), 1);
    put(&mut log, &[2], 20, body);
}

#[test]
fn a_removed_device_is_out_of_the_next_epoch_and_never_returns() {
    let mut log = family();
    let body = revoke(log.state(), 4);
    put(&mut log, &[1], 2, body);
    let state = log.state();
    let removed = state.device(&id(4)).unwrap().revoked.clone().unwrap();
    assert_eq!(removed.last, [head_of(4, 1), head_of(4, 2)]);
    assert_eq!(state.epochs().len(), 2);
    assert_eq!(state.epoch().id, EpochId { n: 1, record: log.head() });
    assert!(!state.epoch().wraps.contains_key(&keys(4).sealing_public()));
    let again = add(1, 4, DeviceKind::Phone, WRITER);
    assert!(matches!(refused(&log, &[1], 3, again), ControlError::Returned { .. }));
    let twice = revoke(log.state(), 4);
    assert!(matches!(refused(&log, &[1], 3, twice), ControlError::NotLive { .. }));
}

#[test]
fn a_secret_is_wrapped_to_exactly_the_living_and_the_kit() {
    let log = family();
    let change = |edit: fn(&mut EpochChange)| {
        let mut change = epoch(log.state(), &[]);
        edit(&mut change);
        refused(&log, &[1], 2, ControlBody::RotateEpoch(change))
    };
    assert!(matches!(change(|one| drop(one.wraps.pop())), ControlError::Wraps));
    assert!(matches!(change(|one| one.wraps.push(one.wraps[0].clone())), ControlError::Wraps));
    assert!(matches!(
        change(|one| one.wraps.push(wrap(SealingPublic([1; 32])))),
        ControlError::Wraps
    ));
    assert!(matches!(change(|one| one.wraps[0].bytes = vec![0; 4096]), ControlError::Wraps));
    assert!(matches!(change(|one| one.previous = vec![0; 4096]), ControlError::Wraps));
    assert!(matches!(change(|one| one.n += 1), ControlError::Epoch { found: 2, current: 0 }));
    let ControlBody::RevokeDevice(mut kept) = revoke(log.state(), 4) else { unreachable!() };
    kept.epoch = epoch(log.state(), &[]);
    let error = refused(&log, &[1], 2, ControlBody::RevokeDevice(kept));
    assert!(matches!(error, ControlError::Wraps), "the removed device would have got the secret");
}

#[test]
fn certificates_continue_the_one_before_and_share_no_keys() {
    let log = family();
    let stale = renew(1, 3, ADMIN, 1);
    assert!(matches!(refused(&log, &[1], 1, stale), ControlError::Serial));
    let issued_by_other = add(2, 6, DeviceKind::Desktop, WRITER);
    assert!(matches!(refused(&log, &[1], 1, issued_by_other), ControlError::Issuer));
    let mut stolen = keys(6).to_bytes().to_vec();
    stolen[32..].copy_from_slice(keys(3).sealing_secret());
    let thief = DeviceKeys::from_bytes(&stolen.try_into().unwrap());
    let accepted = Acceptance::of(&thief, kit().root().public(), DeviceKind::Laptop);
    let body = CertificateBody {
        signing: accepted.signing,
        sealing: accepted.sealing,
        kind: DeviceKind::Laptop,
        ..certificate(1, 6, DeviceKind::Laptop, WRITER, 1).body().clone()
    };
    let accepted = accepted.sign(&thief.signing);
    let (by, issuer) = author(1);
    let certificate = DeviceCertificate::issue(body, accepted, by, &issuer).unwrap();
    let wraps = vec![wrap(thief.sealing_public())];
    let body = ControlBody::AddDevice(AddDevice { certificate, wraps });
    assert!(matches!(refused(&log, &[1], 1, body), ControlError::KeysInUse));
}

#[test]
fn somebody_must_be_left_to_administer_unless_the_kit_says_so() {
    let mut log = log();
    put(&mut log, &[1], 0, add(1, 4, DeviceKind::Phone, WRITER));
    let alone = revoke(log.state(), 1);
    assert!(matches!(refused(&log, &[1], 1, alone.clone()), ControlError::LastAdmin));
    assert!(matches!(refused(&log, &[1], 1, renew_first()), ControlError::LastAdmin));
    put(&mut log, &[0], 1, alone);
    assert_eq!(admins(&log).len(), 0);
    put(&mut log, &[0], 1, add(0, 6, DeviceKind::Laptop, ADMIN));
}

fn renew_first() -> ControlBody {
    let certificate = certificate(1, 1, DeviceKind::Laptop, WRITER, 2);
    ControlBody::AddDevice(AddDevice { certificate, wraps: Vec::new() })
}

#[track_caller]
fn voter_rule(log: &ControlLog, numbers: &[u8]) -> VoterRule {
    match refused(log, &[1], 1, voters(1, numbers)) {
        ControlError::Voters { source } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn voters_are_one_three_or_five_steady_devices_that_live_and_may_sequence() {
    let mut log = family();
    for good in [&[1][..], &[4], &[5], &[1, 2, 3], &[1, 2, 5]] {
        put(&mut log.clone(), &[1], 1, voters(2, good));
    }
    assert_eq!(voter_rule(&log, &[]), VoterRule::Count { count: 0 });
    assert_eq!(voter_rule(&log, &[1, 2]), VoterRule::Count { count: 2 });
    assert_eq!(voter_rule(&log, &[1, 2, 3, 4, 5, 6, 7]), VoterRule::Count { count: 7 });
    assert_eq!(voter_rule(&log, &[1, 2, 1]), VoterRule::Repeated);
    assert_eq!(voter_rule(&log, &[9]), VoterRule::NotLive { device: id(9) });
    assert_eq!(voter_rule(&log, &[1, 2, 4]), VoterRule::Sleeps { device: id(4) });
    put(&mut log, &[1], 1, add(1, 6, DeviceKind::Desktop, &[Capability::Reader]));
    assert_eq!(voter_rule(&log, &[6]), VoterRule::NotSequencer { device: id(6) });
    put(&mut log, &[1], 1, add(1, 7, DeviceKind::CloudPeer, SEQUENCER));
    assert_eq!(voter_rule(&log, &[1, 5, 7]), VoterRule::UntrustedMajority);
    let dormant = Dormant { device: id(3), dormant: true };
    put(&mut log, &[1], 1, ControlBody::Dormant(dormant));
    assert_eq!(voter_rule(&log, &[1, 2, 3]), VoterRule::NotLive { device: id(3) });
}

#[test]
fn generations_go_up_one_by_one() {
    let mut log = family();
    let error = |log: &ControlLog, generation| refused(log, &[1], 1, voters(generation, &[2]));
    assert!(matches!(error(&log, 0), ControlError::Generation { found: 0, current: 1 }));
    assert!(matches!(error(&log, u64::MAX), ControlError::Generation { .. }));
    put(&mut log, &[1], 1, voters(2, &[1, 2, 3]));
    put(&mut log, &[1], 1, voters(2, &[1, 2, 5]));
    assert!(matches!(error(&log, 1), ControlError::Generation { found: 1, current: 2 }));
    let ControlBody::Reform(mut same) = reform(log.state(), &[1], &[]) else { unreachable!() };
    same.generation = 2;
    let same = refused(&log, &[1], 1, ControlBody::Reform(same));
    assert!(matches!(same, ControlError::Generation { found: 2, current: 2 }));
}

#[test]
fn a_reform_removes_the_lost_and_begins_a_generation_and_an_epoch() {
    let mut log = family();
    let body = reform(log.state(), &[1], &[4, 5]);
    put(&mut log, &[1], 2, body);
    let state = log.state();
    assert_eq!((state.generation(), state.voters()), (2, &[id(1)][..]));
    assert_eq!(state.base(), Seen { g: 1, i: 5, c: [5; 32] });
    assert!(!state.is_live(&id(4)) && !state.is_live(&id(5)));
    assert_eq!(state.epoch().id.n, 1);
    let leaving = reform(state, &[2], &[2]);
    let error = refused(&log, &[0], 2, leaving);
    assert!(matches!(error, ControlError::Voters { source: VoterRule::NotLive { .. } }));
    let several = refused(&log, &[1], 2, reform(state, &[1, 2, 3], &[]));
    let source = VoterRule::ReformedBySeveral { count: 3 };
    assert_eq!(several.to_string(), ControlError::Voters { source }.to_string());
    let twice = reform(state, &[1], &[3, 3]);
    assert!(matches!(refused(&log, &[1, 2], 2, twice), ControlError::NotLive { .. }));
}

#[test]
fn heads_are_of_the_removed_device_and_sorted() {
    let log = family();
    let with = |last: Vec<LogHead>| {
        let ControlBody::RevokeDevice(mut body) = revoke(log.state(), 4) else { unreachable!() };
        body.last = last;
        refused(&log, &[1], 2, ControlBody::RevokeDevice(body))
    };
    assert!(matches!(with(vec![head_of(3, 1)]), ControlError::Heads));
    assert!(matches!(with(vec![head_of(4, 2), head_of(4, 1)]), ControlError::Heads));
    assert!(matches!(with(vec![head_of(4, 1), head_of(4, 1)]), ControlError::Heads));
}

#[test]
fn dormant_is_a_change_and_a_device_may_wake_itself() {
    let mut log = family();
    let dormant = |device, dormant| ControlBody::Dormant(Dormant { device: id(device), dormant });
    assert!(matches!(refused(&log, &[1], 1, dormant(4, false)), ControlError::Unchanged { .. }));
    assert!(matches!(refused(&log, &[4], 1, dormant(4, true)), ControlError::NotAdmin { .. }));
    put(&mut log, &[1], 1, dormant(4, true));
    assert_eq!(log.state().dormant().collect::<Vec<_>>(), [id(4)]);
    assert!(matches!(refused(&log, &[5], 1, dormant(4, false)), ControlError::NotAdmin { .. }));
    put(&mut log, &[4], 1, dormant(4, false));
    assert_eq!(log.state().dormant().count(), 0);
    assert!(matches!(refused(&log, &[1], 1, dormant(9, true)), ControlError::NotLive { .. }));
}

#[test]
fn the_fold_version_only_rises() {
    let mut log = log();
    let fold = |fold| ControlBody::SetPolicy(Policy { fold });
    assert!(matches!(refused(&log, &[1], 1, fold(None)), ControlError::Policy));
    assert!(matches!(refused(&log, &[1], 1, fold(Some(1))), ControlError::Policy));
    put(&mut log, &[1], 1, fold(Some(2)));
    assert_eq!(log.state().fold(), 2);
}

#[test]
fn another_identity_is_adopted_whole_once_and_not_itself() {
    let mut log = log();
    let body = adopt(&old_identity());
    put(&mut log, &[1], 1, body.clone());
    let (old, adopted) = log.state().adopted().next().unwrap();
    assert_eq!(old, founded(11, 8).identity_id());
    assert_eq!(adopted.state.record(), old_identity().head());
    assert!(adopted.state.device(&id(11)).is_some());
    assert!(matches!(refused(&log, &[1], 1, body), ControlError::Adopt));
    let own = adopt(&world::log());
    assert!(matches!(refused(&log, &[1], 1, own), ControlError::Adopt));
}

#[test]
fn an_adopted_chain_must_hold() {
    let log = log();
    let ControlBody::Adopt(good) = adopt(&old_identity()) else { unreachable!() };
    let refused_with = |edit: fn(&mut Adopt)| {
        let mut bad = good.clone();
        edit(&mut bad);
        refused(&log, &[1], 1, ControlBody::Adopt(bad))
    };
    let error = refused_with(|bad| bad.genesis.truncate(9));
    assert!(matches!(error, ControlError::AdoptGenesis { .. }));
    let error = refused_with(|bad| bad.records.swap(0, 1));
    assert!(matches!(error, ControlError::AdoptChain { .. }), "{error:?}");
    let error = refused_with(|bad| bad.records[0].truncate(9));
    assert!(matches!(error, ControlError::AdoptRecord { .. }));
    let error = refused_with(|bad| bad.heads[0].author = id(9));
    assert!(matches!(error, ControlError::Heads));
}

#[test]
fn adoption_nests_only_so_deep() {
    let mut inner = ControlLog::new(founded(20, 20));
    for number in 21..21 + ADOPT_DEPTH_MAX as u8 {
        let mut outer = ControlLog::new(founded(number, number));
        put(&mut outer, &[number], 1, adopt(&inner));
        inner = outer;
    }
    let mut outermost = log();
    let error = refused(&outermost, &[1], 1, adopt(&inner));
    assert!(matches!(error, ControlError::AdoptChain { .. }), "{error:?}");
    put(&mut outermost, &[1], 1, adopt(&ControlLog::new(founded(20, 20))));
}

/// An identity of device 11 under another kit, with two records.
fn old_identity() -> ControlLog {
    let mut old = ControlLog::new(founded(11, 8));
    for _ in 0..2 {
        let body = rotate(old.state());
        put(&mut old, &[11], 1, body);
    }
    old
}

pub(super) fn adopt(old: &ControlLog) -> ControlBody {
    let first = old.genesis().device().device();
    let records = old.chain_from(1).iter().map(|one| one.to_bytes().into()).collect();
    let mut head = head_of(1, 1);
    head.author = first;
    ControlBody::Adopt(Adopt {
        genesis: old.genesis().to_bytes().into(),
        records,
        heads: vec![head],
        keys: b"old secrets".to_vec().into(),
    })
}

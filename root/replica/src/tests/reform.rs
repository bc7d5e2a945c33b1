//! The quorum is lost for good: a reform goes on without it, everybody follows the same one, and
//! nothing that was acknowledged is lost.

use super::world::World;
use crate::command::{Command, CommandError, RevokeReason};
use crate::{Alarm, Effect};
use rhizome_identity::ControlError;
use rhizome_identity::DeviceKind::{CloudPeer, Laptop, Phone};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const LAPTOP: usize = 0;

/// A laptop and a phone, both admins, and a cloud peer that alone orders; all hold "begin".
pub(super) fn three() -> (World, usize, usize) {
    let mut world = World::new(Laptop);
    let phone = world.link(LAPTOP, Phone);
    let cloud = world.link(LAPTOP, CloudPeer);
    for device in [LAPTOP, phone] {
        world.connect(device, cloud);
    }
    world.plan(LAPTOP);
    world.write(LAPTOP, "notes", b"begin");
    world.settle();
    world.wait_a_day();
    assert!(world.nodes[cloud].replica.status().sequencer);
    assert_eq!(world.effective(phone), ["begin"]);
    (world, phone, cloud)
}

pub(super) fn part(world: &mut World, devices: &[usize]) {
    for (n, a) in devices.iter().enumerate() {
        for b in &devices[n + 1..] {
            world.disconnect(*a, *b);
        }
    }
}

/// Connects everybody until nobody hangs up any more.
pub(super) fn meet(world: &mut World, devices: &[usize]) {
    for _ in 0..6 {
        for (n, a) in devices.iter().enumerate() {
            for b in &devices[n + 1..] {
                if !world.is_connected(*a, *b) {
                    world.connect(*a, *b);
                }
            }
        }
        world.settle();
    }
}

/// That all of them follow one control log and one order, in which exactly these took effect.
#[track_caller]
pub(super) fn agree(world: &World, devices: &[usize], bodies: &[&str]) {
    let first = &world.nodes[devices[0]].replica;
    let (head, applied) = (first.control().committed_head(), first.applied());
    for at in devices {
        let replica = &world.nodes[*at].replica;
        assert_eq!(replica.control().head(), head, "device {at} follows another log");
        assert_eq!(replica.control().committed_head(), head, "device {at} waits for the log");
        assert_eq!(replica.applied(), applied, "device {at} follows another order");
        assert!(replica.all_committed(), "device {at} waits");
        if replica.keys().can_read() {
            let mut found = world.effective(*at);
            found.sort();
            assert_eq!(found, bodies, "device {at}");
        }
    }
    assert_eq!(alarms(world), Vec::<&Alarm>::new());
}

fn alarms(world: &World) -> Vec<&Alarm> {
    let all = world.nodes.iter().flat_map(|node| &node.log);
    all.filter_map(|effect| match effect {
        Effect::Alarm(alarm) => Some(alarm),
        _ => None,
    })
    .collect()
}

fn generation(world: &World, at: usize) -> u64 {
    world.nodes[at].replica.applied().g
}

#[test]
fn without_its_only_voter_nothing_is_confirmed_until_an_admin_reforms() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    world.connect(LAPTOP, phone);
    world.write(phone, "notes", b"waits");
    world.settle();
    assert_eq!(world.effective(LAPTOP), ["begin"]);
    assert_eq!(world.pending_bodies(LAPTOP), ["waits"]);
    let before = generation(&world, LAPTOP);
    world.reform(LAPTOP, LAPTOP, &[cloud]);
    world.settle();
    world.write(phone, "notes", b"yet");
    world.settle();
    agree(&world, &[LAPTOP, phone], &["begin", "waits", "yet"]);
    assert_eq!(generation(&world, phone), before + 1);
    assert!(world.nodes[LAPTOP].replica.status().sequencer);
    let gone = world.nodes[cloud].replica.device();
    assert!(!world.nodes[phone].replica.control().state().is_live(&gone));
}

#[test]
fn a_device_that_doubts_its_disk_orders_what_its_own_reform_begins() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    world.reopen_in_doubt(LAPTOP, &[]);
    world.connect(LAPTOP, phone);
    let lost = world.nodes[cloud].replica.device();
    assert_eq!(world.nodes[LAPTOP].replica.doubted(), BTreeSet::from([lost]));
    // The lost one is not removed: it may come back, and it is never met meanwhile.
    world.reform(LAPTOP, LAPTOP, &[]);
    world.write(phone, "notes", b"on");
    world.settle();
    agree(&world, &[LAPTOP, phone], &["begin", "on"]);
    world.reopen(LAPTOP, true);
    world.write(LAPTOP, "notes", b"still");
    assert_eq!(world.effective(LAPTOP), ["begin", "on", "still"]);
    assert!(world.nodes[LAPTOP].replica.doubted().contains(&lost));
}

#[test]
fn a_generation_may_begin_and_go_on_in_one_batch() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    world.connect(LAPTOP, phone);
    world.stall(LAPTOP, phone);
    world.reform(LAPTOP, LAPTOP, &[cloud]);
    world.write(LAPTOP, "notes", b"new");
    world.settle();
    world.go_on(LAPTOP, phone);
    agree(&world, &[LAPTOP, phone], &["begin", "new"]);
}

#[test]
fn whoever_had_gone_further_than_the_base_goes_back_and_loses_nothing() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, cloud]);
    world.write(phone, "notes", b"far one");
    world.write(phone, "tasks", b"far two");
    world.settle();
    world.write(LAPTOP, "notes", b"apart");
    part(&mut world, &[phone, cloud]);
    assert_eq!(world.effective(phone), ["begin", "far one", "far two"]);
    let ahead = world.nodes[phone].replica.applied();
    world.reform(LAPTOP, LAPTOP, &[]);
    assert!(world.nodes[LAPTOP].replica.applied().i < ahead.i + 3);
    meet(&mut world, &[LAPTOP, phone]);
    agree(&world, &[LAPTOP, phone], &["apart", "begin", "far one", "far two"]);
    // The voter that was thought lost comes back: it had gone on, too, and follows now.
    meet(&mut world, &[LAPTOP, phone, cloud]);
    world.write(phone, "notes", b"late");
    world.settle();
    agree(&world, &[LAPTOP, phone, cloud], &["apart", "begin", "far one", "far two", "late"]);
    assert!(!world.nodes[cloud].replica.status().sequencer);
}

#[test]
fn what_the_old_voter_places_behind_the_base_is_not_taken_and_it_is_shown_why() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    world.reform(LAPTOP, LAPTOP, &[]);
    world.connect(LAPTOP, phone);
    let head = world.nodes[phone].replica.applied();
    assert_eq!(head.g, generation(&world, LAPTOP));
    // The old voter goes on in its generation, alone with a device that knows no better.
    let tablet = world.link(phone, Phone);
    world.connect(tablet, cloud);
    world.write(tablet, "notes", b"by the tablet");
    world.settle();
    meet(&mut world, &[LAPTOP, phone, tablet, cloud]);
    agree(&world, &[LAPTOP, phone, tablet, cloud], &["begin", "by the tablet"]);
}

#[test]
fn records_that_were_confirmed_behind_the_base_are_said_again() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, cloud]);
    let tablet = world.link(phone, Phone);
    world.connect(tablet, cloud);
    world.write(tablet, "notes", b"by the tablet");
    world.settle();
    let device = world.nodes[tablet].replica.device();
    assert!(world.nodes[cloud].replica.control().committed_state().is_live(&device));
    part(&mut world, &[phone, tablet, cloud]);
    world.reform(LAPTOP, LAPTOP, &[cloud]);
    world.write(LAPTOP, "notes", b"after");
    assert!(!world.nodes[LAPTOP].replica.control().state().is_live(&device));
    meet(&mut world, &[LAPTOP, phone, tablet]);
    agree(&world, &[LAPTOP, phone, tablet], &["after", "begin", "by the tablet"]);
    assert!(world.nodes[LAPTOP].replica.control().committed_state().is_live(&device));
}

#[test]
fn of_two_reforms_at_once_one_wins_everywhere() {
    for removed in [true, false] {
        let (mut world, phone, cloud) = three();
        let tablet = world.link(LAPTOP, Phone);
        meet(&mut world, &[LAPTOP, phone, tablet, cloud]);
        world.write(phone, "notes", b"far");
        world.settle();
        part(&mut world, &[LAPTOP, phone, tablet, cloud]);
        let gone = if removed { vec![cloud] } else { Vec::new() };
        world.reform(LAPTOP, LAPTOP, &gone);
        world.write(LAPTOP, "notes", b"by the laptop");
        world.reform(phone, phone, &[]);
        world.write(phone, "notes", b"by the phone");
        world.connect(phone, tablet);
        world.write(tablet, "notes", b"by the tablet");
        world.settle();
        assert_eq!(world.nodes[tablet].replica.applied(), world.nodes[phone].replica.applied());
        meet(&mut world, &[LAPTOP, tablet]);
        meet(&mut world, &[LAPTOP, phone, tablet]);
        let all = ["begin", "by the laptop", "by the phone", "by the tablet", "far"];
        agree(&world, &[LAPTOP, phone, tablet], &all);
        if removed {
            assert!(world.nodes[LAPTOP].replica.status().sequencer, "it removed more");
        }
        for at in [LAPTOP, phone, tablet] {
            world.reopen(at, false);
            world.step(at, crate::Input::Opened);
        }
        agree(&world, &[LAPTOP, phone, tablet], &all);
    }
}

#[test]
fn a_voter_that_both_reforms_name_signs_no_place_twice() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    world.reform(LAPTOP, LAPTOP, &[]);
    for body in [b"one", b"two", b"six"] {
        world.write(LAPTOP, "notes", body);
    }
    world.reform(phone, LAPTOP, &[cloud]);
    meet(&mut world, &[LAPTOP, phone]);
    world.write(phone, "notes", b"ten");
    world.settle();
    agree(&world, &[LAPTOP, phone], &["begin", "one", "six", "ten", "two"]);
    let mut signed = BTreeMap::new();
    for certificate in world.certificates(LAPTOP) {
        let seen = certificate.seen;
        let known = *signed.entry((seen.g, seen.i)).or_insert(seen.c);
        assert_eq!(known, seen.c, "{:?} was signed twice", (seen.g, seen.i));
    }
}

#[test]
fn what_was_ordered_before_keeps_its_order_where_its_bytes_are() {
    let (mut world, phone, cloud) = three();
    // The cloud peer orders the tasks first, although the log of notes comes before.
    let (first, second) = (["tasks", "notes"], ["notes", "tasks"]);
    for apps in [first, second] {
        part(&mut world, &[LAPTOP, cloud]);
        let before = world.effective(phone).len();
        for app in apps {
            world.write(phone, app, app.as_bytes());
            world.settle();
        }
        assert_eq!(world.effective(phone)[before..], apps);
        part(&mut world, &[phone, cloud]);
        // The laptop names the phone, which knows more than the reform does.
        world.reform(LAPTOP, phone, &[]);
        meet(&mut world, &[LAPTOP, phone]);
        assert_eq!(world.effective(phone)[before..], apps);
        assert_eq!(world.effective(LAPTOP), world.effective(phone));
        // The cloud peer votes again, for the next round.
        meet(&mut world, &[LAPTOP, phone, cloud]);
        world.plan(LAPTOP);
        world.settle();
        assert!(world.nodes[cloud].replica.status().sequencer);
    }
}

#[test]
fn a_device_that_the_reform_removes_is_heard_up_to_what_was_known_of_it() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, cloud]);
    world.write(phone, "notes", b"ordered, and unknown to the reform");
    world.settle();
    part(&mut world, &[phone, cloud]);
    world.reform(LAPTOP, LAPTOP, &[phone]);
    // The phone reached the cloud peer, which brings what it wrote.
    meet(&mut world, &[LAPTOP, cloud]);
    meet(&mut world, &[LAPTOP, phone]);
    agree_but_for(&world, &[LAPTOP, cloud], &["begin"]);
    let device = world.nodes[phone].replica.device();
    let logs = world.nodes[LAPTOP].replica.status().logs;
    let aside: u64 = logs.iter().filter(|log| log.log.author == device).map(|log| log.aside).sum();
    assert_eq!(aside, 1, "it is kept, and does not count");
}

#[track_caller]
fn agree_but_for(world: &World, devices: &[usize], bodies: &[&str]) {
    let applied = world.nodes[devices[0]].replica.applied();
    for at in devices {
        assert_eq!(world.nodes[*at].replica.applied(), applied);
        assert!(!world.nodes[*at].replica.keys().can_read() || world.effective(*at) == bodies);
    }
}

#[test]
fn who_was_let_in_today_may_not_reform_and_who_is_no_admin_cannot() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    let tablet = world.link(LAPTOP, Phone);
    assert_eq!(world.may_reform(tablet, tablet), Err(CommandError::NoAdmin));
    assert_eq!(world.may_reform(phone, phone), Ok(()));
    let mut young = World::new(Laptop);
    let phone = young.link(LAPTOP, Phone);
    let refused = young.may_reform(phone, phone).unwrap_err();
    let CommandError::Control { source } = refused else { panic!("{refused}") };
    assert!(matches!(*source, ControlError::Newcomer { .. }), "{source}");
}

#[test]
fn the_kit_reforms_where_no_admin_is_left_and_nothing_outweighs_it() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    // The thief of the laptop reforms, and removes the phone.
    world.reform(LAPTOP, LAPTOP, &[phone, cloud]);
    world.write(LAPTOP, "notes", b"stolen");
    world.reform_by_kit(phone, phone, &[LAPTOP]);
    world.write(phone, "notes", b"mine");
    world.settle();
    assert_eq!(world.effective(phone), ["begin", "mine"]);
    meet(&mut world, &[phone, cloud]);
    meet(&mut world, &[LAPTOP, cloud]);
    meet(&mut world, &[LAPTOP, phone]);
    assert_eq!(world.effective(phone), ["begin", "mine"]);
    let device = world.nodes[LAPTOP].replica.device();
    for at in [phone, cloud] {
        assert!(!world.nodes[at].replica.control().committed_state().is_live(&device), "{at}");
    }
    assert_eq!(world.nodes[phone].replica.applied(), world.nodes[cloud].replica.applied());
}

#[test]
fn a_removed_device_does_not_come_back_by_a_reform() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[phone, cloud]);
    let device = world.nodes[phone].replica.device();
    world.command(LAPTOP, Command::Revoke { device, reason: RevokeReason::Lost });
    world.write(LAPTOP, "notes", b"after");
    world.settle();
    world.reform(phone, phone, &[LAPTOP]);
    world.write(phone, "notes", b"stolen");
    for other in [LAPTOP, cloud] {
        meet(&mut world, &[phone, other]);
    }
    meet(&mut world, &[LAPTOP, cloud]);
    agree(&world, &[LAPTOP, cloud], &["after", "begin"]);
    assert!(world.nodes[cloud].replica.status().sequencer);
}

#[test]
fn a_reform_that_forgets_what_lies_before_its_base_is_refused() {
    let (mut world, phone, cloud) = three();
    // A copy of the laptop from before the tablet was let in signs for an order behind it.
    let old = world.nodes[LAPTOP].replica.control().clone();
    world.link(LAPTOP, Phone);
    world.settle();
    let end = world.nodes[LAPTOP].replica.applied();
    let forged = world.forge_reform(LAPTOP, &old, end);
    let before = world.nodes[phone].replica.applied();
    world.step(phone, crate::Input::Command(crate::Ticket(3), Command::Take(Box::new(forged))));
    meet(&mut world, &[phone, cloud]);
    assert_eq!(world.nodes[phone].replica.applied(), before);
    assert!(!world.nodes[phone].replica.rewinds());
}

//! Devices that are removed: what of theirs counts, what they are told, and who may remove them.

use super::world::World;
use crate::command::{Command, CommandError, RevokeReason};
use rhizome_identity::ControlError;
use rhizome_identity::DeviceKind::{CloudPeer, Laptop, Phone};

const LAPTOP: usize = 0;

/// A laptop, two phones and a cloud peer that orders; all hold "begin".
fn four() -> (World, usize, usize, usize) {
    let mut world = World::new(Laptop);
    let (phone, lost) = (world.link(LAPTOP, Phone), world.link(LAPTOP, Phone));
    let cloud = world.link(LAPTOP, CloudPeer);
    for device in [LAPTOP, phone, lost] {
        world.connect(device, cloud);
    }
    world.plan(LAPTOP);
    world.write(lost, "notes", b"begin");
    world.settle();
    assert!(world.nodes[cloud].replica.status().sequencer);
    for device in [LAPTOP, phone, lost] {
        assert_eq!(world.effective(device), ["begin"]);
    }
    (world, phone, lost, cloud)
}

fn remove(world: &mut World, by: usize, gone: usize) {
    let device = world.nodes[gone].replica.device();
    world.command(by, Command::Revoke { device, reason: RevokeReason::Lost });
}

/// Whether everything here has its place and took effect, as far as it counts.
fn is_settled(world: &World, at: usize) -> bool {
    world.nodes[at].replica.is_settled()
}

fn aside(world: &World, at: usize) -> u64 {
    world.nodes[at].replica.status().logs.iter().map(|log| log.aside).sum()
}

#[test]
fn what_had_its_place_before_the_removal_counts_though_the_removal_did_not_know_it() {
    let (mut world, phone, lost, cloud) = four();
    world.disconnect(LAPTOP, cloud);
    world.write(lost, "notes", b"late");
    world.settle();
    world.disconnect(lost, cloud);
    remove(&mut world, LAPTOP, lost);
    world.write(LAPTOP, "notes", b"after");
    world.connect(LAPTOP, cloud);
    assert_eq!(world.effective(LAPTOP), ["begin", "late", "after"]);
    assert_eq!(world.effective(phone), world.effective(LAPTOP));
    for device in [LAPTOP, phone] {
        assert!(is_settled(&world, device));
        assert_eq!((aside(&world, device), world.pending(device)), (0, 0));
    }
}

#[test]
fn what_turns_up_later_is_set_aside_and_what_honest_devices_built_on_counts() {
    let (mut world, phone, lost, cloud) = four();
    let far = world.link(LAPTOP, Phone);
    // Two of them meet without the others, and one builds on what the other wrote.
    world.disconnect(phone, cloud);
    world.disconnect(lost, cloud);
    world.connect(phone, lost);
    world.write(lost, "notes", b"shown to the phone");
    world.settle();
    world.write(phone, "notes", b"built on it");
    world.settle();
    world.write(lost, "notes", b"built on by nobody");
    world.settle();
    assert_eq!(world.pending(phone), 3);
    world.disconnect(phone, lost);

    remove(&mut world, LAPTOP, lost);
    world.write(LAPTOP, "notes", b"after");
    world.settle();
    assert_eq!(world.effective(LAPTOP), ["begin", "after"]);
    world.connect(phone, cloud);
    world.write(phone, "notes", b"goes on");
    world.settle();
    let all = ["begin", "after", "shown to the phone", "built on it", "goes on"];
    for device in [LAPTOP, phone] {
        let mut effective = world.effective(device);
        assert_eq!(effective.pop().unwrap(), "goes on", "device {device}");
        effective.sort();
        let mut wanted = all[..4].to_vec();
        wanted.sort_unstable();
        assert_eq!(effective, wanted, "device {device}");
        assert_eq!(world.pending_bodies(device), [""; 0], "device {device}");
        assert_eq!(aside(&world, device), 1, "it is kept");
        assert!(is_settled(&world, device), "device {device}");
    }
    assert_eq!(world.effective(LAPTOP), world.effective(phone), "in one order");

    // Nothing of that depends on how a replica came to it.
    for keep_rows in [true, false] {
        let rows = world.rows(phone);
        world.reopen(phone, keep_rows);
        assert_eq!(world.rows(phone), rows, "rows are a function of the blocks");
        assert_eq!(world.effective(phone), world.effective(LAPTOP));
        assert_eq!(world.pending(phone), 0);
    }
    world.connect(phone, cloud);
    world.write(phone, "notes", b"and on");
    world.settle();
    assert_eq!(world.effective(LAPTOP).last().unwrap(), "and on");
    assert_eq!(aside(&world, LAPTOP), 1, "a new write does not build on what is set aside");

    // Somebody who has not heard yet brings more of it.
    world.connect(far, lost);
    world.write(lost, "notes", b"later still");
    world.settle();
    world.disconnect(far, lost);
    world.connect(far, cloud);
    for device in [LAPTOP, phone, far] {
        assert_eq!((aside(&world, device), world.pending(device)), (2, 0), "device {device}");
        assert_eq!(world.effective(device), world.effective(LAPTOP));
    }
}

#[test]
fn a_device_that_begins_at_a_checkpoint_fetches_what_was_set_aside_and_may_have_to_count_it() {
    let (mut world, phone, lost, cloud) = four();
    let other = world.link(LAPTOP, Phone);
    for device in [phone, lost] {
        world.disconnect(device, cloud);
    }
    world.connect(phone, lost);
    world.connect(other, lost);
    world.write(lost, "notes", b"seen by two");
    world.settle();
    for device in [phone, other] {
        world.disconnect(device, lost);
    }
    world.write(other, "notes", b"built on it");
    remove(&mut world, LAPTOP, lost);
    world.connect(phone, cloud);
    assert_eq!(aside(&world, LAPTOP), 1);
    let base = world.base(LAPTOP);
    let late = world.link_by_kit(cloud, Laptop);
    world.begin(late, base);
    world.connect(late, cloud);
    assert!(is_settled(&world, late));
    assert_eq!((aside(&world, late), world.pending(late)), (1, 0));
    world.connect(other, cloud);
    assert_eq!(world.effective(late), ["seen by two", "built on it"]);
    assert_eq!(world.effective(LAPTOP), ["begin", "seen by two", "built on it"]);
}

#[test]
fn what_was_set_aside_is_shown_again_when_an_honest_device_turns_up_that_built_on_it() {
    let (mut world, phone, lost, cloud) = four();
    // Of the laptop's two friends, one has the event, the other what was built on it.
    let other = world.link(LAPTOP, Phone);
    world.connect(other, cloud);
    for device in [phone, lost, other] {
        world.disconnect(device, cloud);
    }
    world.connect(other, lost);
    world.write(lost, "notes", b"seen by two");
    world.settle();
    world.connect(phone, other);
    world.disconnect(phone, other);
    world.disconnect(other, lost);
    world.write(other, "notes", b"built on it");
    remove(&mut world, LAPTOP, lost);
    world.settle();
    // The phone has the event only: it is set aside, here and at the laptop.
    assert_eq!(world.pending_bodies(phone), ["seen by two"]);
    world.connect(phone, cloud);
    assert_eq!(world.pending_bodies(phone), [""; 0]);
    assert_eq!((aside(&world, phone), aside(&world, LAPTOP)), (1, 1));
    // Then the other one comes back.
    world.connect(other, cloud);
    for device in [LAPTOP, phone, other] {
        assert_eq!(world.effective(device), ["begin", "seen by two", "built on it"]);
        assert_eq!((aside(&world, device), world.pending(device)), (0, 0), "device {device}");
        assert!(is_settled(&world, device));
    }
}

#[test]
fn a_removed_device_is_shown_the_record_and_stops_by_itself() {
    let (mut world, phone, lost, cloud) = four();
    world.disconnect(lost, cloud);
    remove(&mut world, LAPTOP, lost);
    world.write(LAPTOP, "notes", b"secret");
    world.settle();
    let me = world.nodes[lost].replica.device();
    assert!(world.nodes[lost].replica.control().state().is_live(&me), "it has not heard");
    for by in [cloud, phone, LAPTOP] {
        world.connect(lost, by);
        assert!(!world.is_connected(lost, by), "device {by} does not talk to it");
    }
    let control = world.nodes[lost].replica.control();
    assert!(!control.state().is_live(&me), "it has seen the record");
    assert_eq!(control.head(), world.nodes[LAPTOP].replica.control().head(), "and nothing newer");
    assert!(!world.effective(lost).contains(&"secret".to_owned()));
    assert_eq!(world.refused_write(lost), CommandError::Removed.to_string());
}

#[test]
fn a_connected_device_is_told_as_it_is_removed_and_what_it_says_then_is_not_heard() {
    let (mut world, _, lost, cloud) = four();
    world.connect(LAPTOP, lost);
    remove(&mut world, LAPTOP, lost);
    world.settle();
    let me = world.nodes[lost].replica.device();
    assert!(!world.nodes[lost].replica.control().state().is_live(&me));
    assert!(!world.is_connected(lost, LAPTOP) && !world.is_connected(lost, cloud));
}

#[test]
fn the_kit_removes_an_admin_device_where_one_signature_is_too_few() {
    let mut world = World::new(Laptop);
    let phone = world.link(LAPTOP, Phone);
    let cloud = world.link(LAPTOP, CloudPeer);
    world.connect(LAPTOP, cloud);
    world.connect(phone, cloud);
    world.plan(LAPTOP);
    world.write(LAPTOP, "notes", b"before");
    world.settle();
    world.disconnect(LAPTOP, cloud);
    let found = world.link_by_kit(cloud, Laptop);
    world.connect(found, cloud);
    assert_eq!(world.effective(found), ["before"]);
    let state = world.nodes[found].replica.control().state();
    assert_eq!(state.admins().count(), 3);
    let epoch = state.epoch().id.n;

    let refused = world.may_remove(found, LAPTOP).unwrap_err();
    let CommandError::Control { source } = &refused else { panic!("{refused}") };
    let needed = ControlError::SignaturesNeeded { needed: 2, found: 1 };
    assert_eq!(source.to_string(), needed.to_string());
    world.remove_by_kit(found, LAPTOP);
    world.settle();
    for at in [found, phone, cloud] {
        let state = world.nodes[at].replica.control().committed_state();
        let gone = state.device(&world.nodes[LAPTOP].replica.device()).unwrap();
        assert!(!gone.is_live(), "device {at}");
        assert_eq!(state.epoch().id.n, epoch + 1, "the keys are others");
    }
    world.write(found, "notes", b"under new keys");
    world.settle();
    assert_eq!(world.effective(phone), ["before", "under new keys"]);
    assert!(world.may_remove(found, phone).is_ok(), "of two admins each may remove the other");
}

#[test]
fn the_kit_of_another_identity_removes_nobody() {
    let mut world = World::new(Laptop);
    let phone = world.link(LAPTOP, Phone);
    let other = World::new(Phone);
    let refused = other.try_kit_on(&world.nodes[LAPTOP], &world.nodes[phone]);
    assert!(matches!(refused, CommandError::OtherKit), "{refused}");
}

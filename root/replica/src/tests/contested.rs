//! Two admins decide while they do not hear each other: one branch of the control log wins, and
//! what the other one decided holds all the same.

use super::world::World;
use crate::command::{Command, RevokeReason};
use rhizome_identity::ControlBody;
use rhizome_identity::DeviceKind::{CloudPeer, Laptop, Phone};

const LAPTOP: usize = 0;

/// A laptop that orders and a phone that administers, too; both hold "begin".
fn two() -> (World, usize) {
    let mut world = World::new(Laptop);
    let phone = world.link(LAPTOP, Phone);
    world.connect(LAPTOP, phone);
    world.write(LAPTOP, "notes", b"begin");
    world.settle();
    world.wait_a_day();
    (world, phone)
}

fn remove(world: &mut World, by: usize, gone: usize) {
    let device = world.nodes[gone].replica.device();
    world.command(by, Command::Revoke { device, reason: RevokeReason::Lost });
}

fn belongs(world: &World, at: usize, device: usize) -> bool {
    let id = world.nodes[device].replica.device();
    world.nodes[at].replica.control().committed_state().is_live(&id)
}

fn sorted(mut bodies: Vec<String>) -> Vec<String> {
    bodies.sort();
    bodies
}

/// Connects everybody, again where a stranger was turned away before somebody told of it.
fn meet(world: &mut World, devices: &[usize]) {
    for _ in 0..3 {
        for (n, a) in devices.iter().enumerate() {
            for b in &devices[n + 1..] {
                if !world.is_connected(*a, *b) {
                    world.connect(*a, *b);
                }
            }
        }
    }
}

/// That all of them follow one control log and one order, and hold exactly these.
fn agree(world: &World, devices: &[usize], bodies: &[&str]) {
    let head = world.nodes[devices[0]].replica.control().committed_head();
    for at in devices {
        let replica = &world.nodes[*at].replica;
        assert_eq!(replica.control().committed_head(), head, "device {at} follows another log");
        assert!(replica.all_committed(), "device {at} waits");
        assert_eq!(sorted(world.effective(*at)), bodies, "device {at}");
    }
}

#[test]
fn devices_that_two_admins_let_in_at_once_all_belong() {
    let (mut world, phone) = two();
    world.disconnect(LAPTOP, phone);
    let tablet = world.link(LAPTOP, Phone);
    let reader = world.link(phone, Phone);
    world.connect(LAPTOP, tablet);
    world.connect(phone, reader);
    world.write(tablet, "notes", b"by the tablet");
    world.write(reader, "notes", b"by the reader");
    world.settle();
    // The laptop orders alone, so the phone's branch loses, and the reader is let in again.
    assert!(belongs(&world, LAPTOP, tablet) && !belongs(&world, LAPTOP, reader));
    let all = [LAPTOP, phone, tablet, reader];
    meet(&mut world, &all);
    for at in all {
        assert!(all.iter().all(|device| belongs(&world, at, *device)), "device {at}");
    }
    agree(&world, &all, &["begin", "by the reader", "by the tablet"]);
    let name = |at: usize| {
        let replica = &world.nodes[at].replica;
        let state = replica.control().state();
        let reader = state.device(&world.nodes[reader].replica.device()).unwrap();
        replica.keys().open_name(&reader.certificate.body().name_sealed)
    };
    assert_eq!(name(tablet).as_deref(), Some("Phone"));
}

#[test]
fn an_admission_that_lost_is_repeated_though_the_device_was_off_meanwhile() {
    for keep_rows in [true, false] {
        let (mut world, phone) = two();
        world.disconnect(LAPTOP, phone);
        let tablet = world.link(LAPTOP, Phone);
        let reader = world.link(phone, Phone);
        world.reopen(phone, keep_rows);
        world.step(phone, crate::Input::Opened);
        let all = [LAPTOP, phone, tablet, reader];
        meet(&mut world, &all);
        for at in all {
            assert!(all.iter().all(|device| belongs(&world, at, *device)), "device {at}");
        }
    }
}

#[test]
fn what_was_written_under_keys_that_lost_is_read_by_all_and_by_those_who_come_later() {
    let (mut world, phone) = two();
    let (one, other) = (world.link(LAPTOP, Phone), world.link(LAPTOP, Phone));
    meet(&mut world, &[LAPTOP, phone, one, other]);
    world.disconnect(LAPTOP, phone);
    world.disconnect(LAPTOP, one);
    world.disconnect(LAPTOP, other);
    world.disconnect(phone, one);
    world.disconnect(phone, other);
    remove(&mut world, LAPTOP, one);
    remove(&mut world, phone, other);
    world.write(LAPTOP, "notes", b"by the laptop");
    world.write(phone, "notes", b"by the phone");
    world.settle();
    meet(&mut world, &[LAPTOP, phone]);
    agree(&world, &[LAPTOP, phone], &["begin", "by the laptop", "by the phone"]);
    for at in [LAPTOP, phone] {
        assert!(!belongs(&world, at, one) && !belongs(&world, at, other), "device {at}");
    }
    let late = world.link(LAPTOP, Phone);
    let cloud = world.link(LAPTOP, CloudPeer);
    meet(&mut world, &[LAPTOP, phone, late, cloud]);
    agree(&world, &[LAPTOP, phone, late], &["begin", "by the laptop", "by the phone"]);
    // The phone said it once, and not again after it was off.
    let count = |world: &World| {
        let chain = world.nodes[LAPTOP].replica.control().chain_from(1);
        let removals =
            chain.iter().filter(|one| matches!(one.body(), ControlBody::RevokeDevice(_)));
        (chain.len(), removals.count())
    };
    let before = count(&world);
    assert_eq!(before.1, 2);
    world.reopen(phone, false);
    world.step(phone, crate::Input::Opened);
    meet(&mut world, &[LAPTOP, phone]);
    assert_eq!(count(&world), before);
}

//! Trusted devices say what the state is: a majority seals a place, and two stories are heard.

use super::reform::{LAPTOP, three};
use super::world::World;
use crate::command::Command;
use crate::{Alarm, Effect, Input, SealStatus};
use rhizome_identity::DeviceId;
use std::collections::BTreeSet;

/// Derives what replicas ask for, as the engine does, until none asks.
fn derive(world: &mut World, lies: Option<usize>) {
    let asked = |world: &World| {
        let asks = |at: &usize| world.nodes[*at].replica.seal_asked().is_some();
        (0..world.nodes.len()).find(asks)
    };
    while let Some(at) = asked(world) {
        let seen = world.nodes[at].replica.seal_asked().unwrap();
        let told = world.effective(at).join(",");
        let state = rhizome_seal::keyed_hash(&[0; 32], "state", told.as_bytes());
        let state = if lies == Some(at) { [0xee; 32] } else { state };
        world.step(at, Input::Seal(seen, state));
        world.step(at, Input::Flush);
        world.settle();
    }
}

fn status(world: &World, at: usize) -> SealStatus {
    world.nodes[at].replica.seal_status()
}

fn id(world: &World, at: usize) -> DeviceId {
    world.nodes[at].replica.device()
}

fn alarms(world: &World, at: usize) -> Vec<&Alarm> {
    let told = world.nodes[at].log.iter();
    told.filter_map(|one| if let Effect::Alarm(alarm) = one { Some(alarm) } else { None }).collect()
}

#[test]
fn a_place_is_sealed_once_most_trusted_devices_came_to_one_state() {
    let (mut world, phone, cloud) = three();
    world.disconnect(phone, cloud);
    world.command(LAPTOP, Command::Seal);
    derive(&mut world, None);
    let at = world.nodes[LAPTOP].replica.applied();
    let alone = status(&world, LAPTOP);
    assert_eq!((alone.sealed, alone.newest), (None, Some(at)), "one of two is no majority");
    assert_eq!(alone.missing, BTreeSet::from([id(&world, phone)]));
    world.connect(phone, cloud);
    derive(&mut world, None);
    for device in [LAPTOP, phone, cloud] {
        let sealed = status(&world, device);
        assert_eq!(sealed.sealed.map(|(seen, _)| seen), Some(at), "device {device}");
        assert_eq!(sealed.missing, BTreeSet::new());
        assert!(alarms(&world, device).is_empty());
    }
}

#[test]
fn a_device_that_is_away_for_long_is_not_waited_for_and_comes_back_by_itself() {
    let (mut world, phone, cloud) = three();
    world.disconnect(phone, cloud);
    let device = id(&world, phone);
    world.command(LAPTOP, Command::Dormant { device, dormant: true });
    world.command(LAPTOP, Command::Seal);
    derive(&mut world, None);
    assert!(status(&world, LAPTOP).sealed.is_some(), "{:?}", status(&world, LAPTOP));
    world.connect(phone, cloud);
    world.settle();
    world.command(phone, Command::Dormant { device, dormant: false });
    world.settle();
    assert_eq!(world.nodes[LAPTOP].replica.control().state().dormant().count(), 0);
    // What was sealed without it stays so only as far as most of those who count now say so.
    assert_eq!(status(&world, LAPTOP).sealed, None);
    world.command(phone, Command::Seal);
    derive(&mut world, None);
    assert!(status(&world, cloud).sealed.is_some());
}

#[test]
fn two_states_at_one_place_are_an_alarm_that_names_both() {
    let (mut world, phone, cloud) = three();
    world.command(LAPTOP, Command::Seal);
    derive(&mut world, Some(phone));
    for device in [LAPTOP, phone, cloud] {
        let told = alarms(&world, device);
        let pair = BTreeSet::from([id(&world, LAPTOP), id(&world, phone)]);
        let [Alarm::SealsDiffer { one, other, .. }] = told[..] else {
            panic!("device {device}: {told:?}");
        };
        assert_eq!(BTreeSet::from([*one, *other]), pair);
        assert_eq!(status(&world, device).sealed, None, "nothing is sealed on two words");
    }
}

#[test]
fn what_waits_for_its_place_is_not_sealed_and_a_stored_seal_is_known_again() {
    let (mut world, phone, cloud) = three();
    world.disconnect(LAPTOP, cloud);
    world.write(LAPTOP, "notes", b"two");
    world.command(LAPTOP, Command::Seal);
    derive(&mut world, None);
    assert_eq!(status(&world, LAPTOP).newest, None);
    world.connect(LAPTOP, cloud);
    world.settle();
    derive(&mut world, None);
    let sealed = status(&world, LAPTOP);
    assert!(sealed.sealed.is_some());
    for (at, keep_rows) in [(LAPTOP, true), (phone, false), (cloud, false)] {
        world.reopen(at, keep_rows);
        assert_eq!(status(&world, at).sealed, sealed.sealed, "device {at}");
    }
}

#[test]
fn only_the_newest_seals_of_a_device_are_kept() {
    let (mut world, _, cloud) = three();
    for n in 0..18u8 {
        world.write(LAPTOP, "notes", &[b'a' + n]);
        world.settle();
        world.command(LAPTOP, Command::Seal);
        derive(&mut world, None);
    }
    let rows = world.rows(cloud);
    let seals = rows.iter().filter(|(key, _)| key[0] == crate::space::SEAL).count();
    assert_eq!(seals, 2 * 16, "sixteen of each of two devices");
    let newest = world.nodes[LAPTOP].replica.applied();
    assert_eq!(status(&world, cloud).sealed.unwrap().0, newest);
}

#[test]
fn bytes_that_are_no_seal_end_the_link_and_a_stranger_has_no_say() {
    let (mut world, phone, cloud) = three();
    let at = world.nodes[LAPTOP].replica.applied();
    let stranger = rhizome_identity::SigningKeys::from_secret([9; 32]);
    let block = crate::Seal::sign(&stranger, at, [1; 32]);
    let seals = vec![serde_bytes::ByteBuf::from(block.bytes.clone())];
    let from = id(&world, phone);
    world.step(cloud, Input::PeerSaid(from, crate::Message::Seals { seals }));
    world.step(cloud, Input::Flush);
    assert_eq!(status(&world, cloud).newest, None);
    assert!(world.is_connected(phone, cloud));
    let mut broken = block.bytes;
    *broken.last_mut().unwrap() ^= 1;
    let seals = vec![serde_bytes::ByteBuf::from(broken)];
    world.step(cloud, Input::PeerSaid(from, crate::Message::Seals { seals }));
    let closed = |effect: &Effect| matches!(effect, Effect::Close(device, _) if *device == from);
    assert!(world.nodes[cloud].log.iter().any(closed));
}

//! What a replica is follows from its blocks alone: a fold of them goes where it went when it ran,
//! also where reforms made what was ordered void. And what reforms cost is bounded.

use super::reform::{LAPTOP, agree, meet, part, three};
use super::world::World;
use crate::command::Command;
use crate::rows::{EventRow, parse, space};
use crate::{Input, Message};
use rhizome_block::{Cid, Codec};
use rhizome_identity::DeviceKind::{Laptop, Phone};
use rhizome_identity::{Author, ControlBody, ControlRecord};
use rhizome_log::Clock;
use serde_bytes::ByteBuf;

/// Folds the blocks of a node into an empty index, which must give the same rows.
#[track_caller]
fn folds_to_the_same(world: &mut World, at: usize) {
    let told = |rows: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<(Vec<u8>, Vec<u8>)> {
        let by_peers = [space::KEPT, space::MARK];
        rows.into_iter().filter(|(key, _)| !by_peers.contains(&key[0])).collect()
    };
    let before = (told(world.rows(at)), world.nodes[at].replica.applied());
    world.reopen(at, false);
    let after = (told(world.rows(at)), world.nodes[at].replica.applied());
    assert!(before == after, "a fold of node {at} gives something else");
}

#[test]
fn what_one_reform_made_void_and_a_stronger_one_did_not_is_folded_as_it_was() {
    let (mut world, phone, cloud) = three();
    let tablet = world.link(LAPTOP, Phone);
    meet(&mut world, &[LAPTOP, phone, tablet, cloud]);
    part(&mut world, &[LAPTOP, phone, tablet, cloud]);
    meet(&mut world, &[phone, tablet, cloud]);
    world.write(phone, "notes", b"far");
    world.settle();
    assert_eq!(world.effective(tablet), ["begin", "far"]);
    part(&mut world, &[phone, tablet, cloud]);
    // The phone goes on from the far end, the laptop from before it, the kit from the far end.
    world.reform(phone, phone, &[]);
    world.write(phone, "notes", b"by the phone");
    world.reform(LAPTOP, LAPTOP, &[cloud]);
    world.reform_by_kit(tablet, tablet, &[cloud]);
    let far = world.nodes[phone].replica.applied();
    meet(&mut world, &[LAPTOP, phone]);
    assert!(world.nodes[LAPTOP].replica.status().sequencer, "it removed more");
    assert_ne!(world.nodes[phone].replica.applied(), far);
    meet(&mut world, &[LAPTOP, phone, tablet]);
    let all = ["begin", "by the phone", "far"];
    agree(&world, &[LAPTOP, phone, tablet], &all);
    assert!(world.nodes[tablet].replica.status().sequencer);
    for at in [LAPTOP, phone, tablet] {
        folds_to_the_same(&mut world, at);
        // And once more, where the fold has noted what is void.
        world.reopen(at, true);
        world.step(at, Input::Opened);
    }
    agree(&world, &[LAPTOP, phone, tablet], &all);
}

/// What each event of a node depends on, and its effective clock.
fn clocks(world: &World, at: usize) -> Vec<(Vec<u8>, usize, Clock)> {
    let rows = world.rows(at).into_iter().filter(|(key, _)| key[0] == space::EVENT);
    let event = |(key, row): (Vec<u8>, Vec<u8>)| {
        let row: EventRow = parse(&row).unwrap();
        (key, row.deps.len(), row.clock)
    };
    rows.map(event).collect()
}

#[test]
fn an_event_that_is_read_before_its_key_waits_for_it() {
    let mut world = World::new(Laptop);
    let phone = world.link(LAPTOP, Phone);
    world.connect(LAPTOP, phone);
    world.write(LAPTOP, "notes", b"one");
    world.settle();
    world.command(LAPTOP, Command::Rotate);
    let record = world.nodes[LAPTOP].replica.control().head();
    world.write(LAPTOP, "notes", b"two");
    world.settle();
    world.write(phone, "notes", b"six");
    world.settle();
    let (before, bodies) = (clocks(&world, phone), world.effective(phone));
    assert_eq!(bodies, ["one", "two", "six"]);
    world.read_last(phone, record);
    world.reopen(phone, false);
    assert_eq!(clocks(&world, phone), before);
    assert_eq!(world.effective(phone), bodies);
    assert!(before.iter().any(|(_, deps, _)| *deps > 0));
}

#[test]
fn keys_that_lost_are_carried_by_one_device_and_none_of_its_own_doing_multiply() {
    let (mut world, phone, cloud) = three();
    part(&mut world, &[LAPTOP, phone, cloud]);
    for body in [b"one", b"two", b"six"] {
        world.command(phone, Command::Rotate);
        world.write(phone, "notes", body);
    }
    world.reform(LAPTOP, LAPTOP, &[cloud]);
    let height = world.nodes[LAPTOP].replica.control().state().height();
    world.connect(LAPTOP, phone);
    meet(&mut world, &[LAPTOP, phone]);
    agree(&world, &[LAPTOP, phone], &["begin", "one", "six", "two"]);
    let control = world.nodes[LAPTOP].replica.control();
    let author = Author::Device(world.nodes[LAPTOP].replica.device());
    let after: Vec<&ControlRecord> = control.chain_from(height + 1);
    assert_eq!(after.len(), 3, "one for each epoch that was lost");
    assert!(after.iter().all(|record| record.author() == author));
}

#[test]
fn more_records_than_fit_a_message_or_may_be_tentative_are_sent_and_opened() {
    let mut world = World::new(Laptop);
    let phone = world.link(LAPTOP, Phone);
    let device = world.nodes[phone].replica.device();
    for n in 0..1100 {
        world.command(LAPTOP, Command::Rename { device, name: format!("phone {n}") });
    }
    let head = world.nodes[LAPTOP].replica.control().head();
    world.connect(LAPTOP, phone);
    assert_eq!(world.nodes[phone].replica.control().committed_head(), head);
    for at in [LAPTOP, phone] {
        world.reopen(at, true);
        assert_eq!(world.nodes[at].replica.control().committed_head(), head);
    }
}

/// Records that nobody can check, because nobody knows what they follow.
fn garbage(world: &World, at: usize, count: u8) -> Vec<ByteBuf> {
    let replica = &world.nodes[at].replica;
    let rotation = replica.control().chain_from(1).into_iter().find_map(|record| {
        let ControlBody::AddDevice(add) = record.body() else { return None };
        Some(ControlBody::AddDevice(add.clone()))
    });
    let body = rotation.unwrap();
    let one = |n: u8| {
        let author = Author::Device(replica.device());
        let mut draft = replica.control().draft(author, 1, None, body.clone());
        (draft.height, draft.prev) = (1, Cid::of(Codec::DagCbor, &[n, at as u8]));
        ByteBuf::from(draft.sign(replica.keys().signing()).to_bytes())
    };
    (0..count).map(one).collect()
}

#[test]
fn whoever_fills_the_room_for_records_that_lost_keeps_no_reform_out() {
    let (mut world, phone, cloud) = three();
    let tablet = world.link(LAPTOP, Phone);
    meet(&mut world, &[LAPTOP, phone, tablet, cloud]);
    part(&mut world, &[LAPTOP, phone, tablet, cloud]);
    world.reform(LAPTOP, LAPTOP, &[cloud]);
    world.reform(phone, phone, &[]);
    world.write(phone, "notes", b"by the phone");
    world.connect(phone, tablet);
    let device = world.nodes[tablet].replica.device();
    for from in [tablet, cloud] {
        for _ in 0..2 {
            let records = garbage(&world, from, 200);
            let said = Message::Control { records };
            world.step(phone, Input::PeerSaid(device, said));
        }
    }
    meet(&mut world, &[LAPTOP, phone]);
    meet(&mut world, &[LAPTOP, phone, tablet]);
    agree(&world, &[LAPTOP, phone, tablet], &["begin", "by the phone"]);
    assert!(world.nodes[LAPTOP].replica.status().sequencer, "it removed more");
}

//! A few replicas in one thread: the machine as a driver sees it, without disks and sockets.

mod contested;
mod feed;
mod rebuilt;
mod reform;
mod removed;
mod seal;
mod world;

use crate::command::{Command, RevokeReason};
use crate::{Alarm, Effect, Input, PinPurpose, PinSet, Ticket};
use rhizome_block::Block;
use rhizome_cluster::{EntryBody, Sequencer};
use rhizome_identity::DeviceKind::{CloudPeer, Desktop, Laptop, Phone};
use std::collections::BTreeSet;
use world::World;

#[test]
fn a_lone_device_commits_what_it_writes_at_once() {
    let mut world = World::new(Laptop);
    world.write(0, "notes", b"one");
    world.write(0, "notes", b"two");
    assert_eq!(world.effective(0), ["one", "two"]);
    assert!(world.nodes[0].replica.all_committed());
}

#[test]
fn a_linked_device_receives_everything_and_both_agree() {
    let mut world = World::new(Laptop);
    world.write(0, "notes", b"before");
    let phone = world.link(0, Phone);
    world.connect(0, phone);
    world.write(phone, "notes", b"from the phone");
    world.write(0, "notes", b"after");
    world.settle();
    assert_eq!(world.effective(phone), world.effective(0));
    assert_eq!(world.effective(0).len(), 3);
    assert_eq!(world.nodes[0].replica.applied(), world.nodes[phone].replica.applied());
}

#[test]
fn what_was_just_written_is_shipped_without_reading_it_back() {
    let mut world = World::new(Laptop);
    world.write(0, "notes", b"before");
    let phone = world.link(0, Phone);
    world.connect(0, phone);
    world.settle();
    let before = world.nodes[0].shelf.reads();
    world.write(0, "notes", b"after");
    assert!(world.nodes[0].replica.recent.is_empty(), "nothing is kept between batches");
    world.settle();
    assert_eq!(world.effective(phone), ["before", "after"]);
    // The one block read is the entry of the order.
    assert_eq!(world.nodes[0].shelf.reads() - before, 1);
}

#[test]
fn the_cloud_peer_orders_what_it_cannot_read_and_forwards_between_devices() {
    let mut world = World::new(Laptop);
    let phone = world.link(0, Phone);
    let cloud = world.link(0, CloudPeer);
    world.connect(0, cloud);
    world.connect(phone, cloud);
    world.plan(0);
    world.settle();
    assert!(world.nodes[cloud].replica.status().sequencer, "the cloud peer orders");
    world.write(0, "notes", b"laptop");
    world.write(phone, "notes", b"phone");
    world.settle();
    assert_eq!(world.effective(0), world.effective(phone));
    assert_eq!(world.effective(0).len(), 2);
    assert!(world.nodes[cloud].delivered.is_empty(), "the cloud peer opens nothing");
    assert!(world.nodes[0].replica.all_committed());
}

#[test]
fn writes_never_wait_and_are_committed_once_the_order_is_reachable_again() {
    let mut world = World::new(Laptop);
    let phone = world.link(0, Phone);
    let cloud = world.link(0, CloudPeer);
    world.connect(0, cloud);
    world.connect(phone, cloud);
    world.plan(0);
    world.settle();
    world.disconnect(0, cloud);
    world.disconnect(phone, cloud);
    for n in 0..50 {
        world.write(0, "notes", format!("laptop {n}").as_bytes());
        world.write(phone, "notes", format!("phone {n}").as_bytes());
    }
    assert!(!world.nodes[0].replica.all_committed());
    assert_eq!(world.pending(0), 50);
    // Without the one voter, the two still exchange what they wrote.
    world.connect(0, phone);
    world.settle();
    assert_eq!(world.pending(0), 100);
    assert_eq!(world.effective(0).len(), 0);
    world.connect(0, cloud);
    world.settle();
    assert_eq!(world.effective(0).len(), 100);
    assert_eq!(world.effective(0), world.effective(phone));
}

#[test]
fn a_replica_opened_again_from_rows_or_from_blocks_alone_is_the_same() {
    let mut world = World::new(Laptop);
    let phone = world.link(0, Phone);
    world.connect(0, phone);
    for n in 0..20 {
        world.write(0, "notes", format!("{n}").as_bytes());
        world.write(phone, "tasks", format!("{n}").as_bytes());
    }
    world.settle();
    for keep_rows in [true, false] {
        let before = world.nodes[phone].replica.status();
        let rows = world.rows(phone);
        world.reopen(phone, keep_rows);
        let after = world.nodes[phone].replica.status();
        assert_eq!((after.applied, after.end), (before.applied, before.end), "rows: {keep_rows}");
        assert_eq!(world.rows(phone), rows, "rows are a function of the blocks");
    }
    world.connect(0, phone);
    world.write(phone, "notes", b"after");
    world.settle();
    assert_eq!(world.effective(0).last().unwrap(), "after");
}

#[test]
fn an_unsigned_tail_is_cut_and_the_author_goes_on_in_a_new_incarnation() {
    let mut world = World::new(Laptop);
    world.write(0, "notes", b"kept");
    world.write(0, "notes", b"torn");
    // The last write is header, body, signature, entry, certificate: lose all but the event.
    world.cut_blocks(0, 3);
    world.reopen(0, false);
    world.write(0, "notes", b"again");
    let status = world.nodes[0].replica.status();
    let incarnations: Vec<(u32, u64)> =
        status.logs.iter().map(|log| (log.log.incarnation, log.held)).collect();
    assert_eq!(incarnations, [(0, 1), (1, 1)]);
    assert_eq!(world.effective(0), ["kept", "again"]);
}

#[test]
fn a_first_event_that_nobody_signed_is_not_gone_on_from() {
    let mut world = World::new(Laptop);
    world.write(0, "notes", b"torn");
    world.cut_blocks(0, 3);
    world.reopen(0, false);
    world.write(0, "notes", b"again");
    let status = world.nodes[0].replica.status();
    let incarnations: Vec<u32> = status.logs.iter().map(|log| log.log.incarnation).collect();
    assert_eq!(incarnations, [1]);
    assert_eq!(world.effective(0), ["again"]);
}

#[test]
fn doubts_over_the_same_leftover_take_different_incarnations() {
    let (mut world, _) = forgetful();
    world.reopen_in_doubt(0, &[]);
    world.write(0, "notes", b"torn");
    // In doubt it is not placed: header, body and signature, of which the last is lost.
    world.cut_blocks(0, 1);
    let fork = world.fork(0);
    let newest = |world: &World| {
        let status = world.nodes[0].replica.status();
        status.logs.iter().map(|log| log.log.incarnation).max().unwrap()
    };
    let mut taken = BTreeSet::new();
    for _ in 0..8 {
        world.restore(0, fork.clone());
        world.reopen_in_doubt(0, &[]);
        world.write(0, "notes", b"ten");
        taken.insert(newest(&world));
    }
    assert_eq!(taken.len(), 8);
}

/// A laptop that orders, with a phone that holds all of it, and which forgot its last write.
fn forgetful() -> (World, usize) {
    let mut world = World::new(Laptop);
    let phone = world.link(0, Phone);
    world.connect(0, phone);
    for body in [b"one", b"two", b"six"] {
        world.write(0, "notes", body);
    }
    world.settle();
    world.disconnect(0, phone);
    // Header, body, signature, entry and certificate: a cut that nobody can see.
    world.cut_blocks(0, 5);
    (world, phone)
}

fn alarms(world: &World) -> usize {
    let is_alarm = |effect: &&Effect| matches!(effect, Effect::Alarm(_));
    world.nodes.iter().map(|node| node.log.iter().filter(is_alarm).count()).sum()
}

#[test]
fn a_device_in_doubt_signs_no_number_and_no_place_twice() {
    let (mut world, phone) = forgetful();
    world.reopen_in_doubt(0, &[]);
    let met = world.nodes[phone].replica.device();
    assert_eq!(world.nodes[0].replica.doubted(), BTreeSet::from([met]));
    world.write(0, "notes", b"ten");
    assert_eq!(world.effective(0), ["one", "two"], "nothing is placed that was placed before");
    assert_eq!(world.pending_bodies(0), ["ten"], "a write waits for nobody");
    world.connect(0, phone);
    world.settle();
    assert_eq!(world.nodes[0].replica.doubted(), BTreeSet::new());
    assert_eq!(world.effective(0), ["one", "two", "six", "ten"]);
    assert_eq!(world.effective(phone), world.effective(0));
    assert_eq!(alarms(&world), 0);
}

#[test]
fn without_doubt_the_same_device_is_caught_telling_another_story() {
    let (mut world, phone) = forgetful();
    world.reopen(0, false);
    world.write(0, "notes", b"ten");
    world.connect(0, phone);
    world.settle();
    assert_ne!(world.effective(phone), world.effective(0));
    assert!(alarms(&world) > 0);
}

#[test]
fn doubt_outlives_a_restart_and_ends_with_nobody_left_to_ask() {
    let (mut world, phone) = forgetful();
    world.reopen_in_doubt(0, &[]);
    world.reopen(0, true);
    world.step(0, Input::Opened);
    assert_eq!(world.nodes[0].replica.doubted().len(), 1);
    let device = world.nodes[phone].replica.device();
    world.command(0, Command::Revoke { device, reason: RevokeReason::Lost });
    world.write(0, "notes", b"ten");
    assert_eq!(world.nodes[0].replica.doubted(), BTreeSet::new());
    assert_eq!(world.effective(0), ["one", "two", "ten"]);

    let mut alone = World::new(Laptop);
    alone.write(0, "notes", b"one");
    alone.reopen_in_doubt(0, &[]);
    alone.write(0, "notes", b"two");
    assert_eq!(alone.effective(0), ["one", "two"]);
}

#[test]
fn a_device_whose_admission_was_forgotten_is_asked_as_well() {
    let (mut world, phone) = forgetful();
    let device = world.nodes[phone].replica.device();
    let all = world.fork(0);
    // The records that admit the phone are gone; its address is known from elsewhere.
    world.cut_blocks(0, all.count());
    world.reopen_in_doubt(0, &[device]);
    assert!(!world.nodes[0].replica.control().state().is_live(&device));
    world.write(0, "notes", b"ten");
    assert_eq!(world.effective(0), [""; 0]);
    world.connect(0, phone);
    world.settle();
    assert_eq!(world.effective(0), ["one", "two", "six", "ten"]);
    assert_eq!(world.effective(phone), world.effective(0));
    assert_eq!(alarms(&world), 0);
}

#[test]
fn a_removed_device_is_refused_and_the_rest_goes_on_under_new_keys() {
    let mut world = World::new(Laptop);
    let phone = world.link(0, Phone);
    world.connect(0, phone);
    world.write(phone, "notes", b"mine");
    world.settle();
    world.disconnect(0, phone);
    let device = world.nodes[phone].replica.device();
    world.command(0, Command::Revoke { device, reason: RevokeReason::Lost });
    world.write(0, "notes", b"secret");
    world.write(phone, "notes", b"too late");
    world.connect(0, phone);
    world.settle();
    assert_eq!(world.effective(0), ["mine", "secret"]);
    assert!(!world.effective(phone).contains(&"secret".to_owned()));
    assert!(!world.pending_bodies(phone).contains(&"secret".to_owned()));
}

#[test]
fn voters_grow_to_three_when_three_steady_machines_are_there() {
    let mut world = World::new(Desktop);
    let laptop = world.link(0, Laptop);
    let cloud = world.link(0, CloudPeer);
    for (a, b) in [(0, laptop), (0, cloud), (laptop, cloud)] {
        world.connect(a, b);
    }
    world.plan(0);
    world.settle();
    for node in [0, laptop, cloud] {
        assert!(world.nodes[node].runs_group, "node {node} runs the group of voters");
    }
}

#[test]
fn a_set_of_blocks_is_acknowledged_only_once_the_peer_holds_all_of_it() {
    let mut world = World::new(Laptop);
    let cloud = world.link(0, CloudPeer);
    world.connect(0, cloud);
    let blocks: Vec<Block> = (0..300u32).map(|n| Block::raw(n.to_be_bytes().to_vec())).collect();
    let cids = blocks.iter().map(|block| block.cid).collect();
    let set = PinSet { purpose: PinPurpose::Snapshot, root: Vec::new(), cids, blocks };
    world.pin(0, set);
    world.settle();
    let pins = world.pins(0);
    assert_eq!(pins.len(), 1);
    let holders = &pins.values().next().unwrap().1;
    assert!(holders.contains(&world.nodes[cloud].replica.device()));
}

#[test]
fn what_is_kept_for_others_is_never_read_as_our_own_records() {
    let mut world = World::new(Laptop);
    world.write(0, "notes", b"mine");
    let end = world.nodes[0].replica.applied();
    // An order that a host made up: its entry and a certificate that only itself signed.
    let forger = rhizome_identity::SigningKeys::from_secret([66; 32]);
    let mut sequencer = Sequencer::new(end, end.g);
    let record = Block::raw(b"nothing".to_vec()).cid;
    let entry = sequencer.place(EntryBody::Control { record });
    let blocks = vec![entry.block, sequencer.certify(&forger).block()];
    world.step(0, Input::Keep(Ticket(1), blocks.clone()));
    world.reopen(0, false);
    assert_eq!(world.nodes[0].replica.status().end, end, "no forged order is taken");
    world.write(0, "notes", b"after");
    assert_eq!(world.effective(0), ["mine", "after"]);
    let cids = blocks.iter().map(|block| block.cid).collect();
    let listed = crate::Manifest::new(PinPurpose::Snapshot, end, cids, Vec::new()).sign(&forger);
    let refused = crate::Manifest::read(&listed.bytes).unwrap_err();
    assert!(refused.to_string().contains("no sealed block"), "{refused}");
}

#[test]
fn a_stranger_is_shown_nothing() {
    let mut world = World::new(Laptop);
    world.write(0, "notes", b"private");
    let mut other = World::new(Phone);
    other.write(0, "notes", b"other");
    let stranger = world.adopt_node(other);
    world.connect(0, stranger);
    world.settle();
    assert!(world.effective(stranger).iter().all(|body| body == "other"));
    assert_eq!(world.effective(0), ["private"]);
}

#[test]
fn a_second_order_for_one_position_raises_the_alarm() {
    let mut world = World::new(Laptop);
    let phone = world.link(0, Phone);
    world.connect(0, phone);
    world.settle();
    world.disconnect(0, phone);
    // The orderer tells one story, forgets it, and tells another.
    let fork = world.fork(0);
    world.write(0, "notes", b"story one");
    world.connect(0, phone);
    world.settle();
    world.disconnect(0, phone);
    world.restore(0, fork);
    world.write(0, "tasks", b"story two");
    world.connect(0, phone);
    world.settle();
    let proofs = |node: usize| {
        let proof = |effect: &Effect| match effect {
            Effect::Alarm(Alarm::Equivocation { proof, .. }) => Some(proof.clone()),
            _ => None,
        };
        world.nodes[node].log.iter().filter_map(proof).collect::<Vec<_>>()
    };
    let proofs = [proofs(0), proofs(phone)].concat();
    let orderer = world.nodes[0].replica.device();
    assert!(!proofs.is_empty());
    for mut proof in proofs {
        assert_eq!(proof.liars(), BTreeSet::from([orderer]));
        // A story that does not lead to what was signed proves nothing.
        proof.theirs.after.c[0] ^= 1;
        assert_eq!(proof.liars(), BTreeSet::new());
    }
}

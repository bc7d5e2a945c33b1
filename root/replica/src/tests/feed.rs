//! News that several peers know comes from one of them, and from another once that one is gone.

use super::world::World;
use crate::{Effect, Input, Message};
use rhizome_identity::DeviceKind::{Laptop, Phone};

/// Laptop 0, which writes, and two phones; all are connected.
fn triangle() -> (World, usize, usize) {
    let mut world = World::new(Laptop);
    let (one, two) = (world.link(0, Phone), world.link(0, Phone));
    for (a, b) in [(0, one), (0, two), (one, two)] {
        world.connect(a, b);
    }
    world.settle();
    (world, one, two)
}

/// Runs that a node was sent by another so far.
fn runs(world: &World, from: usize, to: usize) -> usize {
    let to = world.nodes[to].replica.device();
    let is = |effect: &&Effect| match effect {
        Effect::Send(device, Message::Run { .. }) => *device == to,
        _ => false,
    };
    world.nodes[from].log.iter().filter(is).count()
}

fn write(world: &mut World, count: usize) {
    for n in 0..count {
        world.write(0, "notes", format!("note {n}").as_bytes());
        world.settle();
    }
}

#[test]
fn news_of_several_peers_comes_from_one_of_them() {
    let (mut world, one, two) = triangle();
    write(&mut world, 3);
    let before = (runs(&world, one, two), runs(&world, two, one), runs(&world, 0, one));
    write(&mut world, 10);
    let after = (runs(&world, one, two), runs(&world, two, one), runs(&world, 0, one));
    assert_eq!(after, (before.0, before.1, before.2 + 10));
    assert_eq!(runs(&world, one, 0) + runs(&world, two, 0), 0, "nobody is sent its own events");
}

#[test]
fn a_log_is_wanted_from_another_peer_once_who_brought_it_is_gone() {
    let (mut world, one, two) = triangle();
    write(&mut world, 3);
    world.disconnect(0, two);
    write(&mut world, 5);
    assert_eq!(world.effective(two), world.effective(0));
    assert_eq!(world.effective(two).len(), 8);
    assert!(runs(&world, one, two) > 0);
}

#[test]
fn what_was_told_before_its_bringer_left_is_wanted_at_once() {
    let (mut world, one, two) = triangle();
    write(&mut world, 3);
    // The laptop's next run to the second phone is lost with the link; the first phone's word of
    // it is not.
    world.cut(0, two);
    write(&mut world, 1);
    assert_eq!(world.effective(two).len(), 3);
    let gone = world.nodes[0].replica.device();
    world.step(two, Input::PeerDown(gone));
    world.settle();
    assert_eq!(world.effective(two).len(), 4);
    assert!(runs(&world, one, two) > 0);
}

/// Phones one and two each have an event from the other before the hub, which knows both, sends it.
fn crossing(mut world: World, hub: usize, one: usize, two: usize) {
    // Phone two has the first event from phone one, and tells the hub so, slowly.
    world.stall(hub, two);
    world.stall(two, hub);
    write(&mut world, 1);
    world.go_on(hub, two);
    // Phone one has the second event from phone two.
    world.stall(hub, one);
    write(&mut world, 1);
    world.go_on(hub, one);
    world.go_on(two, hub);
    write(&mut world, 1);
    assert_eq!(world.effective(one).len(), 3);
    assert_eq!(world.effective(two).len(), 3);
}

#[test]
fn two_replicas_never_wait_for_each_other() {
    let (world, one, two) = triangle();
    crossing(world, 0, one, two);
}

#[test]
fn two_replicas_far_from_the_author_never_wait_for_each_other() {
    let (mut world, one, two) = triangle();
    let hub = world.link(0, Laptop);
    world.disconnect(0, one);
    world.disconnect(0, two);
    for other in [0, one, two] {
        world.connect(hub, other);
    }
    crossing(world, hub, one, two);
}

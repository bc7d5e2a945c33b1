//! No two devices apply two orders: where one applied a place, nobody applies another one there,
//! unless a reform lies between them. Asked after every step that anything brought about.
//!
//! The hash of a place covers all before it, so one place that two devices share vouches for
//! everything below it. Worlds with a hostile device are left out: whoever is lied to may follow
//! another order until the lie is found out, and what is owed then is asked by `hostile::scene`.

use crate::world::World;
use rhizome_identity::{ControlBody, ControlRecord};

/// Everybody is where they are: asked after every step that anything brought about.
pub fn check(world: &mut World) {
    if world.hostile.is_some() {
        return;
    }
    for (at, device) in world.devices.iter().enumerate() {
        let Some(replica) = device.replica() else { continue };
        let seen = replica.applied();
        let follows = |record: &&ControlRecord| match record.body() {
            ControlBody::Reform(one) => one.generation <= seen.g,
            _ => false,
        };
        let chain = replica.control().chain_from(1);
        let reform = chain.into_iter().rev().find(follows).map(ControlRecord::cid);
        let known = *world.places.entry((reform, seen.i)).or_insert(seen);
        assert_eq!(known, seen, "device {at} applied another order than somebody before");
    }
}

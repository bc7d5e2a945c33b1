//! One generation lives on: all are in it, at most one device orders alone, and whoever is removed
//! was named by somebody.

use crate::world::World;
use std::collections::BTreeSet;

pub fn check(world: &World) {
    let live = world.live();
    let replicas: Vec<_> = live.iter().filter_map(|at| world.devices[*at].replica()).collect();
    let generations: BTreeSet<u64> =
        replicas.iter().map(|replica| replica.status().generation).collect();
    assert!(generations.len() <= 1, "generations {generations:?} live on");
    let alone = replicas.iter().filter(|replica| replica.status().sequencer).count();
    assert!(alone <= 1, "{alone} devices order, each alone");
    for replica in &replicas {
        for (id, device) in replica.control().committed_state().devices() {
            let named = world.named.contains(&id) || world.removed.contains(&id);
            assert!(device.is_live() || named, "a device is removed and nobody removed it");
        }
    }
}

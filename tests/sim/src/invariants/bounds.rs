//! Memory stays bounded: after every step each queue of the replica is within the bound that its
//! constant states ([`rhizome_replica::Replica::queues`]), and what lives only for a batch is gone.

use crate::world::World;

pub fn check(world: &World, at: usize) {
    let Some(replica) = world.devices[at].replica() else { return };
    for queue in replica.queues() {
        assert!(
            queue.held <= queue.max,
            "device {at} keeps {} {}, more than {}",
            queue.held,
            queue.name,
            queue.max
        );
    }
}

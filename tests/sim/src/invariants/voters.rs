//! The number of voters is odd, in every control log after every step and in every set that a group
//! is run with, and no id inside Raft returns with an older memory.
//!
//! An id is a generation, a device and the record that let it in (`root/raft/src/node.rs`): asked
//! with every command that runs a group, none may come back after it left its generation, and none
//! may vote in two groups, which two reforms to one generation could make it do.

use crate::world::World;
use rhizome_block::Cid;
use rhizome_cluster::VOTERS_MAX;
use rhizome_identity::DeviceId;
use rhizome_replica::{OrderCommand, VoterList};
use std::collections::{BTreeMap, BTreeSet};

/// Every id that ever voted, and where the order of its group begins.
#[derive(Default)]
pub struct Ids(BTreeMap<(u64, DeviceId, Cid), [u8; 32]>);

impl Ids {
    /// A device runs a group.
    pub fn run(&mut self, from: DeviceId, command: &OrderCommand) {
        let OrderCommand::Run { generation, base, sets, .. } = command else { return };
        let mut left = BTreeSet::new();
        let mut before = BTreeSet::new();
        for VoterList { admitted, .. } in sets {
            let count = admitted.len();
            assert!(is_odd(count), "{count} voters of generation {generation}");
            let back = admitted.intersection(&left).next();
            assert_eq!(back, None, "an id returns within generation {generation}");
            left.extend(before.difference(admitted).copied());
            before.clone_from(admitted);
        }
        // A voter has a memory in the groups it runs itself.
        let own = before.iter().filter(|(device, _)| *device == from);
        for (device, record) in own {
            let group = *self.0.entry((*generation, *device, *record)).or_insert(base.c);
            assert_eq!(group, base.c, "an id of generation {generation} votes in two groups");
        }
    }
}

/// A device took a step.
pub fn odd(world: &World, at: usize) {
    let Some(replica) = world.devices[at].replica() else { return };
    for state in [replica.control().state(), replica.control().committed_state()] {
        let count = state.voters().len();
        assert!(is_odd(count), "device {at} knows of {count} voters");
    }
}

fn is_odd(voters: usize) -> bool {
    voters % 2 == 1 && voters <= VOTERS_MAX
}

//! Equal order, equal state, byte for byte, also while the world is cut into parts: devices that
//! applied the order as far have equal committed documents, and those that hold the same events
//! beside it have equal views. Both are hashes over all of it, so they are asked after every act
//! and not after every step, and only of devices that moved; the healed world is asked again by
//! `agreement`.

use crate::book::APP;
use crate::world::World;
use rhizome_block::Cid;
use rhizome_doc::Documents;
use rhizome_identity::{DeviceId, DeviceKind};
use rhizome_log::{LogId, Seen};
use rhizome_replica::Replica;
use std::collections::BTreeMap;

/// The order as it took effect: the place, and how far each log came by it.
type Prefix = (Seen, Vec<(LogId, u64)>);

/// The same, the control log, and how far each log is held.
type Whole = (Prefix, Cid, Vec<(LogId, u64)>);

/// What was seen so far.
#[derive(Default)]
pub struct States {
    committed: BTreeMap<Prefix, [u8; 32]>,
    views: BTreeMap<Whole, [u8; 32]>,
    /// Where each device stood when it was asked last.
    asked: BTreeMap<DeviceId, Whole>,
}

pub fn check(world: &mut World) {
    let documents = Documents::new(APP);
    for at in world.live() {
        let device = &world.devices[at];
        let Some(replica) = device.replica().filter(|_| device.kind != DeviceKind::CloudPeer)
        else {
            continue;
        };
        // A removed device sees what it wrote, and nobody else does.
        if !replica.control().state().is_live(&device.id()) {
            continue;
        }
        let whole = stands(replica);
        if world.watch.states.asked.get(&device.id()) == Some(&whole) {
            continue;
        }
        let committed = documents.committed_hash(device.index()).expect("documents can be read");
        let view = documents.state_hash(device.index()).expect("documents can be read");
        let states = &mut world.watch.states;
        let known = *states.committed.entry(whole.0.clone()).or_insert(committed);
        assert_eq!(known, committed, "device {at} made other documents of one order");
        let known = *states.views.entry(whole.clone()).or_insert(view);
        assert_eq!(known, view, "device {at} shows other documents of the same events");
        states.asked.insert(device.id(), whole);
    }
}

fn stands(replica: &Replica) -> Whole {
    let status = replica.status();
    let effective = status.logs.iter().map(|log| (log.log, log.effective)).collect();
    let held = status.logs.iter().map(|log| (log.log, log.held + log.aside)).collect();
    ((status.applied, effective), replica.control().head(), held)
}

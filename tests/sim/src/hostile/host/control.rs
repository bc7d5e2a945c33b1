//! Lies about who belongs to the identity.

use super::super::script::Script;
use crate::world::World;
use rhizome_identity::{
    Acceptance, AddDevice, Author, Capability, CertificateBody, ControlBody, ControlRecord,
    DeviceCertificate, DeviceId, DeviceKeys, DeviceKind,
};
use rhizome_replica::Message;
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;

/// A device that the host admits, in its own name and in an admin's.
#[derive(Default)]
pub struct InventedDevice {
    invented: BTreeSet<DeviceId>,
}

impl Script for InventedDevice {
    fn act(&mut self, world: &mut World, actor: usize) {
        let device = crate::world::device_keys(&mut world.dice);
        let Some(record) = admission(world, actor, &device) else { return };
        self.invented.insert(device.signing.device_id());
        let peers: Vec<DeviceId> = world.devices[actor].peers.keys().copied().collect();
        for to in peers {
            world.lied("invented device");
            let records = vec![ByteBuf::from(record.to_bytes())];
            world.utter(actor, to, &Message::Control { records });
        }
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        for (at, device) in world.devices.iter().enumerate() {
            let state = device.replica().map(|one| one.control().state());
            let known = self.invented.iter().any(|id| state.is_some_and(|s| s.is_live(id)));
            if known && !world.is_actor(at) {
                return Some(format!("device {at} let in a device that the host invented"));
            }
        }
        None
    }
}

/// A record that admits `device`, signed with the host's key under one name or another.
fn admission(world: &mut World, actor: usize, device: &DeviceKeys) -> Option<ControlRecord> {
    let keys = world.devices[actor].keys.signing.clone();
    let by = match world.dice.chance(50) {
        true => Author::Device(keys.device_id()),
        false => Author::Device(world.devices[0].id()),
    };
    let now_ms = world.now_ms;
    let control = world.devices[actor].replica()?.control();
    let root = control.state().root();
    let acceptance = Acceptance::of(device, root, DeviceKind::Laptop);
    let body = CertificateBody {
        root,
        signing: acceptance.signing,
        sealing: acceptance.sealing,
        name_sealed: Vec::new(),
        kind: acceptance.kind,
        capabilities: BTreeSet::from([Capability::Admin, Capability::Writer, Capability::Reader]),
        serial: 1,
        made_ms: now_ms,
    };
    let accepted = acceptance.sign(&device.signing);
    let certificate = DeviceCertificate::issue(body, accepted, by, &keys).ok()?;
    let add = AddDevice { certificate, wraps: Vec::new() };
    Some(control.draft(by, now_ms << 16, None, ControlBody::AddDevice(add)).sign(&keys))
}

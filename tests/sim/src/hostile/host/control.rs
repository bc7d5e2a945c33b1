//! Lies about who belongs to the identity.

use super::super::script::Script;
use crate::world::World;
use rhizome_identity::{
    Acceptance, AddDevice, Author, Capability, CertificateBody, ControlBody, ControlRecord,
    DeviceCertificate, DeviceId, DeviceKeys, DeviceKind, SealingPublic,
};
use rhizome_replica::{Command, Message};
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

/// Who was let in since is shown a replica that knows nothing newer than its admission.
#[derive(Default)]
pub struct StaleControl {
    newcomer: Option<(usize, u64)>,
}

fn height(world: &World, at: usize) -> u64 {
    world.devices[at].replica().map_or(0, |one| one.control().state().height())
}

impl Script for StaleControl {
    fn begin(&mut self, world: &mut World, actor: usize) {
        let stale = world.split(actor, &[]);
        let Some(newcomer) = world.link(0, DeviceKind::Laptop) else { return };
        let id = world.devices[newcomer].id();
        world.show(actor, stale, &[id]);
        self.newcomer = Some((newcomer, height(world, newcomer)));
        world.command(0, Command::Rotate);
    }

    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        let told = self.newcomer.is_some_and(|(at, _)| world.devices[at].id() == to);
        if told && matches!(message, Message::Hello { .. } | Message::Control { .. }) {
            world.lied("stale control log");
        }
        vec![message]
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        let (newcomer, admitted) = self.newcomer?;
        if height(world, newcomer) < admitted {
            return Some("the newcomer went back behind its own admission".to_owned());
        }
        let head = |at: usize| world.devices[at].replica().map(|one| one.control().head());
        let behind = head(newcomer) != head(0);
        behind.then(|| "the newcomer still does not know of the new keys".to_owned())
    }
}

/// Records that admit a device, with a sealing key that the host knows.
#[derive(Default)]
pub struct KeySubstitution {
    substitutes: BTreeSet<SealingPublic>,
}

impl Script for KeySubstitution {
    fn act(&mut self, world: &mut World, actor: usize) {
        let mine = crate::world::device_keys(&mut world.dice).sealing_public();
        self.substitutes.insert(mine);
        let Some(replica) = world.devices[actor].replica() else { return };
        let admits = |record: &&ControlRecord| matches!(record.body(), ControlBody::AddDevice(_));
        let chain = replica.control().chain_from(1);
        let records: Vec<ControlRecord> = chain.into_iter().filter(admits).cloned().collect();
        let keys: Vec<SealingPublic> =
            world.devices[..actor].iter().map(|one| one.keys.sealing_public()).collect();
        let signed = (Author::Device(world.devices[actor].id()), world.dice.chance(50));
        let mut twisted = Vec::new();
        for record in records {
            let mut bytes = record.to_bytes();
            let swapped = keys.iter().any(|key| swap(&mut bytes, &key.0, &mine.0));
            let Ok(mut record) = ControlRecord::from_bytes(&bytes) else { continue };
            if signed.1 {
                record.cosign(signed.0, &world.devices[actor].keys.signing);
            }
            twisted.extend(swapped.then(|| ByteBuf::from(record.to_bytes())));
        }
        let peers: Vec<DeviceId> = world.devices[actor].peers.keys().copied().collect();
        for to in peers.into_iter().filter(|_| !twisted.is_empty()) {
            world.lied("key substitution");
            world.utter(actor, to, &Message::Control { records: twisted.clone() });
        }
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        for (at, device) in world.devices.iter().enumerate() {
            let Some(replica) = device.replica().filter(|_| !world.is_actor(at)) else { continue };
            let recipients = replica.control().state().recipients(&[]);
            if !recipients.is_disjoint(&self.substitutes) {
                return Some(format!("device {at} would seal to a key that the host put there"));
            }
        }
        None
    }
}

/// Puts other bytes where some are found.
fn swap(bytes: &mut [u8], old: &[u8; 32], new: &[u8; 32]) -> bool {
    let found = bytes.windows(32).position(|window| window == old);
    if let Some(at) = found {
        bytes[at..at + 32].copy_from_slice(new);
    }
    found.is_some()
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

//! Lies about the order.

use super::super::script::Script;
use crate::device::Device;
use crate::world::World;
use rhizome_block::{Cid, Codec};
use rhizome_cluster::{Ack, Certificate, Chain, EntryBody};
use rhizome_identity::{DeviceId, SigningKeys};
use rhizome_log::{EventId, Head, LogId, LogTag, Seen};
use rhizome_replica::{ControlHead, Message};
use serde_bytes::ByteBuf;

/// Two replicas with the same keys, each of which orders for its own devices.
pub struct Equivocation;

impl Script for Equivocation {
    fn begin(&mut self, world: &mut World, actor: usize) {
        let second = world.devices[1].id();
        world.split(actor, &[second]);
    }

    fn act(&mut self, world: &mut World, actor: usize) {
        let twin = world.devices.len() - 1;
        if differ(world, actor, twin) {
            world.lied("two orders");
        }
    }
}

/// Entries nobody ordered, with signatures that prove nothing.
#[derive(Default)]
pub struct ForgedCommit {
    forged: Vec<Seen>,
}

impl Script for ForgedCommit {
    fn act(&mut self, world: &mut World, actor: usize) {
        let keys = world.devices[actor].keys.signing.clone();
        for (to, end) in ends(world, actor) {
            let stranger = SigningKeys::from_secret(world.dice.bytes32());
            let (entry, seen) = next_entry(world, end);
            let acks = match world.dice.below(3) {
                0 => Vec::new(),
                1 => vec![(stranger.device_id(), Ack::sign(&stranger, seen).sig)],
                _ => vec![(keys.device_id(), Ack::sign(&keys, end).sig)],
            };
            let certificate = Certificate::new(seen, acks);
            self.forged.push(seen);
            world.lied("forged commit");
            world.utter(actor, to, &Message::Order { entries: vec![entry], certificate });
        }
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        believes(world, &self.forged)
    }
}

/// Acknowledgements in the name of devices that never gave them.
#[derive(Default)]
pub struct ForgedVote {
    forged: Vec<Seen>,
}

impl Script for ForgedVote {
    fn act(&mut self, world: &mut World, actor: usize) {
        let keys = world.devices[actor].keys.signing.clone();
        for (to, end) in ends(world, actor) {
            let (entry, mut seen) = next_entry(world, end);
            let first = world.devices[0].keys.signing.clone();
            let (mine, theirs) = (Ack::sign(&keys, seen), Ack::sign(&first, end));
            let acks = match world.dice.below(4) {
                // Its own signature under another's name, and that one's over another place.
                0 => vec![(first.device_id(), mine.sig)],
                1 => vec![(first.device_id(), theirs.sig), (to, theirs.sig)],
                2 => vec![(to, mine.sig); 3],
                // A vote that once counted, in the generation in which it did.
                _ => {
                    seen.g = rhizome_identity::GENERATION_FIRST;
                    vec![(keys.device_id(), Ack::sign(&keys, seen).sig)]
                }
            };
            self.forged.push(seen);
            world.lied("forged vote");
            let certificate = Certificate::new(seen, acks);
            world.utter(actor, to, &Message::Order { entries: vec![entry], certificate });
        }
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        believes(world, &self.forged)
    }
}

/// How many places it forgets: enough that they hardly come out the same again.
const PLACES_FORGOTTEN: u64 = 2;

fn end(world: &World, at: usize) -> Option<Seen> {
    world.devices[at].replica().map(|one| one.status().end)
}

/// Whether two devices hold different orders.
fn differ(world: &World, a: usize, b: usize) -> bool {
    let (Some(x), Some(y)) = (end(world, a), end(world, b)) else { return false };
    let (of, seen) = if x.i < y.i { (b, x) } else { (a, y) };
    world.devices[of].look(|one, access| one.has_applied(access, &seen)) == Some(false)
}

/// A host that goes back to what it held when the attack began, and orders anew from there.
#[derive(Default)]
pub struct Rollback {
    saved: Option<usize>,
    went_back: bool,
}

impl Script for Rollback {
    fn begin(&mut self, world: &mut World, actor: usize) {
        // Nobody is shown it yet.
        self.saved = Some(world.split(actor, &[]));
    }

    fn act(&mut self, world: &mut World, actor: usize) {
        let Some(saved) = self.saved else { return };
        let (Some(told), Some(then)) = (end(world, 0), end(world, saved)) else { return };
        if !self.went_back {
            world.write(0);
            if told.i >= then.i + PLACES_FORGOTTEN {
                self.went_back = true;
                let everybody: Vec<DeviceId> =
                    world.devices[..actor].iter().map(Device::id).collect();
                world.show(actor, saved, &everybody);
            }
            return;
        }
        // What it orders anew is shown once it is more than somebody holds.
        (0..actor).for_each(|at| world.write(at));
        let shown = |at: &usize| end(world, *at).is_some_and(|end| end.i < then.i);
        if (0..actor).filter(shown).any(|at| differ(world, at, saved)) {
            world.lied("rolled back");
        } else if then.i > told.i {
            // It came out the same again, which is no lie.
            (self.saved, self.went_back) = (Some(world.split(saved, &[])), false);
        }
    }

    fn hears(
        &mut self,
        _world: &mut World,
        _face: usize,
        _from: DeviceId,
        message: Message,
    ) -> Option<Message> {
        // It will not be reminded of what it forgot.
        (!self.went_back || !matches!(message, Message::Order { .. })).then_some(message)
    }
}

/// Generations and places as high as numbers go.
#[derive(Default)]
pub struct Highest {
    forged: Vec<Seen>,
}

impl Script for Highest {
    fn act(&mut self, world: &mut World, actor: usize) {
        let keys = world.devices[actor].keys.signing.clone();
        for (to, end) in ends(world, actor) {
            let c = world.dice.bytes32();
            let (g, i) = [(u64::MAX, u64::MAX), (end.g, u64::MAX), (u64::MAX, end.i + 1)]
                [world.dice.index(3)];
            let seen = Seen { g, i, c };
            let (block, _) = next_entry(world, Seen { g, i: i - 1, c });
            let certificate =
                Certificate::new(seen, vec![(keys.device_id(), Ack::sign(&keys, seen).sig)]);
            let control = ControlHead { height: u64::MAX, record: Cid::of(Codec::DagCbor, &c) };
            let log = LogId { author: to, tag: LogTag([7; 16]), incarnation: u32::MAX };
            let (heads, pins) = (vec![(log, u64::MAX)], Vec::new());
            let message = match world.dice.below(4) {
                0 => Message::Hello { control, order: seen, heads, pins },
                1 => Message::OrderAt { seen },
                2 => Message::Heads { heads },
                _ => Message::Order { entries: vec![block], certificate },
            };
            self.forged.push(seen);
            world.lied("as high as numbers go");
            world.utter(actor, to, &message);
        }
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        believes(world, &self.forged)
    }
}

/// Confirms events that nobody wrote, in the name of honest devices.
#[derive(Default)]
pub struct Phantom {
    told: bool,
}

impl Script for Phantom {
    fn act(&mut self, world: &mut World, actor: usize) {
        if self.told {
            return;
        }
        let keys = world.devices[actor].keys.signing.clone();
        for (to, end) in ends(world, actor) {
            let log = world.devices[0].replica().and_then(|one| one.status().logs.first().cloned());
            let Some(log) = log else { continue };
            let id = EventId(Cid::of(Codec::DagCbor, &world.dice.bytes32()));
            let (from, seq) = (log.placed + 1, log.held + 1);
            let body = EntryBody::Range { log: log.log, from, head: Head { seq, id } };
            let placed = Chain::from(end).push(end.g, body);
            let ack = Ack::sign(&keys, placed.seen);
            let certificate = Certificate::new(placed.seen, vec![(ack.device, ack.sig)]);
            let entries = vec![ByteBuf::from(placed.block.bytes)];
            self.told = true;
            world.lied("phantom");
            world.utter(actor, to, &Message::Order { entries, certificate });
        }
    }

    fn says(
        &mut self,
        _world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        // From then on it confirms nothing else.
        let kept = !self.told || !matches!(message, Message::Order { .. });
        kept.then_some(message).into_iter().collect()
    }
}

/// Peers of the actor and where they stand.
pub fn ends(world: &World, actor: usize) -> Vec<(DeviceId, Seen)> {
    let peers: Vec<DeviceId> = world.devices[actor].peers.keys().copied().collect();
    let end = |id: DeviceId| {
        let at = world.at(id)?;
        Some((id, world.devices[at].replica()?.status().end))
    };
    peers.into_iter().filter_map(end).collect()
}

/// An entry behind `end` that names nothing there is.
pub fn next_entry(world: &mut World, end: Seen) -> (ByteBuf, Seen) {
    let record = Cid::of(Codec::DagCbor, &world.dice.bytes32());
    let placed = Chain::from(end).push(end.g, EntryBody::Control { record });
    (ByteBuf::from(placed.block.bytes), placed.seen)
}

/// Whether an honest device took a forged place for the order.
pub fn believes(world: &World, forged: &[Seen]) -> Option<String> {
    for (at, device) in world.devices.iter().enumerate().filter(|(at, _)| !world.is_actor(*at)) {
        let held = |seen: &&Seen| {
            device.replica().is_some_and(|one| one.status().end.c == seen.c)
                || device.look(|replica, access| replica.has_applied(access, seen)) == Some(true)
        };
        if let Some(seen) = forged.iter().find(held) {
            return Some(format!("device {at} took a forged place for the order: {seen:?}"));
        }
    }
    None
}

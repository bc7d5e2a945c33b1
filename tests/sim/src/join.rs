//! Devices that join with data: an installation wrote under an identity of its own before it came
//! to this one, and brings that along. Its logs are grafted unchanged, in pieces, while power and
//! disks fail, and nothing that it acknowledged then may be missing or count twice in the end.

use crate::device::{Device, IndexLoss};
use crate::world::{World, device_keys};
use rhizome_identity::{Adopt, Genesis, LogHead, RecoveryKit};
use rhizome_log::{LogId, LogTag, Run};
use rhizome_replica::{Command, Effect, Founding, Input, found};
use serde_bytes::ByteBuf;

/// How many installations of a world had an identity before.
const EARLIER_MAX: usize = 3;

/// An identity that one device of the world had before.
pub struct Earlier {
    device: Device,
    /// The device of the world on the same installation.
    at: usize,
}

/// A device of the world turns out to have had an identity before, and begins to bring it along; or
/// one that has begun goes on.
pub fn join(world: &mut World) {
    let deciders = deciders(world);
    let Some(at) = world.dice.pick(&deciders) else { return };
    let begun = world.earlier.iter().position(|earlier| earlier.at == at);
    if let Some(which) = begun {
        bring(world, which);
    } else if world.earlier.len() < EARLIER_MAX {
        begin(world, at);
        bring(world, world.earlier.len() - 1);
    }
}

/// In a healed world everybody brings along what is not there yet.
pub fn mend(world: &mut World) {
    for which in 0..world.earlier.len() {
        bring(world, which);
    }
}

/// Whether all that was to be brought along is there.
#[must_use]
pub fn is_done(world: &World) -> bool {
    world.earlier.iter().all(|earlier| {
        let there = world.devices[earlier.at].replica();
        let held = there.map(|one| one.status().logs).unwrap_or_default();
        let holds = |head: &LogHead| {
            held.iter().any(|log| log.log == log_of(head) && log.held + log.aside >= head.seq)
        };
        heads(&earlier.device).iter().all(holds)
    })
}

/// Devices that may decide to adopt.
fn deciders(world: &World) -> Vec<usize> {
    let able = |at: &usize| {
        let device = &world.devices[*at];
        let admin = rhizome_identity::Capability::Admin;
        let replica = device.replica().filter(|_| device.takes_writes());
        replica.is_some_and(|one| one.control().state().may(&device.id(), admin))
    };
    world.live().into_iter().filter(able).collect()
}

fn begin(world: &mut World, at: usize) {
    let kit = RecoveryKit::from_entropy(world.dice.bytes32());
    let keys = device_keys(&mut world.dice);
    let kind = world.devices[at].kind;
    let (entropy, now_ms) = (world.dice.bytes32(), world.now_ms);
    let founding = Founding { kit: &kit, keys: &keys, kind, name: "earlier", entropy, now_ms };
    let genesis: Genesis = found(&founding).expect("a first device founds an identity");
    let skew = world.devices[at].skew_ms;
    let mut device = Device::new(&genesis, keys, kind, skew);
    let mut inputs = vec![vec![Input::Opened]];
    for _ in 0..=world.dice.below(8) {
        let write = world.book.write(at, &mut world.dice);
        inputs.push(vec![Input::Write(write)]);
        world.counts.writes += 1;
    }
    for batch in inputs {
        let done = device.batch(world.now_ms, &mut world.dice, batch).expect("its disk is whole");
        for effect in done.effects {
            if let Effect::Written { ticket, log, seq, .. } = effect {
                world.book.acknowledge(ticket, log, seq);
            }
        }
    }
    if world.dice.chance(30) {
        device.crash(&mut world.dice, IndexLoss::Everything);
        device.switch_on();
    }
    world.note("earlier", format!("{at} had {} logs", heads(&device).len()).as_bytes());
    world.earlier.push(Earlier { device, at });
}

/// Adopts the earlier identity, unless that is so, and carries over what is not there.
fn bring(world: &mut World, which: usize) {
    let at = world.earlier[which].at;
    if !world.devices[at].is_on() || !world.devices[at].takes_writes() {
        return;
    }
    if !is_adopted(world, which) {
        let Some(adopt) = adoption(world, which) else { return };
        let refused = world.command(at, Command::Adopt(Box::new(adopt)));
        world.note("adopt", format!("{at}: {refused:?}").as_bytes());
        if refused.is_some() || !is_adopted(world, which) {
            return;
        }
        world.counts.adoptions += 1;
    }
    for head in heads(&world.earlier[which].device) {
        while let Some(run) = next(world, which, &head) {
            let before = held(world, at, &head);
            let taken = world.step(at, vec![Input::Graft(Box::new(run))]);
            // Power may fail in between: what is left is for another time.
            if !taken || held(world, at, &head) == before || world.dice.chance(30) {
                return;
            }
        }
    }
}

fn is_adopted(world: &World, which: usize) -> bool {
    let Earlier { device, at } = &world.earlier[which];
    let identity = device.replica().map(|one| one.control().state().identity());
    let there = world.devices[*at].replica();
    there.is_some_and(|one| one.control().state().adopted().any(|(id, _)| Some(id) == identity))
}

/// What the device signs, as the pod puts it together.
fn adoption(world: &mut World, which: usize) -> Option<Adopt> {
    let mut nonce = [0; 24];
    nonce.copy_from_slice(&world.dice.bytes32()[..24]);
    let Earlier { device, at } = &world.earlier[which];
    let target = world.devices[*at].replica()?.keys().newest_secret()?.clone();
    let earlier = device.replica()?;
    let heads = heads(device);
    let tags = heads.iter().map(|head| LogTag(head.tag)).collect();
    let keys = ByteBuf::from(earlier.keys().seal_for_adoption(&target, tags, nonce)?);
    let genesis = ByteBuf::from(earlier.control().genesis().to_bytes());
    let chain = earlier.control().chain_from(1).into_iter();
    let records = chain.map(|record| ByteBuf::from(record.to_bytes())).collect();
    Some(Adopt { genesis, records, heads, keys })
}

fn heads(device: &Device) -> Vec<LogHead> {
    device.replica().map(rhizome_replica::Replica::signed_log_heads).unwrap_or_default()
}

fn log_of(head: &LogHead) -> LogId {
    LogId { author: head.author, tag: LogTag(head.tag), incarnation: head.incarnation }
}

fn held(world: &World, at: usize, head: &LogHead) -> u64 {
    let logs = world.devices[at].replica().map(|one| one.status().logs).unwrap_or_default();
    let log = logs.into_iter().find(|log| log.log == log_of(head));
    log.map_or(0, |log| log.held + log.aside)
}

/// The next run of a log that the device of the world lacks.
fn next(world: &World, which: usize, head: &LogHead) -> Option<Run> {
    let Earlier { device, at } = &world.earlier[which];
    let after = held(world, *at, head);
    if after >= head.seq {
        return None;
    }
    device.look(|one, access| one.pack_run(access, &log_of(head), after))?.ok().flatten()
}

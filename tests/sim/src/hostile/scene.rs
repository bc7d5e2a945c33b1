//! The play that every script is part of: all are in step; the actor alone brings them news and
//! lies; they meet; the actor is removed; they go on.

use super::script::{Entry, Must};
use super::{Stage, Verdict};
use crate::device::Device;
use crate::story::pass;
use crate::world::World;
use rhizome_cluster::VoterPolicy;
use rhizome_identity::{DeviceId, DeviceKind};
use rhizome_replica::{Command, ReformPlan, Replica, RevokeReason};
use std::collections::{BTreeMap, BTreeSet};

/// How long a conversation may take to end.
const TALK_MS: u64 = 60 * 1000;

/// How long the others may take to go on without the actor.
const HEALING_MS: u64 = 30 * 60 * 1000;

/// By then both sides know that a connection was cut.
const CUT_MS: u64 = 600;

/// How often the rounds begin anew where there was no occasion for a lie.
const OCCASIONS_MAX: usize = 5;

/// Rounds of an attack.
const ROUNDS: u64 = 10;

/// Plays a script. An error says what honest devices owed.
pub fn play(entry: &Entry, seed: u64) -> (World, Result<Verdict, String>) {
    let mut world = World::new(seed, DeviceKind::Laptop);
    let honest = 2 + world.dice.index(2);
    let verdict = act(&mut world, entry, honest);
    (world, verdict)
}

fn act(world: &mut World, entry: &Entry, honest: usize) -> Result<Verdict, String> {
    let actor = found(world, honest)?;
    attack(world, entry, honest, actor);
    meet(world, honest);
    let verdict = judge(world, entry)?;
    evict(world, honest, actor)?;
    go_on(world, honest)?;
    Ok(verdict)
}

/// Devices that hold keys, and a host that orders for them.
fn found(world: &mut World, honest: usize) -> Result<usize, String> {
    while world.devices.len() < honest {
        let kind = if world.dice.chance(50) { DeviceKind::Phone } else { DeviceKind::Laptop };
        world.link(0, kind).ok_or("a device was not linked")?;
    }
    let actor = world.link(0, DeviceKind::CloudPeer).ok_or("the host was not linked")?;
    connect_all(world, 0..honest + 1);
    talk(world);
    let me = world.devices[0].id();
    let present = world.devices.iter().map(Device::id).filter(|id| *id != me).collect();
    let (mostly_on, policy) = (BTreeSet::new(), VoterPolicy::default());
    world.command(0, Command::PlanVoters { present, mostly_on, policy });
    for at in 0..honest {
        world.write(at);
    }
    talk(world);
    let orders = world.devices[actor].replica().is_some_and(|one| one.status().sequencer);
    let applied = |at: usize| world.devices[at].replica().map(Replica::applied);
    let in_step = (0..honest).all(|at| applied(at) == applied(actor));
    if orders && in_step { Ok(actor) } else { Err("the host did not come to order".to_owned()) }
}

fn attack(world: &mut World, entry: &Entry, honest: usize, actor: usize) {
    for a in 0..honest {
        for b in a + 1..honest {
            cut(world, a, b);
        }
    }
    talk(world);
    world.note("attack", entry.name.as_bytes());
    let (device, script) = (world.devices[actor].id(), Some((entry.make)()));
    let (faces, alarms) = (BTreeMap::new(), Vec::new());
    world.hostile = Some(Box::new(Stage { actor: device, script, faces, alarms, lies: 0 }));
    world.with_script(|world, script| script.begin(world, actor));
    for _ in 0..OCCASIONS_MAX {
        rounds(world, honest, actor);
        if world.hostile.as_ref().is_some_and(|stage| stage.lies > 0) {
            return;
        }
    }
}

fn rounds(world: &mut World, honest: usize, actor: usize) {
    for _ in 0..ROUNDS {
        for at in 0..honest {
            if world.dice.chance(60) {
                world.write(at);
            }
            match world.dice.chance(15) {
                true => cut(world, at, actor),
                false => connect(world, at, actor),
            }
        }
        let until = world.now_ms + CUT_MS + world.dice.below(2_500);
        pass(world, until);
        world.with_script(|world, script| script.act(world, actor));
    }
    talk(world);
    // Everybody hears the actor, and has something to say that must be carried.
    (0..honest).for_each(|at| connect(world, at, actor));
    talk(world);
    (0..honest).for_each(|at| world.write(at));
    talk(world);
}

/// The honest devices hear each other, some while they hear the actor, too.
fn meet(world: &mut World, honest: usize) {
    world.note("meet", &[]);
    connect_all(world, 0..honest);
    talk(world);
}

fn judge(world: &mut World, entry: &Entry) -> Result<Verdict, String> {
    let took = world.with_script(|world, script| script.took_effect(world)).flatten();
    let Some(stage) = &world.hostile else { return Err("nobody was hostile".to_owned()) };
    if let Some(how) = took {
        return Err(how);
    }
    if stage.lies == 0 {
        return Err("the actor never lied, which shows nothing".to_owned());
    }
    match (entry.must, stage.alarms.is_empty()) {
        (Must::Detect, true) => Err("nobody raised the alarm".to_owned()),
        (_, false) => Ok(Verdict::Detected),
        (Must::Refuse, true) => Ok(Verdict::Refused),
    }
}

/// The person removes the actor, which was the one voter, so that somebody else orders.
fn evict(world: &mut World, honest: usize, actor: usize) -> Result<(), String> {
    let id = world.devices[actor].id();
    if world.dice.chance(50) {
        (0..honest).for_each(|at| cut(world, at, actor));
    }
    world.note("evict", &[]);
    world.named.insert(id);
    world.removed.insert(id);
    let voter = world.devices[0].id();
    let revoked = BTreeSet::from([id]);
    let plan = ReformPlan { voter, revoked, reason: RevokeReason::Compromised };
    match world.command(0, Command::Reform(plan)) {
        Some(refused) => Err(format!("the actor was not removed: {refused}")),
        None => Ok(()),
    }
}

/// Without the actor everything is ordered and all agree.
fn go_on(world: &mut World, honest: usize) -> Result<(), String> {
    for at in 0..honest {
        world.write(at);
    }
    let until = world.now_ms + HEALING_MS;
    while world.now_ms < until {
        connect_all(world, 0..honest);
        let pause = world.now_ms + 1_000;
        pass(world, pause);
        if world.network.next_ms().is_none() && crate::story::is_settled(world) {
            return Ok(());
        }
    }
    Err("without the actor the others do not come to an order".to_owned())
}

/// Lets everything arrive that is under way, and what it brings about.
fn talk(world: &mut World) {
    let until = world.now_ms + TALK_MS;
    while world.network.next_ms().is_some_and(|at| at <= until) {
        let next = world.network.next_ms().unwrap_or(until);
        pass(world, next);
    }
}

fn ids(world: &World, a: usize, b: usize) -> (DeviceId, DeviceId) {
    (world.devices[a].id(), world.devices[b].id())
}

fn cut(world: &mut World, a: usize, b: usize) {
    let (a, b) = ids(world, a, b);
    world.network.cut(world.now_ms, &mut world.dice, a, b);
}

fn connect(world: &mut World, a: usize, b: usize) {
    let (a, b) = ids(world, a, b);
    world.network.connect(world.now_ms, &mut world.dice, a, b);
}

fn connect_all(world: &mut World, all: std::ops::Range<usize>) {
    for a in all.clone() {
        for b in a + 1..all.end {
            connect(world, a, b);
        }
    }
}

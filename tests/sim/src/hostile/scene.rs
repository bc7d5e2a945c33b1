//! The play that every script is part of: all are in step; the actor alone brings them news and
//! lies; they meet; the actor is removed; they go on.

use super::script::{Entry, Must, Role};
use super::{Stage, Verdict};
use crate::device::Device;
use crate::story::pass;
use crate::world::World;
use rhizome_cluster::VoterPolicy;
use rhizome_identity::{DeviceId, DeviceKind};
use rhizome_replica::{Alarm, Command, ReformPlan, Replica, RevokeReason};
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
    let count = 2 + world.dice.index(2);
    let verdict = act(&mut world, entry, count);
    (world, verdict)
}

fn act(world: &mut World, entry: &Entry, count: usize) -> Result<Verdict, String> {
    let actor = match entry.role {
        Role::Host => found_with_host(world, count)?,
        Role::Member => found_with_member(world, count)?,
    };
    attack(world, entry, actor);
    meet(world);
    let verdict = judge(world, entry)?;
    evict(world, entry, actor)?;
    go_on(world)?;
    Ok(verdict)
}

/// Who tells the truth.
fn honest(world: &World) -> Vec<usize> {
    (0..world.devices.len()).filter(|at| !world.is_actor(*at)).collect()
}

/// Devices that hold keys, and a host that orders for them.
fn found_with_host(world: &mut World, count: usize) -> Result<usize, String> {
    link(world, count)?;
    let actor = world.link(0, DeviceKind::CloudPeer).ok_or("the host was not linked")?;
    connect_all(world, &(0..=actor).collect::<Vec<_>>());
    talk(world);
    let me = world.devices[0].id();
    let present = world.devices.iter().map(Device::id).filter(|id| *id != me).collect();
    let (mostly_on, policy) = (BTreeSet::new(), VoterPolicy::default());
    world.command(0, Command::PlanVoters { present, mostly_on, policy });
    for at in 0..actor {
        world.write(at);
    }
    talk(world);
    let orders = world.devices[actor].replica().is_some_and(|one| one.status().sequencer);
    let applied = |at: usize| world.devices[at].replica().map(Replica::applied);
    let in_step = (0..actor).all(|at| applied(at) == applied(actor));
    if orders && in_step { Ok(actor) } else { Err("the host did not come to order".to_owned()) }
}

fn link(world: &mut World, count: usize) -> Result<(), String> {
    while world.devices.len() < count {
        let kind = if world.dice.chance(50) { DeviceKind::Phone } else { DeviceKind::Laptop };
        world.link(0, kind).ok_or("a device was not linked")?;
    }
    Ok(())
}

/// Devices that hold keys, the first of which orders, and one more that may not decide who belongs.
fn found_with_member(world: &mut World, count: usize) -> Result<usize, String> {
    link(world, count)?;
    let actor = world.link(0, DeviceKind::Laptop).ok_or("the member was not linked")?;
    connect_all(world, &(0..=actor).collect::<Vec<_>>());
    for at in 0..actor {
        world.write(at);
    }
    talk(world);
    let applied = |at: usize| world.devices[at].replica().map(Replica::applied);
    let in_step = (0..actor).all(|at| applied(at) == applied(actor));
    if in_step { Ok(actor) } else { Err("the member did not come to be in step".to_owned()) }
}

fn attack(world: &mut World, entry: &Entry, actor: usize) {
    for a in 0..actor {
        for b in a + 1..actor {
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
        rounds(world, actor);
        if world.hostile.as_ref().is_some_and(|stage| stage.lies > 0) {
            return;
        }
    }
}

fn rounds(world: &mut World, actor: usize) {
    for _ in 0..ROUNDS {
        for at in honest(world) {
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
    honest(world).into_iter().for_each(|at| connect(world, at, actor));
    talk(world);
    honest(world).into_iter().for_each(|at| world.write(at));
    talk(world);
}

/// The honest devices hear each other, some while they hear the actor, too.
fn meet(world: &mut World) {
    world.note("meet", &[]);
    connect_all(world, &honest(world));
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
    for (at, alarm) in &stage.alarms {
        let wronged = accused(alarm).into_iter().find(|id| *id != stage.actor);
        if let Some(id) = wronged {
            return Err(format!("device {at} accuses {id}, which is honest: {alarm:?}"));
        }
    }
    let proven = stage.alarms.iter().any(|(_, alarm)| accused(alarm).contains(&stage.actor));
    match (entry.must, stage.alarms.is_empty()) {
        (Must::Detect, _) if !proven => Err("nobody proved that the actor lied".to_owned()),
        (_, false) => Ok(Verdict::Detected),
        (_, true) => Ok(Verdict::Refused),
    }
}

/// Whom an alarm says to have lied.
fn accused(alarm: &Alarm) -> BTreeSet<DeviceId> {
    match alarm {
        Alarm::Equivocation { proof, .. } => proof.liars(),
        Alarm::ForkedLog { log, .. } => BTreeSet::from([log.author]),
        Alarm::Misplaced { .. } | Alarm::SealsDiffer { .. } | Alarm::Damage { .. } => {
            BTreeSet::new()
        }
    }
}

/// The person removes the actor: one that was the one voter by a reform, so that somebody else
/// orders.
fn evict(world: &mut World, entry: &Entry, actor: usize) -> Result<(), String> {
    let id = world.devices[actor].id();
    if world.dice.chance(50) {
        honest(world).into_iter().for_each(|at| cut(world, at, actor));
    }
    world.note("evict", &[]);
    world.named.insert(id);
    world.removed.insert(id);
    let reason = RevokeReason::Compromised;
    let command = match entry.role {
        Role::Member => Command::Revoke { device: id, reason },
        Role::Host => {
            let (voter, revoked) = (world.devices[0].id(), BTreeSet::from([id]));
            Command::Reform(ReformPlan { voter, revoked, reason })
        }
    };
    match world.command(0, command) {
        Some(refused) => Err(format!("the actor was not removed: {refused}")),
        None => Ok(()),
    }
}

/// Without the actor everything is ordered and all agree.
fn go_on(world: &mut World) -> Result<(), String> {
    honest(world).into_iter().for_each(|at| world.write(at));
    let until = world.now_ms + HEALING_MS;
    while world.now_ms < until {
        connect_all(world, &honest(world));
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

fn connect_all(world: &mut World, all: &[usize]) {
    for (n, a) in all.iter().enumerate() {
        for b in &all[n + 1..] {
            connect(world, *a, *b);
        }
    }
}

//! The quorum is lost for good, in the midst of everything else: voters vanish, those that are left
//! reform, several of them at once where they do not hear each other, and some that vanished come
//! back late.

use crate::device::IndexLoss;
use crate::world::World;
use rhizome_identity::{DeviceId, DeviceKind};
use rhizome_replica::{Command, ReformPlan, RevokeReason};
use std::collections::BTreeSet;

/// How often the voters of a world vanish, at most.
const LOSSES_MAX: u64 = 2;

/// How long it takes until somebody does something about it: longer than a newcomer must wait.
const NOTICED_MS: u64 = 25 * 60 * 60 * 1000;

/// After so many quiet rounds of a healed world in which nothing gets ordered, somebody reforms.
const PATIENCE: u64 = 40;

/// Devices that hold keys and are there.
fn survivors(world: &World) -> Vec<usize> {
    let able = |at: &usize| {
        world.devices[*at].kind != DeviceKind::CloudPeer && world.devices[*at].takes_writes()
    };
    world.live().into_iter().filter(able).collect()
}

/// A majority of the voters vanishes, as somebody who is there sees them.
pub fn lose(world: &mut World) {
    let survivors = survivors(world);
    if world.counts.losses >= LOSSES_MAX || !world.gone.is_empty() {
        return;
    }
    let Some(replica) = survivors.first().and_then(|at| world.devices[*at].replica()) else {
        return;
    };
    let voters = replica.control().state().voters().to_vec();
    let lost: BTreeSet<DeviceId> = voters.iter().take(voters.len() / 2 + 1).copied().collect();
    if !survivors.iter().any(|at| !lost.contains(&world.devices[*at].id())) {
        return;
    }
    for at in 0..world.devices.len() {
        let id = world.devices[at].id();
        if lost.contains(&id) {
            world.switch_off(at, IndexLoss::Nothing);
            world.gone.insert(id);
        }
    }
    world.note("lost", format!("{} voters", lost.len()).as_bytes());
    world.counts.losses += 1;
    world.now_ms += NOTICED_MS;
}

/// Whether a device sees fewer voters than could order anything.
fn lacks_quorum(world: &World, at: usize) -> bool {
    let Some(replica) = world.devices[at].replica() else { return false };
    let voters = replica.control().state().voters();
    let there = |id: &&DeviceId| {
        !world.gone.contains(*id) && !world.removed.contains(*id) && world.at(**id).is_some()
    };
    voters.iter().filter(there).count() <= voters.len() / 2
}

/// Somebody who is left reforms, and removes some of those that vanished.
pub fn reform(world: &mut World) {
    let able: Vec<usize> =
        survivors(world).into_iter().filter(|at| lacks_quorum(world, *at)).collect();
    let Some(at) = world.dice.pick(&able) else { return };
    let survivors = survivors(world);
    let other = world.dice.pick(&survivors).filter(|_| world.dice.chance(30)).unwrap_or(at);
    let mut revoked = BTreeSet::new();
    for id in world.gone.clone() {
        let known = world.devices[at].replica().is_some_and(|r| r.control().state().is_live(&id));
        if known && !world.admitted_others(id) && world.dice.chance(50) {
            revoked.insert(id);
        }
    }
    reform_by(world, at, other, revoked);
}

/// One device reforms, by itself or with the words.
fn reform_by(world: &mut World, at: usize, voter: usize, revoked: BTreeSet<DeviceId>) {
    let plan = ReformPlan {
        voter: world.devices[voter].id(),
        revoked: revoked.clone(),
        reason: RevokeReason::Lost,
    };
    let words = world.dice.chance(15);
    let refused = match words {
        true => Some("the words are at hand".to_owned()),
        false => world.command(at, Command::Reform(plan.clone())),
    };
    let refused = refused.and_then(|_| {
        let record = world.reform_by_kit(at, &plan)?;
        world.command(at, Command::Take(Box::new(record)))
    });
    world.note("reform", format!("{at} for {voter}: {refused:?} {words}").as_bytes());
    if refused.is_none() {
        world.counts.reforms += 1;
        world.named.extend(revoked);
    }
}

/// One that vanished is found again, with its old disk.
pub fn find(world: &mut World) {
    let gone: Vec<DeviceId> = world.gone.iter().copied().collect();
    if let Some(id) = world.dice.pick(&gone) {
        world.gone.remove(&id);
    }
}

/// Of those that vanished half are found again; the others are gone for ever.
pub fn settle_fates(world: &mut World) {
    for id in world.gone.clone() {
        if world.dice.chance(50) {
            world.gone.remove(&id);
        }
    }
}

/// Who was let in by a device that vanished, or by such a one, and is unknown to those that go on,
/// belongs to nobody: it must be linked again.
fn forget_orphans(world: &mut World) {
    let newest = |at: &usize| world.devices[*at].replica().map(|one| one.applied().g);
    let Some(at) = world.live().into_iter().max_by_key(newest) else { return };
    for other in 0..world.devices.len() {
        let id = world.devices[other].id();
        let state = world.devices[at].replica().map(|one| one.control().state());
        let known = state.is_some_and(|state| state.device(&id).is_some());
        if !known && world.admitter_is_out(id) {
            world.removed.insert(id);
        }
    }
}

/// In a healed world: who was removed by a reform that won, and a reform where nobody can order.
pub fn mend(world: &mut World, round: u64) {
    let mut removed: BTreeSet<DeviceId> = world.removed.difference(&world.named).copied().collect();
    for at in 0..world.devices.len() {
        let id = world.devices[at].id();
        let knows = |other: &usize| {
            let replica = world.devices[*other].replica().filter(|_| *other != at);
            let state = replica.map(|one| one.control().committed_state());
            state.and_then(|state| state.device(&id)).is_some_and(|one| !one.is_live())
        };
        let others: Vec<usize> = (0..world.devices.len()).collect();
        let others =
            others.into_iter().filter(|at| !world.removed.contains(&world.devices[*at].id()));
        if others.into_iter().any(|other| knows(&other)) {
            removed.insert(id);
        }
    }
    world.removed = removed;
    if round > PATIENCE {
        forget_orphans(world);
    }
    if round % PATIENCE != PATIENCE - 1 {
        return;
    }
    let survivors = survivors(world);
    let at = survivors.iter().copied().find(|at| lacks_quorum(world, *at));
    // A group whose places were void here is left to others, who may be too few.
    let stuck = (round == 9 * PATIENCE - 1).then(|| survivors.first().copied()).flatten();
    if let Some(at) = at.or(stuck) {
        reform_by(world, at, at, BTreeSet::new());
    }
}

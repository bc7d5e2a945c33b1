//! What happens in a run: first everything that can go wrong, then healing.

use crate::device::{Device, IndexLoss};
use crate::invariants;
use crate::join;
use crate::lost;
use crate::world::World;
use rhizome_cluster::VoterPolicy;
use rhizome_identity::{DeviceId, DeviceKind};
use rhizome_replica::{Command, Input, RevokeReason};
use std::collections::BTreeSet;

/// Most devices of a world: more show nothing new and take longer.
const DEVICES_MAX: usize = 7;

/// How much time passes between two acts, at most.
const PAUSE_MS: u64 = 400;

/// How long a healed world may take to become quiet. Clocks, queues and the voters' turns are all
/// much quicker; a world that needs longer is stuck.
const HEALING_MS: u64 = 30 * 60 * 1000;

/// What kind of world it is: what can happen beside writes, cuts and faults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One device admits others and plans voters; nobody is removed.
    Plain,
    /// Every admin does, at any time, and devices are removed.
    Contested,
    /// As [`Kind::Plain`], until the voters vanish for good: then whoever is left reforms.
    Lost,
    /// As [`Kind::Plain`], and devices bring along data of an identity they had before.
    Joined,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Contested, Self::Lost, Self::Joined];

    /// What it is called on the command line and in `seeds.txt`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Contested => "contested",
            Self::Lost => "lost",
            Self::Joined => "joined",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write,
    Connect,
    Cut,
    Silence,
    GiveUp,
    Crash,
    SwitchOn,
    BreakDisk,
    FlushIndex,
    Link,
    Remove,
    PlanVoters,
    Depose,
    Lose,
    Find,
    Reform,
    Join,
}

/// Each act and how often it happens, in parts of their sum.
const ACTS: &[(u64, Act)] = &[
    (400, Act::Write),
    (140, Act::Connect),
    (50, Act::Cut),
    (15, Act::Silence),
    (20, Act::GiveUp),
    (30, Act::Crash),
    (60, Act::SwitchOn),
    (12, Act::BreakDisk),
    (30, Act::FlushIndex),
    (25, Act::Link),
    (3, Act::Remove),
    (30, Act::PlanVoters),
    (10, Act::Depose),
    (12, Act::Lose),
    (8, Act::Find),
    (40, Act::Reform),
    (15, Act::Join),
];

fn draw(world: &mut World) -> Act {
    let kind = world.kind;
    let possible = |act: &Act| match act {
        Act::Remove => kind == Kind::Contested,
        Act::Lose | Act::Find | Act::Reform => kind == Kind::Lost,
        Act::Join => kind == Kind::Joined,
        _ => true,
    };
    let acts = || ACTS.iter().filter(|(_, act)| possible(act));
    let all: u64 = acts().map(|(weight, _)| weight).sum();
    let mut left = world.dice.below(all);
    for (weight, act) in acts() {
        if left < *weight {
            return *act;
        }
        left -= weight;
    }
    Act::Write
}

/// The phase of faults: `acts` things happen, and in between whatever is on its way arrives.
pub fn suffer(world: &mut World, acts: u64) {
    found(world);
    for _ in 0..acts {
        let act = draw(world);
        world.note("act", format!("{act:?}").as_bytes());
        perform(world, act);
        let until = world.now_ms + world.dice.below(PAUSE_MS);
        pass(world, until);
        world.tick_groups();
        invariants::one_order(world);
        invariants::acted(world);
    }
}

/// Everybody has a phone or a laptop, and most people a cloud peer.
fn found(world: &mut World) {
    let kinds = [DeviceKind::CloudPeer, DeviceKind::Phone, DeviceKind::Desktop];
    for kind in kinds {
        if world.dice.chance(70) {
            link(world, kind);
        }
    }
}

/// Lets arrive what arrives until `until`.
pub(crate) fn pass(world: &mut World, until: u64) {
    while world.network.next_ms().is_some_and(|at| at <= until) {
        let Some(flight) = world.network.take_next() else { break };
        world.arrive(flight);
        invariants::one_order(world);
    }
    world.now_ms = world.now_ms.max(until);
}

fn perform(world: &mut World, act: Act) {
    match act {
        Act::Write => write(world),
        Act::Connect => connect(world),
        Act::Cut => cut(world),
        Act::Silence => silence(world),
        Act::GiveUp => give_up(world),
        Act::Crash => crash(world),
        Act::SwitchOn => switch_on(world),
        Act::BreakDisk => break_disk(world),
        Act::FlushIndex => {
            if let Some(at) = any(world) {
                world.devices[at].flush_index();
            }
        }
        Act::Link => {
            let kinds = [
                DeviceKind::Laptop,
                DeviceKind::Phone,
                DeviceKind::Browser,
                DeviceKind::Desktop,
                DeviceKind::CloudPeer,
            ];
            let kind = kinds[world.dice.index(kinds.len())];
            link(world, kind);
        }
        Act::Remove => remove(world),
        Act::Lose => lost::lose(world),
        Act::Find => lost::find(world),
        Act::Reform => lost::reform(world),
        Act::Join => join::join(world),
        Act::PlanVoters => plan_voters(world),
        Act::Depose => {
            for (voter, news) in world.groups.depose(&mut world.dice) {
                if let Some(at) = world.at(voter).filter(|at| world.devices[*at].is_on()) {
                    world.step(at, vec![Input::Order(news)]);
                }
            }
        }
    }
}

fn any(world: &mut World) -> Option<usize> {
    let live = world.live();
    world.dice.pick(&live)
}

/// A device that holds keys; a removed one writes on, too, until it hears of it.
fn writer(world: &mut World) -> Option<usize> {
    let able = |at: &usize| {
        let device = &world.devices[*at];
        device.is_on() && device.kind != DeviceKind::CloudPeer && device.takes_writes()
    };
    let able: Vec<usize> = (0..world.devices.len()).filter(able).collect();
    world.dice.pick(&able)
}

fn write(world: &mut World) {
    let Some(at) = writer(world) else { return };
    for _ in 0..=world.dice.below(3) {
        if world.devices[at].is_on() && world.devices[at].takes_writes() {
            world.write(at);
        }
    }
}

fn connect(world: &mut World) {
    let on: Vec<DeviceId> =
        world.devices.iter().filter(|device| device.is_on()).map(Device::id).collect();
    let (Some(a), Some(b)) = (world.dice.pick(&on), world.dice.pick(&on)) else { return };
    if a != b {
        world.network.connect(world.now_ms, &mut world.dice, a, b);
    }
}

fn cut(world: &mut World) {
    let pairs = world.network.pairs();
    if let Some((a, b)) = world.dice.pick(&pairs) {
        world.counts.cuts += u64::from(world.network.cut(world.now_ms, &mut world.dice, a, b));
    }
}

fn silence(world: &mut World) {
    let pairs = world.network.pairs();
    if let Some((a, b)) = world.dice.pick(&pairs) {
        let (from, to) = if world.dice.chance(50) { (a, b) } else { (b, a) };
        world.counts.cuts += u64::from(world.network.silence(from, to));
    }
}

/// A connection that is silent one way is given up some time.
fn give_up(world: &mut World) {
    let pairs = world.network.silent_pairs();
    if let Some((a, b)) = world.dice.pick(&pairs) {
        world.network.cut(world.now_ms, &mut world.dice, a, b);
    }
}

fn crash(world: &mut World) {
    let Some(at) = any(world) else { return };
    let loss = match world.dice.below(10) {
        0..6 => IndexLoss::Nothing,
        6..9 => IndexLoss::Tail,
        _ => IndexLoss::Everything,
    };
    world.counts.crashes += 1;
    world.counts.index_losses += u64::from(loss != IndexLoss::Nothing);
    world.note("crash", format!("{at} index {loss:?}").as_bytes());
    world.switch_off(at, loss);
}

fn switch_on(world: &mut World) {
    let off: Vec<usize> =
        (0..world.devices.len()).filter(|at| !world.devices[*at].is_on()).collect();
    let off: Vec<usize> =
        off.into_iter().filter(|at| !world.gone.contains(&world.devices[*at].id())).collect();
    if let Some(at) = world.dice.pick(&off) {
        wake(world, at);
    }
}

fn wake(world: &mut World, at: usize) {
    world.note("on", format!("{at}").as_bytes());
    world.devices[at].switch_on();
    world.step(at, vec![Input::Opened]);
}

/// The next writes of a disk fail: once, or for as long as it stays on.
fn break_disk(world: &mut World) {
    let Some(at) = any(world) else { return };
    let kind = world.dice.below(3);
    let (near, kept) = (world.dice.below(4) + 1, world.dice.index(300));
    world.note("disk", format!("{at} fault {kind} near {near} kept {kept}").as_bytes());
    let mut faults = world.devices[at].disk.faults();
    match kind {
        0 => faults.sync_fails_at = Some(faults.syncs + near),
        1 => faults.append_tears_at = Some((faults.appends + near, kept)),
        _ => faults.space_bytes = Some(near * 400),
    }
    drop(faults);
    world.counts.disk_faults += 1;
}

/// Whether every admin decides while the identity is cut into parts.
fn is_shared(world: &World) -> bool {
    world.kind == Kind::Contested
}

/// A device that may admit and remove others: the first, or any.
fn admin(world: &mut World, any: bool) -> Option<usize> {
    let able = |at: &usize| {
        if !any && *at > 0 {
            return false;
        }
        let Some(replica) = world.devices[*at].replica() else { return false };
        let device = replica.device();
        world.devices[*at].takes_writes()
            && replica.control().state().may(&device, rhizome_identity::Capability::Admin)
    };
    let able: Vec<usize> = (0..world.devices.len()).filter(able).collect();
    world.dice.pick(&able)
}

fn link(world: &mut World, kind: DeviceKind) {
    if world.devices.len() >= DEVICES_MAX {
        return;
    }
    let Some(at) = admin(world, is_shared(world)).filter(|at| !world.is_removed(*at)) else {
        return;
    };
    world.counts.links += u64::from(world.link(at, kind).is_some());
}

/// Somebody's device is lost. Its owner keeps at least one other that may decide.
fn remove(world: &mut World) {
    let by = admin(world, true).filter(|at| !world.is_removed(*at));
    let Some(by) = by else { return };
    let others: Vec<usize> =
        (0..world.devices.len()).filter(|at| *at != by && !world.is_removed(*at)).collect();
    let Some(at) = world.dice.pick(&others).filter(|_| others.len() > 1) else { return };
    let device = world.devices[at].id();
    let state = world.devices[by].replica().map(|replica| replica.control().state());
    // Only a voter that somebody can stand in for: losing the quorum for good is another story.
    if state.is_none_or(|state| state.voters().contains(&device) || !state.is_live(&device)) {
        return;
    }
    if world.command(by, Command::Revoke { device, reason: RevokeReason::Lost }).is_none() {
        let known = world.devices[by].replica().map(|replica| replica.control().state());
        if known.is_some_and(|state| !state.is_live(&device)) {
            world.removed.insert(device);
            world.counts.removals += 1;
        }
    }
}

fn plan_voters(world: &mut World) {
    let Some(at) = admin(world, is_shared(world)) else { return };
    let me = world.devices[at].id();
    let present: BTreeSet<DeviceId> = world
        .devices
        .iter()
        .map(Device::id)
        .filter(|other| world.network.linked(me, *other))
        .collect();
    let policy = VoterPolicy::default();
    let mostly_on = BTreeSet::new();
    world.command(at, Command::PlanVoters { present, mostly_on, policy });
}

/// Everything is repaired and everybody is connected, until nothing happens any more.
pub fn heal(world: &mut World) {
    lost::settle_fates(world);
    for at in 0..world.devices.len() {
        if world.gone.contains(&world.devices[at].id()) {
            continue;
        }
        if !world.devices[at].takes_writes() {
            world.switch_off(at, IndexLoss::Nothing);
            wake(world, at);
        } else {
            // Space is made, and nothing fails any more.
            *world.devices[at].disk.faults() = rhizome_store::Faults::default();
        }
    }
    let until = world.now_ms + HEALING_MS;
    let mut round = 0;
    while world.now_ms < until {
        if world.kind == Kind::Lost {
            lost::mend(world, round);
            round += 1;
        }
        join::mend(world);
        mend(world);
        let pause = world.now_ms + 1_000;
        pass(world, pause);
        world.tick_groups();
        invariants::one_order(world);
        invariants::acted(world);
        world.let_go();
        if world.network.next_ms().is_none() && join::is_done(world) && is_settled(world) {
            return;
        }
    }
}

/// Whoever holds keys says what the documents are, now that nothing happens any more.
pub fn seal(world: &mut World) {
    for at in world.live() {
        if world.devices[at].kind != DeviceKind::CloudPeer {
            world.command(at, Command::Seal);
        }
    }
    pass(world, world.now_ms + HEALING_MS);
}

/// Connects everybody with everybody, also again where a connection was closed or is silent.
fn mend(world: &mut World) {
    for (a, b) in world.network.silent_pairs() {
        world.network.cut(world.now_ms, &mut world.dice, a, b);
    }
    let live: Vec<DeviceId> = world.live().iter().map(|at| world.devices[*at].id()).collect();
    for (n, a) in live.iter().enumerate() {
        for b in &live[n + 1..] {
            world.network.connect(world.now_ms, &mut world.dice, *a, *b);
        }
    }
}

/// Whether every live device says that all it holds is ordered, and all hold the same.
pub(crate) fn is_settled(world: &World) -> bool {
    let live = world.live();
    let mut replicas = live.iter().filter_map(|at| world.devices[*at].replica());
    let Some(first) = replicas.next() else { return true };
    let waits = |replica: &rhizome_replica::Replica| {
        !replica.all_committed() || replica.status().control_waiting > 0
    };
    !waits(first) && replicas.all(|one| !waits(one) && one.applied() == first.applied())
}

//! The world of one seed: devices, network, voters, and what each step does to them.
//!
//! No rule of the protocol is here: messages are carried, effects performed, clocks turned. What
//! happens is drawn in `story`, what must hold is asked in `invariants`.

use crate::book::Book;
use crate::device::{Device, IndexLoss};
use crate::dice::Dice;
use crate::group::{Groups, Surroundings};
use crate::hostile::Stage;
use crate::invariants::{self, Watch};
use crate::join::Earlier;
use crate::network::{Arrival, Flight, Network};
use crate::report::Counts;
use crate::story::Kind;
use rhizome_block::Cid;
use rhizome_cluster::EntryBody;
use rhizome_engine::Done;
use rhizome_identity::{
    Acceptance, ControlRecord, DeviceId, DeviceKeys, DeviceKind, Genesis, RecoveryKit, SigningKeys,
};
use rhizome_log::Seen;
use rhizome_replica::{
    Alarm, Command, Effect, Founding, Input, Message, OrderCommand, ReformPlan, Tick, Ticket, found,
};
use std::collections::{BTreeMap, BTreeSet};

/// Tickets from here on are commands'.
const COMMANDS: u64 = 1 << 40;

/// Most steps of a world, ten times what the longest takes: one that takes more never becomes
/// quiet.
const STEPS_MAX: u64 = 100_000;

/// Most foldings of a world, ten times what any needs.
const REWINDS_MAX: u64 = 200;

/// When the world begins: some time in 2026, in milliseconds since 1970.
const BEGIN_MS: u64 = 1_770_000_000_000;

/// A whole world.
pub struct World {
    /// What can happen.
    pub kind: Kind,
    /// What happens by chance.
    pub dice: Dice,
    /// The true time.
    pub now_ms: u64,
    /// The devices, in the order in which they came.
    pub devices: Vec<Device>,
    /// Devices that were removed.
    pub removed: BTreeSet<DeviceId>,
    /// Devices that vanished, and do not come back before somebody finds them.
    pub gone: BTreeSet<DeviceId>,
    /// Devices that some reform removes.
    pub named: BTreeSet<DeviceId>,
    /// Identities that devices had before, and bring along.
    pub earlier: Vec<Earlier>,
    /// Who let each device in.
    admitters: BTreeMap<DeviceId, DeviceId>,
    /// What is on its way.
    pub network: Network,
    /// The voters.
    pub groups: Groups,
    /// Every promise.
    pub book: Book,
    /// What was done.
    pub counts: Counts,
    /// Where each place of the order was seen to end, by the reform that it follows.
    pub places: BTreeMap<(Option<Cid>, u64), Seen>,
    /// What the invariants remember.
    pub watch: Watch,
    /// Names of devices, as people gave them.
    pub names: Vec<String>,
    /// The hostile device and what it was caught at, in a world that has one.
    pub hostile: Option<Box<Stage>>,
    /// A hash over everything that happened, to compare two runs with.
    trace: blake3::Hasher,
    /// Whether to tell what happens on standard error.
    tell: bool,
    genesis: Genesis,
    kit: RecoveryKit,
    commands: u64,
    rejected: Option<String>,
}

impl World {
    /// A world with one device.
    #[must_use]
    pub fn new(seed: u64, first: DeviceKind) -> Self {
        let mut dice = Dice::new(seed);
        let kit = RecoveryKit::from_entropy(dice.bytes32());
        let keys = device_keys(&mut dice);
        let founding = Founding {
            kit: &kit,
            keys: &keys,
            kind: first,
            name: "first",
            entropy: dice.bytes32(),
            now_ms: BEGIN_MS,
        };
        let genesis = found(&founding).expect("a first device founds an identity");
        let mut world = Self {
            kind: Kind::Plain,
            dice,
            now_ms: BEGIN_MS,
            devices: Vec::new(),
            removed: BTreeSet::new(),
            gone: BTreeSet::new(),
            named: BTreeSet::new(),
            earlier: Vec::new(),
            admitters: BTreeMap::new(),
            network: Network::default(),
            groups: Groups::default(),
            book: Book::default(),
            counts: Counts::default(),
            places: BTreeMap::new(),
            watch: Watch::default(),
            names: Vec::new(),
            hostile: None,
            trace: blake3::Hasher::new(),
            tell: std::env::var_os("RHIZOME_SIM_TELL").is_some(),
            genesis,
            kit,
            commands: COMMANDS,
            rejected: None,
        };
        world.add(keys, first);
        world
    }

    fn add(&mut self, keys: DeviceKeys, kind: DeviceKind) -> usize {
        let day = 24 * 60 * 60 * 1000;
        let skew =
            i64::try_from(self.dice.below(2 * day)).unwrap_or(0) - i64::try_from(day).unwrap_or(0);
        let skew = if self.dice.chance(70) { skew / 100_000 } else { skew };
        self.devices.push(Device::new(&self.genesis, keys, kind, skew));
        let at = self.devices.len() - 1;
        self.step(at, vec![Input::Opened]);
        at
    }

    /// The devices that belong and are on.
    #[must_use]
    pub fn live(&self) -> Vec<usize> {
        let live = |at: &usize| self.devices[*at].is_on() && !self.is_removed(*at);
        (0..self.devices.len()).filter(live).collect()
    }

    /// Whether a device was removed from the identity.
    #[must_use]
    pub fn is_removed(&self, at: usize) -> bool {
        self.removed.contains(&self.devices[at].id())
    }

    /// Whether a device let others in: who removes it without them would leave them out.
    #[must_use]
    pub fn admitted_others(&self, id: DeviceId) -> bool {
        self.admitters.values().any(|by| *by == id)
    }

    /// Whether nobody is left who let a device in.
    #[must_use]
    pub fn admitter_is_out(&self, id: DeviceId) -> bool {
        let by = self.admitters.get(&id);
        by.is_some_and(|by| self.gone.contains(by) || self.removed.contains(by))
    }

    /// Whether a device vanished for good: what nobody else had went with it.
    #[must_use]
    pub fn is_gone(&self, at: usize) -> bool {
        self.gone.contains(&self.devices[at].id())
    }

    /// A device that was let in by one that had been removed, which had not heard of it, belongs to
    /// nobody: what a removed device decides does not count, and nobody else decided it.
    pub fn let_go(&mut self) {
        for at in 0..self.devices.len() {
            let id = self.devices[at].id();
            let by = self.admitters.get(&id).filter(|by| self.removed.contains(by));
            let knows = |other: &usize| {
                let replica = self.devices[*other].replica();
                *other != at && replica.is_some_and(|one| one.control().state().is_live(&id))
            };
            let is_out = |other: &usize| {
                let replica = self.devices[*other].replica().filter(|_| *other != at);
                let state = replica.map(|one| one.control().committed_state());
                by.zip(state).is_some_and(|(by, state)| {
                    state.device(by).is_some_and(|one| !one.is_live())
                        && state.device(&id).is_none()
                })
            };
            let live = self.live();
            if live.iter().any(is_out) && !live.iter().any(knows) {
                self.removed.insert(id);
            }
        }
    }

    /// Index of a device.
    #[must_use]
    pub fn at(&self, device: DeviceId) -> Option<usize> {
        self.devices.iter().position(|one| one.id() == device)
    }

    /// What happened so far, as a hash.
    #[must_use]
    pub fn trace(&self) -> blake3::Hash {
        self.trace.finalize()
    }

    /// Writes down that something happened.
    pub fn note(&mut self, what: &str, bytes: &[u8]) {
        if self.tell && !matches!(what, "said" | "step") {
            eprintln!("{} {what} {}", self.now_ms - BEGIN_MS, String::from_utf8_lossy(bytes));
        }
        self.trace.update(&self.now_ms.to_be_bytes());
        self.trace.update(what.as_bytes());
        self.trace.update(&(bytes.len() as u64).to_be_bytes());
        self.trace.update(bytes);
    }

    /// A device does one batch, and its effects happen. `false`: its disk refused.
    pub fn step(&mut self, at: usize, inputs: Vec<Input>) -> bool {
        self.counts.steps += 1;
        assert!(self.counts.steps < STEPS_MAX, "the world does not become quiet");
        assert!(self.counts.rewinds < REWINDS_MAX, "devices fold their disks without end");
        let span = tracing::info_span!("device", at, ms = self.now_ms - BEGIN_MS);
        let _entered = span.enter();
        let device = &mut self.devices[at];
        let done = device.batch(self.now_ms, &mut self.dice, inputs);
        let id = device.id();
        self.note("step", &id.0);
        match done {
            Some(done) => {
                self.perform(at, done);
                if self.devices[at].replica().is_some_and(rhizome_replica::Replica::rewinds) {
                    self.counts.rewinds += 1;
                    self.note("rewinds", format!("{at}").as_bytes());
                    self.devices[at].rewind();
                    self.network.forget(self.now_ms, &mut self.dice, id);
                    self.groups.leave(id);
                    self.step(at, vec![Input::Opened]);
                }
                invariants::stepped(self, at);
                true
            }
            None => {
                self.note("refused", format!("{at}").as_bytes());
                self.counts.refused_appends += 1;
                self.network.forget(self.now_ms, &mut self.dice, id);
                self.groups.leave(id);
                // What it has to say itself waits, too, while its disk takes nothing.
                let tick_dice = &mut self.dice;
                let again = self.devices[at].batch(self.now_ms, tick_dice, vec![Input::Opened]);
                if let Some(done) = again {
                    self.perform(at, done);
                }
                false
            }
        }
    }

    fn perform(&mut self, at: usize, done: Done) {
        let from = self.devices[at].id();
        for effect in done.effects {
            match effect {
                Effect::Send(to, message) => self.say(at, to, message),
                Effect::Close(to, why) => {
                    let other = self.at(to);
                    self.note("close", format!("{at} to {other:?}: {why:?}").as_bytes());
                    self.devices[at].peers.remove(&to);
                    self.network.cut(self.now_ms, &mut self.dice, from, to);
                }
                // What the hostile device is promised is nobody's business.
                Effect::Written { .. } if self.is_actor(at) => {}
                Effect::Written { ticket, log, seq, .. } => {
                    self.note("written", format!("{} as {log:?} {seq}", ticket.0).as_bytes());
                    self.book.acknowledge(ticket, log, seq);
                }
                Effect::Rejected(ticket, error) => {
                    self.book.refuse(ticket);
                    self.rejected = Some(error.to_string());
                }
                Effect::Order(command) => self.order(from, command),
                Effect::Alarm(alarm) => self.alarm(at, &alarm),
                _ => {}
            }
        }
    }

    fn say(&mut self, at: usize, to: DeviceId, message: Message) {
        if !self.is_actor(at) {
            invariants::said(self, at, to, &message);
        }
        for message in self.twisted(at, to, message) {
            self.utter(at, to, &message);
        }
    }

    /// Says this, whatever a script thinks of it.
    pub fn utter(&mut self, at: usize, to: DeviceId, message: &Message) {
        let Some(connection) = self.devices[at].peers.get(&to).copied() else { return };
        let from = self.devices[at].id();
        self.counts.messages += 1;
        self.network.say(self.now_ms, &mut self.dice, (from, to), connection, message);
    }

    fn order(&mut self, from: DeviceId, command: OrderCommand) {
        invariants::ordered(self, from, &command);
        match command {
            OrderCommand::Run { generation, base, sets, applied } => {
                self.counts.group_runs += 1;
                self.groups.run(from, generation, base, sets, applied);
            }
            OrderCommand::Propose(bodies) => self.groups.propose(from, bodies),
            OrderCommand::Stop => self.groups.leave(from),
        }
    }

    fn alarm(&mut self, at: usize, alarm: &Alarm) {
        let is_actor = self.is_actor(at);
        if let Some(stage) = &mut self.hostile {
            if is_actor {
                return;
            }
            stage.alarms.push((at, alarm.clone()));
            return self.note("alarm", format!("{at}: {alarm:?}").as_bytes());
        }
        panic!("device {at} raised an alarm and everybody is honest: {alarm:?}");
    }

    /// Something arrives.
    pub fn arrive(&mut self, flight: Flight) {
        self.now_ms = self.now_ms.max(flight.at_ms);
        let (Arrival::Up(peer) | Arrival::Down(peer) | Arrival::Said(peer, _)) = flight.arrival;
        let face = self.face(flight.to, peer);
        let Some(at) = face.filter(|at| self.devices[*at].is_on()) else { return };
        let is_current =
            |device: &Device, from: &DeviceId| device.peers.get(from) == Some(&flight.connection);
        match flight.arrival {
            Arrival::Up(peer) => {
                self.devices[at].peers.insert(peer, flight.connection);
                self.step(at, vec![Input::PeerUp(peer)]);
            }
            Arrival::Down(peer) if is_current(&self.devices[at], &peer) => {
                self.devices[at].peers.remove(&peer);
                self.step(at, vec![Input::PeerDown(peer)]);
            }
            Arrival::Said(peer, bytes) if is_current(&self.devices[at], &peer) => {
                self.note("said", &bytes);
                invariants::arrived(self, &bytes);
                let message = Message::from_bytes(&bytes).expect("a replica reads what one says");
                let Some(message) = self.heard(at, peer, message) else { return };
                self.step(at, vec![Input::PeerSaid(peer, message)]);
            }
            Arrival::Down(_) | Arrival::Said(..) => {}
        }
    }

    /// Voters elect, commit, and hear of it.
    pub fn tick_groups(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        let mut dice = Dice::new(self.dice.roll());
        let news = groups.tick(&mut dice, self);
        self.groups = groups;
        for (voter, news) in news {
            if let Some(at) = self.at(voter).filter(|at| self.devices[*at].is_on()) {
                self.step(at, vec![Input::Order(news)]);
            }
        }
    }

    /// An app writes on a device. It must be answered at once: nothing is waited for.
    pub fn write(&mut self, at: usize) {
        let write = self.book.write(at, &mut self.dice);
        let ticket = write.ticket;
        self.note("write", format!("{} on {at}", ticket.0).as_bytes());
        let keys = invariants::newest_keys(self, at);
        let took = self.step(at, vec![Input::Write(write)]);
        invariants::answered(self, ticket.0, at, took, keys);
        self.counts.writes += 1;
    }

    /// A person or the pod wants something. Returns why it was refused, if it was.
    pub fn command(&mut self, at: usize, command: Command) -> Option<String> {
        self.commands += 1;
        self.rejected = None;
        self.step(at, vec![Input::Command(Ticket(self.commands), command)]);
        self.rejected.take()
    }

    /// What the words sign for a device that is there.
    pub fn reform_by_kit(&mut self, at: usize, plan: &ReformPlan) -> Option<ControlRecord> {
        let tick = Tick { now_ms: self.now_ms, entropy: self.dice.bytes32() };
        let kit = &self.kit;
        let signed =
            self.devices[at].look(|one, access| one.reform_by_kit(tick, access, plan, kit));
        signed?.ok()
    }

    /// Cuts the power of a device.
    pub fn switch_off(&mut self, at: usize, loss: IndexLoss) {
        if !self.devices[at].is_on() {
            return;
        }
        let id = self.devices[at].id();
        self.devices[at].crash(&mut self.dice, loss);
        self.network.forget(self.now_ms, &mut self.dice, id);
        self.groups.leave(id);
    }

    /// A new device is linked by `at`, which hands it the control log.
    pub fn link(&mut self, at: usize, kind: DeviceKind) -> Option<usize> {
        let keys = device_keys(&mut self.dice);
        let acceptance = Acceptance::of(&keys, self.genesis.root(), kind);
        let signature = acceptance.sign(&keys.signing);
        let name = format!("{kind:?} {}", self.devices.len());
        self.names.push(name.clone());
        if self.command(at, Command::Admit { acceptance, signature, name }).is_some() {
            return None;
        }
        let control = self.devices[at].replica()?.control();
        control.state().device(&keys.signing.device_id())?;
        let records: Vec<_> = control.chain_from(1).into_iter().cloned().collect();
        self.admitters.insert(keys.signing.device_id(), self.devices[at].id());
        let new = self.add(keys, kind);
        for record in records {
            self.command(new, Command::Take(Box::new(record)));
        }
        Some(new)
    }
}

impl Surroundings for World {
    fn linked(&self, a: DeviceId, b: DeviceId) -> bool {
        self.network.linked(a, b)
    }

    fn holds(&self, voter: DeviceId, body: &EntryBody) -> bool {
        let device = self.at(voter).map(|at| &self.devices[at]);
        let replica = device.and_then(|device| device.replica());
        replica.is_some_and(|replica| replica.holds(body))
    }

    fn keys(&self, voter: DeviceId) -> SigningKeys {
        let at = self.at(voter).expect("voters are devices of this world");
        self.devices[at].keys.signing.clone()
    }
}

pub(crate) fn device_keys(dice: &mut Dice) -> DeviceKeys {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&dice.bytes32());
    bytes[32..].copy_from_slice(&dice.bytes32());
    DeviceKeys::from_bytes(&bytes)
}

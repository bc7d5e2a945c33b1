//! Replicas with blocks and rows in memory, and links that carry messages in order.

use crate::command::{Command, CommandError};
use crate::found::{Founding, found};
use crate::open::Replay;
use crate::pins::{Manifest, PinSet};
use crate::reform::ReformPlan;
use crate::{Access, Effect, Input, Message, OrderCommand, Replica, ReplicaKeys, Tick, Ticket};
use rhizome_block::{Block, Cid};
use rhizome_cluster::VoterPolicy;
use rhizome_identity::{
    Acceptance, Author, ControlBody, ControlLog, ControlRecord, DeviceId, DeviceKeys, DeviceKind,
    Genesis, RecoveryKit,
};
use rhizome_log::{Blocks, Delivery, Index, MemoryIndex, Overlay, Place, ReadError, Seen};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Blocks of one node; a place is a number.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Vec<Block>>>, Arc<AtomicUsize>);

impl Shelf {
    /// How many blocks were read so far.
    pub fn reads(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

impl Blocks for Shelf {
    fn read(&self, place: Place, cid: &Cid) -> Result<Vec<u8>, ReadError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let shelf = self.0.lock().unwrap();
        match shelf.get(place.offset as usize).filter(|block| block.cid == *cid) {
            Some(block) => Ok(block.bytes.clone()),
            None => Err(ReadError::Damaged { cid: *cid }),
        }
    }
}

pub struct Node {
    pub replica: Replica,
    pub index: MemoryIndex,
    pub shelf: Shelf,
    pub delivered: Vec<Delivery>,
    pub log: Vec<Effect>,
    pub runs_group: bool,
    keys: DeviceKeys,
    kind: DeviceKind,
    genesis: Genesis,
}

/// What a node was at some moment.
#[derive(Clone)]
pub struct Fork {
    blocks: Vec<Block>,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Fork {
    pub fn count(&self) -> usize {
        self.blocks.len()
    }
}

pub struct World {
    pub nodes: Vec<Node>,
    /// What is under way; nothing stands for the end of a link.
    wires: VecDeque<(usize, usize, Option<Message>)>,
    links: BTreeSet<(usize, usize)>,
    /// What links that are held back still carry.
    stalled: BTreeMap<(usize, usize), VecDeque<Option<Message>>>,
    clock_ms: u64,
    dice: u64,
    next_key: u8,
    kit: [u8; 32],
}

fn device_keys(n: u8) -> DeviceKeys {
    let mut bytes = [n; 64];
    bytes[32..].fill(n ^ 0x80);
    DeviceKeys::from_bytes(&bytes)
}

fn node(genesis: &Genesis, keys: DeviceKeys, kind: DeviceKind) -> Node {
    let (index, shelf) = (MemoryIndex::default(), Shelf::default());
    let replica = open(genesis, &keys, kind, &index, &shelf);
    let (delivered, log) = (Vec::new(), Vec::new());
    let genesis = genesis.clone();
    Node { replica, index, shelf, delivered, log, runs_group: false, keys, kind, genesis }
}

fn open(
    genesis: &Genesis,
    keys: &DeviceKeys,
    kind: DeviceKind,
    index: &MemoryIndex,
    shelf: &Shelf,
) -> Replica {
    let all = match kind {
        DeviceKind::CloudPeer => ReplicaKeys::blind(genesis.root(), keys.signing.clone()),
        _ => ReplicaKeys::trusted(genesis.root(), keys.clone()),
    };
    let mut overlay = Overlay::new(index);
    let mut access = Access { index: &mut overlay, blocks: shelf };
    let mut replica = Replica::open(all, genesis.clone(), &mut access).unwrap();
    let blocks: Vec<Block> = match index.get(&[crate::space::MARK]).unwrap() {
        Some(_) => Vec::new(),
        None => shelf.0.lock().unwrap().clone(),
    };
    let mut replay = Replay::default();
    for (n, block) in blocks.iter().enumerate() {
        let place = Place { segment: 1, offset: n as u64, bytes: block.bytes.len() as u32 };
        replica.replay(&mut access, &mut replay, place, block.cid, &block.bytes).unwrap();
    }
    replica.finish_replay(&mut access, &mut replay, true).unwrap();
    index.write(overlay.into_batch()).unwrap();
    replica
}

impl World {
    pub fn new(kind: DeviceKind) -> Self {
        let keys = device_keys(kind as u8 + 1);
        let kit = [kind as u8 + 100; 32];
        let founding = Founding {
            kit: &RecoveryKit::from_entropy(kit),
            keys: &keys,
            kind,
            name: "first",
            entropy: [kind as u8; 32],
            now_ms: 1,
        };
        let genesis = found(&founding).unwrap();
        let nodes = vec![node(&genesis, keys, kind)];
        let (wires, links) = (VecDeque::new(), BTreeSet::new());
        let stalled = BTreeMap::new();
        let (clock_ms, dice) = (1_000_000, kind as u64);
        Self { nodes, wires, links, stalled, clock_ms, dice, next_key: 20, kit }
    }

    fn tick(&mut self) -> Tick {
        self.clock_ms += 1;
        self.dice += 1;
        let mut entropy = [7; 32];
        entropy[..8].copy_from_slice(&self.dice.to_be_bytes());
        Tick { now_ms: self.clock_ms, entropy }
    }

    /// Steps one node with one input, as a driver does.
    pub fn step(&mut self, at: usize, input: Input) {
        self.step_all(at, vec![input]);
    }

    /// Steps one node with several inputs that its driver found in its queue.
    fn step_all(&mut self, at: usize, mut todo: Vec<Input>) {
        todo.push(Input::Flush);
        while !todo.is_empty() {
            let input = todo.remove(0);
            let tick = self.tick();
            let node = &mut self.nodes[at];
            let mut overlay = Overlay::new(&node.index);
            let mut access = Access { index: &mut overlay, blocks: &node.shelf };
            let effects = node.replica.step(tick, &mut access, input).unwrap();
            let batch = overlay.into_batch();
            node.index.write(batch).unwrap();
            for effect in effects {
                self.perform(at, effect, &mut todo);
            }
        }
        if self.nodes[at].replica.rewinds() {
            self.rewind(at);
            self.step(at, Input::Opened);
        }
    }

    /// Folds the blocks of a node anew, as often as it asks for it.
    fn rewind(&mut self, at: usize) {
        for other in 0..self.nodes.len() {
            self.disconnect(at, other);
        }
        for _ in 0..8 {
            let node = &mut self.nodes[at];
            if !node.replica.rewinds() {
                self.redeliver(at);
                return;
            }
            let mut overlay = Overlay::new(&node.index);
            let mut access = Access { index: &mut overlay, blocks: &node.shelf };
            node.replica.rewind(&mut access).unwrap();
            node.index.write(overlay.into_batch()).unwrap();
            let left = self.outlasting(at);
            let node = &mut self.nodes[at];
            node.index = left;
            node.replica = open(&node.genesis, &node.keys, node.kind, &node.index, &node.shelf);
        }
        panic!("node {at} never stops rewinding");
    }

    /// What is left of a node's index for a rewind.
    fn outlasting(&self, at: usize) -> MemoryIndex {
        let index = MemoryIndex::default();
        let mut batch = rhizome_log::Batch::default();
        let rows = self.rows(at).into_iter().filter(|(key, _)| crate::outlasts_rewind(key));
        rows.for_each(|(key, value)| batch.put(key, value));
        index.write(batch).unwrap();
        index
    }

    fn perform(&mut self, at: usize, effect: Effect, todo: &mut Vec<Input>) {
        let node = &mut self.nodes[at];
        match effect.clone() {
            Effect::Append(blocks) => {
                let mut shelf = node.shelf.0.lock().unwrap();
                let first = shelf.len() as u64;
                let places = blocks.iter().enumerate().map(|(n, block)| Place {
                    segment: 1,
                    offset: first + n as u64,
                    bytes: block.bytes.len() as u32,
                });
                let places = places.collect();
                shelf.extend(blocks);
                todo.insert(0, Input::Flush);
                todo.insert(0, Input::Durable(places));
            }
            Effect::Deliver(deliveries) => node.delivered.extend(deliveries),
            Effect::Send(device, message) => {
                let bytes = message.to_bytes().unwrap();
                let message = Message::from_bytes(&bytes).unwrap();
                let to = self.nodes.iter().position(|node| node.replica.device() == device);
                self.wires.push_back((at, to.unwrap(), Some(message)));
            }
            Effect::Close(device, _) => {
                let to = self.nodes.iter().position(|node| node.replica.device() == device);
                // What was said before is heard before the link ends.
                self.wires.push_back((at, to.unwrap(), None));
            }
            Effect::Order(OrderCommand::Run { .. }) => node.runs_group = true,
            _ => {}
        }
        self.nodes[at].log.push(effect);
    }

    /// Carries messages until nobody has anything to say.
    pub fn settle(&mut self) {
        let mut carried = 0;
        while let Some((from, to, message)) = self.wires.pop_front() {
            carried += 1;
            assert!(carried < 100_000, "replicas never stop talking");
            if let Some(held) = self.stalled.get_mut(&(from, to)) {
                held.push_back(message);
                continue;
            }
            match message {
                _ if !self.links.contains(&(from, to)) => {}
                Some(message) => {
                    let device = self.nodes[from].replica.device();
                    self.step(to, Input::PeerSaid(device, message));
                }
                None => self.disconnect(from, to),
            }
        }
    }

    /// Who was let in today may not remove others before tomorrow.
    pub fn wait_a_day(&mut self) {
        self.clock_ms += 25 * 60 * 60 * 1000;
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        self.links.extend([(a, b), (b, a)]);
        for (at, other) in [(a, b), (b, a)] {
            let device = self.nodes[other].replica.device();
            self.step(at, Input::PeerUp(device));
        }
        self.settle();
    }

    pub fn disconnect(&mut self, a: usize, b: usize) {
        if !self.links.remove(&(a, b)) {
            return;
        }
        self.links.remove(&(b, a));
        self.wires.retain(|(from, to, _)| (*from, *to) != (a, b) && (*from, *to) != (b, a));
        for (at, other) in [(a, b), (b, a)] {
            let device = self.nodes[other].replica.device();
            self.step(at, Input::PeerDown(device));
        }
    }

    /// Loses what two nodes say from now on, before either of them notices.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.links.remove(&(a, b));
        self.links.remove(&(b, a));
    }

    /// Holds back what one node says to another, in order, until it is let go on.
    pub fn stall(&mut self, from: usize, to: usize) {
        self.stalled.insert((from, to), VecDeque::new());
    }

    /// Carries what was held back, which all arrives at once.
    pub fn go_on(&mut self, from: usize, to: usize) {
        let device = self.nodes[from].replica.device();
        let held = self.stalled.remove(&(from, to)).unwrap().into_iter();
        let said = held.flatten().map(|message| Input::PeerSaid(device, message));
        self.step_all(to, said.collect());
        self.settle();
    }

    pub fn write(&mut self, at: usize, app: &str, body: &[u8]) {
        let (ticket, app) = (Ticket(0), app.to_owned());
        let write = crate::Write { ticket, app, schema: None, body: body.to_vec() };
        self.step(at, Input::Write(write));
        let written = |effect: &Effect| matches!(effect, Effect::Written { .. });
        assert!(self.nodes[at].log.iter().any(written), "a local write is acknowledged");
    }

    pub fn command(&mut self, at: usize, command: Command) {
        self.step(at, Input::Command(Ticket(9), command));
        let rejected = self.nodes[at].log.iter().find_map(|effect| match effect {
            Effect::Rejected(_, error) => Some(error.to_string()),
            _ => None,
        });
        assert_eq!(rejected, None);
    }

    /// A device begins the next generation without the voters that are lost.
    pub fn reform(&mut self, by: usize, voter: usize, gone: &[usize]) {
        let plan = self.reform_plan(voter, gone);
        self.command(by, Command::Reform(plan));
    }

    fn reform_plan(&self, voter: usize, gone: &[usize]) -> ReformPlan {
        let device = |at: &usize| self.nodes[*at].replica.device();
        let (voter, revoked) = (device(&voter), gone.iter().map(device).collect());
        ReformPlan { voter, revoked, reason: crate::RevokeReason::Lost }
    }

    /// Why a device may not reform by itself, if it may not.
    pub fn may_reform(&mut self, by: usize, voter: usize) -> Result<(), CommandError> {
        let (tick, plan) = (self.tick(), self.reform_plan(voter, &[]));
        let node = &self.nodes[by];
        let mut overlay = Overlay::new(&node.index);
        let access = Access { index: &mut overlay, blocks: &node.shelf };
        node.replica.may_reform(tick, &access, &plan)
    }

    /// The kit begins the next generation, on the word of `at`.
    pub fn reform_by_kit(&mut self, at: usize, voter: usize, gone: &[usize]) {
        let (tick, plan) = (self.tick(), self.reform_plan(voter, gone));
        let kit = RecoveryKit::from_entropy(self.kit);
        let node = &self.nodes[at];
        let mut overlay = Overlay::new(&node.index);
        let access = Access { index: &mut overlay, blocks: &node.shelf };
        let record = node.replica.reform_by_kit(tick, &access, &plan, &kit).unwrap();
        self.command(at, Command::Take(Box::new(record)));
    }

    /// A reform by a device that believes in an old control log and a newer order.
    pub fn forge_reform(&mut self, by: usize, old: &ControlLog, base: Seen) -> ControlRecord {
        let (tick, plan) = (self.tick(), self.reform_plan(by, &[]));
        let node = &self.nodes[by];
        let mut overlay = Overlay::new(&node.index);
        let access = Access { index: &mut overlay, blocks: &node.shelf };
        let body = node.replica.reform_body(tick, &access, &plan).unwrap();
        let ControlBody::Reform(mut reform) = body else { unreachable!() };
        let state = old.state();
        let wraps = reform.epoch.wraps;
        let recipients = state.recipients(&[]);
        reform.epoch.wraps =
            wraps.into_iter().filter(|wrap| recipients.contains(&wrap.recipient)).collect();
        (reform.base, reform.generation) = (base, state.generation() + 1);
        let author = Author::Device(node.replica.device());
        let draft = old.draft(author, tick.now_ms << 16, None, ControlBody::Reform(reform));
        draft.sign(&node.keys.signing)
    }

    /// The certificates that a node wrote or took, in the order of its disk.
    pub fn certificates(&self, at: usize) -> Vec<rhizome_cluster::Certificate> {
        let shelf = self.nodes[at].shelf.0.lock().unwrap();
        let read = |block: &Block| rhizome_cluster::Certificate::read(&block.bytes).ok();
        shelf.iter().filter_map(read).collect()
    }

    /// Removes a device with the recovery kit, on the word of `at`.
    pub fn remove_by_kit(&mut self, at: usize, gone: usize) {
        let (tick, device) = (self.tick(), self.nodes[gone].replica.device());
        let kit = RecoveryKit::from_entropy(self.kit);
        let reason = crate::RevokeReason::Lost;
        let record = self.nodes[at].replica.removal_by_kit(tick, device, reason, &kit).unwrap();
        self.command(at, Command::Take(Box::new(record)));
    }

    /// What the kit of this world is told when it removes a device of another.
    pub fn try_kit_on(&self, at: &Node, gone: &Node) -> CommandError {
        let tick = Tick { now_ms: self.clock_ms, entropy: [9; 32] };
        let kit = RecoveryKit::from_entropy(self.kit);
        let (device, reason) = (gone.replica.device(), crate::RevokeReason::Lost);
        at.replica.removal_by_kit(tick, device, reason, &kit).unwrap_err()
    }

    /// A device that the kit lets in, with the control log of `at`.
    pub fn link_by_kit(&mut self, at: usize, kind: DeviceKind) -> usize {
        let keys = device_keys(self.next_key);
        self.next_key += 1;
        let tick = self.tick();
        let kit = RecoveryKit::from_entropy(self.kit);
        let control = self.nodes[at].replica.control().clone();
        let now = (tick.now_ms, tick.entropy);
        let record = crate::recovery_record(&control, &kit, &keys, "new", (kind, None), now);
        let genesis = self.nodes[at].genesis.clone();
        self.nodes.push(node(&genesis, keys, kind));
        let new = self.nodes.len() - 1;
        let chain = control.chain_from(1).into_iter().cloned();
        for record in chain.chain([record.unwrap()]) {
            self.command(new, Command::Take(Box::new(record.clone())));
            self.command(at, Command::Take(Box::new(record)));
        }
        new
    }

    /// Why a write is refused.
    pub fn refused_write(&mut self, at: usize) -> String {
        let (ticket, app) = (Ticket(0), "notes".to_owned());
        let write = crate::Write { ticket, app, schema: None, body: Vec::new() };
        let before = self.nodes[at].log.len();
        self.step(at, Input::Write(write));
        let refused = self.nodes[at].log[before..].iter().find_map(|effect| match effect {
            Effect::Rejected(_, error) => Some(error.to_string()),
            _ => None,
        });
        refused.expect("the write is refused")
    }

    /// Where a checkpoint of a node begins.
    pub fn base(&self, at: usize) -> crate::Base {
        let node = &self.nodes[at];
        let mut overlay = Overlay::new(&node.index);
        let access = Access { index: &mut overlay, blocks: &node.shelf };
        let base = node.replica.base(&access).unwrap().expect("everything took effect");
        crate::Base::read(&base.block().bytes).unwrap()
    }

    /// Begins at a checkpoint of another node.
    pub fn begin(&mut self, at: usize, base: crate::Base) {
        self.step(at, Input::Begin(Ticket(7), Box::new(base)));
    }

    pub fn is_connected(&self, a: usize, b: usize) -> bool {
        self.links.contains(&(a, b))
    }

    /// Whether `at` could remove `gone` by itself, and if not, why.
    pub fn may_remove(&mut self, at: usize, gone: usize) -> Result<(), CommandError> {
        let (tick, device) = (self.tick(), self.nodes[gone].replica.device());
        self.nodes[at].replica.may_remove(tick, device)
    }

    pub fn plan(&mut self, at: usize) {
        let present: BTreeSet<DeviceId> =
            self.nodes.iter().map(|node| node.replica.device()).collect();
        let (mostly_on, policy) = (BTreeSet::new(), VoterPolicy::default());
        self.command(at, Command::PlanVoters { present, mostly_on, policy });
    }

    pub fn pin(&mut self, at: usize, set: PinSet) {
        self.step(at, Input::Pin(Ticket(8), set));
    }

    pub fn pins(&self, at: usize) -> BTreeMap<Cid, (Manifest, BTreeSet<DeviceId>)> {
        let node = &self.nodes[at];
        let mut overlay = Overlay::new(&node.index);
        let access = Access { index: &mut overlay, blocks: &node.shelf };
        node.replica.pins(&access).unwrap()
    }

    /// Admits a new device and hands it the control log, as linking does.
    pub fn link(&mut self, at: usize, kind: DeviceKind) -> usize {
        let keys = device_keys(self.next_key);
        self.next_key += 1;
        let genesis = self.nodes[at].genesis.clone();
        let acceptance = Acceptance::of(&keys, genesis.root(), kind);
        let signature = acceptance.sign(&keys.signing);
        let name = format!("{kind:?}");
        self.command(at, Command::Admit { acceptance, signature, name });
        let records: Vec<_> =
            self.nodes[at].replica.control().chain_from(1).into_iter().cloned().collect();
        self.nodes.push(node(&genesis, keys, kind));
        let new = self.nodes.len() - 1;
        for record in records {
            self.command(new, Command::Take(Box::new(record)));
        }
        new
    }

    /// Takes the first node of another world in, without admitting it.
    pub fn adopt_node(&mut self, mut other: World) -> usize {
        self.nodes.push(other.nodes.remove(0));
        self.nodes.len() - 1
    }

    fn bodies(&self, at: usize, effective: bool) -> Vec<String> {
        let mut pending = BTreeMap::new();
        let mut found = Vec::new();
        for delivery in &self.nodes[at].delivered {
            match delivery {
                Delivery::Pending(event) => {
                    pending.insert((event.log, event.seq), event.body.clone());
                }
                Delivery::Settled { log, seq, .. } => found.extend(pending.remove(&(*log, *seq))),
                Delivery::Effective { event, .. } => found.push(event.body.clone()),
                Delivery::Retracted { log, seq } => {
                    pending.remove(&(*log, *seq));
                }
            }
        }
        let bodies: Vec<Vec<u8>> = if effective { found } else { pending.into_values().collect() };
        bodies.into_iter().map(|body| String::from_utf8(body).unwrap()).collect()
    }

    pub fn effective(&self, at: usize) -> Vec<String> {
        self.bodies(at, true)
    }

    pub fn pending(&self, at: usize) -> usize {
        self.bodies(at, false).len()
    }

    pub fn pending_bodies(&self, at: usize) -> Vec<String> {
        self.bodies(at, false)
    }

    pub fn rows(&self, at: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        self.nodes[at].index.scan(Bound::Unbounded, Bound::Unbounded, false, &mut visit).unwrap();
        rows
    }

    /// Closes a node and opens it again, from its rows or from its blocks alone.
    pub fn reopen(&mut self, at: usize, keep_rows: bool) {
        for other in 0..self.nodes.len() {
            self.disconnect(at, other);
        }
        let rows = if keep_rows { self.rows(at) } else { Vec::new() };
        let node = &mut self.nodes[at];
        node.index = MemoryIndex::default();
        let mut batch = rhizome_log::Batch::default();
        rows.into_iter().for_each(|(key, value)| batch.put(key, value));
        if keep_rows {
            batch.put(vec![crate::space::MARK], Vec::new());
        }
        node.index.write(batch).unwrap();
        node.replica = open(&node.genesis, &node.keys, node.kind, &node.index, &node.shelf);
        let mut batch = rhizome_log::Batch::default();
        batch.remove(vec![crate::space::MARK]);
        node.index.write(batch).unwrap();
        if self.nodes[at].replica.rewinds() {
            self.rewind(at);
        } else if !keep_rows {
            self.redeliver(at);
        }
    }

    /// Deliveries of a full replay, for nodes whose rows were thrown away.
    fn redeliver(&mut self, at: usize) {
        let index = self.outlasting(at);
        let node = &mut self.nodes[at];
        node.delivered.clear();
        let mut overlay = Overlay::new(&index);
        let mut access = Access { index: &mut overlay, blocks: &node.shelf };
        let all = match node.kind {
            DeviceKind::CloudPeer => {
                ReplicaKeys::blind(node.genesis.root(), node.keys.signing.clone())
            }
            _ => ReplicaKeys::trusted(node.genesis.root(), node.keys.clone()),
        };
        let mut replica = Replica::open(all, node.genesis.clone(), &mut access).unwrap();
        let mut replay = Replay::default();
        let blocks = node.shelf.0.lock().unwrap().clone();
        for (n, block) in blocks.iter().enumerate() {
            let place = Place { segment: 1, offset: n as u64, bytes: block.bytes.len() as u32 };
            replica.replay(&mut access, &mut replay, place, block.cid, &block.bytes).unwrap();
        }
        for effect in replica.finish_replay(&mut access, &mut replay, true).unwrap() {
            if let Effect::Deliver(deliveries) = effect {
                node.delivered.extend(deliveries);
            }
        }
    }

    /// Puts a block of a node behind all others.
    pub fn read_last(&mut self, at: usize, cid: Cid) {
        let mut shelf = self.nodes[at].shelf.0.lock().unwrap();
        let from = shelf.iter().position(|block| block.cid == cid).unwrap();
        let block = shelf.remove(from);
        shelf.push(block);
    }

    /// Loses the last blocks of a node, as a torn write does.
    pub fn cut_blocks(&mut self, at: usize, count: usize) {
        let mut shelf = self.nodes[at].shelf.0.lock().unwrap();
        let left = shelf.len() - count;
        shelf.truncate(left);
    }

    /// Opens a node from its blocks alone, whose end nobody can vouch for.
    pub fn reopen_in_doubt(&mut self, at: usize, known: &[DeviceId]) {
        self.reopen(at, false);
        let node = &mut self.nodes[at];
        let mut overlay = Overlay::new(&node.index);
        let mut access = Access { index: &mut overlay, blocks: &node.shelf };
        node.replica.doubt(&mut access, known.iter().copied().collect());
        node.index.write(overlay.into_batch()).unwrap();
        self.step(at, Input::Opened);
    }

    pub fn fork(&self, at: usize) -> Fork {
        let blocks = self.nodes[at].shelf.0.lock().unwrap().clone();
        Fork { blocks, rows: self.rows(at) }
    }

    /// Puts a node back to what it was, as a malicious orderer would.
    pub fn restore(&mut self, at: usize, fork: Fork) {
        *self.nodes[at].shelf.0.lock().unwrap() = fork.blocks;
        self.nodes[at].index = MemoryIndex::default();
        let mut batch = rhizome_log::Batch::default();
        fork.rows.into_iter().for_each(|(key, value)| batch.put(key, value));
        self.nodes[at].index.write(batch).unwrap();
        self.reopen(at, true);
    }
}

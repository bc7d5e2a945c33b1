//! A replica with blocks and rows in memory: device 2 of the small identity, after it heard what
//! device 1 admitted, wrote and ordered.

use crate::family;
use rhizome_block::{Block, Cid};
use rhizome_identity::{Acceptance, DeviceId, DeviceKind};
use rhizome_log::{Batch, Blocks, Head, Index, LogId, MemoryIndex, Overlay, Place, ReadError};
use rhizome_replica::{
    Access, Command, Effect, Input, Message, Replay, Replica, ReplicaKeys, Tick, Ticket, Write,
};
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, OnceLock};

/// App that device 1 writes for.
pub(super) const APP: &str = "notes";

/// Rows and blocks of device 2, and what was said to it.
pub(super) struct Stored {
    replica: Replica,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    blocks: Vec<Block>,
    said: Vec<Message>,
    /// The log of device 1 and its head.
    pub(super) log: LogId,
    pub(super) head: Head,
}

/// Blocks by number: those that are stored, then those of this run.
#[derive(Default)]
struct Shelf {
    stored: &'static [Block],
    added: Mutex<Vec<Block>>,
}

impl Shelf {
    fn all(&self) -> Vec<Block> {
        let added = self.added.lock().expect("nobody panics while holding the shelf");
        self.stored.iter().chain(added.iter()).cloned().collect()
    }

    fn add(&self, blocks: Vec<Block>) -> Vec<Place> {
        let mut added = self.added.lock().expect("nobody panics while holding the shelf");
        let first = self.stored.len() + added.len();
        let places = blocks.iter().enumerate().map(|(n, block)| place(first + n, block)).collect();
        added.extend(blocks);
        places
    }
}

fn place(n: usize, block: &Block) -> Place {
    let bytes = u32::try_from(block.bytes.len()).expect("blocks are short");
    Place { segment: 1, offset: n as u64, bytes }
}

impl Blocks for Shelf {
    fn read(&self, place: Place, cid: &Cid) -> Result<Vec<u8>, ReadError> {
        let at = usize::try_from(place.offset).expect("a number of a block");
        let added = self.added.lock().expect("nobody panics while holding the shelf");
        let found = self.stored.get(at).or_else(|| added.get(at - self.stored.len()));
        let found = found.filter(|block| block.cid == *cid);
        found.map(|block| block.bytes.clone()).ok_or(ReadError::Damaged { cid: *cid })
    }
}

/// One replica and its driver.
pub(super) struct Node {
    pub(super) replica: Replica,
    index: MemoryIndex,
    shelf: Shelf,
    device: u8,
    ticks: u64,
}

impl Node {
    /// Device 2, as it was stored. Opening checks all signatures, so that is done once.
    pub(super) fn open() -> Self {
        let stored = stored();
        let index = index(&stored.rows);
        let shelf = Shelf { stored: &stored.blocks, added: Mutex::default() };
        Self { replica: stored.replica.clone(), index, shelf, device: 2, ticks: 0 }
    }

    fn new(device: u8) -> Self {
        let (index, shelf) = (MemoryIndex::default(), Shelf::default());
        let replica = open(device, &index, &shelf, &[]);
        let mut node = Self { replica, index, shelf, device, ticks: 0 };
        node.step(Input::Opened);
        node
    }

    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        let mut entropy = [self.device; 32];
        entropy[..8].copy_from_slice(&self.ticks.to_be_bytes());
        // A day and a bit after the beginning, so that nobody is too new for anything.
        Tick { now_ms: family::START_MS + 90_000_000 + self.ticks, entropy }
    }

    /// Steps one input as a driver does, to the end of its batch, and returns all effects.
    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        let (mut todo, mut done) = (vec![input, Input::Flush], Vec::new());
        while !todo.is_empty() {
            let (input, tick) = (todo.remove(0), self.tick());
            let mut overlay = Overlay::new(&self.index);
            let mut access = Access { index: &mut overlay, blocks: &self.shelf };
            let effects = self.replica.step(tick, &mut access, input);
            let effects = effects.expect("nothing that is said breaks a disk");
            let batch = overlay.into_batch();
            self.index.write(batch).expect("memory takes rows");
            for effect in &effects {
                if let Effect::Append(blocks) = effect {
                    let places = self.shelf.add(blocks.clone());
                    todo.insert(0, Input::Flush);
                    todo.insert(0, Input::Durable(places));
                }
            }
            done.extend(effects);
        }
        done
    }

    /// Opened from its blocks alone it is what it was.
    pub(super) fn holds_after_a_restart(&self) {
        let blocks = self.shelf.all();
        let again = open(self.device, &MemoryIndex::default(), &self.shelf, &blocks);
        assert_eq!(again.control().head(), self.replica.control().head());
        assert_eq!(again.control().state(), self.replica.control().state());
        let final_heads = [&again, &self.replica].map(|one| one.control().committed_head());
        assert_eq!(final_heads[0], final_heads[1]);
        assert_eq!(again.applied(), self.replica.applied());
    }
}

fn open(device: u8, index: &MemoryIndex, shelf: &Shelf, blocks: &[Block]) -> Replica {
    let (genesis, keys) = (family::genesis(), family::keys(device));
    let keys = ReplicaKeys::trusted(genesis.root(), keys.clone());
    let mut overlay = Overlay::new(index);
    let mut access = Access { index: &mut overlay, blocks: shelf };
    let mut replica = Replica::open(keys, genesis.clone(), &mut access)
        .expect("genesis and keys belong together");
    let mut replay = Replay::default();
    for (n, block) in blocks.iter().enumerate() {
        let place = place(n, block);
        replica
            .replay(&mut access, &mut replay, place, block.cid, &block.bytes)
            .expect("what was appended replays");
    }
    replica.finish_replay(&mut access, &mut replay, true).expect("what was appended replays");
    index.write(overlay.into_batch()).expect("memory takes rows");
    replica
}

/// What device 1 said to device 2 until both held the same: seeds.
pub(crate) fn said() -> &'static [Message] {
    &stored().said
}

/// Device 2 after a first conversation with device 1.
pub(super) fn stored() -> &'static Stored {
    static STORED: OnceLock<Stored> = OnceLock::new();
    STORED.get_or_init(|| {
        let mut first = Node::new(1);
        for (n, kind) in
            [(2, DeviceKind::Desktop), (3, DeviceKind::Phone), (4, DeviceKind::CloudPeer)]
        {
            let acceptance = Acceptance::of(family::keys(n), family::genesis().root(), kind);
            let signature = acceptance.sign(&family::keys(n).signing);
            let name = format!("{kind:?}");
            first.step(Input::Command(Ticket(1), Command::Admit { acceptance, signature, name }));
        }
        let mut written = None;
        for n in 0..3 {
            let (ticket, app, body) = (Ticket(2), APP.to_owned(), vec![n; 20]);
            let effects = first.step(Input::Write(Write { ticket, app, schema: None, body }));
            written = effects.iter().find_map(|one| match one {
                Effect::Written { log, seq, id, .. } => Some((*log, Head { seq: *seq, id: *id })),
                _ => None,
            });
        }
        let (log, head) = written.expect("a local write is acknowledged");
        let mut second = Node::new(2);
        let records = first.replica.control().chain_from(1).into_iter().cloned();
        for record in records {
            second.step(Input::Command(Ticket(3), Command::Take(Box::new(record))));
        }
        let said = talk(&mut first, &mut second);
        let (rows, blocks) = (rows(&second.index), second.shelf.all());
        let shelf = Shelf { stored: &[], added: Mutex::new(blocks.clone()) };
        let mut again = Node {
            replica: open(2, &index(&rows), &shelf, &[]),
            index: index(&rows),
            shelf,
            device: 2,
            ticks: 0,
        };
        again.step(Input::Opened);
        Stored { replica: again.replica, rows, blocks, said, log, head }
    })
}

/// Carries messages between both until nobody has anything to say; returns what the first said.
fn talk(first: &mut Node, second: &mut Node) -> Vec<Message> {
    let (one, two): (DeviceId, DeviceId) = (first.replica.device(), second.replica.device());
    let mut to_two = sent(first.step(Input::PeerUp(two)));
    let mut to_one = sent(second.step(Input::PeerUp(one)));
    let mut said = Vec::new();
    while !to_one.is_empty() || !to_two.is_empty() {
        for message in std::mem::take(&mut to_two) {
            said.push(message.clone());
            to_one.extend(sent(second.step(Input::PeerSaid(one, message))));
        }
        for message in std::mem::take(&mut to_one) {
            to_two.extend(sent(first.step(Input::PeerSaid(two, message))));
        }
    }
    said
}

fn sent(effects: Vec<Effect>) -> Vec<Message> {
    let message = |effect| match effect {
        Effect::Send(_, message) => Some(message),
        _ => None,
    };
    effects.into_iter().filter_map(message).collect()
}

fn index(rows: &[(Vec<u8>, Vec<u8>)]) -> MemoryIndex {
    let (index, mut batch) = (MemoryIndex::default(), Batch::default());
    rows.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone()));
    index.write(batch).expect("memory takes rows");
    index
}

fn rows(index: &MemoryIndex) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    index.scan(Bound::Unbounded, Bound::Unbounded, false, &mut visit).expect("memory gives rows");
    rows
}

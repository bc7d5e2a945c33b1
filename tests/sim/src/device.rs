//! One device: its keys, its disk that fails, its index that lags, and the engine over both.
//!
//! The engine and the store are those of the pod. Here is only what a machine is to them: bytes
//! that survive a crash or do not, and a clock that is wrong.

use crate::dice::Dice;
use rhizome_block::{Block, Cid};
use rhizome_engine::{Done, Engine, EngineError, Fold, Journal, JournalError, Work};
use rhizome_identity::{DeviceId, DeviceKeys, DeviceKind, Genesis};
use rhizome_log::{Batch, Blocks, Index, MemoryIndex, Overlay, Place, ReadError};
use rhizome_replica::{Access, Input, Replica, ReplicaKeys, Tick, space};
use rhizome_store::{Crash, FaultDisk, Mark, MemoryDisk, Section, SegmentsConfig, Store};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// Segments of this world are small, so that a run rolls over several.
const SEGMENT_BYTES_MAX: u64 = 64 << 10;

/// Blocks folded between two writes of the index: few, so that stretches are many.
const STRETCH: usize = 64;

/// Most folds in a row: each learns of one more reform that wins.
const REWINDS_MAX: usize = 16;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// One device of the world.
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// Its keys.
    pub keys: DeviceKeys,
    /// How far its clock is off.
    pub skew_ms: i64,
    /// The engine, while the device is on.
    pub engine: Option<Engine>,
    /// What can go wrong with its disk next.
    pub disk: Arc<FaultDisk>,
    /// Connections that are up, as this device sees them.
    pub peers: BTreeMap<DeviceId, u64>,
    genesis: Genesis,
    memory: MemoryDisk,
    index: MemoryIndex,
    /// What the index held at some moment before: a crash may go back to it.
    flushed: Rows,
    store: Option<Store>,
}

struct SimJournal<'a>(&'a Store);

impl Blocks for SimJournal<'_> {
    fn read(&self, place: Place, cid: &Cid) -> Result<Vec<u8>, ReadError> {
        Blocks::read(self.0, place, cid)
    }
}

impl Journal for SimJournal<'_> {
    fn append(&self, blocks: &[Block]) -> Result<Vec<Place>, JournalError> {
        let sections: Vec<Section<'_>> =
            blocks.iter().map(|block| Section { cid: block.cid, bytes: &block.bytes }).collect();
        let appended = self.0.append_durable(&sections);
        appended.map_err(|error| JournalError { what: error.to_string().into() })
    }

    fn mark(&self) -> Vec<u8> {
        self.0.end().to_bytes()
    }
}

/// What survives of the index in a crash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IndexLoss {
    /// All of it.
    Nothing,
    /// What was written since it was last flushed is gone.
    Tail,
    /// All of it is gone.
    Everything,
}

impl Device {
    /// A new device with an empty disk, switched on.
    #[must_use]
    pub fn new(genesis: &Genesis, keys: DeviceKeys, kind: DeviceKind, skew_ms: i64) -> Self {
        let memory = MemoryDisk::default();
        let disk = Arc::new(FaultDisk::new(Arc::new(memory.clone())));
        let mut device = Self {
            kind,
            keys,
            skew_ms,
            engine: None,
            disk,
            peers: BTreeMap::new(),
            genesis: genesis.clone(),
            memory,
            index: MemoryIndex::default(),
            flushed: Rows::new(),
            store: None,
        };
        device.switch_on();
        device
    }

    /// Another machine with the same keys, and a copy of all that this one's disk holds.
    #[must_use]
    pub fn twin(&self) -> Self {
        let memory = self.memory.fork();
        let disk = Arc::new(FaultDisk::new(Arc::new(memory.clone())));
        let mut twin = Self {
            kind: self.kind,
            keys: self.keys.clone(),
            skew_ms: self.skew_ms,
            engine: None,
            disk,
            peers: BTreeMap::new(),
            genesis: self.genesis.clone(),
            memory,
            index: index_of(&rows(&self.index)),
            flushed: Rows::new(),
            store: None,
        };
        twin.switch_on();
        twin
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.keys.signing.device_id()
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.engine.is_some()
    }

    /// Its replica, while it is on.
    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        self.engine.as_ref().map(Engine::replica)
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> &dyn Index {
        &self.index
    }

    /// Whether its store takes writes.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.failed().is_none())
    }

    /// Opens what the disk holds, as a pod does when it starts.
    pub fn switch_on(&mut self) {
        self.disk = Arc::new(FaultDisk::new(Arc::new(self.memory.clone())));
        let (store, engine) = open(&self.genesis, &self.keys, self.kind, &self.disk, &self.index);
        self.store = Some(store);
        self.engine = Some(engine);
    }

    /// Cuts its power. What was not synced is lost in part.
    pub fn crash(&mut self, dice: &mut Dice, loss: IndexLoss) {
        (self.engine, self.store) = (None, None);
        self.peers.clear();
        self.memory.crash(Crash::Picked(&mut || dice.chance(50)));
        match loss {
            IndexLoss::Nothing => {}
            IndexLoss::Tail => self.index = index_of(&self.flushed),
            IndexLoss::Everything => self.index = MemoryIndex::default(),
        }
        self.flushed = rows(&self.index);
    }

    /// The index is flushed: a later crash goes back no further.
    pub fn flush_index(&mut self) {
        self.flushed = rows(&self.index);
    }

    /// Empties the index and folds the disk into it, because what was ordered does not count.
    pub fn rewind(&mut self) {
        let engine = self.engine.take().expect("only a device that is on rewinds");
        let store = self.store.as_ref().expect("a device that is on has a store");
        self.peers.clear();
        self.engine =
            Some(rewound(engine, &self.genesis, &self.keys, self.kind, store, &self.index));
    }

    /// Looks at the replica and its rows.
    pub fn look<T>(&self, look: impl FnOnce(&Replica, &Access<'_, '_>) -> T) -> Option<T> {
        let (replica, store) = (self.replica()?, self.store.as_ref()?);
        let mut overlay = Overlay::new(&self.index);
        let journal = SimJournal(store);
        Some(look(replica, &Access { index: &mut overlay, blocks: &journal }))
    }

    /// Does one batch. After a disk that refused, the engine is opened again from its index, as the
    /// pod's actor does.
    pub fn batch(&mut self, now_ms: u64, dice: &mut Dice, inputs: Vec<Input>) -> Option<Done> {
        let now_ms = now_ms.saturating_add_signed(self.skew_ms);
        let mut tick = || Tick { now_ms, entropy: dice.bytes32() };
        let engine = self.engine.as_mut().expect("only a device that is on does something");
        let store = self.store.as_ref().expect("a device that is on has a store");
        let work = inputs.into_iter().map(Work::Input).collect();
        match engine.batch(&mut tick, &self.index, &SimJournal(store), work) {
            Ok(done) => Some(done),
            Err(EngineError::Journal(_)) => {
                let keys = keys_of(&self.genesis, &self.keys, self.kind);
                let mut engine = Engine::open(keys, self.genesis.clone(), &self.index)
                    .expect("rows that were written can be read");
                engine.start_new_incarnations();
                self.engine = Some(engine);
                self.peers.clear();
                None
            }
            Err(error) => panic!("{:?} cannot go on: {error:?}", self.kind),
        }
    }

    /// An index folded from the blocks alone, to compare the live one with.
    #[must_use]
    pub fn folded_anew(&self) -> MemoryIndex {
        let index = MemoryIndex::default();
        let memory = self.memory.fork();
        let disk = Arc::new(FaultDisk::new(Arc::new(memory)));
        drop(open(&self.genesis, &self.keys, self.kind, &disk, &index));
        index
    }

    /// All bytes on its disk.
    #[must_use]
    pub fn disk_bytes(&self) -> Vec<Vec<u8>> {
        use rhizome_store::Disk as _;
        let names = self.memory.list().unwrap_or_default();
        names.iter().filter_map(|name| self.memory.bytes(name)).collect()
    }
}

fn keys_of(genesis: &Genesis, keys: &DeviceKeys, kind: DeviceKind) -> ReplicaKeys {
    match kind {
        DeviceKind::CloudPeer => ReplicaKeys::blind(genesis.root(), keys.signing.clone()),
        _ => ReplicaKeys::trusted(genesis.root(), keys.clone()),
    }
}

fn open(
    genesis: &Genesis,
    keys: &DeviceKeys,
    kind: DeviceKind,
    disk: &Arc<FaultDisk>,
    index: &MemoryIndex,
) -> (Store, Engine) {
    let mine = keys_of(genesis, keys, kind);
    let mut engine =
        Engine::open(mine, genesis.clone(), index).expect("rows that were written can be read");
    let since =
        index.get(&[space::MARK]).expect("memory answers").and_then(|m| Mark::from_bytes(&m));
    let config = SegmentsConfig { segment_bytes_max: SEGMENT_BYTES_MAX };
    let mut blocks = Vec::new();
    let disk = Arc::clone(disk) as Arc<dyn rhizome_store::Disk>;
    let (store, report) = Store::open(disk, config, since, &mut |place, cid, bytes| {
        blocks.push((place, cid, bytes.to_vec()));
    })
    .expect("segments that were written can be opened");
    let journal = SimJournal(&store);
    let mut fold = Fold::default();
    for stretch in blocks.chunks(STRETCH) {
        let folded = engine.fold(&mut fold, index, &journal, stretch, &mut |_, _, _, _| {});
        folded.expect("blocks that were written can be folded");
    }
    engine.finish_fold(fold, index, &journal).expect("a fold ends");
    let mut engine = rewound(engine, genesis, keys, kind, &store, index);
    if report.torn.is_some() || report.damages_count > 0 {
        engine.start_new_incarnations();
    }
    (store, engine)
}

/// Folds everything anew for as long as the engine asks for it.
fn rewound(
    mut engine: Engine,
    genesis: &Genesis,
    keys: &DeviceKeys,
    kind: DeviceKind,
    store: &Store,
    index: &MemoryIndex,
) -> Engine {
    for _ in 0..REWINDS_MAX {
        if !engine.rewinds() {
            return engine;
        }
        engine.rewind(index).expect("memory takes rows");
        let keys = keys_of(genesis, keys, kind);
        engine = Engine::open(keys, genesis.clone(), index).expect("an empty index opens");
        let mut blocks = Vec::new();
        let visited = store.visit_from(Mark::default(), &mut |place, cid, bytes| {
            blocks.push((place, cid, bytes.to_vec()));
        });
        visited.expect("segments that were written can be read");
        let (journal, mut fold) = (SimJournal(store), Fold::default());
        for stretch in blocks.chunks(STRETCH) {
            let folded = engine.fold(&mut fold, index, &journal, stretch, &mut |_, _, _, _| {});
            folded.expect("blocks that were written can be folded");
        }
        engine.finish_fold(fold, index, &journal).expect("a fold ends");
    }
    panic!("a device never stops rewinding");
}

fn rows(index: &MemoryIndex) -> Rows {
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    index.scan(Bound::Unbounded, Bound::Unbounded, false, &mut visit).expect("memory answers");
    rows
}

fn index_of(rows: &Rows) -> MemoryIndex {
    let index = MemoryIndex::default();
    let mut batch = Batch::default();
    rows.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone()));
    index.write(batch).expect("memory takes rows");
    index
}

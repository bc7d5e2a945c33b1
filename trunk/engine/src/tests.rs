//! One engine over a journal in memory that can refuse.

use crate::{Engine, EngineError, Fold, Journal, JournalError, Work};
use rhizome_block::{Block, Cid};
use rhizome_doc::{Batch, Documents, Mutation};
use rhizome_identity::{DeviceKeys, DeviceKind, Genesis, RecoveryKit};
use rhizome_log::{Blocks, Index, MemoryIndex, Place, ReadError};
use rhizome_replica::{Effect, Founding, Input, ReplicaKeys, Tick, Ticket, Write, found, space};
use rhizome_schema::{DocPath, Fields, Value};
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, atomic::AtomicBool, atomic::Ordering};

const APP: &str = "org.example.notes";

/// Blocks in memory; a place is a number, and the mark is how many there are.
#[derive(Default)]
struct Shelf {
    blocks: Mutex<Vec<Block>>,
    full: AtomicBool,
}

impl Shelf {
    fn all(&self) -> Vec<(Place, Cid, Vec<u8>)> {
        let blocks = self.blocks.lock().unwrap();
        let one = |(n, block): (usize, &Block)| (place(n, block), block.cid, block.bytes.clone());
        blocks.iter().enumerate().map(one).collect()
    }
}

fn place(n: usize, block: &Block) -> Place {
    Place { segment: 1, offset: n as u64, bytes: block.bytes.len() as u32 }
}

impl Blocks for Shelf {
    fn read(&self, place: Place, cid: &Cid) -> Result<Vec<u8>, ReadError> {
        let blocks = self.blocks.lock().unwrap();
        let found = blocks.get(place.offset as usize).filter(|block| block.cid == *cid);
        found.map(|block| block.bytes.clone()).ok_or(ReadError::Damaged { cid: *cid })
    }
}

impl Journal for Shelf {
    fn append(&self, blocks: &[Block]) -> Result<Vec<Place>, JournalError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(JournalError { what: "no space left".into() });
        }
        let mut all = self.blocks.lock().unwrap();
        let from = all.len();
        all.extend_from_slice(blocks);
        Ok(blocks.iter().enumerate().map(|(n, block)| place(from + n, block)).collect())
    }

    fn mark(&self) -> Vec<u8> {
        self.blocks.lock().unwrap().len().to_be_bytes().to_vec()
    }
}

struct Device {
    genesis: Genesis,
    keys: DeviceKeys,
    index: MemoryIndex,
    shelf: Shelf,
    engine: Engine,
    steps: u64,
}

impl Device {
    fn new() -> Self {
        let (kit, keys) = (RecoveryKit::from_entropy([7; 32]), DeviceKeys::from_bytes(&[9; 64]));
        let kind = DeviceKind::Laptop;
        let name = "laptop";
        let founding = Founding { kit: &kit, keys: &keys, kind, name, entropy: [1; 32], now_ms: 1 };
        let genesis = found(&founding).unwrap();
        let index = MemoryIndex::default();
        let engine = open(&genesis, &keys, &index);
        let mut device = Self { genesis, keys, index, shelf: Shelf::default(), engine, steps: 0 };
        device.work(Input::Opened).unwrap();
        device
    }

    fn work(&mut self, input: Input) -> Result<Vec<Effect>, EngineError> {
        let steps = &mut self.steps;
        let mut tick = || {
            *steps += 1;
            Tick { now_ms: 1_000_000 + *steps, entropy: [(*steps % 251) as u8; 32] }
        };
        let work = vec![Work::Input(input)];
        Ok(self.engine.batch(&mut tick, &self.index, &self.shelf, work)?.effects)
    }

    fn set(&mut self, path: &str, title: &str) -> Result<Vec<Effect>, EngineError> {
        let value = Fields::from([("title".into(), Value::from(title))]);
        let body = Batch::new(vec![Mutation::set(path.parse().unwrap(), value)]).to_body().unwrap();
        let app = APP.to_owned();
        self.work(Input::Write(Write { ticket: Ticket(1), app, schema: None, body }))
    }

    fn title(&self, path: &str) -> Option<Value> {
        let path: DocPath = path.parse().unwrap();
        let doc = Documents::new(APP).get(&self.index, &path).unwrap()?;
        doc.fields.get("title").cloned()
    }
}

fn open(genesis: &Genesis, keys: &DeviceKeys, index: &dyn Index) -> Engine {
    let keys = ReplicaKeys::trusted(genesis.root(), keys.clone());
    Engine::open(keys, genesis.clone(), index).unwrap()
}

fn rows(index: &dyn Index) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    index.scan(Bound::Unbounded, Bound::Unbounded, false, &mut visit).unwrap();
    rows
}

fn is_written(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Written { .. }))
}

#[test]
fn a_write_is_durable_and_a_document_before_anybody_is_told() {
    let mut device = Device::new();
    let before = device.shelf.all().len();
    let effects = device.set("notes/1", "one").unwrap();
    assert!(is_written(&effects));
    assert!(device.shelf.all().len() > before);
    assert_eq!(device.title("notes/1"), Some(Value::from("one")));
    assert_eq!(device.index.get(&[space::MARK]).unwrap(), Some(device.shelf.mark()));
}

#[test]
fn an_engine_opened_again_or_folded_from_blocks_alone_is_the_same() {
    let mut device = Device::new();
    for n in 0..20 {
        device.set(&format!("notes/{}", n % 7), &format!("text {n}")).unwrap();
    }
    let applied = device.engine.replica().applied();
    let again = open(&device.genesis, &device.keys, &device.index);
    assert_eq!(again.replica().applied(), applied);
    for stretch in [1, 3, 1_000] {
        let index = MemoryIndex::default();
        let mut folded = open(&device.genesis, &device.keys, &index);
        let mut fold = Fold::default();
        for blocks in device.shelf.all().chunks(stretch) {
            folded.fold(&mut fold, &index, &device.shelf, blocks, &mut |_, _, _, _| {}).unwrap();
        }
        folded.finish_fold(fold, &index, &device.shelf).unwrap();
        assert_eq!(folded.replica().applied(), applied, "in stretches of {stretch}");
        assert_eq!(rows(&index), rows(&device.index), "in stretches of {stretch}");
    }
}

#[test]
fn what_a_journal_refuses_leaves_no_row_and_is_told_to_nobody() {
    let mut device = Device::new();
    device.set("notes/1", "kept").unwrap();
    let before = rows(&device.index);
    device.shelf.full.store(true, Ordering::Relaxed);
    let error = device.set("notes/1", "lost").unwrap_err();
    assert!(matches!(error, EngineError::Journal(_)), "{error}");
    assert_eq!(rows(&device.index), before);
    device.shelf.full.store(false, Ordering::Relaxed);
    device.engine = open(&device.genesis, &device.keys, &device.index);
    device.engine.start_new_incarnations();
    assert_eq!(device.title("notes/1"), Some(Value::from("kept")));
    assert!(is_written(&device.set("notes/1", "after").unwrap()));
    assert_eq!(device.title("notes/1"), Some(Value::from("after")));
}

#[test]
fn an_edit_is_told_once_its_rows_are_written() {
    let mut device = Device::new();
    let (tell, told) = std::sync::mpsc::channel();
    let edit = Work::Edit(Box::new(move |overlay| {
        overlay.put(b"\xf0row".to_vec(), b"here".to_vec());
        Box::new(move || tell.send(()).unwrap())
    }));
    let mut tick = || Tick { now_ms: 2_000_000, entropy: [3; 32] };
    device.engine.batch(&mut tick, &device.index, &device.shelf, vec![edit]).unwrap();
    told.recv().unwrap();
    assert_eq!(device.index.get(b"\xf0row").unwrap(), Some(b"here".to_vec()));
}

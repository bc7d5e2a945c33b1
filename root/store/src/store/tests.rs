//! Many threads on one store: shared syncs, shared failures, reads beside them, repair.

use super::*;
use crate::segments::tests::{Found, Random};
use crate::{FaultDisk, FileDisk, MemoryDisk};
use rhizome_block::Codec;

fn open(disk: Arc<dyn Disk>) -> Store {
    Store::open(disk, SegmentsConfig::default(), None, &mut |_, _, _| {}).unwrap().0
}

fn append(store: &Store, bytes: Vec<u8>) -> Result<Found, StoreError> {
    let cid = Cid::of(Codec::Raw, &bytes);
    let places = store.append_durable(&[Section { cid, bytes: &bytes }])?;
    Ok(Found { place: places[0], cid, bytes })
}

/// A disk whose syncs wait for the gate.
struct Gate {
    below: FaultDisk,
    shut: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn new() -> Arc<Self> {
        let below = FaultDisk::new(Arc::new(MemoryDisk::default()));
        Arc::new(Self { below, shut: Mutex::new(false), moved: Condvar::new() })
    }

    fn set(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.moved.notify_all();
    }
}

impl Disk for Gate {
    fn create(&self, name: &str) -> io::Result<()> {
        self.below.create(name)
    }
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.below.append(name, bytes)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        drop(self.moved.wait_while(self.shut.lock().unwrap(), |shut| *shut).unwrap());
        self.below.sync(name)
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.below.read_at(name, offset, buffer)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.below.len(name)
    }
    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.below.truncate(name, len)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.below.list()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.below.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below.rename(from, to)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.below.sync_dir()
    }
}

/// Lets one thread write against a shut gate and 63 more wait behind it, does `meanwhile`, opens
/// the gate, and returns what everybody got.
fn crowd(
    gate: &Arc<Gate>,
    store: &Store,
    meanwhile: impl FnOnce(),
) -> Vec<Result<Found, StoreError>> {
    gate.set(true);
    std::thread::scope(|scope| {
        let spawn = |number: u8| scope.spawn(move || append(store, vec![number; 100]));
        let mut threads = vec![spawn(0)];
        while !store.queue().writing {
            std::thread::yield_now();
        }
        threads.extend((1..64).map(spawn));
        let section = rhizome_block::car::section_bytes(100);
        while store.queue().open.len() < 63 * section {
            std::thread::yield_now();
        }
        meanwhile();
        gate.set(false);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn sixty_four_threads_share_two_syncs() {
    let gate = Gate::new();
    let store = open(gate.clone());
    let found = crowd(&gate, &store, || {});
    assert_eq!(gate.below.faults().syncs, 2);
    for one in found.into_iter().map(Result::unwrap) {
        assert_eq!(store.read(one.place, Some(&one.cid)).unwrap(), one.bytes);
        assert_eq!(store.read(one.place, None).unwrap(), one.bytes);
    }
}

#[test]
fn a_batch_that_does_not_fit_fails_for_all_in_it_and_moves_nobody() {
    let gate = Gate::new();
    let store = open(gate.clone());
    append(&store, vec![9; 10]).unwrap();
    let found = crowd(&gate, &store, || gate.below.faults().space_bytes = Some(1_000));
    let good: Vec<_> = found.iter().filter_map(|one| one.as_ref().ok()).collect();
    assert_eq!(good.len(), 1);
    let full = |one: &&Result<Found, StoreError>| matches!(one, Err(StoreError::Full { .. }));
    assert_eq!(found.iter().filter(full).count(), 63);
    gate.below.faults().space_bytes = None;
    let next = append(&store, vec![1; 7]).unwrap();
    for one in [good[0], &next] {
        assert_eq!(store.read(one.place, Some(&one.cid)).unwrap(), one.bytes);
    }
    assert_eq!(store.failed(), None);
}

#[test]
fn a_failed_sync_fails_everybody_and_is_not_tried_again() {
    let gate = Gate::new();
    let store = open(gate.clone());
    let before = append(&store, vec![9; 10]).unwrap();
    gate.below.faults().sync_fails_at = Some(2);
    let found = crowd(&gate, &store, || {});
    let failed = |one: &Result<Found, StoreError>| matches!(one, Err(StoreError::Failed { .. }));
    assert!(found.iter().all(failed), "{found:?}");
    assert_eq!(gate.below.faults().syncs, 2);
    assert!(store.failed().is_some());
    assert_eq!(store.read(before.place, None).unwrap(), before.bytes);
}

#[test]
fn threads_on_a_real_disk_find_what_they_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultDisk::new(Arc::new(FileDisk::open(folder.path()).unwrap())));
    let config = SegmentsConfig { segment_bytes_max: 50_000 };
    let (store, _) = Store::open(disk.clone(), config.clone(), None, &mut |_, _, _| {}).unwrap();
    let before = disk.faults().syncs;
    std::thread::scope(|scope| {
        for thread in 1..=64 {
            let store = store.clone();
            scope.spawn(move || {
                let mut random = Random(thread);
                for _ in 0..10 {
                    let size = random.below(600);
                    let one = append(&store, random.bytes(size)).unwrap();
                    assert_eq!(store.read(one.place, Some(&one.cid)).unwrap(), one.bytes);
                }
            });
        }
    });
    let syncs = disk.faults().syncs - before;
    assert!(syncs < 640 / 2, "{syncs} syncs for 640 appends");
    let mut count = 0;
    let (again, report) = Store::open(disk, config, None, &mut |_, _, _| count += 1).unwrap();
    assert_eq!((count, report.damages_count, report.torn), (640, 0, None));
    assert_eq!(again.end(), store.end());
}

#[test]
fn a_visit_begins_at_its_mark_and_ends_at_the_end() {
    let store = open(Arc::new(MemoryDisk::default()));
    append(&store, vec![1]).unwrap();
    let mark = store.end();
    let second = append(&store, vec![2]).unwrap();
    let mut found = Vec::new();
    let visited = store.visit_from(mark, &mut |place, cid, bytes| {
        found.push(Found { place, cid, bytes: bytes.to_vec() });
    });
    let (end, report) = visited.unwrap();
    assert_eq!((found, end, report.sections), (vec![second], store.end(), 1));
    let (end, report) = store.visit_from(end, &mut |_, _, _| panic!("nothing is new")).unwrap();
    assert_eq!((end, report), (store.end(), Report::default()));
}

#[test]
fn a_repaired_block_is_found_at_its_newer_place() {
    let memory = MemoryDisk::default();
    let store = open(Arc::new(memory.clone()));
    let bad = append(&store, vec![5; 50]).unwrap();
    let other = append(&store, vec![6; 50]).unwrap();
    let mut bytes = memory.bytes("00000001.car").unwrap();
    bytes[bad.place.offset as usize] ^= 1;
    memory.put("00000001.car", bytes);

    let error = store.read(bad.place, Some(&bad.cid)).unwrap_err();
    assert!(
        matches!(error, ReadError::Damaged { cid: Some(cid), place } if cid == bad.cid
            && place == bad.place),
        "{error:?}"
    );
    let error = rhizome_log::Blocks::read(&store, bad.place, &bad.cid).unwrap_err();
    assert!(matches!(error, rhizome_log::ReadError::Damaged { cid } if cid == bad.cid));

    assert!(matches!(store.repair(bad.cid, b"wrong"), Err(StoreError::Misnamed { .. })));
    let place = store.repair(bad.cid, &bad.bytes).unwrap();
    assert_eq!(store.read(place, Some(&bad.cid)).unwrap(), bad.bytes);
    let mut places = std::collections::BTreeMap::new();
    let (_, report) = store
        .visit_from(Mark::default(), &mut |place, cid, _| {
            places.insert(cid, place);
        })
        .unwrap();
    assert_eq!(report.damages_count, 1);
    assert_eq!(report.damages[0].cid, Some(bad.cid));
    assert_eq!(places, [(bad.cid, place), (other.cid, other.place)].into());
}

/// `RHIZOME_LONG=1 cargo test -p rhizome-store --release -- --nocapture measure` prints what a disk
/// gives; `docs/format/segment.md` tells what it gave.
#[test]
fn measure_appends_and_scans() {
    use std::time::Instant;
    let share = if std::env::var_os("RHIZOME_LONG").is_some() { 1 } else { 100 };
    let mut appended = 0;
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(folder.path()).unwrap());
    let store = open(Arc::clone(&disk));
    let free = open(Arc::new(MemoryDisk::default()));
    let mut random = Random(77);
    for (batch, count, size) in
        [(1, 2_000, 300), (512, 200_704, 64), (512, 100_352, 300), (512, 100_352, 1_024)]
    {
        let count = count / share;
        appended += count;
        let blocks: Vec<_> = (0..count)
            .map(|_| {
                let bytes = random.bytes(size);
                (Cid::of(Codec::Raw, &bytes), bytes)
            })
            .collect();
        let sections: Vec<_> =
            blocks.iter().map(|(cid, bytes)| Section { cid: *cid, bytes }).collect();
        let (mut encoded, mut places) = (Encoded::default(), Vec::new());
        let started = Instant::now();
        for sections in sections.chunks(batch) {
            encoded.push(sections, &mut places);
            encoded.clear(usize::MAX);
        }
        let rate = count as f64 / started.elapsed().as_secs_f64();
        println!("encoding alone: batch {batch}, {size} bytes: {rate:.0} sections/s");
        for (name, store) in [("disk", &store), ("memory", &free)] {
            let started = Instant::now();
            for sections in sections.chunks(batch) {
                store.append_durable(sections).unwrap();
            }
            let rate = count as f64 / started.elapsed().as_secs_f64();
            println!("{name}: batch {batch}, {size} bytes: {rate:.0} sections/s");
        }
    }
    let started = Instant::now();
    let syncs = u8::try_from(200 / share).unwrap();
    for number in 0..syncs {
        disk.append("00000009.car", &[number; 4_096])
            .or_else(|_| disk.create("00000009.car"))
            .unwrap();
        disk.sync("00000009.car").unwrap();
    }
    println!("one append and fdatasync: {:?}", started.elapsed() / u32::from(syncs));
    disk.remove("00000009.car").unwrap();
    let started = Instant::now();
    let (_, report) = store.visit_from(Mark::default(), &mut |_, _, _| {}).unwrap();
    println!(
        "visit: {} sections, {} bytes, {:?}",
        report.sections,
        report.bytes,
        started.elapsed()
    );
    assert_eq!(report.sections, appended);
    let started = Instant::now();
    let end = store.end();
    Store::open(disk, SegmentsConfig::default(), Some(end), &mut |_, _, _| {}).unwrap();
    println!("open at the end: {:?}", started.elapsed());
}

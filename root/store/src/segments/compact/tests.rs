//! What a compaction keeps and leaves, whatever happens to it.

mod crashes;
mod damage;
mod faults;
mod model;

use crate::segments::tests::Random;
use crate::{Disk, Mark, MemoryDisk, ReadError, Report, Section, SegmentsConfig, Store};
use rhizome_block::{Cid, Codec};
use rhizome_log::Place;
use std::sync::Arc;

/// Small segments, so that a store has several.
const SEGMENT_BYTES: u64 = 600;

/// A block, and where it lies.
#[derive(Clone, Debug, Eq, PartialEq)]
struct One {
    place: Place,
    cid: Cid,
    bytes: Vec<u8>,
}

type Blocks = Vec<Vec<u8>>;

fn open(disk: Arc<dyn Disk>, since: Option<Mark>) -> (Store, Report, Vec<One>) {
    let mut all = Vec::new();
    let config = SegmentsConfig { segment_bytes_max: SEGMENT_BYTES };
    let (store, report) = Store::open(disk, config, since, &mut |place, cid, bytes| {
        all.push(One { place, cid, bytes: bytes.to_vec() });
    })
    .unwrap();
    (store, report, all)
}

fn cid(bytes: &[u8]) -> Cid {
    Cid::of(Codec::Raw, bytes)
}

fn append(store: &Store, bytes: &[u8]) -> One {
    let places = store.append_durable(&[Section { cid: cid(bytes), bytes }]).unwrap();
    One { place: places[0], cid: cid(bytes), bytes: bytes.to_vec() }
}

/// Appends `count` blocks of up to 150 bytes, one by one.
fn fill(store: &Store, random: &mut Random, count: usize) -> Vec<One> {
    let mut one = || {
        let size = random.below(150) + 8;
        append(store, &random.bytes(size))
    };
    (0..count).map(|_| one()).collect()
}

fn bytes_of(all: &[One]) -> Blocks {
    all.iter().map(|one| one.bytes.clone()).collect()
}

/// What is visited from the start.
fn visited(store: &Store) -> Vec<One> {
    let mut all = Vec::new();
    let (_, report) = store
        .visit_from(Mark::default(), &mut |place, cid, bytes| {
            all.push(One { place, cid, bytes: bytes.to_vec() });
        })
        .unwrap();
    assert_eq!((report.damages, report.torn), (Vec::new(), None));
    all
}

#[track_caller]
fn check_reads(store: &Store, all: &[One]) {
    for one in all {
        assert_eq!(store.read(one.place, Some(&one.cid)).unwrap(), one.bytes);
        assert_eq!(store.read(one.place, None).unwrap(), one.bytes);
    }
}

#[test]
fn what_is_kept_stands_behind_what_was_put_in_front_and_before_what_came_meanwhile() {
    let memory = MemoryDisk::default();
    let (store, _, _) = open(Arc::new(memory.clone()), None);
    let mut random = Random(1);
    let before = fill(&store, &mut random, 40);
    let front = [vec![1; 500], vec![2; 700]];
    let first: Vec<_> = front.iter().map(|bytes| Section { cid: cid(bytes), bytes }).collect();
    let mut meanwhile = Vec::new();
    let mut asked = Vec::new();
    let compacted = store.compact(&first, &mut |place, cid, bytes| {
        asked.push(One { place, cid: *cid, bytes: bytes.to_vec() });
        if asked.len() % 9 == 0 {
            meanwhile.extend(fill(&store, &mut random, 2));
            check_reads(&store, &meanwhile);
        }
        asked.len() % 3 == 0
    });
    let compacted = compacted.unwrap();
    assert_eq!(asked, before, "each block is asked for once, in order");
    let kept: Vec<_> = before.iter().skip(2).step_by(3).cloned().collect();
    let after = [&front[..], &bytes_of(&kept), &bytes_of(&meanwhile)].concat();
    let found = visited(&store);
    assert_eq!(bytes_of(&found), after);
    check_reads(&store, &found);
    let counts = (compacted.blocks_kept, compacted.blocks_dropped);
    assert_eq!(counts, (kept.len() as u64, (before.len() - kept.len()) as u64));
    let mut untouched = Vec::new();
    let visit = &mut |_, _, bytes: &[u8]| untouched.push(bytes.to_vec());
    let (_, report) = store.renewed().visit_from(compacted.untouched_from, visit).unwrap();
    assert_eq!((untouched, report.restarted), (bytes_of(&meanwhile), false));
    let files: u64 = memory.list().unwrap().iter().map(|name| memory.len(name).unwrap()).sum();
    let rest: usize = meanwhile.iter().map(|one| one.bytes.len() + 100).sum();
    assert!(files < compacted.bytes_after + rest as u64, "old segments are gone: {files}");
    drop(store);
    let (store, report, again) = open(Arc::new(memory), None);
    assert_eq!((again, report.damages_count, report.torn), (found, 0, None));
    check_reads(&store, &fill(&store, &mut random, 9));
}

#[test]
fn a_mark_from_before_a_compaction_begins_at_the_start_and_says_so() {
    let memory = MemoryDisk::default();
    let (store, _, _) = open(Arc::new(memory.clone()), None);
    let mut random = Random(2);
    let before = fill(&store, &mut random, 10);
    let old = store.end();
    let mut during = Mark::default();
    store
        .compact(&[], &mut |_, _, _| {
            append(&store, b"meanwhile");
            during = store.end();
            true
        })
        .unwrap();
    assert!(during > old);
    let all = bytes_of(&visited(&store));
    // What this handle says goes into an index whose places are old, so it is old as well.
    let (stale, fresh) = (store.end(), store.renewed().end());
    assert!(stale < fresh);
    for (mark, restarted) in [(old, true), (during, true), (stale, true), (fresh, false)] {
        let expected = if restarted { all.clone() } else { Blocks::new() };
        let (_, report, found) = open(Arc::new(memory.fork()), Some(mark));
        assert_eq!((bytes_of(&found), report.restarted), (expected, restarted), "{mark:?}");
    }
    for one in &before {
        let error = store.read(one.place, Some(&one.cid)).unwrap_err();
        assert!(matches!(error, ReadError::Compacted { .. }), "{error:?}");
    }
    assert_eq!(store.renewed().start().segment, visited(&store)[0].place.segment);
}

#[test]
fn a_compaction_may_keep_nothing_and_a_store_may_hold_nothing() {
    let memory = MemoryDisk::default();
    let (store, _, _) = open(Arc::new(memory.clone()), None);
    for round in 0..3 {
        let compacted = store.compact(&[], &mut |_, _, _| false).unwrap();
        assert_eq!(compacted.bytes_after, 0);
        assert_eq!(visited(&store), []);
        let (again, report, found) = open(Arc::new(memory.fork()), None);
        assert_eq!((found, report), (Vec::new(), Report::default()));
        assert_eq!(bytes_of(&[append(&again, b"x")]), bytes_of(&visited(&again)), "{round}");
        fill(&store, &mut Random(3), round * 7);
    }
}

#[test]
fn a_block_that_is_not_what_its_name_says_is_not_put_in_front() {
    let (store, _, _) = open(Arc::new(MemoryDisk::default()), None);
    let wrong = Section { cid: cid(b"a"), bytes: b"b" };
    assert!(store.compact(&[wrong], &mut |_, _, _| true).is_err());
    assert_eq!(visited(&store), []);
}

/// Threads append, read and visit while segments on a real disk are compacted again and again.
#[test]
fn threads_find_what_they_wrote_while_segments_are_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(crate::FileDisk::open(folder.path()).unwrap());
    let (store, _, _) = open(Arc::clone(&disk), None);
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut expected: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=4)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || fill(store, &mut Random(thread), 60))
            })
            .collect();
        let visitor = scope.spawn(|| {
            let mut most = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let found = visited(&store).len();
                assert!(found >= most, "{found} after {most}");
                most = found;
            }
        });
        for _ in 0..12 {
            store.compact(&[], &mut |_, _, _| true).unwrap();
        }
        let all: Vec<One> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        visitor.join().unwrap();
        bytes_of(&all)
    });
    drop(store);
    let (_, report, found) = open(disk, None);
    assert_eq!((report.damages_count, report.torn), (0, None));
    let mut found = bytes_of(&found);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// `RHIZOME_LONG=1 cargo test -p rhizome-store --release -- --nocapture measure_a_compaction`
/// prints what one costs; `docs/decision/compaction.md` tells what it cost.
#[test]
fn measure_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(crate::FileDisk::open(folder.path()).unwrap());
    let config = SegmentsConfig::default();
    let (store, _) = Store::open(disk, config, None, &mut |_, _, _| {}).unwrap();
    let long = std::env::var_os("RHIZOME_LONG").is_some();
    let mut random = Random(4);
    for _ in 0..if long { 1_000 } else { 2 } {
        let blocks: Blocks = (0..512).map(|_| random.bytes(500)).collect();
        let sections: Vec<_> =
            blocks.iter().map(|bytes| Section { cid: cid(bytes), bytes }).collect();
        store.append_durable(&sections).unwrap();
    }
    for (what, keep_of_ten) in [("all", 10), ("half", 5), ("a tenth", 2)] {
        let started = std::time::Instant::now();
        let mut count = 0;
        let keep = &mut |_, _: &Cid, _: &[u8]| {
            count += 1;
            count % 10 < keep_of_ten
        };
        let compacted = store.compact(&[], keep).unwrap();
        println!("kept {what}: {:?}, {compacted:?}", started.elapsed());
        assert_eq!(visited(&store).len() as u64, compacted.blocks_kept);
    }
}

//! The suite on every index, and what only some of them promise.

use super::suite::{put, scan, suite};
use super::*;
use crate::segments::tests::Random;
use rhizome_log::{Batch, MemoryIndex, Visit};
use std::sync::{Arc, Condvar, Mutex};

/// An index and what must outlive it, dropped in this order.
struct Kept<I> {
    index: I,
    _folder: tempfile::TempDir,
}

impl<I: Index> Index for Kept<I> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.index.get(key)
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        self.index.scan(from, to, reverse, visit)
    }
    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.index.write(batch)
    }
}

fn sled_in(folder: &tempfile::TempDir) -> SledIndex {
    SledIndex::open(&folder.path().join("index"), &SledConfig::default()).unwrap()
}

#[test]
fn memory_passes_the_suite() {
    suite(|| Box::new(MemoryIndex::default()));
}

#[test]
fn sled_passes_the_suite() {
    suite(|| {
        let folder = tempfile::tempdir().unwrap();
        Box::new(Kept { index: sled_in(&folder), _folder: folder })
    });
}

#[test]
fn a_buffer_before_sled_passes_the_suite() {
    suite(|| {
        let folder = tempfile::tempdir().unwrap();
        let index = BufferedIndex::new(Arc::new(sled_in(&folder))).unwrap();
        Box::new(Kept { index, _folder: folder })
    });
}

/// Keys that begin with 1 go on with one byte and a number.
fn numbered(key: &[u8]) -> Option<usize> {
    (key.first() == Some(&1)).then_some(4)
}

#[test]
fn pages_agree_with_an_index_without_pages() {
    let folder = tempfile::tempdir().unwrap();
    let index = PackedIndex::new(sled_in(&folder), numbered);
    let model = MemoryIndex::default();
    let mut random = Random(61);
    let key = |random: &mut Random| match random.below(4) {
        0 => random.bytes(2),
        _ => vec![1, random.below(3) as u8, random.below(2) as u8, random.below(40) as u8],
    };
    for round in 0..2_000 {
        let mut batch = Batch::default();
        for _ in 0..random.below(8) {
            let key = key(&mut random);
            if random.below(3) == 0 {
                batch.remove(key);
            } else {
                batch.put(key, round.to_string());
            }
        }
        model.write(batch.clone()).unwrap();
        if random.below(2) == 0 { index.write(batch) } else { index.write_hidden(batch) }.unwrap();
        let (one, mut from, mut to) = (key(&mut random), key(&mut random), key(&mut random));
        assert_eq!(index.get(&one).unwrap(), model.get(&one).unwrap());
        from.truncate(1 + random.below(4));
        let more = random.below(2);
        to.extend(random.bytes(more));
        for reverse in [false, true] {
            let limit = 1 + random.below(60);
            for from in [Bound::Included(&from[..]), Bound::Excluded(&from[..]), Bound::Unbounded] {
                for to in [Bound::Included(&to[..]), Bound::Excluded(&to[..]), Bound::Unbounded] {
                    let range = (from, to);
                    let expected = scan(&model, range, reverse, limit);
                    assert_eq!(scan(&index, range, reverse, limit), expected, "{range:?}");
                }
            }
        }
    }
}

#[test]
fn sixteen_rows_are_one_key_below() {
    let below = MemoryIndex::default();
    let index = PackedIndex::new(Flushed(&below), numbered);
    let mut batch = Batch::default();
    (0..64_u8).for_each(|n| batch.put([1, 7, 0, n], [n]));
    batch.put([2], [2]);
    index.write(batch).unwrap();
    assert_eq!(scan(&below, ALL, false, 99).len(), 5);
    let mut batch = Batch::default();
    (16..32_u8).for_each(|n| batch.remove([1, 7, 0, n]));
    index.write(batch).unwrap();
    assert_eq!(scan(&below, ALL, false, 99).len(), 4);
}

#[test]
fn rows_of_another_version_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let database = ::sled::open(&path).unwrap();
    database.insert(b"old", b"row").unwrap();
    database.open_tree(b"rows-1").unwrap().insert(b"old", b"row").unwrap();
    drop(database);
    drop(sled_in(&folder));
    let database = ::sled::open(&path).unwrap();
    assert!(database.is_empty());
    assert!(!database.tree_names().iter().any(|name| *name == *b"rows-1"));
    drop(database);
    assert!(scan(&sled_in(&folder), ALL, false, 9).is_empty());
}

#[test]
fn a_prefix_among_others_passes_the_suite() {
    for prefix in [&b"b"[..], b"\xff\xff", b""] {
        suite(|| {
            let shared = Arc::new(MemoryIndex::default());
            if !prefix.is_empty() {
                put(&*shared, &[(b"a", b"x"), (b"b\0", b"gone"), (b"c", b"x"), (b"\xff", b"x")]);
                let mut batch = Batch::default();
                batch.remove(*b"b\0");
                shared.write(batch).unwrap();
            }
            Box::new(PrefixIndex::new(shared, prefix))
        });
    }
}

#[test]
fn an_index_opens_while_one_that_was_dropped_is_ending() {
    let folder = tempfile::tempdir().unwrap();
    let first = sled_in(&folder);
    put(&first, &[(b"a", b"x")]);
    let dropping = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(first);
    });
    assert_eq!(sled_in(&folder).get(b"a").unwrap().as_deref(), Some(&b"x"[..]));
    dropping.join().unwrap();
}

/// An index in memory that remembers its batches, and holds or refuses them when told to.
#[derive(Default)]
struct Slow {
    map: MemoryIndex,
    batches: Mutex<Vec<Batch>>,
    state: Mutex<SlowState>,
    moved: Condvar,
}

#[derive(Default)]
struct SlowState {
    shut: bool,
    broken: bool,
    waiting: bool,
}

impl Slow {
    fn shut(&self, shut: bool) {
        self.state.lock().unwrap().shut = shut;
        self.moved.notify_all();
    }

    fn wait_until_waiting(&self) {
        drop(self.moved.wait_while(self.state.lock().unwrap(), |state| !state.waiting).unwrap());
    }
}

impl Index for Slow {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.map.get(key)
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        self.map.scan(from, to, reverse, visit)
    }
    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let mut state = self.state.lock().unwrap();
        state.waiting = true;
        self.moved.notify_all();
        let mut state = self.moved.wait_while(state, |state| state.shut).unwrap();
        state.waiting = false;
        if state.broken {
            return Err(IndexError { what: "broken".to_owned() });
        }
        self.batches.lock().unwrap().push(batch.clone());
        self.map.write(batch)
    }
}

/// An index of which nothing needs to be written down.
struct Flushed<'a>(&'a MemoryIndex);

impl Index for Flushed<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.0.get(key)
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        self.0.scan(from, to, reverse, visit)
    }
    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.0.write(batch)
    }
}

impl FlushIndex for Flushed<'_> {
    fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }
}

impl FlushIndex for Slow {
    fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }
}

const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

/// A batch large enough to be written at once.
fn large(name: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(name, vec![1; 300 << 10]);
    batch
}

/// A buffer of which nothing reaches the index below before it is dropped.
struct Shut {
    index: BufferedIndex,
    below: Arc<Slow>,
}

impl Drop for Shut {
    fn drop(&mut self) {
        self.below.shut(false);
    }
}

impl Index for Shut {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.index.get(key)
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        self.index.scan(from, to, reverse, visit)
    }
    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.index.write(batch)
    }
}

#[test]
fn a_buffer_of_many_layers_passes_the_suite() {
    for shut in [false, true] {
        suite(|| {
            let below = Arc::new(Slow::default());
            below.shut(shut);
            let index = BufferedIndex::with_layers(below.clone(), 4_000).unwrap();
            Box::new(Shut { index, below })
        });
    }
}

#[test]
fn reads_see_all_layers_and_the_index_below() {
    let below = Arc::new(Slow::default());
    put(&below.map, &[(b"a", b"0"), (b"b", b"0"), (b"c", b"0"), (b"d", b"0")]);
    below.shut(true);
    let index = BufferedIndex::new(below.clone()).unwrap();
    let mut batch = large(b"x");
    batch.put(*b"b", *b"1");
    batch.put(*b"e", *b"1");
    batch.remove(*b"c");
    index.write(batch).unwrap();
    below.wait_until_waiting();
    let mut batch = Batch::default();
    batch.put(*b"c", *b"2");
    batch.put(*b"f", *b"2");
    batch.remove(*b"e");
    batch.remove(*b"x");
    batch.remove(*b"a");
    index.write(batch).unwrap();

    let expected = [(b"b", b"1"), (b"c", b"2"), (b"d", b"0"), (b"f", b"2")];
    let expected = expected.map(|(key, value)| (key.to_vec(), value.to_vec()));
    let check = || {
        assert_eq!(scan(&index, ALL, false, 9), expected);
        let reversed: Vec<_> = expected.iter().rev().cloned().collect();
        assert_eq!(scan(&index, ALL, true, 9), reversed);
        assert_eq!(scan(&index, ALL, true, 2), reversed[..2]);
        let (from, to) = (Bound::Excluded(&b"b"[..]), Bound::Included(&b"d"[..]));
        assert_eq!(scan(&index, (from, to), false, 9), expected[1..3]);
        for (key, value) in [(b"a", None), (b"c", Some(b"2".to_vec())), (b"e", None)] {
            assert_eq!(index.get(key).unwrap(), value);
        }
    };
    check();
    below.shut(false);
    index.flush().unwrap();
    check();
    assert_eq!(scan(&below.map, ALL, false, 9), expected);
}

#[test]
fn what_is_below_is_at_all_times_a_prefix_of_whole_batches() {
    let below = Arc::new(Slow::default());
    let index = BufferedIndex::new(below.clone()).unwrap();
    for number in 0..2_000_u32 {
        let mut batch = Batch::default();
        batch.put(*b"first", number.to_be_bytes());
        batch.put(number.to_be_bytes(), vec![0; 2_000]);
        batch.put(*b"last", number.to_be_bytes());
        index.write(batch).unwrap();
    }
    drop(index);
    let batches = below.batches.lock().unwrap();
    assert!(batches.len() > 1, "one batch would prove nothing");
    let state = MemoryIndex::default();
    let mut reached = 0;
    for batch in &*batches {
        state.write(batch.clone()).unwrap();
        let number = state.get(b"first").unwrap().unwrap();
        assert_eq!(state.get(b"last").unwrap().unwrap(), number);
        let number = u32::from_be_bytes(number.try_into().unwrap());
        for number in reached..=number {
            assert!(state.get(&number.to_be_bytes()).unwrap().is_some());
        }
        assert_eq!(state.get(&(number + 1).to_be_bytes()).unwrap(), None);
        reached = number;
    }
    assert_eq!(reached, 1_999, "dropping drains");
}

#[test]
fn writers_wait_when_the_index_below_cannot_follow() {
    let below = Arc::new(Slow::default());
    below.shut(true);
    let index = Arc::new(BufferedIndex::new(below.clone()).unwrap());
    let batches = 2 * PENDING_BYTES_MAX / (300 << 10);
    let writer = std::thread::spawn({
        let index = Arc::clone(&index);
        move || (0..batches).for_each(|number| index.write(large(&[number as u8])).unwrap())
    });
    while index.pending_bytes() < PENDING_BYTES_MAX {
        std::thread::yield_now();
    }
    let mut most = 0;
    for _ in 0..10_000 {
        most = most.max(index.pending_bytes());
        std::thread::yield_now();
    }
    // Whoever reads is not held up by those who wait.
    assert!(index.get(&[0]).unwrap().is_some());
    below.shut(false);
    writer.join().unwrap();
    index.flush().unwrap();
    assert!(most < PENDING_BYTES_MAX + (512 << 10), "{most} bytes were pending");
    assert_eq!(scan(&below.map, ALL, false, 999).len(), batches);
}

#[test]
fn an_index_that_breaks_below_refuses_writes_and_still_reads() {
    let below = Arc::new(Slow::default());
    below.state.lock().unwrap().broken = true;
    let index = BufferedIndex::new(below).unwrap();
    put(&index, &[(b"a", b"1")]);
    assert!(index.flush().is_err());
    assert!(index.write(large(b"b")).is_err());
    assert_eq!(index.get(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn a_scan_may_write_to_what_it_scans() {
    let index = BufferedIndex::new(Arc::new(Slow::default())).unwrap();
    put(&index, &[(b"a", b"1"), (b"b", b"1")]);
    let visit = &mut |key: &[u8], _: &[u8]| {
        put(&index, &[(key, b"2")]);
        std::ops::ControlFlow::Continue(())
    };
    index.scan(Bound::Unbounded, Bound::Unbounded, false, visit).unwrap();
    assert_eq!(index.get(b"b").unwrap().unwrap(), b"2");
}

#[test]
fn what_was_buffered_is_in_sled_after_a_drop() {
    let folder = tempfile::tempdir().unwrap();
    let index = BufferedIndex::new(Arc::new(sled_in(&folder))).unwrap();
    put(&index, &[(b"key", b"value")]);
    drop(index);
    assert_eq!(sled_in(&folder).get(b"key").unwrap().unwrap(), b"value");
}

#[test]
fn a_sled_of_garbage_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    drop(sled_in(&folder));
    let path = folder.path().join("index");
    std::fs::write(path.join("conf"), [0xa5; 100]).unwrap();
    assert!(SledIndex::open(&path, &SledConfig::default()).is_err());
}

/// `RHIZOME_LONG=1 cargo test -p rhizome-store --release -- --nocapture measure` prints what sled
/// gives.
#[test]
fn measure_the_index() {
    use std::time::Instant;
    let batches = if std::env::var_os("RHIZOME_LONG").is_some() { 1_000_u32 } else { 10 };
    let all = batches as usize * 100;
    let write = |index: &dyn Index| {
        let started = Instant::now();
        for batch_number in 0..batches {
            let mut batch = Batch::default();
            for number in 0..100_u32 {
                let key = (batch_number * 100 + number).wrapping_mul(2_654_435_761);
                batch.put([&b"d/"[..], &key.to_be_bytes()].concat(), vec![7; 100]);
            }
            index.write(batch).unwrap();
        }
        started.elapsed()
    };
    let folder = tempfile::tempdir().unwrap();
    let plain = sled_in(&folder);
    println!("sled, {all} keys in batches of 100: {:?}", write(&plain));
    plain.flush().unwrap();
    let started = Instant::now();
    drop(plain);
    println!("close: {:?}", started.elapsed());
    for _ in 0..3 {
        let started = Instant::now();
        let index = sled_in(&folder);
        let opened = started.elapsed();
        let found = scan(&index, ALL, false, 1).len();
        println!("open: {opened:?}, first read of {found}: {:?}", started.elapsed());
        let started = Instant::now();
        let found = scan(&index, ALL, false, 200_000).len();
        println!("full scan: {found} in {:?}", started.elapsed());
        assert_eq!(found, all);
    }
    let bytes: u64 = std::fs::read_dir(folder.path().join("index"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    println!("on disk: {bytes} bytes");

    let folder = tempfile::tempdir().unwrap();
    let buffered = BufferedIndex::new(Arc::new(sled_in(&folder))).unwrap();
    println!("buffered, the same: {:?}", write(&buffered));
    let started = Instant::now();
    buffered.flush().unwrap();
    println!("flush: {:?}", started.elapsed());
    assert_eq!(scan(&buffered, ALL, false, 200_000).len(), all);
}

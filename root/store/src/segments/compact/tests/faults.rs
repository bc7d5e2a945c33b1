//! Disks that are full or fail while segments are compacted.

use super::*;
use crate::{CompactError, Crash, FaultDisk, StoreError, WatchedDisk};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_disk_that_fills_up_anywhere_keeps_what_was_there_and_compacts_later() {
    let mut full = 0;
    for space in (0..4_000).step_by(13) {
        let memory = MemoryDisk::default();
        let disk = Arc::new(FaultDisk::new(Arc::new(memory.clone())));
        let (store, _, _) = open(disk.clone(), None);
        let mut random = Random(6);
        let before = fill(&store, &mut random, 30);
        disk.faults().space_bytes = Some(space);
        if let Err(error) = store.compact(&[], &mut |_, _, _| true) {
            let CompactError::Write { source } = &error else { panic!("{error:?}") };
            assert!(matches!(source, StoreError::Full { .. }), "{error:?}");
            full += 1;
            assert_eq!(visited(&store), before);
            let names = memory.list().unwrap();
            let segments = names.iter().filter(|name| name.ends_with(".car")).count();
            assert_eq!(segments as u32, before[29].place.segment, "{names:?}");
        }
        assert_eq!(store.failed(), None);
        disk.faults().space_bytes = None;
        let mut all = bytes_of(&before);
        all.extend(bytes_of(&fill(&store, &mut random, 3)));
        store.compact(&[], &mut |_, _, _| true).unwrap();
        assert_eq!(bytes_of(&visited(&store)), all);
        assert_eq!(bytes_of(&open(disk, None).2), all);
    }
    assert!(full > 200, "{full}");
}

/// No change fails.
const NEVER: usize = usize::MAX;

/// A disk whose change of the number in the counter fails; it counts down.
fn failing(memory: &MemoryDisk) -> (Arc<WatchedDisk>, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(NEVER));
    let count = Arc::clone(&left);
    let watch = move |_| match count.fetch_sub(1, Ordering::Relaxed) {
        0 => Err(io::Error::other("injected")),
        _ => Ok(()),
    };
    (Arc::new(WatchedDisk::new(Arc::new(memory.clone()), Box::new(watch))), left)
}

#[test]
fn whichever_change_fails_the_store_holds_the_old_or_the_new_and_opens_again() {
    let (mut failed, mut refused) = (0, 0);
    for at in 0.. {
        let memory = MemoryDisk::default();
        let (disk, left) = failing(&memory);
        let (store, _, _) = open(disk, None);
        let mut random = Random(7);
        let before = bytes_of(&fill(&store, &mut random, 30));
        let after: Blocks = before.iter().step_by(2).cloned().collect();
        let mut count = 0;
        let keep = &mut |_: Place, _: &Cid, _: &[u8]| {
            count += 1;
            count % 2 == 1
        };
        left.store(at, Ordering::Relaxed);
        let compacted = store.compact(&[], keep);
        let struck = left.swap(NEVER, Ordering::Relaxed) > at;
        let mut expected = if compacted.is_ok() { after.clone() } else { before };
        assert_eq!(bytes_of(&visited(&store)), expected, "change {at}");
        let is_alive = store.failed().is_none();
        if is_alive {
            refused += usize::from(compacted.is_err());
            expected.extend(bytes_of(&fill(&store, &mut random, 2)));
            assert_eq!(bytes_of(&visited(&store)), expected, "change {at}");
        } else {
            failed += 1;
        }
        drop(store);
        memory.crash(Crash::Nothing);
        let (store, report, found) = open(Arc::new(memory), None);
        assert_eq!((report.damages_count, report.torn), (0, None), "change {at}");
        let found = bytes_of(&found);
        assert!(found == expected || !is_alive && found == after, "change {at}");
        store.compact(&[], &mut |_, _, _| true).unwrap();
        assert_eq!(bytes_of(&visited(&store)), found);
        if !struck {
            break;
        }
    }
    // The two times that names are made durable on the way, nobody knows what the disk holds.
    assert_eq!(failed, 2);
    assert!(refused > 10, "{refused}");
}

//! Disks that are full, read-only, or fail to write and sync.

use super::*;
use crate::{Crash, FaultDisk};

/// A faulty disk over one in memory, both within reach.
fn faulty() -> (Arc<FaultDisk>, MemoryDisk) {
    let memory = MemoryDisk::default();
    (Arc::new(FaultDisk::new(Arc::new(memory.clone()))), memory)
}

#[track_caller]
fn check_reads(segments: &Segments, all: &[Found]) {
    for one in all {
        assert_eq!(segments.read(one.place, Some(&one.cid)).unwrap(), one.bytes);
    }
}

#[test]
fn a_disk_that_fills_up_anywhere_loses_nothing_and_resumes() {
    let mut struck = 0;
    for space in (0..4_000).step_by(7) {
        let (disk, memory) = faulty();
        let (mut segments, _, _) = open(disk.clone(), 1_000, None);
        disk.faults().space_bytes = Some(space);
        let mut random = Random(space + 1);
        let mut all = Vec::new();
        for _ in 0..20 {
            let sizes = [random.below(150), random.below(150)];
            match commit(&mut segments, &mut random, &sizes) {
                Ok(found) => all.extend(found),
                Err(error) => assert!(matches!(error, StoreError::Full { .. }), "{error:?}"),
            }
        }
        struck += disk.faults().struck;
        assert_eq!(segments.failed(), None);
        check_reads(&segments, &all);

        // What was said to have failed stays away, whatever the crash keeps.
        for operations in 0..=memory.pending_operations() {
            let crashed = Arc::new(memory.fork());
            crashed.crash(Crash::Prefix { operations, torn_bytes: 0 });
            assert_eq!(open(crashed, 1_000, None).2, all, "{space} bytes");
        }

        disk.faults().space_bytes = None;
        all.extend(commit(&mut segments, &mut random, &[80]).unwrap());
        check_reads(&segments, &all);
        let (_, report, found) = open(disk, 1_000, None);
        assert_eq!((found, report.torn, report.damages_count), (all, None, 0), "{space} bytes");
    }
    assert!(struck > 500, "{struck}");
}

#[test]
fn after_a_failed_sync_appends_fail_reads_go_on_and_opening_again_looks() {
    for sync_fails_at in 1..=12 {
        let (disk, memory) = faulty();
        let (mut segments, _, _) = open(disk.clone(), 500, None);
        disk.faults().sync_fails_at = Some(sync_fails_at);
        let mut random = Random(30);
        let mut all = Vec::new();
        let error = loop {
            match commit(&mut segments, &mut random, &[90, 20]) {
                Ok(found) => all.extend(found),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        assert!(segments.failed().is_some());
        assert_eq!(all.len() as u64, 2 * (sync_fails_at - 1));
        let error = commit(&mut segments, &mut random, &[1]).unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        assert_eq!(disk.faults().syncs, sync_fails_at, "no sync is tried twice");
        check_reads(&segments, &all);

        memory.crash(Crash::Nothing);
        let (mut segments, _, found) = open(disk.clone(), 500, None);
        assert_eq!(found, all);
        all.extend(commit(&mut segments, &mut random, &[33]).unwrap());
        check_reads(&segments, &all);
    }
}

#[test]
fn a_torn_write_is_cut_away_or_the_store_fails() {
    for kept in (0..120).step_by(11) {
        for truncate_fails in [false, true] {
            let (disk, _) = faulty();
            let (mut segments, _, _) = open(disk.clone(), LARGE, None);
            let mut random = Random(40);
            let mut all = commit(&mut segments, &mut random, &[50]).unwrap();
            disk.faults().append_tears_at = Some((2, kept));
            disk.faults().truncate_fails = truncate_fails;
            let error = commit(&mut segments, &mut random, &[100]).unwrap_err();
            assert_eq!(matches!(error, StoreError::Failed { .. }), truncate_fails, "{error:?}");
            check_reads(&segments, &all);
            disk.faults().truncate_fails = false;
            if !truncate_fails {
                all.extend(commit(&mut segments, &mut random, &[60]).unwrap());
            }
            let (_, report, found) = open(disk, LARGE, None);
            assert_eq!(report.torn.is_some(), truncate_fails && kept > 0);
            assert_eq!((found, report.damages_count), (all, 0));
        }
    }
}

#[test]
fn a_first_write_that_tears_leaves_no_segment() {
    let (disk, memory) = faulty();
    let (mut segments, _, _) = open(disk.clone(), LARGE, None);
    disk.faults().append_tears_at = Some((1, 10));
    let error = commit(&mut segments, &mut Random(41), &[50]).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error:?}");
    assert!(memory.list().unwrap().is_empty());
    let all = commit(&mut segments, &mut Random(41), &[50]).unwrap();
    check_reads(&segments, &all);
}

#[test]
fn a_read_only_disk_is_read_and_takes_writes_again_later() {
    let (disk, _) = faulty();
    let (mut segments, _, _) = open(disk.clone(), LARGE, None);
    let mut all = fill(&mut segments, &mut Random(50), 3);
    disk.faults().read_only = true;
    let (mut segments, _, found) = open(disk.clone(), LARGE, None);
    assert_eq!(found, all);
    let error = commit(&mut segments, &mut Random(51), &[5]).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error:?}");
    check_reads(&segments, &all);
    disk.faults().read_only = false;
    all.extend(commit(&mut segments, &mut Random(51), &[5]).unwrap());
    check_reads(&segments, &all);
}

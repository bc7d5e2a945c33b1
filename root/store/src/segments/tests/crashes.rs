//! Power cuts: at every moment, whatever part of what was not synced survives.

use super::*;
use crate::{Change, Crash, WatchedDisk};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Everything that was written, and a picture of the disk at every sync on the way.
fn story(commits: usize) -> (Vec<Found>, Vec<(usize, MemoryDisk)>) {
    let memory = MemoryDisk::default();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let pictures = Arc::new(Mutex::new(Vec::new()));
    let shoot = {
        let (memory, acknowledged) = (memory.clone(), Arc::clone(&acknowledged));
        let pictures = Arc::clone(&pictures);
        move || {
            let picture = (acknowledged.load(Ordering::Relaxed), memory.fork());
            pictures.lock().unwrap().push(picture);
        }
    };
    let before_syncs = shoot.clone();
    let watch = move |change: Change| {
        if matches!(change, Change::Sync | Change::SyncDir) {
            before_syncs();
        }
        Ok(())
    };
    let disk = WatchedDisk::new(Arc::new(memory), Box::new(watch));
    let (mut segments, _, _) = open(Arc::new(disk), 600, None);
    let mut random = Random(20);
    let mut all = Vec::new();
    for _ in 0..commits {
        let sizes: Vec<_> = (0..=random.below(3)).map(|_| random.below(90)).collect();
        all.extend(commit(&mut segments, &mut random, &sizes).unwrap());
        acknowledged.store(all.len(), Ordering::Relaxed);
    }
    shoot();
    let pictures = std::mem::take(&mut *pictures.lock().unwrap());
    (all, pictures)
}

#[test]
fn every_prefix_of_what_was_not_synced_opens_with_all_that_was_acknowledged() {
    let (all, pictures) = story(25);
    let mut tried = 0;
    for (acknowledged, picture) in pictures {
        for operations in 0..=picture.pending_operations() {
            for torn_bytes in 0..400 {
                let disk = Arc::new(picture.fork());
                disk.crash(Crash::Prefix { operations, torn_bytes });
                let (_, report, found) = open(disk, 600, None);
                assert_eq!(report.damages, []);
                assert!(found.len() >= acknowledged, "{} of {acknowledged}", found.len());
                assert_eq!(found, all[..found.len()]);
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn whatever_sectors_survive_all_that_was_acknowledged_is_there() {
    let (all, pictures) = story(25);
    let mut random = Random(21);
    for (acknowledged, picture) in pictures {
        for _ in 0..50 {
            let disk = Arc::new(picture.fork());
            disk.crash(Crash::Picked(&mut || random.below(2) == 0));
            let (mut segments, _, found) = open(disk.clone(), 600, None);
            assert!(found.len() >= acknowledged, "{} of {acknowledged}", found.len());
            assert_eq!(found[..acknowledged], all[..acknowledged]);
            assert!(found.iter().all(|one| all.contains(one)));
            let new = commit(&mut segments, &mut random, &[30]).unwrap();
            let (_, _, again) = open(disk, 600, None);
            assert_eq!(again, [found, new].concat());
        }
    }
}

#[test]
fn what_a_killed_process_left_is_durable_once_it_was_visited() {
    let (all, pictures) = story(25);
    for (_, picture) in pictures {
        let disk = Arc::new(picture);
        let (segments, _, found) = open(disk.clone(), 600, None);
        drop(segments);
        disk.crash(Crash::Nothing);
        let (_, _, again) = open(disk, 600, None);
        assert_eq!(again, found);
        assert_eq!(found, all[..found.len()]);
    }
}

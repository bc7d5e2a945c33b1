//! Power cuts at every step of a compaction, whatever part of what was not synced survives.

use super::*;
use crate::{Change, Crash, DamageKind, WatchedDisk};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A disk at one moment, and how many blocks had been acknowledged meanwhile.
struct Picture {
    disk: MemoryDisk,
    acknowledged: usize,
}

/// One compaction beside which others append: what was there before and is there after, what was
/// appended meanwhile, and a picture before every change of the disk.
struct Story {
    before: Blocks,
    after: Blocks,
    meanwhile: Blocks,
    pictures: Vec<Picture>,
    changes: BTreeMap<Change, usize>,
}

type Shots = Arc<Mutex<(Vec<Picture>, BTreeMap<Change, usize>)>>;

/// A disk that takes a picture of `memory` before every change.
fn filmed(memory: &MemoryDisk, acknowledged: &Arc<AtomicUsize>) -> (Arc<WatchedDisk>, Shots) {
    let shots = Shots::default();
    let (film, disk, acknowledged) = (Arc::clone(&shots), memory.clone(), Arc::clone(acknowledged));
    let watch = move |change: Change| {
        let mut film = film.lock().unwrap();
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        film.0.push(Picture { disk: disk.fork(), acknowledged });
        *film.1.entry(change).or_insert(0) += 1;
        Ok(())
    };
    (Arc::new(WatchedDisk::new(Arc::new(memory.clone()), Box::new(watch))), shots)
}

/// The `rounds`th compaction of a store; the earlier ones have left their traces.
fn story(seed: u64, rounds: usize) -> Story {
    let memory = MemoryDisk::default();
    let count = Arc::new(AtomicUsize::new(0));
    let (disk, shots) = filmed(&memory, &count);
    let (store, _, _) = open(disk, None);
    let mut random = Random(seed);
    for _ in 1..rounds {
        fill(&store, &mut random, 15);
        store.compact(&[], &mut |_, _, _| random.below(2) == 0).unwrap();
    }
    fill(&store, &mut random, 25);
    let before = bytes_of(&visited(&store));
    *shots.lock().unwrap() = Default::default();
    let front = vec![3; 200];
    let mut after = vec![front.clone()];
    let mut meanwhile = Blocks::new();
    let keep = &mut |_: Place, _: &Cid, bytes: &[u8]| {
        if random.below(4) == 0 {
            meanwhile.extend(bytes_of(&fill(&store, &mut random, 1)));
            count.store(meanwhile.len(), Ordering::Relaxed);
        }
        let keeps = random.below(2) == 0;
        after.extend(keeps.then(|| bytes.to_vec()));
        keeps
    };
    store.compact(&[Section { cid: cid(&front), bytes: &front }], keep).unwrap();
    let (mut pictures, changes) = std::mem::take(&mut *shots.lock().unwrap());
    pictures.push(Picture { disk: memory, acknowledged: meanwhile.len() });
    Story { before, after, meanwhile, pictures, changes }
}

/// Opens a disk after a power cut, and says whether the new blocks are there. `whole` is whether
/// no batch may be there in part: of one that nobody was promised any sectors may be left.
#[track_caller]
fn check(story: &Story, acknowledged: usize, disk: MemoryDisk, whole: bool) -> bool {
    let (store, report, found) = open(Arc::new(disk.clone()), None);
    assert!(!whole || report.damages_count == 0, "{report:?}");
    assert!(report.damages.iter().all(|one| one.kind == DamageKind::Changed), "{report:?}");
    let found = bytes_of(&found);
    let is_new = found.first() == story.after.first();
    let base = if is_new { &story.after } else { &story.before };
    assert!(found.starts_with(base), "neither old nor new: {} blocks", found.len());
    let rest = &found[base.len()..];
    assert!(rest.len() >= acknowledged, "{} of {acknowledged}", rest.len());
    assert!(story.meanwhile.starts_with(rest), "what was appended meanwhile");

    let next = append(&store, b"after the cut");
    check_reads(&store, std::slice::from_ref(&next));
    drop(store);
    // Whatever opening left, another cut changes nothing.
    disk.crash(Crash::Nothing);
    let (_, _, again) = open(Arc::new(disk), None);
    assert_eq!(bytes_of(&again), [&found[..], &[next.bytes]].concat());
    is_new
}

#[test]
fn a_cut_before_any_change_leaves_exactly_the_old_or_exactly_the_new() {
    let (mut old, mut new) = (0, 0);
    for (seed, rounds) in [(1, 1), (2, 2), (3, 3)] {
        let story = story(seed, rounds);
        let kinds: Vec<Change> = story.changes.keys().copied().collect();
        use Change::{Append, Create, Remove, Rename, Sync, SyncDir};
        assert_eq!(kinds, [Create, Append, Sync, Remove, Rename, SyncDir]);
        for picture in &story.pictures {
            for operations in 0..=picture.disk.pending_operations() {
                for torn_bytes in [0, 1, 19, 60, 300] {
                    let disk = picture.disk.fork();
                    disk.crash(Crash::Prefix { operations, torn_bytes });
                    let is_new = check(&story, picture.acknowledged, disk, true);
                    *if is_new { &mut new } else { &mut old } += 1;
                }
            }
        }
    }
    assert!(old > 1_000 && new > 200, "{old} old, {new} new");
}

#[test]
fn whatever_sectors_and_names_survive_it_is_the_old_or_the_new() {
    let mut random = Random(9);
    let tries = if std::env::var_os("RHIZOME_LONG").is_some() { 200 } else { 10 };
    let (mut old, mut new) = (0, 0);
    for (seed, rounds) in [(4, 1), (5, 2), (6, 3)] {
        let story = story(seed, rounds);
        for picture in &story.pictures {
            for odds in 0..tries {
                let disk = picture.disk.fork();
                disk.crash(Crash::Picked(&mut || random.below(4) <= odds % 4));
                let is_new = check(&story, picture.acknowledged, disk, false);
                *if is_new { &mut new } else { &mut old } += 1;
            }
        }
    }
    println!("power cuts: {old} end in the old, {new} in the new");
    assert!(old > 500 && new > 100, "{old} old, {new} new");
}

/// A process that is killed loses nothing that it wrote; opening again tidies up.
#[test]
fn after_a_kill_at_any_change_opening_removes_what_does_not_count() {
    let story = story(7, 2);
    for picture in &story.pictures {
        let disk = picture.disk.fork();
        let (_, _, found) = open(Arc::new(disk.clone()), None);
        let counted: BTreeSet<u32> = found.iter().map(|one| one.place.segment).collect();
        let names = disk.list().unwrap();
        let segments = names.iter().filter(|name| name.ends_with(".car")).count();
        assert!(segments <= counted.len() + 1, "{names:?}");
        assert!(names.len() - segments <= 2, "{names:?}");
    }
}

#[test]
fn a_cut_while_a_killed_compaction_is_tidied_up_leaves_the_old_or_the_new() {
    let mut random = Random(11);
    let story = story(8, 2);
    for picture in &story.pictures {
        let disk = picture.disk.fork();
        let (filmed, shots) = filmed(&disk, &Arc::default());
        drop(open(filmed, None));
        let (mut cuts, _) = std::mem::take(&mut *shots.lock().unwrap());
        cuts.push(Picture { disk, acknowledged: 0 });
        for cut in cuts {
            for _ in 0..4 {
                let disk = cut.disk.fork();
                disk.crash(Crash::Picked(&mut || random.below(2) == 0));
                check(&story, picture.acknowledged, disk, false);
            }
        }
    }
}

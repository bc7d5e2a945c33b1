//! Stores as they may come, against a list.

use super::*;

/// A random story of appends, compactions and openings; the store always visits what a list holds.
fn story(seed: u64) -> usize {
    let mut random = Random(seed * 2 + 1);
    let memory = MemoryDisk::default();
    let (mut store, _, _) = open(Arc::new(memory.clone()), None);
    let mut list = Blocks::new();
    let mut compactions = 0;
    for step in 0..12 {
        match random.below(4) {
            0 => {
                list = compacted(&store, &mut random, &list);
                compactions += 1;
            }
            1 => {
                let since = (random.below(2) == 0).then(|| store.end());
                let is_stale = since.is_some() && store.end() != store.renewed().end();
                drop(store);
                let (opened, report, found) = open(Arc::new(memory.clone()), since);
                assert_eq!((report.damages_count, report.torn), (0, None), "seed {seed}");
                assert_eq!(report.restarted, is_stale, "seed {seed}, step {step}");
                let all = since.is_none_or(|since| since == Mark::default()) || is_stale;
                assert_eq!(bytes_of(&found), if all { list.clone() } else { Blocks::new() });
                store = opened;
            }
            _ => {
                let count = random.below(8);
                list.extend(bytes_of(&fill(&store, &mut random, count)));
            }
        }
        let found = visited(&store);
        assert_eq!(bytes_of(&found), list, "seed {seed}, step {step}");
        check_reads(&store, &found);
    }
    compactions
}

/// Compacts `store`, which holds `list`; returns what it holds now.
fn compacted(store: &Store, random: &mut Random, list: &Blocks) -> Blocks {
    let count = random.below(3);
    let front: Blocks = (0..count).map(|n| vec![n as u8; 9 + 300 * n]).collect();
    let first: Vec<_> = front.iter().map(|bytes| Section { cid: cid(bytes), bytes }).collect();
    let part = random.below(5);
    let (mut kept, mut meanwhile, mut at) = (Blocks::new(), Blocks::new(), 0);
    let keep = &mut |_: Place, _: &Cid, bytes: &[u8]| {
        assert_eq!(bytes, list[at]);
        at += 1;
        if random.below(6) == 0 {
            meanwhile.extend(bytes_of(&fill(store, random, 1)));
        }
        let keeps = random.below(4) < part;
        kept.extend(keeps.then(|| bytes.to_vec()));
        keeps
    };
    store.compact(&first, keep).unwrap();
    assert_eq!(at, list.len(), "each block is asked for once");
    [front, kept, meanwhile].concat()
}

#[test]
fn whatever_is_appended_and_compacted_is_what_a_list_would_hold() {
    let stories = if std::env::var_os("RHIZOME_LONG").is_some() { 20_000 } else { 500 };
    let compactions: usize = (0..stories).map(story).sum();
    assert!(compactions as u64 > 2 * stories, "{compactions}");
}

//! Damage in what is to be rewritten: nothing is lost over it.

use super::*;
use crate::{CompactError, DamageKind};

/// The block that is damaged.
const AT: usize = 7;

/// A store of 20 blocks.
fn store_of_20() -> (MemoryDisk, Vec<One>) {
    let memory = MemoryDisk::default();
    let (store, _, _) = open(Arc::new(memory.clone()), None);
    let all = fill(&store, &mut Random(5), 20);
    (memory, all)
}

fn change(memory: &MemoryDisk, segment: u32, change: impl FnOnce(&mut Vec<u8>)) {
    let name = format!("{segment:08}.car");
    let mut bytes = memory.bytes(&name).unwrap();
    change(&mut bytes);
    memory.put(&name, bytes);
}

/// Where the section of a block begins.
fn start(one: &One) -> usize {
    let length_bytes = if one.bytes.len() + Cid::BYTES < 0x80 { 1 } else { 2 };
    one.place.offset as usize - Cid::BYTES - length_bytes
}

fn segments(memory: &MemoryDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let mut names = memory.list().unwrap();
    names.retain(|name| name.ends_with(".car"));
    names.into_iter().map(|name| (name.clone(), memory.bytes(&name))).collect()
}

#[track_caller]
fn refusal(store: &Store) -> (crate::Damage, String) {
    let error = store.compact(&[], &mut |_, _, _| true).unwrap_err();
    let CompactError::Damaged { damage } = &error else { panic!("{error:?}") };
    (*damage, error.to_string())
}

#[test]
fn damage_refuses_a_compaction_by_its_name_until_a_good_copy_lies_there() {
    // The length, the name, and some of the data.
    for behind in 0..44 {
        for bit in [0, 7] {
            let (memory, all) = store_of_20();
            let bad = &all[AT];
            change(&memory, bad.place.segment, |bytes| bytes[start(bad) + behind] ^= 1 << bit);
            let (store, report, _) = open(Arc::new(memory.clone()), None);
            assert_eq!(report.damages_count, 1, "byte {behind}, bit {bit}");
            let before = segments(&memory);
            let (damage, text) = refusal(&store);
            assert_eq!(damage, report.damages[0]);
            if behind > 38 {
                assert_eq!(damage.cid, Some(bad.cid));
                assert!(text.contains(&bad.cid.to_string()), "{text}");
            }
            assert_eq!(segments(&memory), before, "nothing has changed");

            store.repair(bad.cid, &bad.bytes).unwrap();
            store.compact(&[], &mut |_, _, _| true).unwrap();
            let mut expected = bytes_of(&all);
            let repaired = expected.remove(AT);
            expected.push(repaired);
            assert_eq!(bytes_of(&visited(&store)), expected, "byte {behind}, bit {bit}");
            let (_, report, _) = open(Arc::new(memory), None);
            assert_eq!(report.damages_count, 0, "byte {behind}, bit {bit}");
        }
    }
}

#[test]
fn a_damaged_header_refuses_nothing_since_no_block_is_in_it() {
    let (memory, all) = store_of_20();
    change(&memory, 2, |bytes| bytes[3] ^= 4);
    let (store, report, _) = open(Arc::new(memory), None);
    assert_eq!(report.damages_count, 1);
    store.compact(&[], &mut |_, _, _| true).unwrap();
    assert_eq!(bytes_of(&visited(&store)), bytes_of(&all));
}

#[test]
fn what_lies_beside_a_repaired_block_in_one_damage_is_not_given_up() {
    let (memory, all) = store_of_20();
    let (bad, next) = (&all[AT], &all[AT + 1]);
    assert_eq!(bad.place.segment, next.place.segment);
    change(&memory, bad.place.segment, |bytes| {
        bytes[bad.place.offset as usize + 3] ^= 1;
        // Without its head the next section cannot be told from the first one.
        bytes[start(next)..next.place.offset as usize].fill(0);
    });
    let (store, report, _) = open(Arc::new(memory), None);
    assert_eq!(report.damages_count, 1);
    store.repair(bad.cid, &bad.bytes).unwrap();
    assert_eq!(refusal(&store).0, report.damages[0]);
}

#[test]
fn an_end_that_was_cut_off_and_a_missing_segment_refuse_a_compaction() {
    let (memory, all) = store_of_20();
    let bad = &all[AT];
    let short = memory.fork();
    change(&short, bad.place.segment, |bytes| bytes.truncate(start(bad) + 60));
    let (store, _, _) = open(Arc::new(short), None);
    store.repair(bad.cid, &bad.bytes).unwrap();
    assert_eq!(refusal(&store).0.cid, Some(bad.cid));

    memory.remove("00000002.car").unwrap();
    let (store, _, _) = open(Arc::new(memory), None);
    let (damage, _) = refusal(&store);
    assert_eq!((damage.kind, damage.mark.segment), (DamageKind::Missing, 2));
}

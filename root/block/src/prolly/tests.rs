//! Maps do not remember how they came about, change little, and refuse liars.

use super::*;
use crate::link::clear::{Shelf, open};
use crate::{Cid, fixture};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const BOUNDARY_KEY: [u8; 32] = [9; 32];

type State = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn snapshot(state: &State, shelf: &mut Shelf) -> Root {
    let entries = state.iter().map(|(key, (value, newest))| (key.clone(), value.clone(), *newest));
    build(entries, &BOUNDARY_KEY, &mut |plain| shelf.seal(plain)).unwrap()
}

fn read(shelf: &Shelf, root: Root) -> Result<State, ReadError> {
    let mut reader = Reader::new(root, u64::MAX)?;
    let mut state = State::new();
    while !reader.is_done() {
        let wanted = reader.wanted(3);
        assert!(!wanted.is_empty() && wanted.len() <= 3);
        for cid in wanted.iter().rev() {
            for found in reader.supply(cid, &shelf.blocks[cid], &mut open)? {
                assert!(state.insert(found.key, (found.value, found.newest)).is_none());
            }
        }
    }
    assert_eq!(reader.found(), state.len() as u64);
    assert!(reader.wanted(1).is_empty());
    Ok(state)
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn state_of(count: u64) -> State {
    let entry = |i: u64| (format!("notes/{i:08}").into_bytes(), (random(i, 90), i));
    (0..count).map(entry).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn entries_come_back(
        keys in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 0..6),
            (0..1400_usize, any::<u64>()),
            0..200,
        ),
    ) {
        let mut shelf = Shelf::default();
        let mut state = State::new();
        for (i, (key, (length, newest))) in keys.into_iter().enumerate() {
            state.insert(key, (random(i as u64, length), newest));
        }
        let root = snapshot(&state, &mut shelf);
        prop_assert_eq!(root.count, state.len() as u64);
        prop_assert_eq!(root.newest, state.values().map(|value| value.1).max().unwrap_or(0));
        prop_assert_eq!(read(&shelf, root).unwrap(), state);
    }

    #[test]
    fn a_tree_with_one_changed_bit_is_never_read(
        count in 0..300_u64,
        which: proptest::sample::Index,
        place: proptest::sample::Index,
        bit in 0..8_u32,
    ) {
        let mut shelf = Shelf::default();
        let state = state_of(count);
        let root = snapshot(&state, &mut shelf);
        let cid = *which.get(&shelf.blocks.keys().copied().collect::<Vec<_>>());
        let block = shelf.blocks.get_mut(&cid).unwrap();
        let place = place.index(block.len());
        block[place] ^= 1 << bit;
        prop_assert!(read(&shelf, root).is_err());
    }

    #[test]
    fn hostile_nodes_never_panic(
        mut plain in proptest::collection::vec(any::<u8>(), 0..200),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        depth: u8,
        genuine: bool,
    ) {
        let mut shelf = Shelf::default();
        let mut root = snapshot(&state_of(200), &mut shelf);
        if genuine {
            plain = shelf.blocks[&root.link.cid].clone();
            for (place, byte) in flips {
                let place = place.index(plain.len());
                plain[place] = byte;
            }
        } else {
            root.depth = depth;
        }
        root.link = shelf.seal(&plain);
        let mut reader = match Reader::new(root, 1000) {
            Ok(reader) => reader,
            Err(_) => return Ok(()),
        };
        let _ = reader.supply(&root.link.cid, &plain, &mut open);
        let _ = node_links(&plain);
        let _ = reader.wanted(10);
    }
}

#[test]
fn the_tree_does_not_remember_how_it_came_about() {
    let mut state = state_of(3_000);
    let mut shelf = Shelf::default();
    let before = snapshot(&state, &mut shelf);
    for i in 0..500_u64 {
        state.insert(random(i, 12), (vec![1], i));
    }
    assert_ne!(snapshot(&state, &mut shelf), before);
    for i in 0..500_u64 {
        state.remove(&random(i, 12));
    }
    assert_eq!(snapshot(&state, &mut shelf), before);
}

#[test]
fn another_boundary_key_gives_another_shape() {
    let state = state_of(400);
    let entries = || state.iter().map(|(key, (value, at))| (key.clone(), value.clone(), *at));
    let mut ends = Vec::new();
    for key in [[1; 32], [2; 32]] {
        let mut shelf = Shelf::default();
        build(entries(), &key, &mut |plain| shelf.seal(plain)).unwrap();
        ends.push(shelf.blocks.into_keys().collect::<BTreeSet<Cid>>());
    }
    assert!(ends[0].intersection(&ends[1]).count() < ends[0].len() / 4);
}

#[test]
fn changing_a_value_moves_no_boundary() {
    let mut state = state_of(5_000);
    let mut shelf = Shelf::default();
    snapshot(&state, &mut shelf);
    let blocks = shelf.blocks.len();
    for (value, newest) in state.values_mut() {
        value.reverse();
        *newest += 1;
    }
    let mut shelf = Shelf::default();
    snapshot(&state, &mut shelf);
    assert_eq!(shelf.blocks.len(), blocks);
}

#[test]
fn one_change_in_20_000_rewrites_one_node_per_level() {
    let mut state = state_of(20_000);
    let mut shelf = Shelf::default();
    let root = snapshot(&state, &mut shelf);
    let old: BTreeSet<Cid> = shelf.blocks.keys().copied().collect();
    for i in [0, 77, 9_999, 19_999] {
        let key = format!("notes/{i:08}").into_bytes();
        let kept = state.insert(key.clone(), (b"changed".to_vec(), 20_000)).unwrap();
        let mut shelf = Shelf::default();
        let changed = snapshot(&state, &mut shelf);
        let new = shelf.blocks.keys().filter(|cid| !old.contains(cid)).count();
        assert_eq!(new, usize::from(root.depth) + 1);
        assert_eq!(changed.depth, root.depth);
        state.insert(key, kept);
    }
}

/// New blocks and KiB of a snapshot after `change`, beside those of the first one.
fn cost(change: impl FnOnce(&mut State)) -> String {
    let mut state = state_of(20_000);
    let mut shelf = Shelf::default();
    snapshot(&state, &mut shelf);
    let mut next = Shelf::default();
    change(&mut state);
    let root = snapshot(&state, &mut next);
    let new: Vec<usize> = next
        .blocks
        .iter()
        .filter(|(cid, _)| !shelf.blocks.contains_key(cid))
        .map(|(_, block)| block.len())
        .collect();
    format!("{} blocks, {} KiB, depth {}", new.len(), new.iter().sum::<usize>() / 1024, root.depth)
}

#[track_caller]
fn check_cost(change: impl FnOnce(&mut State), expected: &Expect) {
    expected.assert_eq(&cost(change));
}

fn update(state: &mut State, count: u64) {
    for i in 0..count {
        let which = u64::from_le_bytes(*random(i, 8).first_chunk().unwrap()) % 20_000;
        let key = format!("notes/{which:08}").into_bytes();
        state.insert(key, (random(i + 50_000, 90), 20_000 + i));
    }
}

#[test]
fn snapshots_cost_what_the_format_page_says() {
    check_cost(State::clear, &expect!["1 blocks, 0 KiB, depth 0"]);
    check_cost(|state| *state = state_of(40_000), &expect!["1387 blocks, 2870 KiB, depth 4"]);
    check_cost(|state| update(state, 1), &expect!["5 blocks, 7 KiB, depth 4"]);
    check_cost(|state| update(state, 26), &expect!["53 blocks, 146 KiB, depth 4"]);
    check_cost(|state| update(state, 200), &expect!["263 blocks, 823 KiB, depth 4"]);
    check_cost(|state| update(state, 10_000), &expect!["1316 blocks, 2830 KiB, depth 4"]);
    let append = |state: &mut State| {
        for i in 20_000..20_025_u64 {
            state.insert(format!("notes/{i:08}").into_bytes(), (random(i, 90), i));
        }
    };
    check_cost(append, &expect!["5 blocks, 9 KiB, depth 4"]);
}

#[test]
fn the_newest_entries_are_read_first() {
    let mut state = state_of(20_000);
    for (i, value) in state.values_mut().enumerate() {
        value.1 = 0;
        if i % 4_000 == 17 {
            value.1 = 1_000_000 + i as u64;
        }
    }
    let mut shelf = Shelf::default();
    let root = snapshot(&state, &mut shelf);
    let mut reader = Reader::new(root, u64::MAX).unwrap();
    let (mut fetched, mut newest) = (0, Vec::new());
    while newest.len() < 5 {
        let cid = reader.wanted(1)[0];
        let found = reader.supply(&cid, &shelf.blocks[&cid], &mut open).unwrap();
        newest.extend(found.into_iter().filter(|found| found.newest > 0).map(|found| found.newest));
        fetched += 1;
    }
    assert_eq!(newest, [1_016_017, 1_012_017, 1_008_017, 1_004_017, 1_000_017]);
    assert!(fetched <= 1 + 5 * usize::from(root.depth), "{fetched} blocks for 5 entries");
}

#[test]
fn long_values_have_blocks_of_their_own() {
    let mut state = state_of(40);
    let longs = [1_024, 1_025, 5_000, tree::CHUNK_BYTES + 9, 20 * tree::CHUNK_BYTES];
    for (i, length) in longs.into_iter().enumerate() {
        state.insert(format!("long/{i}").into_bytes(), (vec![i as u8; length], 7));
    }
    // Two equal values share their blocks.
    state.insert(b"long/again".to_vec(), (vec![4; 20 * tree::CHUNK_BYTES], 3));
    let mut shelf = Shelf::default();
    let root = snapshot(&state, &mut shelf);
    assert!(read(&shelf, root).unwrap() == state);
}

#[test]
fn every_block_of_a_tree_is_reached_by_its_links() {
    let mut state = state_of(900);
    state.insert(b"long".to_vec(), (random(1, tree::CHUNK_BYTES + 9), 7));
    let mut shelf = Shelf::default();
    let root = snapshot(&state, &mut shelf);
    let mut reached = BTreeSet::new();
    let mut nodes = vec![root.link];
    while let Some(link) = nodes.pop() {
        reached.insert(link.cid);
        let links = node_links(&shelf.blocks[&link.cid]).unwrap();
        nodes.extend(links.children);
        for tree in links.values {
            reached.insert(tree.link.cid);
            let leaves = tree::node_links(tree.link.cid, &shelf.blocks[&tree.link.cid]).unwrap();
            reached.extend(leaves.iter().map(|link| link.cid));
        }
    }
    assert_eq!(reached, shelf.blocks.keys().copied().collect());
}

#[test]
fn entries_that_make_no_tree_are_refused() {
    let refuse = |entries: Vec<Entry>| {
        let mut shelf = Shelf::default();
        build(entries.into_iter(), &BOUNDARY_KEY, &mut |plain| shelf.seal(plain)).unwrap_err()
    };
    let key = |text: &str| (text.as_bytes().to_vec(), vec![], 0);
    assert_eq!(refuse(vec![key("a"), key("c"), key("b")]), BuildError::Unsorted { at: 2 });
    assert_eq!(refuse(vec![key("a"), key("a")]), BuildError::Unsorted { at: 1 });
    let long = (vec![0; KEY_BYTES_MAX + 1], vec![], 0);
    assert_eq!(refuse(vec![long]), BuildError::Key { at: 0, bytes: KEY_BYTES_MAX + 1 });
}

#[test]
fn a_parent_that_lies_about_its_children_is_refused() {
    let mut shelf = Shelf::default();
    let root = snapshot(&state_of(300), &mut shelf);
    let refused = |root: Root| read(&shelf, root).unwrap_err();
    let chain = |error: ReadError| match error {
        ReadError::Node { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let sums = "node breaks a rule: count and newest are the parent's";
    assert_eq!(chain(refused(Root { count: 301, ..root })), sums);
    assert_eq!(chain(refused(Root { newest: 9_999, ..root })), sums);
    let level = "node breaks a rule: level is the parent's";
    assert_eq!(chain(refused(Root { depth: 0, ..root })), level);
    assert_eq!(chain(refused(Root { depth: 65, ..root })), "tree claims 65 levels, more than 64");
    assert!(matches!(Reader::new(root, 299), Err(ReadError::TooLarge { count: 300, .. })));
}

#[test]
fn a_node_out_of_its_range_is_refused() {
    let child = |key: &[u8], count: u64, link: Link| node::Child {
        key: key.to_vec(),
        link,
        count,
        newest: 0,
    };
    let leaf = |key: &[u8]| node::Leaf {
        key: key.to_vec(),
        newest: 0,
        value: node::Value::Inline(vec![]),
    };
    let mut shelf = Shelf::default();
    let mut seal = |rows| shelf.seal(&node::Node::new(rows).encode());
    let ends_late = seal(node::Rows::Leaves(vec![leaf(b"a"), leaf(b"c")]));
    let next = seal(node::Rows::Leaves(vec![leaf(b"b"), leaf(b"d")]));
    let top = seal(node::Rows::Children(vec![child(b"a", 2, ends_late), child(b"b", 2, next)]));
    let root = Root { link: top, count: 4, newest: 0, depth: 1 };
    let ReadError::Node { source, .. } = read(&shelf, root).unwrap_err() else {
        panic!("the node itself is at fault")
    };
    assert_eq!(source.to_string(), "node breaks a rule: keys stand in their range");
}

#[test]
fn version_1_reads_as_it_was_written() {
    let mut shelf = Shelf::default();
    let mut state = state_of(40);
    state.insert(b"long".to_vec(), (vec![1; 2_000], 7));
    let root = snapshot(&state, &mut shelf);
    fixture::check("prolly-root-v1.cbor", &crate::encode(&root).unwrap());
    let mut bytes = crate::car::header(&[root.link.cid]);
    for (cid, block) in &shelf.blocks {
        crate::car::write_section(&mut bytes, cid, block);
    }
    let stored = fixture::check("prolly-v1.car", &bytes);
    let (_, start) = crate::car::read_header(&stored).unwrap();
    let stored = crate::car::sections(&stored, start)
        .map(|section| section.unwrap())
        .map(|section| (section.cid, section.data(&stored).to_vec()))
        .collect();
    assert_eq!(read(&Shelf { blocks: stored }, root).unwrap(), state);
}

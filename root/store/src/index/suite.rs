//! What every index must do, tried against the standard library's ordered map.

use crate::segments::tests::Random;
use rhizome_log::{Batch, Index, scan_prefix};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Tries everything on fresh indexes.
pub(super) fn suite(make: impl Fn() -> Box<dyn Index>) {
    changes_apply_in_order(&*make());
    scans_keep_to_their_bounds(&*make());
    a_visit_may_read(&*make());
    it_agrees_with_the_model(&*make());
}

pub(super) fn put(index: &dyn Index, pairs: &[(&[u8], &[u8])]) {
    let mut batch = Batch::default();
    pairs.iter().for_each(|(key, value)| batch.put(*key, *value));
    index.write(batch).unwrap();
}

/// The first pairs between two bounds, at most `limit` of them.
pub(super) fn scan(
    index: &dyn Index,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    reverse: bool,
    limit: usize,
) -> Pairs {
    let mut pairs = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        assert!(pairs.len() < limit, "break ends a scan");
        pairs.push((key.to_vec(), value.to_vec()));
        if pairs.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    index.scan(from, to, reverse, visit).unwrap();
    pairs
}

fn changes_apply_in_order(index: &dyn Index) {
    index.write(Batch::default()).unwrap();
    assert_eq!(index.get(b"a").unwrap(), None);
    let mut batch = Batch::default();
    batch.put(*b"a", *b"1");
    batch.remove(*b"a");
    batch.put(*b"b", *b"1");
    batch.put(*b"b", *b"2");
    batch.remove(*b"c");
    batch.put(*b"c", *b"");
    batch.put(*b"", *b"empty");
    index.write(batch).unwrap();
    assert_eq!(index.get(b"a").unwrap(), None);
    assert_eq!(index.get(b"b").unwrap().unwrap(), b"2");
    assert_eq!(index.get(b"c").unwrap().unwrap(), b"");
    assert_eq!(index.get(b"").unwrap().unwrap(), b"empty");
    let mut batch = Batch::default();
    batch.remove(*b"b");
    index.write(batch).unwrap();
    assert_eq!(index.get(b"b").unwrap(), None);
    let all = scan(index, (Bound::Unbounded, Bound::Unbounded), false, 9);
    assert_eq!(all, [(b"".to_vec(), b"empty".to_vec()), (b"c".to_vec(), b"".to_vec())]);
}

fn scans_keep_to_their_bounds(index: &dyn Index) {
    let keys: [&[u8]; 7] = [b"a", b"a\0", b"a\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x00"];
    put(index, &keys.map(|key| (key, key)));
    let model: Model = keys.iter().map(|key| (key.to_vec(), key.to_vec())).collect();
    let mut bounds = vec![Bound::Unbounded];
    for key in keys.into_iter().chain([&b""[..], b"aa", b"c", b"\xff\xff\xff"]) {
        bounds.extend([Bound::Included(key), Bound::Excluded(key)]);
    }
    for from in &bounds {
        for to in &bounds {
            for (reverse, limit) in [(false, 99), (true, 99), (false, 1), (true, 2)] {
                let range = (*from, *to);
                let expected = model_scan(&model, range, reverse, limit);
                assert_eq!(scan(index, range, reverse, limit), expected, "{range:?} {reverse}");
            }
        }
    }
    let mut found = Vec::new();
    scan_prefix(index, b"\xff", false, &mut |key, _| {
        found.push(key.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found, keys[4..]);
}

fn a_visit_may_read(index: &dyn Index) {
    put(index, &[(b"1", b"one"), (b"2", b"two")]);
    let mut seen = 0;
    let visit = &mut |key: &[u8], value: &[u8]| {
        seen += 1;
        assert_eq!(index.get(key).unwrap().as_deref(), Some(value));
        ControlFlow::Continue(())
    };
    index.scan(Bound::Unbounded, Bound::Unbounded, true, visit).unwrap();
    assert_eq!(seen, 2);
}

fn it_agrees_with_the_model(index: &dyn Index) {
    let mut random = Random(60);
    let mut model = Model::new();
    let key = |random: &mut Random| {
        let length = random.below(4);
        let mut key = random.bytes(length);
        key.iter_mut().for_each(|byte| *byte %= 5);
        key
    };
    for _ in 0..1_500 {
        let mut batch = Batch::default();
        for _ in 0..random.below(5) {
            let key = key(&mut random);
            if random.below(3) == 0 {
                model.remove(&key);
                batch.remove(key);
            } else {
                let length = random.below(20);
                let value = random.bytes(length);
                model.insert(key.clone(), value.clone());
                batch.put(key, value);
            }
        }
        index.write(batch).unwrap();
        let (from, to) = (key(&mut random), key(&mut random));
        assert_eq!(index.get(&from).unwrap(), model.get(&from).cloned());
        let pick = |kind, key| match kind {
            0 => Bound::Unbounded,
            1 => Bound::Included(key),
            _ => Bound::Excluded(key),
        };
        let range = (pick(random.below(3), &from[..]), pick(random.below(3), &to[..]));
        let (reverse, limit) = (random.below(2) == 0, 1 + random.below(30));
        let expected = model_scan(&model, range, reverse, limit);
        assert_eq!(scan(index, range, reverse, limit), expected, "{range:?} {reverse}");
    }
}

fn model_scan(
    model: &Model,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    reverse: bool,
    limit: usize,
) -> Pairs {
    let after = |key: &[u8]| match from {
        Bound::Unbounded => true,
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
    };
    let before = |key: &[u8]| match to {
        Bound::Unbounded => true,
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
    };
    let pairs = model.iter().filter(|(key, _)| after(key) && before(key));
    let mut pairs: Pairs = pairs.map(|(key, value)| (key.clone(), value.clone())).collect();
    if reverse {
        pairs.reverse();
    }
    pairs.truncate(limit);
    pairs
}

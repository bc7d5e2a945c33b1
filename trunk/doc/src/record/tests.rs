//! Records survive their bytes, and damage is noticed.

use super::*;
use crate::fixture::*;
use proptest::prelude::*;

/// A record with everything in it: made by folding, read back raw.
fn everything() -> Vec<u8> {
    let mut replica = Replica::default();
    replica.commit(&event(1, 1, 10, &[], body(&[set("n/a", "{\"t\":0,\"m\":{\"x\":0}}")])));
    replica.commit(&event(2, 1, 20, &[(1, 1)], body(&[assign("n/a", "m.x", "2")])));
    replica.commit(&event(3, 1, 30, &[(1, 1)], body(&[assign("n/a", "m.x", "3")])));
    replica.commit(&event(4, 1, 15, &[(1, 1)], body(&[delete("n/a")])));
    replica.pend(&event(1, 2, 40, &[], body(&[assign("n/a", "t", "1")])));
    let record = documents().record(&replica.index, &path("n/a")).unwrap().unwrap();
    assert!(record.conflicts.len() >= 2 && record.pending == 1 && record.value.is_some());
    record.to_bytes()
}

#[test]
fn version_2_is_read_from_its_fixture() {
    let at = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/document-v2.bin");
    let stored = stored(at, everything);
    assert_eq!(everything(), stored);
    assert_eq!(Record::from_bytes(&stored).unwrap().to_bytes(), stored);
}

#[test]
fn version_1_is_read_and_knows_no_last_change() {
    let at = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/document-v1.bin");
    let old = Record::from_bytes(&stored(at, Vec::new)).unwrap();
    let new = Record::from_bytes(&everything()).unwrap();
    assert!(new.last.is_some());
    assert_eq!(old, Record { last: None, ..new });
}

#[test]
fn a_document_written_once_has_one_stamp() {
    let mut replica = Replica::default();
    replica.commit(&event(1, 1, 10, &[], body(&[set("n/a", "{\"t\":0,\"m\":{\"x\":0}}")])));
    let record = documents().record(&replica.index, &path("n/a")).unwrap().unwrap();
    assert!(record.stamps.below.is_empty() && record.conflicts.is_empty());
    assert_eq!(record.to_bytes().len(), 86);
}

proptest! {
    #[test]
    fn damage_is_an_error_and_never_a_panic(at in any::<usize>(), flip in 1_u8..) {
        let mut bytes = everything();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        drop(Record::from_bytes(&bytes));
        bytes.truncate(at);
        prop_assert!(Record::from_bytes(&bytes).is_err());
    }
}

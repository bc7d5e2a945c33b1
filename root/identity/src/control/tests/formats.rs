//! Bytes of control records: fixtures of version 1, records of later builds, hostile bytes.

use super::adopt;
use super::world::*;
use crate::control::*;
use crate::*;
use ipld_core::ipld::Ipld;
use proptest::prelude::*;

/// One record with each body, over an identity where it holds.
fn every_body() -> Vec<(&'static str, ControlRecord)> {
    let log = family();
    let state = log.state();
    let old = ControlLog::new(founded(11, 8));
    let bodies = [
        ("add-device", add(1, 6, DeviceKind::Phone, WRITER)),
        ("revoke-device", revoke(state, 4)),
        ("rotate-epoch", rotate(state)),
        ("change-voters", voters(2, &[1, 2, 5])),
        ("set-policy", ControlBody::SetPolicy(Policy { fold: Some(2) })),
        ("adopt", adopt(&old)),
        ("dormant", ControlBody::Dormant(Dormant { device: id(4), dormant: true })),
        ("reform", reform(state, &[1], &[4, 5])),
    ];
    bodies.into_iter().map(|(name, body)| (name, record(&log, &[1, 2], 1, body))).collect()
}

#[test]
fn version_1_of_every_body_still_reads_and_holds() {
    for (name, record) in every_body() {
        let file = format!("control-{name}.v1.cbor");
        let stored = crate::fixture::check(&file, &record.to_bytes());
        assert_eq!(rhizome_block::peek_kind(&stored), Some("control"));
        let read = ControlRecord::from_bytes(&stored).unwrap();
        assert_eq!(read, record);
        assert!(matches!(family().insert(read), Ok(Inserted::Placed { .. })), "{name}");
    }
}

/// The record of a later build: one of ours with a field changed.
fn edited(edit: impl FnOnce(&mut std::collections::BTreeMap<String, Ipld>)) -> Vec<u8> {
    let bytes = every_body()[3].1.to_bytes();
    let Ipld::Map(mut fields) = rhizome_block::decode(&bytes).unwrap() else { unreachable!() };
    edit(&mut fields);
    rhizome_block::encode(&Ipld::Map(fields)).unwrap()
}

#[test]
fn a_record_of_a_later_build_is_told_from_a_broken_one() {
    let unknown = |bytes: Vec<u8>| match ControlRecord::from_bytes(&bytes) {
        Err(RecordError::Unknown { what }) => what,
        other => panic!("{other:?}"),
    };
    let body = Ipld::Map([("grant".to_owned(), Ipld::List(Vec::new()))].into());
    let later = edited(|fields| drop(fields.insert("body".to_owned(), body)));
    assert_eq!(unknown(later), "body \"grant\"");
    let word = Ipld::String("set-recovery".to_owned());
    let later = edited(|fields| drop(fields.insert("body".to_owned(), word)));
    assert_eq!(unknown(later), "body \"set-recovery\"");
    let later = edited(|fields| drop(fields.insert("v".to_owned(), Ipld::Integer(2))));
    assert_eq!(unknown(later), "v 2");
    let later = edited(|fields| drop(fields.insert("alg".to_owned(), Ipld::Integer(7))));
    assert_eq!(unknown(later), "alg 7");
    for broken in [
        edited(|fields| drop(fields.remove("prev"))),
        edited(|fields| drop(fields.insert("more".to_owned(), Ipld::Null))),
        edited(|fields| drop(fields.insert("k".to_owned(), Ipld::String("event".to_owned())))),
        edited(|fields| drop(fields.insert("body".to_owned(), Ipld::Integer(1)))),
    ] {
        let error = ControlRecord::from_bytes(&broken).unwrap_err();
        assert!(matches!(error, RecordError::Malformed { .. }), "{error:?}");
    }
}

#[test]
fn a_record_larger_than_a_block_is_not_even_read() {
    let huge = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(ControlRecord::from_bytes(&huge), Err(RecordError::Size { .. })));
}

#[test]
fn a_thousand_nested_lists_are_refused_without_filling_the_stack() {
    let mut bytes = edited(|_| ());
    let body = bytes.windows(5).position(|window| window == b"dbody").unwrap() + 5;
    bytes.splice(body..body, std::iter::repeat_n(0x81, 100_000));
    assert!(ControlRecord::from_bytes(&bytes).is_err());
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_without_a_panic(
        which in 0..8usize, at: prop::sample::Index, with: u8, noise: Vec<u8>,
    ) {
        let mut bytes = every_body()[which].1.to_bytes();
        let at = at.index(bytes.len());
        prop_assert!(ControlRecord::from_bytes(&bytes[..at]).is_err());
        prop_assert!(ControlRecord::from_bytes(&noise).is_err());
        let before = std::mem::replace(&mut bytes[at], with);
        let held = ControlRecord::from_bytes(&bytes)
            .is_ok_and(|read| matches!(family().insert(read), Ok(Inserted::Placed { .. })));
        prop_assert_eq!(held, before == with);
    }
}

//! What is written is what the public library writes.

use super::{Unwritable, write};
use crate::{Cid, Codec};
use ipld_core::ipld::Ipld;
use proptest::prelude::*;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use std::collections::BTreeMap;

/// Fields out of order, one of them left out now and then, and every shape of an enum.
#[derive(Serialize)]
struct Shapes {
    zebra: Option<bool>,
    b: (i8, u16, f32),
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<char>,
    a: Vec<Shape>,
    unit: (),
    cid: Cid,
    newtype: Newtype,
    unknown: Uncounted,
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(Box<Shape>),
    Tuple(u8, String),
    Struct { second: i128, first: u128 },
}

#[derive(Serialize)]
struct Newtype(#[serde(with = "serde_bytes")] Vec<u8>);

/// A list and a map that do not say how long they are.
struct Uncounted(u64);

impl Serialize for Uncounted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for n in (0..self.0).rev() {
            map.serialize_entry(&format!("{n}"), &List(n))?;
        }
        map.end()
    }
}

struct List(u64);

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        (0..self.0).try_for_each(|n| list.serialize_element(&n))?;
        list.end()
    }
}

fn shapes(n: i64, text: &str, left_out: Option<char>, uncounted: u64) -> Shapes {
    Shapes {
        zebra: (n % 3 == 0).then_some(n % 2 == 0),
        b: (n as i8, n as u16, n as f32),
        left_out,
        a: vec![
            Shape::Unit,
            Shape::Newtype(Box::new(Shape::Tuple(n as u8, text.to_owned()))),
            Shape::Struct { second: i128::from(n) - 1, first: u128::from(n.unsigned_abs()) },
        ],
        unit: (),
        cid: Cid::of(Codec::Raw, text.as_bytes()),
        newtype: Newtype(text.as_bytes().to_vec()),
        unknown: Uncounted(uncounted),
    }
}

fn written<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Unwritable> {
    write(value, <[u8]>::to_vec)
}

#[track_caller]
fn same<T: Serialize>(value: &T) {
    let theirs = serde_ipld_dagcbor::to_vec(value).ok();
    assert_eq!(written(value).ok(), theirs);
}

fn ipld() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i64>().prop_map(|n| Ipld::Integer(i128::from(n))),
        any::<u64>().prop_map(|n| Ipld::Integer(i128::from(n))),
        any::<i128>().prop_map(Ipld::Integer),
        any::<f64>().prop_map(Ipld::Float),
        ".{0,40}".prop_map(Ipld::String),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Ipld::Bytes),
    ];
    leaf.prop_recursive(4, 64, 30, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..30).prop_map(Ipld::List),
            proptest::collection::btree_map(".{0,3}", inner, 0..30).prop_map(Ipld::Map),
        ]
    })
}

proptest! {
    #[test]
    fn values_are_written_as_the_public_library_writes_them(value in ipld()) {
        prop_assert_eq!(written(&value).ok(), serde_ipld_dagcbor::to_vec(&value).ok());
    }

    #[test]
    fn types_are_written_as_the_public_library_writes_them(
        n: i64,
        text in ".{0,30}",
        left_out: Option<char>,
        uncounted in 0..40_u64,
    ) {
        let value = shapes(n, &text, left_out, uncounted);
        prop_assert_eq!(written(&value).ok(), serde_ipld_dagcbor::to_vec(&value).ok());
    }
}

#[test]
fn numbers_at_every_width_are_the_same() {
    for shift in 0..64 {
        for near in [-1_i64, 0, 1] {
            let n = (1_u64 << shift).wrapping_add_signed(near);
            same(&n);
            same(&(n as i64));
            same(&(n as i64).wrapping_neg());
        }
    }
    for n in [i128::from(u64::MAX), -i128::from(u64::MAX) - 1, i128::MAX, i128::MIN] {
        same(&n);
        same(&n.checked_add(1));
        same(&n.checked_sub(1));
        same(&n.unsigned_abs());
    }
    for number in [0.0, -0.0, 1.5, f64::MAX, f64::NAN, f64::INFINITY] {
        same(&number);
    }
}

#[test]
fn a_map_with_other_keys_than_text_is_refused() {
    assert!(written(&BTreeMap::from([(1, 2)])).is_err());
    assert!(written(&BTreeMap::from([(vec![1], 2)])).is_err());
}

#[test]
fn a_map_that_is_long_and_uncounted_has_the_right_head() {
    same(&Uncounted(300));
    same(&vec![Uncounted(24), Uncounted(23), Uncounted(0)]);
}

#[test]
fn what_was_written_before_leaves_nothing_behind() {
    let long = vec!["a text of some length"; 10_000];
    for _ in 0..2 {
        same(&long);
        same(&shapes(7, "short", None, 3));
        assert!(written(&f64::NAN).is_err());
        assert!(written(&vec![f64::NAN]).is_err());
        same(&Uncounted(300));
    }
}

#[test]
fn a_value_may_encode_another_one_within() {
    struct Sealed(u64);

    impl Serialize for Sealed {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&written(&self.0).unwrap())
        }
    }

    assert_eq!(written(&vec![Sealed(1), Sealed(2)]).unwrap(), [0x82, 0x41, 1, 0x41, 2]);
}

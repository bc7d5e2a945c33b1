//! Values survive DAG-CBOR, and what must not be stored is refused.

use super::*;
use proptest::prelude::*;

/// Doubles, the odd ones often.
fn doubles() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<i64>().prop_map(|int| int as f64),
        (-4_i32..4).prop_map(|int| f64::from(int) / 2.0),
        prop::sample::select(vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.0,
            9_007_199_254_740_992.0,
            9_223_372_036_854_775_807.0,
            f64::MIN_POSITIVE,
        ]),
    ]
}

fn ints() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -4_i64..4,
        prop::sample::select(vec![i64::MIN, i64::MAX, i64::MAX - 1, (1 << 53) + 1, 1 << 53]),
    ]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c\u{0}\u{1}]{0,3}", ".{0,6}", "\\PC{0,3}"]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof!["[ab$]{1,2}", "\\$(map|geo|x)", "[^_]{1,3}"]
}

/// All kinds of values, as deep as four levels.
pub(crate) fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        ints().prop_map(Value::Int),
        doubles().prop_map(Value::Double),
        (MICROS_MIN..=MICROS_MAX).prop_map(|micros| Value::Timestamp(Timestamp { micros })),
        texts().prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
        ("[a-c]{1,2}", prop_oneof!["[a-c\u{0}]{1,2}", "__id[1-9]__"])
            .prop_map(|(a, b)| Value::Reference(DocPath::parse(&format!("{a}/{b}")).unwrap())),
        (-90.0..90.0, -180.0..180.0)
            .prop_map(|(latitude, longitude)| Value::GeoPoint { latitude, longitude }),
        prop::collection::vec(doubles(), 0..3).prop_map(Value::Vector),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(names(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_survives_dag_cbor(value in values()) {
        let bytes = rhizome_block::encode(&value).unwrap();
        prop_assert_eq!(rhizome_block::decode::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(rhizome_block::decode::<Value>(&bytes));
    }
}

#[test]
fn a_double_has_one_encoding_only() {
    // {"__d__": 1.0} is refused, because 1.0 has a plain form.
    let mut bytes = vec![0xa1, 0x65];
    bytes.extend_from_slice(b"__d__");
    bytes.push(0x48);
    bytes.extend_from_slice(&1.0_f64.to_be_bytes());
    rhizome_block::decode::<Value>(&bytes).unwrap_err();
    let end = bytes.len() - 8;
    bytes[end..].copy_from_slice(&(-0.0_f64).to_be_bytes());
    let read: Value = rhizome_block::decode(&bytes).unwrap();
    assert_eq!(read, Value::Double(-0.0));
    // A NaN other than the canonical one is a second encoding too.
    bytes[end..].copy_from_slice(&u64::MAX.to_be_bytes());
    rhizome_block::decode::<Value>(&bytes).unwrap_err();
}

#[test]
fn hostile_nesting_is_refused_early() {
    let mut bytes = vec![0x81; 5_000];
    bytes.push(0xf6);
    rhizome_block::decode::<Value>(&bytes).unwrap_err();
}

#[test]
fn what_breaks_a_rule_is_refused_with_a_reason() {
    let map = |name: &str, value: Value| Value::Map(Fields::from([(name.to_owned(), value)]));
    let mut deep = Value::Null;
    for _ in 0..DEPTH_MAX {
        deep = map("a", deep);
    }
    deep.validate(Reserved::Refused).unwrap();
    for (value, reason) in [
        (map("a", deep), "maps and arrays nest deeper than 20 levels"),
        (
            Value::Array(vec![Value::Array(vec![])]),
            "an array cannot hold an array directly; put a map between them",
        ),
        (map("__a__", Value::Null), "field name cannot be used"),
        (map("", Value::Null), "field name cannot be used"),
        (
            Value::Timestamp(Timestamp { micros: i64::MAX }),
            "timestamp is outside the years 0001 to 9999",
        ),
        (
            Value::GeoPoint { latitude: f64::NAN, longitude: 0.0 },
            "latitude must be -90 to 90 and longitude -180 to 180",
        ),
        (
            Value::Bytes(vec![0; DOCUMENT_BYTES_MAX]),
            "1048577 bytes are more than a document may have (1048576)",
        ),
        (Value::Vector(vec![0.0; 2_049]), "a list of 2049 elements is longer than 2048"),
    ] {
        assert_eq!(value.validate(Reserved::Refused).unwrap_err().to_string(), reason);
    }
}

//! Batches survive their form, and what breaks a rule is refused on both sides.

use super::*;
use crate::fixture::*;
use expect_test::expect;
use rhizome_schema::Timestamp;

/// One of everything a batch can hold.
fn everything() -> Batch {
    let ops = [
        ("a", FieldOp::Assign(Value::Double(f64::NAN))),
        ("b", FieldOp::DeleteField),
        ("c", FieldOp::ServerTime),
        ("d", FieldOp::Increment(Number::Int(-1))),
        ("e", FieldOp::Minimum(Number::Double(0.5))),
        ("f", FieldOp::Maximum(Number::Double(-0.0))),
        ("g.h", FieldOp::ArrayUnion(vec![Value::Timestamp(Timestamp { micros: 5 })])),
        ("`i.j`", FieldOp::ArrayRemove(vec![Value::Bytes(vec![1]), Value::Null])),
    ];
    let masked = Op::Set {
        value: fields("{\"x\":{\"$geo\":[1.5,2.0]},\"y\":{\"$vector\":[1.0]}}"),
        merge: Merge::Fields(vec!["x".parse().unwrap(), "z".parse().unwrap()]),
        ops: vec![("w".parse().unwrap(), FieldOp::ServerTime)],
    };
    Batch::new(vec![
        set("notes/a", "{\"title\":\"Größe\",\"link\":{\"$reference\":\"notes/b\"}}"),
        merge("notes/a", "{\"n\":1,\"deep\":{\"er\":[true,1.5]}}").if_exists(true),
        update("notes/a", &ops),
        Mutation::new(path("notes/b"), masked),
        delete("notes/__id7__").if_exists(false),
    ])
}

#[test]
fn version_1_is_read_from_its_fixture() {
    let at = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/batch-v1.cbor");
    let stored = crate::fixture::stored(at, || everything().to_body().unwrap());
    assert_eq!(Batch::from_body(&stored).unwrap(), everything());
    assert_eq!(everything().to_body().unwrap(), stored);
    assert_eq!(rhizome_block::peek_kind(&stored), Some("batch"));
}

#[test]
fn what_breaks_a_rule_is_refused_with_a_code() {
    let update = |ops: &[(&str, FieldOp)]| update("n/a", ops);
    let one = || FieldOp::Assign(Value::Int(1));
    let deep = (0..20).fold(Value::Null, |value, _| {
        Value::Array(vec![Value::Map(Fields::from([("a".to_owned(), value)]))])
    });
    let cases = [
        vec![],
        vec![set("n/a", "{\"__x__\":1}")],
        vec![update(&[("a", one()), ("a.b", one())])],
        vec![update(&[("a", FieldOp::Assign(deep))])],
        vec![update(&[("a", FieldOp::ArrayUnion(vec![Value::Array(vec![])]))])],
        vec![Mutation::new(
            path("n/a"),
            Op::Set {
                value: Fields::new(),
                merge: Merge::None,
                ops: vec![("a".parse().unwrap(), FieldOp::DeleteField)],
            },
        )],
        vec![Mutation::set(
            path("n/a"),
            Fields::from([("a".to_owned(), Value::Bytes(vec![0; BATCH_BYTES_MAX]))]),
        )],
    ];
    let line = |ops: &Vec<Mutation>| {
        let error = Batch::new(ops.clone()).to_body().unwrap_err();
        format!("{}: {error}\n", error.code())
    };
    expect![[r#"
        invalid-argument: batch is empty
        invalid-argument: n/a: value cannot be stored
        invalid-argument: n/a: field a.b is written twice
        invalid-argument: n/a: value cannot be stored
        invalid-argument: n/a: value cannot be stored
        invalid-argument: n/a: deleteField() in a set needs merge
        resource-exhausted: batch of 254014 bytes is larger than 253952
    "#]]
    .assert_eq(&cases.iter().map(line).collect::<String>());
}

#[test]
fn a_newer_version_and_an_unknown_field_are_refused() {
    #[derive(Serialize)]
    struct More {
        k: BatchKind,
        v: u8,
        ops: Vec<Mutation>,
        more: u8,
    }
    let read = |v| {
        let more = More { k: BatchKind, v, ops: everything().ops, more: 1 };
        Batch::from_body(&rhizome_block::encode(&more).unwrap()).unwrap_err()
    };
    assert!(matches!(read(2), BatchError::Version { version: 2 }));
    assert!(matches!(read(1), BatchError::Form(_)));
}

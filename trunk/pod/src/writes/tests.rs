//! Which JSON becomes which operation.

use super::*;
use serde_json::json;

#[track_caller]
fn check(fields: Json, expected: &str) {
    let fields: BTreeMap<String, Json> = serde_json::from_value(fields).unwrap();
    let read = match update("notes/a", &fields) {
        Ok(mutation) => match mutation.op {
            rhizome_doc::Op::Update(ops) => {
                let one = |(field, op): &(FieldPath, FieldOp)| format!("{field} {op:?}");
                ops.iter().map(one).collect::<Vec<_>>().join("; ")
            }
            other => format!("{other:?}"),
        },
        Err(error) => format!("{} {}", error.id, error.message),
    };
    assert_eq!(read, expected);
}

#[test]
fn operations_are_told_from_values() {
    check(json!({"n": {"$increment": 2}}), "n Increment(Int(2))");
    check(json!({"n": {"$increment": 0.5}}), "n Increment(Double(0.5))");
    check(json!({"t": {"$arrayUnion": ["a"]}}), "t ArrayUnion([Text(\"a\")])");
    check(json!({"t": {"$arrayRemove": []}}), "t ArrayRemove([])");
    check(json!({"a.b": {"$delete": true}}), "a.b DeleteField");
    check(json!({"at": {"$serverTime": true}}), "at ServerTime");
    check(json!({"m": {"x": 1}}), "m Assign(Map({\"x\": Int(1)}))");
    check(json!({"m": {"$map": {"$increment": 1}}}), "m Assign(Map({\"$increment\": Int(1)}))");
}

#[test]
fn what_is_no_operation_says_what_it_needs() {
    check(json!({"n": {"$increment": "2"}}), "RZ-0104 `$increment` of field `n` needs a number");
    check(json!({"t": {"$arrayUnion": 1}}), "RZ-0104 `$arrayUnion` of field `t` needs an array");
    check(json!({"x": {"$delete": 1}}), "RZ-0104 `$delete` of field `x` needs true");
    check(
        json!({"x": {"$fly": 1}}),
        "RZ-0104 `$fly` is unknown or holds the wrong thing; wrap a plain map in {\"$map\": …}",
    );
}

#[test]
fn an_operation_is_shown_as_it_was_written() {
    for json in [
        json!({"$increment": 2}),
        json!({"$arrayUnion": ["a", 1]}),
        json!({"$arrayRemove": [null]}),
        json!({"$delete": true}),
        json!({"$serverTime": true}),
        json!({"$timestamp": "2026-01-02T03:04:05Z"}),
        json!({"$map": {"$increment": 1}}),
        json!([1.0, true]),
    ] {
        assert_eq!(operation_json(&operation("x", &json).unwrap()), json);
    }
}

#[test]
fn names_of_apps_are_bounded_and_printable() {
    assert_eq!(app(None).unwrap(), DEFAULT_APP);
    assert!(app(Some(String::new())).is_err());
    assert!(app(Some("a\0b".to_owned())).is_err());
    assert!(app(Some("a".repeat(APP_BYTES_MAX + 1))).is_err());
}

//! JSON loses nothing, and equal values are equal text.

use super::*;
use crate::value::tests::values;
use expect_test::expect;
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_value_survives_json(value in values()) {
        let text = to_json(&value);
        let read = from_json(&text).unwrap();
        prop_assert_eq!(&read, &value, "{}", text);
        prop_assert_eq!(to_json(&read), text);
    }
}

#[test]
fn each_type_has_its_form() {
    let values = [
        Value::Int(1),
        Value::Double(1.0),
        Value::Double(-0.0),
        Value::Double(f64::NAN),
        Value::Timestamp(Timestamp { micros: 1_500_000 }),
        Value::Bytes(vec![1, 2, 3]),
        Value::Reference(DocPath::parse("a/b").unwrap()),
        Value::GeoPoint { latitude: 1.5, longitude: -2.0 },
        Value::Vector(vec![1.0, f64::INFINITY]),
        Value::Map(Fields::from([("$geo".to_owned(), Value::Null)])),
        Value::Map(Fields::from([("$b".to_owned(), Value::Null), ("a".to_owned(), "x".into())])),
    ];
    let lines: String = values.iter().map(|value| to_json(value) + "\n").collect();
    expect![[r#"
        1
        1.0
        {"$double":"-0"}
        {"$double":"NaN"}
        {"$timestamp":"1970-01-01T00:00:01.5Z"}
        {"$bytes":"AQID"}
        {"$reference":"a/b"}
        {"$geo":[1.5,-2.0]}
        {"$vector":[1.0,{"$double":"Infinity"}]}
        {"$map":{"$geo":null}}
        {"$b":null,"a":"x"}
    "#]]
    .assert_eq(&lines);
}

#[test]
fn what_is_no_value_is_refused_with_a_reason() {
    for (text, reason) in [
        (
            "18446744073709551615",
            "number 18446744073709551615 does not fit 64 bits; \
             write it with a point to make it a double",
        ),
        (
            "{\"$what\":1}",
            "`$what` is unknown or holds the wrong thing; wrap a plain map in {\"$map\": …}",
        ),
        (
            "{\"$geo\":[1]}",
            "`$geo` is unknown or holds the wrong thing; wrap a plain map in {\"$map\": …}",
        ),
        ("{\"$timestamp\":\"now\"}", "`$timestamp` cannot be read"),
        ("{", "text is not JSON"),
    ] {
        assert_eq!(from_json(text).unwrap_err().to_string(), reason);
    }
    fields_from_json("[]").unwrap_err();
    from_json(&format!("{}1{}", "[".repeat(30), "]".repeat(30))).unwrap_err();
}

#[test]
fn a_document_is_never_a_tag() {
    let fields = fields_from_json("{\"$geo\":1}").unwrap();
    assert_eq!(fields_to_json(&fields), "{\"$geo\":1}");
}

//! The order is total, and bytes keep it.

use super::*;
use crate::path::DocPath;
use crate::value::Timestamp;
use crate::value::tests::values;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bytes_compare_as_values_do(a in values(), b in values()) {
        let (x, y) = (order_bytes(&a), order_bytes(&b));
        prop_assert_eq!(x.cmp(&y), compare(&a, &b));
        prop_assert!(x == y || !y.starts_with(&x), "one's bytes begin the other's");
    }

    #[test]
    fn the_order_is_transitive(a in values(), b in values(), c in values()) {
        let mut sorted = [&a, &b, &c];
        sorted.sort_by(|a, b| compare(a, b));
        prop_assert!(compare(sorted[0], sorted[2]).is_le());
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
    }

    #[test]
    fn whole_numbers_compare_exactly_with_doubles(int in any::<i64>(), step in -2_i32..=2) {
        let mut double = int as f64;
        for _ in 0..step.abs() {
            double = if step > 0 { double.next_up() } else { double.next_down() };
        }
        let (a, b) = (Value::Int(int), Value::Double(double));
        let exact = i128::from(int).cmp(&(double as i128));
        prop_assume!(double.fract() == 0.0);
        prop_assert_eq!(compare(&a, &b), exact);
        prop_assert_eq!(order_bytes(&a).cmp(&order_bytes(&b)), exact);
    }
}

#[test]
fn the_order_is_firestores() {
    let text = |text: &str| Value::Text(text.to_owned());
    let reference = |path: &str| Value::Reference(DocPath::parse(path).unwrap());
    let map = |entries: &[(&str, i64)]| {
        Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), Value::Int(*v))).collect())
    };
    let ascending = [
        Value::Null,
        Value::Bool(false),
        Value::Bool(true),
        Value::Double(f64::NAN),
        Value::Double(f64::NEG_INFINITY),
        Value::Int(i64::MIN),
        Value::Double(-1.5),
        Value::Int(-1),
        Value::Int(0),
        Value::Double(0.5),
        Value::Int(1 << 53),
        Value::Int((1 << 53) + 1),
        Value::Double(9_007_199_254_740_994.0),
        Value::Int(i64::MAX),
        Value::Double(9_223_372_036_854_775_808.0),
        Value::Double(f64::INFINITY),
        Value::Timestamp(Timestamp { micros: -1 }),
        Value::Timestamp(Timestamp { micros: 0 }),
        text(""),
        text("a"),
        text("a\u{0}"),
        text("ab"),
        // UTF-16 would put the first of these after the second.
        text("\u{ffff}"),
        text("\u{10000}"),
        Value::Bytes(vec![]),
        Value::Bytes(vec![0]),
        Value::Bytes(vec![0, 0]),
        Value::Bytes(vec![1]),
        reference("c/__id7__"),
        reference("c/__id12__"),
        reference("c/_"),
        reference("c/a"),
        reference("c/a/d/b"),
        reference("d/a"),
        Value::GeoPoint { latitude: -1.0, longitude: 5.0 },
        Value::GeoPoint { latitude: 1.0, longitude: -5.0 },
        Value::Array(vec![]),
        Value::Array(vec![Value::Int(1)]),
        Value::Array(vec![Value::Int(1), Value::Null]),
        Value::Array(vec![Value::Int(2)]),
        Value::Vector(vec![9.0]),
        Value::Vector(vec![1.0, 1.0]),
        map(&[]),
        map(&[("a", 1)]),
        map(&[("a", 1), ("b", 0)]),
        map(&[("a", 2)]),
        map(&[("b", 0)]),
    ];
    for pair in ascending.windows(2) {
        assert!(compare(&pair[0], &pair[1]).is_lt(), "{:?} < {:?}", pair[0], pair[1]);
        assert!(order_bytes(&pair[0]) < order_bytes(&pair[1]), "{:?} < {:?}", pair[0], pair[1]);
    }
}

#[test]
fn zeros_are_equal_except_in_a_union() {
    let (int, plus, minus) = (Value::Int(0), Value::Double(0.0), Value::Double(-0.0));
    assert!(equal(&int, &minus) && equal(&plus, &minus) && equal(&int, &plus));
    assert!(union_equal(&int, &plus) && !union_equal(&int, &minus) && plus != minus);
    assert!(equal(&Value::Double(f64::NAN), &Value::Double(-f64::NAN)));
}

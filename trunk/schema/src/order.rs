//! The total order of values, and bytes that keep it.
//!
//! null < boolean < number < timestamp < text < bytes < reference < place < array < vector < map.
//! Whole numbers and doubles compare by their exact values; NaN is the smallest number; -0.0 and
//! 0.0 sort equal. [`order_bytes`] is what index keys are made of: bytes compare as values do.

use crate::path::{compare_segments, push_segment};
use crate::value::{Fields, Value};
use std::cmp::Ordering;

/// Compares as queries and sorted results do.
#[must_use]
pub fn compare(a: &Value, b: &Value) -> Ordering {
    use Value as V;
    match (a, b) {
        (V::Null, V::Null) => Ordering::Equal,
        (V::Bool(a), V::Bool(b)) => a.cmp(b),
        (V::Int(a), V::Int(b)) => a.cmp(b),
        (V::Double(a), V::Double(b)) => compare_doubles(*a, *b),
        (V::Int(a), V::Double(b)) => compare_mixed(*a, *b),
        (V::Double(a), V::Int(b)) => compare_mixed(*b, *a).reverse(),
        (V::Timestamp(a), V::Timestamp(b)) => a.cmp(b),
        (V::Text(a), V::Text(b)) => a.cmp(b),
        (V::Bytes(a), V::Bytes(b)) => a.cmp(b),
        (V::Reference(a), V::Reference(b)) => compare_segments(a.segments(), b.segments()),
        (V::GeoPoint { latitude: a, longitude: b }, V::GeoPoint { latitude: c, longitude: d }) => {
            compare_doubles(*a, *c).then_with(|| compare_doubles(*b, *d))
        }
        (V::Array(a), V::Array(b)) => compare_lists(a, b, compare),
        (V::Vector(a), V::Vector(b)) => {
            a.len().cmp(&b.len()).then_with(|| compare_lists(a, b, |a, b| compare_doubles(*a, *b)))
        }
        (V::Map(a), V::Map(b)) => compare_maps(a, b),
        _ => type_class(a).cmp(&type_class(b)),
    }
}

/// Firestore's equality: what `==` in a query means (`1` equals `1.0`, NaN equals NaN).
#[must_use]
pub fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b).is_eq()
}

/// The equality of array union and removal: as [`equal`], but -0.0 is not 0.
#[must_use]
pub fn union_equal(a: &Value, b: &Value) -> bool {
    let negative = |value: &Value| match value {
        Value::Double(double) => *double == 0.0 && double.is_sign_negative(),
        _ => false,
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| union_equal(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((k, a), (l, b))| k == l && union_equal(a, b))
        }
        (a, b) => equal(a, b) && negative(a) == negative(b),
    }
}

/// The type's place in the order: the byte that opens [`order_bytes`]. 0 ends lists there; gaps
/// leave room (a pending server time sorts between timestamp and text).
#[must_use]
pub fn type_class(value: &Value) -> u8 {
    match value {
        Value::Null => 0x05,
        Value::Bool(_) => 0x0a,
        Value::Int(_) | Value::Double(_) => 0x0f,
        Value::Timestamp(_) => 0x14,
        Value::Text(_) => 0x1e,
        Value::Bytes(_) => 0x23,
        Value::Reference(_) => 0x28,
        Value::GeoPoint { .. } => 0x2d,
        Value::Array(_) => 0x32,
        Value::Vector(_) => 0x37,
        Value::Map(_) => 0x3c,
    }
}

fn compare_doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

fn compare_mixed(int: i64, double: f64) -> Ordering {
    let (floor, rest) = split(int);
    if double.is_nan() {
        return Ordering::Greater;
    }
    match floor.partial_cmp(&double).expect("neither is NaN") {
        Ordering::Equal => rest.cmp(&0),
        order => order,
    }
}

fn compare_lists<T>(a: &[T], b: &[T], compare: fn(&T, &T) -> Ordering) -> Ordering {
    let differing = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}

fn compare_maps(a: &Fields, b: &Fields) -> Ordering {
    let each = |((k, a), (l, b)): ((&String, &Value), (&String, &Value))| {
        k.cmp(l).then_with(|| compare(a, b))
    };
    let differing = a.iter().zip(b).map(each).find(|order| order.is_ne());
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// The greatest double that is not above `int`, and how far `int` is above it (less than 1,024,
/// the distance between doubles near 2^63). No double lies between the two, so that pairs compare
/// as the numbers do.
fn split(int: i64) -> (f64, u16) {
    let mut floor = int as f64;
    if floor as i128 > i128::from(int) {
        floor = floor.next_down();
    }
    let rest = i128::from(int) - floor as i128;
    (floor, u16::try_from(rest).expect("doubles below 2^63 are at most 1,024 apart"))
}

/// Bytes that compare as the value does; no value's bytes begin another's.
#[must_use]
pub fn order_bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    push_order_bytes(&mut out, value);
    out
}

/// Appends [`order_bytes`] to `out`.
pub fn push_order_bytes(out: &mut Vec<u8>, value: &Value) {
    out.push(type_class(value));
    match value {
        Value::Null => {}
        Value::Bool(bool) => out.push(u8::from(*bool)),
        Value::Int(int) => {
            let (floor, rest) = split(*int);
            push_double(out, floor);
            out.extend_from_slice(&rest.to_be_bytes());
        }
        Value::Double(double) => {
            push_double(out, *double);
            out.extend_from_slice(&[0, 0]);
        }
        Value::Timestamp(at) => {
            out.extend_from_slice(&(at.micros as u64 ^ 1 << 63).to_be_bytes());
        }
        Value::Text(text) => push_escaped(out, text.as_bytes()),
        Value::Bytes(bytes) => push_escaped(out, bytes),
        Value::Reference(path) => {
            path.segments().for_each(|segment| push_segment(out, segment));
            out.push(0);
        }
        Value::GeoPoint { latitude, longitude } => {
            push_double(out, *latitude);
            push_double(out, *longitude);
        }
        Value::Array(items) => {
            items.iter().for_each(|item| push_order_bytes(out, item));
            out.push(0);
        }
        Value::Vector(items) => {
            let length = u32::try_from(items.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            items.iter().for_each(|item| push_double(out, *item));
        }
        Value::Map(fields) => {
            for (name, value) in fields {
                out.push(1);
                push_escaped(out, name.as_bytes());
                push_order_bytes(out, value);
            }
            out.push(0);
        }
    }
}

/// Eight bytes in the order of doubles: NaN is all zero; negative numbers with all bits turned;
/// others with the sign bit set.
fn push_double(out: &mut Vec<u8>, double: f64) {
    let bits = if double.is_nan() {
        0
    } else {
        let bits = if double == 0.0 { 0 } else { double.to_bits() };
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    };
    out.extend_from_slice(&bits.to_be_bytes());
}

/// Bytes with 0 written as 0 255, ended by 0 0: the end sorts below anything that goes on.
pub(crate) fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests;

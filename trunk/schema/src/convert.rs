//! Values as DAG-CBOR, the form they have inside events.
//!
//! What DAG-CBOR knows is written plainly. The rest is a map with one reserved key, which no user
//! map can have: `__t__` timestamp (microseconds), `__r__` reference (path), `__g__` place (two
//! doubles), `__v__` vector (doubles), `__d__` a double that DAG-CBOR has no form for (NaN,
//! infinities, -0.0). Doubles inside are 8 bytes each, big-endian.

use crate::path::DocPath;
use crate::value::{DEPTH_MAX, Fields, Timestamp, Value, canonical_bits};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};
use std::fmt;

const TIMESTAMP: &str = "__t__";
const REFERENCE: &str = "__r__";
const GEO_POINT: &str = "__g__";
const VECTOR: &str = "__v__";
const DOUBLE: &str = "__d__";

fn plain(number: f64) -> bool {
    number.is_finite() && !(number == 0.0 && number.is_sign_negative())
}

fn doubles(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| canonical_bits(*number).to_be_bytes()).collect()
}

fn tagged<S: Serializer, T: Serialize>(s: S, key: &str, value: &T) -> Result<S::Ok, S::Error> {
    let mut map = s.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_none(),
            Self::Bool(bool) => s.serialize_bool(*bool),
            Self::Int(int) => s.serialize_i64(*int),
            Self::Double(double) if plain(*double) => s.serialize_f64(*double),
            Self::Double(double) => tagged(s, DOUBLE, &Bytes::new(&doubles(&[*double]))),
            Self::Timestamp(at) => tagged(s, TIMESTAMP, &at.micros),
            Self::Text(text) => s.serialize_str(text),
            Self::Bytes(bytes) => s.serialize_bytes(bytes),
            Self::Reference(path) => tagged(s, REFERENCE, path),
            Self::GeoPoint { latitude, longitude } => {
                tagged(s, GEO_POINT, &Bytes::new(&doubles(&[*latitude, *longitude])))
            }
            Self::Array(items) => s.collect_seq(items),
            Self::Vector(items) => tagged(s, VECTOR, &Bytes::new(&doubles(items))),
            Self::Map(fields) => s.collect_map(fields),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        At { depth: 0 }.deserialize(deserializer)
    }
}

/// Reads a value at a depth, so that hostile nesting ends early.
#[derive(Clone, Copy)]
struct At {
    depth: usize,
}

impl At {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > DEPTH_MAX {
            return Err(E::custom("value nests too deep"));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for At {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(Value::Int(int))
    }

    fn visit_u64<E: serde::de::Error>(self, int: u64) -> Result<Value, E> {
        i64::try_from(int).map(Value::Int).map_err(|_| E::custom("integer beyond 64 bits"))
    }

    fn visit_f64<E>(self, double: f64) -> Result<Value, E> {
        Ok(Value::Double(double))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut fields = Fields::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.is_empty()
                && let Some(value) = special(&name, &mut map)?
            {
                return match map.next_key::<String>()? {
                    None => Ok(value),
                    Some(_) => Err(A::Error::custom("reserved name beside others")),
                };
            }
            let value = map.next_value_seed(below)?;
            fields.insert(name, value);
        }
        Ok(Value::Map(fields))
    }
}

/// Reads the value under a reserved key; `None` if the key is none.
fn special<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<Option<Value>, A::Error> {
    let value = match name {
        TIMESTAMP => Value::Timestamp(Timestamp { micros: map.next_value()? }),
        REFERENCE => Value::Reference(map.next_value::<DocPath>()?),
        GEO_POINT => match read_doubles(&map.next_value::<ByteBuf>()?).as_deref() {
            Some([latitude, longitude]) => {
                Value::GeoPoint { latitude: *latitude, longitude: *longitude }
            }
            _ => return Err(A::Error::custom("a place is two doubles")),
        },
        VECTOR => match read_doubles(&map.next_value::<ByteBuf>()?) {
            Some(items) => Value::Vector(items),
            None => return Err(A::Error::custom("a vector is doubles of 8 bytes")),
        },
        DOUBLE => match read_doubles(&map.next_value::<ByteBuf>()?).as_deref() {
            Some([double]) => Value::Double(*double),
            _ => return Err(A::Error::custom("a double has 8 bytes")),
        },
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn read_doubles(bytes: &[u8]) -> Option<Vec<f64>> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| chunks.iter().map(|chunk| f64::from_be_bytes(*chunk)).collect())
}

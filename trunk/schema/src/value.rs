//! A value: what a field holds, and the bounds every value keeps.
//!
//! Two notions of sameness live apart: `==` here is *identity* (`1` is not `1.0`, `0.0` is not
//! `-0.0`, NaN is NaN), which is what storage needs; [`crate::equal`] is Firestore's equality.

use crate::path::{DocPath, PathError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The fields of a document, or of a map inside one. `String` orders by UTF-8 bytes, as it must.
pub type Fields = BTreeMap<String, Value>;

/// How deep maps and arrays may nest (Firestore's own limit).
pub const DEPTH_MAX: usize = 20;

/// Most bytes of one document, as [`Value::size`] counts them (Firestore: 1 MiB). Larger contents
/// are blobs.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Most elements of one array: keeps union and removal, which compare all pairs, affordable.
pub const ARRAY_ITEMS_MAX: usize = 40_000;

/// Most elements of a vector (Firestore: 2,048).
const VECTOR_ITEMS_MAX: usize = 2_048;

/// 0001-01-01T00:00:00Z in microseconds since 1970 (RFC 3339 has years of four digits).
const MICROS_MIN: i64 = -62_135_596_800_000_000;

/// 9999-12-31T23:59:59.999999Z in microseconds since 1970.
const MICROS_MAX: i64 = 253_402_300_799_999_999;

/// A moment, in microseconds since 1970 (finer parts are cut off).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// Microseconds since 1970-01-01T00:00:00Z, negative before.
    pub micros: i64,
}

impl Timestamp {
    /// The start of a millisecond since 1970; the last moment there is if that lies beyond it.
    #[must_use]
    pub fn at_ms(ms: u64) -> Self {
        let micros = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self { micros: micros.min(MICROS_MAX) }
    }
}

/// What a field holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, said explicitly.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// A floating-point number, NaN and infinities included.
    Double(f64),
    /// A moment.
    Timestamp(Timestamp),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The path of a document.
    Reference(DocPath),
    /// A place on earth.
    GeoPoint {
        /// Degrees north, -90 to 90.
        latitude: f64,
        /// Degrees east, -180 to 180.
        longitude: f64,
    },
    /// A list, which holds no lists directly.
    Array(Vec<Value>),
    /// Numbers for nearest-neighbour search.
    Vector(Vec<f64>),
    /// Named values.
    Map(Fields),
}

/// The one bit pattern that stands for all NaNs, so that equal values have equal bytes.
pub(crate) fn canonical_bits(number: f64) -> u64 {
    if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| canonical_bits(a) == canonical_bits(b);
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Double(a), Self::Double(b)) => same(*a, *b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Reference(a), Self::Reference(b)) => a == b,
            (
                Self::GeoPoint { latitude: a, longitude: b },
                Self::GeoPoint { latitude: c, longitude: d },
            ) => same(*a, *c) && same(*b, *d),
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Vector(a), Self::Vector(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b))
            }
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// Whether names that are ours may occur in a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reserved {
    /// No: the value comes from a person or an app.
    Refused,
    /// A well-formed [`crate::BlobRef`] may: the value comes from an event.
    Blobs,
}

/// Why a value cannot be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Too deep.
    #[error("maps and arrays nest deeper than {DEPTH_MAX} levels")]
    Deep,
    /// An array directly inside an array.
    #[error("an array cannot hold an array directly; put a map between them")]
    NestedArray,
    /// A list is too long.
    #[error("a list of {items} elements is longer than {items_max}")]
    Long {
        /// How many elements it has.
        items: usize,
        /// How many it may have.
        items_max: usize,
    },
    /// Too large altogether.
    #[error("{bytes} bytes are more than a document may have ({DOCUMENT_BYTES_MAX})")]
    Large {
        /// How many bytes it has.
        bytes: usize,
    },
    /// A timestamp outside years 1 to 9999.
    #[error("timestamp is outside the years 0001 to 9999")]
    Timestamp,
    /// A place that is not on earth.
    #[error("latitude must be -90 to 90 and longitude -180 to 180")]
    GeoPoint,
    /// A field name that cannot be used.
    #[error("field name cannot be used")]
    Name(#[source] PathError),
    /// A map that claims to be a blob and is none.
    #[error("reserved name `__blob__` does not hold a blob reference")]
    Blob,
}

impl Value {
    /// Checks everything a value must keep before it may be stored.
    pub fn validate(&self, reserved: Reserved) -> Result<(), ValueError> {
        check(self, reserved, 1)?;
        size_allowed(self.size())
    }

    /// Checks the fields of a document.
    pub fn validate_fields(fields: &Fields, reserved: Reserved) -> Result<(), ValueError> {
        check_map(fields, reserved, 1)?;
        size_allowed(Self::fields_size(fields))
    }

    /// How many bytes it counts for: close to what it takes on disk, and defined for all time.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int(_) | Self::Double(_) | Self::Timestamp(_) => 8,
            Self::GeoPoint { .. } => 16,
            Self::Text(text) => text.len() + 1,
            Self::Bytes(bytes) => bytes.len() + 1,
            Self::Reference(path) => path.as_str().len() + 1,
            Self::Array(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Self::Vector(items) => 1 + items.len() * 8,
            Self::Map(fields) => Self::fields_size(fields),
        }
    }

    /// [`Value::size`] of a map.
    #[must_use]
    pub fn fields_size(fields: &Fields) -> usize {
        1 + fields.iter().map(|(name, value)| name.len() + 1 + value.size()).sum::<usize>()
    }
}

fn size_allowed(bytes: usize) -> Result<(), ValueError> {
    if bytes > DOCUMENT_BYTES_MAX { Err(ValueError::Large { bytes }) } else { Ok(()) }
}

fn check(value: &Value, reserved: Reserved, depth: usize) -> Result<(), ValueError> {
    let list = |items: usize, items_max: usize| {
        if items > items_max { Err(ValueError::Long { items, items_max }) } else { Ok(()) }
    };
    match value {
        Value::Timestamp(at) if !(MICROS_MIN..=MICROS_MAX).contains(&at.micros) => {
            Err(ValueError::Timestamp)
        }
        Value::GeoPoint { latitude, longitude } => {
            let fits = (-90.0..=90.0).contains(latitude) && (-180.0..=180.0).contains(longitude);
            if fits { Ok(()) } else { Err(ValueError::GeoPoint) }
        }
        Value::Array(items) => {
            if depth > DEPTH_MAX {
                return Err(ValueError::Deep);
            }
            list(items.len(), ARRAY_ITEMS_MAX)?;
            items.iter().try_for_each(|item| match item {
                Value::Array(_) => Err(ValueError::NestedArray),
                item => check(item, reserved, depth + 1),
            })
        }
        Value::Vector(items) => list(items.len(), VECTOR_ITEMS_MAX),
        Value::Map(fields) if fields.contains_key(crate::BLOB_KEY) => {
            let is_blob = crate::BlobRef::from_value(value).is_ok();
            if reserved == Reserved::Blobs && is_blob { Ok(()) } else { Err(ValueError::Blob) }
        }
        Value::Map(fields) => check_map(fields, reserved, depth),
        _ => Ok(()),
    }
}

fn check_map(fields: &Fields, reserved: Reserved, depth: usize) -> Result<(), ValueError> {
    if depth > DEPTH_MAX {
        return Err(ValueError::Deep);
    }
    fields.iter().try_for_each(|(name, value)| {
        crate::path::check_field_name(name).map_err(ValueError::Name)?;
        check(value, reserved, depth + 1)
    })
}

/// A number, as increments carry it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
}

impl Number {
    /// The sum: whole numbers stop at the ends of 64 bits, anything with a double is a double.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::Int(a.saturating_add(b)),
            (a, b) => Self::Double(a.to_f64() + b.to_f64()),
        }
    }

    /// The number as a double.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Double(double) => double,
        }
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(int) => Self::Int(int),
            Number::Double(double) => Self::Double(double),
        }
    }
}

/// The value is not a number.
#[derive(Debug, thiserror::Error)]
#[error("value is not a number")]
pub struct NotANumber;

impl TryFrom<Value> for Number {
    type Error = NotANumber;

    fn try_from(value: Value) -> Result<Self, NotANumber> {
        match value {
            Value::Int(int) => Ok(Self::Int(int)),
            Value::Double(double) => Ok(Self::Double(double)),
            _ => Err(NotANumber),
        }
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<f64> for Value {
    fn from(double: f64) -> Self {
        Self::Double(double)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Map(fields)
    }
}

#[cfg(test)]
pub(crate) mod tests;

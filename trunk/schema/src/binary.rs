//! Values as compact binary: the form they have in the index, which is ours alone and rebuildable.
//!
//! One tag byte, then the contents; lengths are LEB128. It is several times quicker than DAG-CBOR
//! and has one form per value. `docs/format/document.md` draws it.

use crate::path::DocPath;
use crate::value::{DEPTH_MAX, Fields, Timestamp, Value, canonical_bits};

/// The bytes are not what was written.
#[derive(Debug, thiserror::Error)]
#[error("stored bytes are damaged: {what}")]
pub struct BinaryError {
    /// What was being read.
    pub what: &'static str,
}

/// Appends an unsigned number, seven bits a byte, lowest first.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a value.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(bool) => out.push(1 + u8::from(*bool)),
        Value::Int(int) => {
            out.push(3);
            put_number(out, ((int << 1) ^ (int >> 63)) as u64);
        }
        Value::Double(double) => {
            out.push(4);
            out.extend_from_slice(&canonical_bits(*double).to_be_bytes());
        }
        Value::Timestamp(at) => {
            out.push(5);
            out.extend_from_slice(&at.micros.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(6);
            put_bytes(out, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(7);
            put_bytes(out, bytes);
        }
        Value::Reference(path) => {
            out.push(8);
            put_bytes(out, path.as_str().as_bytes());
        }
        Value::GeoPoint { latitude, longitude } => {
            out.push(9);
            out.extend_from_slice(&canonical_bits(*latitude).to_be_bytes());
            out.extend_from_slice(&canonical_bits(*longitude).to_be_bytes());
        }
        Value::Array(items) => {
            out.push(10);
            put_number(out, items.len() as u64);
            items.iter().for_each(|item| put_value(out, item));
        }
        Value::Vector(items) => {
            out.push(11);
            put_number(out, items.len() as u64);
            for item in items {
                out.extend_from_slice(&canonical_bits(*item).to_be_bytes());
            }
        }
        Value::Map(fields) => {
            out.push(12);
            put_fields(out, fields);
        }
    }
}

/// Appends the number of fields, then name and value of each.
pub fn put_fields(out: &mut Vec<u8>, fields: &Fields) {
    put_number(out, fields.len() as u64);
    for (name, value) in fields {
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
}

/// Reads what the functions above wrote, front to back.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Ends the reading; nothing may be left.
    pub fn finish(self) -> Result<(), BinaryError> {
        if self.rest.is_empty() { Ok(()) } else { Err(BinaryError { what: "bytes at the end" }) }
    }

    /// Takes one byte.
    pub fn byte(&mut self) -> Result<u8, BinaryError> {
        Ok(self.array::<1>()?[0])
    }

    /// Takes `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BinaryError> {
        let (array, rest) =
            self.rest.split_first_chunk::<N>().ok_or(BinaryError { what: "end is missing" })?;
        self.rest = rest;
        Ok(*array)
    }

    /// Takes an unsigned number in its shortest form.
    pub fn number(&mut self) -> Result<u64, BinaryError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let shortest = (byte != 0 || shift == 0) && (shift < 63 || byte <= 1);
                return if shortest { Ok(number) } else { Err(BinaryError { what: "number" }) };
            }
        }
        Err(BinaryError { what: "number" })
    }

    /// Takes a count of things that take a byte each at least.
    pub fn count(&mut self) -> Result<usize, BinaryError> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.rest.len() { Err(BinaryError { what: "count" }) } else { Ok(count) }
    }

    /// Takes a length and as many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], BinaryError> {
        let length = self.count()?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    /// Takes text.
    pub fn text(&mut self) -> Result<&'a str, BinaryError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BinaryError { what: "text" })
    }

    /// Takes a value.
    pub fn value(&mut self) -> Result<Value, BinaryError> {
        self.value_at(0)
    }

    /// Takes fields.
    pub fn fields(&mut self) -> Result<Fields, BinaryError> {
        self.fields_at(0)
    }

    fn double(&mut self) -> Result<f64, BinaryError> {
        self.array().map(f64::from_be_bytes)
    }

    fn fields_at(&mut self, depth: usize) -> Result<Fields, BinaryError> {
        if depth > DEPTH_MAX {
            return Err(BinaryError { what: "depth" });
        }
        let count = self.count()?;
        (0..count).map(|_| Ok((self.text()?.to_owned(), self.value_at(depth + 1)?))).collect()
    }

    fn value_at(&mut self, depth: usize) -> Result<Value, BinaryError> {
        Ok(match self.byte()? {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => {
                let zigzag = self.number()?;
                Value::Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            4 => Value::Double(self.double()?),
            5 => Value::Timestamp(Timestamp { micros: i64::from_be_bytes(self.array()?) }),
            6 => Value::Text(self.text()?.to_owned()),
            7 => Value::Bytes(self.bytes()?.to_vec()),
            8 => Value::Reference(
                DocPath::parse(self.text()?).map_err(|_| BinaryError { what: "reference" })?,
            ),
            9 => Value::GeoPoint { latitude: self.double()?, longitude: self.double()? },
            10 if depth <= DEPTH_MAX => {
                let count = self.count()?;
                let items = (0..count).map(|_| self.value_at(depth + 1));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            11 => {
                let count = self.count()?;
                Value::Vector((0..count).map(|_| self.double()).collect::<Result<_, _>>()?)
            }
            12 => Value::Map(self.fields_at(depth)?),
            _ => return Err(BinaryError { what: "value" }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::values;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_survives_and_no_prefix_does(value in values()) {
            let mut bytes = Vec::new();
            put_value(&mut bytes, &value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.value().unwrap(), value);
            reader.finish().unwrap();
            prop_assert!(Reader::new(&bytes[..bytes.len() - 1]).value().is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(Reader::new(&bytes).value());
            drop(Reader::new(&bytes).fields());
        }
    }
}

//! Writing DAG-CBOR in one pass.
//!
//! Everything goes straight into one buffer. Entries of a map are brought into canonical order in
//! place once the map is complete, and only if they are not in it already; a header whose count was
//! not known beforehand is mended then too. What the values mean is left to serde.

use ::cid::serde::CID_SERDE_PRIVATE_IDENTIFIER;
use serde::ser::{self, Impossible, Serialize};
use std::cell::Cell;
use std::fmt;

/// Major types of CBOR, in the upper three bits of the first byte.
const UNSIGNED: u8 = 0x00;
const NEGATIVE: u8 = 0x20;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const LIST: u8 = 0x80;
const MAP: u8 = 0xa0;

/// The tag of a link, and the zero byte that stands before its name.
const LINK: [u8; 2] = [0xd8, 42];
const LINK_START: u8 = 0;

/// How much memory a thread keeps for the next value: what nearly all of ours fit into.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Keeps its memory between two values. Taken while a value is written, because its
    /// serialization may encode another one.
    static SPARE: Cell<Option<Writer>> = const { Cell::new(None) };
}

/// Why a value has no DAG-CBOR form.
#[derive(Debug)]
pub(super) struct Unwritable(String);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

fn unwritable<T>(what: &str) -> Result<T, Unwritable> {
    Err(Unwritable(what.to_owned()))
}

/// Writes `value` and shows its bytes to `read`.
pub(super) fn write<T: Serialize + ?Sized, R>(
    value: &T,
    read: impl FnOnce(&[u8]) -> R,
) -> Result<R, Unwritable> {
    let mut writer = SPARE.take().unwrap_or_default();
    let written = value.serialize(&mut writer).map(|()| read(&writer.out));
    if writer.out.capacity() <= KEPT_BYTES_MAX {
        writer.out.clear();
        writer.starts.clear();
        SPARE.set(Some(writer));
    }
    written
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// Where the entries of the maps under way start, innermost last.
    starts: Vec<usize>,
    /// Keeps its memory between two maps that need sorting.
    spare: Vec<u8>,
}

/// The first bytes of an item.
struct Head {
    bytes: [u8; 9],
    length: usize,
}

impl Head {
    fn new(major: u8, argument: u64) -> Self {
        let mut bytes = [0; 9];
        let mut put = |first: u8, argument: &[u8]| {
            bytes[0] = major | first;
            bytes[1..=argument.len()].copy_from_slice(argument);
            1 + argument.len()
        };
        let length = match argument {
            0..=23 => put(argument as u8, &[]),
            24..=0xff => put(24, &[argument as u8]),
            0x100..=0xffff => put(25, &(argument as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => put(26, &(argument as u32).to_be_bytes()),
            _ => put(27, &argument.to_be_bytes()),
        };
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Writer {
    fn head(&mut self, major: u8, argument: u64) {
        match u8::try_from(argument) {
            Ok(small @ 0..=23) => self.out.push(major | small),
            _ => self.out.extend_from_slice(Head::new(major, argument).as_slice()),
        }
    }

    fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Begins a list or map that holds `count` items, as far as is known.
    fn begin(&mut self, major: u8, count: Option<usize>) -> Collect<'_> {
        let at = self.out.len();
        let expected = count.unwrap_or(0);
        self.head(major, expected as u64);
        let (content, first) = (self.out.len(), self.starts.len());
        Collect { writer: self, major, at, content, first, expected, count: 0 }
    }

    /// Brings the entries that start at `starts[first..]` into canonical order: that of their
    /// bytes, for a key begins with its length.
    fn sort(&mut self, first: usize) {
        let end = self.out.len();
        let starts = &self.starts[first..];
        let entry = |n: usize| starts[n]..starts.get(n + 1).copied().unwrap_or(end);
        let out = &self.out;
        if (1..starts.len()).all(|n| out[entry(n - 1)] < out[entry(n)]) {
            return;
        }
        let mut order: Vec<usize> = (0..starts.len()).collect();
        order.sort_unstable_by(|a, b| out[entry(*a)].cmp(&out[entry(*b)]));
        self.spare.clear();
        for n in order {
            self.spare.extend_from_slice(&out[entry(n)]);
        }
        let begin = starts[0];
        self.out[begin..].copy_from_slice(&self.spare);
    }
}

/// A list or map under way.
struct Collect<'a> {
    writer: &'a mut Writer,
    major: u8,
    /// Where its head stands, and where its items begin.
    at: usize,
    content: usize,
    /// Where its entries begin in [`Writer::starts`].
    first: usize,
    expected: usize,
    count: usize,
}

impl Collect<'_> {
    fn entry(&mut self) {
        self.writer.starts.push(self.writer.out.len());
        self.count += 1;
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.count += 1;
        value.serialize(&mut *self.writer)
    }

    fn finish(self) -> Result<(), Unwritable> {
        if self.major == MAP {
            self.writer.sort(self.first);
            self.writer.starts.truncate(self.first);
        }
        if self.count != self.expected {
            let head = Head::new(self.major, self.count as u64);
            let old = self.at..self.content;
            self.writer.out.splice(old, head.as_slice().iter().copied());
        }
        Ok(())
    }
}

/// The one item of a map that stands for a variant, or all items of a list.
macro_rules! items {
    ($($trait:ident $method:ident),*) => {$(
        impl ser::$trait for Collect<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
                self.item(value)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.finish()
            }
        }
    )*};
}

items! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
}

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Collect<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Unwritable> {
                self.entry();
                self.writer.text(name);
                value.serialize(&mut *self.writer)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.finish()
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Collect<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        self.entry();
        let at = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        match self.writer.out.get(at) {
            Some(first) if first & 0xe0 == TEXT => Ok(()),
            _ => unwritable("keys of a map must be text"),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.finish()
    }
}

macro_rules! signed {
    ($($method:ident $type:ty),*) => {$(
        fn $method(self, value: $type) -> Result<(), Unwritable> {
            self.serialize_i64(i64::from(value))
        }
    )*};
}

macro_rules! unsigned {
    ($($method:ident $type:ty),*) => {$(
        fn $method(self, value: $type) -> Result<(), Unwritable> {
            self.head(UNSIGNED, u64::from(value));
            Ok(())
        }
    )*};
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Collect<'a>;
    type SerializeTuple = Collect<'a>;
    type SerializeTupleStruct = Collect<'a>;
    type SerializeTupleVariant = Collect<'a>;
    type SerializeMap = Collect<'a>;
    type SerializeStruct = Collect<'a>;
    type SerializeStructVariant = Collect<'a>;

    signed! { serialize_i8 i8, serialize_i16 i16, serialize_i32 i32 }
    unsigned! { serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64 }

    fn serialize_bool(self, value: bool) -> Result<(), Unwritable> {
        self.out.push(0xf4 | u8::from(value));
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Unwritable> {
        match u64::try_from(value) {
            Ok(value) => self.head(UNSIGNED, value),
            // The argument of a negative number n is -1 - n, which is its complement.
            Err(_) => self.head(NEGATIVE, !value as u64),
        }
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), Unwritable> {
        if let Ok(value) = u64::try_from(value) {
            self.head(UNSIGNED, value);
        } else if let Ok(argument) = u64::try_from(!value) {
            self.head(NEGATIVE, argument);
        } else {
            return unwritable("integer is beyond 64 bits");
        }
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), Unwritable> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => unwritable("integer is beyond 64 bits"),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), Unwritable> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unwritable> {
        if !value.is_finite() {
            return unwritable("number is infinite, or none");
        }
        // Zero has no sign.
        let value = if value == 0.0 { 0.0 } else { value };
        self.out.push(0xfb);
        self.out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Unwritable> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Unwritable> {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unwritable> {
        self.head(BYTES, value.len() as u64);
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        self.out.push(0xf6);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Unwritable> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        if name == CID_SERDE_PRIVATE_IDENTIFIER {
            value.serialize(LinkWriter(self))
        } else {
            value.serialize(self)
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.head(MAP, 1);
        self.text(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, count: Option<usize>) -> Result<Collect<'a>, Unwritable> {
        Ok(self.begin(LIST, count))
    }

    fn serialize_tuple(self, count: usize) -> Result<Collect<'a>, Unwritable> {
        Ok(self.begin(LIST, Some(count)))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        count: usize,
    ) -> Result<Collect<'a>, Unwritable> {
        Ok(self.begin(LIST, Some(count)))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Collect<'a>, Unwritable> {
        self.head(MAP, 1);
        self.text(variant);
        Ok(self.begin(LIST, Some(count)))
    }

    fn serialize_map(self, count: Option<usize>) -> Result<Collect<'a>, Unwritable> {
        Ok(self.begin(MAP, count))
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        count: usize,
    ) -> Result<Collect<'a>, Unwritable> {
        Ok(self.begin(MAP, Some(count)))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Collect<'a>, Unwritable> {
        self.head(MAP, 1);
        self.text(variant);
        Ok(self.begin(MAP, Some(count)))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Takes the bytes of a name, which is all that a link is made of, and writes the link.
struct LinkWriter<'a>(&'a mut Writer);

macro_rules! no_link {
    ($($method:ident ($($argument:ty),*) -> $result:ty;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$result, Unwritable> {
            unwritable("a link is made of bytes")
        }
    )*};
}

type Never = Impossible<(), Unwritable>;

impl ser::Serializer for LinkWriter<'_> {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_bytes(self, name: &[u8]) -> Result<(), Unwritable> {
        self.0.out.extend_from_slice(&LINK);
        self.0.head(BYTES, name.len() as u64 + 1);
        self.0.out.push(LINK_START);
        self.0.out.extend_from_slice(name);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Unwritable> {
        unwritable("a link is made of bytes")
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unwritable> {
        unwritable("a link is made of bytes")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unwritable> {
        unwritable("a link is made of bytes")
    }

    no_link! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(&'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }
}

#[cfg(test)]
mod tests;

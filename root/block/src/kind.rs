//! What a DAG-CBOR block of ours is, told by its first two fields.
//!
//! Each format is a map whose field `k` names it and whose field `v` is its version. Canonical
//! order puts short keys first, and no other key of ours has one letter from `a` to `v`; so `k` and
//! `v` open the map, and another version is refused before anything else of it is read.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Reads the kind of one of our blocks: the text under `k`, when `k` is the first key.
#[must_use]
pub fn peek_kind(bytes: &[u8]) -> Option<&str> {
    split_kind(bytes).map(|(kind, _)| kind)
}

/// Reads the version of one of our blocks: the number under `v`, when `k` and `v` come first.
#[must_use]
pub fn peek_version(bytes: &[u8]) -> Option<u64> {
    let (_, rest) = split_kind(bytes)?;
    let (&number, rest) = rest.strip_prefix(&[0x61, b'v'])?.split_first()?;
    match number {
        0..=23 => Some(u64::from(number)),
        0x18 => rest.first().copied().map(u64::from),
        0x19 => rest.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes))),
        0x1a => rest.first_chunk().map(|bytes| u64::from(u32::from_be_bytes(*bytes))),
        0x1b => rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        _ => None,
    }
}

fn split_kind(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&map, rest) = bytes.split_first()?;
    let rest = if (0xa1..=0xb7).contains(&map) { rest } else { return None };
    let rest = rest.strip_prefix(&[0x61, b'k'])?;
    let (&text, rest) = rest.split_first()?;
    let length = usize::from(text.checked_sub(0x60).filter(|length| *length < 24)?);
    let (kind, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(kind).ok()?, rest))
}

/// The type of the field `v`: it encodes as `N` and decodes from nothing else, so that no version
/// is ever guessed at, not even of a format that stands inside another.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Version<const N: u8>;

impl<const N: u8> fmt::Debug for Version<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({N})")
    }
}

impl<const N: u8> Serialize for Version<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(N)
    }
}

impl<'de, const N: u8> Deserialize<'de> for Version<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = u64::deserialize(deserializer)?;
        if version == u64::from(N) {
            return Ok(Self);
        }
        Err(serde::de::Error::custom(unknown_version(version)))
    }
}

/// What is said of a version that is not the one this build reads.
pub(crate) fn unknown_version(version: u64) -> String {
    format!("version {version} is not known to this program")
}

/// Declares a zero-sized type that encodes as a constant text and refuses to decode from another:
/// the type of the field `k`.
#[macro_export]
macro_rules! kind {
    ($(#[$meta:meta])* $vis:vis $name:ident = $text:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
        $vis struct $name;

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str($text)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <::std::borrow::Cow<'de, str> as ::serde::Deserialize>::deserialize(d)?;
                if text == $text {
                    Ok($name)
                } else {
                    Err(::serde::de::Error::custom(concat!("kind is not ", $text)))
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::{Version, peek_kind, peek_version};
    use crate::{CborError, decode, encode};
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    kind! { Example = "example" }

    #[derive(Serialize, Deserialize, Debug)]
    struct Record {
        v: u8,
        k: Example,
        length: u64,
    }

    #[test]
    fn the_kind_of_a_record_is_read_without_decoding_it() {
        let bytes = encode(&Record { v: 1, k: Example, length: 3 }).unwrap();
        assert_eq!(peek_kind(&bytes), Some("example"));
        assert_eq!(peek_kind(&bytes[..8]), None);
        assert_eq!(peek_kind(b"\xa1\x61v\x01"), None);
    }

    #[test]
    fn another_kind_does_not_decode() {
        let bytes = encode(&std::collections::BTreeMap::from([("k", "sample")])).unwrap();
        #[derive(Serialize, Deserialize, Debug)]
        struct OnlyKind {
            k: Example,
        }
        let error = crate::decode::<OnlyKind>(&bytes).unwrap_err().to_string();
        assert!(error.contains("kind is not example"), "{error}");
    }

    /// A format of version `V` whose third field is not what version 1 expects there.
    #[derive(Serialize, Deserialize, Debug)]
    struct Versioned<const V: u8, T> {
        k: Example,
        v: Version<V>,
        body: T,
    }

    #[test]
    fn another_version_is_refused_by_its_number_before_anything_else_is_read() {
        let newer = encode(&Versioned { k: Example, v: Version::<200>, body: "text" }).unwrap();
        assert_eq!(peek_version(&newer), Some(200));
        let error = decode::<Versioned<1, u8>>(&newer).unwrap_err();
        assert!(matches!(error, CborError::Version { version: 200 }), "{error}");
        let inner = Versioned { k: Example, v: Version::<7>, body: 0_u8 };
        let outer = encode(&Versioned { k: Example, v: Version::<1>, body: inner }).unwrap();
        let error = decode::<Versioned<1, Versioned<1, u8>>>(&outer).unwrap_err().to_string();
        assert!(error.contains("version 7 is not known"), "{error}");
    }

    #[test]
    fn a_version_of_any_width_is_peeked_at() {
        for version in [0, 23, 24, 255, 256, 65_536, u64::MAX] {
            let map = std::collections::BTreeMap::from([("v", version)]);
            let number = &encode(&map).unwrap()[3..];
            let bytes = [b"\xa2\x61k\x61x\x61v".as_slice(), number].concat();
            assert_eq!(peek_version(&bytes), Some(version));
            assert_eq!(peek_version(&bytes[..bytes.len() - 1]), None);
        }
    }

    proptest! {
        #[test]
        fn peeking_at_anything_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = (peek_kind(&bytes), peek_version(&bytes));
        }
    }
}

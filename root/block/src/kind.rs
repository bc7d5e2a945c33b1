//! What a DAG-CBOR block of ours is, told by its first field.
//!
//! Each format is a map whose field `k` names it and whose field `v` is its version. Canonical
//! order puts short keys first, so `k` opens the map and can be read without decoding the rest.

/// Reads the kind of one of our blocks: the text under `k`, when `k` is the first key.
#[must_use]
pub fn peek_kind(bytes: &[u8]) -> Option<&str> {
    let (&map, rest) = bytes.split_first()?;
    let rest = if (0xa1..=0xb7).contains(&map) { rest } else { return None };
    let rest = rest.strip_prefix(&[0x61, b'k'])?;
    let (&text, rest) = rest.split_first()?;
    let length = usize::from(text.checked_sub(0x60).filter(|length| *length < 24)?);
    std::str::from_utf8(rest.get(..length)?).ok()
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
    use super::peek_kind;
    use crate::encode;
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

    proptest! {
        #[test]
        fn peeking_at_anything_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = peek_kind(&bytes);
        }
    }
}

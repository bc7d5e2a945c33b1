//! Strict DAG-CBOR, in and out.
//!
//! One value has one encoding. `serde_ipld_dagcbor` refuses most of what is not canonical; what it
//! lets through is caught by encoding again and comparing, so that no two byte strings ever decode
//! to the same value here. Even a negative zero, which equals zero, is written as zero and refused
//! when read. Writing is our own, because every event is written several times over and the library
//! collects and copies each map.

mod write;

use crate::kind::{peek_version, unknown_version};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The value has no DAG-CBOR form (a NaN, an integer beyond 64 bits).
    #[error("value has no DAG-CBOR form: {what}")]
    Encode {
        /// What the encoder said.
        what: String,
    },
    /// The bytes are not the DAG-CBOR of such a value.
    #[error("bytes are not the expected DAG-CBOR: {what}")]
    Decode {
        /// What the decoder said.
        what: String,
    },
    /// A format of ours in a version that this program does not read.
    #[error("version {version} is not known to this program")]
    Version {
        /// Its version.
        version: u64,
    },
    /// The bytes decode, but are not the one canonical encoding.
    #[error("DAG-CBOR is not in its canonical form")]
    NotCanonical,
}

/// Encodes `value` in its one canonical form.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
    write(value, <[u8]>::to_vec)
}

fn write<T: Serialize, R>(value: &T, read: impl FnOnce(&[u8]) -> R) -> Result<R, CborError> {
    write::write(value, read).map_err(|error| CborError::Encode { what: error.to_string() })
}

/// Decodes `bytes`, which must be canonical and hold nothing besides the value: a field that `T`
/// does not know is refused, because it would be lost when encoding again.
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, CborError> {
    let value: T = decode_own(bytes)?;
    if !write(&value, |again| again == bytes)? {
        return Err(CborError::NotCanonical);
    }
    Ok(value)
}

/// Decodes `bytes` that this program wrote itself and nobody signs or names by their hash, such as
/// rows of an index: whether they are canonical is not asked, which saves writing them again.
pub fn decode_own<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| refused(bytes, error.to_string()))
}

/// Tells another version from damage.
fn refused(bytes: &[u8], what: String) -> CborError {
    match peek_version(bytes) {
        Some(version) if what.contains(&unknown_version(version)) => CborError::Version { version },
        _ => CborError::Decode { what },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipld_core::ipld::Ipld;
    use proptest::prelude::*;
    use serde::Deserialize;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_the_one_canonical_form_is_read() {
        let refused = [
            ("1801", "an integer in more bytes than it needs"),
            ("1900ff", "an integer in more bytes than it needs"),
            ("3801", "a negative integer in more bytes than it needs"),
            ("5f4101ff", "an indefinite byte string"),
            ("7f6161ff", "an indefinite text"),
            ("9f01ff", "an indefinite list"),
            ("bf616101ff", "an indefinite map"),
            ("580100", "a length in more bytes than it needs"),
            ("a2616201616101", "map keys out of order"),
            ("a26261610161620a", "a long key before a short one"),
            ("a2616101616102", "one map key twice"),
            ("a10102", "a map key that is no text"),
            ("f7", "undefined"),
            ("f97e00", "a NaN in two bytes"),
            ("fb7ff8000000000000", "a NaN"),
            ("fb7ff0000000000000", "an infinity"),
            ("fbfff0000000000000", "a negative infinity"),
            ("fb8000000000000000", "a negative zero"),
            ("81fb8000000000000000", "a negative zero in a list"),
            ("f93c00", "a float in two bytes"),
            ("fa3f800000", "a float in four bytes"),
            ("f820", "an unassigned simple value"),
            ("c074", "a tag that is no link"),
            ("d82a4101", "a link without its zero byte"),
            ("c249010000000000000000", "a big integer"),
            ("0101", "something behind the value"),
            ("61ff", "a text that is not UTF-8"),
            ("9bffffffffffffffff", "a list longer than memory"),
            ("5bffffffffffffffff", "bytes longer than memory"),
            ("", "nothing"),
        ];
        for (bytes, what) in refused {
            assert!(decode::<Ipld>(&hex(bytes)).is_err(), "{what} was accepted: {bytes}");
        }
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(encode(&-0.0_f64).unwrap(), encode(&0.0_f64).unwrap());
        assert!(decode::<f64>(&hex("fb8000000000000000")).is_err());
    }

    #[test]
    fn nesting_without_end_is_an_error_and_not_a_crash() {
        let mut bytes = vec![0x81; 1 << 20];
        bytes.push(0);
        assert!(decode::<Ipld>(&bytes).is_err());
    }

    #[test]
    fn a_field_nobody_knows_is_refused() {
        #[derive(Deserialize, Serialize, Debug)]
        struct Small {
            a: u8,
        }
        assert!(matches!(decode::<Small>(&hex("a2616101616202")), Err(CborError::NotCanonical)));
        assert_eq!(decode::<Small>(&hex("a1616101")).unwrap().a, 1);
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(value) = decode::<Ipld>(&bytes) {
                prop_assert_eq!(encode(&value).unwrap(), bytes);
            }
        }
    }
}

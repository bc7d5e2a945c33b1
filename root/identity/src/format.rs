//! The two numbers in every format of this crate: version and algorithm.
//!
//! Both are zero-sized: a value of these types cannot hold anything but what this build writes, and
//! decoding anything else is an error that names the number.

use rhizome_block::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of every format here so far.
pub(crate) type V1 = Version<1>;

/// Its one value.
pub(crate) const V1: V1 = Version;

/// Algorithm 1: Ed25519 signatures, X25519 sealing keys, SHA2-256 names.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Alg1;

impl Serialize for Alg1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Alg1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => {
                let what = format!("algorithm {other} is not known to this program");
                Err(serde::de::Error::custom(what))
            }
        }
    }
}

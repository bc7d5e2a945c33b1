//! The two bytes that open every format of this crate: version and algorithm.
//!
//! Both are zero-sized: a value of these types cannot hold anything but what this build writes, and
//! decoding anything else is an error that names the number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares a type that encodes as one small number and decodes from nothing else.
macro_rules! fixed {
    ($(#[$meta:meta])* $name:ident = $number:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
        pub(crate) struct $name;

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8($number)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match u64::deserialize(deserializer)? {
                    $number => Ok(Self),
                    other => Err(serde::de::Error::custom(format!(
                        concat!(stringify!($name), " is {}, not ", $number),
                        other
                    ))),
                }
            }
        }
    };
}

fixed!(
    /// The version of every format here so far.
    V1 = 1
);

fixed!(
    /// Algorithm 1: Ed25519 signatures, X25519 sealing keys, SHA2-256 names.
    Alg1 = 1
);

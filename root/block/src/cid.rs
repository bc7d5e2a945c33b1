//! The name of a block: CIDv1 with SHA2-256 and one of two codecs.
//!
//! The `cid` crate reads and writes the public form; this type keeps only what varies, so that it
//! is small, `Copy`, and cannot hold a codec or hash outside the allow-list.

use cid::serde::CID_SERDE_PRIVATE_IDENTIFIER;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Multihash code of SHA2-256 (multiformats table).
const SHA2_256: u64 = 0x12;

/// How the bytes of a block are to be read.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Codec {
    /// Bytes without structure (multicodec 0x55).
    Raw,
    /// Strict DAG-CBOR (multicodec 0x71).
    DagCbor,
}

impl Codec {
    const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
        }
    }

    fn from_code(code: u64) -> Result<Self, CidError> {
        match code {
            0x55 => Ok(Self::Raw),
            0x71 => Ok(Self::DagCbor),
            code => Err(CidError::Codec { code }),
        }
    }
}

/// Why some bytes or text are not a [`Cid`] we accept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CidError {
    /// The codec is neither `raw` nor `dag-cbor`.
    #[error("codec 0x{code:x} is not accepted")]
    Codec {
        /// Its multicodec number.
        code: u64,
    },
    /// The hash is not SHA2-256.
    #[error("hash function 0x{code:x} is not accepted")]
    Hash {
        /// Its multihash number.
        code: u64,
    },
    /// The version is not 1, or the bytes are no CID at all.
    #[error("not a CIDv1")]
    Form,
}

/// The name of a block: equal names, equal bytes.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cid {
    codec: Codec,
    digest: [u8; 32],
}

impl Cid {
    /// Bytes of a [`Cid`] in binary form: version, codec, hash function, length, digest.
    pub const BYTES: usize = 36;

    /// Names `bytes`.
    #[must_use]
    pub fn of(codec: Codec, bytes: &[u8]) -> Self {
        Self { codec, digest: Sha256::digest(bytes).into() }
    }

    /// The name that has this digest.
    #[must_use]
    pub const fn from_digest(codec: Codec, digest: [u8; 32]) -> Self {
        Self { codec, digest }
    }

    /// The codec.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The SHA2-256 digest.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether this is the name of `bytes`.
    #[must_use]
    pub fn names(&self, bytes: &[u8]) -> bool {
        Self::of(self.codec, bytes) == *self
    }

    /// The binary form.
    #[must_use]
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&[1, self.codec.code() as u8, SHA2_256 as u8, 32]);
        bytes[4..].copy_from_slice(&self.digest);
        bytes
    }

    /// Reads the binary form, which must fill `bytes`.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let Some((head, digest)) = bytes.split_first_chunk::<4>() else {
            return Err(CidError::Form);
        };
        let codec = match head {
            [1, 0x55, 0x12, 32] => Codec::Raw,
            [1, 0x71, 0x12, 32] => Codec::DagCbor,
            _ => return Err(Self::refusal(bytes)),
        };
        Ok(Self { codec, digest: digest.try_into().map_err(|_| CidError::Form)? })
    }

    /// Says what keeps `bytes`, whose first four are not ours, from being one of our names.
    #[cold]
    fn refusal(bytes: &[u8]) -> CidError {
        match cid::Cid::read_bytes(bytes).map(Self::try_from) {
            Ok(Err(refused)) => refused,
            Ok(Ok(_)) | Err(_) => CidError::Form,
        }
    }

    fn public(&self) -> cid::Cid {
        let hash = cid::multihash::Multihash::wrap(SHA2_256, &self.digest)
            .expect("32 bytes fit a multihash");
        cid::Cid::new_v1(self.codec.code(), hash)
    }
}

impl TryFrom<cid::Cid> for Cid {
    type Error = CidError;

    fn try_from(public: cid::Cid) -> Result<Self, CidError> {
        if public.version() != cid::Version::V1 {
            return Err(CidError::Form);
        }
        let codec = Codec::from_code(public.codec())?;
        if public.hash().code() != SHA2_256 {
            return Err(CidError::Hash { code: public.hash().code() });
        }
        let digest = public.hash().digest().try_into().map_err(|_| CidError::Form)?;
        Ok(Self { codec, digest })
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public().fmt(f)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        cid::Cid::try_from(text).map_err(|_| CidError::Form)?.try_into()
    }
}

impl Serialize for Cid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What the public type does, without collecting the bytes first.
        serializer.serialize_newtype_struct(
            CID_SERDE_PRIVATE_IDENTIFIER,
            serde_bytes::Bytes::new(&self.to_bytes()),
        )
    }
}

impl<'de> Deserialize<'de> for Cid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(CID_SERDE_PRIVATE_IDENTIFIER, LinkVisitor)
    }
}

/// Reads a link, which the format hands over as a new type around bytes.
struct LinkVisitor;

impl<'de> Visitor<'de> for LinkVisitor {
    type Value = Cid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a link")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Cid, D::Error> {
        inner.deserialize_bytes(NameVisitor)
    }
}

/// Reads the bytes of a name.
struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Cid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a CID")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Cid, E> {
        Cid::from_bytes(bytes).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELLO: &str = "bafkreiebzrnroamgos2adnbpgw5apo3z4iishhbdx77gldnbk57d4zdio4";

    proptest! {
        #[test]
        fn binary_and_text_forms_come_back(digest: [u8; 32], raw: bool) {
            let codec = if raw { Codec::Raw } else { Codec::DagCbor };
            let cid = Cid::from_digest(codec, digest);
            prop_assert_eq!(Cid::from_bytes(&cid.to_bytes()).unwrap(), cid);
            prop_assert_eq!(cid.to_string().parse::<Cid>().unwrap(), cid);
            prop_assert_eq!(crate::decode::<Cid>(&crate::encode(&cid).unwrap()).unwrap(), cid);
        }

        #[test]
        fn what_we_read_is_what_the_public_library_reads(
            bytes in proptest::collection::vec(any::<u8>(), 0..48),
        ) {
            let theirs = cid::Cid::try_from(&bytes[..]).ok().and_then(|c| Cid::try_from(c).ok());
            prop_assert_eq!(Cid::from_bytes(&bytes).ok(), theirs);
        }
    }

    #[test]
    fn text_of_another_tool_is_read() {
        assert_eq!(HELLO.parse::<Cid>().unwrap().to_string(), HELLO);
    }

    #[test]
    fn codecs_and_hashes_off_the_list_are_named_in_the_error() {
        let refuse = |head: [u8; 4]| {
            let mut bytes = head.to_vec();
            bytes.extend_from_slice(&[7; 32]);
            Cid::from_bytes(&bytes).unwrap_err().to_string()
        };
        assert_eq!(refuse([1, 0x70, 0x12, 32]), "codec 0x70 is not accepted");
        assert_eq!(refuse([1, 0x55, 0x1e, 32]), "hash function 0x1e is not accepted");
        assert_eq!(refuse([2, 0x55, 0x12, 32]), "not a CIDv1");
    }
}

//! Names of identities, devices, keys and epochs, each with its own type.

use rhizome_block::Cid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// An identity: the [`Cid`] of its genesis record.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdentityId(pub Cid);

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A device: its Ed25519 public key, so that whoever proves the key is the device.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceId(pub [u8; 32]);

impl DeviceId {
    /// The first eight characters of the text form, enough to tell one's own devices apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_lowercase())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The text is not the base32 of 32 bytes.
#[derive(Debug, thiserror::Error)]
#[error("not a device id")]
pub struct DeviceIdError;

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let bytes = data_encoding::BASE32_NOPAD
            .decode(text.to_uppercase().as_bytes())
            .map_err(|_| DeviceIdError)?;
        Ok(Self(bytes.try_into().map_err(|_| DeviceIdError)?))
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteArray::<32>::deserialize(deserializer)?;
        Ok(Self(bytes.into_array()))
    }
}

/// Declares a 32-byte public value with its own type: CBOR bytes, printed as short hex.
macro_rules! public_bytes {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; 32]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

public_bytes! {
    /// An Ed25519 public key that is no device's: the root key or the recovery key of an identity.
    SigningPublic
}

public_bytes! {
    /// An X25519 public key: to whom secrets can be wrapped.
    SealingPublic
}

/// An epoch: a stretch of time under one secret. Two devices that rotate at once make two epochs
/// with one number and two records, so that their keys never collide.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct EpochId {
    /// Counts from 0, the epoch of the genesis.
    pub n: u32,
    /// The control record that began it; the genesis for epoch 0.
    pub record: Cid,
}

/// A place in the committed order together with its chain hash: what somebody has seen.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub struct Seen {
    /// Generation.
    pub g: u64,
    /// Index.
    pub i: u64,
    /// `C_i`, the hash of the chain of order up to there.
    #[serde(with = "serde_bytes")]
    pub c: [u8; 32],
}

/// Who signs a certificate or a control record.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Author {
    /// A device, by its own key.
    Device(DeviceId),
    /// The recovery signing key of the kit.
    Recovery,
    /// The root key, which comes from the same kit.
    Root,
}

impl Author {
    /// Whether this is one of the two keys of the recovery kit.
    #[must_use]
    pub const fn is_kit(&self) -> bool {
        matches!(self, Self::Recovery | Self::Root)
    }
}

/// A secret wrapped to one sealing key. This crate carries the bytes and never looks into them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Wrap {
    /// To whom.
    pub recipient: SealingPublic,
    /// The wrapped secret, at most [`Self::BYTES_MAX`] bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl Wrap {
    /// Most bytes of one wrap: an encapsulated key, a secret, two tags, and room for a larger
    /// algorithm later.
    pub const BYTES_MAX: usize = 2048;
}

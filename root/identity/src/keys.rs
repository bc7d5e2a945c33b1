//! Keys of a device, and signatures that mean one thing only.
//!
//! Every signature covers `"rhizome <domain> v1\0"` and then the bytes, so that a signature made
//! for one purpose never passes for another. Verification is strict: no weak keys, no second
//! encoding of a signature. Where the secret bytes come from and rest is left to the caller.

use crate::{DeviceId, SealingPublic, SigningPublic};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// An Ed25519 signature.
#[derive(Clone, Copy, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "serde_bytes")] pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a signature does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The public key is no point of the curve.
    #[error("public key is not valid")]
    Key,
    /// The signature was made by another key, for another purpose, or over other bytes.
    #[error("signature for `{domain}` does not verify")]
    Mismatch {
        /// The purpose it was checked for.
        domain: &'static str,
    },
}

/// A signing key with its secret. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct SigningKeys {
    key: SigningKey,
}

impl SigningKeys {
    /// The key with this secret: 32 bytes of randomness.
    #[must_use]
    pub fn from_secret(mut secret: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&secret);
        secret.zeroize();
        Self { key }
    }

    /// The secret, for the key store.
    #[must_use]
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The device whose key this is.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        DeviceId(self.key.verifying_key().to_bytes())
    }

    /// The public key, when it is a root or recovery key.
    #[must_use]
    pub fn public(&self) -> SigningPublic {
        SigningPublic(self.key.verifying_key().to_bytes())
    }

    /// Signs `bytes` for one purpose.
    #[must_use]
    pub fn sign(&self, domain: &'static str, bytes: &[u8]) -> Signature {
        Signature(self.key.sign(&message(domain, bytes)).to_bytes())
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({:?}, secret)", self.device_id())
    }
}

/// Checks that the holder of `public` signed `bytes` for `domain`.
pub fn verify(
    public: &[u8; 32],
    domain: &'static str,
    bytes: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(public).map_err(|_| SignatureError::Key)?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(&message(domain, bytes), &signature)
        .map_err(|_| SignatureError::Mismatch { domain })
}

/// What is really signed: the purpose, a zero byte, the bytes.
fn message(domain: &'static str, bytes: &[u8]) -> Vec<u8> {
    assert!(!domain.contains('\0'), "a zero byte ends the domain");
    let mut message = Vec::with_capacity(bytes.len() + domain.len() + 12);
    message.extend_from_slice(b"rhizome ");
    message.extend_from_slice(domain.as_bytes());
    message.extend_from_slice(b" v1\0");
    message.extend_from_slice(bytes);
    message
}

/// Both keys of a device, with their secrets.
#[derive(Clone)]
pub struct DeviceKeys {
    /// Signs.
    pub signing: SigningKeys,
    sealing: Zeroizing<[u8; 32]>,
}

impl DeviceKeys {
    /// Bytes of both secrets.
    pub const BYTES: usize = 64;

    /// Both keys from 64 random bytes: the signing secret, then the sealing secret.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (signing, sealing) = bytes.split_at(32);
        let signing: Zeroizing<[u8; 32]> =
            Zeroizing::new(signing.try_into().expect("half of 64 bytes"));
        Self {
            signing: SigningKeys::from_secret(*signing),
            sealing: Zeroizing::new(sealing.try_into().expect("half of 64 bytes")),
        }
    }

    /// Both secrets, for the key store.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::BYTES]> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        bytes[..32].copy_from_slice(&*self.signing.secret());
        bytes[32..].copy_from_slice(&*self.sealing);
        bytes
    }

    /// The device.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.signing.device_id()
    }

    /// The secret that opens what is wrapped to this device.
    #[must_use]
    pub fn sealing_secret(&self) -> &[u8; 32] {
        &self.sealing
    }

    /// The public key to wrap to.
    #[must_use]
    pub fn sealing_public(&self) -> SealingPublic {
        sealing_public(&self.sealing)
    }
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKeys({:?}, secret)", self.device_id())
    }
}

/// The X25519 public key of a secret.
pub(crate) fn sealing_public(secret: &[u8; 32]) -> SealingPublic {
    let secret = x25519_dalek::StaticSecret::from(*secret);
    SealingPublic(x25519_dalek::PublicKey::from(&secret).to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_its_purpose_and_its_bytes_only() {
        let keys = SigningKeys::from_secret([1; 32]);
        let public = keys.public().0;
        let signature = keys.sign("control", b"hello");
        verify(&public, "control", b"hello", &signature).unwrap();
        assert!(verify(&public, "run", b"hello", &signature).is_err());
        assert!(verify(&public, "control", b"hellp", &signature).is_err());
        let other = SigningKeys::from_secret([2; 32]).public().0;
        assert!(verify(&other, "control", b"hello", &signature).is_err());
        let mut bent = signature;
        bent.0[40] ^= 1;
        assert!(verify(&public, "control", b"hello", &bent).is_err());
    }

    #[test]
    fn a_weak_key_signs_nothing() {
        // The neutral element: with it, lax verifiers accept R = sB for every message.
        let mut weak = [0; 32];
        weak[0] = 1;
        let mut signature = Signature([0; 64]);
        signature.0[0] = 1;
        assert!(verify(&weak, "control", b"anything", &signature).is_err());
    }

    #[test]
    fn secrets_are_never_printed() {
        let keys = DeviceKeys::from_bytes(&[0xab; 64]);
        let printed = format!("{keys:?} {:?}", keys.signing);
        assert!(!printed.contains("171") && !printed.contains("abab"), "{printed}");
    }

    #[test]
    fn keys_survive_the_key_store() {
        let bytes: [u8; 64] = std::array::from_fn(|at| at as u8);
        let keys = DeviceKeys::from_bytes(&bytes);
        assert_eq!(*keys.to_bytes(), bytes);
        assert_ne!(keys.sealing_public().0, *keys.sealing_secret());
    }
}

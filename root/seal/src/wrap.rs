//! Wrapping secrets to a device or to the recovery kit: HPKE (RFC 9180), base mode.
//!
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305; one wrap per recipient, drawn in
//! `docs/format/key-wrap.md`. The caller's `info` names what is wrapped and why, so that a wrap
//! moved elsewhere does not open.
//!
//! HPKE wants a random source. This crate has none: the ephemeral key comes from a BLAKE3 stream
//! keyed by 32 random bytes of the caller and bound to recipient, info and secret. So one source
//! serves many recipients, and a source that repeats itself gives the same wrap again instead of
//! two wraps under one ephemeral key.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{Infallible, TryCryptoRng, TryRng};
use hpke::{
    Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable, single_shot_open,
    single_shot_seal_with_rng,
};
use std::fmt;
use zeroize::Zeroizing;

/// Version of the wrap, which stands for the suite above.
const VERSION: u8 = 1;

/// Bytes of the encapsulated key.
const ENCAPSULATED_BYTES: usize = 32;

/// Bytes of the tag.
const TAG_BYTES: usize = 16;

/// Most bytes of a wrapped secret: a keyring with thousands of epochs is sealed under one secret
/// that is wrapped, not wrapped itself.
pub const WRAPPED_SECRET_BYTES_MAX: usize = 1024;

/// Bytes of the wrap of a secret.
#[must_use]
pub const fn wrapped_bytes(secret_bytes: usize) -> usize {
    1 + ENCAPSULATED_BYTES + secret_bytes + TAG_BYTES
}

/// Why a secret could not be wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The recipient's public key is one that no secret key has.
    #[error("recipient's sealing key is not usable")]
    Recipient {
        /// What the library said.
        source: HpkeError,
    },
    /// The secret is longer than [`WRAPPED_SECRET_BYTES_MAX`].
    #[error("secret of {bytes} bytes exceeds {WRAPPED_SECRET_BYTES_MAX}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The bytes are too short or too long for a wrap.
    #[error("{bytes} bytes are no wrapped secret")]
    Form {
        /// How many there are.
        bytes: usize,
    },
    /// The wrap is of a newer version.
    #[error("wrap has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u8,
    },
    /// The wrap is for somebody else, for another purpose, or was changed.
    #[error("wrapped secret does not open")]
    Open {
        /// What the library said.
        source: HpkeError,
    },
}

/// The X25519 keys that secrets are wrapped to.
#[derive(Clone)]
pub struct SealingKeys {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl SealingKeys {
    /// Makes the keys of 32 random bytes, which are the secret key.
    #[must_use]
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        let private = private_key(&secret);
        let public = X25519HkdfSha256::sk_to_pk(&private).to_bytes().into();
        Self { secret: Zeroizing::new(secret), public }
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The secret key, to be shown to nobody.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKeys({:02x?}, secret)", &self.public[..4])
    }
}

fn private_key(secret: &[u8; 32]) -> <X25519HkdfSha256 as Kem>::PrivateKey {
    <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret)
        .expect("every 32 bytes are an X25519 secret key")
}

/// Wraps `secret` to the holder of `recipient_public`. `entropy` is 32 fresh random bytes; it may
/// serve several calls.
pub fn wrap(
    recipient_public: &[u8; 32],
    info: &[u8],
    secret: &[u8],
    entropy: &[u8; 32],
) -> Result<Vec<u8>, WrapError> {
    if secret.len() > WRAPPED_SECRET_BYTES_MAX {
        return Err(WrapError::TooLarge { bytes: secret.len() });
    }
    let recipient = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(recipient_public)
        .map_err(|source| WrapError::Recipient { source })?;
    let mut stream = Stream::new(recipient_public, info, secret, entropy);
    let (encapsulated, ciphertext) = single_shot_seal_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(
        &OpModeS::Base, &recipient, info, secret, &[], &mut stream
    )
    .map_err(|source| WrapError::Recipient { source })?;
    let mut bytes = Vec::with_capacity(wrapped_bytes(secret.len()));
    bytes.push(VERSION);
    bytes.extend_from_slice(&encapsulated.to_bytes());
    bytes.extend_from_slice(&ciphertext);
    Ok(bytes)
}

/// Unwraps what was wrapped to the public key of `recipient_secret` with the same `info`.
pub fn unwrap(
    recipient_secret: &[u8; 32],
    info: &[u8],
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let form = || WrapError::Form { bytes: wrapped.len() };
    let (&version, rest) = wrapped.split_first().ok_or_else(form)?;
    if version != VERSION {
        return Err(WrapError::Version { version });
    }
    let (encapsulated, ciphertext) = rest.split_at_checked(ENCAPSULATED_BYTES).ok_or_else(form)?;
    if !(TAG_BYTES..=WRAPPED_SECRET_BYTES_MAX + TAG_BYTES).contains(&ciphertext.len()) {
        return Err(form());
    }
    let open = |source| WrapError::Open { source };
    let encapsulated =
        <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(open)?;
    single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private_key(recipient_secret),
        &encapsulated,
        info,
        ciphertext,
        &[],
    )
    .map(Zeroizing::new)
    .map_err(open)
}

/// The random source of one wrap: a BLAKE3 output stream.
struct Stream(blake3::OutputReader);

impl Stream {
    fn new(recipient: &[u8; 32], info: &[u8], secret: &[u8], entropy: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(entropy);
        hasher.update(b"rhizome wrap v1");
        hasher.update(recipient);
        hasher.update(&(info.len() as u64).to_le_bytes());
        hasher.update(info);
        hasher.update(secret);
        Self(hasher.finalize_xof())
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: &[u8] = b"rhizome epoch v1";

    fn keys() -> SealingKeys {
        SealingKeys::from_bytes([6; 32])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_wrapped_unwraps(
            recipient: [u8; 32],
            entropy: [u8; 32],
            secret in proptest::collection::vec(any::<u8>(), 0..100),
            info in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let keys = SealingKeys::from_bytes(recipient);
            let wrapped = wrap(keys.public(), &info, &secret, &entropy).unwrap();
            prop_assert_eq!(wrapped.len(), wrapped_bytes(secret.len()));
            prop_assert_eq!(&*unwrap(keys.secret(), &info, &wrapped).unwrap(), &secret);
        }

        #[test]
        fn any_flipped_bit_is_noticed(place in 0..81_usize, bit in 0..8_u32) {
            let mut wrapped = wrap(keys().public(), INFO, &[1; 32], &[2; 32]).unwrap();
            wrapped[place] ^= 1 << bit;
            // X25519 ignores the uppermost bit of a public key; HPKE hashes it in all the same.
            prop_assert!(unwrap(keys().secret(), INFO, &wrapped).is_err());
        }

        #[test]
        fn hostile_wraps_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
            known: bool,
        ) {
            if let (true, Some(first)) = (known, bytes.first_mut()) {
                *first = VERSION;
            }
            prop_assert!(unwrap(keys().secret(), INFO, &bytes).is_err());
        }
    }

    #[test]
    fn neither_another_recipient_nor_another_purpose_unwraps() {
        let wrapped = wrap(keys().public(), INFO, &[1; 32], &[2; 32]).unwrap();
        let other = SealingKeys::from_bytes([7; 32]);
        assert!(matches!(unwrap(other.secret(), INFO, &wrapped), Err(WrapError::Open { .. })));
        assert!(matches!(unwrap(keys().secret(), b"", &wrapped), Err(WrapError::Open { .. })));
    }

    #[test]
    fn one_source_serves_many_wraps_with_a_key_of_its_own_each() {
        let other = SealingKeys::from_bytes([7; 32]);
        let ephemeral = |keys: &SealingKeys, info: &[u8], secret: &[u8]| {
            wrap(keys.public(), info, secret, &[2; 32]).unwrap()[1..33].to_vec()
        };
        let first = ephemeral(&keys(), INFO, &[1; 32]);
        assert_eq!(first, ephemeral(&keys(), INFO, &[1; 32]));
        assert_ne!(first, ephemeral(&other, INFO, &[1; 32]));
        assert_ne!(first, ephemeral(&keys(), b"", &[1; 32]));
        assert_ne!(first, ephemeral(&keys(), INFO, &[9; 32]));
    }

    #[test]
    fn a_key_that_nobody_holds_is_refused() {
        let refused = wrap(&[0; 32], INFO, &[1; 32], &[2; 32]);
        assert!(matches!(refused, Err(WrapError::Recipient { .. })));
        let long = wrap(keys().public(), INFO, &[1; 1025], &[2; 32]);
        assert!(matches!(long, Err(WrapError::TooLarge { bytes: 1025 })));
    }

    #[test]
    fn the_public_key_is_the_one_of_x25519() {
        let secret = x25519_dalek::StaticSecret::from([6; 32]);
        let public = x25519_dalek::PublicKey::from(&secret);
        assert_eq!(keys().public(), public.as_bytes());
        assert!(format!("{:?}", keys()).ends_with("secret)"));
    }

    #[test]
    fn version_1_unwraps_as_it_was_wrapped() {
        let wrapped = wrap(keys().public(), INFO, &[1; 32], &[2; 32]).unwrap();
        let stored = crate::fixture::check("key-wrap-v1.bin", &wrapped);
        assert_eq!(**unwrap(keys().secret(), INFO, &stored).unwrap(), [1; 32]);
    }
}

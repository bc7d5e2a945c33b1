//! The sealed body of an event, drawn in `docs/format/envelope.md`.
//!
//! `nonce (24) ‖ commitment (32) ‖ ciphertext ‖ tag (16)`, where the ciphertext holds the length of
//! the plaintext, the plaintext, and zeros up to a step of sizes. The commitment ties the body to
//! one key: without it somebody who knows two keys could make a body that opens, differently, under
//! both, and devices would disagree about what an event says.

use crate::cipher::{self, TAG_BYTES};
use crate::padding::padded;
use crate::secret::EpochSecret;
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of the nonce in front of a body. Random nonces of this size never meet.
pub const NONCE_BYTES: usize = 24;

/// Bytes of the key commitment.
pub const COMMITMENT_BYTES: usize = 32;

/// Bytes of the plaintext's length, inside the ciphertext.
const LENGTH_BYTES: usize = 4;

const CIPHERTEXT_AT: usize = NONCE_BYTES + COMMITMENT_BYTES;

/// Bytes of the shortest body, that of an empty plaintext.
pub const BODY_BYTES_MIN: usize = body_bytes(0);

/// Bytes of the body that `plaintext_bytes` make.
#[must_use]
pub const fn body_bytes(plaintext_bytes: usize) -> usize {
    CIPHERTEXT_AT + padded(LENGTH_BYTES + plaintext_bytes) + TAG_BYTES
}

/// Why a body does not open.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The body is shorter than any body.
    #[error("body of {bytes} bytes is shorter than the {BODY_BYTES_MIN} of the shortest")]
    TooShort {
        /// Its bytes.
        bytes: usize,
    },
    /// The body was sealed under another key.
    #[error("body was sealed under another key")]
    Commitment,
    /// The body or its associated data was changed.
    #[error("body or its associated data was changed")]
    Tag,
    /// The key's holder sealed something that is not padded by the rules.
    #[error("body is not padded by the rules")]
    Padding,
}

/// The key to the events of one app in one epoch. Deriving it costs as much as sealing a small
/// event, so it is worth keeping.
#[derive(Clone)]
pub struct EventKey {
    cipher: Zeroizing<[u8; 32]>,
    commitment: Zeroizing<[u8; 32]>,
}

impl EventKey {
    /// Derives the key of the app with this log tag.
    #[must_use]
    pub fn derive(secret: &EpochSecret, tag: &[u8; 16]) -> Self {
        let mut keys = Zeroizing::new([0; 64]);
        Hkdf::<Sha256>::new(None, secret.as_bytes())
            .expand_multi_info(&[b"rhizome event v1", tag], &mut *keys)
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        let (cipher, commitment) = keys.split_at(32);
        let half = |bytes: &[u8]| Zeroizing::new(bytes.try_into().expect("half of 64 bytes"));
        Self { cipher: half(cipher), commitment: half(commitment) }
    }

    /// Seals `plaintext`, bound to `aad`. `nonce` must be 24 random bytes or else unique under this
    /// key; a nonce used twice gives both plaintexts away.
    #[must_use]
    pub fn seal(&self, aad: &[u8], nonce: [u8; NONCE_BYTES], plaintext: &[u8]) -> Vec<u8> {
        let length = u32::try_from(plaintext.len()).expect("events stay far below 4 GiB");
        let bytes = body_bytes(plaintext.len());
        let mut body = Vec::with_capacity(bytes);
        body.extend_from_slice(&nonce);
        body.extend_from_slice(self.commitment(&nonce).as_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(plaintext);
        body.resize(bytes - TAG_BYTES, 0);
        let tag = cipher::seal(&self.cipher, &nonce, aad, &mut body[CIPHERTEXT_AT..]);
        body.extend_from_slice(&tag);
        body
    }

    /// Opens a body that was sealed with the same `aad`.
    pub fn open(&self, aad: &[u8], body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        if body.len() < BODY_BYTES_MIN {
            return Err(EnvelopeError::TooShort { bytes: body.len() });
        }
        let (nonce, rest) = body.split_first_chunk::<NONCE_BYTES>().expect("a body is longer");
        let (commitment, rest) =
            rest.split_first_chunk::<COMMITMENT_BYTES>().expect("a body is longer");
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().expect("a body is longer");
        if self.commitment(nonce) != blake3::Hash::from_bytes(*commitment) {
            return Err(EnvelopeError::Commitment);
        }
        let mut plain = ciphertext.to_vec();
        cipher::open(&self.cipher, nonce, aad, &mut plain, tag).map_err(|_| EnvelopeError::Tag)?;
        unpad(plain)
    }

    /// What only this key gives for this nonce.
    fn commitment(&self, nonce: &[u8; NONCE_BYTES]) -> blake3::Hash {
        blake3::keyed_hash(&self.commitment, nonce)
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventKey(..)")
    }
}

/// Seals one body without keeping its key; see [`EventKey::seal`].
#[must_use]
pub fn seal_event(
    secret: &EpochSecret,
    tag: &[u8; 16],
    aad: &[u8],
    nonce: [u8; NONCE_BYTES],
    plaintext: &[u8],
) -> Vec<u8> {
    EventKey::derive(secret, tag).seal(aad, nonce, plaintext)
}

/// Takes length and zeros off. One plaintext has one padding: anything else is refused, so that
/// nothing can be smuggled or marked there.
fn unpad(mut plain: Vec<u8>) -> Result<Vec<u8>, EnvelopeError> {
    let (length, rest) = plain.split_first_chunk::<LENGTH_BYTES>().ok_or(EnvelopeError::Padding)?;
    let length = u32::from_le_bytes(*length) as usize;
    let zeros = rest.get(length..).ok_or(EnvelopeError::Padding)?;
    if padded(LENGTH_BYTES + length) != plain.len() || zeros.iter().any(|byte| *byte != 0) {
        return Err(EnvelopeError::Padding);
    }
    plain.truncate(LENGTH_BYTES + length);
    plain.drain(..LENGTH_BYTES);
    Ok(plain)
}

#[cfg(test)]
mod tests;

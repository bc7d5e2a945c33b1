//! The cryptography of one exchange: SPAKE2, keys from it, digits, seals.
//!
//! SPAKE2 takes a random scalar; here it comes from a stored seed, so that a restored machine says
//! exactly what it said before. All keys depend on both opening messages, byte for byte.

use super::code::Code;
use super::message::{Hello, Introduction, LinkBody, Reply};
use crate::{DeviceId, SealingPublic};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha256};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

/// Bytes of the nonce in front of what is sealed.
const SEAL_NONCE_BYTES: usize = 24;

/// How many sets of six digits there are: what one try of a man in the middle must hit.
pub(super) const DIGITS: u64 = 1_000_000;

/// Which half of SPAKE2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Newcomer,
    Admitter,
}

/// One half of SPAKE2, always the same for the same seed.
pub(super) struct Pake {
    half: Spake2<Ed25519Group>,
    pub(super) message: [u8; 33],
}

impl Pake {
    pub(super) fn start(side: Side, code: &Code, seed: &[u8; 32]) -> Self {
        let password = Password::new(Zeroizing::new(code.to_string()).as_bytes());
        let newcomer = Identity::new(b"rhizome link newcomer v1");
        let admitter = Identity::new(b"rhizome link admitter v1");
        let random = Seeded::new(seed);
        let (half, message) = match side {
            Side::Newcomer => Spake2::start_a_with_rng(&password, &newcomer, &admitter, random),
            Side::Admitter => Spake2::start_b_with_rng(&password, &newcomer, &admitter, random),
        };
        let message = message.try_into().expect("a side byte and a point are 33 bytes");
        Self { half, message }
    }
}

/// The keys of one exchange.
pub(super) struct Keys {
    secret: Hkdf<Sha256>,
}

impl Keys {
    /// The keys after both opening messages, or nothing if the peer's half is no point.
    pub(super) fn agree(
        side: Side,
        code: &Code,
        seed: &[u8; 32],
        hello: &Hello,
        reply: &Reply,
    ) -> Option<Self> {
        let theirs = match side {
            Side::Newcomer => &reply.pake,
            Side::Admitter => &hello.pake,
        };
        let shared = Zeroizing::new(Pake::start(side, code, seed).half.finish(theirs).ok()?);
        let mut transcript = Sha256::new().chain_update(b"rhizome link transcript v1\0");
        for message in [LinkBody::Hello(hello.clone()), LinkBody::Reply(reply.clone())] {
            let bytes = message.to_bytes();
            transcript.update((bytes.len() as u64).to_le_bytes());
            transcript.update(&bytes);
        }
        Some(Self { secret: Hkdf::new(Some(&transcript.finalize()), &shared) })
    }

    /// What proves to the trusted device that the newcomer had the code.
    pub(super) fn confirmation(&self, nonce: &[u8; 32], sealed: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key(b"confirm")).update(nonce).update(sealed).finalize()
    }

    /// What proves that a later message comes from the newcomer of this exchange.
    pub(super) fn proof(&self, what: &'static str, device: &DeviceId) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key(b"proof"))
            .update(what.as_bytes())
            .update(&device.0)
            .finalize()
    }

    /// The six digits that both sides must agree on.
    pub(super) fn digits(&self, nonce: &[u8; 32], introduction: &Introduction) -> String {
        let mut hash = blake3::Hasher::new_keyed(&self.key(b"digits"));
        hash.update(nonce).update(&introduction.signing.0).update(&introduction.sealing.0);
        let hash = hash.finalize();
        let number = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight of 32"));
        format!("{:06}", number % DIGITS)
    }

    /// Seals bytes for one purpose. The nonce depends on the bytes, so that sealing other bytes
    /// for the same purpose, after a crash, does no harm.
    pub(super) fn seal(&self, purpose: &'static str, bytes: &[u8]) -> Vec<u8> {
        let key = self.key(purpose.as_bytes());
        let hash = blake3::keyed_hash(&self.key(b"nonce"), bytes);
        let nonce = &hash.as_bytes()[..SEAL_NONCE_BYTES];
        let sealed = cipher(&key)
            .encrypt(&xnonce(nonce), bytes)
            .expect("bounded messages are shorter than the cipher's limit");
        [nonce, &sealed].concat()
    }

    /// Opens what [`Keys::seal`] sealed for the same purpose.
    pub(super) fn open(&self, purpose: &'static str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(SEAL_NONCE_BYTES)?;
        let key = self.key(purpose.as_bytes());
        cipher(&key).decrypt(&xnonce(nonce), sealed).ok().map(Zeroizing::new)
    }

    fn key(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.secret.expand(purpose, &mut *key).expect("32 bytes are less than HKDF can give");
        key
    }
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

fn xnonce(nonce: &[u8]) -> XNonce {
    let nonce: [u8; SEAL_NONCE_BYTES] = nonce.try_into().expect("nonces are cut to their length");
    nonce.into()
}

/// What the newcomer binds itself to before it has seen the other's nonce.
pub(super) fn commitment(nonce: &[u8; 32], device: &DeviceId, sealing: &SealingPublic) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"rhizome link commitment v1\0")
        .chain_update(nonce)
        .chain_update(device.0)
        .chain_update(sealing.0)
        .finalize()
        .into()
}

/// A stream of bytes from a seed, in the form that spake2 asks for.
struct Seeded(blake3::OutputReader);

impl Seeded {
    fn new(seed: &[u8; 32]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("rhizome link spake2 scalar v1");
        Self(hash.update(seed).finalize_xof())
    }
}

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// The stream of an unknown seed cannot be told from randomness.
impl CryptoRng for Seeded {}

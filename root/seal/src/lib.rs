//! Encryption of events and blocks: epoch secrets, envelopes, sealed blocks, key wrapping.
//!
//! Whoever is not a device of an identity sees what this crate lets out: padded ciphertext,
//! commitments and keyed hashes. It is pure: nonces and other randomness come from the caller. It
//! leaves to `root/identity` who gets which secret, and to `root/log` what is sealed.
//!
//! With the feature `unsealed`, a test control that no release carries, events and blocks hold
//! their plaintext ([`UNSEALED`] says so); nothing at run time can bring that about.

mod block;
mod cipher;
mod derive;
mod envelope;
#[cfg(test)]
mod fixture;
mod keyring;
mod padding;
mod secret;
mod wrap;

pub use block::{
    BLOCK_PLAIN_BYTES_MAX, OpenBlockError, SealedBlock, open_block, seal_block, sealed_block_bytes,
};
pub use derive::{boundary_key, keyed_hash, log_tag, state_root_key};
pub use envelope::{
    BODY_BYTES_MIN, COMMITMENT_BYTES, EnvelopeError, EventKey, NONCE_BYTES, body_bytes, seal_event,
};
pub use keyring::{KEYRING_EPOCHS_MAX, Keyring, KeyringError, KeyringKind};
pub use secret::{EpochSecret, Secret};
pub use wrap::{SealingKeys, WRAPPED_SECRET_BYTES_MAX, WrapError, unwrap, wrap, wrapped_bytes};

/// Whether this build leaves events and blocks readable, for the test control described above. A
/// process that serves people must refuse to start when this is true.
pub const UNSEALED: bool = cfg!(feature = "unsealed");

//! Linking a new device, as two pure machines: [`Admitter`] on a trusted device, [`Newcomer`] on
//! the one that joins.
//!
//! The trusted device shows a [`Code`]; the newcomer takes it and both agree on a key with SPAKE2,
//! which tells a wrong guess nothing but that it was wrong. The newcomer then shows six digits,
//! which bind both sides' keys and nonces, and the person types them on the trusted device. Only
//! then is the newcomer admitted. One code, one try, two minutes.
//!
//! Both machines hand out everything they must remember ([`AdmitterEffect::Persist`]) before they
//! act on it, so that a side killed at any moment goes on from where it was and ends linked or
//! clean. Connections, the control record that admits, the key store and what an admission contains
//! are left to the caller.

mod admitter;
mod code;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod message;
mod newcomer;
mod session;
#[cfg(test)]
mod tests;

pub use admitter::{
    ADMISSION_KEPT_MS, ANSWER_MS, Admitter, AdmitterEffect, AdmitterInput, AdmitterOutcome,
    CODE_LIFETIME_MS, Invite,
};
pub use code::{ADDRESS_CHARACTERS_MAX, ADDRESSES_MAX, Code, CodeError, Invitation};
pub use message::{
    ADMISSION_BYTES_MAX, Introduction, LINK_MESSAGE_BYTES_MAX, NAME_CHARACTERS_MAX, Refusal, Route,
    name_is_fit, refusal, route,
};
pub use newcomer::{
    GREETING_MS, Joining, Newcomer, NewcomerEffect, NewcomerError, NewcomerInput, NewcomerOutcome,
    RETRY_MAX_MS, RETRY_MS,
};

/// Why stored bytes are not the state of a linking machine.
#[derive(Debug, thiserror::Error)]
#[error("bytes are not the state of a linking machine")]
pub struct LinkStateError {
    /// What the decoder said.
    #[from]
    source: rhizome_block::CborError,
}

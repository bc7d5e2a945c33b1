//! What the fuzzer needs to get past the seals of linking: messages whose checks hold around
//! contents that it chose. Built with the feature `fuzz` only; machines never call it.

use super::admitter::Admitter;
use super::message::{Confirm, LinkBody, Sealed};
use super::newcomer::Newcomer;

/// The confirmation of a newcomer that had the code, around an `introduction` that may be anything.
/// Nothing before the admitter was greeted.
#[must_use]
pub fn confirm(admitter: &Admitter, nonce: [u8; 32], introduction: &[u8]) -> Option<Vec<u8>> {
    let (keys, session) = (admitter.keys()?, admitter.session()?);
    let sealed = keys.seal("introduction", introduction);
    let mac = keys.confirmation(&nonce, &sealed).into();
    Some(LinkBody::Confirm(Confirm { session, mac, nonce, sealed }).to_bytes())
}

/// The admission of the device that answered the newcomer, around `contents` that may be anything.
/// Nothing before it was answered.
#[must_use]
pub fn admission(newcomer: &Newcomer, contents: &[u8]) -> Option<Vec<u8>> {
    let sealed = newcomer.agreed()?.seal("admission", contents);
    Some(LinkBody::Admission(Sealed { sealed }).to_bytes())
}

/// The bytes of a message when it is read and written again; nothing if it is none.
#[must_use]
pub fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    LinkBody::from_bytes(bytes).map(|body| body.to_bytes())
}

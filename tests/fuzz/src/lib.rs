//! What each fuzz target does with the bytes it is given.
//!
//! Each module takes hostile bytes twice: as they are, and mended, so that hashes, signatures and
//! places around them are right and what lies behind those checks is reached. Whatever decodes must
//! encode to the same bytes, nothing may panic, and every `run` says how many of its doors the
//! bytes passed, so that the tests see that seeds still reach what they were kept for. Mutating
//! bytes, measuring memory and time is left to libFuzzer; the targets in `fuzz_targets` only call
//! `run`.

pub mod car;
pub mod control;
pub mod event;
mod family;
pub mod link;
pub mod raft;
pub mod seeds;
pub mod session;
pub mod snapshot;

#[cfg(test)]
mod tests;

//! Drives one replica and its documents: what pod, browser and simulator share.
//!
//! An [`Engine`] takes a batch of work, steps the replica, makes what it appends durable through a
//! [`Journal`], hands what took effect to the documents, and writes rows, documents and the mark of
//! how far the journal is folded as one batch, so that a crash never leaves one without the other.
//! [`Engine::fold`] does the same from the journal's blocks alone, when the index is behind or
//! lost.
//!
//! What is decided is `root/replica`'s and `trunk/doc`'s. Queues, connections, timers and whoever
//! waits for an answer are the driver's: it performs the effects that come back.

mod engine;
mod fold;
mod journal;
mod sealing;

#[cfg(test)]
mod tests;

pub use engine::{Done, Edit, Edited, Engine, EngineError, Work};
pub use fold::{Fold, Others};
pub use journal::{Journal, JournalError};
pub use sealing::state_root;

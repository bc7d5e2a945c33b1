//! What an engine needs of the segments: appending that is durable when it returns, and reading.

use rhizome_block::Block;
use rhizome_log::{Blocks, Place};
use std::sync::Arc;

/// Why blocks are not durable. It is unknown what the disk holds of them: the engine is opened
/// again from its index, and nothing of the batch leaves the device.
#[derive(Clone, Debug, thiserror::Error)]
#[error("blocks cannot be made durable: {what}")]
pub struct JournalError {
    /// What the disk said.
    pub what: Arc<str>,
}

/// An append-only sequence of blocks on one disk.
pub trait Journal: Blocks {
    /// Appends blocks, all or none, and returns where they lie once they are durable.
    fn append(&self, blocks: &[Block]) -> Result<Vec<Place>, JournalError>;

    /// Up to where the index is folded once everything appended so far has its rows, in the
    /// journal's own bytes. They are kept in the index and come back when the journal is opened.
    fn mark(&self) -> Vec<u8>;
}

//! What a step may read and change: the index through an overlay, blocks by place.

use rhizome_log::{Blocks, IndexError, Overlay, ReadError};

/// Hands the index and the blocks to a step.
pub struct Access<'a, 'b> {
    /// The index; its changes become one batch.
    pub index: &'a mut Overlay<'b>,
    /// The blocks on disk.
    pub blocks: &'a dyn Blocks,
}

/// Why a step could not be taken. The driver closes the replica and opens it again from the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The index failed.
    #[error("replica cannot use its index")]
    Index(#[from] IndexError),
    /// A row of the index is not what we wrote.
    #[error("replica cannot read a row of its index")]
    Row(#[from] crate::RowError),
    /// A block is damaged or the disk failed.
    #[error("replica cannot read a block")]
    Read(#[from] ReadError),
    /// The genesis or the keys do not belong together.
    #[error("replica cannot be opened: {what}")]
    Open {
        /// What is wrong.
        what: String,
    },
}

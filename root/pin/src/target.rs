//! What a place that keeps blocks can be asked.

use rhizome_block::{Block, Cid};
use std::error::Error;

/// Most bytes handed over in one [`PinTarget::put`], so that neither side needs much memory and an
/// interrupted transfer loses little.
pub const PUT_BYTES_MAX: usize = 16 << 20;

/// Why a target did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// It cannot be reached, or its disk fails; trying later may help.
    #[error("pin target `{target}` is not available")]
    Unavailable {
        /// Its name.
        target: String,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A block is not what its name says; nothing was stored.
    #[error("block {cid} is not what its name says")]
    NotTheBlock {
        /// The name.
        cid: Cid,
    },
    /// More than [`PUT_BYTES_MAX`] at once.
    #[error("{bytes} bytes at once are more than {PUT_BYTES_MAX}")]
    TooMuch {
        /// How many were handed over.
        bytes: usize,
    },
}

/// What a holder could not prove.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Audit {
    /// Blocks it read back whole.
    pub proven: Vec<Cid>,
    /// Blocks it does not have, or not with these contents.
    pub missing: Vec<Cid>,
}

/// A place that keeps blocks. Calls block; drivers make them on a thread that may wait.
pub trait PinTarget: Send {
    /// What people call it.
    fn name(&self) -> &str;

    /// Whether it says that it holds a block. Saying so is no proof; [`PinTarget::audit`] is.
    fn holds(&self, cid: &Cid) -> Result<bool, PinError>;

    /// Keeps blocks; they are durable there once this returns.
    fn put(&mut self, blocks: &[Block]) -> Result<(), PinError>;

    /// Lets the target prove that it holds blocks, by reading each back and hashing it. The caller
    /// chooses them at random, so that a target cannot keep only what it will be asked for.
    fn audit(&mut self, cids: &[Cid]) -> Result<Audit, PinError>;
}

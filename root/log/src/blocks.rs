//! How a pure machine reads blocks that lie on a disk.

use rhizome_block::Cid;
use serde::{Deserialize, Serialize};

/// Where a block lies in the segments.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub struct Place {
    /// Number of the segment.
    pub segment: u32,
    /// First byte of the block's data.
    pub offset: u64,
    /// Bytes of the data.
    pub bytes: u32,
}

/// Why a block could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes there are not what their name says; a good copy may exist at a peer.
    #[error("block {cid} is damaged on this disk")]
    Damaged {
        /// The name.
        cid: Cid,
    },
    /// The disk refused.
    #[error("block {cid} cannot be read: {what}")]
    Disk {
        /// The name.
        cid: Cid,
        /// What the disk said.
        what: String,
    },
}

/// Blocks found by place, each checked against its name on every read.
pub trait Blocks: Send + Sync {
    /// Reads the block `cid` at `place`.
    fn read(&self, place: Place, cid: &Cid) -> Result<Vec<u8>, ReadError>;
}

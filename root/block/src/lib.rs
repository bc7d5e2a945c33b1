//! Content addressing: [`Cid`], [`Block`], strict DAG-CBOR, CAR files, trees of blocks.
//!
//! Everything Rhizome keeps or sends is a block named by its hash, in the profile that IPFS calls
//! DASL: CIDv1, SHA2-256, codecs `raw` and `dag-cbor`. This crate names, encodes and arranges
//! blocks. It leaves secrecy to `root/seal`, meaning to `root/log` and disks to `root/store`.

#[macro_use]
mod kind;
pub mod car;
mod cbor;
mod cid;
#[cfg(test)]
mod fixture;
mod link;
pub mod planted;
pub mod prolly;
pub mod tree;

pub use cbor::{CborError, decode, decode_own, encode};
pub use cid::{Cid, CidError, Codec};
pub use kind::{Version, peek_kind, peek_version};
pub use link::{Link, Open, OpenError, Seal};

/// Most bytes of a block we write. IPFS implementations exchange blocks up to 2 MiB; half of that
/// leaves room for framing (`content.md`, "Block size").
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a block we read from others.
pub const BLOCK_BYTES_READ_MAX: usize = 2 << 20;

/// Bytes with their name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// The hash that names the bytes.
    pub cid: Cid,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Block {
    /// Names `bytes` as they are.
    #[must_use]
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self { cid: Cid::of(Codec::Raw, &bytes), bytes }
    }

    /// Encodes `value` as DAG-CBOR and names the result.
    pub fn encode<T: serde::Serialize>(value: &T) -> Result<Self, CborError> {
        let bytes = encode(value)?;
        Ok(Self { cid: Cid::of(Codec::DagCbor, &bytes), bytes })
    }

    /// Whether the bytes are what the name says.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.cid.names(&self.bytes)
    }
}

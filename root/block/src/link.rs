//! How a sealed block points to another: by name, and with the key that opens it.

use crate::Cid;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a sealed block and the key that opens it. Whoever holds a link can read the block
/// and, if it is a node, everything below it.
#[derive(Clone, Copy, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The name of the sealed bytes.
    pub cid: Cid,
    /// The key to them. Secret, so it appears in no log line.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, secret)", self.cid)
    }
}

/// Why a sealed block did not open: whatever the sealing layer says.
pub type OpenError = Box<dyn std::error::Error + Send + Sync>;

/// Seals one block, keeps the sealed bytes and returns the link to them. One function, so that
/// equal contents give equal blocks.
pub type Seal<'a> = dyn FnMut(&[u8]) -> Link + 'a;

/// Opens one sealed block. Must check that the name is the hash of the sealed bytes.
pub type Open<'a> = dyn FnMut(&Link, &[u8]) -> Result<Vec<u8>, OpenError> + 'a;

/// Sealing for the tests of this crate: the seal leaves the bytes as they are, and the key is a
/// function of them, so that a wrong key is noticed.
#[cfg(test)]
pub(crate) mod clear {
    use super::*;
    use crate::{Block, Codec};
    use std::collections::BTreeMap;

    /// Sealed blocks by name.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Shelf {
        pub(crate) blocks: BTreeMap<Cid, Vec<u8>>,
    }

    impl Shelf {
        pub(crate) fn seal(&mut self, plain: &[u8]) -> Link {
            let block = Block::raw(plain.to_vec());
            self.blocks.insert(block.cid, block.bytes);
            Link { cid: block.cid, key: key(plain) }
        }
    }

    fn key(plain: &[u8]) -> [u8; 32] {
        *blake3::hash(plain).as_bytes()
    }

    pub(crate) fn open(link: &Link, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        if Cid::of(Codec::Raw, sealed) != link.cid || key(sealed) != link.key {
            return Err("block does not open".into());
        }
        Ok(sealed.to_vec())
    }

    #[test]
    fn a_link_shows_no_key() {
        let link = Shelf::default().seal(b"x");
        assert_eq!(format!("{link:?}"), format!("Link({}, secret)", link.cid));
    }
}

//! Sorted entries as a tree of sealed blocks whose shape follows from the keys alone.
//!
//! A prolly tree: where a node ends is decided by a keyed hash of the entry's *key*, so equal
//! entries give equal blocks whatever happened before, changing a value moves no boundary, and two
//! snapshots that differ in one entry differ in one node per level. The hash is keyed and never
//! looks at contents, because boundaries that follow contents tell an observer about them
//! (`content.md`, "State tree"). Drawn in `docs/format/prolly.md`.
//!
//! [`build()`] writes a tree; [`Reader`] is a pure machine that reads one, newest entries first.
//! Both leave sealing, keeping and fetching blocks to the caller.

mod build;
mod node;
mod read;

pub use build::{BuildError, Entry, build};
pub use node::{NodeError, NodeLinks, ProllyKind, node_links};
pub use read::{Found, ReadError, Reader};

use crate::{Link, tree};
use serde::{Deserialize, Serialize};

/// One entry in this many ends its node. A changed entry's node is then about 30 entries large (a
/// long node is hit more often than a short one), which the figures in `docs/format/prolly.md` show
/// to be the cheapest size for scattered changes.
pub const NODE_ENTRIES_MEAN: u32 = 16;

/// Most entries of a node: ends the one run in sixty that finds no boundary before.
pub const NODE_ENTRIES_MAX: usize = 64;

/// Most bytes of a key: a document path of the greatest length, with its escapes.
pub const KEY_BYTES_MAX: usize = 8 * 1024;

/// Longest value that stands in its node; a longer one becomes blocks of its own.
pub const INLINE_BYTES_MAX: usize = 1024;

/// Longest value: one document with the whole history of its collaborative values.
pub const VALUE_BYTES_MAX: u64 = 64 << 20;

/// Most levels above the entries. A node above them has at least two children (but for the last of
/// a level), so not even 2^64 entries need more.
pub const DEPTH_MAX: u8 = 64;

const _: () = assert!(
    NODE_ENTRIES_MAX * (KEY_BYTES_MAX + INLINE_BYTES_MAX + 128) < tree::CHUNK_BYTES,
    "the largest node fits one sealed block"
);

/// A whole tree: its top block and what is below.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// The top block.
    pub link: Link,
    /// Entries of the tree.
    pub count: u64,
    /// The greatest `newest` of an entry; 0 without entries.
    pub newest: u64,
    /// Levels above the entries; 0 when the top block is the only one.
    pub depth: u8,
}

#[cfg(test)]
mod tests;

//! Byte strings larger than one block, as a tree of sealed blocks.
//!
//! The bytes are cut into chunks of [`CHUNK_BYTES`]; every [`FANOUT`] links make a node, level by
//! level, until one link is left. The shape follows from the length alone, so a reader knows how
//! many children each node must have and how long each chunk must be, and a hostile tree can
//! neither grow nor loop. Each chunk and node is sealed on its own by a function of the caller
//! (`root/seal` has it), which also keeps the sealed bytes. Drawn in `docs/format/tree.md`.

use crate::{CborError, Cid, Link, Open, OpenError, Seal, Version, decode, encode};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Bytes of a chunk. Sealed blocks are padded in steps of 16 KiB at this size; a full chunk and
/// its frame fill 63 of them, so that the block stays below 1 MiB with its tag.
pub const CHUNK_BYTES: usize = 63 * 16 * 1024 - 64;

/// Links of a full node: about 90 KiB, so that a node costs little beside the chunks it names.
pub const FANOUT: usize = 1024;

/// Most levels of nodes above the chunks: 2^50 bytes, more than a device holds.
pub const DEPTH_MAX: u8 = 3;

/// Blocks that a [`Walk`] asks for and holds at once: 16 MiB, enough to keep a line busy.
pub const WINDOW: usize = 16;

/// Version of the node format.
const VERSION: u8 = 1;

kind! {
    /// Kind of a node.
    pub TreeKind = "tree"
}

/// A whole byte string: its top block and its length.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct TreeRef {
    /// The top block.
    pub link: Link,
    /// Bytes of the string.
    pub bytes: u64,
    /// Levels of nodes above the chunks; 0 when the top block is the only chunk.
    pub depth: u8,
}

/// A node: the links of its children, in order.
#[derive(Serialize, Deserialize)]
struct Node {
    k: TreeKind,
    v: Version<VERSION>,
    links: Vec<Link>,
}

/// Bytes below a full subtree of this depth.
const fn span(depth: u8) -> u64 {
    CHUNK_BYTES as u64 * (FANOUT as u64).pow(depth as u32)
}

/// The depth that a string of this length has, or `None` when it is too long.
fn depth_of(bytes: u64) -> Option<u8> {
    (0..=DEPTH_MAX).find(|depth| bytes <= span(*depth))
}

/// Cuts `bytes` into a tree. `seal` seals each block, keeps it and returns its link; children come
/// before their parents, the top block last.
pub fn build(bytes: &[u8], seal: &mut Seal<'_>) -> TreeRef {
    let mut builder = Builder::default();
    builder.push(bytes, seal);
    builder.finish(seal)
}

/// Builds a tree from bytes that arrive in pieces, holding one chunk and one node per level.
#[derive(Debug, Default)]
pub struct Builder {
    chunk: Vec<u8>,
    bytes: u64,
    levels: Vec<Vec<Link>>,
}

impl Builder {
    /// Takes the next piece.
    ///
    /// # Panics
    ///
    /// If more bytes come than a tree of [`DEPTH_MAX`] levels holds.
    pub fn push(&mut self, mut piece: &[u8], seal: &mut Seal<'_>) {
        self.bytes += piece.len() as u64;
        assert!(self.bytes <= span(DEPTH_MAX), "nobody has 2^50 bytes");
        if !self.chunk.is_empty() {
            let (head, tail) = piece.split_at(piece.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(head);
            piece = tail;
            if self.chunk.len() == CHUNK_BYTES {
                let link = seal(&self.chunk);
                self.chunk.clear();
                self.add(0, link, seal);
            }
        }
        let chunks = piece.chunks_exact(CHUNK_BYTES);
        self.chunk.extend_from_slice(chunks.remainder());
        for chunk in chunks {
            let link = seal(chunk);
            self.add(0, link, seal);
        }
    }

    /// Seals what is left and returns the tree.
    #[must_use]
    pub fn finish(mut self, seal: &mut Seal<'_>) -> TreeRef {
        if !self.chunk.is_empty() || self.bytes == 0 {
            let link = seal(&self.chunk);
            self.add(0, link, seal);
        }
        let mut level = 0;
        while level + 1 < self.levels.len() || self.levels[level].len() > 1 {
            if !self.levels[level].is_empty() {
                self.close(level, seal);
            }
            level += 1;
        }
        let link = self.levels[level][0];
        let depth = u8::try_from(level).expect("levels are bounded by the length");
        debug_assert_eq!(Some(depth), depth_of(self.bytes), "the length decides the shape");
        TreeRef { link, bytes: self.bytes, depth }
    }

    fn add(&mut self, level: usize, link: Link, seal: &mut Seal<'_>) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(link);
        if self.levels[level].len() == FANOUT {
            self.close(level, seal);
        }
    }

    /// Seals the node of a level and hands its link to the level above.
    fn close(&mut self, level: usize, seal: &mut Seal<'_>) {
        let links = std::mem::take(&mut self.levels[level]);
        let node = Node { k: TreeKind, v: Version, links };
        let plain = encode(&node).expect("links and integers have a DAG-CBOR form");
        let link = seal(&plain);
        self.add(level + 1, link, seal);
    }
}

/// Why a tree could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The string is longer than the caller takes.
    #[error("tree of {bytes} bytes exceeds the {bytes_max} bytes wanted")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The caller's limit.
        bytes_max: u64,
    },
    /// The depth is not the one that the length gives.
    #[error("tree of {bytes} bytes cannot have depth {depth}")]
    Depth {
        /// Its length.
        bytes: u64,
        /// The depth it claims.
        depth: u8,
    },
    /// The block is not one that [`Walk::wanted`] named.
    #[error("block {cid} is not wanted now")]
    Unwanted {
        /// Its name.
        cid: Cid,
    },
    /// The block does not open.
    #[error("block {cid} of a tree does not open")]
    Seal {
        /// Its name.
        cid: Cid,
        /// What the sealing layer said.
        source: OpenError,
    },
    /// The opened block is not a node.
    #[error("block {cid} is not a node of a tree")]
    Node {
        /// Its name.
        cid: Cid,
        /// What the decoder said.
        source: CborError,
    },
    /// The node is of a newer version.
    #[error("block {cid} is a tree node of version {version}, which this program does not know")]
    Version {
        /// Its name.
        cid: Cid,
        /// Its version.
        version: u64,
    },
    /// The opened block is longer or shorter, or has more or fewer children, than its place says.
    #[error("block {cid} holds {found} where its place in the tree asks for {expected}")]
    Shape {
        /// Its name.
        cid: Cid,
        /// Bytes or children it has.
        found: u64,
        /// Bytes or children it must have.
        expected: u64,
    },
}

/// Reads a tree, front to back: names the blocks it wants, is fed them in any order, and gives out
/// the chunks in order.
///
/// It looks at most [`WINDOW`] blocks ahead, so it holds that many chunks, and for each level the
/// links of that many nodes. When a node unfolds, nodes behind it may leave the window; one that
/// arrives then is [`TreeError::Unwanted`] and will be wanted again (in strings beyond 1 GiB only).
/// A refused block changes nothing; it may be supplied again from another holder.
#[derive(Debug)]
pub struct Walk {
    queue: VecDeque<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Wanted { link: Link, bytes: u64, depth: u8 },
    Chunk(Vec<u8>),
}

impl Walk {
    /// Begins to read `tree`, which may be `bytes_max` long.
    pub fn new(tree: TreeRef, bytes_max: u64) -> Result<Self, TreeError> {
        let TreeRef { link, bytes, depth } = tree;
        if bytes > bytes_max {
            return Err(TreeError::TooLarge { bytes, bytes_max });
        }
        if depth_of(bytes) != Some(depth) {
            return Err(TreeError::Depth { bytes, depth });
        }
        Ok(Self { queue: VecDeque::from([Step::Wanted { link, bytes, depth }]) })
    }

    /// The next blocks it needs, at most `max`, most urgent first. Equal blocks appear once.
    #[must_use]
    pub fn wanted(&self, max: usize) -> Vec<Cid> {
        let mut cids = Vec::new();
        for step in self.queue.iter().take(WINDOW) {
            match step {
                Step::Wanted { link, .. } if cids.len() < max && !cids.contains(&link.cid) => {
                    cids.push(link.cid);
                }
                Step::Wanted { .. } | Step::Chunk(_) => {}
            }
        }
        cids
    }

    /// Takes the sealed block of one of the wanted names. `open` must check that the name is the
    /// hash of the bytes and that the key opens them.
    pub fn supply(
        &mut self,
        cid: &Cid,
        sealed: &[u8],
        open: &mut Open<'_>,
    ) -> Result<(), TreeError> {
        let places: Vec<(usize, Vec<Step>)> = self
            .queue
            .iter()
            .take(WINDOW)
            .enumerate()
            .filter_map(|(at, step)| match step {
                Step::Wanted { link, bytes, depth } if link.cid == *cid => {
                    Some(unfold(link, *bytes, *depth, sealed, open).map(|steps| (at, steps)))
                }
                Step::Wanted { .. } | Step::Chunk(_) => None,
            })
            .collect::<Result<_, _>>()?;
        if places.is_empty() {
            return Err(TreeError::Unwanted { cid: *cid });
        }
        // From the back, so that the places in front stay where they are.
        for (at, steps) in places.into_iter().rev() {
            self.replace(at, steps);
        }
        Ok(())
    }

    /// The next chunk, once it is there.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        match self.queue.pop_front()? {
            Step::Chunk(chunk) => Some(chunk),
            wanted @ Step::Wanted { .. } => {
                self.queue.push_front(wanted);
                None
            }
        }
    }

    /// Whether every chunk has been given out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    fn replace(&mut self, at: usize, steps: Vec<Step>) {
        let behind = self.queue.split_off(at + 1);
        self.queue.pop_back();
        self.queue.extend(steps);
        self.queue.extend(behind);
    }
}

/// Opens one block and checks that it is what its place asks for.
fn unfold(
    link: &Link,
    bytes: u64,
    depth: u8,
    sealed: &[u8],
    open: &mut Open<'_>,
) -> Result<Vec<Step>, TreeError> {
    let cid = link.cid;
    let plain = open(link, sealed).map_err(|source| TreeError::Seal { cid, source })?;
    let shape = |found: usize, expected: u64| {
        let found = found as u64;
        if found == expected { Ok(()) } else { Err(TreeError::Shape { cid, found, expected }) }
    };
    let Some(below) = depth.checked_sub(1) else {
        shape(plain.len(), bytes)?;
        return Ok(vec![Step::Chunk(plain)]);
    };
    let links = node_links(cid, &plain)?;
    shape(links.len(), bytes.div_ceil(span(below)))?;
    let mut left = bytes;
    let child = |link| {
        let bytes = left.min(span(below));
        left -= bytes;
        Step::Wanted { link, bytes, depth: below }
    };
    Ok(links.into_iter().map(child).collect())
}

/// The links of an opened node, as whoever collects or audits blocks needs them.
pub fn node_links(cid: Cid, plain: &[u8]) -> Result<Vec<Link>, TreeError> {
    let node: Node = decode(plain).map_err(|source| match source {
        CborError::Version { version } => TreeError::Version { cid, version },
        source => TreeError::Node { cid, source },
    })?;
    Ok(node.links)
}

#[cfg(test)]
mod tests;

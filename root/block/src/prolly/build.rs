//! Writes a prolly tree in one pass over sorted entries, holding one node per level.

use super::node::{Child, Leaf, Node, Rows, Value};
use super::{KEY_BYTES_MAX, NODE_ENTRIES_MAX, NODE_ENTRIES_MEAN, Root, VALUE_BYTES_MAX};
use crate::{Seal, tree};

/// One entry: key, value, and the number by which newer entries are read first.
pub type Entry = (Vec<u8>, Vec<u8>, u64);

/// Why entries do not make a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A key does not stand behind the one before it.
    #[error("key {at} is not greater than the key before it")]
    Unsorted {
        /// Which entry, counted from 0.
        at: u64,
    },
    /// A key is longer than [`KEY_BYTES_MAX`].
    #[error("key {at} has {bytes} bytes, more than {KEY_BYTES_MAX}")]
    Key {
        /// Which entry.
        at: u64,
        /// Bytes of its key.
        bytes: usize,
    },
    /// A value is longer than [`VALUE_BYTES_MAX`].
    #[error("value {at} has {bytes} bytes, more than {VALUE_BYTES_MAX}")]
    Value {
        /// Which entry.
        at: u64,
        /// Bytes of its value.
        bytes: usize,
    },
}

/// Builds the tree of `entries`, which come in ascending order of their keys.
///
/// `boundary_key` decides where nodes end; one identity uses one forever. `seal` seals each block,
/// keeps it and returns its link; children come before their parents, the top block last. The same
/// entries under the same key, sealed by a function, give the same blocks.
pub fn build(
    entries: impl Iterator<Item = Entry>,
    boundary_key: &[u8; 32],
    seal: &mut Seal<'_>,
) -> Result<Root, BuildError> {
    let mut builder = Builder { boundary_key, seal, count: 0, leaves: Vec::new(), levels: vec![] };
    let mut last: Option<Vec<u8>> = None;
    for (key, value, newest) in entries {
        let at = builder.count;
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(BuildError::Unsorted { at });
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(BuildError::Key { at, bytes: key.len() });
        }
        if value.len() as u64 > VALUE_BYTES_MAX {
            return Err(BuildError::Value { at, bytes: value.len() });
        }
        last = Some(key.clone());
        builder.add_entry(key, value, newest);
    }
    Ok(builder.finish())
}

struct Builder<'a> {
    boundary_key: &'a [u8; 32],
    seal: &'a mut Seal<'a>,
    count: u64,
    leaves: Vec<Leaf>,
    /// The unfinished nodes above the entries, lowest first.
    levels: Vec<Vec<Child>>,
}

impl Builder<'_> {
    fn add_entry(&mut self, key: Vec<u8>, value: Vec<u8>, newest: u64) {
        let ends = self.ends_node(0, &key);
        let value = if value.len() <= super::INLINE_BYTES_MAX {
            Value::Inline(value)
        } else {
            Value::Linked(tree::build(&value, self.seal))
        };
        self.count += 1;
        self.leaves.push(Leaf { key, newest, value });
        if ends || self.leaves.len() == NODE_ENTRIES_MAX {
            self.close_leaves();
        }
    }

    /// Adds a child to the node that grows at `level`, which is 1 for parents of entries.
    fn add_child(&mut self, level: usize, child: Child) {
        if self.levels.len() < level {
            self.levels.push(Vec::new());
        }
        let ends = self.ends_node(level, &child.key);
        let children = &mut self.levels[level - 1];
        children.push(child);
        // Two children at least, so that each level is shorter than the one below.
        if (ends && children.len() >= 2) || children.len() == NODE_ENTRIES_MAX {
            self.close_children(level);
        }
    }

    fn close_leaves(&mut self) {
        let leaves = std::mem::take(&mut self.leaves);
        let key = leaves[0].key.clone();
        let child = self.seal_node(key, Rows::Leaves(leaves));
        self.add_child(1, child);
    }

    fn close_children(&mut self, level: usize) {
        let children = std::mem::take(&mut self.levels[level - 1]);
        let key = children[0].key.clone();
        let child = self.seal_node(key, Rows::Children(children));
        self.add_child(level + 1, child);
    }

    fn seal_node(&mut self, key: Vec<u8>, rows: Rows) -> Child {
        let sum = rows.sum().expect("counts add up to the number of entries");
        let link = (self.seal)(&Node::new(rows).encode());
        Child { key, link, count: sum.count, newest: sum.newest }
    }

    fn finish(mut self) -> Root {
        if self.count == 0 {
            let top = self.seal_node(Vec::new(), Rows::Leaves(Vec::new()));
            return Root { link: top.link, count: 0, newest: 0, depth: 0 };
        }
        if !self.leaves.is_empty() {
            self.close_leaves();
        }
        let mut level = 1;
        while level < self.levels.len() || self.levels[level - 1].len() > 1 {
            if !self.levels[level - 1].is_empty() {
                self.close_children(level);
            }
            level += 1;
        }
        let top = &self.levels[level - 1][0];
        let depth = u8::try_from(level - 1).expect("levels shrink by half at least");
        Root { link: top.link, count: top.count, newest: top.newest, depth }
    }

    /// Whether the keyed hash of `key` ends a node at `level`.
    fn ends_node(&self, level: usize, key: &[u8]) -> bool {
        let mut hasher = blake3::Hasher::new_keyed(self.boundary_key);
        hasher.update(b"rhizome prolly boundary v1");
        hasher.update(&[u8::try_from(level).expect("levels shrink by half at least")]);
        hasher.update(key);
        let hash = hasher.finalize();
        let head = hash.as_bytes().first_chunk::<4>().expect("a hash has 32 bytes");
        u32::from_le_bytes(*head) < u32::MAX / NODE_ENTRIES_MEAN
    }
}

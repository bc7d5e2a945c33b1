//! The blocks of a prolly tree, and the checks that each one must pass.

use super::{INLINE_BYTES_MAX, KEY_BYTES_MAX, NODE_ENTRIES_MAX, VALUE_BYTES_MAX};
use crate::tree::{TreeRef, Walk};
use crate::{CborError, Link, Version, decode, encode};
use serde::{Deserialize, Serialize};

/// Version of the node format.
const VERSION: u8 = 1;

kind! {
    /// Kind of a node.
    pub ProllyKind = "prolly"
}

/// Why an opened block is not a node of a prolly tree, or not the one its parent names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The bytes are not the DAG-CBOR of a node.
    #[error("block is no node")]
    Form {
        /// What the decoder said.
        source: CborError,
    },
    /// The version is newer than this program.
    #[error("node has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// The node breaks a rule of the format.
    #[error("node breaks a rule: {rule}")]
    Rule {
        /// The rule.
        rule: &'static str,
    },
}

/// A value, in the node or in blocks of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Value {
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    Linked(TreeRef),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Leaf {
    #[serde(with = "serde_bytes")]
    pub(super) key: Vec<u8>,
    pub(super) newest: u64,
    pub(super) value: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Child {
    #[serde(with = "serde_bytes")]
    pub(super) key: Vec<u8>,
    pub(super) link: Link,
    pub(super) count: u64,
    pub(super) newest: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rows {
    Leaves(Vec<Leaf>),
    Children(Vec<Child>),
}

/// A node: entries, or links to the nodes one level below.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Node {
    k: ProllyKind,
    v: Version<VERSION>,
    pub(super) rows: Rows,
}

/// What a node adds up to, as its parent states it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) newest: u64,
}

/// Where a node stands: what its parent says must be in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Levels above the entries.
    pub(super) level: u8,
    /// The first key; `None` at the top.
    pub(super) first: Option<Vec<u8>>,
    /// The key before which the last one stands.
    pub(super) before: Option<Vec<u8>>,
    pub(super) sum: Sum,
}

impl Node {
    pub(super) fn new(rows: Rows) -> Self {
        Self { k: ProllyKind, v: Version, rows }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self).expect("links, bytes and integers have a DAG-CBOR form")
    }

    fn read(plain: &[u8]) -> Result<Self, NodeError> {
        decode(plain).map_err(|source| match source {
            CborError::Version { version } => NodeError::Version { version },
            source => NodeError::Form { source },
        })
    }

    /// Reads the node that belongs at `place`.
    pub(super) fn read_at(plain: &[u8], place: &Place) -> Result<Self, NodeError> {
        let node = Self::read(plain)?;
        let must = |holds: bool, rule| if holds { Ok(()) } else { Err(NodeError::Rule { rule }) };
        must(matches!(node.rows, Rows::Leaves(_)) == (place.level == 0), "level is the parent's")?;
        let keys = node.rows.keys();
        must(keys.len() <= NODE_ENTRIES_MAX, "entries are bounded")?;
        let alone = place.first.is_none() && place.level == 0;
        must(!keys.is_empty() || alone, "only the one node of an empty tree is empty")?;
        must(keys.iter().all(|key| key.len() <= KEY_BYTES_MAX), "keys are bounded")?;
        must(keys.is_sorted_by(|left, right| left < right), "keys ascend")?;
        if let Some(first) = &place.first {
            must(keys.first().is_some_and(|key| key == first), "first key is the parent's")?;
        }
        if let Some(before) = &place.before {
            must(keys.last().is_none_or(|key| *key < &before[..]), "keys stand in their range")?;
        }
        must(node.rows.sum().as_ref() == Some(&place.sum), "count and newest are the parent's")?;
        node.rows.check(&must)?;
        Ok(node)
    }
}

impl Rows {
    fn keys(&self) -> Vec<&[u8]> {
        match self {
            Self::Leaves(leaves) => leaves.iter().map(|leaf| &leaf.key[..]).collect(),
            Self::Children(children) => children.iter().map(|child| &child.key[..]).collect(),
        }
    }

    /// Adds up, or `None` beyond all bounds.
    pub(super) fn sum(&self) -> Option<Sum> {
        let (count, newest) = match self {
            Self::Leaves(leaves) => {
                (Some(leaves.len() as u64), leaves.iter().map(|leaf| leaf.newest).max())
            }
            Self::Children(children) => (
                children.iter().try_fold(0_u64, |sum, child| sum.checked_add(child.count)),
                children.iter().map(|child| child.newest).max(),
            ),
        };
        Some(Sum { count: count?, newest: newest.unwrap_or(0) })
    }

    fn check(
        &self,
        must: &dyn Fn(bool, &'static str) -> Result<(), NodeError>,
    ) -> Result<(), NodeError> {
        match self {
            Self::Leaves(leaves) => leaves.iter().try_for_each(|leaf| match &leaf.value {
                Value::Inline(bytes) => {
                    must(bytes.len() <= INLINE_BYTES_MAX, "inline values are short")
                }
                Value::Linked(tree) => must(
                    tree.bytes > INLINE_BYTES_MAX as u64
                        && Walk::new(*tree, VALUE_BYTES_MAX).is_ok(),
                    "linked values are trees of some length, within bounds",
                ),
            }),
            Self::Children(children) => children
                .iter()
                .try_for_each(|child| must(child.count > 0, "children are not empty")),
        }
    }
}

/// The links in an opened node: nodes below it, or the top blocks of long values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeLinks {
    /// Nodes one level below.
    pub children: Vec<Link>,
    /// Values that have blocks of their own.
    pub values: Vec<TreeRef>,
}

/// The links in an opened node, as whoever collects, compares or audits blocks needs them.
pub fn node_links(plain: &[u8]) -> Result<NodeLinks, NodeError> {
    let mut links = NodeLinks::default();
    match Node::read(plain)?.rows {
        Rows::Children(children) => {
            links.children = children.into_iter().map(|child| child.link).collect();
        }
        Rows::Leaves(leaves) => {
            let trees = leaves.into_iter().filter_map(|leaf| match leaf.value {
                Value::Linked(tree) => Some(tree),
                Value::Inline(_) => None,
            });
            links.values = trees.collect();
        }
    }
    Ok(links)
}

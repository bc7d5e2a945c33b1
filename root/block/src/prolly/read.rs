//! Reads a prolly tree as a pure machine: it says which blocks it wants, newest first, is fed them
//! in any order, and gives out entries as they become whole.

use super::node::{Node, NodeError, Place, Rows, Sum, Value};
use super::{DEPTH_MAX, Root, VALUE_BYTES_MAX};
use crate::tree::{TreeError, Walk};
use crate::{Cid, Link, Open, OpenError};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An entry that has been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its number.
    pub newest: u64,
}

/// Why a tree, or one of its blocks, is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The tree has more entries than the caller takes.
    #[error("tree of {count} entries exceeds the {count_max} wanted")]
    TooLarge {
        /// Its entries.
        count: u64,
        /// The caller's limit.
        count_max: u64,
    },
    /// The tree claims more levels than one can have.
    #[error("tree claims {depth} levels, more than {DEPTH_MAX}")]
    Depth {
        /// The levels.
        depth: u8,
    },
    /// The block is not one that [`Reader::wanted`] named.
    #[error("block {cid} is not wanted")]
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
    /// The opened block is not the node its parent names.
    #[error("block {cid} is not the node its parent names")]
    Node {
        /// Its name.
        cid: Cid,
        /// What is wrong.
        source: NodeError,
    },
    /// A block of a long value is not what it must be.
    #[error("block {cid} of a long value is refused")]
    Value {
        /// Its name.
        cid: Cid,
        /// What is wrong.
        source: TreeError,
    },
}

/// Order of the work: newest first, then in the order it was found.
type Rank = (Reverse<u64>, u64);

#[derive(Debug)]
enum Work {
    Node { link: Link, place: Place },
    Value { key: Vec<u8>, newest: u64, walk: Walk, bytes: Vec<u8> },
}

/// Reads one tree. A refused block changes nothing; it may be supplied again from another holder.
///
/// What it holds is the frontier: links of nodes not yet read, at most one per node of the tree
/// (each level is checked against the counts above it), and long values that have begun to arrive.
/// A caller who takes [`Reader::wanted`] with a small `max` holds few of the latter.
#[derive(Debug)]
pub struct Reader {
    work: BTreeMap<Rank, Work>,
    /// Which work waits for a block. Equal blocks are fetched once.
    waiting: HashMap<Cid, BTreeSet<Rank>>,
    found: u64,
}

impl Reader {
    /// Begins to read `root`, which may have `count_max` entries.
    pub fn new(root: Root, count_max: u64) -> Result<Self, ReadError> {
        let Root { link, count, newest, depth } = root;
        if count > count_max {
            return Err(ReadError::TooLarge { count, count_max });
        }
        if depth > DEPTH_MAX {
            return Err(ReadError::Depth { depth });
        }
        let mut reader = Self { work: BTreeMap::new(), waiting: HashMap::new(), found: 0 };
        let sum = Sum { count, newest };
        let place = Place { level: depth, first: None, before: None, sum };
        reader.add(newest, Work::Node { link, place });
        Ok(reader)
    }

    /// The blocks to fetch next, at most `max`, newest first. A block stays wanted until it was
    /// supplied, so that the caller decides what is on its way.
    #[must_use]
    pub fn wanted(&self, max: usize) -> Vec<Cid> {
        let mut seen = BTreeSet::new();
        let mut cids = Vec::new();
        for work in self.work.values() {
            if cids.len() >= max {
                break;
            }
            let more = work.wanted();
            let new = more.into_iter().filter(|cid| seen.insert(*cid));
            cids.extend(new.take(max - cids.len()));
        }
        cids
    }

    /// Whether every entry has been given out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.work.is_empty()
    }

    /// Takes the sealed block of one of the wanted names and returns the entries that are whole
    /// now. `open` must check that the name is the hash of the bytes and that the key opens them.
    pub fn supply(
        &mut self,
        cid: &Cid,
        sealed: &[u8],
        open: &mut Open<'_>,
    ) -> Result<Vec<Found>, ReadError> {
        let ranks = self.waiting.get(cid).cloned().ok_or(ReadError::Unwanted { cid: *cid })?;
        let mut found = Vec::new();
        let mut refused = None;
        let mut taken = false;
        for rank in ranks {
            match self.supply_one(rank, cid, sealed, open, &mut found) {
                Ok(()) => taken = true,
                Err(error) => refused = Some(error),
            }
        }
        self.found += found.len() as u64;
        // A block that fits one of its two places is not refused; the other place goes on waiting.
        match refused {
            Some(error) if !taken => Err(error),
            Some(_) | None => Ok(found),
        }
    }

    fn supply_one(
        &mut self,
        rank: Rank,
        cid: &Cid,
        sealed: &[u8],
        open: &mut Open<'_>,
        found: &mut Vec<Found>,
    ) -> Result<(), ReadError> {
        let cid = *cid;
        let work = self.work.get_mut(&rank).expect("nothing waits for work that is done");
        let before = work.wanted();
        match work {
            Work::Node { link, place } => {
                let plain = open(link, sealed).map_err(|source| ReadError::Seal { cid, source })?;
                let node = Node::read_at(&plain, place)
                    .map_err(|source| ReadError::Node { cid, source })?;
                let place = place.clone();
                self.work.remove(&rank);
                self.stop_waiting(rank, &before);
                self.unfold(&place, node.rows, found);
            }
            Work::Value { walk, bytes, .. } => {
                walk.supply(&cid, sealed, open)
                    .map_err(|source| ReadError::Value { cid, source })?;
                while let Some(chunk) = walk.next_chunk() {
                    bytes.extend_from_slice(&chunk);
                }
                self.stop_waiting(rank, &before);
                self.refresh(rank, found);
            }
        }
        Ok(())
    }

    /// Entries given out so far.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Turns the rows of a node into found entries and further work.
    fn unfold(&mut self, place: &Place, rows: Rows, found: &mut Vec<Found>) {
        match rows {
            Rows::Leaves(leaves) => {
                for leaf in leaves {
                    let (key, newest) = (leaf.key, leaf.newest);
                    match leaf.value {
                        Value::Inline(value) => found.push(Found { key, value, newest }),
                        Value::Linked(tree) => {
                            let walk = Walk::new(tree, VALUE_BYTES_MAX)
                                .expect("a node that was read holds only trees that can be");
                            self.add(newest, Work::Value { key, newest, walk, bytes: vec![] });
                        }
                    }
                }
            }
            Rows::Children(children) => {
                let next_keys = children.iter().skip(1).map(|child| Some(child.key.clone()));
                let befores: Vec<Option<Vec<u8>>> =
                    next_keys.chain([place.before.clone()]).collect();
                for (child, before) in children.into_iter().zip(befores) {
                    let sum = Sum { count: child.count, newest: child.newest };
                    let first = Some(child.key);
                    let place = Place { level: place.level - 1, first, before, sum };
                    self.add(child.newest, Work::Node { link: child.link, place });
                }
            }
        }
    }

    fn add(&mut self, newest: u64, work: Work) {
        let after = self.work.range((Reverse(newest), 0)..=(Reverse(newest), u64::MAX)).next_back();
        let rank = (Reverse(newest), after.map_or(0, |((_, number), _)| number + 1));
        self.wait(rank, &work);
        self.work.insert(rank, work);
    }

    fn wait(&mut self, rank: Rank, work: &Work) {
        for cid in work.wanted() {
            self.waiting.entry(cid).or_default().insert(rank);
        }
    }

    fn stop_waiting(&mut self, rank: Rank, cids: &[Cid]) {
        for cid in cids {
            if let Some(ranks) = self.waiting.get_mut(cid) {
                ranks.remove(&rank);
                if ranks.is_empty() {
                    self.waiting.remove(cid);
                }
            }
        }
    }

    /// Files a value that took a block anew, or gives it out when it is whole.
    fn refresh(&mut self, rank: Rank, found: &mut Vec<Found>) {
        match self.work.remove(&rank) {
            Some(Work::Value { key, newest, walk, bytes }) if walk.is_done() => {
                found.push(Found { key, value: bytes, newest });
            }
            Some(work) => {
                self.wait(rank, &work);
                self.work.insert(rank, work);
            }
            None => unreachable!("the value just took a block"),
        }
    }
}

impl Work {
    fn wanted(&self) -> Vec<Cid> {
        match self {
            Self::Node { link, .. } => vec![link.cid],
            Self::Value { walk, .. } => walk.wanted(usize::MAX),
        }
    }
}

//! The control log: every control record of an identity that is known, and which of them count.
//!
//! Records form a tree by their parents. Up to the committed head there is one chain; beyond it,
//! branches are tentative, and the same branch wins everywhere: at each fork the one that the kit
//! signed for, then the one that leads to the strongest reform, then the record with the heavier
//! signatures, then the one that removes more devices, then the one with the lowest hash.
//! Placing a record in the order, storing it and sending it are left to the replica, which calls
//! [`ControlLog::insert`] with every record it hears and [`ControlLog::commit`] with every record
//! the order places.

use super::body::ControlBody;
use super::error::{CommitError, ControlError};
use super::record::{ControlRecord, Draft, RECORD_BYTES_MAX};
use super::rules;
use super::state::{ControlState, KIT_WEIGHT};
use crate::{Author, Genesis, Seen};
use rhizome_block::{Cid, Codec};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Most tentative records, on all branches together. Devices write a few control records a month,
/// and each one keeps a state of some kilobytes until something is committed.
pub const TENTATIVE_MAX: usize = 1024;

/// Most records that wait for their parent. Whoever fills this delays nobody who sends parents
/// first, as a synchronisation does.
pub const WAITING_MAX: usize = 256;

/// Most bytes of records that wait for their parent: eight of the largest.
pub const WAITING_BYTES_MAX: usize = 8 * RECORD_BYTES_MAX;

/// How the head moved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeadChange {
    /// Records that no longer count, newest first.
    pub left: Vec<Cid>,
    /// Records that count now, oldest first.
    pub entered: Vec<Cid>,
}

/// What became of a record.
#[derive(Debug)]
pub enum Inserted {
    /// It was here before.
    Known,
    /// It waits for its parent, which is missing.
    Waiting {
        /// The parent to ask for.
        missing: Cid,
    },
    /// It holds.
    Placed {
        /// It, and those that had waited for it.
        placed: Vec<Cid>,
        /// Those that had waited for it and do not hold.
        refused: Vec<(Cid, ControlError)>,
        /// How the head moved; both lists are empty if its branch does not win.
        change: HeadChange,
    },
}

/// What a commit did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Committed {
    /// Records that are final now, oldest first.
    pub committed: Vec<Cid>,
    /// Records that lost for good, in the order of their hashes.
    pub lost: Vec<Cid>,
    /// How the head moved, when another branch had been ahead.
    pub change: HeadChange,
}

/// Generation of a reform, weight of the signatures, devices removed, hash.
type Strength = (u64, u32, usize, Reverse<Cid>);

/// A record that is placed, with what decides a fork.
#[derive(Clone, Debug)]
struct Placed {
    record: ControlRecord,
    weight: u32,
}

/// A record that waits for its parent.
#[derive(Clone, Debug)]
struct Waiting {
    record: ControlRecord,
    bytes: usize,
}

/// All control records of one identity that are known, and which of them count.
#[derive(Clone, Debug)]
pub struct ControlLog {
    genesis: Genesis,
    root: Cid,
    depth: u32,
    records: BTreeMap<Cid, Placed>,
    /// States after the committed head and after every tentative record.
    states: BTreeMap<Cid, ControlState>,
    /// Tentative children.
    children: BTreeMap<Cid, BTreeSet<Cid>>,
    /// Waiting records by name, so that what is full does not depend on who waits for whom.
    waiting: BTreeMap<Cid, Waiting>,
    waiting_bytes: usize,
    /// The records that count, by height, from 1.
    chain: Vec<Cid>,
    /// How many of `chain` are committed.
    committed: usize,
}

impl ControlLog {
    /// The log that holds nothing but a verified genesis.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        Self::nested(genesis, 0)
    }

    /// The log of an identity that is adopted by `depth` others around it.
    pub(super) fn nested(genesis: Genesis, depth: u32) -> Self {
        let state = ControlState::founded(&genesis);
        let root = state.record();
        Self {
            genesis,
            root,
            depth,
            records: BTreeMap::new(),
            states: BTreeMap::from([(root, state)]),
            children: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            chain: Vec::new(),
            committed: 0,
        }
    }

    /// Takes a record in, if it holds.
    pub fn insert(&mut self, record: ControlRecord) -> Result<Inserted, ControlError> {
        if record.identity().0 != self.root {
            return Err(ControlError::Identity);
        }
        let bytes = record.to_bytes();
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(ControlError::Size { bytes: bytes.len() });
        }
        let cid = Cid::of(Codec::DagCbor, &bytes);
        if self.records.contains_key(&cid) || self.waiting.contains_key(&cid) {
            return Ok(Inserted::Known);
        }
        if record.height() <= self.committed as u64 {
            self.drop_waiting_for(cid);
            return Err(ControlError::Superseded { height: record.height() });
        }
        let prev = record.prev();
        if self.states.contains_key(&prev) {
            if let Err(error) = self.place(cid, record) {
                if !matches!(error, ControlError::Full { .. }) {
                    self.drop_waiting_for(cid);
                }
                return Err(error);
            }
            let (mut placed, mut refused) = (vec![cid], Vec::new());
            self.place_waiting(&mut placed, &mut refused);
            let change = self.choose();
            return Ok(Inserted::Placed { placed, refused, change });
        }
        if prev == self.root || self.records.contains_key(&prev) {
            return Err(ControlError::Superseded { height: record.height() });
        }
        if self.waiting.len() >= WAITING_MAX || self.waiting_bytes + bytes.len() > WAITING_BYTES_MAX
        {
            return Err(ControlError::Full { limit: "limit of waiting records" });
        }
        self.waiting_bytes += bytes.len();
        self.waiting.insert(cid, Waiting { record, bytes: bytes.len() });
        Ok(Inserted::Waiting { missing: self.missing(prev) })
    }

    /// Whether a record that follows the head would hold.
    pub fn check(&self, record: &ControlRecord) -> Result<(), ControlError> {
        rules::check(self.state(), record, self.depth).map(drop)
    }

    /// Makes a record and all before it final.
    pub fn commit(&mut self, cid: Cid) -> Result<Committed, CommitError> {
        if cid == self.root || self.chain[..self.committed].contains(&cid) {
            return Ok(Committed::default());
        }
        let mut at = cid;
        let mut committed = Vec::new();
        while let Some(placed) = self.records.get(&at).filter(|_| at != self.committed_head()) {
            committed.push(at);
            at = placed.record.prev();
        }
        if committed.is_empty() {
            return Err(CommitError::NotPlaced { cid });
        }
        assert!(at == self.committed_head(), "what is placed descends from what is committed");
        committed.reverse();
        let kept = self.descendants(cid);
        let lost = self.forget_all_but(&kept, &committed);
        let before = std::mem::take(&mut self.chain);
        self.chain = before[..self.committed].to_vec();
        self.chain.extend(&committed);
        self.committed = self.chain.len();
        self.extend_chain();
        let change = difference(&before, &self.chain);
        self.drop_waiting_below(self.committed as u64);
        Ok(Committed { committed, lost, change })
    }

    /// The genesis.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The newest record that counts, or the genesis.
    #[must_use]
    pub fn head(&self) -> Cid {
        self.chain.last().copied().unwrap_or(self.root)
    }

    /// What holds after the head.
    #[must_use]
    pub fn state(&self) -> &ControlState {
        &self.states[&self.head()]
    }

    /// The newest record that is final, or the genesis.
    #[must_use]
    pub fn committed_head(&self) -> Cid {
        self.committed.checked_sub(1).map_or(self.root, |at| self.chain[at])
    }

    /// What holds after the newest record that is final.
    #[must_use]
    pub fn committed_state(&self) -> &ControlState {
        &self.states[&self.committed_head()]
    }

    /// A record that is placed, whether it counts or not.
    #[must_use]
    pub fn record(&self, cid: &Cid) -> Option<&ControlRecord> {
        self.records.get(cid).map(|placed| &placed.record)
    }

    /// What holds after a record: the committed head or a tentative one.
    #[must_use]
    pub fn state_after(&self, cid: &Cid) -> Option<&ControlState> {
        self.states.get(cid)
    }

    /// The records that count, from a height on: what a peer at the height before is missing.
    #[must_use]
    pub fn chain_from(&self, height: u64) -> Vec<&ControlRecord> {
        let skipped = usize::try_from(height.saturating_sub(1)).unwrap_or(usize::MAX);
        self.chain.iter().skip(skipped).map(|cid| &self.records[cid].record).collect()
    }

    /// Every tentative record, whether it counts or not, parents first: what a peer may be missing
    /// besides the chain.
    #[must_use]
    pub fn tentative(&self) -> Vec<&ControlRecord> {
        let mut open = vec![self.committed_head()];
        let mut found = Vec::new();
        while let Some(parent) = open.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                found.push(&self.records[child].record);
                open.push(*child);
            }
        }
        found.sort_by_key(|record| record.height());
        found
    }

    /// The same records with only those up to a height of the chain committed: what a reform
    /// competes with that goes on from there.
    #[must_use]
    pub fn reopened(&self, height: u64) -> Self {
        let mut log = Self::nested(self.genesis.clone(), self.depth);
        let final_below = usize::try_from(height).unwrap_or(usize::MAX);
        for (n, cid) in self.chain.iter().enumerate() {
            // They held before, and hold again in the same places.
            let inserted = log.insert(self.records[cid].record.clone());
            if inserted.is_ok() && n < final_below {
                let _ = log.commit(*cid);
            }
        }
        for record in self.tentative() {
            let _ = log.insert(record.clone());
        }
        log
    }

    /// The unsigned record that would follow the head.
    #[must_use]
    pub fn draft(
        &self,
        author: Author,
        clock: u64,
        seen: Option<Seen>,
        body: ControlBody,
    ) -> Draft {
        let state = self.state();
        Draft {
            identity: state.identity(),
            height: state.height() + 1,
            prev: state.record(),
            seen,
            author,
            clock,
            body,
        }
    }

    /// Takes the next record of a chain that is known to be one, as adopted chains are.
    pub(super) fn append(&mut self, record: ControlRecord) -> Result<(), ControlError> {
        let (found, parent) = (record.height(), self.state().height());
        match self.insert(record)? {
            Inserted::Placed { placed, .. } if self.commit(placed[0]).is_ok() => Ok(()),
            _ => Err(ControlError::Height { found, parent }),
        }
    }

    pub(super) fn into_state(mut self) -> ControlState {
        let head = self.head();
        self.states.remove(&head).expect("the head has a state")
    }

    /// Checks a record whose parent has a state, and takes it in.
    fn place(&mut self, cid: Cid, record: ControlRecord) -> Result<(), ControlError> {
        if self.states.len() > TENTATIVE_MAX {
            return Err(ControlError::Full { limit: "limit of tentative records" });
        }
        let parent = &self.states[&record.prev()];
        let adopted = rules::check(parent, &record, self.depth)?;
        let weight = parent.weight(&record);
        let mut state = parent.clone();
        state.apply(&record, cid, adopted);
        self.states.insert(cid, state);
        self.children.entry(record.prev()).or_default().insert(cid);
        self.records.insert(cid, Placed { record, weight });
        Ok(())
    }

    /// Places everything that waited for the records in `placed`, one after the other.
    fn place_waiting(&mut self, placed: &mut Vec<Cid>, refused: &mut Vec<(Cid, ControlError)>) {
        let mut next = 0;
        while let Some(&parent) = placed.get(next) {
            next += 1;
            let ready: Vec<Cid> = self
                .waiting
                .iter()
                .filter(|(_, waiting)| waiting.record.prev() == parent)
                .map(|(cid, _)| *cid)
                .collect();
            for cid in ready {
                let waiting = self.waiting.remove(&cid).expect("it was found a line above");
                self.waiting_bytes -= waiting.bytes;
                match self.place(cid, waiting.record) {
                    Ok(()) => placed.push(cid),
                    Err(error) => {
                        self.drop_waiting_for(cid);
                        refused.push((cid, error));
                    }
                }
            }
        }
    }

    /// Follows the winning branch anew and tells how the head moved.
    fn choose(&mut self) -> HeadChange {
        let before = self.chain.clone();
        self.chain.truncate(self.committed);
        self.extend_chain();
        difference(&before, &self.chain)
    }

    fn extend_chain(&mut self) {
        let mut at = self.head();
        while let Some(best) = self.best_child(&at) {
            self.chain.push(best);
            at = best;
        }
    }

    /// The fork rule.
    fn best_child(&self, parent: &Cid) -> Option<Cid> {
        let children = self.children.get(parent)?;
        if children.len() == 1 {
            return children.first().copied();
        }
        children.iter().copied().max_by_key(|cid| {
            let here = self.strength(*cid, 0);
            let reforms = self.reforms_from(*cid);
            // Who holds a stolen device can sign a reform, too, but not with the kit. Any of them
            // may be the kit's: what builds on a branch never makes it weaker.
            let weight = reforms.iter().map(|reform| reform.1).max().unwrap_or(0).max(here.1);
            (weight >= KIT_WEIGHT, reforms.into_iter().max(), here)
        })
    }

    /// What is compared at a fork.
    fn strength(&self, cid: Cid, generation: u64) -> Strength {
        let placed = &self.records[&cid];
        (generation, placed.weight, placed.record.body().revocations(), Reverse(cid))
    }

    /// The reforms that a branch leads to. The strongest is the one of the newest generation, then
    /// as at any fork. Nothing else can go on after a quorum is lost, so a branch with a reform
    /// goes before one without.
    fn reforms_from(&self, cid: Cid) -> Vec<Strength> {
        let generation = |cid: &Cid| match self.records[cid].record.body() {
            ControlBody::Reform(reform) => Some(reform.generation),
            _ => None,
        };
        let all = self.descendants(cid);
        all.iter().filter_map(|one| Some(self.strength(*one, generation(one)?))).collect()
    }

    /// A record and everything that builds on it.
    fn descendants(&self, cid: Cid) -> BTreeSet<Cid> {
        let mut found = BTreeSet::from([cid]);
        let mut open = vec![cid];
        while let Some(parent) = open.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                found.insert(*child);
                open.push(*child);
            }
        }
        found
    }

    /// Drops tentative records outside `kept` and `committed`, and states that no branch can need.
    fn forget_all_but(&mut self, kept: &BTreeSet<Cid>, committed: &[Cid]) -> Vec<Cid> {
        let old_head = self.committed_head();
        let tentative: Vec<Cid> =
            self.states.keys().copied().filter(|cid| *cid != old_head).collect();
        let lost: Vec<Cid> = tentative
            .into_iter()
            .filter(|cid| !kept.contains(cid) && !committed.contains(cid))
            .collect();
        for cid in &lost {
            self.records.remove(cid);
        }
        self.states.retain(|cid, _| kept.contains(cid));
        self.children.retain(|cid, _| kept.contains(cid));
        lost
    }

    fn drop_waiting_below(&mut self, height: u64) {
        self.waiting.retain(|_, waiting| waiting.record.height() > height);
        self.waiting_bytes = self.waiting.values().map(|waiting| waiting.bytes).sum();
    }

    /// Drops what waits, directly or not, for a record that will never be placed.
    fn drop_waiting_for(&mut self, cid: Cid) {
        let mut hopeless = vec![cid];
        while let Some(parent) = hopeless.pop() {
            self.waiting.retain(|child, waiting| {
                let kept = waiting.record.prev() != parent;
                if !kept {
                    hopeless.push(*child);
                }
                kept
            });
        }
        self.waiting_bytes = self.waiting.values().map(|waiting| waiting.bytes).sum();
    }

    /// The first ancestor of what waits that nobody has sent yet.
    fn missing(&self, prev: Cid) -> Cid {
        let mut at = prev;
        // A cycle would need a hash collision; the bound makes the loop's end plain.
        for _ in 0..WAITING_MAX {
            match self.waiting.get(&at) {
                Some(waiting) => at = waiting.record.prev(),
                None => break,
            }
        }
        at
    }
}

/// How one chain became another.
fn difference(before: &[Cid], after: &[Cid]) -> HeadChange {
    let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    HeadChange {
        left: before[same..].iter().rev().copied().collect(),
        entered: after[same..].to_vec(),
    }
}

//! The Raft log in memory, with the order's chain hash after every entry.
//!
//! Only entries with bodies move the order; a blank or membership entry ends where the one before
//! it ended. Decides nothing and writes nothing: the disk follows in `store`.

use crate::{Batch, LogAt, Members, Payload, RaftEntry};
use rhizome_cluster::{Chain, Entry};
use rhizome_log::{Position, Seen};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// A position the log can start from: what openraft calls a snapshot. There is no state in it,
/// because whoever adopts it has pulled the order up to `end` by the sync session.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RaftBase {
    /// The last Raft entry below.
    pub last: LogAt,
    /// The order there.
    pub end: Seen,
    /// The entry that set the membership in force there.
    pub members_at: LogAt,
    /// That membership.
    pub members: Members,
}

/// An entry with the order after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Held {
    pub(crate) entry: RaftEntry,
    pub(crate) end: Seen,
}

/// The log of one generation.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    generation: u64,
    /// Where the order stood when the generation began.
    origin: Seen,
    /// The newest purged entry and the order after it.
    floor: Option<(LogAt, Seen)>,
    held: VecDeque<Held>,
    /// The newest snapshot position.
    base: Option<RaftBase>,
    /// A snapshot position that passed the guard and is being adopted.
    incoming: Option<RaftBase>,
    /// Positions whose entry was cut off after it was durable: we may have signed them, so no other
    /// hash is ever signed there.
    spent: BTreeMap<u64, [u8; 32]>,
}

impl Ledger {
    pub(crate) const fn new(generation: u64, origin: Seen) -> Self {
        Self {
            generation,
            origin,
            floor: None,
            held: VecDeque::new(),
            base: None,
            incoming: None,
            spent: BTreeMap::new(),
        }
    }

    /// Index of the first entry in memory.
    fn first(&self) -> u64 {
        self.floor.map_or(0, |(at, _)| at.index + 1)
    }

    /// Index the next entry gets.
    pub(crate) fn next(&self) -> u64 {
        self.first() + self.held.len() as u64
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Held> {
        let place = index.checked_sub(self.first())?;
        self.held.get(usize::try_from(place).ok()?)
    }

    /// The entries in memory.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Held> {
        self.held.iter()
    }

    /// The newest purged entry.
    pub(crate) fn purged(&self) -> Option<LogAt> {
        self.floor.map(|(at, _)| at)
    }

    /// The last entry, purged or not.
    pub(crate) fn last(&self) -> Option<LogAt> {
        self.held.back().map(|held| held.entry.at).or_else(|| self.purged())
    }

    /// The order after everything held.
    pub(crate) fn end(&self) -> Seen {
        let floor = || self.floor.map_or(self.origin, |(_, end)| end);
        self.held.back().map_or_else(floor, |held| held.end)
    }

    /// The order after the entry at `at`, or at the origin for none, if that very entry is known.
    pub(crate) fn end_at(&self, at: Option<LogAt>) -> Option<Seen> {
        let Some(at) = at else { return Some(self.origin) };
        match self.floor {
            Some((floor, end)) if floor == at => Some(end),
            _ => self.get(at.index).filter(|held| held.entry.at == at).map(|held| held.end),
        }
    }

    /// The order after `entry` would follow `end`.
    pub(crate) fn after(&self, end: Seen, payload: &Payload) -> Seen {
        let mut chain = Chain::from(end);
        for body in payload.bodies() {
            chain.push(self.generation, body.clone());
        }
        chain.end()
    }

    /// Appends the next entry and returns the order after it.
    pub(crate) fn push(&mut self, entry: RaftEntry) -> Seen {
        assert_eq!(entry.at.index, self.next(), "openraft appends without holes");
        let end = self.after(self.end(), &entry.payload);
        self.held.push_back(Held { entry, end });
        end
    }

    /// Restores an entry and the order after it from disk, in the order they were written there.
    pub(crate) fn restore(&mut self, entry: RaftEntry, end: Seen) -> bool {
        let next = entry.at.index == self.next();
        if next {
            self.held.push_back(Held { entry, end });
        }
        next
    }

    /// Restores where memory begins.
    pub(crate) fn restore_floor(&mut self, upto: LogAt, end: Seen) {
        self.held.clear();
        self.floor = Some((upto, end));
    }

    /// Restores that a position was durable here and is not any more.
    pub(crate) fn restore_spent(&mut self, seen: Seen) {
        self.spent.entry(seen.i).or_insert(seen.c);
    }

    /// Whether every entry's order follows from the one before it.
    pub(crate) fn is_sound(&self) -> bool {
        let mut end = self.floor.map_or(self.origin, |(_, end)| end);
        self.held.iter().all(|held| {
            end = self.after(end, &held.entry.payload);
            end == held.end
        })
    }

    /// Cuts off everything from `since` on. What was cut stays unsignable under another hash.
    pub(crate) fn truncate(&mut self, since: u64) {
        while self.next() > since.max(self.first()) {
            let Some(cut) = self.held.pop_back() else { return };
            if !cut.entry.payload.bodies().is_empty() {
                self.spent.entry(cut.end.i).or_insert(cut.end.c);
            }
        }
    }

    /// Drops everything up to `upto` from memory. Without those entries, adopts the incoming base.
    pub(crate) fn purge(&mut self, upto: LogAt) -> Option<Seen> {
        let incoming = || self.incoming.as_ref().filter(|base| base.last == upto);
        let end = self.end_at(Some(upto)).or_else(|| incoming().map(|base| base.end))?;
        let known = self.get(upto.index).is_some_and(|held| held.entry.at == upto);
        if known {
            while self.first_held().is_some_and(|at| at.index <= upto.index) {
                self.held.pop_front();
            }
        } else if self.purged() != Some(upto) {
            self.held.clear();
        }
        self.floor = Some((upto, end));
        Some(end)
    }

    fn first_held(&self) -> Option<LogAt> {
        self.held.front().map(|held| held.entry.at)
    }

    /// Remembers a base that is about to be adopted.
    pub(crate) fn expect_base(&mut self, base: RaftBase) {
        self.incoming = Some(base);
    }

    /// Adopts a snapshot position: built here, or installed.
    pub(crate) fn set_base(&mut self, base: RaftBase) {
        if self.base.as_ref().is_none_or(|known| known.last < base.last) {
            self.base = Some(base);
        }
    }

    pub(crate) const fn base(&self) -> Option<&RaftBase> {
        self.base.as_ref()
    }

    /// The position at `index`, described so that the log can start from it.
    pub(crate) fn base_at(&self, index: u64) -> Option<RaftBase> {
        let held = self.get(index)?;
        let (members_at, members) = self.members_before(index)?;
        Some(RaftBase { last: held.entry.at, end: held.end, members_at, members: members.clone() })
    }

    /// The membership in force after `index`.
    pub(crate) fn members_before(&self, index: u64) -> Option<(LogAt, &Members)> {
        let members = |held: &'_ Held| match &held.entry.payload {
            Payload::Members(_) if held.entry.at.index <= index => Some(held.entry.at),
            _ => None,
        };
        if let Some(at) = self.held.iter().rev().find_map(members) {
            let held = self.get(at.index)?;
            let Payload::Members(members) = &held.entry.payload else { return None };
            return Some((at, members));
        }
        self.base.as_ref().map(|base| (base.members_at, &base.members))
    }

    /// The membership in force.
    pub(crate) fn members(&self) -> Option<&Members> {
        self.members_before(u64::MAX).map(|(_, members)| members)
    }

    /// The first entry after which the order stands at `i`, and the order there.
    pub(crate) fn at_order(&self, i: u64) -> Option<(LogAt, Seen)> {
        let place = self.held.partition_point(|held| held.end.i < i);
        let held = self.held.get(place).filter(|held| held.end.i == i);
        if place == 0
            && let Some((at, end)) = self.floor.filter(|(_, end)| end.i == i)
        {
            return Some((at, end));
        }
        held.map(|held| (held.entry.at, held.end))
    }

    /// Whether nothing forbids signing `seen`: it is of this generation, and no other hash was ever
    /// durable here at that index.
    pub(crate) fn signable(&self, seen: &Seen) -> bool {
        seen.g == self.generation && self.spent.get(&seen.i).is_none_or(|c| *c == seen.c)
    }

    /// Forgets what cannot come back: positions at or below a certified one.
    pub(crate) fn forget_spent(&mut self, i: u64) {
        self.spent = self.spent.split_off(&(i + 1));
    }

    /// Where the order stands in memory at the least.
    pub(crate) fn order_floor(&self) -> u64 {
        self.floor.map_or(self.origin.i, |(_, end)| end.i)
    }

    /// Entries of the order after `from` up to `to`, at most `limit`.
    pub(crate) fn placed(&self, from: u64, to: u64, limit: usize) -> Vec<Entry> {
        let skip = self.held.partition_point(|held| held.end.i <= from);
        let mut entries = Vec::new();
        for held in self.held.iter().skip(skip) {
            let bodies = held.entry.payload.bodies();
            let first = held.end.i + 1 - bodies.len() as u64;
            for (i, body) in (first..).zip(bodies) {
                if i > to || entries.len() == limit {
                    return entries;
                }
                if i > from {
                    let at = Position { g: self.generation, i };
                    entries.push(Entry::new(at, body.clone()));
                }
            }
        }
        entries
    }

    /// The last bodies that were placed.
    pub(crate) fn last_batch(&self) -> Option<&Batch> {
        self.held.iter().rev().find_map(|held| match &held.entry.payload {
            Payload::Bodies(batch) => Some(batch),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;

//! Stamps: when and by whom a field was assigned, and what that writer knew.

use rhizome_log::{Clock, Knowledge, LogId, OpenEvent};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// When and by whom something was assigned: the event's effective clock and its place in its log.
///
/// Later is greater: clock, then author, then sequence number. The rest of the log's name breaks
/// ties that honest devices cannot produce.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Stamp {
    /// The effective clock.
    pub clock: Clock,
    /// The log.
    pub log: LogId,
    /// The place in the log.
    pub seq: u64,
}

impl Stamp {
    /// The stamp of everything `event` assigns.
    #[must_use]
    pub fn of(event: &OpenEvent) -> Self {
        Self { clock: event.clock, log: event.log, seq: event.seq }
    }

    fn key(&self) -> impl Ord {
        (self.clock, self.log.author, self.seq, self.log.tag, self.log.incarnation)
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What the writer of an event knew when it wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Knows<'a> {
    /// Everything that is here: a write being prepared on this device.
    Everything,
    /// The heads the event names, and its own log up to itself.
    Heads(&'a Knowledge),
}

/// The event being folded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    /// Its stamp.
    pub stamp: Stamp,
    /// What it knew.
    pub knows: Knows<'a>,
    /// The writer's own clock, which is its server time.
    pub hlc: Clock,
}

impl Writer<'_> {
    /// Whether the writer had seen what carries `stamp`.
    pub(crate) fn knows(&self, stamp: &Stamp) -> bool {
        match self.knows {
            Knows::Everything => true,
            Knows::Heads(_) if stamp.log == self.stamp.log => stamp.seq <= self.stamp.seq,
            Knows::Heads(heads) => heads.get(&stamp.log).is_some_and(|seq| *seq >= stamp.seq),
        }
    }
}

/// Stamps of a document, as a tree along its field paths.
///
/// A stamp covers everything below it, except where a child has its own, which is then later.
/// A document written once has one stamp at the root and nothing below.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StampTree {
    /// The latest assignment of exactly this path.
    pub own: Option<Stamp>,
    /// Later assignments below.
    pub below: BTreeMap<String, StampTree>,
}

impl StampTree {
    /// Whether nothing is stamped here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.below.is_empty()
    }

    /// Calls `visit` with each stamp.
    pub(crate) fn each(&self, visit: &mut impl FnMut(Stamp)) {
        self.own.into_iter().for_each(&mut *visit);
        self.below.values().for_each(|child| child.each(visit));
    }
}

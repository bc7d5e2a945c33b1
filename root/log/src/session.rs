//! The sync session: what to ship to one peer, and when.
//!
//! Each side says which heads it holds durably; each sends what the other lacks, in runs, with a
//! bounded number of events under way. An announcement of heads is therefore also the
//! acknowledgement that a run is durable there, and a run says as much of its sender. The session
//! needs no quorum and no order, so it works between any two devices over any path. It leaves
//! reading and checking runs to the replica.
//!
//! Where several peers hold the same news, each would send it. So a peer that got a run from
//! somebody else already says that it has enough of that log; from then on it is only told of new
//! heads, until it wants the log from here again (the eager and lazy links of Plumtree: Leitão,
//! Pereira, Rodrigues, *Epidemic Broadcast Trees*, 2007).

use crate::LogId;
use std::collections::{BTreeMap, BTreeSet};

/// Most events under way to one peer. Four full runs keep a link busy while the peer writes to
/// disk, and bound what a slow peer makes us hold.
pub const EVENTS_UNDER_WAY_MAX: u64 = 4 * crate::RUN_EVENTS_MAX as u64;

/// What the outside world tells the session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionInput {
    /// We hold these heads durably and signed; names only logs whose head moved.
    OursMoved(Vec<(LogId, u64)>),
    /// The peer says it holds these heads durably; names only logs whose head moved.
    TheirsMoved(Vec<(LogId, u64)>),
    /// The driver shipped events up to this place after a [`SessionEffect::Ship`].
    Shipped {
        /// The log.
        log: LogId,
        /// Last event of the run that was sent.
        to: u64,
    },
    /// The peer gets this log from somebody else.
    Enough(LogId),
    /// The peer wants this log from here, and holds it up to here.
    Wanted {
        /// The log.
        log: LogId,
        /// The last event it holds.
        after: u64,
    },
}

/// What must happen because of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionEffect {
    /// Tell the peer these heads of ours.
    Announce(Vec<(LogId, u64)>),
    /// Send the peer the run after `after`, ending at a signed head, then report
    /// [`SessionInput::Shipped`].
    Ship {
        /// The log.
        log: LogId,
        /// The peer holds everything up to here.
        after: u64,
    },
}

/// One side of a sync session with one peer.
#[derive(Clone, Debug, Default)]
pub struct Session {
    ours: BTreeMap<LogId, u64>,
    theirs: BTreeMap<LogId, u64>,
    shipped: BTreeMap<LogId, u64>,
    /// Logs that the peer gets from somebody else.
    lazy: BTreeSet<LogId>,
}

impl Session {
    /// Takes one input and returns what must happen because of it, in this order.
    pub fn step(&mut self, input: SessionInput) -> Vec<SessionEffect> {
        let mut effects = Vec::new();
        match input {
            SessionInput::OursMoved(heads) => {
                let news = self.announce(&heads);
                if !news.is_empty() {
                    effects.push(SessionEffect::Announce(news));
                }
            }
            SessionInput::TheirsMoved(heads) => {
                for (log, seq) in heads {
                    raise(&mut self.theirs, log, seq);
                }
            }
            SessionInput::Shipped { log, to } => raise(&mut self.shipped, log, to),
            SessionInput::Enough(log) => {
                self.lazy.insert(log);
            }
            SessionInput::Wanted { log, after } => {
                self.lazy.remove(&log);
                self.shipped.insert(log, after);
            }
        }
        effects.extend(self.next_run());
        effects
    }

    /// Events the peer is known to lack.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        self.ours.iter().map(|(log, ours)| ours.saturating_sub(seq_of(&self.theirs, log))).sum()
    }

    /// What the peer holds of `log`, as far as it said.
    #[must_use]
    pub fn theirs(&self, log: &LogId) -> u64 {
        seq_of(&self.theirs, log)
    }

    /// Everything the peer holds, as far as it said.
    pub fn announced(&self) -> impl Iterator<Item = (&LogId, &u64)> {
        self.theirs.iter()
    }

    /// Notes our heads; returns those that no run will tell the peer of.
    fn announce(&mut self, heads: &[(LogId, u64)]) -> Vec<(LogId, u64)> {
        heads
            .iter()
            .filter(|(log, seq)| {
                raise(&mut self.ours, *log, *seq);
                // What the peer sent us it must hear back as an acknowledgement.
                seq_of(&self.theirs, log) >= *seq || self.lazy.contains(log)
            })
            .copied()
            .collect()
    }

    /// The next run to ship, if the peer lacks one and few enough events are under way.
    fn next_run(&self) -> Option<SessionEffect> {
        if self.under_way() >= EVENTS_UNDER_WAY_MAX {
            return None;
        }
        self.ours.iter().filter(|(log, _)| !self.lazy.contains(log)).find_map(|(log, ours)| {
            let after = seq_of(&self.theirs, log).max(seq_of(&self.shipped, log));
            (after < *ours).then_some(SessionEffect::Ship { log: *log, after })
        })
    }

    /// Events shipped that the peer has not said to hold.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.shipped
            .iter()
            .map(|(log, shipped)| shipped.saturating_sub(seq_of(&self.theirs, log)))
            .sum()
    }
}

fn seq_of(heads: &BTreeMap<LogId, u64>, log: &LogId) -> u64 {
    heads.get(log).copied().unwrap_or(0)
}

fn raise(heads: &mut BTreeMap<LogId, u64>, log: LogId, seq: u64) {
    let head = heads.entry(log).or_default();
    *head = (*head).max(seq);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogTag;
    use rhizome_identity::DeviceId;

    fn log(n: u8) -> LogId {
        LogId { author: DeviceId([n; 32]), tag: LogTag([0; 16]), incarnation: 0 }
    }

    #[test]
    fn a_peer_that_lacks_events_is_sent_the_missing_run() {
        let mut session = Session::default();
        session.step(SessionInput::TheirsMoved(vec![(log(1), 2)]));
        let effects = session.step(SessionInput::OursMoved(vec![(log(1), 5)]));
        assert!(effects.contains(&SessionEffect::Ship { log: log(1), after: 2 }), "{effects:?}");
        let after = session.step(SessionInput::Shipped { log: log(1), to: 5 });
        assert!(after.is_empty(), "{after:?}");
        assert_eq!(session.lacking(), 3, "shipped is not held until the peer says so");
        session.step(SessionInput::TheirsMoved(vec![(log(1), 5)]));
        assert_eq!(session.lacking(), 0);
    }

    #[test]
    fn a_received_run_is_acknowledged_by_announcing_its_head() {
        let mut session = Session::default();
        session.step(SessionInput::TheirsMoved(vec![(log(1), 9)]));
        let effects = session.step(SessionInput::OursMoved(vec![(log(1), 9)]));
        assert_eq!(effects, [SessionEffect::Announce(vec![(log(1), 9)])]);
    }

    #[test]
    fn a_run_needs_no_announcement() {
        let mut session = Session::default();
        let effects = session.step(SessionInput::OursMoved(vec![(log(1), 5)]));
        assert_eq!(effects, [SessionEffect::Ship { log: log(1), after: 0 }]);
    }

    #[test]
    fn a_peer_that_has_enough_is_only_told_until_it_wants_more() {
        let mut session = Session::default();
        session.step(SessionInput::OursMoved(vec![(log(1), 5)]));
        session.step(SessionInput::Shipped { log: log(1), to: 5 });
        session.step(SessionInput::Enough(log(1)));
        let told = session.step(SessionInput::OursMoved(vec![(log(1), 9), (log(2), 1)]));
        let announce = SessionEffect::Announce(vec![(log(1), 9)]);
        assert_eq!(told, [announce, SessionEffect::Ship { log: log(2), after: 0 }]);
        session.step(SessionInput::Shipped { log: log(2), to: 1 });
        let wanted = session.step(SessionInput::Wanted { log: log(1), after: 7 });
        assert_eq!(wanted, [SessionEffect::Ship { log: log(1), after: 7 }]);
        session.step(SessionInput::Shipped { log: log(1), to: 9 });
        let next = session.step(SessionInput::OursMoved(vec![(log(1), 10)]));
        assert_eq!(next, [SessionEffect::Ship { log: log(1), after: 9 }]);
    }

    #[test]
    fn a_slow_peer_has_a_bounded_number_of_events_under_way() {
        let mut session = Session::default();
        session.step(SessionInput::OursMoved(vec![(log(1), 1_000_000)]));
        let mut to = 0;
        for _ in 0..1000 {
            to += crate::RUN_EVENTS_MAX as u64;
            if session.step(SessionInput::Shipped { log: log(1), to }).is_empty() {
                break;
            }
        }
        assert_eq!(to, EVENTS_UNDER_WAY_MAX);
        let more = session.step(SessionInput::TheirsMoved(vec![(log(1), to)]));
        assert_eq!(more, [SessionEffect::Ship { log: log(1), after: to }]);
    }

    #[test]
    fn news_about_the_past_changes_nothing() {
        let mut session = Session::default();
        session.step(SessionInput::TheirsMoved(vec![(log(1), 7)]));
        session.step(SessionInput::TheirsMoved(vec![(log(1), 3)]));
        assert_eq!(session.theirs(&log(1)), 7);
    }
}

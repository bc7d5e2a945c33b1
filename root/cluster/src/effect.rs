//! When placed events take effect.
//!
//! A blind voter places events without knowing what they depend on. So placing is not effect: a
//! placed event takes effect once its predecessor and all its dependencies have. Everything here is
//! a function of the committed prefix, hence the same on every replica.

use rhizome_block::planted::{Bug, planted};
use rhizome_log::{Dep, LogId};
use std::collections::BTreeMap;

/// An event that may take effect now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ready {
    /// Its log.
    pub log: LogId,
    /// Its place there.
    pub seq: u64,
}

/// For each log, how far it is placed and how far it has taken effect.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EffectCursors {
    logs: BTreeMap<LogId, Cursor>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Cursor {
    placed: u64,
    effective: u64,
}

impl EffectCursors {
    /// Restores the cursors of one log.
    pub fn restore(&mut self, log: LogId, placed: u64, effective: u64) {
        self.logs.insert(log, Cursor { placed, effective });
    }

    /// How far `log` is placed.
    #[must_use]
    pub fn placed(&self, log: &LogId) -> u64 {
        self.logs.get(log).map_or(0, |cursor| cursor.placed)
    }

    /// How far `log` has taken effect.
    #[must_use]
    pub fn effective(&self, log: &LogId) -> u64 {
        self.logs.get(log).map_or(0, |cursor| cursor.effective)
    }

    /// Notes that an entry placed `log` up to `to`. Stretches already placed change nothing.
    pub fn place(&mut self, log: LogId, to: u64) {
        let cursor = self.logs.entry(log).or_default();
        cursor.placed = cursor.placed.max(to);
    }

    /// Takes everything that can take effect now, in an order that depends on the committed prefix
    /// alone: logs in their order, each as far as it goes, again and again until nothing moves.
    ///
    /// `deps` tells what a placed event depends on. The caller places an entry only once it holds
    /// the events it names, so the answer never depends on what else has arrived here.
    pub fn advance<E>(
        &mut self,
        mut deps: impl FnMut(Ready) -> Result<Vec<Dep>, E>,
    ) -> Result<Vec<Ready>, E> {
        let mut taken = Vec::new();
        loop {
            let before = taken.len();
            for log in self.waiting() {
                while let Some(ready) = self.next_of(log, &mut deps)? {
                    taken.push(ready);
                }
            }
            if taken.len() == before {
                return Ok(taken);
            }
        }
    }

    /// The next event of each log that is placed and waits for another.
    #[must_use]
    pub fn stuck(&self) -> Vec<Ready> {
        let next = |log| Ready { log, seq: self.effective(&log) + 1 };
        self.waiting().into_iter().map(next).collect()
    }

    fn waiting(&self) -> Vec<LogId> {
        let behind = |cursor: &Cursor| cursor.effective < cursor.placed;
        self.logs.iter().filter(|(_, cursor)| behind(cursor)).map(|(log, _)| *log).collect()
    }

    fn next_of<E>(
        &mut self,
        log: LogId,
        deps: &mut impl FnMut(Ready) -> Result<Vec<Dep>, E>,
    ) -> Result<Option<Ready>, E> {
        let Some(cursor) = self.logs.get(&log).copied() else { return Ok(None) };
        if cursor.effective >= cursor.placed {
            return Ok(None);
        }
        let ready = Ready { log, seq: cursor.effective + 1 };
        let waits = deps(ready)?.iter().any(|dep| self.effective(&dep.log) < dep.seq);
        if waits && !planted(Bug::DepsIgnored) {
            return Ok(None);
        }
        self.logs.entry(log).or_default().effective = ready.seq;
        Ok(Some(ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhizome_block::{Cid, Codec};
    use rhizome_identity::DeviceId;
    use rhizome_log::{EventId, LogTag};
    use std::convert::Infallible;

    fn log(n: u8) -> LogId {
        LogId { author: DeviceId([n; 32]), tag: LogTag([0; 16]), incarnation: 0 }
    }

    fn on(log: LogId, seq: u64) -> Vec<Dep> {
        vec![Dep { log, seq, id: EventId(Cid::of(Codec::DagCbor, &[])) }]
    }

    /// Event 1 of log 1 depends on event 2 of log 2.
    fn deps(ready: Ready) -> Result<Vec<Dep>, Infallible> {
        Ok(if ready == (Ready { log: log(1), seq: 1 }) { on(log(2), 2) } else { Vec::new() })
    }

    #[test]
    fn a_placed_event_waits_for_its_dependencies() {
        let mut cursors = EffectCursors::default();
        cursors.place(log(1), 1);
        assert_eq!(cursors.advance(deps).unwrap(), []);
        cursors.place(log(2), 1);
        assert_eq!(cursors.advance(deps).unwrap(), [Ready { log: log(2), seq: 1 }]);
        cursors.place(log(2), 2);
        let now = [Ready { log: log(2), seq: 2 }, Ready { log: log(1), seq: 1 }];
        assert_eq!(cursors.advance(deps).unwrap(), now);
    }

    #[test]
    fn a_stretch_placed_twice_takes_effect_once() {
        let mut cursors = EffectCursors::default();
        cursors.place(log(2), 3);
        assert_eq!(cursors.advance(deps).unwrap().len(), 3);
        cursors.place(log(2), 2);
        assert_eq!(cursors.advance(deps).unwrap(), []);
    }
}

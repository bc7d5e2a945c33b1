//! What a removed device wrote: what counts, and what is set aside.
//!
//! A removal names the last accepted event of each log of the device. What had its place in the
//! order before the removal had also counts, and so does what an event that counts depends on, once
//! the order places both: honest devices build on what they know. Whatever else turns up is kept
//! and sent on like any event, but has no effect, and the layer above is not shown it.
//!
//! What has effect is a function of the committed prefix (`LogRow::allowed`). What is shown as
//! pending also follows removals and events that have no place yet, as all that is pending does.

use crate::access::{Access, ReplicaError};
use crate::control::belongs;
use crate::rows::{self, EventRow};
use crate::state::Replica;
use rhizome_block::planted::{Bug, planted};
use rhizome_cluster::Ready;
use rhizome_identity::{ControlState, DeviceId, Revoked};
use rhizome_log::{Delivery, Dep, EventId, Head, Knowledge, LogId, LogTag, OpenEvent, Payload};
use std::sync::Arc;

/// What became of the dependencies of an event that waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Vouched {
    /// They are of live devices, or have no place yet.
    Nothing,
    /// Some that were set aside count now.
    Some,
    /// Some that would count are not here yet: nothing may go on before they are.
    Missing,
}

/// The last accepted event of one log, as the removal names it.
fn named(revoked: &Revoked, log: &LogId) -> Option<Head> {
    let is = |head: &&rhizome_identity::LogHead| {
        (head.author, LogTag(head.tag), head.incarnation) == (log.author, log.tag, log.incarnation)
    };
    let head = revoked.last.iter().find(is)?;
    Some(Head { seq: head.seq, id: EventId(head.head) })
}

fn removal<'a>(state: &'a ControlState, author: &DeviceId) -> Option<&'a Revoked> {
    state.device(author)?.revoked.as_deref()
}

impl Replica {
    /// Whether any device was removed, as far as is known.
    fn removed_any(&self) -> bool {
        self.control.state().devices().any(|(_, one)| !one.is_live())
    }

    /// How far a log takes effect by the committed prefix; `None` if its author was not removed.
    pub(crate) fn allowed(&self, log: &LogId) -> Option<u64> {
        let revoked = removal(self.control.committed_state(), &log.author)?;
        let allowed = self.logs.get(log).and_then(|state| state.row.allowed);
        let last = allowed.or_else(|| named(revoked, log));
        Some(last.map_or(0, |head| head.seq))
    }

    /// How far a log counts by all that is known, of removals without a place too.
    fn limit(&self, log: &LogId) -> Option<u64> {
        if let Some(allowed) = self.allowed(log) {
            return Some(allowed);
        }
        let placed = self.logs.get(log).map_or(0, |state| state.row.placed);
        if !belongs(self.control.state(), log, placed + 1) {
            // Its author was let in on a branch that lost, and may never be let in again.
            return Some(placed);
        }
        let revoked = removal(self.control.state(), &log.author)?;
        Some(named(revoked, log).map_or(0, |head| head.seq).max(placed))
    }

    /// How far a log is shown: what counts, and what waiting events that count depend on.
    pub(crate) fn visible(&self, log: &LogId) -> Option<u64> {
        let limit = self.limit(log)?;
        Some(self.vouched.get(log).map_or(limit, |vouched| limit.max(*vouched)))
    }

    /// The last event of a log that counts or will: the rest is set aside.
    pub(crate) fn counting(&self, log: &LogId) -> u64 {
        let held = self.held(log);
        self.visible(log).map_or(held, |visible| held.min(visible))
    }

    /// A removal has its place in the order: what had one before counts.
    pub(crate) fn note_removals(
        &mut self,
        access: &Access<'_, '_>,
        before: &ControlState,
    ) -> Result<(), ReplicaError> {
        let after = self.control.committed_state();
        let gone = |log: &&LogId| {
            removal(before, &log.author).is_none() && removal(after, &log.author).is_some()
        };
        let logs: Vec<LogId> = self.logs.keys().filter(gone).copied().collect();
        for log in logs {
            let revoked = removal(self.control.committed_state(), &log.author);
            let last = revoked.and_then(|revoked| named(revoked, &log));
            let placed = self.logs.get(&log).map_or(0, |state| state.row.placed);
            let allowed = match last.filter(|last| last.seq >= placed) {
                Some(last) => Some(last),
                None => self.event_id(access, &log, placed)?.map(|id| Head { seq: placed, id }),
            };
            self.log_mut(log).row.allowed = allowed;
        }
        Ok(())
    }

    /// The order placed a log up to `head`: how far it takes effect by that.
    pub(crate) fn place_log(&mut self, log: LogId, head: Head) {
        let removed = removal(self.control.committed_state(), &log.author);
        let last = removed.map(|revoked| named(revoked, &log));
        let state = self.log_mut(log);
        state.row.placed = state.row.placed.max(head.seq);
        state.proposed = state.proposed.max(head.seq);
        if let Some(last) = last {
            state.row.allowed = state.row.allowed.or(last);
        }
        let arrived = planted(Bug::ArrivalOrder).then(|| self.held(&log));
        let effective = arrived.unwrap_or_else(|| self.countable(&log));
        self.cursors.place(log, effective);
    }

    /// The last placed event of a log that may take effect.
    pub(crate) fn countable(&self, log: &LogId) -> u64 {
        let placed = self.logs.get(log).map_or(0, |state| state.row.placed);
        if planted(Bug::RemovedCounts) {
            return placed;
        }
        self.allowed(log).map_or(placed, |allowed| placed.min(allowed))
    }

    /// Lets count what the events that wait depend on, as far as the order placed it.
    pub(crate) fn vouch(&mut self, access: &mut Access<'_, '_>) -> Result<Vouched, ReplicaError> {
        if !self.removed_any() {
            return Ok(Vouched::Nothing);
        }
        let mut vouched = Vouched::Nothing;
        for Ready { log, seq } in self.cursors.stuck() {
            for Dep { log, seq, id } in self.deps(access, &log, seq)? {
                let Some(allowed) = self.allowed(&log).filter(|allowed| seq > *allowed) else {
                    continue;
                };
                if self.logs.get(&log).is_none_or(|state| state.row.placed < seq) {
                    continue;
                }
                if self.held(&log) < seq {
                    return Ok(Vouched::Missing);
                }
                tracing::info!(?log, allowed, seq, "what a removed device wrote counts");
                self.log_mut(log).row.allowed = Some(Head { seq, id });
                self.cursors.place(log, seq);
                vouched = Vouched::Some;
            }
        }
        Ok(vouched)
    }

    fn deps(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
        seq: u64,
    ) -> Result<Vec<Dep>, ReplicaError> {
        let row: Option<EventRow> = rows::get(access.index, &rows::event_key(log, seq))?;
        Ok(row.map(|row| row.deps).unwrap_or_default())
    }

    /// Notes what a new event depends on, if it counts itself.
    pub(crate) fn note_deps(
        &mut self,
        access: &Access<'_, '_>,
        log: &LogId,
        seq: u64,
        deps: &[Dep],
    ) -> Result<(), ReplicaError> {
        if deps.is_empty() || self.vouched_at.is_none() {
            return Ok(());
        }
        if self.visible(log).is_none_or(|visible| seq <= visible) {
            self.vouch_known(access, deps.to_vec())?;
        }
        Ok(())
    }

    /// Follows dependencies to logs of removed devices, and from there on.
    fn vouch_known(
        &mut self,
        access: &Access<'_, '_>,
        mut todo: Vec<Dep>,
    ) -> Result<(), ReplicaError> {
        while let Some(Dep { log, seq, .. }) = todo.pop() {
            let Some(visible) = self.visible(&log).filter(|visible| seq > *visible) else {
                continue;
            };
            self.vouched.insert(log, seq);
            for at in visible + 1..=seq {
                todo.extend(self.deps(access, &log, at)?);
            }
        }
        Ok(())
    }

    /// Shows and takes back what a change of the control log, or new events, made count or not. A
    /// removed device goes on seeing what it wrote itself.
    pub(crate) fn align(
        &mut self,
        access: &Access<'_, '_>,
        retracted: &mut Vec<Delivery>,
    ) -> Result<(), ReplicaError> {
        if self.vouched_at != Some(self.control.head()) {
            self.find_vouched(access)?;
        }
        let me = self.device();
        let concerned = |log: &&LogId| {
            log.author != me && (self.limit(log).is_some() || self.logs[log].row.shown.is_some())
        };
        if self.vouched_at.is_none() && self.logs.values().all(|state| state.row.shown.is_none()) {
            return Ok(());
        }
        let logs: Vec<LogId> = self.logs.keys().filter(concerned).copied().collect();
        for log in logs {
            self.align_log(access, log, retracted)?;
        }
        Ok(())
    }

    /// What waiting events depend on, after the control log changed.
    fn find_vouched(&mut self, access: &Access<'_, '_>) -> Result<(), ReplicaError> {
        self.vouched.clear();
        self.vouched_at = None;
        if !self.removed_any() {
            return Ok(());
        }
        self.vouched_at = Some(self.control.head());
        let waiting = |(log, state): (&LogId, &crate::state::LogState)| {
            let to = self.limit(log).unwrap_or(u64::MAX).min(state.row.held_seq());
            (*log, state.row.effective, to)
        };
        let waiting: Vec<(LogId, u64, u64)> = self.logs.iter().map(waiting).collect();
        for (log, from, to) in waiting {
            for seq in from + 1..=to {
                let deps = self.deps(access, &log, seq)?;
                self.vouch_known(access, deps)?;
            }
        }
        Ok(())
    }

    fn align_log(
        &mut self,
        access: &Access<'_, '_>,
        log: LogId,
        retracted: &mut Vec<Delivery>,
    ) -> Result<(), ReplicaError> {
        let row = &self.logs[&log].row;
        let (opened, shown) = (row.opened, row.shown.unwrap_or(row.opened));
        let visible = self.visible(&log).unwrap_or(opened).min(opened);
        if visible > shown {
            self.show(access, log, shown, visible)?;
        }
        for seq in (visible + 1..=shown).filter(|_| !planted(Bug::RemovedStaysShown)) {
            let fresh = self.fresh.len();
            self.fresh.retain(|event| (event.log, event.seq) != (log, seq));
            if self.fresh.len() == fresh {
                retracted.push(Delivery::Retracted { log, seq });
            }
        }
        let shown = Some(visible).filter(|visible| *visible < opened);
        if self.logs[&log].row.shown != shown {
            self.log_mut(log).row.shown = shown;
        }
        Ok(())
    }

    /// Shows events that were kept back.
    fn show(
        &mut self,
        access: &Access<'_, '_>,
        log: LogId,
        after: u64,
        to: u64,
    ) -> Result<(), ReplicaError> {
        let Some(app) = self.logs[&log].app.clone() else { return Ok(()) };
        let mut knows = self.knew(access, &log, after)?;
        for seq in after + 1..=to {
            let row: Option<EventRow> = rows::get(access.index, &rows::event_key(&log, seq))?;
            let Some(row) = row else { continue };
            learn(&mut knows, &row.deps);
            let event = self.read_event(access, &row)?;
            let Some(payload) = event.and_then(|event| self.open_event(&event)) else { continue };
            let Payload { hlc, schema, body, .. } = payload;
            let (id, clock, app, knows) = (row.id, row.clock, Arc::clone(&app), knows.clone());
            let knows = Arc::new(knows);
            self.fresh.push(OpenEvent { id, log, seq, app, hlc, clock, knows, schema, body });
        }
        Ok(())
    }

    /// What the author of a log knew of others at an event.
    pub(crate) fn knew(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
        seq: u64,
    ) -> Result<Knowledge, ReplicaError> {
        let floor: Option<Vec<(LogId, u64)>> = rows::get(access.index, &rows::floor_key(log))?;
        let mut knows: Knowledge = floor.unwrap_or_default().into_iter().collect();
        let begins = self.logs.get(log).map_or(0, |state| state.row.floor);
        for at in begins + 1..=seq {
            learn(&mut knows, &self.deps(access, log, at)?);
        }
        Ok(knows)
    }
}

fn learn(knows: &mut Knowledge, deps: &[Dep]) {
    for dep in deps {
        let known = knows.entry(dep.log).or_default();
        *known = (*known).max(dep.seq);
    }
}

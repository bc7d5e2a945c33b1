//! What happens once an append is durable: rows, deliveries, acknowledgements, news for peers.

use crate::access::{Access, ReplicaError};
use crate::input::Effect;
use crate::rows::{self, BlockRow, EntryRow, EventRow, OrderRow};
use crate::stage::{Staged, StagedEvent};
use crate::state::Replica;
use crate::write::CLOCK_AHEAD_MS_MAX;
use rhizome_block::Cid;
use rhizome_block::planted::{Bug, planted};
use rhizome_cluster::Ready;
use rhizome_log::{
    Clock, Delivery, LogId, LogTag, OpenEvent, Payload, Place, Position, RunSignature,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Replica {
    pub(crate) fn complete(
        &mut self,
        access: &mut Access<'_, '_>,
        places: &[Place],
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        self.appending = false;
        let (before, committed) = (self.order.end, self.control.committed_head());
        let mut places = places.iter().copied();
        let mut header = Place::default();
        let mut news = News::default();
        for staged in std::mem::take(&mut self.staged) {
            let place = match &staged {
                Staged::Command(..) => Place::default(),
                _ => places.next().expect("the driver gives a place for each block"),
            };
            if let Staged::Header = staged {
                header = place;
                continue;
            }
            self.note(access, staged, header, place, &mut news)?;
        }
        self.deliver(access, effects)?;
        self.write_rows(access);
        effects.append(&mut news.done);
        if !news.arrived.is_empty() {
            effects.push(Effect::Arrived(news.arrived));
        }
        if news.control || self.may_begin() {
            self.control_changed(effects);
        }
        if news.control || committed != self.control.committed_head() {
            self.greet_again(access, effects)?;
        }
        self.tell_peers(access, &news.moved, before, news.control, effects)?;
        self.tell_kept(access, &news.kept, effects)?;
        self.tell_seals(&news.seals, effects);
        if !news.seals.is_empty() {
            self.compare_seals(effects);
        }
        self.settle_doubt(access);
        self.contest(access)?;
        self.settle_reform(access)?;
        self.recent.retain(|_, _| planted(Bug::QueueUnbounded));
        Ok(())
    }

    /// Writes the rows of one durable block.
    pub(crate) fn note(
        &mut self,
        access: &mut Access<'_, '_>,
        staged: Staged,
        header: Place,
        place: Place,
        news: &mut News,
    ) -> Result<(), ReplicaError> {
        match staged {
            Staged::Header => {}
            Staged::Body(event) => self.note_event(access, *event, header, place, news)?,
            Staged::Signature(signature) => note_signature(access, &signature, news),
            Staged::Control { cid, height, bytes } => {
                access.index.put(rows::control_key(height, &cid), bytes);
                news.control = true;
            }
            Staged::Entry(placed) => {
                let (cid, seen, i) = (placed.block.cid, placed.seen, placed.entry.i);
                let row = EntryRow { place, cid, seen, body: placed.entry.body };
                rows::put(access, rows::entry_key(i), &row);
            }
            Staged::Certificate(certificate) => {
                self.order.end = certificate.seen;
                rows::put(access, rows::certificate_key(certificate.seen.i), &certificate);
            }
            Staged::Base(base) => self.note_base(access, *base, &mut news.done)?,
            Staged::Block(cid) => {
                rows::put(access, rows::block_key(&cid), &BlockRow { place });
                if self.wanted.remove(&cid) {
                    news.arrived.push(cid);
                }
            }
            Staged::Pin { manifest, bytes, ticket } => {
                access.index.put(rows::pin_key(&manifest), bytes);
                self.fetching.remove(&manifest);
                news.kept.push(manifest);
                let outcome = crate::command::Outcome::Pinned { manifest };
                news.done.extend(ticket.map(|ticket| Effect::Done(ticket, outcome)));
            }
            Staged::Seal { bytes } => {
                if self.note_seal(access, bytes.clone()) {
                    news.seals.push(bytes);
                }
            }
            Staged::Command(ticket, outcome) => news.done.push(Effect::Done(ticket, outcome)),
        }
        Ok(())
    }

    fn note_event(
        &mut self,
        access: &mut Access<'_, '_>,
        event: StagedEvent,
        header: Place,
        body: Place,
        news: &mut News,
    ) -> Result<(), ReplicaError> {
        let StagedEvent { log, seq, id, payload, sealed, ticket } = event;
        let deps = payload.as_ref().map(|payload| payload.deps.clone()).unwrap_or_default();
        self.note_deps(access, &log, seq, &deps)?;
        let row = EventRow { id, header, body, deps, clock: Clock::default(), sealed };
        news.done.extend(ticket.map(|ticket| Effect::Written { ticket, log, seq, id }));
        if !self.keys.can_read()
            || sealed
            || !self.open_next(access, log, seq, row.clone(), payload)?
        {
            rows::put(access, rows::event_key(&log, seq), &row);
        }
        Ok(())
    }

    /// Opens an event if it is the next of its log and all it depends on is open.
    fn open_next(
        &mut self,
        access: &mut Access<'_, '_>,
        log: LogId,
        seq: u64,
        mut row: EventRow,
        payload: Option<Payload>,
    ) -> Result<bool, ReplicaError> {
        let state = self.log_mut(log);
        if state.row.opened + 1 != seq {
            return Ok(false);
        }
        let mut clock = state.row.clock.next();
        for dep in &row.deps {
            let other = self.logs.get(&dep.log).map(|state| &state.row);
            match other {
                Some(other) if other.opened == dep.seq => clock = clock.max(other.clock.next()),
                Some(other) if other.opened > dep.seq => {
                    let key = rows::event_key(&dep.log, dep.seq);
                    let known: Option<EventRow> = rows::get(access.index, &key)?;
                    clock = clock.max(known.map_or(clock, |known| known.clock.next()));
                }
                _ => return Ok(false),
            }
        }
        clock = clock.max(payload.as_ref().map_or(Clock::default(), |payload| payload.hlc));
        if planted(Bug::ArrivalClock) {
            clock = clock.max(self.clock.next());
        }
        row.clock = clock;
        rows::put(access, rows::event_key(&log, seq), &row);
        self.opened(log, seq, &row, payload);
        Ok(true)
    }

    /// Moves a log past an event that is open now, and keeps it for delivery.
    fn opened(&mut self, log: LogId, seq: u64, row: &EventRow, payload: Option<Payload>) {
        let app = payload
            .as_ref()
            .and_then(|payload| payload.app.as_deref())
            .filter(|app| self.keys.log_tag(app) == log.tag || self.keys.is_adopted(log.tag))
            .map(Arc::<str>::from);
        let clock = row.clock;
        self.clock = self.clock.max(bounded(payload.as_ref(), self.clock));
        let state = self.log_mut(log);
        state.row.opened = seq;
        state.row.clock = clock;
        if let Some(app) = app {
            state.row.app = Some(app.to_string());
            state.app = Some(Arc::clone(&app));
            self.index_log(log, Some(&app));
        }
        let state = self.log_mut(log);
        if !row.deps.is_empty() {
            let knows = Arc::make_mut(&mut state.knows);
            for dep in &row.deps {
                let known = knows.entry(dep.log).or_default();
                *known = (*known).max(dep.seq);
            }
            state.row.knows = knows.iter().map(|(log, seq)| (*log, *seq)).collect();
        }
        if state.row.shown.is_some() {
            return;
        }
        let (Some(payload), Some(app)) = (payload, state.app.clone()) else { return };
        let knows = Arc::clone(&state.knows);
        let Payload { hlc, schema, body, .. } = payload;
        let id = row.id;
        self.fresh.push(OpenEvent { id, log, seq, app, hlc, clock, knows, schema, body });
    }

    /// Opens what waited for other logs of the same apps, from disk.
    fn open_waiting(
        &mut self,
        access: &mut Access<'_, '_>,
        tags: &BTreeSet<LogTag>,
    ) -> Result<(), ReplicaError> {
        let logs: Vec<LogId> =
            tags.iter().filter_map(|tag| self.tags.get(tag)).flatten().copied().collect();
        loop {
            let mut moved = false;
            for log in &logs {
                while self.open_from_disk(access, *log)? {
                    moved = true;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn open_from_disk(
        &mut self,
        access: &mut Access<'_, '_>,
        log: LogId,
    ) -> Result<bool, ReplicaError> {
        let Some(state) = self.logs.get(&log) else { return Ok(false) };
        let (next, held) = (state.row.opened + 1, state.row.held_seq());
        if next > held {
            return Ok(false);
        }
        let Some(mut row): Option<EventRow> =
            rows::get(access.index, &rows::event_key(&log, next))?
        else {
            return Ok(false);
        };
        let event = self.read_event(access, &row)?;
        if event.as_ref().is_some_and(|event| !self.knows_epoch(&event.header.epoch)) {
            return Ok(false);
        }
        let payload = event.and_then(|event| {
            let key = self.keys.event_key(&event.header.epoch, &log.tag)?;
            event.open(&key).ok()
        });
        if std::mem::take(&mut row.sealed) {
            row.deps = payload.as_ref().map(|payload| payload.deps.clone()).unwrap_or_default();
            rows::put(access, rows::event_key(&log, next), &row);
            let deps = row.deps.clone();
            self.note_deps(access, &log, next, &deps)?;
        }
        self.open_next(access, log, next, row, payload)
    }

    /// Delivers what opened and what took effect in this batch.
    pub(crate) fn deliver(
        &mut self,
        access: &mut Access<'_, '_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if self.keys.can_read() {
            let behind: BTreeSet<LogTag> = self
                .logs
                .iter()
                .filter(|(_, state)| state.row.opened < state.row.held_seq())
                .map(|(log, _)| log.tag)
                .collect();
            self.open_waiting(access, &behind)?;
        }
        let ready = self.apply_order(access, effects)?;
        let mut deliveries = Vec::new();
        if self.keys.can_read() {
            self.align(access, &mut deliveries)?;
        }
        deliveries.extend(merge(std::mem::take(&mut self.fresh), &ready));
        if !deliveries.is_empty() {
            effects.push(Effect::Deliver(deliveries));
        }
        Ok(())
    }

    /// Writes the rows of everything that moved.
    pub(crate) fn write_rows(&mut self, access: &mut Access<'_, '_>) {
        for log in std::mem::take(&mut self.dirty) {
            if let Some(state) = self.logs.get(&log) {
                rows::put(access, rows::log_key(&log), &state.row);
            }
        }
        let row = OrderRow {
            end: self.order.end,
            applied: self.order.applied,
            control: self.control.committed_head(),
            bases: self.order.base_of.iter().map(|(g, base)| (*g, *base)).collect(),
        };
        rows::put(access, rows::order_key(), &row);
    }
}

/// A foreign clock may advance ours, but not far ahead of it.
fn bounded(payload: Option<&Payload>, ours: Clock) -> Clock {
    let limit = Clock::at_ms(ours.ms().saturating_add(CLOCK_AHEAD_MS_MAX));
    payload.map_or(ours, |payload| payload.hlc).min(limit)
}

/// What took effect in the batch it was opened in is delivered once.
fn merge(fresh: Vec<OpenEvent>, ready: &[(Ready, Position)]) -> Vec<Delivery> {
    let mut fresh: BTreeMap<(LogId, u64), (usize, OpenEvent)> = fresh
        .into_iter()
        .enumerate()
        .map(|(n, event)| ((event.log, event.seq), (n, event)))
        .collect();
    let took_effect: Vec<Delivery> = ready
        .iter()
        .map(|(Ready { log, seq }, at)| match fresh.remove(&(*log, *seq)) {
            Some((_, event)) => Delivery::Effective { event, at: *at },
            None => Delivery::Settled { log: *log, seq: *seq, at: *at },
        })
        .collect();
    let mut pending: Vec<(usize, OpenEvent)> = fresh.into_values().collect();
    pending.sort_by_key(|(n, _)| *n);
    let pending = pending.into_iter().map(|(_, event)| Delivery::Pending(event));
    took_effect.into_iter().chain(pending).collect()
}

fn note_signature(access: &mut Access<'_, '_>, signature: &RunSignature, news: &mut News) {
    let seq = signature.head.seq;
    rows::put(access, rows::signature_key(&signature.log, seq), signature);
    news.moved.insert(signature.log, seq);
}

/// What a batch brought, for those who wait.
#[derive(Default)]
pub(crate) struct News {
    /// Acknowledgements, in order.
    pub done: Vec<Effect>,
    /// Blocks the layer above waits for.
    pub arrived: Vec<Cid>,
    /// Sets of blocks that are whole now.
    pub kept: Vec<Cid>,
    /// Seals that are kept now.
    pub seals: Vec<Vec<u8>>,
    /// Logs whose signed head moved.
    pub moved: BTreeMap<LogId, u64>,
    /// Whether a control record came in.
    pub control: bool,
}

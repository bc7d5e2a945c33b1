//! Reading what a peer lacks from disk, and checking what a peer sent.

use crate::access::{Access, ReplicaError};
use crate::input::{Alarm, CloseReason, Effect};
use crate::message::Message;
use crate::order::ENTRIES_MAX;
use crate::rows::{self, EntryRow, EventRow, space};
use crate::stage::StagedEvent;
use crate::state::Replica;
use crate::write::BATCH_EVENTS_MAX;
use rhizome_block::planted::{Bug, planted};
use rhizome_block::{Cid, Codec};
use rhizome_cluster::Certificate;
use rhizome_identity::DeviceId;
use rhizome_log::{
    Event, Head, LogId, Payload, Place, RUN_BYTES_MAX, RUN_EVENTS_MAX, Run, RunSignature,
};
use serde_bytes::ByteBuf;
use std::ops::ControlFlow;

/// What the disk has of an event.
enum Stored {
    Whole(Box<Event>),
    Damaged,
    Nowhere,
}

impl Replica {
    /// The run after `after` that ends at the last signed head within the bounds of a run.
    pub fn pack_run(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
        after: u64,
    ) -> Result<Option<Run>, ReplicaError> {
        let floor = self.logs.get(log).map_or(0, |state| state.row.floor);
        if after < floor {
            return Ok(None);
        }
        let signatures = signatures_after(access, log, after)?;
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut packed = None;
        for signature in signatures {
            let mut next = after + events.len() as u64 + 1;
            let mut stretch = Vec::new();
            while next <= signature.head.seq {
                let event = match self.recent.get(&(*log, next)) {
                    Some(event) => event.clone(),
                    None => match self.stored_event(access, log, next)? {
                        Stored::Whole(event) => *event,
                        Stored::Damaged => return Ok(finish(events, packed)),
                        Stored::Nowhere => return Ok(None),
                    },
                };
                bytes += event.body.len();
                stretch.push(event);
                next += 1;
            }
            let count = events.len() + stretch.len();
            if packed.is_some() && (bytes > RUN_BYTES_MAX || count > RUN_EVENTS_MAX) {
                break;
            }
            events.append(&mut stretch);
            packed = Some(signature);
        }
        Ok(finish(events, packed))
    }

    fn stored_event(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
        seq: u64,
    ) -> Result<Stored, ReplicaError> {
        let row: Option<EventRow> = rows::get(access.index, &rows::event_key(log, seq))?;
        let Some(row) = row else { return Ok(Stored::Nowhere) };
        let event = self.read_event(access, &row)?;
        Ok(event.map_or(Stored::Damaged, |event| Stored::Whole(Box::new(event))))
    }

    /// Reads an event from disk; a damaged one is reported and not returned.
    pub(crate) fn read_event(
        &self,
        access: &Access<'_, '_>,
        row: &EventRow,
    ) -> Result<Option<Event>, ReplicaError> {
        let Some(header) = read_or_report(access, row.header, &row.id.0)? else { return Ok(None) };
        let Ok(parsed) = rhizome_log::read_header(&header) else { return Ok(None) };
        let body = Cid::from_digest(Codec::Raw, parsed.ct_hash);
        let Some(body) = read_or_report(access, row.body, &body)? else { return Ok(None) };
        Ok(Event::read(header, body).ok())
    }

    /// Entries after `from` up to the last certificate within bounds and within one generation.
    pub fn pack_order(
        &self,
        access: &Access<'_, '_>,
        from: u64,
    ) -> Result<Option<(Vec<ByteBuf>, Certificate)>, ReplicaError> {
        let Some(certificate) = last_certificate(access, from)? else { return Ok(None) };
        let mut entries = Vec::new();
        for i in from + 1..=certificate.seen.i {
            let row: Option<EntryRow> = rows::get(access.index, &rows::entry_key(i))?;
            let Some(row) = row else { return Ok(None) };
            let Some(bytes) = read_or_report(access, row.place, &row.cid)? else {
                return Ok(None);
            };
            entries.push(ByteBuf::from(bytes));
        }
        Ok(Some((entries, certificate)))
    }

    /// Takes events of a peer.
    pub(crate) fn take_run(
        &mut self,
        access: &mut Access<'_, '_>,
        from: DeviceId,
        run: Run,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let (log, first) = (run.log, run.first);
        let held = self.held(&log);
        if !self.may_keep(&log, run.signature.head.seq) {
            self.refused.insert(from);
            effects.push(Effect::Send(from, Message::Refused { log, held }));
            return Ok(());
        }
        if first > held + 1 || first == 0 {
            effects.push(Effect::Send(from, Message::Refused { log, held }));
            return Ok(());
        }
        let unknown = run.stretches.iter().any(|stretch| !self.knows_epoch(&stretch.epoch));
        if unknown && !planted(Bug::UnknownEpochTaken) {
            self.refused.insert(from);
            effects.push(Effect::Send(from, Message::Refused { log, held }));
            return Ok(());
        }
        match run.unpack() {
            Ok((events, signature)) => self.take_events(access, from, events, signature, effects),
            Err(error) => {
                tracing::warn!(peer = %from.short(), %error, "refused a run");
                effects.push(Effect::Close(from, CloseReason::Misbehaved));
                Ok(())
            }
        }
    }

    fn take_events(
        &mut self,
        access: &mut Access<'_, '_>,
        from: DeviceId,
        events: Vec<Event>,
        signature: RunSignature,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let log = signature.log;
        let held = self.logs.get(&log).and_then(|state| state.row.held);
        let held_seq = held.map_or(0, |head| head.seq);
        if !self.extends(access, &log, &events)? {
            let seq = events.first().map_or(0, |event| event.header.seq);
            effects.push(Effect::Alarm(Alarm::ForkedLog { log, seq }));
            effects.push(Effect::Close(from, CloseReason::Misbehaved));
            return Ok(());
        }
        if signature.head.seq <= held_seq {
            let heads = vec![(log, held_seq)];
            effects.push(Effect::Send(from, Message::Heads { heads }));
            return Ok(());
        }
        debug_assert!(events.len() <= BATCH_EVENTS_MAX);
        self.fed(from, log);
        for event in events.into_iter().filter(|event| event.header.seq > held_seq) {
            let payload = self.open_event(&event);
            let (seq, id) = (event.header.seq, event.id);
            self.stage_event(
                event,
                StagedEvent { log, seq, id, payload, sealed: false, ticket: None },
            );
        }
        self.stage_signature(signature);
        Ok(())
    }

    /// Whether events and what is held are one chain.
    fn extends(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
        events: &[Event],
    ) -> Result<bool, ReplicaError> {
        let Some(Head { seq: held, id }) = self.logs.get(log).and_then(|state| state.row.held)
        else {
            return Ok(events.first().is_none_or(|event| event.header.prev.is_none()));
        };
        for event in events {
            let seq = event.header.seq;
            if seq == held + 1 && event.header.prev != Some(id) {
                return Ok(false);
            }
            if seq <= held
                && let Some(known) = self.event_id(access, log, seq)?
                && known != event.id
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens a received event; one that does not open takes effect as nothing, on every device
    /// alike, because every device with the epoch's secret sees the same.
    pub(crate) fn open_event(&mut self, event: &Event) -> Option<Payload> {
        let key = self.keys.event_key(&event.header.epoch, &event.header.log.tag)?;
        match event.open(&key) {
            Ok(payload) => Some(payload),
            Err(error) => {
                tracing::warn!(event = %event.id, %error, "an event does not open");
                None
            }
        }
    }

    pub(crate) fn knows_epoch(&self, epoch: &rhizome_identity::EpochId) -> bool {
        !self.keys.can_read() || self.keys.has_epoch(epoch)
    }
}

fn finish(mut events: Vec<Event>, signature: Option<RunSignature>) -> Option<Run> {
    let signature = signature?;
    events.retain(|event| event.header.seq <= signature.head.seq);
    (!events.is_empty()).then(|| Run::pack(&events, signature))
}

fn signatures_after(
    access: &Access<'_, '_>,
    log: &LogId,
    after: u64,
) -> Result<Vec<RunSignature>, ReplicaError> {
    let from = rows::signature_key(log, after + 1);
    let to = rows::signature_key(log, after + RUN_EVENTS_MAX as u64 + 1);
    let mut found = Vec::new();
    let mut broken = None;
    access.index.scan(&from, Some(&to), &mut |_, value| match rows::parse(value) {
        Ok(signature) => {
            found.push(signature);
            ControlFlow::Continue(())
        }
        Err(error) => {
            broken = Some(error);
            ControlFlow::Break(())
        }
    })?;
    broken.map_or(Ok(found), |error| Err(error.into()))
}

fn last_certificate(
    access: &Access<'_, '_>,
    from: u64,
) -> Result<Option<Certificate>, ReplicaError> {
    let mut last: Option<Certificate> = None;
    let mut broken = None;
    access.index.scan(
        &rows::certificate_key(from + 1),
        Some(&[space::CERTIFICATE + 1]),
        &mut |_, value| match rows::parse::<Certificate>(value) {
            Ok(certificate) => {
                let far = certificate.seen.i > from + ENTRIES_MAX as u64;
                let other = last.as_ref().is_some_and(|last| last.seen.g != certificate.seen.g);
                if last.is_some() && (far || other) {
                    return ControlFlow::Break(());
                }
                last = Some(certificate);
                ControlFlow::Continue(())
            }
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    broken.map_or(Ok(last), |error| Err(error.into()))
}

/// Reads a block; a damaged one is logged, and `None` lets a peer's copy stand in.
pub(crate) fn read_or_report(
    access: &Access<'_, '_>,
    place: Place,
    cid: &Cid,
) -> Result<Option<Vec<u8>>, ReplicaError> {
    match access.blocks.read(place, cid) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(rhizome_log::ReadError::Damaged { cid }) => {
            tracing::error!(%cid, "a block on this disk is damaged");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

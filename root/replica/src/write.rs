//! Local writes: sealed, chained and staged; acknowledged once they are durable.

use crate::access::{Access, ReplicaError};
use crate::command::CommandError;
use crate::input::{Effect, Tick, Ticket, Write};
use crate::stage::{Staged, StagedEvent};
use crate::state::Replica;
use rhizome_block::Version;
use rhizome_block::planted::{Bug, planted};
use rhizome_log::{
    Clock, Dep, Event, EventError, EventId, Head, LogId, LogTag, Payload, PayloadKind,
    RUN_BYTES_MAX, RunSignature, Slot,
};
use std::sync::Arc;

/// How far a foreign clock may run ahead and still advance ours (`design.md` 4).
pub(crate) const CLOCK_AHEAD_MS_MAX: u64 = 10 * 60 * 1000;

/// Most events staged in one batch, so that one run of them stays within the bounds of a run.
pub(crate) const BATCH_EVENTS_MAX: usize = rhizome_log::RUN_EVENTS_MAX;

impl Replica {
    pub(crate) fn write(
        &mut self,
        tick: Tick,
        access: &mut Access<'_, '_>,
        write: Write,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if planted(Bug::WriteWaits) && self.peers.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.may_write() {
            effects.push(Effect::Rejected(write.ticket, error));
            return Ok(());
        }
        let tag = self.keys.log_tag(&write.app);
        let log = self.own_log(&tick.entropy, tag);
        let first = self.held(&log) == 0;
        let hlc = self.stamp(tick.now_ms);
        let deps = self.changed_heads(access, &log)?;
        let payload = Payload {
            k: PayloadKind,
            v: Version,
            app: first.then(|| write.app.clone()),
            deps,
            hlc,
            schema: write.schema,
            body: write.body,
        };
        match self.seal(tick, log, &payload) {
            Ok(event) => self.stage_own(event, payload, write.ticket),
            Err(source) => {
                let refused = CommandError::Event { source: Arc::new(source) };
                effects.push(Effect::Rejected(write.ticket, refused));
            }
        }
        Ok(())
    }

    fn may_write(&self) -> Result<(), CommandError> {
        if !self.keys.can_read() {
            return Err(CommandError::NoKeys);
        }
        if !self.control.state().is_live(&self.device()) {
            return Err(CommandError::Removed);
        }
        Ok(())
    }

    fn stage_own(&mut self, event: Event, payload: Payload, ticket: Ticket) {
        let (log, seq, id) = (event.header.log, event.header.seq, event.id);
        let bytes = event.body.len();
        let ticket = Some(ticket);
        let payload = Some(payload);
        let staged = StagedEvent { log, seq, id, payload, sealed: false, ticket };
        self.stage_event(event, staged);
        let unsigned = self.unsigned.entry(log).or_default();
        *unsigned += bytes;
        if *unsigned >= RUN_BYTES_MAX / 2 {
            self.sign(log);
        }
    }

    fn seal(&mut self, tick: Tick, log: LogId, payload: &Payload) -> Result<Event, EventError> {
        let held = self.logs.get(&log).and_then(|state| state.row.held);
        let slot = Slot {
            log,
            seq: held.map_or(1, |head| head.seq + 1),
            prev: held.map(|head| head.id),
            epoch: self.keys.newest_epoch().ok_or(EventError::NoKey)?,
            seen: self.order.applied,
        };
        let key = self.keys.event_key(&slot.epoch, &log.tag).ok_or(EventError::NoKey)?;
        slot.seal(&key, nonce(tick, &log, slot.seq), payload)
    }

    /// This device's log of an app: the newest incarnation, or a new one after a cut.
    fn own_log(&mut self, entropy: &[u8; 32], tag: LogTag) -> LogId {
        let author = self.device();
        let newest = self
            .tags
            .get(&tag)
            .and_then(|logs| logs.iter().rfind(|log| log.author == author))
            .map(|log| log.incarnation);
        let cut = self.cut.remove(&tag).filter(|_| !planted(Bug::SequenceReused));
        let free = newest.map_or(0, |newest| newest.saturating_add(1)).max(cut.unwrap_or(0));
        let incarnation = match self.doubtful_skip(entropy, tag) {
            Some(skip) => free.saturating_add(skip),
            None if cut.is_some() => free,
            None => newest.unwrap_or(0),
        };
        LogId { author, tag, incarnation }
    }

    /// The next hybrid clock of this device.
    fn stamp(&mut self, now_ms: u64) -> Clock {
        self.clock = Clock::at_ms(now_ms).max(self.clock.next());
        self.clock
    }

    /// Heads of the app's other logs that `log` does not depend on yet.
    fn changed_heads(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
    ) -> Result<Vec<Dep>, ReplicaError> {
        let Some(others) = self.tags.get(&log.tag) else { return Ok(Vec::new()) };
        let knows = self.logs.get(log).map(|state| Arc::clone(&state.knows)).unwrap_or_default();
        let mut deps = Vec::new();
        for other in others.iter().filter(|other| *other != log) {
            let opened = self.logs.get(other).map_or(0, |state| state.row.opened);
            // Nothing is built on what was set aside: that would make it count.
            let opened = match self.vouched_at {
                Some(_) => self.visible(other).map_or(opened, |visible| opened.min(visible)),
                None => opened,
            };
            if opened > knows.get(other).copied().unwrap_or(0)
                && let Some(id) = self.event_id(access, other, opened)?
            {
                deps.push(Dep { log: *other, seq: opened, id });
            }
        }
        Ok(deps)
    }

    pub(crate) fn event_id(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
        seq: u64,
    ) -> Result<Option<EventId>, ReplicaError> {
        let head = self.logs.get(log).and_then(|state| state.row.held);
        if let Some(head) = head.filter(|head| head.seq == seq) {
            return Ok(Some(head.id));
        }
        let row: Option<crate::rows::EventRow> =
            crate::rows::get(access.index, &crate::rows::event_key(log, seq))?;
        Ok(row.map(|row| row.id))
    }

    /// Signs what this device staged, places what may be placed, and hands out the append.
    pub(crate) fn flush(&mut self, tick: Tick, effects: &mut Vec<Effect>) {
        self.say_again(tick, effects);
        let unsigned: Vec<LogId> = self.unsigned.keys().copied().collect();
        unsigned.into_iter().for_each(|log| self.sign(log));
        self.place_staged(effects);
        if !self.blocks.is_empty() {
            self.appending = true;
            effects.push(Effect::Append(std::mem::take(&mut self.blocks)));
        }
    }

    /// Signs a log of this device up to its head.
    fn sign(&mut self, log: LogId) {
        self.unsigned.remove(&log);
        if let Some(head) = self.logs.get(&log).and_then(|state| state.row.held) {
            let signature = RunSignature::sign(self.keys.signing(), log, head);
            self.stage_signature(signature);
        }
    }

    pub(crate) fn stage_signature(&mut self, signature: RunSignature) {
        let Head { seq, .. } = signature.head;
        self.log_mut(signature.log).row.signed = seq;
        self.blocks.push(signature.block());
        self.staged.push(Staged::Signature(signature));
    }
}

/// 24 bytes that no other event gets: fresh randomness of the step, bound to the place.
fn nonce(tick: Tick, log: &LogId, seq: u64) -> [u8; 24] {
    if planted(Bug::NonceReused) {
        return [u8::try_from(seq).unwrap_or(u8::MAX); 24];
    }
    let mut input = [0; LogId::BYTES + 8];
    input[..LogId::BYTES].copy_from_slice(&log.to_bytes());
    input[LogId::BYTES..].copy_from_slice(&seq.to_be_bytes());
    let hash = rhizome_seal::keyed_hash(&tick.entropy, "rhizome event nonce v1", &input);
    *hash.first_chunk::<24>().expect("a hash has 32 bytes")
}

//! Placing: what this replica proposes, what it accepts as committed, what takes effect.

use crate::access::{Access, ReplicaError};
use crate::control::belongs;
use crate::input::{Alarm, CloseReason, Effect, OrderCommand, OrderNews};
use crate::quarantine::Vouched;
use crate::rows::{self, EntryRow, EventRow};
use crate::state::{Replica, Role};
use rhizome_block::planted::{Bug, planted};
use rhizome_cluster::{Certificate, CertificateError, Chain, Entry, EntryBody, Ready, Sequencer};
use rhizome_identity::{ControlBody, ControlRecord, DeviceId};
use rhizome_log::{Dep, Index, LogId, Position, Seen};
use std::collections::BTreeSet;

/// Most entries of one message and of one proposal: an entry is some 150 bytes, so this stays far
/// below a frame, and a follower stores in bounded steps.
pub(crate) const ENTRIES_MAX: usize = 1024;

impl Replica {
    /// Places what is staged or held and not placed yet, if this replica orders.
    pub(crate) fn place_staged(&mut self, effects: &mut Vec<Effect>) {
        if self.is_rewinding() {
            return;
        }
        match self.order.role {
            Role::Sequencer if !self.doubts_its_places() => self.place_alone(),
            Role::Voter { leading: true } => {
                let bodies = self.unplaced();
                if !bodies.is_empty() {
                    effects.push(Effect::Order(OrderCommand::Propose(bodies)));
                }
            }
            // One voter that may have forgotten what it placed would place something else there.
            Role::Sequencer | Role::Voter { leading: false } | Role::Follower => {}
        }
    }

    fn place_alone(&mut self) {
        let bodies = self.unplaced();
        if bodies.is_empty() {
            return;
        }
        let mut sequencer = Sequencer::new(self.order.chain.end(), self.order.generation);
        for body in bodies {
            let placed = sequencer.place(body);
            self.stage_entry(placed);
        }
        // A place that this device may have signed for a reform that lost is not signed again.
        let signed = self.reforms.void_to(self.order.generation).unwrap_or(0);
        while sequencer.end().i <= signed
            && let Some(filler) = self.filler(self.order.generation)
        {
            let placed = sequencer.place(filler);
            self.stage_entry(placed);
        }
        self.order.chain = Chain::from(sequencer.end());
        let certificate = sequencer.certify(self.keys.signing());
        self.stage_certificate(certificate);
    }

    /// What may be placed next: control records first, nothing after one that changes the voters.
    fn unplaced(&mut self) -> Vec<EntryBody> {
        let mut bodies = Vec::new();
        if self.order.closing {
            return bodies;
        }
        let committed = self.control.committed_state().height().max(self.order.proposed_control);
        for record in self.control.chain_from(committed + 1) {
            bodies.push(EntryBody::Control { record: record.cid() });
            self.order.proposed_control = record.height();
            if changes_voters(record) {
                self.order.closing = true;
                return bodies;
            }
        }
        self.place_repeated(&mut bodies);
        let known = self.control.state();
        for (log, state) in &mut self.logs {
            let from = state.row.placed.max(state.proposed) + 1;
            let Some(head) = state.row.held.filter(|head| head.seq == state.row.signed) else {
                continue;
            };
            // Its author was let in on a branch that lost; it has its turn once that is mended.
            if !belongs(known, log, head.seq) {
                continue;
            }
            if head.seq >= from && bodies.len() < ENTRIES_MAX {
                bodies.push(EntryBody::Range { log: *log, from, head });
                state.proposed = head.seq;
            }
        }
        bodies
    }

    /// What was ordered once and is to be ordered anew comes first, as it came before.
    fn place_repeated(&mut self, bodies: &mut Vec<EntryBody>) {
        for (log, head) in self.take_repeated() {
            let known = belongs(self.control.state(), &log, head.seq);
            let Some(state) = self.logs.get_mut(&log).filter(|_| known) else { continue };
            let from = state.row.placed.max(state.proposed) + 1;
            if head.seq >= from && state.row.signed >= head.seq {
                bodies.push(EntryBody::Range { log, from, head });
                state.proposed = head.seq;
            }
        }
    }

    /// Takes news of the group of voters.
    pub(crate) fn order_news(
        &mut self,
        access: &mut Access<'_, '_>,
        news: OrderNews,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        match news {
            OrderNews::Leading(leading) => {
                if let Role::Voter { .. } = self.order.role {
                    self.order.role = Role::Voter { leading };
                    self.forget_proposals();
                }
                Ok(())
            }
            OrderNews::Committed { entries, certificate } => {
                let me = self.device();
                self.take_entries(access, me, &entries, certificate, effects)
            }
        }
    }

    /// What was proposed and not committed may be lost with a leader: propose it again.
    fn forget_proposals(&mut self) {
        if planted(Bug::NotProposedAgain) {
            return;
        }
        self.order.proposed_control = 0;
        for state in self.logs.values_mut() {
            state.proposed = state.row.placed;
        }
    }

    /// Takes entries that somebody calls committed.
    pub(crate) fn take_entries(
        &mut self,
        access: &mut Access<'_, '_>,
        from: DeviceId,
        entries: &[Entry],
        certificate: Certificate,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if self.is_rewinding() {
            return Ok(());
        }
        if self.is_fenced(&certificate.seen) {
            self.show_reform(from, effects);
            return Ok(());
        }
        let end = self.order.chain.end();
        if certificate.seen.i <= end.i {
            return self.compare_orders(access, from, entries, &certificate, effects);
        }
        if !self.accepts(from, &certificate, effects) {
            return Ok(());
        }
        let mut chain = self.order.chain;
        let mut placed = Vec::new();
        for entry in entries.iter().filter(|entry| entry.i > end.i) {
            match chain.extend(entry.clone()) {
                Ok(entry) => placed.push(entry),
                Err(error) => {
                    tracing::debug!(peer = %from.short(), %error, "entries leave a gap");
                    self.refused.insert(from);
                    return Ok(());
                }
            }
        }
        if chain.end() != certificate.seen && self.may_differ(&end, &certificate.seen) {
            self.refused.insert(from);
            self.show_reform(from, effects);
            return Ok(());
        }
        if chain.end() != certificate.seen {
            // Whoever shows it may have been lied to as this device was: the link stays, and it is
            // asked again once the control log says more.
            self.refused.insert(from);
            self.strays();
            if !self.prove(access, from, entries, &certificate, effects)? {
                self.go_back(access, from, end.i / 2, effects)?;
            }
            return Ok(());
        }
        if !self.begins_rightly(&placed) {
            // It may go on what this batch has only begun with: it is sent again after that.
            self.refused.insert(from);
            self.show_reform(from, effects);
            return Ok(());
        }
        self.order.chain = chain;
        for entry in placed {
            self.stage_entry(entry);
        }
        self.stage_certificate(certificate);
        Ok(())
    }

    /// Whether voters may have been chosen that are not known here: later ones, or on another
    /// branch than the one this device believes in. The order that it can check says so.
    fn may_lack_voters(&self, generation: u64) -> bool {
        !self.order.voters.contains_key(&generation)
            || self.control.head() != self.control.committed_head()
    }

    fn close_unless_me(&self, from: DeviceId, effects: &mut Vec<Effect>) {
        if from != self.device() {
            effects.push(Effect::Close(from, CloseReason::Misbehaved));
        }
    }

    /// Whether a majority of the voters of that generation signed.
    fn verify_certificate(&self, certificate: &Certificate) -> Result<(), CertificateError> {
        let empty = Vec::new();
        let sets = self.order.voters.get(&certificate.seen.g).unwrap_or(&empty);
        let mut result = certificate.verify(&BTreeSet::new(), &BTreeSet::new());
        for voters in sets.iter().rev() {
            result = certificate.verify(voters, &self.trusted_of(voters));
            if result.is_ok() {
                break;
            }
        }
        result
    }

    pub(crate) fn trusted_of(&self, voters: &BTreeSet<DeviceId>) -> BTreeSet<DeviceId> {
        let state = self.control.state();
        let trusted = |device: &&DeviceId| {
            state.device(device).is_some_and(|one| one.certificate.body().sealing.is_some())
        };
        voters.iter().filter(trusted).copied().collect()
    }

    /// A certified position below our end must be one we know. Only another one needs its proof.
    fn compare_orders(
        &mut self,
        access: &Access<'_, '_>,
        from: DeviceId,
        entries: &[Entry],
        certificate: &Certificate,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if self.contradicts(access, &certificate.seen)?
            && self.accepts(from, certificate, effects)
            && !self.prove(access, from, entries, certificate, effects)?
        {
            self.go_back(access, from, certificate.seen.i / 2, effects)?;
        }
        Ok(())
    }

    /// Whether a certificate holds. Whoever shows one that does not, without a good reason, is cut
    /// off.
    fn accepts(
        &mut self,
        from: DeviceId,
        certificate: &Certificate,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if planted(Bug::CertificateUnchecked) {
            return true;
        }
        let Err(error) = self.verify_certificate(certificate) else { return true };
        tracing::warn!(peer = %from.short(), %error, "refused a certificate");
        if self.may_lack_voters(certificate.seen.g) {
            self.refused.insert(from);
        } else {
            self.close_unless_me(from, effects);
        }
        false
    }

    /// Applies certified entries as far as what they name is held. Returns what took effect.
    pub(crate) fn apply_order(
        &mut self,
        access: &mut Access<'_, '_>,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<(Ready, Position)>, ReplicaError> {
        let mut ready = Vec::new();
        while self.take_effect(access, &mut ready)? && self.order.applied.i < self.order.end.i {
            let next = self.order.applied.i + 1;
            let Some(row): Option<EntryRow> = rows::get(access.index, &rows::entry_key(next))?
            else {
                break;
            };
            if !self.may_apply(access, &row.body, effects)? {
                break;
            }
            self.apply(access, &row, effects)?;
        }
        for (Ready { log, seq }, _) in &ready {
            self.log_mut(*log).row.effective = *seq;
        }
        Ok(ready)
    }

    /// Notes what takes effect at the place the order is applied to. Nothing behind it may be
    /// applied (`false`) before all that takes effect there is here.
    fn take_effect(
        &mut self,
        access: &mut Access<'_, '_>,
        ready: &mut Vec<(Ready, Position)>,
    ) -> Result<bool, ReplicaError> {
        if !self.keys.can_read() {
            return Ok(true);
        }
        let at = Position::from(self.order.applied);
        loop {
            let deps = |ready: Ready| deps_of(access, ready);
            ready.extend(self.cursors.advance(deps)?.into_iter().map(|ready| (ready, at)));
            match self.vouch(access)? {
                Vouched::Nothing => return Ok(true),
                Vouched::Some => {}
                Vouched::Missing => return Ok(false),
            }
        }
    }

    /// Whether what an entry names is here and is what the entry says.
    fn may_apply(
        &mut self,
        access: &Access<'_, '_>,
        body: &EntryBody,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, ReplicaError> {
        match body {
            EntryBody::Control { record } => Ok(self.control.record(record).is_some()),
            EntryBody::Range { .. } if planted(Bug::NotHeldApplied) => Ok(true),
            EntryBody::Range { log, head, .. } => {
                if self.is_void(log, head.seq) {
                    return Ok(true);
                }
                if self.held(log) < head.seq || self.is_sealed(access, log, head.seq)? {
                    return Ok(false);
                }
                let floor = self.logs.get(log).map_or(0, |state| state.row.floor);
                let same = head.seq <= floor
                    || self.event_id(access, log, head.seq)?.is_none_or(|id| id == head.id);
                if !same && self.disputes(*head.id.0.digest()) {
                    effects.push(Effect::Alarm(Alarm::Misplaced { log: *log, seq: head.seq }));
                }
                Ok(same)
            }
        }
    }

    /// Whether an event up to `seq` waits for the secret of its epoch: what it depends on is not
    /// known, so nothing may be said about its effect. Only a fold meets such events, where it
    /// reads them before the record that brought the secret; runs of unknown epochs are not taken.
    fn is_sealed(
        &self,
        access: &Access<'_, '_>,
        log: &LogId,
        seq: u64,
    ) -> Result<bool, ReplicaError> {
        if !self.keys.can_read() {
            return Ok(false);
        }
        let opened = self.logs.get(log).map_or(0, |state| state.row.opened);
        for at in opened + 1..=seq {
            let row: Option<EventRow> = rows::get(access.index, &rows::event_key(log, at))?;
            if row.is_some_and(|row| row.sealed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a placed stretch counts as nothing, because its author was not let in by then: it
    /// was, on a branch of the control log that lost. It is placed again once the author is.
    fn is_void(&self, log: &LogId, seq: u64) -> bool {
        !belongs(self.control.committed_state(), log, seq)
    }

    fn apply(
        &mut self,
        access: &Access<'_, '_>,
        row: &EntryRow,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        self.order.applied = row.seen;
        match &row.body {
            EntryBody::Range { log, head, .. } if self.is_void(log, head.seq) => {
                if let Some(state) = self.logs.get_mut(log) {
                    state.proposed = state.row.placed;
                }
            }
            EntryBody::Range { log, head, .. } => self.place_log(*log, *head),
            EntryBody::Control { record } => {
                self.order.control_at = row.seen.i;
                let before = self.control.committed_state().clone();
                let beside: Vec<ControlRecord> =
                    self.control.tentative().into_iter().cloned().collect();
                match self.control.commit(*record) {
                    Ok(done) => {
                        let lost = |one: &ControlRecord| done.lost.contains(&one.cid());
                        let lost: Vec<_> = beside.into_iter().filter(lost).collect();
                        self.owe(lost.iter().cloned());
                        self.set_aside_lost(lost);
                    }
                    Err(error) => tracing::warn!(%error, "an ordered control record has lost"),
                }
                if self.control.committed_state().generation() != before.generation() {
                    self.note_generation(record, row.seen);
                }
                self.note_removals(access, &before)?;
                self.control_changed(effects);
            }
        }
        Ok(())
    }
}

/// The last place up to `end` that is reached from `from` over control records alone: none of them
/// changes a document, so a checkpoint cut at `from` holds everything up to there.
pub fn past_control(index: &dyn Index, from: Seen, end: u64) -> Result<Seen, ReplicaError> {
    let mut seen = from;
    while seen.i < end {
        let Some(bytes) = index.get(&rows::entry_key(seen.i + 1))? else { break };
        let row: EntryRow = rows::parse(&bytes)?;
        if !matches!(row.body, EntryBody::Control { .. }) {
            break;
        }
        seen = row.seen;
    }
    Ok(seen)
}

/// After such a record others may order: nothing is placed behind it in the same breath.
fn changes_voters(record: &ControlRecord) -> bool {
    matches!(record.body(), ControlBody::ChangeVoters(_) | ControlBody::Reform(_))
}

fn deps_of(access: &Access<'_, '_>, ready: Ready) -> Result<Vec<Dep>, ReplicaError> {
    let row: Option<EventRow> = rows::get(access.index, &rows::event_key(&ready.log, ready.seq))?;
    Ok(row.map(|row| row.deps).unwrap_or_default())
}

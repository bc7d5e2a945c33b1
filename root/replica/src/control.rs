//! The control log inside the replica: taking records, sending them, and what they change here.

use crate::access::{Access, ReplicaError};
use crate::command::CommandError;
use crate::input::{CloseReason, Effect, OrderCommand, Tick, VoterList};
use crate::message::{ControlHead, Message};
use crate::peer::CONTROL_RECORDS_MAX;
use crate::stage::Staged;
use crate::state::{Replica, Role};
use rhizome_block::planted::{Bug, planted};
use rhizome_block::{Block, Cid};
use rhizome_identity::{
    ControlBody, ControlError, ControlRecord, ControlState, DeviceId, Inserted, LogHead,
};
use rhizome_log::{LogId, LogTag, Seen};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Replica {
    /// Takes a record in and stages it, if it holds.
    pub(crate) fn stage_control(
        &mut self,
        record: ControlRecord,
        from: Option<DeviceId>,
    ) -> Result<Cid, CommandError> {
        let cid = record.cid();
        match self.insert_control(record, from) {
            Ok(Inserted::Known) => {}
            Ok(Inserted::Waiting { missing }) => {
                tracing::debug!(%cid, %missing, "a control record waits for its parent");
            }
            Ok(Inserted::Placed { placed, refused, change }) => {
                let left = change.left.iter().filter_map(|cid| self.control.record(cid).cloned());
                self.owe(left.collect::<Vec<_>>());
                for (cid, error) in refused {
                    tracing::warn!(%cid, %error, "refused a control record");
                }
                for cid in &placed {
                    self.stage_record(cid);
                    self.hold_secrets(cid);
                }
            }
            Err(source) => return Err(CommandError::Control { source: Arc::new(source) }),
        }
        Ok(cid)
    }

    /// Takes a record in; one that lost to what is committed is set aside, because a reform may
    /// build on it.
    pub(crate) fn insert_control(
        &mut self,
        record: ControlRecord,
        from: Option<DeviceId>,
    ) -> Result<Inserted, ControlError> {
        let inserted = self.control.insert(record.clone());
        if matches!(inserted, Ok(Inserted::Waiting { .. }) | Err(ControlError::Superseded { .. })) {
            self.set_aside(record, from);
        }
        inserted
    }

    /// Takes the secrets that a record brings, whether its branch counts or not.
    pub(crate) fn hold_secrets(&mut self, cid: &Cid) {
        let brings = self.control.record(cid).is_some_and(brings_secrets);
        if let Some(state) = self.control.state_after(cid).filter(|_| brings) {
            self.keys.hold(state);
        }
    }

    fn stage_record(&mut self, cid: &Cid) {
        let Some(record) = self.control.record(cid) else { return };
        let (height, bytes) = (record.height(), record.to_bytes());
        self.blocks.push(Block { cid: *cid, bytes: bytes.clone() });
        self.staged.push(Staged::Control { cid: *cid, height, bytes });
    }

    /// Takes records of a peer.
    pub(crate) fn take_control(
        &mut self,
        _tick: Tick,
        access: &mut Access<'_, '_>,
        from: DeviceId,
        records: Vec<ByteBuf>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let before = self.control.head();
        for bytes in records.into_iter().take(CONTROL_RECORDS_MAX) {
            let taken = ControlRecord::from_bytes(&bytes)
                .map(|record| self.stage_control(record, Some(from)));
            match taken {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(peer = %from.short(), %error, "refused a control record");
                    if is_full(&error) {
                        // There is room again once the order has made some of them final.
                        self.refused.insert(from);
                    }
                }
                Err(error) => {
                    tracing::warn!(peer = %from.short(), %error, "malformed control record");
                    effects.push(Effect::Close(from, CloseReason::Misbehaved));
                    return Ok(());
                }
            }
        }
        if self.control.head() != before {
            self.control_changed(effects);
        }
        self.contest(access)
    }

    /// Sends records from a height on, and the tentative ones beside the chain, oldest first.
    pub(crate) fn send_records(&self, device: DeviceId, height: u64, effects: &mut Vec<Effect>) {
        let chain = self.control.chain_from(height);
        let beside = self.control.tentative();
        let mut sent = BTreeSet::new();
        let records: Vec<ByteBuf> = chain
            .into_iter()
            .chain(beside)
            .filter(|record| sent.insert(record.cid()))
            .map(|record| ByteBuf::from(record.to_bytes()))
            .collect();
        for records in records.chunks(CONTROL_RECORDS_MAX) {
            let records = records.to_vec();
            effects.push(Effect::Send(device, Message::Control { records }));
        }
    }

    /// Sends a peer the records it lacks.
    pub(crate) fn send_control(&mut self, device: DeviceId, effects: &mut Vec<Effect>) {
        let ours = self.control_head();
        let Some(peer) = self.peers.get_mut(&device) else { return };
        let theirs = peer.control.unwrap_or(ControlHead { height: 0, record: ours.record });
        if theirs == ours {
            return;
        }
        peer.control = Some(ours);
        let on_our_chain = theirs.height == 0
            || self
                .control
                .chain_from(theirs.height)
                .first()
                .is_some_and(|record| record.cid() == theirs.record);
        let from = if on_our_chain { theirs.height + 1 } else { 1 };
        self.send_records(device, from, effects);
    }

    /// Draws the consequences of a new control state.
    pub(crate) fn control_changed(&mut self, effects: &mut Vec<Effect>) {
        self.keys.learn(self.control.state());
        self.order.voters = self.voter_history();
        self.learn_reforms();
        self.close_removed(effects);
        self.choose_role(effects);
        effects.push(Effect::ControlChanged);
    }

    fn close_removed(&mut self, effects: &mut Vec<Effect>) {
        if planted(Bug::RemovedStaysConnected) {
            return;
        }
        let state = self.control.state();
        let removed = |device: &DeviceId| state.device(device).is_some_and(|one| !one.is_live());
        let gone: Vec<DeviceId> =
            self.peers.keys().copied().filter(|device| removed(device)).collect();
        for device in gone {
            self.peers.remove(&device);
            self.tell_removed(device, effects);
            effects.push(Effect::Close(device, CloseReason::Revoked));
        }
    }

    /// Shows a removed device the record that removed it, and what leads there: it need not take
    /// anybody's word for it. Nothing newer is shown.
    pub(crate) fn tell_removed(&self, device: DeviceId, effects: &mut Vec<Effect>) {
        let known = self.control.state().device(&device);
        let Some(by) = known.and_then(|one| one.revoked.as_ref()).map(|one| one.record) else {
            return;
        };
        let chain = self.control.chain_from(1);
        let Some(at) = chain.iter().position(|record| record.cid() == by) else { return };
        let from = (at + 1).saturating_sub(CONTROL_RECORDS_MAX);
        let bytes = |record: &&ControlRecord| ByteBuf::from(record.to_bytes());
        let records = chain[from..=at].iter().map(bytes).collect();
        effects.push(Effect::Send(device, Message::Control { records }));
    }

    /// Voters of every generation, from the records that count.
    fn voter_history(&self) -> BTreeMap<u64, Vec<BTreeSet<DeviceId>>> {
        let first = BTreeSet::from([self.control.genesis().device().device()]);
        let mut history = BTreeMap::from([(rhizome_identity::GENERATION_FIRST, vec![first])]);
        for record in self.control.chain_from(1) {
            let (generation, voters) = match record.body() {
                ControlBody::ChangeVoters(change) => (change.generation, &change.voters),
                ControlBody::Reform(reform) => (reform.generation, &reform.voters),
                _ => continue,
            };
            history.entry(generation).or_default().push(voters.iter().copied().collect());
        }
        history
    }

    /// Takes the part in ordering that the committed voters give this device.
    fn choose_role(&mut self, effects: &mut Vec<Effect>) {
        let (generation, mut voters, base) = self.in_force();
        if let Some(base) = base.filter(|base| self.stands_at(*base, generation)) {
            self.order.base_of.insert(generation, base);
        }
        if base.is_some_and(|base| !self.stands_at(base, generation)) {
            // It orders once it stands where the reform goes on from.
            voters.remove(&self.device());
        }
        if !self.control.state().is_live(&self.device()) {
            // Removed, or not let in yet: it orders nothing, whatever the voters were.
            voters.remove(&self.device());
        }
        let was = (self.order.role, self.order.generation);
        self.order.closing &= self.control.committed_state().height() < self.order.proposed_control;
        self.order.generation = generation;
        self.order.role = match (voters.contains(&self.device()), voters.len()) {
            (false, _) => Role::Follower,
            (true, 1) => Role::Sequencer,
            (true, _) => match self.order.role {
                Role::Voter { leading } if was.1 == generation => Role::Voter { leading },
                _ => Role::Voter { leading: false },
            },
        };
        if was != (self.order.role, generation) {
            for state in self.logs.values_mut() {
                state.proposed = state.row.placed;
            }
            self.order.proposed_control = 0;
        }
        // Two groups of one generation would share one log: such a generation is left to others.
        let is_voter = matches!(self.order.role, Role::Voter { .. })
            && self.reforms.void_to(generation).is_none();
        if is_voter && self.order.base_of.contains_key(&generation) {
            effects.push(Effect::Order(self.run_order(generation)));
        } else if matches!(was.0, Role::Voter { .. }) && !is_voter {
            effects.push(Effect::Order(OrderCommand::Stop));
        }
    }

    /// The generation in force, its voters, and the base of a reform that has no place yet.
    fn in_force(&self) -> (u64, BTreeSet<DeviceId>, Option<Seen>) {
        if let Some(reform) = self.governing() {
            let voters = reform.voters.iter().copied().collect();
            return (reform.generation, voters, Some(reform.base));
        }
        let state = self.control.committed_state();
        (state.generation(), state.voters().iter().copied().collect(), None)
    }

    fn run_order(&self, generation: u64) -> OrderCommand {
        let admitted = |device: &DeviceId| {
            self.control.state().device(device).map(|one| (*device, one.admitted.record))
        };
        let list = |voters: &BTreeSet<DeviceId>| VoterList {
            admitted: voters.iter().filter_map(admitted).collect(),
            trusted: self.trusted_of(voters),
        };
        let sets = self.order.voters.get(&generation);
        OrderCommand::Run {
            generation,
            base: self.order.base_of.get(&generation).copied().unwrap_or_default(),
            sets: sets.into_iter().flatten().map(list).collect(),
            applied: self.order.applied,
        }
    }

    /// Notes where a generation begins: right after the record that changed the voters, or where a
    /// reform says.
    pub(crate) fn note_generation(&mut self, record: &Cid, at: Seen) {
        let generation = self.control.committed_state().generation();
        match self.control.record(record).map(ControlRecord::body) {
            Some(ControlBody::Reform(reform)) => {
                self.order.base_of.insert(generation, reform.base);
            }
            _ => {
                self.order.base_of.entry(generation).or_insert(at);
            }
        }
    }

    /// Whether events of a log up to `seq` are kept at all: of whoever is or was a device, and of
    /// adopted logs. Those of a removed device that do not count are set aside, because the order
    /// and other devices may build on them.
    pub(crate) fn may_keep(&self, log: &LogId, seq: u64) -> bool {
        belongs(self.control.state(), log, seq)
    }

    /// The signed head of every log.
    #[must_use]
    pub fn signed_log_heads(&self) -> Vec<LogHead> {
        let signed = |(log, state): (&LogId, &crate::state::LogState)| {
            let head = state.row.held.filter(|head| head.seq == state.row.signed)?;
            Some(LogHead {
                author: log.author,
                tag: log.tag.0,
                incarnation: log.incarnation,
                seq: head.seq,
                head: head.id.0,
            })
        };
        self.logs.iter().filter_map(signed).collect()
    }

    /// The last event held of each log of a device.
    pub(crate) fn heads_of(&self, device: &DeviceId) -> Vec<LogHead> {
        let all = self.signed_log_heads();
        all.into_iter().filter(|head| head.author == *device).collect()
    }
}

/// Whether a record was refused for lack of room alone.
fn is_full(error: &CommandError) -> bool {
    let CommandError::Control { source } = error else { return false };
    matches!(**source, ControlError::Full { .. })
}

/// Whether secrets come with a record: those of an epoch that it begins, or of the newest one, for
/// a device that it lets in, perhaps again, because it was first let in on a branch that lost.
pub(crate) fn brings_secrets(record: &ControlRecord) -> bool {
    record.body().epoch().is_some() || matches!(record.body(), ControlBody::AddDevice(_))
}

/// Whether a log up to `seq` is of whoever is or was a device, or was adopted.
pub(crate) fn belongs(state: &ControlState, log: &LogId, seq: u64) -> bool {
    state.device(&log.author).is_some()
        || state.adopted().any(|(_, adopted)| within(&adopted.heads, log, seq))
}

fn within(heads: &[LogHead], log: &LogId, seq: u64) -> bool {
    heads.iter().any(|head| {
        let id =
            LogId { author: head.author, tag: LogTag(head.tag), incarnation: head.incarnation };
        id == *log && seq <= head.seq
    })
}

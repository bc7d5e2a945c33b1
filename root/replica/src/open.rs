//! Opening a replica from its index, and folding blocks of the segments that the index lacks.
//!
//! The index may be behind the segments after a crash, or empty after it was lost. Either way the
//! driver replays every block after the index's mark, in order, and the same rows come out as when
//! the blocks were first completed.

use crate::access::{Access, ReplicaError};
use crate::base::Base;
use crate::complete::News;
use crate::control::brings_secrets;
use crate::doubt::Doubt;
use crate::input::Effect;
use crate::keys::ReplicaKeys;
use crate::pins::Manifest;
use crate::rows::{self, LogRow, OrderRow, space};
use crate::stage::{Staged, StagedEvent};
use crate::state::{LogState, OrderState, Replica, Role};
use rhizome_block::planted::{Bug, planted};
use rhizome_block::{Cid, Codec, peek_kind};
use rhizome_cluster::{
    Certificate, Chain, EffectCursors, Entry, EntryBody, OrderedEntry, genesis_chain,
};
use rhizome_identity::{
    ControlLog, ControlRecord, DeviceId, Genesis, Inserted, Signature, TENTATIVE_MAX,
};
use rhizome_log::{Clock, Event, Head, LogId, Place, RunSignature, read_header};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Blocks that wait for what comes after them during a replay.
#[derive(Default)]
pub struct Replay {
    header: Option<(Place, Cid, Vec<u8>)>,
    tail: BTreeMap<LogId, Vec<(Event, Place, Place)>>,
    order: OrderTail,
    /// What was delivered since the stretch began.
    effects: Vec<Effect>,
}

/// The newest of the order, which what comes after it may show to be left over: of a batch that was
/// never acknowledged, any part may have reached the disk, and the places it gave are given again.
#[derive(Default)]
struct OrderTail {
    entries: Vec<(OrderedEntry, Place)>,
    /// Covers all of `entries` up to the one it names.
    certificate: Option<(Certificate, Place)>,
    /// The order was taken anew from its start: what was held before led elsewhere.
    restarted: bool,
}

impl OrderTail {
    /// How many of the entries the certificate covers.
    fn covered(&self) -> usize {
        let Some((certificate, _)) = &self.certificate else { return 0 };
        self.entries.iter().take_while(|(one, _)| one.entry.i <= certificate.seen.i).count()
    }

    /// Forgets everything from `i` on: it is placed anew.
    fn cut(&mut self, i: u64) {
        self.entries.retain(|(one, _)| one.entry.i < i);
        if self.certificate.as_ref().is_some_and(|(one, _)| one.seen.i >= i) {
            self.certificate = None;
        }
    }
}

impl Replica {
    /// Opens a replica from the rows of its index.
    pub fn open(
        mut keys: ReplicaKeys,
        genesis: Genesis,
        access: &mut Access<'_, '_>,
    ) -> Result<Self, ReplicaError> {
        let start = genesis_chain(&genesis.identity_id());
        let row: Option<OrderRow> = rows::get(access.index, &rows::order_key())?;
        let control = open_control(genesis, access, row.as_ref(), &mut keys)?;
        keys.learn(control.state());
        let row = row.unwrap_or_else(|| OrderRow::at(start, control.committed_head()));
        let mut replica = Self {
            order: OrderState {
                chain: Chain::from(row.end),
                end: row.end,
                applied: row.applied,
                role: Role::Follower,
                generation: control.committed_state().generation(),
                voters: BTreeMap::new(),
                base_of: row.bases.iter().copied().collect(),
                control_at: row.applied.i,
                closing: false,
                proposed_control: 0,
            },
            keys,
            control,
            logs: BTreeMap::new(),
            tags: BTreeMap::new(),
            cursors: EffectCursors::default(),
            peers: BTreeMap::new(),
            blocks: Vec::new(),
            staged: Vec::new(),
            dirty: BTreeSet::new(),
            unsigned: BTreeMap::new(),
            fresh: Vec::new(),
            vouched: BTreeMap::new(),
            vouched_at: None,
            cut: BTreeMap::new(),
            doubt: Doubt::open(access)?,
            disputed: BTreeSet::new(),
            clock: Clock::default(),
            wanted: BTreeSet::new(),
            fetching: BTreeMap::new(),
            recent: BTreeMap::new(),
            owed: crate::again::Owed::default(),
            reforms: crate::reform::Reforms::open(access)?,
            refused: BTreeSet::new(),
            feeds: BTreeMap::new(),
            seals: crate::seal::Seals::open(access)?,
            appending: false,
        };
        replica.open_logs(access)?;
        Ok(replica)
    }

    fn open_logs(&mut self, access: &Access<'_, '_>) -> Result<(), ReplicaError> {
        let found: Vec<(Vec<u8>, LogRow)> = rows::scan(access.index, &[space::LOG])?;
        for (key, row) in found {
            let Ok(bytes) = <[u8; LogId::BYTES]>::try_from(&key[1..]) else { continue };
            let log = LogId::from_bytes(&bytes);
            self.clock = self.clock.max(row.clock);
            let effective = row.effective;
            self.index_log(log, row.app.as_deref());
            self.logs.insert(log, LogState::new(row));
            self.cursors.restore(log, self.countable(&log), effective);
        }
        Ok(())
    }

    /// Makes a log known under its tag, and an adopted one also under the tag of its app here.
    pub(crate) fn index_log(&mut self, log: LogId, app: Option<&str>) {
        self.tags.entry(log.tag).or_default().insert(log);
        if let Some(app) = app.filter(|_| self.keys.is_adopted(log.tag)) {
            let tag = self.keys.log_tag(app);
            self.tags.entry(tag).or_default().insert(log);
        }
    }

    /// Folds one block of the segments. Effects are gathered by [`Self::finish_replay`].
    ///
    /// Behind the record by which a reform makes what was ordered void nothing is folded: the
    /// replica went back there when it ran, so a fold does ([`Replica::rewinds`]).
    pub fn replay(
        &mut self,
        access: &mut Access<'_, '_>,
        replay: &mut Replay,
        place: Place,
        cid: Cid,
        bytes: &[u8],
    ) -> Result<(), ReplicaError> {
        let mut news = News::default();
        if self.is_rewinding() {
            return Ok(());
        }
        if cid.codec() == Codec::Raw {
            return self.replay_raw(access, replay, place, cid, bytes);
        }
        match peek_kind(bytes) {
            Some("event") => replay.header = Some((place, cid, bytes.to_vec())),
            Some("run") => self.replay_signature(access, replay, bytes)?,
            Some("control") => {
                if let Ok(record) = ControlRecord::from_bytes(bytes) {
                    self.replay_control(access, replay, place, record, bytes)?;
                }
            }
            Some("entry") => {
                if let Ok(entry) = Entry::read(bytes) {
                    self.replay_entry(access, replay, place, entry, &mut news)?;
                }
            }
            Some("certificate") => {
                if let Ok(certificate) = Certificate::read(bytes)
                    && certificate.seen == self.order.chain.end()
                {
                    replay.order.certificate = Some((certificate, place));
                }
            }
            Some("base") => {
                if let Ok(base) = Base::read(bytes) {
                    let staged = Staged::Base(Box::new(base));
                    self.note(access, staged, place, place, &mut news)?;
                }
            }
            Some("seal") => {
                let staged = Staged::Seal { bytes: bytes.to_vec() };
                self.note(access, staged, place, place, &mut news)?;
            }
            Some("manifest") if Manifest::read(bytes).is_ok() => {
                let staged = Staged::Pin { manifest: cid, bytes: bytes.to_vec(), ticket: None };
                self.note(access, staged, place, place, &mut news)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A record is judged by what the order had placed when it came.
    fn replay_control(
        &mut self,
        access: &mut Access<'_, '_>,
        replay: &mut Replay,
        place: Place,
        record: ControlRecord,
        bytes: &[u8],
    ) -> Result<(), ReplicaError> {
        let mut news = News::default();
        if !self.is_left_over(&replay.order) {
            self.settle_order(access, &mut replay.order, &mut news)?;
            self.order.chain = Chain::from(self.order.end);
        }
        self.deliver(access, &mut replay.effects)?;
        let (cid, height) = (record.cid(), record.height());
        match self.insert_control(record, None) {
            Ok(Inserted::Placed { placed, change, .. }) => {
                placed.iter().for_each(|cid| self.hold_secrets(cid));
                if self.has_reform(change.entered.iter().chain(&change.left)) {
                    self.learn_reforms();
                }
            }
            Ok(Inserted::Known | Inserted::Waiting { .. }) => {}
            Err(error) => {
                tracing::debug!(%cid, %error, "a stored control record does not count");
            }
        }
        self.contest(access)?;
        let staged = Staged::Control { cid, height, bytes: bytes.to_vec() };
        self.note(access, staged, place, place, &mut news)?;
        self.keys.learn(self.control.state());
        self.settle_reform(access)?;
        Ok(())
    }

    /// An entry that goes on where the order ends shows that what it goes on from counted.
    fn replay_entry(
        &mut self,
        access: &mut Access<'_, '_>,
        replay: &mut Replay,
        place: Place,
        entry: Entry,
        news: &mut News,
    ) -> Result<(), ReplicaError> {
        if entry.i <= self.order.end.i {
            if entry.i == 1 {
                replay.order.restarted = true;
                self.strays();
            }
            return Ok(());
        }
        replay.order.cut(entry.i);
        if replay.order.covered() == replay.order.entries.len() {
            self.settle_order(access, &mut replay.order, news)?;
        }
        let end = replay.order.entries.last().map_or(self.order.end, |(one, _)| one.seen);
        self.order.chain = Chain::from(end);
        let mut chain = self.order.chain;
        if let Ok(entry) = chain.extend(entry)
            && !self.reforms.is_void(&entry.seen, place)
        {
            self.order.chain = chain;
            replay.order.entries.push((entry, place));
        }
        Ok(())
    }

    /// Notes the certified entries of the tail, and drops those that no certificate covers.
    fn settle_order(
        &mut self,
        access: &mut Access<'_, '_>,
        tail: &mut OrderTail,
        news: &mut News,
    ) -> Result<(), ReplicaError> {
        let covered = tail.covered();
        for (entry, place) in tail.entries.drain(..).take(covered) {
            self.note(access, Staged::Entry(Box::new(entry)), place, place, news)?;
        }
        if let Some((certificate, place)) = tail.certificate.take() {
            self.note(access, Staged::Certificate(certificate), place, place, news)?;
        }
        Ok(())
    }

    /// Whether this device ordered the tail alone and lacks what it names. It never does that: what
    /// it names was in the same batch or before, so the batch is one that was never acknowledged.
    fn is_left_over(&self, tail: &OrderTail) -> bool {
        if planted(Bug::LeftOverCounts) {
            return false;
        }
        let me = self.device();
        let alone = |acks: &[(DeviceId, Signature)]| acks.len() == 1 && acks[0].0 == me;
        let lacks = |(one, _): &(OrderedEntry, Place)| !self.has_named(&one.entry.body);
        tail.certificate.as_ref().is_some_and(|(one, _)| alone(&one.acks))
            && tail.entries.iter().take(tail.covered()).any(lacks)
    }

    fn has_named(&self, body: &EntryBody) -> bool {
        match body {
            EntryBody::Control { record } => self.control.record(record).is_some(),
            EntryBody::Range { log, head, .. } => self.held(log) >= head.seq,
        }
    }

    fn replay_raw(
        &mut self,
        access: &mut Access<'_, '_>,
        replay: &mut Replay,
        place: Place,
        cid: Cid,
        bytes: &[u8],
    ) -> Result<(), ReplicaError> {
        if let Some((header_place, _, header)) = replay.header.take()
            && read_header(&header).is_ok_and(|header| header.ct_hash == *cid.digest())
        {
            if let Ok(event) = Event::read(header, bytes.to_vec()) {
                let tail = replay.tail.entry(event.header.log).or_default();
                tail.push((event, header_place, place));
            }
            return Ok(());
        }
        self.note(access, Staged::Block(cid), place, place, &mut News::default())
    }

    /// A signature makes what came before it count.
    fn replay_signature(
        &mut self,
        access: &mut Access<'_, '_>,
        replay: &mut Replay,
        bytes: &[u8],
    ) -> Result<(), ReplicaError> {
        let Ok(signature) = RunSignature::read(bytes) else { return Ok(()) };
        let (log, signed) = (signature.log, signature.head.seq);
        let mut news = News::default();
        for (event, header, body) in replay.tail.remove(&log).unwrap_or_default() {
            let seq = event.header.seq;
            if seq != self.held(&log) + 1 || seq > signed {
                continue;
            }
            let (id, sealed) = (event.id, !self.knows_epoch(&event.header.epoch));
            let payload = self.open_event(&event);
            self.log_mut(log).row.held = Some(Head { seq, id });
            let staged = StagedEvent { log, seq, id, payload, sealed, ticket: None };
            self.note(access, Staged::Body(Box::new(staged)), header, body, &mut news)?;
        }
        if self.logs.get(&log).and_then(|state| state.row.held) == Some(signature.head) {
            self.log_mut(log).row.signed = signed;
            let staged = Staged::Signature(signature);
            self.note(access, staged, Place::default(), Place::default(), &mut news)?;
        }
        Ok(())
    }

    /// Ends a stretch of the replay: delivers what opened and took effect, and writes the rows.
    /// After the last stretch (`at_end`) what no signature covers is cut: it was never
    /// acknowledged, and this device goes on in a new incarnation.
    pub fn finish_replay(
        &mut self,
        access: &mut Access<'_, '_>,
        replay: &mut Replay,
        at_end: bool,
    ) -> Result<Vec<Effect>, ReplicaError> {
        let mut effects = std::mem::take(&mut replay.effects);
        let keeps = !planted(Bug::FoldForgetsOrder) && !self.is_rewinding();
        if at_end && keeps && !self.is_left_over(&replay.order) {
            self.settle_order(access, &mut replay.order, &mut News::default())?;
        }
        self.deliver(access, &mut effects)?;
        if at_end {
            let me = self.device();
            // Such a log may have had no other event, and then be known by this alone.
            for log in replay.tail.keys().filter(|log| log.author == me) {
                let next = self.cut.entry(log.tag).or_default();
                *next = (*next).max(log.incarnation.saturating_add(1));
            }
            self.order.chain = Chain::from(self.order.end);
            self.control_changed(&mut effects);
            self.contest(access)?;
            // What a branch that wins consists of lies in the segments already.
            (self.blocks, self.staged) = (Vec::new(), Vec::new());
            if replay.order.restarted {
                self.strays();
            }
            self.settle_reform(access)?;
        }
        self.write_rows(access);
        Ok(effects)
    }

    /// The driver cut, lost or could not read bytes this device may have signed: no log of its own
    /// goes on, so that no place is signed twice.
    pub fn start_new_incarnations(&mut self) {
        let me = self.device();
        for log in self.logs.keys().filter(|log| log.author == me) {
            self.cut.entry(log.tag).or_default();
        }
    }
}

/// How many records of the chain are tentative at once while a replica is opened.
const OPEN_AT_ONCE: u64 = TENTATIVE_MAX as u64 / 2;

fn committed_height(control: &ControlLog) -> u64 {
    control.committed_state().height()
}

fn open_control(
    genesis: Genesis,
    access: &Access<'_, '_>,
    row: Option<&OrderRow>,
    keys: &mut ReplicaKeys,
) -> Result<ControlLog, ReplicaError> {
    let mut control = ControlLog::new(genesis);
    let mut records = Vec::new();
    access.index.scan_prefix(&[space::CONTROL], &mut |_, bytes| {
        records.push(bytes.to_vec());
        ControlFlow::Continue(())
    })?;
    let mut parents = BTreeMap::new();
    let mut read = Vec::new();
    for bytes in records {
        let record = ControlRecord::from_bytes(&bytes)
            .map_err(|error| ReplicaError::Open { what: error.to_string() })?;
        parents.insert(record.cid(), record.prev());
        read.push(record);
    }
    let mut committed = Vec::new();
    let mut at = row.map(|row| row.control);
    while let Some((cid, prev)) = at.and_then(|cid| Some((cid, *parents.get(&cid)?))) {
        committed.push(cid);
        at = Some(prev);
    }
    for record in read {
        // What is final is so again, but somewhat later: a commit forgets the branches that lost,
        // and their secrets are wanted, too. Not much later, because few may be tentative at once.
        if record.height() > committed_height(&control) + OPEN_AT_ONCE
            && let Some(cid) = committed.pop()
        {
            control.commit(cid).map_err(|error| ReplicaError::Open { what: error.to_string() })?;
        }
        let (cid, brings) = (record.cid(), brings_secrets(&record));
        if let Err(error) = control.insert(record) {
            tracing::warn!(%error, "a stored control record is refused");
        }
        if let Some(state) = control.state_after(&cid).filter(|_| brings) {
            keys.hold(state);
        }
    }
    if let Some(row) = row {
        control
            .commit(row.control)
            .map_err(|error| ReplicaError::Open { what: error.to_string() })?;
    }
    Ok(control)
}

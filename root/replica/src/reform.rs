//! Reform: how the order goes on when the voters that could say so are lost for good.
//!
//! An admin device, or the recovery kit, signs a record that names the next generation, its one
//! voter, and the place in the order from which it goes on (`docs/decision/reform.md`). Nobody
//! orders that record but the voter it names: what counts is that it is on the chain that wins.
//! From then on lower generations are fenced: what they place behind the base is not taken, and
//! whoever followed them is shown the control log. A replica that has gone further along an order
//! that does not count *rewinds*: it notes which places are void, and its driver folds the segments
//! into an empty index anew. Events are never lost by that, they lie in the logs and are placed
//! again. Who wins at a fork is the control log's, folding the driver's.

use crate::access::{Access, ReplicaError};
use crate::command::CommandError;
use crate::control::brings_secrets;
use crate::input::{Effect, Tick};
use crate::message::Message;
use crate::rows::{self, EntryRow, EventRow, space};
use crate::stage::Staged;
use crate::state::{Replica, Role};
use rhizome_block::planted::{Bug, planted};
use rhizome_block::{Block, Cid};
use rhizome_cluster::{Certificate, EntryBody, OrderedEntry};
use rhizome_identity::{
    Author, ControlBody, ControlLog, ControlRecord, DeviceId, RecoveryKit, Reform, Removal,
    RevokeReason, WAITING_BYTES_MAX,
};
use rhizome_log::{Head, LogId, Place, Seen};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// Most control records kept aside that lost to what is committed here, because a reform may build
/// on them: an admin that is cut off writes a few.
pub(crate) const ASIDE_MAX: usize = 256;

/// Most of them that one sender brought and nothing here leads to yet: an honest one sends parents
/// first, so a few wait for a moment. Whoever sends more pushes out its own.
const ASIDE_OF_ONE_MAX: usize = ASIDE_MAX / 4;

/// What a person asks for when the quorum is lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReformPlan {
    /// Who orders from now on.
    pub voter: DeviceId,
    /// Devices that are removed with it: the lost ones.
    pub revoked: BTreeSet<DeviceId>,
    /// Why.
    pub reason: RevokeReason,
}

/// What was ordered and does not count any more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cut {
    /// The places, in the order they had.
    void: Vec<Void>,
}

/// One place that does not count, as it lies in the segments. The same place may count again once
/// a stronger reform is known, and then it is stored again, further behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Void {
    seen: Seen,
    /// What it named.
    body: EntryBody,
    /// Where its block lies.
    place: Place,
}

/// A record that lost to what is committed.
#[derive(Debug)]
struct Aside {
    record: ControlRecord,
    /// It was looked at, with all it builds on.
    seen: bool,
    /// It is durable, or about to be.
    staged: bool,
    /// It holds where it stands. Others may be made up by anybody.
    proven: bool,
    /// The device that brought it; those who are unknown count as one.
    from: Option<DeviceId>,
}

/// A branch of the control log that wins over what is committed here.
#[derive(Debug)]
pub(crate) struct Rival {
    /// Height of the last record that both have.
    fork: u64,
    log: ControlLog,
}

/// What this replica knows of reforms besides the control log.
#[derive(Debug, Default)]
pub(crate) struct Reforms {
    /// Each reform that counts: its generation, and where that begins.
    pub bases: BTreeMap<u64, Seen>,
    /// Generations that two reforms began: voters of both may sign other places honestly.
    contested: BTreeSet<u64>,
    /// Records that lost to what is committed here, or wait for such.
    aside: BTreeMap<Cid, Aside>,
    /// The branch that wins, once one does.
    rival: Option<Rival>,
    /// What was redone here before.
    cut: Cut,
    void: BTreeMap<[u8; 32], Place>,
    /// What was placed behind the base and is held here, in its old order.
    repeat: Vec<(LogId, Head)>,
    /// The driver must fold everything anew.
    rewinds: bool,
    /// What was ordered here does not lead to where the reform goes on from.
    strayed: bool,
}

impl Reforms {
    /// What an earlier run noted.
    pub(crate) fn open(access: &Access<'_, '_>) -> Result<Self, ReplicaError> {
        let cut: Option<Cut> = rows::get(access.index, &rows::cut_key())?;
        let cut = cut.unwrap_or_default();
        let mut void: BTreeMap<[u8; 32], Place> = BTreeMap::new();
        for one in &cut.void {
            let last = void.entry(one.seen.c).or_insert(one.place);
            *last = one.place.max(*last);
        }
        Ok(Self { cut, void, ..Self::default() })
    }

    /// How many records are kept that nothing here leads to.
    pub(crate) fn unproven(&self) -> usize {
        self.aside.values().filter(|one| !one.proven).count()
    }

    /// Makes room for one more record of a sender among those that nothing leads to yet: it pushes
    /// out its own, or, where all together are too many, those of who brought most.
    fn make_room(&mut self, from: Option<DeviceId>, bytes: usize) {
        loop {
            let mut count: BTreeMap<Option<DeviceId>, usize> = BTreeMap::new();
            let mut held = bytes;
            for one in self.aside.values().filter(|one| !one.proven) {
                *count.entry(one.from).or_default() += 1;
                held += one.record.to_bytes().len();
            }
            let is_full = count.values().sum::<usize>() >= ASIDE_MAX || held > WAITING_BYTES_MAX;
            let most = count.iter().max_by_key(|(_, count)| **count).map(|(from, _)| *from);
            let whose = match count.get(&from) {
                Some(own) if *own >= ASIDE_OF_ONE_MAX => from,
                _ if is_full => match most {
                    Some(most) => most,
                    None => return,
                },
                _ => return,
            };
            let of = |one: &&Aside| !one.proven && one.from == whose;
            let out = self.aside.iter().find(|(_, one)| of(one)).map(|(cid, _)| *cid);
            let Some(out) = out else { return };
            self.aside.remove(&out);
        }
    }

    /// Notes that a record holds where it stands; `false` if its author wrote too many such.
    fn prove(&mut self, record: &ControlRecord) -> bool {
        let by = |one: &&Aside| one.proven && one.record.author() == record.author();
        let known = self.aside.values().filter(by).count();
        let Some(aside) = self.aside.get_mut(&record.cid()) else { return false };
        (aside.seen, aside.proven) = (true, aside.proven || known < ASIDE_MAX);
        aside.proven
    }

    /// Whether a place that lies there in the segments does not count any more.
    pub(crate) fn is_void(&self, seen: &Seen, place: Place) -> bool {
        self.void.get(&seen.c).is_some_and(|last| place <= *last)
    }

    /// The last place of a generation that was void here and may have been signed.
    pub(crate) fn void_to(&self, generation: u64) -> Option<u64> {
        let of = self.cut.void.iter().filter(|one| one.seen.g == generation);
        of.map(|one| one.seen.i).max()
    }
}

/// Whether a row of the index outlasts a rewind: what no block of the segments tells.
#[must_use]
pub fn outlasts_rewind(key: &[u8]) -> bool {
    key == rows::cut_key() || key.first() == Some(&space::DOUBT)
}

impl Replica {
    /// Whether what was ordered here does not count any more: the driver must call
    /// [`Replica::rewind`], remove every row that does not outlast it, and fold the segments anew.
    #[must_use]
    pub fn rewinds(&self) -> bool {
        self.reforms.rewinds
    }

    /// Notes what is void, before the index is emptied.
    pub fn rewind(&self, access: &mut Access<'_, '_>) -> Result<(), ReplicaError> {
        let mut cut = self.reforms.cut.clone();
        for one in self.void_places(access)? {
            if !self.reforms.is_void(&one.seen, one.place) {
                cut.void.push(one);
            }
        }
        tracing::warn!(places = cut.void.len(), "the order is redone from a reform's base");
        rows::put(access, rows::cut_key(), &cut);
        Ok(())
    }

    /// The places held here that the winning branch does not continue.
    fn void_places(&self, access: &Access<'_, '_>) -> Result<Vec<Void>, ReplicaError> {
        let (bases, opened) = match &self.reforms.rival {
            Some(rival) => {
                let new = reforms_of(rival.log.chain_from(rival.fork + 1));
                (new, self.opened_after(rival))
            }
            None => (self.reforms.bases.clone(), None),
        };
        let astray = self.strayed_from(access, &bases)?;
        let is_void = |seen: &Seen| {
            bases.iter().any(|(g, base)| seen.g < *g && seen.i > base.i)
                || astray.is_some_and(|g| seen.g < g)
                || opened.is_some_and(|opened| seen.g >= opened)
        };
        let found: Vec<(Vec<u8>, EntryRow)> = rows::scan(access.index, &[space::ENTRY])?;
        let rows = found.into_iter().map(|(_, row)| row).filter(|row| is_void(&row.seen));
        let void = rows.map(|EntryRow { seen, body, place, .. }| Void { seen, body, place });
        Ok(void.skip_while(|one| self.is_shared(&one.seen, &one.body)).collect())
    }

    /// The generation of a reform that goes on from a place where this replica has another, or none
    /// and was told that what it holds does not lead there. Whoever ordered told two stories, and
    /// nobody says from where on: everything before it is taken anew.
    fn strayed_from(
        &self,
        access: &Access<'_, '_>,
        bases: &BTreeMap<u64, Seen>,
    ) -> Result<Option<u64>, ReplicaError> {
        let end = self.order.end;
        for (g, base) in bases.iter().filter(|(g, base)| end.g < **g && base.i > 0) {
            let row: Option<EntryRow> = rows::get(access.index, &rows::entry_key(base.i))?;
            let short = self.reforms.strayed && base.i > end.i;
            if short || row.is_some_and(|row| row.seen != *base && row.seen.g < *g) {
                return Ok(Some(*g));
            }
        }
        Ok(None)
    }

    /// Entries that are confirmed do not follow what is held here. Where that has not come to the
    /// place from which a reform goes on, it is taken anew.
    pub(crate) fn strays(&mut self) -> bool {
        let end = self.order.end;
        let ahead = |(g, base): (&u64, &Seen)| end.g < *g && base.i > end.i && end.i > 0;
        let strays = self.reforms.bases.iter().any(ahead);
        self.reforms.strayed |= strays;
        self.reforms.rewinds |= strays;
        strays
    }

    /// Whether two reforms that begin one generation at one place both begin with this entry: the
    /// records that both follow are placed first, and so have the same hashes.
    fn is_shared(&self, seen: &Seen, body: &EntryBody) -> bool {
        let (Some(rival), EntryBody::Control { record }) = (&self.reforms.rival, body) else {
            return false;
        };
        let theirs = reforms_of(rival.log.chain_from(rival.fork + 1));
        let base = self.reforms.bases.get(&seen.g);
        base.is_some()
            && base == theirs.get(&seen.g)
            && self.height_of(record).is_some_and(|height| height <= rival.fork)
    }

    /// The first generation that began on this replica's branch after the fork.
    fn opened_after(&self, rival: &Rival) -> Option<u64> {
        let before = rival.log.committed_state().generation();
        self.control.chain_from(rival.fork + 1).into_iter().find_map(|record| {
            let generation = match record.body() {
                ControlBody::ChangeVoters(change) => change.generation,
                ControlBody::Reform(reform) => reform.generation,
                _ => return None,
            };
            (generation > before).then_some(generation)
        })
    }

    /// The newest reform that counts and has no place in the order yet: it says who orders.
    pub(crate) fn governing(&self) -> Option<&Reform> {
        let committed = self.control.committed_state().height();
        let newest = self.control.chain_from(committed + 1).into_iter().rev();
        newest.filter_map(as_reform).next()
    }

    /// Whether this replica stands where the reform goes on from, or has gone on from there.
    pub(crate) fn stands_at(&self, base: Seen, generation: u64) -> bool {
        let order = &self.order;
        (order.end == base && order.applied == base) || order.end.g == generation
    }

    /// Whether this replica stands, since this batch, where it is to go on ordering from.
    pub(crate) fn may_begin(&self) -> bool {
        self.order.role == Role::Follower
            && self.governing().is_some_and(|reform| {
                reform.voters.contains(&self.device())
                    && self.stands_at(reform.base, reform.generation)
            })
    }

    /// Notes which reforms count.
    pub(crate) fn learn_reforms(&mut self) {
        self.reforms.bases = reforms_of(self.control.chain_from(1));
        let tentative = self.control.tentative().into_iter();
        let reforms = tentative.filter_map(|record| Some((record, as_reform(record)?.generation)));
        let rivals = reforms.filter(|(record, _)| self.height_of(&record.cid()).is_none());
        let rivals = rivals.map(|(_, generation)| generation);
        let contested = rivals.filter(|generation| self.reforms.bases.contains_key(generation));
        self.reforms.contested.extend(contested.collect::<Vec<_>>());
    }

    /// Whether one of these records is a reform.
    pub(crate) fn has_reform<'a>(&self, records: impl IntoIterator<Item = &'a Cid>) -> bool {
        let mut known = records.into_iter().filter_map(|cid| self.control.record(cid));
        known.any(|record| as_reform(record).is_some())
    }

    /// The newest reform that counts.
    pub(crate) fn newest_reform(&self) -> Option<&ControlRecord> {
        let chain = self.control.chain_from(1).into_iter().rev();
        chain.into_iter().find(|record| as_reform(record).is_some())
    }

    /// Whether a place lies behind the base of a reform, in a generation before it.
    pub(crate) fn is_fenced(&self, seen: &Seen) -> bool {
        let fenced = self.reforms.bases.iter().any(|(g, base)| seen.g < *g && seen.i > base.i);
        fenced && !planted(Bug::FenceIgnored)
    }

    /// Whether two orders may differ at one place without anybody having lied: a reform lies
    /// between them, or two began the same generation.
    pub(crate) fn may_differ(&self, ours: &Seen, theirs: &Seen) -> bool {
        let (low, high) = (ours.g.min(theirs.g), ours.g.max(theirs.g));
        let between = low < high && self.reforms.bases.range(low + 1..=high).next().is_some();
        let contested = |g: &u64| self.reforms.contested.contains(g);
        let unknown = !self.order.voters.contains_key(&theirs.g);
        between || unknown || contested(&low) || contested(&high)
    }

    /// Whether entries that begin the generation of a reform are of the one that counts here: they
    /// place the records that lead to it, and it, before all else. One voter may have begun it for
    /// another reform, too.
    pub(crate) fn begins_rightly(&self, placed: &[OrderedEntry]) -> bool {
        let Some(reform) = self.governing() else { return true };
        for one in placed.iter().filter(|one| one.entry.g == reform.generation) {
            let EntryBody::Control { record } = &one.entry.body else { return false };
            if self.height_of(record).is_none() {
                return false;
            }
            if self.control.record(record).and_then(as_reform) == Some(reform) {
                return true;
            }
        }
        true
    }

    /// Answers whoever follows a generation that is over with the control log that says so.
    pub(crate) fn show_reform(&mut self, device: DeviceId, effects: &mut Vec<Effect>) {
        tracing::info!(peer = %device.short(), "a peer follows a generation that is over");
        if let Some(peer) = self.peers.get_mut(&device) {
            peer.control = None;
        }
        self.send_control(device, effects);
    }

    /// Keeps a record that lost to what is committed: a reform may build on it.
    pub(crate) fn set_aside(&mut self, record: ControlRecord, from: Option<DeviceId>) {
        if let Some(reform) = as_reform(&record) {
            self.reforms.contested.insert(reform.generation);
        }
        let (cid, bytes) = (record.cid(), record.to_bytes().len());
        if self.reforms.aside.contains_key(&cid) {
            return;
        }
        let from = from.filter(|device| self.control.state().device(device).is_some());
        self.reforms.make_room(from, bytes);
        let aside = Aside { record, seen: false, staged: false, proven: false, from };
        self.reforms.aside.insert(cid, aside);
    }

    /// Keeps records that lost to one that is committed now: a reform may build on them.
    pub(crate) fn set_aside_lost(&mut self, lost: Vec<ControlRecord>) {
        for record in lost.into_iter().filter(|_| !planted(Bug::AsideLost)) {
            self.reforms.aside.remove(&record.cid());
            self.set_aside(record.clone(), None);
            if let Some(aside) = self.reforms.aside.get_mut(&record.cid()) {
                (aside.staged, aside.proven) = (true, true);
            }
        }
    }

    /// Looks at the branches that were set aside: their secrets are kept for reading, and one that
    /// leads to a reform may win over what is committed here. Their records are staged, so that a
    /// later run knows them, too.
    pub(crate) fn contest(&mut self, access: &Access<'_, '_>) -> Result<(), ReplicaError> {
        let fresh: Vec<ControlRecord> = self
            .reforms
            .aside
            .values()
            .filter(|one| !one.seen)
            .map(|one| one.record.clone())
            .collect();
        for record in fresh {
            if self.reforms.rival.is_some() {
                return Ok(());
            }
            let Some((fork, path)) = self.path_to(&record) else { continue };
            if fork >= self.control.committed_state().height() {
                continue;
            }
            let mut log = self.control.reopened(fork);
            let holds = path.iter().all(|record| log.insert(record.clone()).is_ok());
            let state = log.state_after(&record.cid()).filter(|_| holds);
            let Some(state) = state.filter(|_| self.reforms.prove(&record)) else {
                self.reforms.aside.remove(&record.cid());
                continue;
            };
            if brings_secrets(&record) {
                self.keys.hold(state);
            }
            for record in &path {
                self.stage_aside(record);
            }
            self.owe([record.clone()]);
            if as_reform(&record).is_none() || !self.may_overrule(access, fork, &record)? {
                continue;
            }
            let entered = log.chain_from(fork + 1).first().map(|record| record.cid());
            let kept = self.control.chain_from(fork + 1).first().map(|record| record.cid());
            if entered != kept {
                tracing::warn!(reform = %record.cid(), "a reform overrules what was confirmed");
                self.reforms.rival = Some(Rival { fork, log });
            }
        }
        Ok(())
    }

    /// What earlier runs set aside: peers may need it.
    pub(crate) fn remember_aside(&mut self, lost: &[ControlRecord]) {
        let is_reform = |record: &ControlRecord| as_reform(record).is_some();
        if self.reforms.bases.is_empty() && !lost.iter().any(is_reform) {
            return;
        }
        for record in lost.iter().take(ASIDE_MAX) {
            // Power may have failed between a reform that wins and the going back.
            let seen = !is_reform(record);
            let (record, from) = (record.clone(), None);
            let aside = Aside { record, seen, staged: true, proven: true, from };
            self.reforms.aside.entry(aside.record.cid()).or_insert(aside);
        }
    }

    /// A peer cannot take what we hold: what it was written under may be of a branch that lost.
    pub(crate) fn show_aside(&mut self, device: DeviceId, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&device) else { return };
        if self.reforms.aside.is_empty() || std::mem::replace(&mut peer.shown_aside, true) {
            return;
        }
        let mut records: Vec<&ControlRecord> =
            self.reforms.aside.values().map(|aside| &aside.record).collect();
        records.sort_by_key(|record| record.height());
        let records = records.into_iter().map(|record| ByteBuf::from(record.to_bytes())).collect();
        effects.push(Effect::Send(device, Message::Control { records }));
    }

    fn stage_aside(&mut self, record: &ControlRecord) {
        let aside = self.reforms.aside.get_mut(&record.cid());
        if aside.is_none_or(|aside| std::mem::replace(&mut aside.staged, true)) {
            return;
        }
        let (cid, height, bytes) = (record.cid(), record.height(), record.to_bytes());
        self.blocks.push(Block { cid, bytes: bytes.clone() });
        self.staged.push(Staged::Control { cid, height, bytes });
    }

    /// The records from the chain to a reform that was set aside, oldest first, and the height of
    /// the one they follow.
    fn path_to(&self, reform: &ControlRecord) -> Option<(u64, Vec<ControlRecord>)> {
        let mut path = vec![reform.clone()];
        let mut at = reform.prev();
        for _ in 0..=ASIDE_MAX {
            if let Some(height) = self.height_of(&at) {
                path.reverse();
                return Some((height, path));
            }
            let aside = self.reforms.aside.get(&at).map(|aside| &aside.record);
            let record = aside.or_else(|| self.control.record(&at))?;
            at = record.prev();
            path.push(record.clone());
        }
        None
    }

    /// The height of a record of the chain; the genesis has 0.
    pub(crate) fn height_of(&self, cid: &Cid) -> Option<u64> {
        if *cid == self.control.genesis().identity_id().0 {
            return Some(0);
        }
        let height = self.control.record(cid)?.height();
        let chain = self.control.chain_from(height);
        chain.first().filter(|record| record.cid() == *cid).map(|record| record.height())
    }

    /// A reform does not undo the removal of who signed it, and it may only overrule what was
    /// placed behind its base: whoever knew an order that far knew the record.
    fn may_overrule(
        &self,
        access: &Access<'_, '_>,
        fork: u64,
        record: &ControlRecord,
    ) -> Result<bool, ReplicaError> {
        let state = self.control.committed_state();
        let removed = |by: &Author| matches!(by, Author::Device(id) if !state.is_live(id));
        if record.signatures().iter().any(|signed| removed(&signed.by)) {
            tracing::warn!(reform = %record.cid(), "refused a reform of a removed device");
            return Ok(false);
        }
        let Some(reform) = as_reform(record) else { return Ok(false) };
        let at_base: Option<EntryRow> = rows::get(access.index, &rows::entry_key(reform.base.i))?;
        if at_base.is_none_or(|row| row.seen != reform.base) {
            return Ok(true);
        }
        let first = self.control.chain_from(fork + 1).first().map(|record| record.cid());
        for i in reform.base.i + 1..=self.order.applied.i {
            let row: Option<EntryRow> = rows::get(access.index, &rows::entry_key(i))?;
            if let Some(EntryBody::Control { record }) = row.map(|row| row.body)
                && Some(record) == first
            {
                return Ok(true);
            }
        }
        tracing::warn!(reform = %record.cid(), "refused a reform that forgets what lies before it");
        Ok(false)
    }

    /// Draws the consequence of what is durable now: whether this replica must rewind.
    pub(crate) fn settle_reform(&mut self, access: &Access<'_, '_>) -> Result<(), ReplicaError> {
        if self.reforms.rival.is_some()
            || self.is_fenced(&self.order.end)
            || self.strayed_from(access, &self.reforms.bases)?.is_some()
        {
            self.reforms.rewinds = true;
        }
        Ok(())
    }

    /// Whether nothing may be ordered before the driver has rewound.
    pub(crate) fn is_rewinding(&self) -> bool {
        self.reforms.rewinds || self.reforms.rival.is_some()
    }

    /// What was ordered before a rewind and is held here is placed first, in its old order.
    pub(crate) fn find_repeated(&mut self, access: &Access<'_, '_>) -> Result<(), ReplicaError> {
        let mut repeat = Vec::new();
        for one in &self.reforms.cut.void {
            let EntryBody::Range { log, head, .. } = &one.body else { continue };
            let row: Option<EventRow> = rows::get(access.index, &rows::event_key(log, head.seq))?;
            if row.is_some_and(|row| row.id == head.id) {
                repeat.push((*log, *head));
            }
        }
        self.reforms.repeat = repeat;
        Ok(())
    }

    /// Takes what is to be placed first.
    pub(crate) fn take_repeated(&mut self) -> Vec<(LogId, Head)> {
        std::mem::take(&mut self.reforms.repeat)
    }

    /// The record that begins a generation: placed once more it changes nothing.
    pub(crate) fn filler(&self, generation: u64) -> Option<EntryBody> {
        let chain = self.control.chain_from(1);
        let begins =
            |one: &&ControlRecord| as_reform(one).is_some_and(|r| r.generation == generation);
        chain.into_iter().find(begins).map(|record| EntryBody::Control { record: record.cid() })
    }

    /// The place from which a reform by this replica goes on: the newest certified one of which
    /// everything is here.
    fn reform_base(&self, access: &Access<'_, '_>) -> Result<Seen, ReplicaError> {
        if self.order.applied == self.order.end {
            return Ok(self.order.end);
        }
        for i in (1..=self.order.applied.i).rev() {
            let found: Option<Certificate> = rows::get(access.index, &rows::certificate_key(i))?;
            if let Some(certificate) = found {
                return Ok(certificate.seen);
            }
        }
        Ok(rhizome_cluster::genesis_chain(&self.control.genesis().identity_id()))
    }

    /// What a reform by this replica says.
    pub(crate) fn reform_body(
        &self,
        tick: Tick,
        access: &Access<'_, '_>,
        plan: &ReformPlan,
    ) -> Result<ControlBody, CommandError> {
        let state = self.control.state();
        let unread = |error: ReplicaError| CommandError::Unreadable { what: error.to_string() };
        let base = self.reform_base(access).map_err(unread)?;
        let leaving: Vec<DeviceId> = plan.revoked.iter().copied().collect();
        let revoked =
            leaving.iter().map(|device| Removal { device: *device, last: self.heads_of(device) });
        Ok(ControlBody::Reform(Reform {
            generation: state.generation() + 1,
            voters: vec![plan.voter],
            base,
            revoked: revoked.collect(),
            epoch: self.epoch_change(tick, &leaving)?,
            reason: plan.reason,
        }))
    }

    /// Whether this device can reform by its own signature, and if not, why.
    pub fn may_reform(
        &self,
        tick: Tick,
        access: &Access<'_, '_>,
        plan: &ReformPlan,
    ) -> Result<(), CommandError> {
        if !self.control.state().may(&self.device(), rhizome_identity::Capability::Admin) {
            return Err(CommandError::NoAdmin);
        }
        let body = self.reform_body(tick, access, plan)?;
        self.control
            .check(&self.signed(tick, body))
            .map_err(|source| CommandError::Control { source: std::sync::Arc::new(source) })
    }

    /// The record by which the kit reforms: it needs nobody else's signature.
    pub fn reform_by_kit(
        &self,
        tick: Tick,
        access: &Access<'_, '_>,
        plan: &ReformPlan,
        kit: &RecoveryKit,
    ) -> Result<ControlRecord, CommandError> {
        if kit.root().public() != self.control.state().root() {
            return Err(CommandError::OtherKit);
        }
        let body = self.reform_body(tick, access, plan)?;
        let (clock, seen) = (tick.now_ms << 16, Some(self.order.applied));
        Ok(self.control.draft(Author::Recovery, clock, seen, body).sign(&kit.recovery()))
    }
}

pub(crate) fn as_reform(record: &ControlRecord) -> Option<&Reform> {
    match record.body() {
        ControlBody::Reform(reform) => Some(reform),
        _ => None,
    }
}

fn reforms_of(chain: Vec<&ControlRecord>) -> BTreeMap<u64, Seen> {
    chain.into_iter().filter_map(as_reform).map(|one| (one.generation, one.base)).collect()
}

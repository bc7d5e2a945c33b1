//! What this device decided on a branch of the control log that lost, said again where it counts.
//!
//! Two admins who do not hear each other write records with one parent. One branch wins everywhere,
//! and what the other said never was: a device it let in belongs to nobody, one it removed is back,
//! and the keys it made are nobody's. So the author of a record on the branch that lost says it
//! again at the new head, unless it holds there already: a device is let in or renamed, a device is
//! removed with the last events that were named first, an identity is adopted. An epoch of the lost
//! branch cannot return, but events are sealed under it: its secret goes along with the next epoch,
//! under which every device, also a later one, finds it.
//!
//! Votes, rules and dormancy are not said again: the pod plans them anew from what it sees.

use crate::access::{Access, ReplicaError};
use crate::command::capabilities;
use crate::input::{Effect, Tick};
use crate::rows::{self, space};
use crate::state::Replica;
use rhizome_block::Cid;
use rhizome_identity::{
    AddDevice, Author, Capability, CertificateBody, ControlBody, ControlRecord, DeviceId, EpochId,
    Removal, RevokeDevice, RevokeReason,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Most records that wait to be said again: an admin writes a few while it is cut off.
pub(crate) const OWED_MAX: usize = 256;

/// Most secrets of lost epochs that one new epoch takes along: what `previous` has room for. The
/// rest goes with the next one.
const EPOCHS_ALONG_MAX: usize = 1;

/// Records of this device that do not count, and may have to be said again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owed {
    /// By height, so that a device is let in before it is renamed.
    records: BTreeMap<(u64, Cid), ControlRecord>,
    /// The head, and the final record, at which everything was said that could be.
    said_at: Option<(Cid, Cid)>,
}

impl Owed {
    /// How many records wait.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

impl Replica {
    /// Notes records that lost: this device's, and those of others, whom a reform may lose with
    /// the quorum.
    pub(crate) fn owe(&mut self, records: impl IntoIterator<Item = ControlRecord>) {
        let me = Author::Device(self.device());
        for record in records {
            let room = if record.author() == me { OWED_MAX } else { OWED_MAX / 2 };
            if self.owed.records.len() < room {
                self.owed.records.insert((record.height(), record.cid()), record);
                self.owed.said_at = None;
            }
        }
    }

    /// Finds what is owed after the replica was opened. Nearly all records are of the chain: their
    /// keys say so, and they are not read again.
    pub(crate) fn find_owed(&mut self, access: &Access<'_, '_>) -> Result<(), ReplicaError> {
        let chain = self.control.chain_from(1).into_iter();
        let chain: BTreeSet<Vec<u8>> =
            chain.map(|record| rows::control_key(record.height(), &record.cid())).collect();
        let mut lost = Vec::new();
        access.index.scan_prefix(&[space::CONTROL], &mut |key, bytes| {
            if !chain.contains(key) {
                lost.extend(ControlRecord::from_bytes(bytes).ok());
            }
            ControlFlow::Continue(())
        })?;
        self.remember_aside(&lost);
        self.owe(lost);
        Ok(())
    }

    /// Says again what is owed and does not hold at the head.
    pub(crate) fn say_again(&mut self, tick: Tick, effects: &mut Vec<Effect>) {
        if self.is_rewinding()
            || self.owed.records.is_empty()
            || self.owed.said_at == Some(self.heads())
            || !self.control.state().may(&self.device(), Capability::Admin)
        {
            return;
        }
        let mut more = false;
        let (me, stands_in) = (Author::Device(self.device()), self.stands_in());
        for (key, record) in self.owed.records.clone() {
            if record.author() != me && !stands_in {
                continue;
            }
            let entropy = &tick.entropy;
            let context = "rhizome said again v1";
            let entropy = rhizome_seal::keyed_hash(entropy, context, key.1.digest());
            let tick = Tick { entropy, ..tick };
            let Some(body) = self.again(tick, &record) else {
                if !lost_epoch(&record).is_some_and(|epoch| self.is_lost(&epoch)) {
                    self.owed.records.remove(&key);
                }
                continue;
            };
            let is_reform = matches!(record.body(), ControlBody::Reform(_));
            let signed = self.signed(tick, body);
            let checked = self.control.check(&signed);
            if let Err(error) = checked {
                tracing::warn!(record = %key.1, %error, "a decision that lost cannot be repeated");
                continue;
            }
            if let Err(error) = self.stage_control(signed, None) {
                tracing::warn!(record = %key.1, %error, "a decision that lost is not repeated");
                continue;
            }
            tracing::info!(record = %key.1, "a decision that lost is repeated");
            self.control_changed(effects);
            // A reform may have removed several devices; each takes a record of its own.
            more |= is_reform;
        }
        self.owed.said_at = Some(self.heads()).filter(|_| !more);
        if let Some(device) = self.stand_in() {
            self.show_lost_epochs(device, effects);
        }
    }

    fn heads(&self) -> (Cid, Cid) {
        (self.control.head(), self.control.committed_head())
    }

    /// What a record that lost has to say at the head; nothing if it holds there.
    fn again(&self, tick: Tick, record: &ControlRecord) -> Option<ControlBody> {
        let state = self.control.state();
        let mine = record.author() == Author::Device(self.device());
        let said = match record.body() {
            ControlBody::AddDevice(add) if mine || self.stands_for(record, add) => {
                self.admitted_again(tick, add)
            }
            _ if !mine => None,
            ControlBody::RevokeDevice(revoke) if state.is_live(&revoke.device) => {
                let RevokeDevice { device, last, reason, .. } = revoke.clone();
                let epoch = self.epoch_change(tick, &[device]).ok()?;
                Some(ControlBody::RevokeDevice(RevokeDevice { device, last, epoch, reason }))
            }
            ControlBody::Adopt(adopt) => {
                let genesis = Cid::of(rhizome_block::Codec::DagCbor, &adopt.genesis);
                let is_known = state.adopted().any(|(identity, _)| identity.0 == genesis);
                (!is_known).then(|| ControlBody::Adopt(adopt.clone()))
            }
            ControlBody::Reform(reform) => {
                let lost = reform.revoked.iter().find(|one| state.is_live(&one.device));
                lost.and_then(|one| self.removed_again(tick, one, reform.reason))
            }
            _ => None,
        };
        // One at a time, and only behind what is final: a change of the keys that loses is owed,
        // too, so that many would become twice as many each time.
        let is_final = self.control.head() == self.control.committed_head();
        let lost = lost_epoch(record)
            .filter(|epoch| is_final && self.is_lost(epoch) && self.carries(record));
        said.or_else(|| {
            lost.and_then(|_| self.epoch_change(tick, &[]).ok()).map(ControlBody::RotateEpoch)
        })
    }

    /// Whether this device takes the secret of a lost epoch along with a next one. After a reform
    /// one device does so for all: if the author did, too, both would change the keys at once, one
    /// of the two changes would be lost, and both would owe that. The author does where the other
    /// was not given the secret.
    fn carries(&self, record: &ControlRecord) -> bool {
        match self.stand_in() {
            Some(device) if device != self.device() => {
                record.author() == Author::Device(self.device()) && !self.was_given(record, &device)
            }
            Some(_) => true,
            None => record.author() == Author::Device(self.device()),
        }
    }

    /// Whether the epoch that a record begins was wrapped for a device.
    fn was_given(&self, record: &ControlRecord, device: &DeviceId) -> bool {
        let device = self.control.state().device(device);
        let sealing = device.and_then(|one| one.certificate.body().sealing);
        let wraps = record.body().epoch().map(|change| &change.wraps);
        sealing.is_some_and(|key| wraps.into_iter().flatten().any(|wrap| wrap.recipient == key))
    }

    /// Shows the device that carries lost epochs those of this device, which it may not know.
    pub(crate) fn show_lost_epochs(&mut self, device: DeviceId, effects: &mut Vec<Effect>) {
        let me = self.device();
        let mine = |record: &&ControlRecord| record.author() == Author::Device(me);
        let mut lost = self.owed.records.values().filter(mine).filter_map(lost_epoch);
        if device != me && self.stand_in() == Some(device) && lost.any(|epoch| self.is_lost(&epoch))
        {
            self.show_aside(device, effects);
        }
    }

    /// Whether this device says again what others said.
    fn stands_in(&self) -> bool {
        self.stand_in() == Some(self.device())
    }

    /// The one device that says again what others said, after a reform: if all did, they would
    /// change the keys at once, and again for what each of them lost by that.
    fn stand_in(&self) -> Option<DeviceId> {
        let record = self.newest_reform()?;
        let state = self.control.state();
        let is_admin = |id: &DeviceId| state.may(id, Capability::Admin);
        let author = match record.author() {
            Author::Device(id) => Some(id),
            Author::Recovery | Author::Root => None,
        };
        let voters = state.voters().iter().copied();
        voters.chain(author).find(is_admin).or_else(|| state.admins().next())
    }

    /// Whether this device admits whom another admin had admitted, which cannot be heard any more:
    /// others build on what that device wrote.
    fn stands_for(&self, record: &ControlRecord, add: &AddDevice) -> bool {
        let state = self.control.state();
        let Author::Device(author) = record.author() else { return false };
        state.device(&add.certificate.device()).is_none() && state.may(&author, Capability::Admin)
    }

    fn removed_again(
        &self,
        tick: Tick,
        Removal { device, last }: &Removal,
        reason: RevokeReason,
    ) -> Option<ControlBody> {
        let (device, last) = (*device, last.clone());
        let epoch = self.epoch_change(tick, &[device]).ok()?;
        Some(ControlBody::RevokeDevice(RevokeDevice { device, last, epoch, reason }))
    }

    fn admitted_again(&self, tick: Tick, add: &AddDevice) -> Option<ControlBody> {
        let state = self.control.state();
        let (device, said) = (add.certificate.device(), add.certificate.body());
        let name = self.keys.open_name(&said.name_sealed).unwrap_or_default();
        if let Some(known) = state.device(&device) {
            let is_newer = said.serial > known.certificate.body().serial;
            return (known.is_live() && is_newer)
                .then(|| self.renamed(tick, device, &name).ok().flatten())
                .flatten();
        }
        // Whether it may administer follows from how many do by now.
        let admins = state.admins().count();
        let wanted = said.capabilities.contains(&Capability::Admin);
        let body = CertificateBody {
            name_sealed: self.keys.seal_name(&name, &tick.entropy)?,
            capabilities: capabilities(said.kind, wanted && admins < crate::command::ADMINS_WANTED),
            ..said.clone()
        };
        let certificate = self.certificate(body, add.certificate.acceptance()).ok()?;
        let wraps = self.keys.wrap_newest(said.sealing, &tick.entropy)?;
        Some(ControlBody::AddDevice(AddDevice { certificate, wraps }))
    }

    /// Whether an epoch is neither of the chain nor was taken along by one that is.
    fn is_lost(&self, epoch: &EpochId) -> bool {
        self.keys.has_epoch(epoch) && !self.keys.finds(self.control.state(), epoch)
    }

    /// Epochs of branches that lost, whose secrets the next epoch takes along.
    pub(crate) fn lost_epochs(&self) -> Vec<EpochId> {
        let lost = self.owed.records.values().filter_map(lost_epoch);
        lost.filter(|epoch| self.is_lost(epoch)).take(EPOCHS_ALONG_MAX).collect()
    }
}

fn lost_epoch(record: &ControlRecord) -> Option<EpochId> {
    let change = record.body().epoch()?;
    Some(EpochId { n: change.n, record: record.cid() })
}

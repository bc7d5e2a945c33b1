//! What a chain of control records amounts to: the devices, voters, epochs and rules in force.

use super::body::{AddDevice, Adopt, ControlBody, EpochChange, LogHead, RevokeReason};
use super::record::ControlRecord;
use crate::{
    Author, Capability, DeviceCertificate, DeviceId, EpochId, Genesis, IdentityId, SealingPublic,
    Seen, SigningPublic, Wrap,
};
use rhizome_block::Cid;
use rhizome_block::planted::{Bug, planted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Weight of one signature of the recovery kit: more than all admin devices together.
pub const KIT_WEIGHT: u32 = 1 << 16;

/// From this many admin devices on, changes to one of them need [`ADMIN_SIGNATURES`].
pub const ADMINS_GUARDED: usize = 3;

/// How many admin signatures such a change needs (`security.md` 3.1).
pub const ADMIN_SIGNATURES: usize = 2;

/// The first generation of voters.
pub const GENERATION_FIRST: u64 = 1;

/// When and by whom a device was let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Admission {
    /// The record that did; the genesis for the first device.
    pub record: Cid,
    /// Hybrid clock of that record; 0 for the genesis.
    pub clock: u64,
    /// Whether the kit did, so that the device need not wait before it may remove others.
    pub by_kit: bool,
}

/// How a device left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// The record that removed it.
    pub record: Cid,
    /// The last accepted event of each of its logs.
    pub last: Vec<LogHead>,
    /// Why.
    pub reason: RevokeReason,
}

/// One device of the identity, live or removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// Its newest certificate.
    pub certificate: Arc<DeviceCertificate>,
    /// How it came.
    pub admitted: Admission,
    /// Whether it is absent for so long that sealing and pruning do not wait for it.
    pub dormant: bool,
    /// How it left, if it did.
    pub revoked: Option<Arc<Revoked>>,
}

impl Device {
    /// Whether it was not removed.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.revoked.is_none()
    }
}

/// One epoch: to whom its secret is wrapped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Epoch {
    /// Which.
    pub id: EpochId,
    /// Its secret, wrapped to each recipient.
    pub wraps: BTreeMap<SealingPublic, Vec<u8>>,
    /// The secret of the epoch before, encrypted under this one; empty for the first.
    pub previous: Vec<u8>,
}

/// An identity whose logs were grafted onto this one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adopted {
    /// The record that did.
    pub record: Cid,
    /// The heads of its logs.
    pub heads: Vec<LogHead>,
    /// Its epoch secrets, encrypted under the epoch that was current here.
    pub keys: Vec<u8>,
    /// What its own control chain amounts to; its head is [`ControlState::record`].
    pub state: ControlState,
}

/// What holds after some control record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlState {
    pub(super) identity: IdentityId,
    pub(super) root: SigningPublic,
    pub(super) recovery_sign: SigningPublic,
    pub(super) recovery_seal: SealingPublic,
    pub(super) height: u64,
    pub(super) record: Cid,
    pub(super) fold: u32,
    pub(super) generation: u64,
    pub(super) voters: Vec<DeviceId>,
    pub(super) base: Seen,
    pub(super) devices: BTreeMap<DeviceId, Device>,
    pub(super) epochs: Vec<Arc<Epoch>>,
    pub(super) adopted: BTreeMap<IdentityId, Arc<Adopted>>,
}

impl ControlState {
    /// What holds after a verified genesis: one device, which may do everything, and votes alone.
    #[must_use]
    pub fn founded(genesis: &Genesis) -> Self {
        let identity = genesis.identity_id();
        let first = Device {
            certificate: Arc::new(genesis.device().clone()),
            admitted: Admission { record: identity.0, clock: 0, by_kit: true },
            dormant: false,
            revoked: None,
        };
        let epoch = Epoch {
            id: genesis.epoch_id(),
            wraps: by_recipient(genesis.epoch_wraps()),
            previous: Vec::new(),
        };
        Self {
            identity,
            root: genesis.root(),
            recovery_sign: genesis.recovery_sign(),
            recovery_seal: genesis.recovery_seal(),
            height: 0,
            record: identity.0,
            fold: genesis.fold(),
            generation: GENERATION_FIRST,
            voters: vec![genesis.device().device()],
            base: Seen::default(),
            devices: BTreeMap::from([(genesis.device().device(), first)]),
            epochs: vec![Arc::new(epoch)],
            adopted: BTreeMap::new(),
        }
    }

    /// Whose state.
    #[must_use]
    pub const fn identity(&self) -> IdentityId {
        self.identity
    }

    /// The key of the genesis.
    #[must_use]
    pub const fn root(&self) -> SigningPublic {
        self.root
    }

    /// The key to which every epoch is wrapped for the day when all devices are lost.
    #[must_use]
    pub const fn recovery_seal(&self) -> SealingPublic {
        self.recovery_seal
    }

    /// Height of the newest record; 0 is the genesis.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The newest record, or the genesis.
    #[must_use]
    pub const fn record(&self) -> Cid {
        self.record
    }

    /// Version of the rules by which events are folded.
    #[must_use]
    pub const fn fold(&self) -> u32 {
        self.fold
    }

    /// The current generation of voters.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Who votes, as last written: a voter that was removed since stays named until voters change.
    #[must_use]
    pub fn voters(&self) -> &[DeviceId] {
        &self.voters
    }

    /// The place in the order after which they vote.
    #[must_use]
    pub const fn base(&self) -> Seen {
        self.base
    }

    /// Every device that ever belonged, in the order of ids.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &Device)> {
        self.devices.iter().map(|(id, device)| (*id, device))
    }

    /// One device, live or removed.
    #[must_use]
    pub fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.get(id)
    }

    /// Whether the device belongs and was not removed.
    #[must_use]
    pub fn is_live(&self, id: &DeviceId) -> bool {
        self.device(id).is_some_and(Device::is_live)
    }

    /// Whether the device is live and may do this.
    #[must_use]
    pub fn may(&self, id: &DeviceId, capability: Capability) -> bool {
        self.device(id).is_some_and(|one| one.is_live() && one.certificate.may(capability))
    }

    /// The live devices that may administer.
    pub fn admins(&self) -> impl Iterator<Item = DeviceId> {
        self.devices().filter(|(id, _)| self.may(id, Capability::Admin)).map(|(id, _)| id)
    }

    /// The live devices for which sealing and pruning do not wait.
    pub fn dormant(&self) -> impl Iterator<Item = DeviceId> {
        self.devices().filter(|(_, one)| one.is_live() && one.dormant).map(|(id, _)| id)
    }

    /// The epochs, oldest first.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = &Epoch> + ExactSizeIterator {
        self.epochs.iter().map(|epoch| &**epoch)
    }

    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        self.epochs.last().expect("the genesis begins an epoch")
    }

    /// The identities grafted onto this one.
    pub fn adopted(&self) -> impl Iterator<Item = (IdentityId, &Adopted)> {
        self.adopted.iter().map(|(id, adopted)| (*id, &**adopted))
    }

    /// To whom the next epoch must be wrapped when `without` leave: to every live sealing key and
    /// the recovery key.
    #[must_use]
    pub fn recipients(&self, without: &[DeviceId]) -> BTreeSet<SealingPublic> {
        self.devices
            .iter()
            .filter(|(_, device)| device.is_live())
            .filter(|(id, _)| !without.contains(id) || planted(Bug::RemovedGetsKeys))
            .filter_map(|(_, device)| device.certificate.body().sealing)
            .chain([self.recovery_seal])
            .collect()
    }

    /// How many admin signatures a record with this body needs; one of the kit replaces them all.
    #[must_use]
    pub fn signatures_needed(&self, body: &ControlBody) -> usize {
        let is_admin = |id: &DeviceId| self.may(id, Capability::Admin);
        let guarded = match body {
            ControlBody::AddDevice(AddDevice { certificate, .. }) => {
                let id = certificate.device();
                is_admin(&id) != certificate.may(Capability::Admin)
            }
            ControlBody::RevokeDevice(revoke) => is_admin(&revoke.device),
            ControlBody::Reform(reform) => reform.revoked.iter().any(|one| is_admin(&one.device)),
            _ => false,
        };
        if guarded && self.admins().count() >= ADMINS_GUARDED { ADMIN_SIGNATURES } else { 1 }
    }

    /// What the signatures of a record count here: admin devices one each, the kit above them all.
    #[must_use]
    pub fn weight(&self, record: &ControlRecord) -> u32 {
        record.signatures().iter().fold(0, |sum, signed| match &signed.by {
            Author::Device(id) => sum + u32::from(self.may(id, Capability::Admin)),
            Author::Recovery | Author::Root => sum + KIT_WEIGHT,
        })
    }

    /// The public key with which `author` signs.
    pub(super) fn key(&self, author: &Author) -> [u8; 32] {
        match author {
            Author::Device(id) => id.0,
            Author::Recovery => self.recovery_sign.0,
            Author::Root => self.root.0,
        }
    }

    /// Moves on by a record that passed the rules; `adopted` is what its Adopt amounts to.
    pub(super) fn apply(&mut self, record: &ControlRecord, cid: Cid, adopted: Option<Self>) {
        self.height = record.height();
        self.record = cid;
        match record.body() {
            ControlBody::AddDevice(add) => self.add(add, record, cid),
            ControlBody::RevokeDevice(revoke) => {
                self.revoke(revoke.device, &revoke.last, revoke.reason, cid);
            }
            ControlBody::RotateEpoch(_) => {}
            ControlBody::ChangeVoters(change) => {
                self.generation = change.generation;
                self.voters.clone_from(&change.voters);
                self.base = change.base;
            }
            ControlBody::SetPolicy(policy) => self.fold = policy.fold.unwrap_or(self.fold),
            ControlBody::Adopt(adopt) => {
                let state = adopted.expect("the rules read what is adopted");
                self.adopt(adopt, state, cid);
            }
            ControlBody::Dormant(change) => {
                if let Some(device) = self.devices.get_mut(&change.device) {
                    device.dormant = change.dormant;
                }
            }
            ControlBody::Reform(reform) => {
                for one in &reform.revoked {
                    self.revoke(one.device, &one.last, reform.reason, cid);
                }
                self.generation = reform.generation;
                self.voters.clone_from(&reform.voters);
                self.base = reform.base;
            }
        }
        if let Some(epoch) = record.body().epoch() {
            self.begin(epoch, cid);
        }
    }

    fn add(&mut self, add: &AddDevice, record: &ControlRecord, cid: Cid) {
        let certificate = Arc::new(add.certificate.clone());
        let admitted = Admission {
            record: cid,
            clock: record.clock(),
            by_kit: record.signatures().iter().any(|signed| signed.by.is_kit()),
        };
        self.devices
            .entry(certificate.device())
            .and_modify(|device| device.certificate = Arc::clone(&certificate))
            .or_insert(Device { certificate, admitted, dormant: false, revoked: None });
        if !add.wraps.is_empty() {
            let current = self.epochs.last_mut().expect("the genesis begins an epoch");
            Arc::make_mut(current).wraps.extend(by_recipient(&add.wraps));
        }
    }

    fn revoke(&mut self, id: DeviceId, last: &[LogHead], reason: RevokeReason, record: Cid) {
        if let Some(device) = self.devices.get_mut(&id) {
            device.dormant = false;
            device.revoked = Some(Arc::new(Revoked { record, last: last.to_vec(), reason }));
        }
    }

    fn begin(&mut self, change: &EpochChange, record: Cid) {
        self.epochs.push(Arc::new(Epoch {
            id: EpochId { n: change.n, record },
            wraps: by_recipient(&change.wraps),
            previous: change.previous.clone(),
        }));
    }

    fn adopt(&mut self, adopt: &Adopt, state: Self, record: Cid) {
        let adopted =
            Adopted { record, heads: adopt.heads.clone(), keys: adopt.keys.to_vec(), state };
        self.adopted.insert(adopted.state.identity, Arc::new(adopted));
    }
}

fn by_recipient(wraps: &[Wrap]) -> BTreeMap<SealingPublic, Vec<u8>> {
    wraps.iter().map(|wrap| (wrap.recipient, wrap.bytes.clone())).collect()
}

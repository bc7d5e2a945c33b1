//! What is known at one moment: who belongs, who holds what, how far the order is.
//!
//! Everything here is backed by an acknowledgement. Answers about durability are read from it and
//! never guessed: what nobody acknowledged counts as being here alone.

use crate::home::IdentityMeta;
use crate::identity::Identity;
use crate::kind;
use crate::methods::pins;
use rhizome_api::device::{Device, DeviceKind, Role};
use rhizome_api::{ApiError, Durability, Problem};
use rhizome_block::Cid;
use rhizome_doc::Record;
use rhizome_identity::{Author, ControlLog, DeviceId, EpochId};
use rhizome_log::{LogId, Position, Seen};
use rhizome_replica::{LogStatus, Replica, RevokeReason, Status};
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a device's id that stand for a name nobody gave.
const SHORT_NAME: usize = 8;

/// One device, live or removed.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which.
    pub id: DeviceId,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Whether it holds keys.
    pub trusted: bool,
    /// Whether it was not removed.
    pub live: bool,
    /// Whether nobody waits for it.
    pub dormant: bool,
}

/// How this very device was removed.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Who signed the record; nobody for the recovery kit.
    pub by: Option<DeviceId>,
    /// When, by the clock of whoever signed.
    pub at_ms: u64,
    /// Why.
    pub reason: RevokeReason,
}

/// What was known at one moment.
pub struct Facts {
    /// This device.
    pub me: DeviceId,
    /// Every device that ever belonged.
    pub members: BTreeMap<DeviceId, Member>,
    /// Who votes on the order.
    pub voters: Vec<DeviceId>,
    /// The generation of voters, as last decided.
    pub generation: u64,
    /// What the replica says of itself.
    pub status: Status,
    /// Whether everything held has its place and took effect.
    pub all_committed: bool,
    /// Whether this device cannot open what is written now.
    pub locked: bool,
    /// How this device was removed from the identity, if it was.
    pub removed: Option<Removed>,
    /// Newest control record, and newest one with a place in the order.
    pub control: (Cid, Cid),
    /// The epoch in use.
    pub epoch: EpochId,
    /// The newest place up to which every event is in a checkpoint that a cloud peer holds.
    pub pinned: Option<Seen>,
    /// What people call things.
    pub meta: IdentityMeta,
    connected: BTreeSet<DeviceId>,
    logs: BTreeMap<LogId, usize>,
}

impl Facts {
    /// The voters that cannot be reached.
    pub fn voters_away(&self) -> impl Iterator<Item = &DeviceId> {
        self.voters.iter().filter(|id| **id != self.me && !self.is_connected(id))
    }

    /// Whether too few voters can be reached to confirm anything.
    pub fn lacks_quorum(&self) -> bool {
        let away = self.voters_away().count();
        self.voters.len() - away <= self.voters.len() / 2
    }

    /// Looks now.
    pub async fn of(identity: &Identity) -> Result<Self, ApiError> {
        let mut facts = identity.handle.look(|replica, _| Self::inside(replica)).await?;
        facts.meta = identity.home.meta().unwrap_or_default();
        facts.connected = identity.links().keys().copied().collect();
        let cloud = facts.others().filter(|one| one.kind == DeviceKind::CloudPeer);
        let cloud = cloud.map(|one| one.id).collect();
        facts.pinned = pins::frontier(identity.handle.index(), &cloud, facts.status.applied.i)?;
        Ok(facts)
    }

    fn inside(replica: &Replica) -> Self {
        let control = replica.control();
        let state = control.state();
        let member = |(id, device): (DeviceId, &rhizome_identity::Device)| {
            let body = device.certificate.body();
            let name = replica.keys().open_name(&body.name_sealed);
            let name = name.filter(|name| !name.is_empty());
            let name = name.unwrap_or_else(|| id.to_string().chars().take(SHORT_NAME).collect());
            let member = Member {
                id,
                name,
                kind: kind::to_api(body.kind),
                trusted: body.sealing.is_some(),
                live: device.is_live(),
                dormant: device.dormant,
            };
            (id, member)
        };
        let status = replica.status();
        let logs = status.logs.iter().enumerate().map(|(at, log)| (log.log, at)).collect();
        Self {
            me: replica.device(),
            members: state.devices().map(member).collect(),
            voters: state.voters().to_vec(),
            generation: state.generation(),
            all_committed: replica.all_committed(),
            removed: removed(control, &replica.device()),
            locked: replica.keys().newest_secret().is_none(),
            control: (control.head(), control.committed_head()),
            epoch: state.epoch().id,
            status,
            pinned: None,
            meta: IdentityMeta::default(),
            connected: BTreeSet::new(),
            logs,
        }
    }

    /// The other live devices.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|one| one.live && one.id != self.me)
    }

    /// What people call a device.
    #[must_use]
    pub fn name(&self, device: &DeviceId) -> String {
        match self.members.get(device) {
            Some(member) => member.name.clone(),
            None => device.to_string().chars().take(SHORT_NAME).collect(),
        }
    }

    /// Whether there is a connection to a device.
    #[must_use]
    pub fn is_connected(&self, device: &DeviceId) -> bool {
        self.connected.contains(device)
    }

    /// When a device was last heard.
    #[must_use]
    pub fn heard_ms(&self, device: &DeviceId) -> Option<u64> {
        self.meta.heard_ms.get(&device.to_string()).copied()
    }

    /// The apps that have logs.
    #[must_use]
    pub fn apps(&self) -> BTreeSet<String> {
        self.status.logs.iter().filter_map(|log| log.app.clone()).collect()
    }

    /// Whether a majority of voters includes another device than this one.
    #[must_use]
    pub fn voted_elsewhere(&self) -> bool {
        self.voters != [self.me]
    }

    fn log(&self, log: &LogId) -> Option<&LogStatus> {
        self.logs.get(log).map(|at| &self.status.logs[*at])
    }

    /// Whether an event took effect at a certified place.
    #[must_use]
    pub fn is_committed(&self, log: &LogId, seq: u64) -> bool {
        self.log(log).is_some_and(|log| log.effective >= seq)
    }

    /// How many other devices acknowledged holding an event.
    #[must_use]
    pub fn copies(&self, log: &LogId, seq: u64) -> u64 {
        let Some(log) = self.log(log) else { return 0 };
        let held = log.held_by.len() as u64;
        if log.placed < seq {
            return held;
        }
        // A majority of voters certified its place, and each holds what it certifies.
        let majority = self.voters.len() / 2 + 1;
        let others = majority - usize::from(self.voters.contains(&self.me)).min(majority);
        held.max(others as u64)
    }

    /// How far an event has travelled, as far as that is known without its place.
    #[must_use]
    pub fn durability_of(&self, log: &LogId, seq: u64) -> Durability {
        if self.is_committed(log, seq) {
            Durability::Committed
        } else if self.copies(log, seq) > 0 {
            Durability::Copied
        } else {
            Durability::Local
        }
    }

    /// How far something with a place in the order has travelled.
    #[must_use]
    pub fn durability_at(&self, at: Position) -> Durability {
        match self.pinned {
            Some(pinned) if pinned.i >= at.i => Durability::Pinned,
            _ => Durability::Committed,
        }
    }

    /// How far the newest change of a document has travelled.
    #[must_use]
    pub fn durability(&self, record: &Record) -> Durability {
        match (record.pending_last, record.at) {
            (Some(stamp), _) => {
                // Pending here means that it has not taken effect here.
                self.durability_of(&stamp.log, stamp.seq).min(Durability::Copied)
            }
            (None, Some(at)) => self.durability_at(at),
            (None, None) => Durability::Local,
        }
    }

    /// Whether this device has not caught up with the order it knows of.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let applied = self.status.applied;
        applied != self.status.end || self.status.peers.iter().any(|peer| peer.order_at > applied.i)
    }

    /// A device as the local API shows it.
    #[must_use]
    pub fn device(&self, member: &Member) -> Device {
        let votes = self.voters.contains(&member.id);
        let leads = self.leader() == Some(member.id);
        let this = member.id == self.me;
        Device {
            id: member.id.to_string(),
            name: member.name.clone(),
            kind: member.kind,
            this,
            trusted: member.trusted,
            role: match (leads, votes) {
                (true, _) => Role::Orders,
                (false, true) => Role::Votes,
                (false, false) => Role::Follows,
            },
            connected: self.is_connected(&member.id),
            last_heard_ms: self.heard_ms(&member.id),
            behind: if this { Some(0) } else { self.behind(&member.id) },
            holds_all: this || self.behind(&member.id) == Some(0),
            away: member.dormant,
        }
    }

    /// How many events here a device lacks, as far as it said: by its session, or by having signed
    /// the place of each. The second outlives a session; of several voters it is not known who
    /// signed, so it is asked of a lone one only.
    fn behind(&self, device: &DeviceId) -> Option<u64> {
        let peer = self.status.peers.iter().find(|peer| peer.device == *device);
        let said = peer.filter(|peer| peer.greeted).map(|peer| peer.lacking);
        said.or_else(|| (self.voters == [*device]).then(|| self.unplaced()))
    }

    /// How many events and control records here have no certified place.
    #[must_use]
    pub fn unplaced(&self) -> u64 {
        let logs = self.status.logs.iter();
        let events: u64 = logs.map(|log| log.held.saturating_sub(log.placed)).sum();
        events + self.status.control_waiting
    }

    /// Who places what the others write, if that is known.
    #[must_use]
    pub fn leader(&self) -> Option<DeviceId> {
        match self.voters.as_slice() {
            [only] => Some(*only),
            _ => self.status.leading.then_some(self.me),
        }
    }

    /// This device first, then by name.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> =
            self.members.values().filter(|one| one.live).map(|one| self.device(one)).collect();
        devices.sort_by(|a, b| (!a.this, &a.name, &a.id).cmp(&(!b.this, &b.name, &b.id)));
        devices
    }

    /// The live device that people mean by its name, its id, or the start of its id.
    pub fn find(&self, text: &str) -> Result<&Member, ApiError> {
        let live = self.members.values().filter(|one| one.live);
        let found = meant(live, text, 1, |one| (&one.id, &one.name));
        match found.as_slice() {
            [one] => Ok(one),
            [] => {
                Err(ApiError::new(Problem::UNKNOWN_NAME, format!("no device is called `{text}`"))
                    .hint("rhizome device list"))
            }
            _ => Err(ApiError::new(
                Problem::UNKNOWN_NAME,
                format!("{} devices are meant by `{text}`; use the id", found.len()),
            )
            .hint("rhizome device list")),
        }
    }
}

/// Those that people mean by `text`: whoever is called so, else whoever's id starts so, given at
/// least `start_min` characters of it.
pub fn meant<T: Copy>(
    among: impl Iterator<Item = T> + Clone,
    text: &str,
    start_min: usize,
    of: impl Fn(&T) -> (&DeviceId, &str),
) -> Vec<T> {
    let called: Vec<T> = among.clone().filter(|one| of(one).1 == text).collect();
    if !called.is_empty() || text.len() < start_min {
        return called;
    }
    among.filter(|one| of(one).0.to_string().starts_with(text)).collect()
}

fn removed(control: &ControlLog, device: &DeviceId) -> Option<Removed> {
    let revoked = control.state().device(device)?.revoked.clone()?;
    let record = control.record(&revoked.record)?;
    let by = match record.author() {
        Author::Device(by) => Some(by),
        Author::Recovery | Author::Root => None,
    };
    Some(Removed { by, at_ms: record.clock() >> 16, reason: revoked.reason })
}

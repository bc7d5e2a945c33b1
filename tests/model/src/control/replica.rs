//! One replica of the control log, and what an observer who knows none of its rules reads off it.

use super::Without;
use super::people::{DEVICES, first_log, id, keys};
use rhizome_block::Cid;
use rhizome_identity::{
    Author, ControlBody, ControlError, ControlLog, ControlRecord, ControlState, DeviceId, Inserted,
    SealingPublic,
};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A removal whose new secret was wrapped to the wrong devices and counts all the same.
#[derive(Clone, Debug, Hash)]
struct Leak {
    gone: SealingPublic,
    wrapped: BTreeSet<SealingPublic>,
}

/// One replica.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The log itself.
    pub log: ControlLog,
    /// Height of the log that all begin with.
    pub begun: u64,
    /// Everything that reached it.
    pub heard: BTreeSet<Cid>,
    /// How many records the order has made final here, after those that all begin with.
    pub committed: usize,
    /// The newest record that counts.
    pub head: Cid,
    /// Devices by number that belong to the identity.
    pub members: BTreeSet<u8>,
    /// A tentative record does not count, because another branch wins.
    pub forked: bool,
    /// Walking along the chain, no record that admits is signed by a device removed before it.
    pub removed_admits_nobody: bool,
    /// The newest secret is wrapped to the living devices and the kit.
    pub secret_is_for_members: bool,
    /// Everything above, as one number.
    pub digest: u64,
    /// Who was let in although the log refused it, with [`Without::CutOff`].
    ghosts: BTreeSet<(DeviceId, u8)>,
    /// The head of the branch that was heard first, with [`Without::ForkRule`].
    kept: Option<Cid>,
    /// Whose new secret counts, with [`Without::NewEpoch`].
    leaked: Option<Leak>,
}

impl PartialEq for Replica {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.heard == other.heard && self.head == other.head
    }
}

impl Eq for Replica {}

impl Hash for Replica {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Replica {
    pub(super) fn first() -> Self {
        let mut replica = Self {
            log: first_log().clone(),
            begun: first_log().state().height(),
            heard: BTreeSet::new(),
            committed: 0,
            head: first_log().head(),
            members: BTreeSet::new(),
            forked: false,
            removed_admits_nobody: true,
            secret_is_for_members: true,
            digest: 0,
            ghosts: BTreeSet::new(),
            kept: None,
            leaked: None,
        };
        replica.look();
        replica
    }

    /// A record arrives.
    pub(super) fn hear(&self, record: &ControlRecord, without: Without) -> Self {
        let mut next = self.clone();
        next.heard.insert(record.cid());
        let before = next.head;
        match next.log.insert(record.clone()) {
            Ok(Inserted::Placed { placed, .. }) if without == Without::ForkRule => {
                next.keep(before, &placed);
            }
            Err(ControlError::NotAdmin { device }) if without == Without::CutOff => {
                next.let_in(device, record);
            }
            Err(ControlError::Wraps) if without == Without::NewEpoch => {
                next.leaked = leak(record.body());
            }
            Ok(_) | Err(_) => {}
        }
        next.look();
        next
    }

    /// Stays on the branch that was heard first, as far as it goes.
    fn keep(&mut self, before: Cid, placed: &[Cid]) {
        let mut kept = self.kept.unwrap_or(before);
        for cid in placed {
            if self.log.record(cid).is_some_and(|record| record.prev() == kept) {
                kept = *cid;
            }
        }
        self.kept = Some(kept);
    }

    fn let_in(&mut self, by: DeviceId, record: &ControlRecord) {
        if let ControlBody::AddDevice(add) = record.body() {
            let n = (1..=DEVICES).find(|n| id(*n) == add.certificate.device());
            self.ghosts.extend(n.map(|n| (by, n)));
        }
    }

    /// The order makes a record final.
    pub(super) fn commit(&self, record: Cid) -> Self {
        let mut next = self.clone();
        next.log.commit(record).expect("only what is placed is made final");
        next.committed += 1;
        next.kept = None;
        next.look();
        next
    }

    /// Records behind which something can be written: the final head and all tentative ones.
    pub(super) fn open(&self) -> Vec<Cid> {
        let tentative = self.log.tentative().into_iter().map(ControlRecord::cid);
        [self.log.committed_head()].into_iter().chain(tentative).collect()
    }

    /// The next record of the chain that is not final yet.
    pub(super) fn next(&self) -> Option<Cid> {
        let height = self.log.committed_state().height() + 1;
        self.log.chain_from(height).first().map(|record| record.cid())
    }

    fn state(&self) -> &ControlState {
        let kept = self.kept.and_then(|kept| self.log.state_after(&kept));
        kept.unwrap_or_else(|| self.log.state())
    }

    /// Reads everything off anew.
    fn look(&mut self) {
        let state = self.state();
        let head = state.record();
        let living = (1..=DEVICES).filter(|n| state.is_live(&id(*n)));
        let members = living.chain(self.ghosts.iter().map(|(_, n)| *n)).collect();
        let behind = self.log.committed_state().height() + 1;
        self.forked = self.log.tentative().len() > self.log.chain_from(behind).len();
        (self.head, self.members) = (head, members);
        self.removed_admits_nobody = self.walk();
        self.secret_is_for_members = self.opens();
        self.digest = self.number();
    }

    /// Follows the chain and remembers who was removed.
    fn walk(&self) -> bool {
        let mut removed: BTreeSet<DeviceId> = BTreeSet::new();
        let mut sound = true;
        for record in self.log.chain_from(1) {
            match (record.author(), record.body()) {
                (Author::Device(by), ControlBody::AddDevice(_)) => sound &= !removed.contains(&by),
                (_, ControlBody::RevokeDevice(revoke)) => {
                    removed.insert(revoke.device);
                }
                _ => {}
            }
        }
        sound && self.ghosts.iter().all(|(by, _)| !removed.contains(by))
    }

    /// Follows the chain and keeps count of who should have the newest secret.
    fn opens(&self) -> bool {
        let mut living: BTreeSet<SealingPublic> = [keys(1).sealing_public()].into();
        for record in self.log.chain_from(1) {
            match record.body() {
                ControlBody::AddDevice(add) => living.extend(add.certificate.body().sealing),
                ControlBody::RevokeDevice(revoke) => {
                    let gone = (1..=DEVICES).find(|n| id(*n) == revoke.device);
                    gone.map(|n| living.remove(&keys(n).sealing_public()));
                }
                _ => {}
            }
        }
        let state = self.log.state();
        living.insert(state.recovery_seal());
        let wrapped: BTreeSet<SealingPublic> = state.epoch().wraps.keys().copied().collect();
        match &self.leaked {
            None => wrapped == living,
            Some(leak) => {
                living.remove(&leak.gone);
                leak.wrapped == living
            }
        }
    }

    fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.heard, self.committed, self.head, &self.members, self.forked).hash(&mut hasher);
        (self.removed_admits_nobody, self.secret_is_for_members).hash(&mut hasher);
        (&self.ghosts, self.kept, &self.leaked).hash(&mut hasher);
        let tentative: BTreeSet<Cid> =
            self.log.tentative().into_iter().map(ControlRecord::cid).collect();
        (tentative, self.log.committed_head(), self.log.head()).hash(&mut hasher);
        hasher.finish()
    }
}

fn leak(body: &ControlBody) -> Option<Leak> {
    let ControlBody::RevokeDevice(revoke) = body else { return None };
    let gone = (1..=DEVICES).find(|n| id(*n) == revoke.device)?;
    let wrapped = revoke.epoch.wraps.iter().map(|wrap| wrap.recipient).collect();
    Some(Leak { gone: keys(gone).sealing_public(), wrapped })
}

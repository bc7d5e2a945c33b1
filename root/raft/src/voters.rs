//! The sets of voters a generation goes through, as the control log tells them.
//!
//! The newest set is wanted; the one before it counts until the group has changed over. Older ones
//! are remembered only to recognise old membership entries. Deciding sets is left to the planner
//! and the control log.

use crate::bounds::VOTER_SETS_MAX;
use crate::{Members, NodeId};
use rhizome_block::Cid;
use rhizome_cluster::{Certificate, CertificateError};
use rhizome_identity::{DeviceId, IdentityId};
use std::collections::{BTreeMap, BTreeSet};

/// Who votes, by the control log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VoterSet {
    /// Each voter with the control record that admitted it.
    pub admitted: BTreeMap<DeviceId, Cid>,
    /// The voters that hold keys: all but cloud peers. One of them must be in every majority, if
    /// there is any.
    pub trusted: BTreeSet<DeviceId>,
}

impl VoterSet {
    /// The voters.
    #[must_use]
    pub fn devices(&self) -> BTreeSet<DeviceId> {
        self.admitted.keys().copied().collect()
    }
}

/// One set with its node ids worked out.
#[derive(Clone, Debug)]
pub(crate) struct KnownSet {
    pub(crate) nodes: BTreeMap<DeviceId, NodeId>,
    pub(crate) ids: BTreeSet<NodeId>,
    pub(crate) devices: BTreeSet<DeviceId>,
    pub(crate) trusted: BTreeSet<DeviceId>,
}

impl KnownSet {
    pub(crate) fn new(identity: &IdentityId, generation: u64, set: &VoterSet) -> Self {
        let node = |(device, cid): (&DeviceId, &Cid)| {
            (*device, NodeId::of(identity, generation, device, cid))
        };
        let nodes: BTreeMap<_, _> = set.admitted.iter().map(node).collect();
        let ids = nodes.values().copied().collect();
        let devices = set.devices();
        let trusted = set.trusted.intersection(&devices).copied().collect();
        Self { nodes, ids, devices, trusted }
    }
}

/// All sets of the generation, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Voters {
    identity: IdentityId,
    generation: u64,
    sets: Vec<KnownSet>,
    /// Whether the group has changed over to the newest set.
    settled: bool,
}

impl Voters {
    /// Starts from the sets the control log names; the last is wanted.
    pub(crate) fn new(
        identity: IdentityId,
        generation: u64,
        history: &[VoterSet],
        wanted: &VoterSet,
    ) -> Self {
        let mut voters = Self { identity, generation, sets: Vec::new(), settled: true };
        for set in history {
            voters.want(set);
        }
        voters.want(wanted);
        voters
    }

    /// Takes a new set from the control log. The same set again changes nothing.
    pub(crate) fn want(&mut self, set: &VoterSet) {
        let known = KnownSet::new(&self.identity, self.generation, set);
        match self.sets.last_mut() {
            Some(last) if last.ids == known.ids => last.trusted = known.trusted,
            Some(_) => {
                self.sets.push(known);
                self.settled = false;
            }
            None => self.sets.push(known),
        }
        if self.sets.len() > VOTER_SETS_MAX {
            self.sets.remove(0);
        }
    }

    /// The set the group is to change to.
    pub(crate) fn wanted(&self) -> &KnownSet {
        self.sets.last().expect("the first set comes with the configuration")
    }

    /// Notes what the group is, by its newest certified membership: once that is the wanted set
    /// alone, the one before it counts no more.
    pub(crate) fn note(&mut self, members: &Members) {
        if let [config] = members.configs.as_slice()
            && *config == self.wanted().ids
        {
            self.settled = true;
        }
    }

    /// The sets whose word counts now.
    fn counted(&self) -> &[KnownSet] {
        let from = self.sets.len().saturating_sub(if self.settled { 1 } else { 2 });
        &self.sets[from..]
    }

    /// Node id of a device that votes now or is about to.
    pub(crate) fn node_of(&self, device: &DeviceId) -> Option<NodeId> {
        self.counted().iter().rev().find_map(|set| set.nodes.get(device)).copied()
    }

    /// Device of a node that votes or voted.
    pub(crate) fn device_of(&self, node: &NodeId) -> Option<DeviceId> {
        let find = |set: &KnownSet| {
            set.nodes.iter().find(|(_, id)| *id == node).map(|(device, _)| *device)
        };
        self.sets.iter().rev().find_map(find)
    }

    /// The devices to talk to: all whose word counts.
    pub(crate) fn peers(&self) -> BTreeSet<DeviceId> {
        self.counted().iter().flat_map(|set| set.devices.iter().copied()).collect()
    }

    /// The set that certifies while the group is `members`: the one it leaves while it changes.
    pub(crate) fn certifying(&self, members: Option<&Members>) -> &KnownSet {
        let config = members.and_then(|members| members.configs.first());
        let found = config.and_then(|ids| self.counted().iter().find(|set| set.ids == *ids));
        found.unwrap_or_else(|| self.wanted())
    }

    /// Whether a majority of a set that counts signed.
    pub(crate) fn check(&self, certificate: &Certificate) -> Result<(), CertificateError> {
        let mut last = Ok(());
        for set in self.counted().iter().rev() {
            last = certificate.verify(&set.devices, &set.trusted);
            if last.is_ok() {
                return last;
            }
        }
        last
    }

    /// Whether the control log knows such a membership.
    pub(crate) fn knows(&self, members: &Members) -> bool {
        let known = |ids: &BTreeSet<NodeId>| self.sets.iter().any(|set| set.ids == *ids);
        let voted = |id: &NodeId| self.sets.iter().any(|set| set.ids.contains(id));
        (1..=2).contains(&members.configs.len())
            && members.configs.iter().all(known)
            && members.nodes.iter().all(voted)
            && members.configs.iter().flatten().all(|id| members.nodes.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhizome_block::Codec;

    fn set(devices: &[u8]) -> VoterSet {
        let cid = Cid::of(Codec::DagCbor, b"admitted");
        let admitted = devices.iter().map(|n| (DeviceId([*n; 32]), cid)).collect();
        VoterSet { admitted, trusted: BTreeSet::from([DeviceId([1; 32])]) }
    }

    fn voters(wanted: &[u8]) -> Voters {
        let identity = IdentityId(Cid::of(Codec::DagCbor, b"genesis"));
        Voters::new(identity, 1, &[], &set(wanted))
    }

    #[test]
    fn the_set_before_counts_until_the_group_has_changed_over() {
        let mut voters = voters(&[1, 2, 3]);
        voters.want(&set(&[1, 2, 4]));
        assert!(voters.node_of(&DeviceId([3; 32])).is_some());
        let ids = voters.wanted().ids.clone();
        let joint = Members { configs: vec![ids.clone(), ids.clone()], nodes: ids.clone() };
        voters.note(&joint);
        assert!(voters.node_of(&DeviceId([3; 32])).is_some());
        voters.note(&Members { configs: vec![ids.clone()], nodes: ids });
        assert!(voters.node_of(&DeviceId([3; 32])).is_none());
    }

    #[test]
    fn a_membership_is_known_only_if_the_control_log_named_its_sets() {
        let mut voters = voters(&[1, 2, 3]);
        let old = voters.wanted().ids.clone();
        voters.want(&set(&[1, 2, 4]));
        let new = voters.wanted().ids.clone();
        let nodes: BTreeSet<_> = old.union(&new).copied().collect();
        assert!(voters.knows(&Members { configs: vec![old.clone(), new], nodes: nodes.clone() }));
        let one = BTreeSet::from([*old.first().unwrap()]);
        assert!(!voters.knows(&Members { configs: vec![one], nodes: nodes.clone() }));
        assert!(!voters.knows(&Members { configs: vec![], nodes: nodes.clone() }));
        assert!(!voters.knows(&Members { configs: vec![old.clone()], nodes: BTreeSet::new() }));
        let stranger = nodes.into_iter().chain([NodeId([9; 32])]).collect();
        assert!(!voters.knows(&Members { configs: vec![old], nodes: stranger }));
    }
}

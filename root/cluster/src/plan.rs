//! Who should vote: a pure function of devices, presence and policy.
//!
//! Voters are one, three or five. Steadiness decides; phones and browsers vote only when nothing
//! steadier exists, because a sleeping voter stops the order (`security.md` 4.4 and 4.5).

use rhizome_block::planted::{Bug, planted};
use rhizome_identity::{DeviceId, DeviceKind};
use std::collections::BTreeSet;

/// Most voters. Five survive the loss of two; more only cost latency.
pub const VOTERS_MAX: usize = 5;

/// A device as the planner sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// What kind of machine it is.
    pub kind: DeviceKind,
    /// A laptop that its owner keeps running.
    pub mostly_on: bool,
    /// Whether it was heard from recently (the device that plans hears itself).
    pub present: bool,
}

/// What the person prefers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VoterPolicy {
    /// The cloud peer stores and relays but does not order while another device can ("private
    /// mode").
    pub private: bool,
}

/// How well a device suits voting; higher is steadier, zero never joins a group.
fn steadiness(candidate: &Candidate, policy: VoterPolicy) -> u8 {
    match candidate.kind {
        DeviceKind::CloudPeer if policy.private => 1,
        DeviceKind::CloudPeer => 5,
        DeviceKind::HomeServer => 6,
        DeviceKind::Desktop => 4,
        DeviceKind::Laptop if candidate.mostly_on => 4,
        DeviceKind::Laptop => 3,
        DeviceKind::Phone => 2,
        DeviceKind::Browser => 0,
    }
}

/// Whether a device may be one voter of several: always on, or as good as.
fn is_steady(candidate: &Candidate) -> bool {
    match candidate.kind {
        DeviceKind::CloudPeer | DeviceKind::HomeServer | DeviceKind::Desktop => true,
        DeviceKind::Laptop => candidate.mostly_on,
        DeviceKind::Phone | DeviceKind::Browser => false,
    }
}

/// The voters there should be, given those there are.
///
/// A present voter stays a voter where a change would gain nothing, so that groups do not flap.
/// Two steady machines and a laptop make three voters, because two alone would be worse than one.
#[must_use]
pub fn plan_voters(
    candidates: &[Candidate],
    current: &BTreeSet<DeviceId>,
    policy: VoterPolicy,
) -> BTreeSet<DeviceId> {
    let mut ranked: Vec<&Candidate> = candidates.iter().collect();
    ranked.sort_by_key(|candidate| {
        let stays = current.contains(&candidate.device);
        let rank = (candidate.present, steadiness(candidate, policy), stays);
        (std::cmp::Reverse(rank), candidate.device)
    });
    let present = || ranked.iter().filter(|candidate| candidate.present);
    let is_host = |candidate: &Candidate| candidate.kind == DeviceKind::CloudPeer;
    let steady = |host: bool| {
        let chosen = present().filter(move |c| is_steady(c) && is_host(c) == host);
        chosen.map(|candidate| candidate.device).collect::<Vec<_>>()
    };
    let (hosts, mut trusted) = (steady(true), steady(false));
    let group = |size: usize, trusted: &[DeviceId]| {
        // Hosts stay fewer than a majority: a group they could outvote would be theirs.
        let hosts: Vec<_> = hosts.iter().take(size / 2).copied().collect();
        let enough = hosts.len() + trusted.len() >= size;
        enough.then(|| hosts.iter().chain(trusted).take(size).copied().collect())
    };
    if planted(Bug::VotersEven)
        && let Some(two) = group(2, &trusted)
    {
        return two;
    }
    if let Some(five) = group(VOTERS_MAX, &trusted) {
        return five;
    }
    if trusted.len() + hosts.len().min(1) == 2 {
        let laptop = present().find(|c| c.kind == DeviceKind::Laptop && !is_steady(c));
        trusted.extend(laptop.map(|candidate| candidate.device));
    }
    let alone = || ranked.first().map(|candidate| candidate.device).into_iter().collect();
    group(3, &trusted).unwrap_or_else(alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [DeviceKind; 6] = [
        DeviceKind::Desktop,
        DeviceKind::Laptop,
        DeviceKind::Phone,
        DeviceKind::Browser,
        DeviceKind::HomeServer,
        DeviceKind::CloudPeer,
    ];

    fn candidates(kinds: &[DeviceKind]) -> Vec<Candidate> {
        let device = |n: usize| DeviceId([n as u8; 32]);
        let candidate = |(n, kind): (usize, &DeviceKind)| Candidate {
            device: device(n),
            kind: *kind,
            mostly_on: false,
            present: true,
        };
        kinds.iter().enumerate().map(candidate).collect()
    }

    #[track_caller]
    fn check(kinds: &[DeviceKind], expected: &[DeviceKind]) {
        let all = candidates(kinds);
        let voters = plan_voters(&all, &BTreeSet::new(), VoterPolicy::default());
        let mut found: Vec<DeviceKind> =
            all.iter().filter(|c| voters.contains(&c.device)).map(|c| c.kind).collect();
        found.sort_by_key(|kind| KINDS.iter().position(|k| k == kind));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_cluster_sizes_of_the_design_come_out() {
        use DeviceKind::{CloudPeer, Desktop, HomeServer, Laptop, Phone};
        check(&[Laptop], &[Laptop]);
        check(&[Laptop, CloudPeer], &[CloudPeer]);
        check(&[Laptop, Phone], &[Laptop]);
        check(&[Phone, Phone], &[Phone]);
        check(&[Laptop, Phone, CloudPeer], &[CloudPeer]);
        check(&[Laptop, Desktop, CloudPeer], &[Desktop, Laptop, CloudPeer]);
        check(&[Desktop, Laptop, CloudPeer, CloudPeer], &[Desktop, Laptop, CloudPeer]);
        check(&[Desktop, HomeServer, CloudPeer, Phone], &[Desktop, HomeServer, CloudPeer]);
    }

    proptest! {
        #[test]
        fn voters_are_one_three_or_five_and_stable(
            kinds in proptest::collection::vec(0usize..6, 1..12),
            presence in proptest::collection::vec(any::<bool>(), 12),
        ) {
            let kinds: Vec<DeviceKind> = kinds.into_iter().map(|n| KINDS[n]).collect();
            let mut all = candidates(&kinds);
            for (candidate, present) in all.iter_mut().zip(presence) {
                candidate.present = present;
            }
            let voters = plan_voters(&all, &BTreeSet::new(), VoterPolicy::default());
            prop_assert!([1, 3, 5].contains(&voters.len()));
            prop_assert_eq!(&plan_voters(&all, &voters, VoterPolicy::default()), &voters);
        }
    }
}

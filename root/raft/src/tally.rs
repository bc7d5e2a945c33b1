//! Collects acknowledgements at the leader until they make a certificate.
//!
//! A certificate needs a majority for one and the same position. Signatures are checked only when
//! they would complete one, so that a late or superfluous acknowledgement costs nothing.

use crate::bounds::ACK_POSITIONS_MAX;
use crate::voters::KnownSet;
use rhizome_cluster::{Ack, Certificate};
use rhizome_identity::DeviceId;
use rhizome_log::Seen;
use std::collections::BTreeMap;

/// Acknowledgements for positions of our own chain, not certified yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    positions: BTreeMap<u64, Acks>,
}

#[derive(Clone, Debug)]
struct Acks {
    seen: Seen,
    acks: BTreeMap<DeviceId, Counted>,
}

#[derive(Clone, Debug)]
struct Counted {
    ack: Ack,
    checked: bool,
}

impl Tally {
    /// Notes an acknowledgement. `checked` says that it is our own.
    pub(crate) fn add(&mut self, ack: Ack, checked: bool) {
        let seen = ack.seen;
        let at = self
            .positions
            .entry(seen.i)
            .and_modify(|at| {
                // Another hash at this index means that our chain was cut off since.
                if at.seen != seen {
                    at.acks.clear();
                    at.seen = seen;
                }
            })
            .or_insert_with(|| Acks { seen, acks: BTreeMap::new() });
        at.acks.insert(ack.device, Counted { ack, checked });
        if self.positions.len() > ACK_POSITIONS_MAX {
            self.positions.pop_first();
        }
    }

    /// Forgets positions at or below `i`, which are certified.
    pub(crate) fn forget(&mut self, i: u64) {
        self.positions = self.positions.split_off(&(i + 1));
    }

    /// Forgets everything: the lead has changed, and only what is acknowledged to this leader, in
    /// this term, counts.
    pub(crate) fn clear(&mut self) {
        self.positions.clear();
    }

    /// The newest certificate for a position at or below `upto` by a majority of `set`. `holds`
    /// tells whether our chain still has that position.
    pub(crate) fn certify(
        &mut self,
        upto: u64,
        set: &KnownSet,
        holds: impl Fn(&Seen) -> bool,
    ) -> Option<Certificate> {
        for (_, at) in self.positions.range_mut(..=upto).rev() {
            if holds(&at.seen)
                && let Some(certificate) = at.certify(set)
            {
                return Some(certificate);
            }
        }
        None
    }
}

impl Acks {
    fn certify(&mut self, set: &KnownSet) -> Option<Certificate> {
        let needed = set.devices.len() / 2 + 1;
        let counts = |device: &DeviceId| set.devices.contains(device);
        if self.acks.keys().filter(|device| counts(device)).count() < needed {
            return None;
        }
        // Checked ones first, then trusted ones: the fewest signatures to look at.
        let mut order: Vec<DeviceId> = self.acks.keys().copied().filter(counts).collect();
        order.sort_by_key(|device| {
            (!self.acks[device].checked, !set.trusted.contains(device), *device)
        });
        let mut signers = Vec::with_capacity(needed);
        let mut trusted = set.trusted.is_empty();
        for device in order {
            let is_trusted = set.trusted.contains(&device);
            if (signers.len() >= needed && !is_trusted) || !self.check(&device) {
                continue;
            }
            trusted |= is_trusted;
            signers.push((device, self.acks[&device].ack.sig));
            if signers.len() >= needed && trusted {
                signers.sort_by_key(|(device, _)| *device);
                return Some(Certificate::new(self.seen, signers));
            }
        }
        None
    }

    /// Checks a signature once; a wrong one is forgotten.
    fn check(&mut self, device: &DeviceId) -> bool {
        let Some(counted) = self.acks.get_mut(device) else { return false };
        counted.checked = counted.checked || counted.ack.verify().is_ok();
        let good = counted.checked;
        if !good {
            self.acks.remove(device);
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, known_set, signing_keys};
    use rhizome_identity::Signature;

    fn seen(i: u64) -> Seen {
        Seen { g: 1, i, c: [i as u8; 32] }
    }

    fn ack(n: u8, i: u64) -> Ack {
        Ack::sign(&signing_keys(n), seen(i))
    }

    fn certify(tally: &mut Tally, upto: u64, set: &KnownSet) -> Option<u64> {
        let certificate = tally.certify(upto, set, |_| true)?;
        certificate.verify(&set.devices, &set.trusted).unwrap();
        Some(certificate.seen.i)
    }

    #[test]
    fn a_majority_for_one_position_certifies_it() {
        let set = known_set(&[1, 2, 3], &[]);
        let mut tally = Tally::default();
        tally.add(ack(1, 5), true);
        tally.add(ack(2, 6), false);
        assert_eq!(certify(&mut tally, 9, &set), None);
        tally.add(ack(2, 5), false);
        assert_eq!(certify(&mut tally, 9, &set), Some(5));
        tally.add(ack(1, 6), true);
        assert_eq!(certify(&mut tally, 5, &set), Some(5), "not beyond what Raft committed");
        assert_eq!(certify(&mut tally, 9, &set), Some(6));
        tally.forget(6);
        assert_eq!(certify(&mut tally, 9, &set), None);
    }

    #[test]
    fn untrusted_voters_wait_for_a_trusted_one() {
        let set = known_set(&[1, 2, 3], &[3]);
        let mut tally = Tally::default();
        tally.add(ack(1, 5), true);
        tally.add(ack(2, 5), false);
        assert_eq!(certify(&mut tally, 9, &set), None);
        tally.add(ack(3, 5), false);
        assert_eq!(certify(&mut tally, 9, &set), Some(5));
    }

    #[test]
    fn forged_foreign_and_outdated_acknowledgements_count_for_nothing() {
        let set = known_set(&[1, 2, 3], &[]);
        let mut tally = Tally::default();
        tally.add(ack(1, 5), true);
        tally.add(Ack { device: device(2), sig: Signature([7; 64]), ..ack(2, 5) }, false);
        tally.add(ack(9, 5), false);
        assert_eq!(certify(&mut tally, 9, &set), None);
        tally.add(ack(2, 5), false);
        assert!(tally.certify(9, &set, |_| false).is_none(), "our chain went another way");
        assert_eq!(certify(&mut tally, 9, &set), Some(5));
    }
}

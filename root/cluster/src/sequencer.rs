//! The one-voter sequencer: order without heartbeats, timers or elections.
//!
//! A lone device, a browser, or the cloud peer of somebody whose other devices sleep is the one
//! voter of its identity. It places whatever it holds durably, in the order it was held, and one
//! acknowledgement is a majority. Entries and certificates are those of a larger group, so growing
//! to openraft changes who signs and nothing else.

use crate::{Ack, Certificate, Chain, EntryBody, OrderedEntry};
use rhizome_identity::SigningKeys;
use rhizome_log::Seen;

/// Orders in the name of one voter.
#[derive(Clone, Debug)]
pub struct Sequencer {
    chain: Chain,
    generation: u64,
}

impl Sequencer {
    /// Goes on after `end`, placing in `generation`.
    #[must_use]
    pub const fn new(end: Seen, generation: u64) -> Self {
        Self { chain: Chain::from(end), generation }
    }

    /// Places one body. It is committed once the entry and its certificate are durable.
    pub fn place(&mut self, body: EntryBody) -> OrderedEntry {
        self.chain.push(self.generation, body)
    }

    /// The certificate for everything placed so far: store it with the entries it covers.
    #[must_use]
    pub fn certify(&self, keys: &SigningKeys) -> Certificate {
        let ack = Ack::sign(keys, self.chain.end());
        Certificate::new(ack.seen, vec![(ack.device, ack.sig)])
    }

    /// Position and hash of the last entry placed.
    #[must_use]
    pub const fn end(&self) -> Seen {
        self.chain.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CertificateError, genesis_chain};
    use rhizome_block::{Cid, Codec};
    use rhizome_identity::IdentityId;
    use std::collections::BTreeSet;

    fn body(n: u8) -> EntryBody {
        EntryBody::Control { record: Cid::of(Codec::DagCbor, &[n]) }
    }

    #[test]
    fn one_voter_commits_and_a_follower_reaches_the_same_hash() {
        let keys = SigningKeys::from_secret([7; 32]);
        let start = genesis_chain(&IdentityId(Cid::of(Codec::DagCbor, b"genesis")));
        let mut sequencer = Sequencer::new(start, 1);
        let mut follower = Chain::from(start);
        for n in 0..3 {
            let placed = sequencer.place(body(n));
            let followed = follower.extend(placed.entry.clone()).unwrap();
            assert_eq!(followed, placed);
        }
        let certificate = sequencer.certify(&keys);
        assert_eq!(certificate.seen, follower.end());
        let voters = BTreeSet::from([keys.device_id()]);
        certificate.verify(&voters, &voters).unwrap();
        let others = BTreeSet::from([SigningKeys::from_secret([8; 32]).device_id()]);
        assert!(matches!(
            certificate.verify(&others, &others),
            Err(CertificateError::NoVoter { .. })
        ));
    }

    #[test]
    fn a_changed_entry_changes_every_hash_after_it() {
        let start = genesis_chain(&IdentityId(Cid::of(Codec::DagCbor, b"genesis")));
        let (mut one, mut two) = (Sequencer::new(start, 1), Sequencer::new(start, 1));
        one.place(body(1));
        two.place(body(2));
        assert_ne!(one.place(body(3)).seen.c, two.place(body(3)).seen.c);
    }

    #[test]
    fn untrusted_voters_alone_are_no_majority_beside_a_trusted_one() {
        let keys: Vec<SigningKeys> = (1..=3).map(|n| SigningKeys::from_secret([n; 32])).collect();
        let voters: BTreeSet<_> = keys.iter().map(SigningKeys::device_id).collect();
        let trusted = BTreeSet::from([keys[2].device_id()]);
        let seen = Seen { g: 1, i: 9, c: [1; 32] };
        let sign = |keys: &SigningKeys| {
            let ack = Ack::sign(keys, seen);
            (ack.device, ack.sig)
        };
        let hosts = Certificate::new(seen, vec![sign(&keys[0]), sign(&keys[1])]);
        assert!(matches!(hosts.verify(&voters, &trusted), Err(CertificateError::NoTrusted)));
        let mixed = Certificate::new(seen, vec![sign(&keys[0]), sign(&keys[2])]);
        mixed.verify(&voters, &trusted).unwrap();
        let twice = Certificate::new(seen, vec![sign(&keys[2]), sign(&keys[2])]);
        assert!(matches!(
            twice.verify(&voters, &trusted),
            Err(CertificateError::NoMajority { .. })
        ));
    }
}

//! Two orders: how replicas that were told different ones find that out, and prove it.
//!
//! What a peer says of where it stands proves nothing: it may lie, and so may entries that it shows
//! with somebody's certificate. A proof is two chains of entries that each end at a certificate and
//! differ at one place. To get one, a replica that is shown what does not fit its own order names
//! an earlier place of its own, half as far from the start. Whoever has the same there sends what
//! follows; whoever has another goes back as well. At the start all agree.

use crate::access::{Access, ReplicaError};
use crate::input::{Alarm, Effect};
use crate::message::Message;
use crate::rows::{self, EntryRow};
use crate::state::Replica;
use rhizome_cluster::{Ack, AckKind, Certificate, Chain, Entry, genesis_chain};
use rhizome_identity::DeviceId;
use rhizome_log::Seen;
use std::collections::{BTreeMap, BTreeSet};

/// Most lies that the person is told of: one is enough to act upon.
pub(crate) const DISPUTED_MAX: usize = 64;

/// A stretch of an order and the certificate it leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Story {
    /// The place before the first entry.
    pub after: Seen,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Covers the last of them, or `after` where there are none.
    pub certificate: Certificate,
}

/// Two stories that cannot both be true, to be checked by whoever reads them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    /// What this replica holds.
    pub ours: Story,
    /// What it was shown.
    pub theirs: Story,
}

impl Story {
    /// The places it tells of, if it leads to its certificate.
    fn places(&self) -> Option<BTreeMap<u64, Seen>> {
        let mut chain = Chain::from(self.after);
        let mut places = BTreeMap::from([(self.after.i, self.after)]);
        for entry in &self.entries {
            let seen = chain.extend(entry.clone()).ok()?.seen;
            places.insert(seen.i, seen);
        }
        (chain.end() == self.certificate.seen).then_some(places)
    }

    /// Who signed its end.
    fn signers(&self) -> BTreeSet<DeviceId> {
        let seen = self.certificate.seen;
        let signed = |(device, sig): &(DeviceId, rhizome_identity::Signature)| {
            let (k, v) = (AckKind, rhizome_block::Version);
            let ack = Ack { k, v, device: *device, seen, sig: *sig };
            ack.verify().is_ok().then_some(*device)
        };
        self.certificate.acks.iter().filter_map(signed).collect()
    }
}

impl Proof {
    /// The first place at which the stories differ.
    #[must_use]
    pub fn differ_at(&self) -> Option<(Seen, Seen)> {
        let (ours, theirs) = (self.ours.places()?, self.theirs.places()?);
        let both = ours.into_iter().filter_map(|(i, ours)| Some((ours, *theirs.get(&i)?)));
        both.into_iter().find(|(ours, theirs)| ours != theirs)
    }

    /// Who signed both, and so lied.
    #[must_use]
    pub fn liars(&self) -> BTreeSet<DeviceId> {
        if self.differ_at().is_none() {
            return BTreeSet::new();
        }
        self.ours.signers().intersection(&self.theirs.signers()).copied().collect()
    }
}

impl Replica {
    /// The place of index `i` as it is held here.
    fn place(&self, access: &Access<'_, '_>, i: u64) -> Result<Option<Seen>, ReplicaError> {
        if i == 0 {
            return Ok(Some(genesis_chain(&self.control.genesis().identity_id())));
        }
        let row: Option<EntryRow> = rows::get(access.index, &rows::entry_key(i))?;
        Ok(row.map(|row| row.seen))
    }

    /// Whether a place is another one here, and somebody must have lied.
    pub(crate) fn contradicts(
        &self,
        access: &Access<'_, '_>,
        theirs: &Seen,
    ) -> Result<bool, ReplicaError> {
        let ours = self.place(access, theirs.i)?.filter(|_| theirs.i > 0);
        Ok(ours.is_some_and(|ours| ours != *theirs && !self.may_differ(&ours, theirs)))
    }

    /// Names a place at `i`, for whoever holds another order to compare with.
    pub(crate) fn go_back(
        &self,
        access: &Access<'_, '_>,
        device: DeviceId,
        i: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let seen = match self.place(access, i)? {
            Some(seen) => Some(seen),
            None => self.place(access, 0)?,
        };
        let said = seen.filter(|_| self.peers.contains_key(&device));
        effects.extend(said.map(|seen| Effect::Send(device, Message::OrderAt { seen })));
        Ok(())
    }

    /// Whether the person is told of this, which happens once.
    pub(crate) fn disputes(&mut self, what: [u8; 32]) -> bool {
        self.disputed.len() < DISPUTED_MAX && self.disputed.insert(what)
    }

    /// Raises the alarm if entries and their certificate, which holds, prove that there are two
    /// orders. The peer is then shown ours, so that it can prove it, too.
    pub(crate) fn prove(
        &mut self,
        access: &Access<'_, '_>,
        from: DeviceId,
        entries: &[Entry],
        certificate: &Certificate,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, ReplicaError> {
        let Some(proof) = self.two_stories(access, entries, certificate)? else { return Ok(false) };
        let Some((ours, theirs)) = proof.differ_at() else { return Ok(false) };
        if self.disputes(theirs.c) {
            let (after, shown_by) = (proof.ours.after.i, from);
            let proof = Box::new(proof);
            effects.push(Effect::Alarm(Alarm::Equivocation { ours, theirs, shown_by, proof }));
            if let Some((entries, certificate)) = self.pack_order(access, after)?
                && self.peers.contains_key(&from)
            {
                effects.push(Effect::Send(from, Message::Order { entries, certificate }));
            }
        }
        Ok(true)
    }

    fn two_stories(
        &self,
        access: &Access<'_, '_>,
        entries: &[Entry],
        certificate: &Certificate,
    ) -> Result<Option<Proof>, ReplicaError> {
        let before = entries.first().map(|entry| entry.i.saturating_sub(1));
        let linked = match before {
            Some(before) => self.place(access, before)?,
            None => None,
        };
        let mut theirs = Story {
            after: linked.unwrap_or(certificate.seen),
            entries: entries.to_vec(),
            certificate: certificate.clone(),
        };
        if theirs.places().is_none() {
            // Where they follow from is not certain; their end is.
            (theirs.after, theirs.entries) = (certificate.seen, Vec::new());
        }
        let from = match theirs.entries.is_empty() {
            true => certificate.seen.i.saturating_sub(1),
            false => theirs.after.i,
        };
        let Some(after) = self.place(access, from)? else { return Ok(None) };
        let Some((packed, certificate)) = self.pack_order(access, from)? else { return Ok(None) };
        let read = packed.iter().map(|bytes| Entry::read(bytes).ok()).collect::<Option<Vec<_>>>();
        let ours = read.map(|entries| Story { after, entries, certificate });
        Ok(ours.map(|ours| Proof { ours, theirs }))
    }
}

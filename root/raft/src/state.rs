//! Everything one voter knows, and what follows from it. Pure: no disk, no wire, no clock.
//!
//! openraft keeps the Raft protocol; this keeps what openraft does not know: the order's hashes,
//! acknowledgements, certificates, and what has been told to whom.

use crate::bounds::{
    ACK_GRID, ACK_TAIL, BODIES_PER_ENTRY_MAX, BYTES_PER_S, CERTIFICATES_WAITING_MAX,
    ENTRIES_PER_EVENT_MAX, PROPOSALS_IN_FLIGHT_MAX, REQUESTS_PER_S, SIGNED_KEPT, VOTES_PER_S,
};
use crate::bucket::TokenBucket;
use crate::guard::GuardError;
use crate::ledger::Ledger;
use crate::tally::Tally;
use crate::voters::Voters;
use crate::{Ballot, Batch, LogAt, NodeId, RaftBase};
use rhizome_cluster::{Ack, Certificate, Entry, EntryBody};
use rhizome_identity::{DeviceId, SigningKeys};
use rhizome_log::Seen;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What is known about another voter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// Order index of the newest certificate it confirmed.
    pub(crate) told: u64,
    /// Order index of the certificate on its way to it.
    pub(crate) telling: Option<u64>,
    /// How far its log matches ours, as long as we lead in this term.
    pub(crate) matched: Option<LogAt>,
    /// When it last answered.
    pub(crate) heard_ms: Option<u64>,
}

/// How much a peer may still send.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    requests: TokenBucket,
    bytes: TokenBucket,
    votes: TokenBucket,
}

impl Inbound {
    pub(crate) const fn new(now_ms: u64) -> Self {
        Self {
            requests: TokenBucket::new(REQUESTS_PER_S, now_ms),
            bytes: TokenBucket::new(BYTES_PER_S, now_ms),
            votes: TokenBucket::new(VOTES_PER_S, now_ms),
        }
    }

    pub(crate) fn request(&mut self, bytes: usize, now_ms: u64) -> Result<(), GuardError> {
        let fits = self.requests.take(1, now_ms) && self.bytes.take(bytes as u64, now_ms);
        if fits { Ok(()) } else { Err(GuardError::Rate) }
    }

    pub(crate) fn vote(&mut self, now_ms: u64) -> Result<(), GuardError> {
        if self.votes.take(1, now_ms) { Ok(()) } else { Err(GuardError::Rate) }
    }
}

/// The state of one voter.
pub(crate) struct State {
    pub(crate) me: NodeId,
    keys: Arc<SigningKeys>,
    generation: u64,
    pub(crate) ledger: Ledger,
    /// Shared, so that signatures are checked without holding up others.
    pub(crate) voters: Arc<Voters>,
    /// The last vote given.
    pub(crate) ballot: Ballot,
    /// Everything up to here is durable.
    pub(crate) durable: Option<LogAt>,
    /// What openraft calls committed, while we lead.
    pub(crate) committed: Option<LogAt>,
    /// What openraft has applied.
    pub(crate) applied: Option<LogAt>,
    /// The newest certified entry that our log holds, and the order there.
    pub(crate) certified: Option<LogAt>,
    pub(crate) certified_seen: Seen,
    pub(crate) certificate: Option<Certificate>,
    /// Good certificates for positions our log has not reached.
    waiting: BTreeMap<u64, Certificate>,
    /// Up to here the order was handed out.
    emitted: u64,
    tally: Tally,
    signed: BTreeMap<u64, Ack>,
    pub(crate) peers: BTreeMap<DeviceId, Peer>,
    pub(crate) inbound: BTreeMap<DeviceId, Inbound>,
    /// Callers that are no voters share one measure.
    pub(crate) strangers: Inbound,
    proposals: VecDeque<EntryBody>,
    in_flight: usize,
    /// A voter holds the last position but may not sign it: something must follow.
    pub(crate) nudge: bool,
}

impl State {
    pub(crate) fn new(
        me: NodeId,
        keys: Arc<SigningKeys>,
        generation: u64,
        origin: Seen,
        voters: Voters,
        emitted: u64,
    ) -> Self {
        Self {
            me,
            keys,
            generation,
            ledger: Ledger::new(generation, origin),
            voters: Arc::new(voters),
            ballot: Ballot::default(),
            durable: None,
            committed: None,
            applied: None,
            certified: None,
            certified_seen: origin,
            certificate: None,
            waiting: BTreeMap::new(),
            emitted: emitted.max(origin.i),
            tally: Tally::default(),
            signed: BTreeMap::new(),
            peers: BTreeMap::new(),
            inbound: BTreeMap::new(),
            strangers: Inbound::new(0),
            proposals: VecDeque::new(),
            in_flight: 0,
            nudge: false,
        }
    }

    /// Whether we lead, as far as we know.
    pub(crate) fn leads(&self) -> bool {
        self.ballot.granted && self.ballot.node == self.me
    }

    /// Takes a vote. With another leader, everything that counted for the old one is forgotten:
    /// acknowledgements count in the term they were given in, as Raft's commit rule demands.
    pub(crate) fn set_ballot(&mut self, ballot: Ballot) {
        let other = (ballot.term, ballot.node) != (self.ballot.term, self.ballot.node);
        self.ballot = ballot;
        if other {
            self.tally.clear();
            self.committed = None;
            self.proposals.clear();
            self.in_flight = 0;
            self.nudge = false;
            for peer in self.peers.values_mut() {
                peer.matched = None;
            }
        }
    }

    /// Notes that the log up to `at` is durable. A leader acknowledges it to itself.
    pub(crate) fn set_durable(&mut self, at: LogAt) {
        if self.ledger.get(at.index).is_none_or(|held| held.entry.at != at) {
            return;
        }
        let from = self.durable.map_or(0, |before| before.index + 1);
        self.durable = self.durable.max(Some(at));
        if self.leads() {
            for ack in self.acks(from, at) {
                self.tally.add(ack, true);
            }
        }
    }

    /// Cuts off the log from `since` on, unless that would cut what is certified.
    pub(crate) fn truncate(&mut self, since: u64) -> Result<(), GuardError> {
        if self.certified.is_some_and(|at| since <= at.index) {
            return Err(GuardError::Rewrite { index: since });
        }
        self.ledger.truncate(since);
        if self.durable.is_some_and(|at| at.index >= since) {
            self.durable = self.ledger.last();
        }
        Ok(())
    }

    /// Acknowledgements for the log from index `from` up to `to`, as far as it is durable: of the
    /// last entries, and of those on the grid. The last position is always among them.
    pub(crate) fn acks(&mut self, from: u64, to: LogAt) -> Vec<Ack> {
        let Some(durable) = self.durable else { return Vec::new() };
        let to = to.index.min(durable.index);
        let on_grid = |index: &u64| index.is_multiple_of(ACK_GRID) || to - index < ACK_TAIL;
        let mut ends: Vec<Seen> = (from.min(to)..=to)
            .filter(on_grid)
            .filter_map(|index| self.ledger.get(index).map(|held| held.end))
            .collect();
        ends.dedup();
        ends.into_iter().filter_map(|seen| self.sign(seen)).collect()
    }

    /// Signs a durable position, unless another hash might have been signed there.
    fn sign(&mut self, seen: Seen) -> Option<Ack> {
        if !self.ledger.signable(&seen) {
            return None;
        }
        if let Some(ack) = self.signed.get(&seen.i).filter(|ack| ack.seen == seen) {
            return Some(ack.clone());
        }
        let ack = Ack::sign(&self.keys, seen);
        self.signed.insert(seen.i, ack.clone());
        if self.signed.len() > SIGNED_KEPT {
            self.signed.pop_first();
        }
        Some(ack)
    }

    /// Whether the last position is held but may not be signed.
    pub(crate) fn withholds(&self, at: LogAt) -> bool {
        let held = self.ledger.get(at.index);
        held.is_some_and(|held| held.end.g == self.generation && !self.ledger.signable(&held.end))
    }

    /// Counts an acknowledgement of a follower for our own chain.
    pub(crate) fn count(&mut self, ack: Ack) {
        if ack.seen.i > self.certified_seen.i {
            self.tally.add(ack, false);
        }
    }

    /// Forms the newest certificate there can be. A leader certifies what is durable here, what
    /// Raft has committed, and what a majority acknowledged to it in its term; all three together
    /// make it final. Returns whether anything new is certified.
    pub(crate) fn certify(&mut self) -> bool {
        if !self.leads() {
            return false;
        }
        let limit = self.durable.map(|at| at.index).min(self.committed.map(|at| at.index));
        let end = limit.and_then(|index| self.ledger.get(index)).map(|held| held.end);
        let Some(end) = end.filter(|end| end.i > self.certified_seen.i) else { return false };
        let set = self.voters.certifying(self.ledger.members());
        let holds = |seen: &Seen| self.ledger.at_order(seen.i).is_some_and(|at| at.1 == *seen);
        let Some(certificate) = self.tally.certify(end.i, set, holds) else { return false };
        self.take(certificate)
    }

    /// Whether a peer's certificate would tell us anything.
    pub(crate) fn wants(&self, seen: &Seen) -> bool {
        if seen.i <= self.certified_seen.i {
            return self.ledger.at_order(seen.i).is_some_and(|(_, end)| end != *seen);
        }
        self.waiting.get(&seen.i).is_none_or(|known| known.seen != *seen)
    }

    /// Takes a certificate whose signatures are good. Returns whether anything new is certified.
    pub(crate) fn accept(&mut self, certificate: Certificate) -> Result<bool, GuardError> {
        let seen = certificate.seen;
        if seen.g != self.generation {
            return Err(GuardError::Generation { found: seen.g, ours: self.generation });
        }
        if seen.i > self.certified_seen.i {
            return Ok(self.take(certificate));
        }
        match self.ledger.at_order(seen.i) {
            Some((_, end)) if end != seen => Err(GuardError::Contradiction { at: seen.into() }),
            _ => Ok(false),
        }
    }

    fn take(&mut self, certificate: Certificate) -> bool {
        if self.waiting.len() >= CERTIFICATES_WAITING_MAX {
            // The oldest are kept: our log reaches them first.
            self.waiting.pop_last();
        }
        self.waiting.insert(certificate.seen.i, certificate);
        self.advance()
    }

    /// Moves the certified position as far as log and certificates allow.
    pub(crate) fn advance(&mut self) -> bool {
        let mut moved = false;
        while let Some(first) = self.waiting.first_entry() {
            let seen = first.get().seen;
            if seen.i > self.certified_seen.i {
                let Some((at, end)) = self.ledger.at_order(seen.i) else { break };
                if end != seen {
                    // Our tail is not the one that was certified; the leader will replace it.
                    break;
                }
                self.certificate = Some(first.get().clone());
                (self.certified, self.certified_seen, moved) = (Some(at), seen, true);
            }
            first.remove();
        }
        if moved {
            self.settle();
        }
        moved
    }

    fn settle(&mut self) {
        let i = self.certified_seen.i;
        self.ledger.forget_spent(i);
        self.tally.forget(i);
        self.signed = self.signed.split_off(&i);
        let index = self.certified.map_or(0, |at| at.index);
        if let Some((_, members)) = self.ledger.members_before(index) {
            Arc::make_mut(&mut self.voters).note(members);
        }
    }

    /// Starts from a base: everything up to it is certified. What lies below and is not in memory
    /// any more was pulled by the sync session.
    pub(crate) fn rebase(&mut self, base: RaftBase) {
        if base.end.i > self.certified_seen.i || self.certified.is_none() {
            (self.certified, self.certified_seen) = (Some(base.last), base.end);
            self.durable = self.durable.max(Some(base.last));
            self.applied = self.applied.max(Some(base.last));
        }
        self.ledger.set_base(base);
        self.settle();
        self.advance();
    }

    /// The next stretch of certified order to hand out, with its proof.
    pub(crate) fn due(&mut self) -> Option<(Vec<Entry>, Certificate)> {
        // What is no longer in memory was pulled by the sync session.
        self.emitted = self.emitted.max(self.ledger.order_floor());
        let certificate = self.certificate.as_ref()?;
        let to = certificate.seen.i;
        let entries = self.ledger.placed(self.emitted, to, ENTRIES_PER_EVENT_MAX);
        if entries.is_empty() { None } else { Some((entries, certificate.clone())) }
    }

    /// Notes that the order up to `i` was handed out.
    pub(crate) fn set_emitted(&mut self, i: u64) {
        self.emitted = self.emitted.max(i);
    }

    /// The newest index a snapshot may be cut at: certified, applied by openraft, and handed out.
    pub(crate) fn base_index(&self) -> Option<u64> {
        let (certified, applied) = (self.certified?.index, self.applied?.index);
        let index = certified.min(applied);
        let handed = |held: &crate::ledger::Held| held.end.i <= self.emitted;
        self.ledger.get(index).filter(|held| handed(held)).map(|_| index)
    }

    /// Bodies placed or about to be, that no certificate covers.
    pub(crate) fn uncertified(&self) -> u64 {
        self.ledger.end().i.saturating_sub(self.certified_seen.i)
    }

    /// Bodies that wait to be proposed.
    pub(crate) fn waiting_proposals(&self) -> usize {
        self.proposals.len()
    }

    /// Adds bodies to propose.
    pub(crate) fn enqueue(&mut self, bodies: Vec<EntryBody>) {
        self.proposals.extend(bodies);
    }

    /// The next batch to hand to openraft, if the pipeline has room.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        if self.in_flight >= PROPOSALS_IN_FLIGHT_MAX || self.proposals.is_empty() || !self.leads() {
            return None;
        }
        let count = self.proposals.len().min(BODIES_PER_ENTRY_MAX);
        self.in_flight += 1;
        Some(Batch(Arc::new(self.proposals.drain(..count).collect())))
    }

    /// Notes what openraft applied. Returns whether the pipeline has room and something waits.
    pub(crate) fn set_applied(&mut self, at: LogAt, own_batch: bool) -> bool {
        self.applied = self.applied.max(Some(at));
        if own_batch {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        !self.proposals.is_empty()
    }

    /// A repetition of the last bodies, when a voter needs something to sign: what is placed twice
    /// takes effect once.
    pub(crate) fn next_nudge(&mut self) -> Option<Batch> {
        let wanted = std::mem::take(&mut self.nudge);
        let idle = self.in_flight == 0 && self.proposals.is_empty();
        if !wanted || !idle || !self.leads() || self.uncertified() == 0 {
            return None;
        }
        let batch = self.ledger.last_batch()?.clone();
        self.in_flight += 1;
        Some(batch)
    }
}

#[cfg(test)]
mod tests;

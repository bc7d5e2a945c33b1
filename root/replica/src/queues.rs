//! What a replica keeps in memory for a while, and how much of it at most.
//!
//! Every queue has a bound that a constant states where the queue is filled. Here they stand side
//! by side, for whoever watches them: the simulator asks after every step.

use crate::state::Replica;
use rhizome_identity::TENTATIVE_MAX;
use rhizome_log::EVENTS_UNDER_WAY_MAX;

/// One queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queue {
    /// What waits in it.
    pub name: &'static str,
    /// How much waits.
    pub held: u64,
    /// How much may.
    pub max: u64,
}

impl Replica {
    /// All queues, as they are between two batches: what lives for one batch only must be gone.
    #[must_use]
    pub fn queues(&self) -> Vec<Queue> {
        let per_batch = [
            ("blocks to append", self.blocks.len()),
            ("blocks to note", self.staged.len()),
            ("logs to sign", self.unsigned.len()),
            ("events to deliver", self.fresh.len()),
            ("events to send", self.recent.len()),
            ("rows of logs to write", self.dirty.len()),
        ];
        let per_batch = per_batch.map(|(name, held)| queue(name, held, 0));
        let lasting = [
            queue("tentative control records", self.control.tentative().len(), TENTATIVE_MAX),
            queue("control records to say again", self.owed.len(), crate::again::OWED_MAX),
            queue("control records aside", self.reforms.unproven(), crate::reform::ASIDE_MAX),
            queue("alarms raised", self.disputed.len(), crate::dispute::DISPUTED_MAX),
            queue("blocks wanted", self.wanted.len(), crate::pins::WANTED_MAX),
        ];
        per_batch.into_iter().chain(lasting).chain(self.under_way()).collect()
    }

    /// What each peer was sent and has not said to hold. The last message may pass the bound.
    fn under_way(&self) -> impl Iterator<Item = Queue> {
        self.peers.values().flat_map(|peer| {
            let entries = peer.order_sent.saturating_sub(peer.order_at);
            let max = crate::peer::ENTRIES_UNDER_WAY_MAX + crate::order::ENTRIES_MAX as u64;
            let events = peer.session.under_way();
            let events_max = EVENTS_UNDER_WAY_MAX + rhizome_log::RUN_EVENTS_MAX as u64;
            [
                Queue { name: "entries under way to a peer", held: entries, max },
                Queue { name: "events under way to a peer", held: events, max: events_max },
            ]
        })
    }
}

fn queue(name: &'static str, held: usize, max: usize) -> Queue {
    Queue { name, held: held as u64, max: max as u64 }
}

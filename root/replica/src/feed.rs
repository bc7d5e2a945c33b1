//! Who brings which log here, so that news known to several peers is sent by one of them.
//!
//! Each side of a link keeps a part of it: the session knows which logs the peer gets from somebody
//! else (`rhizome_log::session`), this file knows from whom this replica gets each log, tells the
//! others that they need not send it, and asks them again once it is needed.
//!
//! An author that is connected brings its own log, always: replicas that each wait for what the
//! other brings would wait forever. Without the author a head that another peer tells of is wanted
//! at once, for the same reason.

use crate::access::{Access, ReplicaError};
use crate::input::Effect;
use crate::message::Message;
use crate::peer::Peer;
use crate::state::Replica;
use rhizome_identity::DeviceId;
use rhizome_log::{Head, LogId};
use std::collections::BTreeSet;

impl Replica {
    /// `from` brought events of a log that were not here yet.
    pub(crate) fn fed(&mut self, from: DeviceId, log: LogId) {
        // What one that was told to stop still had under way makes it no source again.
        let stops = self.peers.get(&from).is_some_and(|peer| peer.enough.contains(&log));
        if !stops || !self.is_brought(&log, &from) {
            self.feeds.insert(log, from);
        }
    }

    /// Whether another peer than this one brings a log.
    fn is_brought(&self, log: &LogId, other_than: &DeviceId) -> bool {
        if self.brings_its_own(log) {
            return *other_than != log.author;
        }
        let feeder = self.feeds.get(log).filter(|feeder| *feeder != other_than);
        let peer = feeder.and_then(|feeder| self.peers.get(feeder));
        peer.is_some_and(|peer| peer.greeted && !peer.enough.contains(log))
    }

    /// Whether the author of a log is connected.
    fn brings_its_own(&self, log: &LogId) -> bool {
        self.peers.get(&log.author).is_some_and(|peer| peer.greeted)
    }

    /// Whether a run that ends at `head` brings nothing. Whoever sent it is told, unless it is the
    /// one that brings this log.
    pub(crate) fn has_already(
        &mut self,
        access: &Access<'_, '_>,
        from: DeviceId,
        log: LogId,
        head: Head,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, ReplicaError> {
        // Another event at that place is a forked log, and is looked at.
        if head.seq > self.held(&log) || self.event_id(access, &log, head.seq)? != Some(head.id) {
            return Ok(false);
        }
        let signed = self.logs.get(&log).map_or(0, |state| state.row.signed);
        let brought = self.is_brought(&log, &from);
        if let Some(peer) = self.peers.get_mut(&from) {
            if brought && peer.enough.insert(log) {
                effects.push(Effect::Send(from, Message::Enough { log }));
            }
            // Nothing is sent before what is staged is durable.
            let heads = vec![(log, signed)];
            effects.push(Effect::Send(from, Message::Heads { heads }));
        }
        Ok(true)
    }

    /// A peer that was told to send no more of some logs says that it holds more of them.
    pub(crate) fn want_if_nobody_brings(
        &mut self,
        from: DeviceId,
        heads: &[(LogId, u64)],
        effects: &mut Vec<Effect>,
    ) {
        for (log, seq) in heads {
            let held = self.held(log);
            if *seq <= held {
                continue;
            }
            let brought = self.brings_its_own(log);
            let Some(peer) = self.peers.get_mut(&from) else { return };
            if !peer.enough.contains(log) {
                continue;
            }
            let before = peer.promised.insert(*log, *seq);
            if !brought || before.is_some_and(|before| before > held) {
                effects.push(want(peer, from, *log, held));
            }
        }
    }

    /// A peer is gone: what it brought is wanted from somebody else who holds more.
    pub(crate) fn want_from_others(&mut self, gone: DeviceId, effects: &mut Vec<Effect>) {
        let stopped = self.peers.values().flat_map(|peer| peer.enough.iter().copied());
        let orphans: BTreeSet<LogId> = stopped
            .filter(|log| log.author == gone || self.feeds.get(log) == Some(&gone))
            .collect();
        for log in orphans {
            let held = self.held(&log);
            let holds_more = |(_, peer): &(&DeviceId, &mut Peer)| {
                peer.enough.contains(&log) && peer.session.theirs(&log) > held
            };
            if let Some((device, peer)) = self.peers.iter_mut().find(holds_more) {
                effects.push(want(peer, *device, log, held));
            }
        }
    }
}

fn want(peer: &mut Peer, device: DeviceId, log: LogId, after: u64) -> Effect {
    peer.enough.remove(&log);
    peer.promised.remove(&log);
    Effect::Send(device, Message::Want { log, after })
}

//! What a replica can say of itself: where data is, and who waits for whom.

use crate::access::Access;
use crate::control::belongs;
use crate::rows::{self, EntryRow};
use crate::state::{Replica, Role};
use rhizome_cluster::EntryBody;
use rhizome_identity::DeviceId;
use rhizome_log::{LogId, Seen};
use std::collections::BTreeSet;

/// One log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogStatus {
    /// Which.
    pub log: LogId,
    /// Name of its app, where this device can read.
    pub app: Option<String>,
    /// Last event held durably that counts, or will.
    pub held: u64,
    /// Events behind it that are set aside: a removed device wrote them.
    pub aside: u64,
    /// Last event confirmed by the order.
    pub placed: u64,
    /// Last event that took effect here.
    pub effective: u64,
    /// Connected devices that said they hold all of it.
    pub held_by: Vec<DeviceId>,
}

/// One connected device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerStatus {
    /// Which.
    pub device: DeviceId,
    /// Whether it said hello.
    pub greeted: bool,
    /// Events we hold and it does not, as far as it said.
    pub lacking: u64,
    /// How far it holds the order.
    pub order_at: u64,
}

/// All of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The generation in force.
    pub generation: u64,
    /// End of the confirmed order here.
    pub end: Seen,
    /// How far it took effect here.
    pub applied: Seen,
    /// Whether this device orders alone.
    pub sequencer: bool,
    /// Whether this device leads a group of voters.
    pub leading: bool,
    /// The logs.
    pub logs: Vec<LogStatus>,
    /// The connected devices.
    pub peers: Vec<PeerStatus>,
    /// Control records without a place in the order.
    pub control_waiting: u64,
    /// Devices to be met before this one trusts its disk again.
    pub doubted: BTreeSet<DeviceId>,
}

impl Replica {
    /// What this replica knows of itself and its peers now.
    #[must_use]
    pub fn status(&self) -> Status {
        let peers = self.peers.iter().map(|(device, peer)| PeerStatus {
            device: *device,
            greeted: peer.greeted,
            lacking: peer.session.lacking(),
            order_at: peer.order_at,
        });
        let control = &self.control;
        Status {
            generation: self.order.generation,
            end: self.order.end,
            applied: self.order.applied,
            sequencer: self.order.role == Role::Sequencer,
            leading: self.order.role == Role::Voter { leading: true },
            logs: self.logs.keys().map(|log| self.log_status(log)).collect(),
            peers: peers.collect(),
            control_waiting: control.state().height() - control.committed_state().height(),
            doubted: self.doubted(),
        }
    }

    fn log_status(&self, log: &LogId) -> LogStatus {
        let state = &self.logs[log];
        let held = self.counting(log);
        let holds = |(device, peer): (&DeviceId, &crate::peer::Peer)| {
            (peer.session.theirs(log) >= held).then_some(*device)
        };
        LogStatus {
            log: *log,
            app: state.row.app.clone(),
            held,
            aside: state.row.held_seq() - held,
            placed: state.row.placed.min(held),
            effective: state.row.effective,
            held_by: self.peers.iter().filter_map(holds).collect(),
        }
    }

    /// Whether everything held here that is of a device of the identity has a place in the order
    /// and took effect.
    #[must_use]
    pub fn all_committed(&self) -> bool {
        let state = self.control.state();
        let placed = self.logs.iter().all(|(log, one)| {
            let held = one.row.held_seq();
            one.row.placed >= held || !belongs(state, log, held)
        });
        placed && self.order.applied == self.order.end
    }

    /// How many connected devices said that they hold a log up to `seq`.
    #[must_use]
    pub fn copies(&self, log: &LogId, seq: u64) -> usize {
        self.peers.values().filter(|peer| peer.session.theirs(log) >= seq).count()
    }

    /// Whether what an entry names is here, durably and signed.
    #[must_use]
    pub fn holds(&self, body: &EntryBody) -> bool {
        match body {
            EntryBody::Control { record } => self.control.record(record).is_some(),
            EntryBody::Range { log, head, .. } => {
                self.logs.get(log).is_some_and(|state| state.row.signed >= head.seq)
            }
        }
    }

    /// Whether the order was applied here up to `seen`, with that very hash.
    #[must_use]
    pub fn has_applied(&self, access: &Access<'_, '_>, seen: &Seen) -> bool {
        if seen.i >= self.order.applied.i {
            return *seen == self.order.applied;
        }
        let row: Result<Option<EntryRow>, _> = rows::get(access.index, &rows::entry_key(seen.i));
        seen.i == 0 || row.is_ok_and(|row| row.is_some_and(|row| row.seen == *seen))
    }

    /// Whether a log is confirmed up to `seq`.
    #[must_use]
    pub fn is_committed(&self, log: &LogId, seq: u64) -> bool {
        self.logs.get(log).is_some_and(|state| state.row.effective >= seq)
    }
}

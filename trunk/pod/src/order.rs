//! The group of voters: where `root/raft` meets the store, the links and the replica.
//!
//! The replica says when this device is one of several voters; here the group is started, its
//! records become blocks in the segments, its calls travel over the links, and what it commits goes
//! back to the replica, which checks every certificate itself.

use crate::handle::Handle;
use crate::identity::Identity;
use crate::journal::Fence;
use crate::peers::ORDER_STREAM;
use crate::pod::Pod;
use async_trait::async_trait;
use rhizome_block::{Block, peek_kind};
use rhizome_cluster::EntryBody;
use rhizome_identity::DeviceId;
use rhizome_log::{Batch, Place, Seen, scan_prefix};
use rhizome_net::{FrameReceiver, FrameSender};
use rhizome_raft::{
    DiskError, Holdings, ProposeError, RaftConfig, RaftDisk, RaftEvent, RaftOrder, RaftRecord,
    RaftTransport, TransportError, VoterSet,
};
use rhizome_replica::{Access, OrderCommand, OrderNews, VoterList, space};
use rhizome_store::Section;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// How long a leader that is too busy waits before it proposes again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// How long a question that must be answered at once may take: one write of a slow disk.
const LOOK_MAX: Duration = Duration::from_millis(20);

/// After how many purges the rows of purged entries are removed: a scan of some thousand rows, so
/// seldom enough not to be noticed and often enough to bound the index.
const PURGES_PER_SWEEP: u64 = 1024;

/// The group this device is part of, if any.
#[derive(Default)]
pub struct Slot {
    running: Mutex<Option<Running>>,
}

#[derive(Clone)]
struct Running {
    generation: u64,
    order: RaftOrder,
}

impl Slot {
    /// Leaves the group.
    pub async fn stop(&self) {
        let running = self.running.lock().await.take();
        if let Some(running) = running {
            running.order.stop().await;
        }
    }

    async fn current(&self) -> Option<RaftOrder> {
        self.running.lock().await.as_ref().map(|running| running.order.clone())
    }

    /// Who leads the group, if this device is in one and knows.
    pub async fn leader(&self) -> Option<DeviceId> {
        self.current().await.and_then(|order| order.leader())
    }
}

/// Does what the replica wants of the group.
pub async fn command(_pod: &Pod, identity: &Arc<Identity>, command: OrderCommand) {
    match command {
        OrderCommand::Run { generation, base, sets, applied } => {
            run(identity, generation, base, &sets, applied).await;
        }
        OrderCommand::Propose(bodies) => propose(identity, bodies).await,
        OrderCommand::Stop => identity.order.stop().await,
    }
}

fn voter_set(list: &VoterList) -> VoterSet {
    VoterSet { admitted: list.admitted.iter().copied().collect(), trusted: list.trusted.clone() }
}

async fn run(
    identity: &Arc<Identity>,
    generation: u64,
    base: Seen,
    sets: &[VoterList],
    applied: Seen,
) {
    let Some((wanted, history)) = sets.split_last() else { return };
    let mut slot = identity.order.running.lock().await;
    if let Some(running) = slot.as_ref().filter(|running| running.generation == generation) {
        running.order.reconcile(&voter_set(wanted));
        return;
    }
    if let Some(running) = slot.take() {
        running.order.stop().await;
    }
    let me = identity.handle.device;
    let founding = sets.first().is_some_and(|set| set.admitted.iter().any(|(id, _)| *id == me));
    let mut config = RaftConfig::founder(identity.id(), me, generation, base, voter_set(wanted));
    config.history = history.iter().map(voter_set).collect();
    config.founding = founding;
    config.applied = applied.i.max(base.i);
    match start(identity, config).await {
        Ok(order) => *slot = Some(Running { generation, order }),
        Err(error) => {
            tracing::error!(error = &*error, "cannot take part in the group of voters");
        }
    }
}

async fn start(
    identity: &Arc<Identity>,
    config: RaftConfig,
) -> Result<RaftOrder, Box<dyn std::error::Error + Send + Sync>> {
    let keys = Arc::new(identity.home.keys()?.device.signing);
    let disk = Disk {
        handle: identity.handle.clone(),
        fence: identity.fence.clone(),
        purges: AtomicU64::new(0),
    };
    let transport = Transport { identity: Arc::downgrade(identity) };
    let holdings = Held { handle: identity.handle.clone() };
    let (order, events) =
        RaftOrder::start(config, keys, Arc::new(disk), Arc::new(transport), Arc::new(holdings))
            .await?;
    tokio::spawn(hear(Arc::downgrade(identity), events));
    Ok(order)
}

/// Brings what the group says to the replica.
async fn hear(identity: Weak<Identity>, mut events: mpsc::Receiver<RaftEvent>) {
    while let Some(event) = events.recv().await {
        let Some(identity) = identity.upgrade() else { return };
        let news = match event {
            RaftEvent::Committed { entries, certificate } => {
                OrderNews::Committed { entries, certificate }
            }
            RaftEvent::Leader(leader) => OrderNews::Leading(leader == Some(identity.handle.device)),
            RaftEvent::Refused { from, reason } => {
                tracing::warn!(peer = %from.short(), %reason, "a voter broke a rule");
                continue;
            }
            RaftEvent::Superseded { from, generation } => {
                tracing::info!(peer = %from.short(), generation, "a newer generation counts");
                identity.wake.notify_one();
                continue;
            }
            RaftEvent::Failed(why) => {
                tracing::error!(why, "the group of voters stopped here");
                continue;
            }
            _ => continue,
        };
        if identity.handle.order_news(news).await.is_err() {
            return;
        }
    }
}

async fn propose(identity: &Arc<Identity>, bodies: Vec<EntryBody>) {
    let Some(order) = identity.order.current().await else { return };
    match order.propose(bodies).await {
        Ok(()) => {}
        Err(ProposeError::Busy) => {
            let handle = identity.handle.clone();
            tokio::spawn(async move {
                tokio::time::sleep(BUSY_PAUSE).await;
                // The replica proposes again whatever is not placed.
                let _ = handle.order_news(OrderNews::Leading(order.is_leader())).await;
            });
        }
        Err(ProposeError::NotLeader { .. } | ProposeError::Stopped) => {
            let _ = identity.handle.order_news(OrderNews::Leading(false)).await;
        }
        Err(error) => tracing::warn!(%error, "proposals were not taken"),
    }
}

/// Answers one call of another voter.
pub async fn answer(
    identity: Arc<Identity>,
    device: DeviceId,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) {
    let Ok(Some(request)) = receiver.receive().await else { return };
    let Some(order) = identity.order.current().await else { return };
    let reply = order.handle(device, &request).await;
    if sender.send(&reply).await.is_ok() {
        // The caller reads to the end of the stream.
        let _ = sender.finish().await;
    }
}

/// Carries calls over the links.
struct Transport {
    identity: Weak<Identity>,
}

#[async_trait]
impl RaftTransport for Transport {
    async fn call(
        &self,
        to: DeviceId,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, TransportError> {
        let failed = |what: &str| TransportError { what: what.to_owned() };
        let identity = self.identity.upgrade().ok_or_else(|| failed("identity is closed"))?;
        let link = identity.link(&to).ok_or_else(|| failed("not connected"))?;
        let call = async {
            let (mut sender, mut receiver) =
                link.open(ORDER_STREAM).await.map_err(|error| failed(&error.to_string()))?;
            sender.send(&request).await.map_err(|error| failed(&error.to_string()))?;
            sender.flush().await.map_err(|error| failed(&error.to_string()))?;
            match receiver.receive().await {
                Ok(Some(reply)) => Ok(reply.to_vec()),
                Ok(None) => Err(failed("no reply")),
                Err(error) => Err(failed(&error.to_string())),
            }
        };
        tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(failed("too late")))
    }
}

/// Tells what the replica holds.
struct Held {
    handle: Handle,
}

#[async_trait]
impl Holdings for Held {
    async fn held(&self, body: &EntryBody, patience: Duration) -> bool {
        let body = body.clone();
        if patience.is_zero() {
            let look = self.handle.look(move |replica, _| replica.holds(&body));
            // A heartbeat waits for the answer: an actor that is busy with its disk says no.
            let now = tokio::time::timeout(LOOK_MAX, look).await;
            return now.is_ok_and(|held| held.unwrap_or(false));
        }
        let held = self.handle.until(move |replica| replica.holds(&body));
        tokio::time::timeout(patience, held).await.is_ok_and(|held| held.is_ok())
    }

    async fn reached(&self, seen: &Seen, patience: Duration) -> bool {
        let seen = *seen;
        let deadline = tokio::time::Instant::now() + patience;
        let mut pulse = self.handle.pulse();
        loop {
            pulse.borrow_and_update();
            let look = self.handle.look(move |replica, access| replica.has_applied(access, &seen));
            if look.await.unwrap_or(false) {
                return true;
            }
            let waited = tokio::time::timeout_at(deadline, pulse.changed()).await;
            if !waited.is_ok_and(|changed| changed.is_ok()) {
                return false;
            }
        }
    }
}

/// Keeps the group's records as blocks in the identity's segments, found by rows of the index.
struct Disk {
    handle: Handle,
    fence: Fence,
    purges: AtomicU64,
}

fn row_key(generation: u64, place: Place) -> Vec<u8> {
    let mut key = vec![space::RAFT];
    key.extend_from_slice(&generation.to_be_bytes());
    key.extend_from_slice(&place.segment.to_be_bytes());
    key.extend_from_slice(&place.offset.to_be_bytes());
    key
}

fn generation_prefix(generation: u64) -> Vec<u8> {
    let mut key = vec![space::RAFT];
    key.extend_from_slice(&generation.to_be_bytes());
    key
}

/// Whether a purge up to `upto` makes a record useless.
fn is_purged(record: &RaftRecord, upto: u64) -> bool {
    matches!(record, RaftRecord::Entry(record) if record.entry.at.index <= upto)
}

impl Disk {
    fn append_now(&self, records: &[RaftRecord]) -> Result<(), DiskError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DiskError { source };
        let blocks: Vec<Block> = records.iter().map(RaftRecord::block).collect();
        let sections: Vec<Section<'_>> =
            blocks.iter().map(|block| Section { cid: block.cid, bytes: &block.bytes }).collect();
        let _guard = self.fence.hold(&self.handle.store);
        let places = self.handle.store.append_durable(&sections);
        let places = places.map_err(|error| failed(Box::new(error)))?;
        let mut batch = Batch::default();
        for ((record, block), place) in records.iter().zip(blocks).zip(places) {
            batch.put(row_key(record.generation(), place), block.bytes);
        }
        self.handle.index.write(batch).map_err(|error| failed(Box::new(error)))?;
        self.sweep(records).map_err(|error| failed(Box::new(error)))
    }

    /// Removes rows of purged entries now and then.
    fn sweep(&self, records: &[RaftRecord]) -> Result<(), rhizome_log::IndexError> {
        for record in records {
            let RaftRecord::Purge(purge) = record else { continue };
            if !self.purges.fetch_add(1, Ordering::Relaxed).is_multiple_of(PURGES_PER_SWEEP) {
                continue;
            }
            let mut batch = Batch::default();
            let prefix = generation_prefix(purge.generation);
            scan_prefix(&*self.handle.index, &prefix, false, &mut |key, bytes| {
                let old = RaftRecord::read(bytes)
                    .is_ok_and(|record| is_purged(&record, purge.upto.index));
                if old {
                    batch.remove(key.to_vec());
                }
                ControlFlow::Continue(())
            })?;
            self.handle.index.write(batch)?;
        }
        Ok(())
    }
}

#[async_trait]
impl RaftDisk for Disk {
    async fn append(&self, records: Vec<RaftRecord>) -> Result<(), DiskError> {
        tokio::task::block_in_place(|| self.append_now(&records))
    }

    async fn load(&self, generation: u64) -> Result<Vec<RaftRecord>, DiskError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DiskError { source };
        let mut records = Vec::new();
        let mut broken = None;
        let prefix = generation_prefix(generation);
        let scanned = scan_prefix(&*self.handle.index, &prefix, false, &mut |_, bytes| {
            match RaftRecord::read(bytes) {
                Ok(record) => records.push(record),
                Err(error) => broken = Some(error),
            }
            if broken.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        scanned.map_err(|error| failed(Box::new(error)))?;
        match broken {
            Some(error) => Err(failed(Box::new(error))),
            None => Ok(records),
        }
    }
}

/// Folds one block of the voters' log into its row, when an index is built anew.
pub fn replay(access: &mut Access<'_, '_>, place: Place, bytes: &[u8]) {
    if !peek_kind(bytes).is_some_and(|kind| kind.starts_with("raft-")) {
        return;
    }
    if let Ok(record) = RaftRecord::read(bytes) {
        access.index.put(row_key(record.generation(), place), bytes);
    }
}

//! Links to the other devices of an identity: answering, reading and writing frames.
//!
//! Which device is welcome is the replica's decision; here bytes move. Per device the newest
//! connection counts. Nothing is noted of whoever does not belong to the identity. Dialling is
//! [`crate::dial`]'s.

use crate::actor::Notice;
use crate::clock;
use crate::conversation::Addresses;
use crate::identity::Identity;
use crate::pod::{HOST_NAME, LINK_NAME, Pod, RECOVER_NAME};
use rhizome_block::{decode, encode};
use rhizome_identity::DeviceId;
use rhizome_net::{FrameReceiver, FrameSender, Incoming, Link, PeerAddress};
use rhizome_replica::{CloseReason, Message, Replica};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Kind of the stream that carries the session's messages.
pub const SESSION_STREAM: u8 = 1;
/// Kind of a stream that carries one call between voters.
pub const ORDER_STREAM: u8 = 2;
/// Kind of the stream on which a device says where it can be reached.
pub const ADDRESS_STREAM: u8 = 3;

/// Most messages that wait for a slow connection before it is closed.
const OUTBOX_MAX: usize = 8192;

/// Most frames put into one write.
const FRAMES_AT_ONCE: usize = 64;

/// How long a removed device is given to read why.
const GOODBYE: Duration = Duration::from_secs(5);

/// Most devices whose addresses one message may tell.
const DEVICES_MAX: usize = 256;

/// How long a voter may be away before others take its place: longer than a restart or a walk out
/// of the network, and short beside a day without one.
const AWAY_MS: u64 = 15 * 60 * 1000;

/// Most addresses of a device that are kept.
const ADDRESSES_MAX: usize = 8;

/// Numbers connections, so that news of an old one is told from news of a new one.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// Answers whoever dials this process.
pub async fn accept(pod: Pod) {
    while let Some(incoming) = pod.inner.endpoint.accept().await {
        let pod = pod.clone();
        tokio::spawn(async move {
            let name = incoming.name.clone();
            match name.as_str() {
                LINK_NAME => crate::link::answer(pod, incoming).await,
                RECOVER_NAME => crate::recovery::answer(pod, incoming).await,
                HOST_NAME => crate::host::answer(pod, incoming).await,
                _ => answer(pod, incoming).await,
            }
        });
    }
}

async fn answer(pod: Pod, incoming: Incoming) {
    let Some(home) = pod.by_name(&incoming.name) else { return };
    match pod.open(&home) {
        Ok(identity) => serve(pod, identity, incoming.link, false).await,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "identity does not open");
            incoming.link.close(1, "identity is not available");
        }
    }
}

/// Looks after an open identity: hears its notices and keeps its links up.
pub fn attend(pod: Pod, identity: Arc<Identity>, mut notices: mpsc::UnboundedReceiver<Notice>) {
    let (hearing_pod, hearing) = (pod.clone(), Arc::clone(&identity));
    tokio::spawn(async move {
        while let Some(notice) = notices.recv().await {
            match notice {
                Notice::ControlChanged => {
                    hearing.wake.notify_one();
                    crate::methods::device::come_back(&hearing).await;
                    hearing_pod.inner.identities_moved.notify_one();
                    tell_all(&hearing_pod, &hearing);
                }
                Notice::Order(command) => {
                    crate::order::command(&hearing_pod, &hearing, command).await;
                }
                Notice::Alarm(alarm) => hearing.raise(alarm),
                Notice::Close(device, connection, reason, sender) => {
                    // Its stream ends once the link is known to be closed for this reason, or the
                    // other side would end it for none.
                    close(&hearing, &device, connection, reason);
                    drop(sender);
                }
            }
        }
    });
    if !identity.hosted {
        tokio::spawn(crate::dial::keep_connected(pod, identity));
    }
}

/// Tells every connected device where devices are reached: there may be a new one.
fn tell_all(pod: &Pod, identity: &Arc<Identity>) {
    let links: Vec<Link> = identity.links().values().map(|(_, link)| link.clone()).collect();
    for link in links {
        tokio::spawn(tell_addresses(pod.clone(), Arc::clone(identity), link));
    }
}

/// Closes a link. From here on nothing is heard over it; whoever was removed still hears why.
fn close(identity: &Identity, device: &DeviceId, connection: u64, reason: CloseReason) {
    let closed = {
        let mut links = identity.links();
        let is_it = links.get(device).is_some_and(|(current, _)| *current == connection);
        is_it.then(|| links.remove(device)).flatten()
    };
    if let Some((_, link)) = closed {
        tracing::info!(peer = %device.short(), ?reason, "closing a link");
        match reason {
            CloseReason::NotAdmitted => link.close(2, "device does not belong to the identity"),
            CloseReason::Misbehaved => link.close(2, "protocol was broken"),
            CloseReason::Revoked => {
                tokio::spawn(async move {
                    // It hangs up once it has read what was sent.
                    let _ = tokio::time::timeout(GOODBYE, link.closed()).await;
                    link.close(2, "device was removed");
                });
            }
        }
    }
    identity.wake.notify_one();
}

/// Whether this connection of a device still counts, and the device belongs to the identity.
struct Standing {
    connection: u64,
    live: bool,
}

impl Standing {
    async fn holds(&mut self, identity: &Identity, device: DeviceId) -> bool {
        let links = || identity.links().get(&device).is_some_and(|(at, _)| *at == self.connection);
        if !links() {
            return false;
        }
        if !self.live {
            // Whoever is removed later loses the link.
            self.live = is_live(identity, device).await;
        }
        self.live
    }
}

/// Carries the session over a link until it ends.
pub async fn serve(pod: Pod, identity: Arc<Identity>, link: Link, dialled: bool) {
    let device = link.peer();
    let (connection, replaced) = {
        // Numbered under the lock, so that everybody takes the same one for the newer.
        let mut links = identity.links();
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        (connection, links.insert(device, (connection, link.clone())))
    };
    if let Some((_, old)) = replaced {
        old.close(0, "replaced by a newer link");
    }
    tokio::spawn(tell_addresses(pod.clone(), Arc::clone(&identity), link.clone()));
    let session = if dialled { link.open(SESSION_STREAM).await.ok() } else { None };
    let mut session = match session {
        Some((sender, receiver)) => {
            begin(&identity, device, connection, sender, receiver).await;
            plan_voters(&identity).await;
            true
        }
        None if dialled => false,
        None => true,
    };
    let mut standing = Standing { connection, live: false };
    let mut hearing = tokio::spawn(async {});
    while session {
        match link.accept_stream().await {
            Ok((SESSION_STREAM, sender, receiver)) if !dialled => {
                begin(&identity, device, connection, sender, receiver).await;
            }
            Ok((ORDER_STREAM, sender, receiver)) => {
                if standing.holds(&identity, device).await {
                    let identity = Arc::clone(&identity);
                    tokio::spawn(crate::order::answer(identity, device, sender, receiver));
                }
            }
            Ok((ADDRESS_STREAM, _, receiver)) if !identity.hosted => {
                // What was told before counts no more; one at a time bounds what a stranger costs.
                hearing.abort();
                let heard = hear_addresses(Arc::clone(&identity), link.clone(), receiver);
                hearing = tokio::spawn(heard);
            }
            Ok((ADDRESS_STREAM, ..)) => {}
            Ok(_) => session = false,
            Err(error) => {
                tracing::debug!(peer = %device.short(), %error, "link ended");
                session = false;
            }
        }
    }
    hearing.abort();
    end(&identity, device, connection).await;
}

async fn begin(
    identity: &Arc<Identity>,
    device: DeviceId,
    connection: u64,
    sender: FrameSender,
    receiver: FrameReceiver,
) {
    let (outbox, queue) = mpsc::channel(OUTBOX_MAX);
    tokio::spawn(write_frames(sender, queue));
    if identity.handle.peer_up(device, connection, outbox).await.is_ok() {
        tokio::spawn(read_frames(Arc::clone(identity), device, connection, receiver));
    }
}

async fn write_frames(mut sender: FrameSender, mut queue: mpsc::Receiver<Message>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, FRAMES_AT_ONCE).await > 0 {
        let mut frames = Vec::with_capacity(batch.len());
        for message in batch.drain(..) {
            match message.to_bytes() {
                Ok(frame) => frames.push(frame),
                Err(error) => tracing::error!(%error, "a message cannot be sent"),
            }
        }
        if sender.send_many(&frames).await.is_err() || sender.flush().await.is_err() {
            return;
        }
    }
    // What was said is heard before the stream ends.
    let _ = sender.finish().await;
}

async fn read_frames(
    identity: Arc<Identity>,
    device: DeviceId,
    connection: u64,
    mut receiver: FrameReceiver,
) {
    while let Ok(Some(frame)) = receiver.receive().await {
        match Message::from_bytes(&frame) {
            Ok(message) => {
                if identity.handle.peer_said(device, connection, message).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(peer = %device.short(), %error, "malformed message");
                close(&identity, &device, connection, CloseReason::Misbehaved);
                return;
            }
        }
    }
    // The other side has said its last word.
    let ended = identity.links().get(&device).cloned();
    if let Some((_, link)) = ended.filter(|(current, _)| *current == connection) {
        link.close(0, "the session ended");
    }
}

async fn end(identity: &Arc<Identity>, device: DeviceId, connection: u64) {
    {
        let mut links = identity.links();
        if links.get(&device).is_some_and(|(current, _)| *current == connection) {
            links.remove(&device);
        }
    }
    // The actor may have ended before its links did.
    let _ = identity.handle.peer_down(device, connection).await;
    if !is_live(identity, device).await {
        return;
    }
    let heard = clock::now_ms();
    let noted = identity.home.change_meta(|meta| {
        meta.heard_ms.insert(device.to_string(), heard);
    });
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot note when a device was heard");
    }
    identity.wake.notify_one();
}

async fn tell_addresses(pod: Pod, identity: Arc<Identity>, link: Link) {
    if !is_live(&identity, link.peer()).await {
        // A device that is let in is told as the control log changes; one that was removed, never.
        return;
    }
    let others = if identity.hosted || !is_trusted(&identity, link.peer()).await {
        BTreeMap::new()
    } else {
        identity.home.meta().map(|meta| meta.addresses).unwrap_or_default()
    };
    let own = Addresses::new(pod.addresses(), others);
    let Ok(bytes) = encode(&own) else { return };
    if let Ok((mut sender, _)) = link.open(ADDRESS_STREAM).await
        && sender.send(&bytes).await.is_ok()
    {
        let _ = sender.finish().await;
    }
}

async fn is_trusted(identity: &Identity, device: DeviceId) -> bool {
    let look = identity.handle.look(move |replica, _| {
        let known = replica.control().state().device(&device);
        known.is_some_and(|one| one.certificate.body().sealing.is_some())
    });
    look.await.unwrap_or(false)
}

/// Whether a device belongs to the identity.
async fn is_live(identity: &Identity, device: DeviceId) -> bool {
    let look = identity.handle.look(move |replica, _| replica.control().state().is_live(&device));
    look.await.unwrap_or(false)
}

/// Notes where a device says it can be reached, once it is known to belong to the identity: one
/// that was just admitted has yet to show the record that says so.
async fn hear_addresses(identity: Arc<Identity>, link: Link, mut receiver: FrameReceiver) {
    let Ok(Some(frame)) = receiver.receive().await else { return };
    let device = link.peer();
    let told = match decode::<Addresses>(&frame) {
        Ok(told) => told,
        Err(error) => {
            tracing::warn!(peer = %device.short(), %error, "addresses are not understood");
            return;
        }
    };
    let known = move |replica: &Replica| replica.control().state().is_live(&device);
    tokio::select! {
        known = identity.handle.until(known) => if known.is_ok() {
            note_addresses(&identity, device, told);
        },
        _ = link.closed() => {}
    }
}

/// What a device says is only ever dialled, and whoever answers there must prove the device's key.
fn note_addresses(identity: &Identity, device: DeviceId, told: Addresses) {
    let usable = |address: &String| address.parse::<PeerAddress>().is_ok();
    let addresses: Vec<String> =
        told.addresses.iter().filter(|one| usable(one)).take(ADDRESSES_MAX).cloned().collect();
    let me = identity.handle.device.to_string();
    let noted = identity.home.change_meta(|meta| {
        if !addresses.is_empty() {
            meta.addresses.insert(device.to_string(), addresses);
        }
        for (other, addresses) in told.others.into_iter().take(DEVICES_MAX) {
            let fit: Vec<String> =
                addresses.into_iter().filter(usable).take(ADDRESSES_MAX).collect();
            // What a device said of itself counts more than what another says of it.
            if other != me && other.parse::<DeviceId>().is_ok() && !fit.is_empty() {
                meta.addresses.entry(other).or_insert(fit);
            }
        }
    });
    identity.wake.notify_one();
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot note an address");
    }
}

/// Lets the replica choose voters for the devices that are there now.
pub async fn plan_voters(identity: &Identity) {
    let command = rhizome_replica::Command::PlanVoters {
        present: present(identity).await,
        mostly_on: BTreeSet::new(),
        policy: rhizome_cluster::VoterPolicy::default(),
    };
    if let Err(error) = identity.handle.command(command).await {
        tracing::debug!(%error, "voters were not changed");
    }
}

/// Devices that are connected, and voters that were a moment ago: who starts anew, or whom we have
/// not met yet since we did, keeps its vote.
async fn present(identity: &Identity) -> BTreeSet<DeviceId> {
    let mut present: BTreeSet<DeviceId> = identity.links().keys().copied().collect();
    let voters = identity.handle.look(|replica, _| replica.control().state().voters().to_vec());
    let heard = identity.home.meta().unwrap_or_default().heard_ms;
    let since_ms = clock::now_ms().saturating_sub(AWAY_MS);
    let lately = |voter: &DeviceId| {
        let heard_ms = heard.get(&voter.to_string()).copied();
        heard_ms.unwrap_or_default().max(identity.opened_ms) >= since_ms
    };
    present.extend(voters.await.unwrap_or_default().into_iter().filter(lately));
    present
}

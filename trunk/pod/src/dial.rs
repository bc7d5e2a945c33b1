//! Reaching the other devices of an identity: whoever is missing is dialled, again and again.
//!
//! All that are missing are tried at once, and all addresses of each: most devices sleep most of
//! the time, and one that is there must not wait for those that are not. Hosted identities are
//! never dialled for: their devices come to us. What is said over a link is [`crate::peers`]'.

use crate::clock;
use crate::home::{addresses_of, server_name};
use crate::identity::Identity;
use crate::peers;
use crate::pod::Pod;
use rhizome_identity::DeviceId;
use rhizome_net::{Expect, Link, PeerAddress};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinSet};

/// Bounds of the pause between two tries to reach a device: soon after a network comes back, and
/// seldom enough for a device that is gone for days.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// How long a device that was removed waits before it asks others again: a removal is undone only
/// where two were written at once.
const REMOVED_PAUSE: Duration = Duration::from_secs(600);

/// By how much the device with the greater id waits after a link ended: when both dial at once,
/// each takes the other's link for the newer one and closes its own.
const LATER: Duration = Duration::from_millis(200);

/// Most devices dialled at once: more than a person has, and few enough for a router at home.
const DIALLED_MAX: usize = 32;

/// How long an address is tried alone before the next one is, too: a round trip to the other side
/// of the world.
const ADDRESS_STAGGER: Duration = Duration::from_millis(300);

/// Most addresses of one device that are tried.
const ADDRESSES_MAX: usize = 16;

/// A link that lasted this long was a good one, whyever it ended.
const STEADY: Duration = Duration::from_secs(60);

/// So many links may end early before pauses grow: a device that restarts, two that dial at once.
const BRIEF_LINKS: u32 = 3;

/// When a device may be tried again.
struct Pause {
    until: Instant,
    /// How long it lasts while no try succeeds.
    length: Duration,
    /// When the last link began.
    linked: Option<Instant>,
    /// How many links in a row ended early: the other one answers, and does not want us (yet).
    brief: u32,
}

impl Pause {
    fn new(until: Instant) -> Self {
        Self { until, length: PAUSE_MIN, linked: None, brief: 0 }
    }

    /// A try failed.
    fn failed(&mut self, now: Instant) {
        self.length = (self.length * 2).min(PAUSE_MAX);
        self.until = now + jittered(self.length);
    }

    /// A link begins: how soon another one may, should this one end at once.
    fn linked(&mut self, now: Instant) {
        let early = self.linked.replace(now).is_some_and(|last| now - last < STEADY);
        self.brief = if early { self.brief.saturating_add(1) } else { 0 };
        self.length = PAUSE_MIN;
        self.until = now + LATER;
        if self.brief > BRIEF_LINKS {
            let length = PAUSE_MIN * 2_u32.saturating_pow(self.brief.min(16));
            self.until = self.until.max(now + jittered(length.min(PAUSE_MAX)));
        }
    }

    /// Something changed: an address is known, a link ended, the network is another.
    fn woken(&mut self, now: Instant, turn: Duration) {
        self.length = PAUSE_MIN;
        if self.brief <= BRIEF_LINKS {
            self.until = self.until.min(now + turn);
        }
    }
}

/// A try under way.
struct Dialled {
    /// The addresses that were known when it began.
    addresses: Vec<String>,
    dial: AbortHandle,
}

impl Dialled {
    /// Ends a try that knows other addresses than those known now.
    fn is_current(&self, identity: &Identity, device: &DeviceId) -> bool {
        let current = self.addresses == addresses_known(identity, device);
        if !current {
            self.dial.abort();
        }
        current
    }
}

fn addresses_known(identity: &Identity, device: &DeviceId) -> Vec<String> {
    identity.home.meta().map(|meta| addresses_of(&meta, device)).unwrap_or_default()
}

/// Keeps every device whose address is known connected.
pub async fn keep_connected(pod: Pod, identity: Arc<Identity>) {
    let mut pauses: BTreeMap<DeviceId, Pause> = BTreeMap::new();
    let mut dialled: BTreeMap<DeviceId, Dialled> = BTreeMap::new();
    let mut dials = JoinSet::new();
    let mut is_fresh = true;
    let mut heard_removed = None;
    loop {
        if identity.handle.ask.is_closed() || pod.inner.endpoint_closed() {
            return;
        }
        let removed = is_removed(&identity).await;
        if removed && heard_removed.is_some_and(|at: Instant| at.elapsed() < REMOVED_PAUSE) {
            tokio::select! {
                () = tokio::time::sleep(PAUSE_MAX) => {}
                () = identity.wake.notified() => {}
            }
            continue;
        }
        heard_removed = removed.then(Instant::now);
        let mut next = PAUSE_MAX;
        for device in missing(&identity).await {
            let now = Instant::now();
            // Who has just started is awaited by nobody yet, and dials at once.
            let turn = if is_fresh { Duration::ZERO } else { turn(&identity, &device) };
            let pause = pauses.entry(device).or_insert_with(|| Pause::new(now + turn));
            if pause.until > now {
                next = next.min(pause.until - now);
            } else if dialled.len() < DIALLED_MAX && !dialled.contains_key(&device) {
                let addresses = addresses_known(&identity, &device);
                let (pod, identity, at) = (pod.clone(), Arc::clone(&identity), addresses.clone());
                let dial = async move { (device, dial(&pod, &identity, device, at).await) };
                dialled.insert(device, Dialled { addresses, dial: dials.spawn(dial) });
            }
        }
        is_fresh = false;
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            Some(Ok((device, link))) = dials.join_next() => {
                dialled.remove(&device);
                let now = Instant::now();
                let pause = pauses.entry(device).or_insert_with(|| Pause::new(now));
                match link {
                    Some(link) => {
                        pause.linked(now);
                        let serving = peers::serve(pod.clone(), Arc::clone(&identity), link, true);
                        tokio::spawn(serving);
                    }
                    None => pause.failed(now),
                }
            }
            () = identity.wake.notified() => {
                // Who was seen somewhere else is not waited for where it was.
                dialled.retain(|device, one| one.is_current(&identity, device));
                for (device, pause) in &mut pauses {
                    pause.woken(Instant::now(), turn(&identity, device));
                }
            }
        }
    }
}

/// Whether this device was removed, as far as it knows.
async fn is_removed(identity: &Identity) -> bool {
    let me = identity.handle.device;
    let look = identity.handle.look(move |replica, _| {
        replica.control().state().device(&me).is_some_and(|one| !one.is_live())
    });
    look.await.unwrap_or(false)
}

/// How long this device leaves it to another one to dial.
fn turn(identity: &Identity, device: &DeviceId) -> Duration {
    if identity.handle.device < *device { Duration::ZERO } else { LATER }
}

/// A pause between half and all of `length`, so that two devices do not dial in step for ever.
fn jittered(length: Duration) -> Duration {
    let [dice] = clock::random::<1>();
    length / 2 + length.mul_f64(f64::from(dice) / 512.0)
}

/// Live devices that are not connected.
async fn missing(identity: &Identity) -> Vec<DeviceId> {
    let me = identity.handle.device;
    let live = identity.handle.look(move |replica, _| {
        let state = replica.control().state();
        let live = state.devices().filter(|(id, one)| one.is_live() && *id != me);
        live.map(|(id, _)| id).collect::<Vec<_>>()
    });
    let live = live.await.unwrap_or_default();
    let links = identity.links();
    live.into_iter().filter(|device| !links.contains_key(device)).collect()
}

/// Tries the known addresses of a device; the first that answers with its key counts.
async fn dial(
    pod: &Pod,
    identity: &Identity,
    device: DeviceId,
    addresses: Vec<String>,
) -> Option<Link> {
    let seed = *identity.home.keys().ok()?.device.signing.secret();
    let mut sockets: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        let Ok(address) = address.parse::<PeerAddress>() else { continue };
        for socket in address.resolve().await.unwrap_or_default() {
            if !sockets.contains(&socket) && sockets.len() < ADDRESSES_MAX {
                sockets.push(socket);
            }
        }
    }
    let name = server_name(&identity.id());
    let mut tries = JoinSet::new();
    for (n, socket) in (0..).zip(sockets) {
        let (pod, name) = (pod.clone(), name.clone());
        tries.spawn(async move {
            tokio::time::sleep(ADDRESS_STAGGER * n).await;
            pod.inner.endpoint.connect(socket, &name, seed, Expect::Key(device)).await
        });
    }
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(link)) => return Some(link),
            Ok(Err(error)) => {
                tracing::debug!(peer = %device.short(), %error, "cannot reach a device");
            }
            Err(error) => tracing::error!(%error, "a dial did not end as it should"),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the pauses are when every link ends at once and wakes us, in milliseconds.
    fn pauses(links: usize, lasting: Duration) -> Vec<u128> {
        let mut now = Instant::now();
        let mut pause = Pause::new(now);
        let mut found = Vec::new();
        for _ in 0..links {
            pause.linked(now);
            let ended = now + lasting;
            pause.woken(ended, Duration::ZERO);
            let next = pause.until.max(ended);
            found.push((next - ended).as_millis());
            now = next;
        }
        found
    }

    #[test]
    fn a_device_that_ends_every_link_at_once_is_dialled_less_and_less() {
        let pauses = pauses(20, Duration::from_millis(1));
        assert!(pauses[..4].iter().all(|pause| *pause < 200), "{pauses:?}");
        assert!(pauses[12..].iter().all(|pause| *pause >= 9_000), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX.as_millis()), "{pauses:?}");
    }

    #[test]
    fn a_link_that_lasted_is_made_again_at_once() {
        assert_eq!(pauses(20, STEADY), [0; 20]);
    }
}

//! The local network: devices of one identity find each other, and newcomers find who shows a code.
//!
//! What is announced is a keyed hash that only the identity's own devices can compute; a network
//! without multicast costs a line in the log and nothing else.

use crate::home::IdentityHome;
use crate::pod::Pod;
use rhizome_identity::DeviceId;
use rhizome_net::{Announcement, Found, Lan};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a newcomer gathers addresses where somebody may be showing a code.
const SEARCH: Duration = Duration::from_secs(2);

/// How long it searches where no address is known at all: a busy network answers late.
const SEARCH_MAX: Duration = Duration::from_secs(15);

/// Most addresses kept of a device that moves about. The middle goes: before it are the newest
/// sightings, behind it what a person told.
const KNOWN_MAX: usize = 32;

/// Most devices of strangers that are remembered, because one of them may turn out to be ours.
const SEEN_MAX: usize = 256;

/// Characters of a hint; enough that two identities never share one.
const HINT_CHARS: usize = 24;

/// Announces this pod and listens for others, if the options ask for it.
pub fn start(pod: &Pod) {
    if !pod.inner.options.lan {
        return;
    }
    match Lan::start() {
        Ok(lan) => {
            tokio::spawn(run(pod.clone(), lan));
        }
        Err(error) => tracing::info!(%error, "no discovery on this network"),
    }
}

async fn run(pod: Pod, lan: Lan) {
    let Ok(mut sightings) = lan.browse() else { return };
    let mut announced = BTreeMap::new();
    // A device is told of once, perhaps before its identity is known here.
    let mut seen: BTreeMap<String, Found> = BTreeMap::new();
    announce(&pod, &lan, &mut announced).await;
    loop {
        tokio::select! {
            found = sightings.next() => match found {
                Some(found) => {
                    note(&pod, &announced, &found);
                    if seen.len() < SEEN_MAX || seen.contains_key(&found.hint) {
                        seen.insert(found.hint.clone(), found);
                    }
                }
                None => return,
            },
            () = pod.inner.identities_moved.notified() => {
                let before = announced.len();
                announce(&pod, &lan, &mut announced).await;
                if announced.len() > before {
                    seen.values().for_each(|found| note(&pod, &announced, found));
                }
            }
            () = pod.asked_to_stop() => break,
        }
    }
    drop(announced);
    lan.stop().await;
}

/// Identities by what their devices recognise each other by, each announced.
type Announced = BTreeMap<String, (IdentityHome, Announcement)>;

/// Announces the identities that are not announced yet; one that was just joined tells its secret
/// only once its first records are here.
async fn announce(pod: &Pod, lan: &Lan, announced: &mut Announced) {
    for identity in pod.identities() {
        let Some(hint) = hint(&identity).await else { continue };
        if announced.contains_key(&hint) {
            continue;
        }
        let text = format!("{hint}-{}", identity.handle.device);
        match lan.announce(&text, pod.listening().port()) {
            Ok(announcement) => {
                announced.insert(hint, (identity.home.clone(), announcement));
            }
            Err(error) => tracing::info!(%error, "cannot announce on this network"),
        }
    }
}

/// What devices of an identity recognise each other by on a network.
async fn hint(identity: &crate::identity::Identity) -> Option<String> {
    let look = identity.handle.look(|replica, _| {
        let secret = replica.keys().fixed_secret()?;
        let hash = rhizome_seal::keyed_hash(secret.as_bytes(), "rhizome lan hint v1", &[]);
        Some(DeviceId(hash).to_string()[..HINT_CHARS].to_owned())
    });
    look.await.ok().flatten()
}

/// Notes where a device of ours was seen. Whoever answers there must still prove its key.
fn note(pod: &Pod, announced: &Announced, found: &Found) {
    let Some((hint, device)) = found.hint.split_once('-') else { return };
    let Some((home, _)) = announced.get(hint) else { return };
    if device.parse::<DeviceId>().is_err() {
        return;
    }
    let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
    let noted = home.change_meta(|meta| {
        let known = meta.addresses.entry(device.to_owned()).or_default();
        for address in addresses.into_iter().rev() {
            // The newest is tried first. What a person told stands behind all that was seen.
            known.retain(|one| *one != address);
            known.insert(0, address);
        }
        while known.len() > KNOWN_MAX {
            known.remove(KNOWN_MAX / 2);
        }
    });
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot note an address");
    }
    pod.identities().iter().for_each(|identity| identity.wake.notify_one());
}

/// Addresses on this network where somebody may be showing a code. Where no other `is_known`, the
/// search goes on until there is one, or for as long as a person may be asked to wait.
pub async fn linking_addresses(pod: &Pod, is_known: bool) -> Vec<String> {
    if !pod.inner.options.lan {
        return Vec::new();
    }
    let Ok(lan) = Lan::start() else { return Vec::new() };
    let Ok(mut sightings) = lan.browse() else { return Vec::new() };
    let begun = Instant::now();
    let mut addresses: Vec<String> = Vec::new();
    loop {
        let enough = is_known || !addresses.is_empty();
        let until = begun + if enough { SEARCH } else { SEARCH_MAX };
        match tokio::time::timeout_at(until, sightings.next()).await {
            Ok(Some(found)) => addresses.extend(found.addresses.iter().map(ToString::to_string)),
            Ok(None) | Err(_) => break,
        }
    }
    lan.stop().await;
    addresses
}

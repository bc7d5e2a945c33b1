//! The local network: devices of one identity find each other, and newcomers find who shows a code.
//!
//! What is announced is a keyed hash that only the identity's own devices can compute; a network
//! without multicast costs a line in the log and nothing else.

use crate::home::IdentityHome;
use crate::pod::Pod;
use rhizome_identity::DeviceId;
use rhizome_net::{Found, Lan};
use std::collections::BTreeMap;

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
    let mut announcements = Vec::new();
    let mut ours = BTreeMap::new();
    for identity in pod.identities() {
        let Some(hint) = hint(&identity).await else { continue };
        let announced = format!("{hint}-{}", identity.handle.device);
        match lan.announce(&announced, pod.listening().port()) {
            Ok(announcement) => announcements.push(announcement),
            Err(error) => tracing::info!(%error, "cannot announce on this network"),
        }
        ours.insert(hint, identity.home.clone());
    }
    let Ok(mut sightings) = lan.browse() else { return };
    loop {
        tokio::select! {
            found = sightings.next() => match found {
                Some(found) => note(&pod, &ours, &found),
                None => return,
            },
            () = pod.asked_to_stop() => break,
        }
    }
    drop(announcements);
    lan.stop().await;
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
fn note(pod: &Pod, ours: &BTreeMap<String, IdentityHome>, found: &Found) {
    let Some((hint, device)) = found.hint.split_once('-') else { return };
    let Some(home) = ours.get(hint) else { return };
    if device.parse::<DeviceId>().is_err() {
        return;
    }
    let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
    let noted = home.change_meta(|meta| {
        let known = meta.addresses.entry(device.to_owned()).or_default();
        for address in addresses {
            if !known.contains(&address) {
                known.push(address);
            }
        }
    });
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot note an address");
    }
    pod.identities().iter().for_each(|identity| identity.wake.notify_one());
}

/// Addresses on this network where somebody may be showing a code.
pub async fn linking_addresses(pod: &Pod) -> Vec<String> {
    if !pod.inner.options.lan {
        return Vec::new();
    }
    let Ok(lan) = Lan::start() else { return Vec::new() };
    let Ok(mut sightings) = lan.browse() else { return Vec::new() };
    let mut addresses = Vec::new();
    let listening = tokio::time::sleep(std::time::Duration::from_secs(2));
    tokio::pin!(listening);
    loop {
        tokio::select! {
            found = sightings.next() => match found {
                Some(found) => addresses.extend(found.addresses.iter().map(ToString::to_string)),
                None => break,
            },
            () = &mut listening => break,
        }
    }
    lan.stop().await;
    addresses
}

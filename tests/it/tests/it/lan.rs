//! Two pods in one local network find each other, for linking and afterwards, without anybody
//! naming an address.

use crate::support::{Node, PATIENCE, World, agree, begin_join, random, show_code};
use rhizome_api::device::{JoinEvent, LinkConfirmRequest, LinkEvent};
use rhizome_api::{DeviceKind, DeviceLinkConfirm};
use rhizome_net::Lan;
use serde_json::json;
use std::time::Duration;

/// How long an announcement may take where multicast works.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// Whether this machine hears its own announcements.
async fn carries_multicast() -> bool {
    let (Ok(here), Ok(there)) = (Lan::start(), Lan::start()) else { return false };
    let hint = format!("probe-{}", u64::from_le_bytes(random()));
    let Ok(announcement) = here.announce(&hint, 4433) else { return false };
    let Ok(mut sightings) = there.browse() else { return false };
    let hunt = async {
        while let Some(found) = sightings.next().await {
            if found.hint == hint {
                return true;
            }
        }
        false
    };
    let heard = tokio::time::timeout(HEARD_WITHIN, hunt).await.unwrap_or(false);
    drop(announcement);
    here.stop().await;
    there.stop().await;
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_in_one_network_find_each_other() {
    if !carries_multicast().await {
        println!("skipped: this machine hears no multicast of its own");
        return;
    }
    let world = World::new();
    // Somebody else's pod is found as well; it shows no code and says so.
    let mut stranger = world.in_network("stranger").await;
    stranger.start().await;
    stranger.create("Eve", DeviceKind::Laptop).await;
    let mut laptop = world.in_network("laptop").await;
    let mut phone = world.in_network("phone").await;
    laptop.start().await;
    phone.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    laptop.set("notes/one", json!({ "text": "there before" })).await;
    link_without_addresses(&laptop, &phone).await;
    phone.hears("notes/one").await;
    agree(&[&laptop, &phone]).await;

    // Both come back at other ports than those they knew.
    laptop.stop().await;
    phone.stop().await;
    laptop.moves();
    phone.moves();
    laptop.start().await;
    phone.start().await;
    laptop.set("notes/two", json!({ "text": "after both moved" })).await;
    phone.hears("notes/two").await;
    agree(&[&laptop, &phone]).await;
}

/// Links by the words alone.
async fn link_without_addresses(trusted: &Node, newcomer: &Node) {
    let (mut shown, mut code) = show_code(trusted).await.unwrap();
    code.addresses.clear();
    let mut joining = begin_join(newcomer, code, DeviceKind::Phone).await.unwrap();
    let linking = async {
        let digits = loop {
            if let JoinEvent::Digits { digits } = joining.event().await.unwrap() {
                break digits;
            }
        };
        let session = loop {
            if let LinkEvent::Asking { session, .. } = shown.event().await.unwrap() {
                break session;
            }
        };
        trusted.ask::<DeviceLinkConfirm>(&LinkConfirmRequest { session, digits }).await;
        joining.finish(|_| {}).await.unwrap();
        shown.finish(|_| {}).await.unwrap();
    };
    tokio::time::timeout(PATIENCE, linking).await.expect("linking by words alone");
}

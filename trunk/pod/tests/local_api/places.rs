//! Where data is, as every device says it: checkpoints that others keep, and how much they hold.

use crate::client::TestPod;
use crate::household::{ana, confirmed, status, until};
use rhizome_api::data::GetRequest;
use rhizome_api::{DataGet, Durability, Empty, PeerList, SnapshotCreate};

/// Waits until the cloud peer keeps a checkpoint, as a device knows it.
async fn knows_of_a_checkpoint(pod: &TestPod) -> rhizome_api::snapshot::Snapshot {
    until("a checkpoint kept by the cloud peer is known", || async {
        let known = status(pod).await.snapshot;
        known.filter(|one| one.pinned_by.iter().any(|holder| holder == "cloud"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_knows_of_checkpoints_that_it_did_not_make() {
    let (mut laptop, mut phone, _cloud, _) = ana().await;
    assert!(status(&phone).await.snapshot.is_none());
    laptop.call::<SnapshotCreate>(&Empty {}).await.unwrap();
    let (one, other) = (knows_of_a_checkpoint(&laptop).await, knows_of_a_checkpoint(&phone).await);
    assert_eq!((&one.id, one.created_ms), (&other.id, other.created_ms));
    let one_note = GetRequest { path: "notes/one".into(), ..GetRequest::default() };
    let document = phone.call::<DataGet>(&one_note).await.unwrap().document;
    assert_eq!(document.durability, Durability::Pinned);

    // A later one, while the phone is off.
    phone.stop().await;
    laptop.set("notes/two", serde_json::json!({ "text": "after" })).await;
    confirmed(&laptop).await;
    laptop.call::<SnapshotCreate>(&Empty {}).await.unwrap();
    until("the later one is kept", || async {
        status(&laptop).await.snapshot.filter(|two| two.id != one.id && !two.pinned_by.is_empty())
    })
    .await;
    laptop.stop().await;
    phone.start().await;
    until("the phone knows of the later one", || async {
        status(&phone).await.snapshot.filter(|two| two.id != one.id && !two.pinned_by.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_listed_with_what_it_holds_and_when_it_was_heard() {
    let (laptop, _phone, mut cloud, _) = ana().await;
    let holds = || async {
        let peers = laptop.call::<PeerList>(&Empty {}).await.unwrap().peers;
        let cloud = peers.into_iter().find(|peer| peer.device.name == "cloud").unwrap();
        (cloud.holds_bytes.unwrap_or_default(), cloud.device)
    };
    let before = until("it is connected and holds something", || async {
        let (bytes, device) = holds().await;
        Some(bytes).filter(|bytes| *bytes > 0 && device.connected)
    })
    .await;
    laptop.set("notes/long", serde_json::json!({ "text": "long".repeat(2_000) })).await;
    confirmed(&laptop).await;
    let after = holds().await.0;
    assert!(after > before + 8_000, "{before} {after}");
    laptop.call::<SnapshotCreate>(&Empty {}).await.unwrap();
    let with_blocks = until("its checkpoint counts", || async {
        Some(holds().await.0).filter(|bytes| *bytes > after)
    })
    .await;
    cloud.stop().await;
    let device = until("it is known to be gone", || async {
        Some(holds().await.1).filter(|device| !device.connected && device.last_heard_ms.is_some())
    })
    .await;
    assert_eq!(device.name, "cloud");
    assert_eq!(holds().await.0, with_blocks, "what it signed for counts while it is gone");
}

//! What is in a checkpoint elsewhere stays so, whoever joins; what is written later is not.

use crate::support::{World, add_peer, household, link};
use rhizome_api::data::SettleRequest;
use rhizome_api::{DataSettle, DeviceKind, Durability, Empty, ErrorCode, SnapshotCreate};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_joins_makes_nothing_less_safe_and_a_new_note_waits_for_a_checkpoint() {
    let world = World::new();
    let (laptop, phone, cloud) = household(&world).await;
    add_peer(&laptop, &cloud).await;
    laptop.set("notes/one", json!({ "n": 1 })).await;
    laptop.ordered_by(&["cloud"]).await;
    laptop.ask::<SnapshotCreate>(&Empty {}).await;
    laptop.settle(Durability::Pinned).await;
    let kept = laptop.status().await;
    assert_eq!(kept.durability.pinned, 1, "{:?}", kept.durability);

    link(&laptop, &phone, DeviceKind::Phone).await;
    laptop.settle(Durability::Pinned).await;
    let later = laptop.status().await;
    assert!(later.order.applied > kept.order.applied, "the phone has its place in the order");
    assert_eq!(later.durability.pinned, 1, "{:?}", later.durability);

    laptop.commit("notes/two", json!({ "n": 2 })).await;
    let soon = SettleRequest { level: Durability::Pinned, timeout_ms: Some(100) };
    let refused = laptop.client.ask::<DataSettle>(&soon).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeadlineExceeded, "{refused:?}");
    assert_eq!(laptop.status().await.durability.pinned, 1);
    laptop.ask::<SnapshotCreate>(&Empty {}).await;
    laptop.settle(Durability::Pinned).await;
    assert_eq!(laptop.status().await.durability.pinned, 2);
}

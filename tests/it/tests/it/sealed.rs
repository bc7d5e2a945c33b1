//! Devices that hold keys compare what they come to; one that lies in a drawer is not waited for.

use crate::support::{Node, PATIENCE, World, add_peer, household, link, until};
use rhizome_api::device::AwayRequest;
use rhizome_api::{DeviceAway, DeviceKind, DeviceList, Empty, SnapshotCreate, SnapshotList};
use serde_json::json;

async fn is_away(node: &Node, name: &str) -> bool {
    let devices = node.ask::<DeviceList>(&Empty {}).await.devices;
    devices.iter().find(|device| device.name == name).is_some_and(|device| device.away)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_sealed_by_those_who_are_there_and_not_away_for_long() {
    let world = World::new();
    let (laptop, mut phone, cloud) = household(&world).await;
    add_peer(&laptop, &cloud).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    for node in [&laptop, &phone] {
        node.ordered_by(&["cloud"]).await;
        node.meets("cloud").await;
    }
    laptop.commit("notes/one", json!({ "n": 1 })).await;
    phone.hears("notes/one").await;
    phone.settle(rhizome_api::Durability::Committed).await;
    let both = laptop.ask::<SnapshotCreate>(&Empty {}).await;
    assert_eq!((both.snapshot.sealed, both.unsealed_by), (true, vec![]));

    phone.stop().await;
    laptop.commit("notes/two", json!({ "n": 2 })).await;
    let alone = laptop.ask::<SnapshotCreate>(&Empty {}).await;
    assert_eq!((alone.snapshot.sealed, alone.unsealed_by), (false, vec!["phone".to_owned()]));
    let request = AwayRequest { device: "phone".to_owned(), back: false };
    assert!(laptop.ask::<DeviceAway>(&request).await.device.away);
    laptop.settle(rhizome_api::Durability::Committed).await;
    let without = laptop.ask::<SnapshotCreate>(&Empty {}).await;
    assert_eq!((without.snapshot.sealed, without.unsealed_by), (true, vec![]));
    let cloud = AwayRequest { device: "cloud".to_owned(), back: false };
    assert!(laptop.client.ask::<DeviceAway>(&cloud).await.is_err(), "who orders is not away");
    let itself = AwayRequest { device: "laptop".to_owned(), back: false };
    assert!(laptop.client.ask::<DeviceAway>(&itself).await.is_err(), "who is asked is not away");

    // It comes back with what it wrote meanwhile, and says by itself that it is here.
    phone.start().await;
    phone.commit("notes/three", json!({ "n": 3 })).await;
    laptop.hears("notes/three").await;
    let here = async || match is_away(&laptop, "phone").await {
        false => Ok(()),
        true => Err("it counts as away".to_owned()),
    };
    until("the phone counts as here", PATIENCE, here).await;
    let sealed = laptop.ask::<SnapshotList>(&Empty {}).await.snapshots;
    assert!(sealed.iter().any(|one| one.sealed), "{sealed:?}");
}

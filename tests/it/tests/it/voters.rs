//! Three steady devices vote; any one of them may stop; when devices leave, one orders again.

use crate::support::{Node, PATIENCE, World, add_peer, agree, link, until};
use rhizome_api::device::LostRequest;
use rhizome_api::{DeviceKind, DeviceLost, Durability};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_devices_vote_and_any_one_may_stop() {
    let world = World::new();
    let (mut desktop, mut laptop) = (world.node("desktop").await, world.node("laptop").await);
    let mut cloud = world.host("cloud").await;
    grow(&mut desktop, &mut laptop, &mut cloud).await;
    let mut trio = [desktop, laptop, cloud];
    for stopped in [2, 0, 1] {
        trio[stopped].kill();
        let name = trio[stopped].name.clone();
        let writer = usize::from(stopped == 0);
        for n in 0..3 {
            trio[writer].commit(&format!("notes/without-{name}-{n}"), json!({ "n": n })).await;
        }
        trio[stopped].start().await;
        trio[writer].meets(&name).await;
        trio[writer].commit(&format!("notes/with-{name}"), json!({ "n": 0 })).await;
    }
    let [desktop, laptop, _] = &trio;
    desktop.settle(Durability::Committed).await;
    laptop.settle(Durability::Committed).await;
    agree(&[desktop, laptop]).await;
    assert_eq!(desktop.status().await.order.voters.len(), 3);

    // Two of three gone is no majority: writing goes on, confirming does not.
    let [mut desktop, mut laptop, mut cloud] = trio;
    laptop.kill();
    cloud.kill();
    let before = desktop.status().await.order.index;
    desktop.set("notes/minority", json!({ "n": 1 })).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(desktop.status().await.order.index, before, "one of three confirms nothing");
    laptop.start().await;
    cloud.start().await;
    laptop.hears("notes/minority").await;
    desktop.settle(Durability::Committed).await;
    agree(&[&desktop, &laptop]).await;

    // A device leaves: two are worse than one.
    let request = LostRequest {
        device: "laptop".to_owned(),
        confirm: Some("laptop".to_owned()),
        dry_run: false,
        words: None,
    };
    desktop.ask::<DeviceLost>(&request).await;
    votes(&desktop, 1).await;
    laptop.kill();
    desktop.commit("notes/after", json!({ "n": 2 })).await;
    cloud.stop().await;
    desktop.stop().await;
}

/// Links three steady devices and waits until all vote.
pub async fn grow(desktop: &mut Node, laptop: &mut Node, cloud: &mut Node) {
    desktop.start().await;
    laptop.start().await;
    cloud.start().await;
    desktop.create("Ana", DeviceKind::Desktop).await;
    desktop.commit("notes/alone", json!({ "n": 0 })).await;
    let alone = desktop.status().await.order;
    assert_eq!((alone.voters.len(), alone.generation), (1, 1), "{alone:?}");
    link(desktop, laptop, DeviceKind::Laptop).await;
    add_peer(desktop, cloud).await;
    votes(desktop, 3).await;
    votes(laptop, 3).await;
    desktop.commit("notes/three", json!({ "n": 3 })).await;
    let order = desktop.status().await.order;
    assert!(order.generation > alone.generation, "three voters are another generation: {order:?}");
}

/// Waits until a device knows of that many voters.
async fn votes(node: &Node, wanted: usize) {
    let what = format!("{} knows {wanted} voters", node.name);
    let look = || async {
        let order = node.status().await.order;
        if order.voters.len() == wanted { Ok(()) } else { Err(format!("{order:?}")) }
    };
    until(&what, PATIENCE, look).await;
}

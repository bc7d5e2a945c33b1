//! The only device that orders is wiped: the laptop goes on, the phone follows, and a device that
//! had gone further comes back late and loses nothing.

use crate::support::{Node, World, add_peer, agree, link};
use rhizome_api::cluster::ReformRequest;
use rhizome_api::status::StateWord;
use rhizome_api::{ClusterReform, DeviceKind, Durability, Problem};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_goes_on_after_its_only_voter_is_lost_for_good() {
    let world = World::new();
    let (mut laptop, mut phone) = (world.node("laptop").await, world.node("phone").await);
    let (mut old, mut cloud) = (world.node("old").await, world.host("cloud").await);
    for node in [&mut laptop, &mut phone, &mut old, &mut cloud] {
        node.start().await;
    }
    laptop.create("Ana", DeviceKind::Laptop).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    link(&laptop, &old, DeviceKind::Phone).await;
    add_peer(&laptop, &cloud).await;
    for node in [&laptop, &phone, &old] {
        node.ordered_by(&["cloud"]).await;
        node.meets("cloud").await;
    }
    laptop.commit("notes/all", json!({ "n": 1 })).await;
    old.hears("notes/all").await;
    old.settle(Durability::Committed).await;

    // The old phone goes further along the order than the others ever hear.
    laptop.kill();
    phone.kill();
    old.commit("notes/ahead", json!({ "n": 2 })).await;
    old.kill();
    cloud.kill();
    std::fs::remove_dir_all(&cloud.dir).unwrap();
    laptop.start().await;
    phone.start().await;
    laptop.meets("phone").await;
    phone.set("notes/waits", json!({ "n": 3 })).await;
    laptop.hears("notes/waits").await;
    let status = laptop.status().await;
    assert_eq!(status.state.is, StateWord::OrderPending, "{:?}", status.state);
    let asked = status.order.waiting.iter().any(|one| one.action.contains("cluster reform"));
    assert!(asked, "{:?}", status.order.waiting);

    reform(&laptop).await;
    laptop.commit("notes/after", json!({ "n": 4 })).await;
    phone.commit("notes/phone", json!({ "n": 5 })).await;
    phone.ordered_by(&["laptop"]).await;
    agree(&[&laptop, &phone]).await;

    // Late, the old phone follows, and what it knew comes with it.
    old.start().await;
    laptop.hears("notes/ahead").await;
    old.commit("notes/late", json!({ "n": 6 })).await;
    for node in [&laptop, &phone, &old] {
        node.hears("notes/late").await;
        node.settle(Durability::Committed).await;
    }
    agree(&[&laptop, &phone, &old]).await;
    let again = ReformRequest { confirm: Some("laptop".to_owned()), ..ReformRequest::default() };
    let refused = laptop.client.ask::<ClusterReform>(&again).await.unwrap_err();
    assert_eq!(refused.id, Problem::PRECONDITION.id, "{refused:?}");
    for mut node in [laptop, phone, old] {
        node.stop().await;
    }
}

/// Shows the plan, refuses another name, and does it.
async fn reform(laptop: &Node) {
    let plan = ReformRequest { dry_run: true, ..ReformRequest::default() };
    let planned = laptop.ask::<ClusterReform>(&plan).await;
    assert_eq!((planned.voter.name.as_str(), planned.done), ("laptop", false));
    assert_eq!(planned.unreachable, ["cloud"]);
    let wrong = ReformRequest { confirm: Some("cloud".to_owned()), ..ReformRequest::default() };
    let refused = laptop.client.ask::<ClusterReform>(&wrong).await.unwrap_err();
    assert_eq!(refused.id, Problem::NAME_DIFFERS.id);
    let request = ReformRequest {
        revoke: vec!["cloud".to_owned()],
        confirm: Some("laptop".to_owned()),
        ..ReformRequest::default()
    };
    let done = laptop.ask::<ClusterReform>(&request).await;
    assert!(done.done && done.committed, "{done:?}");
}

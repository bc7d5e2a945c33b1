//! The index can be made anew from the segments: losing it loses nothing.

use crate::support::folder::store;
use crate::support::{Node, World, agree, export, link};
use rhizome_api::data::{GetRequest, HashAnswer, HistoryAnswer, HistoryRequest};
use rhizome_api::status::DoctorRequest;
use rhizome_api::{DataGet, DataHistory, DeviceKind, Doctor, Durability};
use serde_json::json;

/// Everything a person could notice.
#[derive(Debug, PartialEq)]
struct Seen {
    hash: HashAnswer,
    export: String,
    conflicts: u64,
    history: HistoryAnswer,
}

async fn look(node: &Node) -> Seen {
    let path = "notes/shared".to_owned();
    let request = GetRequest { path: path.clone(), ..GetRequest::default() };
    let document = node.ask::<DataGet>(&request).await.document;
    let request = HistoryRequest { path, ..HistoryRequest::default() };
    Seen {
        hash: node.hash().await.unwrap(),
        export: export(node).await.1.hash,
        conflicts: document.conflicts,
        history: node.ask::<DataHistory>(&request).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_lost_is_made_anew_and_nothing_is_missing() {
    let world = World::new();
    let (mut laptop, mut phone) = (world.node("laptop").await, world.node("phone").await);
    laptop.start().await;
    phone.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    laptop.set("notes/shared", json!({ "title": "first" })).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    phone.hears("notes/shared").await;
    for n in 0..30 {
        laptop.set(&format!("notes/{n}"), json!({ "n": n, "more": { "deep": [n, "x"] } })).await;
    }
    [&laptop.cable, &phone.cable].iter().for_each(|cable| cable.cut());
    laptop.set("notes/shared", json!({ "title": "on the laptop" })).await;
    phone.set("notes/shared", json!({ "title": "on the phone" })).await;
    [&laptop.cable, &phone.cable].iter().for_each(|cable| cable.mend());
    laptop.settle(Durability::Committed).await;
    phone.settle(Durability::Committed).await;
    agree(&[&laptop, &phone]).await;
    phone.stop().await;

    let before = look(&laptop).await;
    assert_eq!(before.conflicts, 1, "{before:#?}");
    laptop.stop().await;
    std::fs::remove_dir_all(store(&laptop.dir).join("index")).unwrap();
    laptop.start().await;
    assert_eq!(look(&laptop).await, before, "after the index was removed");

    let answer = laptop.ask::<Doctor>(&DoctorRequest { rebuild: true }).await;
    assert!(answer.rebuilt, "{answer:?}");
    assert_eq!(look(&laptop).await, before, "after it was made anew");

    // It is a whole replica still: it writes, and the others hear of it.
    phone.start().await;
    laptop.set("notes/after", json!({ "n": 1 })).await;
    phone.hears("notes/after").await;
    agree(&[&laptop, &phone]).await;
}

//! Devices that were apart hold the same once they talk again.

use crate::support::{World, add_peer, agree, export, household, link};
use rhizome_api::{DeviceKind, Durability};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_were_apart_hold_the_same_once_they_talk_again() {
    let world = World::new();
    let (laptop, phone, cloud) = household(&world).await;
    laptop.set("notes/early", json!({ "text": "written before anybody else was there" })).await;
    add_peer(&laptop, &cloud).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    phone.hears("notes/early").await;
    for n in 0..20 {
        laptop.set(&format!("notes/laptop-{n}"), json!({ "n": n })).await;
        phone.set(&format!("notes/phone-{n}"), json!({ "n": n })).await;
    }
    laptop.set("notes/shared", json!({ "title": "first", "count": 0, "tags": ["a"] })).await;
    phone.hears("notes/shared").await;
    agree(&[&laptop, &phone]).await;

    let cables = [&laptop.cable, &phone.cable, &cloud.cable];
    cables.iter().for_each(|cable| cable.cut());
    edit_apart(&laptop, "laptop", "b").await;
    edit_apart(&phone, "phone", "c").await;
    assert!(phone.get("notes/apart-laptop").await.is_err(), "the network is not cut");
    assert!(laptop.get("notes/apart-phone").await.is_err(), "the network is not cut");
    let apart = (laptop.hash().await.unwrap(), phone.hash().await.unwrap());
    assert_ne!(apart.0.state_hash, apart.1.state_hash);

    cables.iter().for_each(|cable| cable.mend());
    laptop.hears("notes/apart-phone").await;
    phone.hears("notes/apart-laptop").await;
    laptop.settle(Durability::Committed).await;
    let both = agree(&[&laptop, &phone]).await;
    let (documents, exported) = export(&laptop).await;
    assert_eq!(exported.hash, both.export_hash);
    assert_eq!(documents.len(), 1 + 40 + 1 + 2, "{:?}", documents.keys());
    let shared = laptop.get("notes/shared").await.unwrap();
    assert_eq!(shared["count"], json!(2), "both increments count: {shared}");
    assert_eq!(shared["title"], json!("phone"), "the later edit wins: {shared}");
    let tags = shared["tags"].as_array().unwrap();
    assert!(["a", "b", "c"].iter().all(|tag| tags.contains(&json!(tag))), "{shared}");
}

/// Edits the shared document and writes one of its own.
async fn edit_apart(node: &crate::support::Node, name: &str, tag: &str) {
    use rhizome_api::DataUpdate;
    use rhizome_api::data::UpdateRequest;
    node.set(&format!("notes/apart-{name}"), json!({ "by": name })).await;
    let fields = [
        ("title", json!(name)),
        ("count", json!({ "$increment": 1 })),
        ("tags", json!({ "$arrayUnion": [tag] })),
    ];
    let fields = fields.map(|(field, value)| (field.to_owned(), value)).into();
    let path = "notes/shared".to_owned();
    node.ask::<DataUpdate>(&UpdateRequest { path, fields, ..UpdateRequest::default() }).await;
}

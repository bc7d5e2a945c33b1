//! A device that held data of its own joins, and its documents come along.

use crate::support::{World, add_peer, agree, export, household, link};
use rhizome_api::{DeviceKind, Durability};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_joins_brings_its_own_documents_along() {
    let world = World::new();
    let (laptop, mut phone, cloud) = household(&world).await;
    phone.create("Earlier", DeviceKind::Phone).await;
    for n in 0..15 {
        laptop.set(&format!("notes/laptop-{n}"), json!({ "n": n })).await;
        phone.set(&format!("notes/phone-{n}"), json!({ "n": n })).await;
        phone.set(&format!("notes/phone-{n}"), json!({ "n": n, "again": true })).await;
    }
    laptop.set("notes/both", json!({ "laptop": 1, "same": "laptop" })).await;
    phone.set("notes/both", json!({ "phone": 2, "same": "phone" })).await;
    let earlier = phone.status().await.identity.unwrap().id;
    add_peer(&laptop, &cloud).await;

    let joined = link(&laptop, &phone, DeviceKind::Phone).await;
    assert_eq!(joined.adopted, 16, "{joined:?}");
    let now = phone.status().await.identity.unwrap().id;
    assert_ne!(now, earlier);
    assert_eq!(now, laptop.status().await.identity.unwrap().id);
    laptop.hears("notes/phone-14").await;
    phone.hears("notes/laptop-14").await;
    laptop.settle(Durability::Committed).await;
    phone.settle(Durability::Committed).await;
    agree(&[&laptop, &phone]).await;
    let (documents, _) = export(&laptop).await;
    assert_eq!(documents.len(), 31, "{:?}", documents.keys());
    for n in 0..15 {
        let found = laptop.get(&format!("notes/phone-{n}")).await.unwrap();
        assert_eq!(found, json!({ "n": n, "again": true }));
    }
    let both = laptop.get("notes/both").await.unwrap();
    assert_eq!(both["same"], json!("phone"), "the later edit wins: {both}");

    // What it writes now goes to the identity it joined, also after it started anew.
    phone.stop().await;
    phone.start().await;
    phone.set("notes/phone-later", json!({ "n": 99 })).await;
    laptop.hears("notes/phone-later").await;
    agree(&[&laptop, &phone]).await;
}

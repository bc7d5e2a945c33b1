//! A disk that lost or changed anything at all, beside a device that holds the same: everything
//! comes back, and nothing is signed twice, whether the damaged device writes before or after it
//! hears what it has forgotten.

use crate::support::folder::{ends_of_sections, segment, store};
use crate::support::{Dice, Node, World, agree, export, is_long, link};
use rhizome_api::{DeviceKind, Durability};
use serde_json::json;

/// A laptop and a phone that agree on forty documents. The laptop orders.
pub async fn pair(world: &World) -> (Node, Node) {
    let (mut laptop, mut phone) = (world.node("laptop").await, world.node("phone").await);
    laptop.start().await;
    phone.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    for n in 0..20 {
        let fields = json!({ "n": n, "text": "y".repeat(300) });
        laptop.set(&format!("notes/laptop-{n}"), fields.clone()).await;
        phone.set(&format!("notes/phone-{n}"), fields).await;
    }
    laptop.settle(Durability::Committed).await;
    phone.settle(Durability::Committed).await;
    agree(&[&laptop, &phone]).await;
    (laptop, phone)
}

/// Damages the segment of a stopped pod, takes its index away, and says what it did.
fn spoil(node: &Node, dice: &mut Dice) -> String {
    let path = segment(node);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = dice.below(bytes.len() as u64) as usize;
    let what = match dice.below(3) {
        0 => {
            bytes.truncate(at);
            format!("the {} is cut at {at}", node.name)
        }
        1 => {
            let ends = ends_of_sections(&bytes);
            let end = ends[dice.below(ends.len() as u64) as usize];
            bytes.truncate(end);
            format!("the {} is cut between sections at {end}", node.name)
        }
        _ => {
            bytes[at] ^= 1 << dice.below(8);
            format!("a bit of the {} changed at {at}", node.name)
        }
    };
    std::fs::write(&path, bytes).unwrap();
    std::fs::remove_dir_all(store(&node.dir).join("index")).unwrap();
    what
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_changed_and_whatever_was_cut_another_device_brings_it_back() {
    let mut dice = Dice::new("damage beside a whole device");
    let world = World::new();
    let (laptop, phone) = pair(&world).await;
    let mut pair = [laptop, phone];
    let rounds = if is_long() { 100 } else { 6 };
    for n in 0..rounds {
        let at = dice.below(2) as usize;
        pair[at].stop().await;
        let what = spoil(&pair[at], &mut dice);
        println!("{n}: {what}");
        let is_apart = dice.one_in(2);
        if is_apart {
            pair.iter().for_each(|node| node.cable.cut());
        }
        pair[at].start().await;
        // It writes before it hears what it has forgotten, or perhaps after.
        let path = format!("notes/{n}-after");
        pair[at].set(&path, json!({ "n": n })).await;
        pair.iter().for_each(|node| node.cable.mend());
        let [laptop, phone] = &pair;
        for node in [laptop, phone] {
            node.hears(&path).await;
            node.settle(Durability::Committed).await;
        }
        agree(&[laptop, phone]).await;
        let (documents, _) = export(laptop).await;
        assert_eq!(documents.len(), 40 + n + 1, "{what}: {:?}", documents.keys());
        for node in [laptop, phone] {
            let reason = node.status().await.state.reason;
            let known = reason.as_deref().is_none_or(|reason| reason == "segments are damaged");
            assert!(known, "{what}: the {} says that {reason:?}", node.name);
        }
    }
    println!("{rounds} times damaged, each time all came back");
}

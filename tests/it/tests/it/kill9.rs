//! Processes are killed at random moments under load, and nothing that was acknowledged is lost.

use crate::support::until;
use crate::support::{
    Client, Node, PATIENCE, World, add_peer, agree, below, export, is_long, link,
};
use rhizome_api::data::{BatchRequest, Write};
use rhizome_api::{DataBatch, DeviceKind, Durability};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A writer, and what it did: by document, whether the write was acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<BTreeMap<String, bool>>,
}

impl Writer {
    /// Writes one document after another, each with a step of a counter in the same event.
    fn start(client: Client, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, name) = (Arc::clone(&stop), name.to_owned());
        let task = tokio::spawn(async move {
            let mut written = BTreeMap::new();
            for n in 0u64.. {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let path = format!("load/{name}-{n:06}");
                let done = client.ask::<DataBatch>(&step(&path, &name, n)).await.is_ok();
                written.insert(path, done);
                let pause = if done { 2 } else { 20 };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            written
        });
        Self { stop, task }
    }

    async fn stop(self) -> BTreeMap<String, bool> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

fn step(path: &str, name: &str, n: u64) -> BatchRequest {
    let counted = [("n".to_owned(), json!({ "$increment": 1 }))].into();
    let ops = vec![
        Write::Set { path: path.to_owned(), fields: json!({ "n": n }), merge: false },
        Write::Update { path: format!("counters/{name}"), fields: counted },
    ];
    BatchRequest { ops, ..BatchRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_however_often_processes_are_killed() {
    let world = World::new();
    let mut nodes =
        [world.node("laptop").await, world.node("phone").await, world.host("cloud").await];
    for node in &mut nodes {
        node.start().await;
    }
    let [laptop, phone, cloud] = &nodes;
    laptop.create("Ana", DeviceKind::Laptop).await;
    laptop.set("counters/laptop", json!({ "n": 0 })).await;
    laptop.set("counters/phone", json!({ "n": 0 })).await;
    add_peer(laptop, cloud).await;
    link(laptop, phone, DeviceKind::Phone).await;
    phone.hears("counters/phone").await;
    let writers = ["laptop", "phone"];
    let writers = [0, 1].map(|at| Writer::start(nodes[at].client.clone(), writers[at]));
    for _ in 0..if is_long() { 200 } else { 12 } {
        let victim = &mut nodes[below(3) as usize];
        tokio::time::sleep(Duration::from_millis(20 + below(400))).await;
        victim.kill();
        tokio::time::sleep(Duration::from_millis(below(300))).await;
        victim.start().await;
    }
    let mut written = BTreeMap::new();
    for writer in writers {
        written.append(&mut writer.stop().await);
    }
    let [laptop, phone, _] = &nodes;
    laptop.settle(Durability::Committed).await;
    phone.settle(Durability::Committed).await;
    agree(&[laptop, phone]).await;
    check(laptop, &written).await;
    let acknowledged = written.values().filter(|done| **done).count();
    println!("{acknowledged} of {} writes acknowledged, all found", written.len());
    assert!(acknowledged > 50, "hardly any load: {acknowledged}");
}

/// Every acknowledged write is there, whatever is there was written, and each counts once.
async fn check(node: &Node, written: &BTreeMap<String, bool>) {
    let (documents, _) = export(node).await;
    let load: BTreeMap<&str, _> = documents
        .iter()
        .filter_map(|((_, path), fields)| Some((path.strip_prefix("load/")?, fields)))
        .collect();
    for (path, done) in written {
        let found = load.contains_key(path.strip_prefix("load/").unwrap());
        assert!(found || !done, "{path} was acknowledged and is lost");
    }
    for name in ["laptop", "phone"] {
        let events = load.keys().filter(|path| path.starts_with(name)).count();
        let counted = node.get(&format!("counters/{name}")).await.unwrap();
        assert_eq!(counted["n"], json!(events), "events of {name} took effect once each");
    }
    for (path, fields) in load {
        assert!(written.contains_key(&format!("load/{path}")), "{path} was never written");
        let n: u64 = path.rsplit('-').next().unwrap().parse().unwrap();
        assert_eq!(fields["n"], json!(n), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_opens_again_with_what_it_acknowledged_last() {
    let world = World::new();
    let mut laptop = world.node("laptop").await;
    laptop.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    for n in 0..if is_long() { 50 } else { 5 } {
        laptop.set("notes/last", json!({ "n": n })).await;
        laptop.kill();
        laptop.start().await;
        let look = || async {
            let found = laptop.get("notes/last").await.map_err(|error| error.to_string())?;
            if found["n"] == json!(n) { Ok(()) } else { Err(found.to_string()) }
        };
        until("the last write is found", PATIENCE, look).await;
    }
}

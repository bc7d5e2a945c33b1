//! A laptop whose peers are all gone writes on: no write waits for anybody.

use crate::support::{World, add_peer, is_long, link, percentile};
use rhizome_api::DeviceKind;
use rhizome_doc::{Batch, Mutation};
use rhizome_pod::{DEFAULT_APP, Pod, PodOptions};
use rhizome_schema::{DocPath, Fields, Value};
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A write that takes longer waits for something, whatever the disk.
const BLOCKED: Duration = Duration::from_secs(10);

/// The bytes of one event, about.
const EVENT_BYTES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laptop_whose_peers_are_gone_writes_on() {
    let world = World::new();
    let (mut laptop, mut phone) = (world.node("laptop").await, world.node("phone").await);
    let mut cloud = world.host("cloud").await;
    laptop.start().await;
    phone.start().await;
    cloud.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    add_peer(&laptop, &cloud).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    laptop.commit("notes/before", json!({ "text": "everybody is here" })).await;
    assert_eq!(laptop.status().await.order.voters.len(), 1);
    laptop.stop().await;
    phone.kill();
    cloud.kill();

    let count = if is_long() { 100_000 } else { 5_000 };
    let mut floor = fsync_floor(world.dir(), count / 20);
    let pod = Pod::start(laptop.options()).await.unwrap();
    let identity = pod.current().unwrap();
    let mut writes = Vec::with_capacity(count);
    for n in 0..count {
        let body = body(n);
        let since = Instant::now();
        let done = tokio::time::timeout(BLOCKED, identity.handle.write(DEFAULT_APP, None, body));
        done.await.expect("a write is blocked").unwrap();
        writes.push(since.elapsed());
    }
    floor.extend(fsync_floor(world.dir(), count / 20));
    let applied = identity.handle.look(|replica, _| replica.status()).await.unwrap();
    drop(identity);
    pod.stop().await;
    drop(pod);

    // Opened anew, it holds them all, and none has a place in the order: the voter is gone.
    let elsewhere = PodOptions { listen: None, ..laptop.options() };
    let pod = Pod::start(elsewhere).await.unwrap();
    let identity = pod.current().unwrap();
    let status = identity.handle.look(|replica, _| replica.status()).await.unwrap();
    assert_eq!(status.applied, applied.applied, "nobody was there to order anything");
    let documents = identity.handle.documents(DEFAULT_APP);
    for n in [0, count / 2, count - 1] {
        let path = DocPath::parse(&format!("load/{n}")).unwrap();
        let doc = documents.get(identity.handle.index(), &path).unwrap().expect("it was written");
        assert_eq!(doc.fields.get("n"), Some(&Value::Int(n as i64)));
    }
    let held: u64 = status.logs.iter().map(|log| log.held).sum();
    assert!(held >= count as u64, "{held} of {count} events");
    pod.stop().await;
    report(&mut writes, &mut floor);
}

fn body(n: usize) -> Vec<u8> {
    let path = DocPath::parse(&format!("load/{n}")).unwrap();
    let mut fields = Fields::new();
    fields.insert("n".to_owned(), Value::Int(n as i64));
    fields.insert("text".to_owned(), Value::Text("a line as people write them".to_owned()));
    Batch::new(vec![Mutation::set(path, fields)]).to_body().unwrap()
}

/// What the disk itself takes for the same bytes, one fdatasync each.
fn fsync_floor(dir: &Path, count: usize) -> Vec<Duration> {
    let mut file = File::create(dir.join("floor")).unwrap();
    let bytes = [7; EVENT_BYTES];
    let mut floor = Vec::with_capacity(count);
    for _ in 0..count {
        let since = Instant::now();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        floor.push(since.elapsed());
    }
    floor
}

fn report(writes: &mut [Duration], floor: &mut [Duration]) {
    writes.sort_unstable();
    floor.sort_unstable();
    let [write, disk] = [&*writes, &*floor].map(|sorted| {
        format!("p50 {} µs, p99 {} µs", percentile(sorted, 500), percentile(sorted, 990))
    });
    println!("{} writes alone: {write}; fdatasync alone: {disk}", writes.len());
}

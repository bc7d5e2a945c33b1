//! A laptop whose peers are all gone writes on: no write waits for anybody.

use crate::support::{Node, World, add_peer, household, is_long, link, percentile};
use rhizome_api::data::BatchRequest;
use rhizome_api::{DataBatch, DeviceKind};
use rhizome_pod::{DEFAULT_APP, Pod, PodOptions};
use rhizome_schema::{DocPath, Value};
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A write that takes longer waits for something, whatever the disk.
const BLOCKED: Duration = Duration::from_secs(30);

/// The bytes of one event, about.
const EVENT_BYTES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laptop_whose_peers_are_gone_writes_on() {
    let world = World::new();
    let (mut laptop, mut phone, mut cloud) = household(&world).await;
    add_peer(&laptop, &cloud).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    laptop.commit("notes/before", json!({ "text": "everybody is here" })).await;
    laptop.ordered_by(&["cloud"]).await;
    phone.kill();
    cloud.kill();
    let before = laptop.status().await.order.applied;

    let count = if is_long() { 100_000 } else { 2_000 };
    let mut floor = Floor::new(world.dir());
    let mut writes = Vec::with_capacity(count);
    for n in 0..count {
        if n % 20 == 0 {
            floor.step();
        }
        writes.push(write(&laptop, n).await);
    }
    assert_eq!(laptop.status().await.order.applied, before, "nobody was there to order anything");
    report(&mut writes, &mut floor.taken);
    laptop.kill();

    // Opened anew, it holds them all, and none has a place in the order: the voter is gone.
    let pod = Pod::start(PodOptions { listen: None, ..laptop.options() }).await.unwrap();
    let identity = pod.current().unwrap();
    let status = identity.handle.look(|replica, _| replica.status()).await.unwrap();
    assert_eq!(status.applied.i, before);
    let documents = identity.handle.documents(DEFAULT_APP);
    for n in 0..count {
        let path = DocPath::parse(&format!("load/{n}")).unwrap();
        let doc = documents.get(identity.handle.index(), &path).unwrap();
        let doc = doc.unwrap_or_else(|| panic!("write {n} was acknowledged and is lost"));
        assert_eq!(doc.fields.get("n"), Some(&Value::Int(n as i64)));
    }
    drop(identity);
    pod.stop().await;
}

/// Writes one document, as an app does, and says how long that took.
async fn write(laptop: &Node, n: usize) -> Duration {
    let fields = json!({ "n": n, "text": "a line as people write them" });
    let set = rhizome_api::data::Write::Set { path: format!("load/{n}"), fields, merge: false };
    let request = BatchRequest { ops: vec![set], ..BatchRequest::default() };
    let since = Instant::now();
    let done = tokio::time::timeout(BLOCKED, laptop.client.ask::<DataBatch>(&request)).await;
    done.expect("a write is blocked").unwrap_or_else(|error| panic!("write {n}: {error:?}"));
    since.elapsed()
}

/// What the disk itself takes for the same bytes, one fdatasync each.
struct Floor {
    file: File,
    taken: Vec<Duration>,
}

impl Floor {
    fn new(dir: &Path) -> Self {
        Self { file: File::create(dir.join("floor")).unwrap(), taken: Vec::new() }
    }

    fn step(&mut self) {
        let since = Instant::now();
        self.file.write_all(&[7; EVENT_BYTES]).unwrap();
        self.file.sync_data().unwrap();
        self.taken.push(since.elapsed());
    }
}

fn report(writes: &mut [Duration], floor: &mut [Duration]) {
    writes.sort_unstable();
    floor.sort_unstable();
    let [write, disk] = [&*writes, &*floor].map(|sorted| {
        let (p50, p99) = (percentile(sorted, 500), percentile(sorted, 990));
        let longest = sorted[sorted.len() - 1].as_micros();
        format!("p50 {p50} µs, p99 {p99} µs, longest {longest} µs")
    });
    let count = writes.len();
    println!("{count} writes alone, none blocked, over the API: {write}; fdatasync alone: {disk}");
}

//! Processes are killed at random moments under load, and nothing that was acknowledged is lost.

use crate::support::until;
use crate::support::{Client, Dice, Node, PATIENCE, World, add_peer, agree, export, is_long, link};
use rhizome_api::data::{BatchRequest, Direction, HashAnswer, OrderBy, QueryRequest, Write};
use rhizome_api::select::Selection;
use rhizome_api::status::{DoctorRequest, Finding, FindingLevel};
use rhizome_api::{DataBatch, DataQuery, DeviceKind, Doctor, Durability};
use rhizome_block::Cid;
use rhizome_log::{LogId, Seen};
use rhizome_pod::{Handle, Pod, PodOptions};
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
async fn a_device_that_is_killed_as_soon_as_it_belongs_trusts_its_disk() {
    let world = World::new();
    let (mut laptop, mut phone) = (world.node("laptop").await, world.node("phone").await);
    laptop.start().await;
    phone.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    for node in [&mut laptop, &mut phone] {
        node.kill();
        let pod = Pod::start(PodOptions { listen: None, ..node.options() }).await.unwrap();
        let doubted = pod.current().unwrap().handle.look(|replica, _| replica.doubted()).await;
        assert_eq!(doubted.unwrap(), [].into(), "{} asks others what it signed", node.name);
        pod.stop().await;
    }
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
    for node in [laptop, phone] {
        // From now on each keeps an index of what is written.
        node.ask::<DataQuery>(&in_order()).await;
    }
    let writers = ["laptop", "phone"];
    let writers = [0, 1].map(|at| Writer::start(nodes[at].client.clone(), writers[at]));
    let kills = kill(&mut nodes, &mut Dice::new("kill -9")).await;
    let mut written = BTreeMap::new();
    for writer in writers {
        written.append(&mut writer.stop().await);
    }
    let [laptop, phone, _] = &nodes;
    laptop.settle(Durability::Committed).await;
    phone.settle(Durability::Committed).await;
    let agreed = agree(&[laptop, phone]).await;
    check(laptop, &written).await;
    let acknowledged = written.values().filter(|done| **done).count();
    println!(
        "kill -9: {kills:?} times laptop, phone, cloud; {acknowledged} of {} writes acknowledged, \
         all found, state {}",
        written.len(),
        agreed.state_hash
    );
    assert!(acknowledged > 50, "hardly any load: {acknowledged}");
    for node in [laptop, phone] {
        is_as_if_rebuilt(node, &agreed).await;
    }
    same_everywhere(&mut nodes).await;
}

/// Kills one after another, or all at once, while they work or while they start; says how often
/// each was killed.
async fn kill(nodes: &mut [Node; 3], dice: &mut Dice) -> [u32; 3] {
    let wanted = if is_long() { 200 } else { 12 };
    let mut kills = [0; 3];
    while kills.iter().sum::<u32>() < wanted {
        pause(dice, 20, 400).await;
        let (victim, all) = (dice.below(3) as usize, dice.one_in(12));
        let victims = if all { 0..3 } else { victim..victim + 1 };
        for at in victims.clone() {
            nodes[at].kill();
            kills[at] += 1;
        }
        pause(dice, 0, 300).await;
        for at in victims.clone() {
            nodes[at].spawn();
        }
        if dice.one_in(4) {
            pause(dice, 0, 200).await;
            nodes[victim].kill();
            kills[victim] += 1;
            nodes[victim].spawn();
        }
        for at in victims {
            nodes[at].answers().await;
        }
    }
    kills
}

async fn pause(dice: &mut Dice, least_ms: u64, more_ms: u64) {
    tokio::time::sleep(Duration::from_millis(least_ms + dice.below(more_ms))).await;
}

/// Asks for everything that was written, in the order of its numbers.
fn in_order() -> QueryRequest {
    let order = vec![OrderBy { field: "n".to_owned(), dir: Direction::default() }];
    let selection = Selection { order, ..Selection::default() };
    QueryRequest { collection: "load".to_owned(), selection, ..QueryRequest::default() }
}

/// The live index is what comes out when it is made anew from the segments, entry by entry and as
/// a whole.
async fn is_as_if_rebuilt(node: &Node, agreed: &HashAnswer) {
    let found = node.ask::<DataQuery>(&in_order()).await.documents.len();
    let held = node.ask::<Doctor>(&DoctorRequest { rebuild: false }).await;
    let index = held.findings.iter().find(|finding| finding.what == "index").unwrap();
    assert_eq!(index.level, FindingLevel::Ok, "{held:?}");
    assert!(found > 0 && !index.detail.starts_with("0 "), "{found} found: {index:?}");
    let rebuilt = node.ask::<Doctor>(&DoctorRequest { rebuild: true }).await;
    let is_wrong = |finding: &&Finding| finding.level == FindingLevel::Problem;
    assert!(!rebuilt.findings.iter().any(|finding| is_wrong(&finding)), "{rebuilt:?}");
    assert_eq!(node.hash().await.unwrap(), *agreed, "{} differs from a rebuilt one", node.name);
}

/// Newest control record, end of the order, and of each log what is held and what is placed.
type Disk = (Cid, Seen, Vec<(LogId, u64, u64)>);

/// Control log, order and logs are the same on all three disks, the cloud peer's as well, which
/// says nothing of itself.
async fn same_everywhere(nodes: &mut [Node; 3]) {
    let [laptop, phone, cloud] = nodes;
    cloud.stop().await;
    let pod = Pod::start(cloud.options()).await.unwrap();
    let look = || async {
        // It opens what it hosts when somebody comes for it.
        match pod.identities().first() {
            Some(hosted) => Ok(disk(&hosted.handle).await),
            None => Err("nobody came".to_owned()),
        }
    };
    let on_cloud = until("a device comes to the cloud peer", PATIENCE, look).await;
    pod.stop().await;
    let mut others = Vec::new();
    for node in [laptop, phone] {
        node.stop().await;
        let pod = Pod::start(PodOptions { listen: None, ..node.options() }).await.unwrap();
        others.push(disk(&pod.current().unwrap().handle).await);
        pod.stop().await;
    }
    assert!(!on_cloud.2.is_empty());
    assert!(others.iter().all(|other| *other == on_cloud), "{on_cloud:#?}, and {others:#?}");
}

async fn disk(handle: &Handle) -> Disk {
    let look = handle.look(|replica, _| {
        let status = replica.status();
        let logs = status.logs.iter().map(|log| (log.log, log.held, log.placed));
        (replica.control().head(), status.end, logs.collect())
    });
    look.await.unwrap()
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

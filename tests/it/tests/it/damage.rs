//! Segments that were cut or changed: a pod opens or says why not, and never shows wrong data
//! without saying that something is wrong.
//!
//! What is so: bytes that changed are noticed at opening where the index is made anew, and by
//! `log verify` otherwise; documents come from the index until then. A segment that ends early
//! where the index knows more is damage; where it does not, a torn tail. A cut exactly between two
//! batches, with the index gone too, cannot be told from a device that wrote less.

use crate::support::folder::{files, lay_out, store};
use crate::support::{Node, PATIENCE, World, agree, below, is_long, link, until};
use rhizome_api::log::VerifyAnswer;
use rhizome_api::status::DoctorRequest;
use rhizome_api::{DeviceKind, Doctor, Durability, Empty, LogVerify};
use rhizome_doc::Documents;
use rhizome_pod::{DEFAULT_APP, Pod, PodOptions};
use rhizome_schema::{DocPath, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Documents of the pod that is damaged; the first half was written twice.
const DOCUMENTS: i64 = 60;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of tasks; those of tests are theirs.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with("tokio-")) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        before(panic);
    }));
}

/// A lone pod that was stopped, as files.
async fn template(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut laptop = world.node("laptop").await;
    laptop.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    for n in 0..DOCUMENTS {
        laptop.set(&format!("notes/{n}"), json!({ "n": n, "text": "x".repeat(150) })).await;
    }
    for n in 0..DOCUMENTS / 2 {
        laptop.set(&format!("notes/{n}"), json!({ "n": n + 1000 })).await;
    }
    laptop.stop().await;
    files(&laptop.dir)
}

/// How a trial ended.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    reported: usize,
    refused: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Cut,
    Flip,
}

/// Damages the newest segment.
fn damage(files: &mut BTreeMap<PathBuf, Vec<u8>>, fault: Fault) {
    let segments =
        files.iter_mut().filter(|(path, _)| path.extension().is_some_and(|x| x == "car"));
    let (_, bytes) = segments.max_by_key(|(path, _)| path.to_path_buf()).unwrap();
    let at = below(bytes.len() as u64) as usize;
    match fault {
        // A tear is rarely far from the end.
        Fault::Cut if below(2) == 0 => bytes.truncate(bytes.len() - at.min(4000)),
        Fault::Cut => bytes.truncate(at),
        Fault::Flip => bytes[at] ^= 1 << below(8),
    }
}

fn is_index(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "index")
}

/// Opens a damaged pod and compares what it shows with what was written.
async fn trial(dir: PathBuf, files: &BTreeMap<PathBuf, Vec<u8>>, tally: &mut Tally) {
    lay_out(&dir, files);
    let pod = match Pod::start(PodOptions { dir, ..PodOptions::default() }).await {
        Ok(pod) => pod,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            tally.refused += 1;
            return;
        }
    };
    let identity = pod.current().unwrap();
    let report = identity.report.clone();
    let is_reported = report.torn.is_some() || report.damages_count > 0;
    let documents = identity.handle.documents(DEFAULT_APP);
    let mut whole = true;
    for n in 0..DOCUMENTS {
        whole &= is_right(n, &documents, identity.handle.index(), is_reported);
    }
    assert!(whole || is_reported, "documents are lost and nothing is said: {report:?}");
    match is_reported {
        true => tally.reported += 1,
        false => tally.whole += 1,
    }
    // What is left can be written to.
    let body = rhizome_doc::Batch::new(Vec::new()).to_body();
    if let Ok(body) = body {
        // An empty batch may be refused; what counts is that the pod answers.
        let _ = identity.handle.write(DEFAULT_APP, None, body).await;
    }
    drop(identity);
    pod.stop().await;
}

/// Whether a document is what was written last; anything else but what was written before, or
/// nothing at all, is a lie.
fn is_right(
    n: i64,
    documents: &Documents,
    index: &dyn rhizome_log::Index,
    is_reported: bool,
) -> bool {
    let path = DocPath::parse(&format!("notes/{n}")).unwrap();
    let last = if n < DOCUMENTS / 2 { n + 1000 } else { n };
    let Some(found) = documents.get(index, &path).unwrap() else { return false };
    let value = found.fields.get("n").cloned();
    if value == Some(Value::Int(last)) {
        return true;
    }
    assert!(is_reported, "{n} is {value:?}, and nothing is said");
    assert_eq!(value, Some(Value::Int(n)), "never written");
    false
}

async fn trials(fault: Fault, keep_index: bool) {
    count_panics();
    let world = World::new();
    let whole = template(&world).await;
    let mut tally = Tally::default();
    let count = if is_long() { 1000 } else { 100 };
    for n in 0..count {
        let mut files = whole.clone();
        files.retain(|path, _| keep_index || !is_index(path));
        damage(&mut files, fault);
        let dir = world.dir().join(format!("trial-{n}"));
        trial(dir.clone(), &files, &mut tally).await;
        std::fs::remove_dir_all(dir).unwrap();
    }
    println!("{count} damaged pods: {tally:?}");
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a task panicked");
    assert!(tally.reported > 0, "no trial did any damage: {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_segments_are_reported_with_their_index_lost() {
    trials(Fault::Cut, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_segments_are_reported_with_their_index_lost() {
    trials(Fault::Flip, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_shorter_than_the_index_knows_is_reported() {
    trials(Fault::Cut, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_bytes_below_an_index_are_found_by_verifying() {
    let world = World::new();
    let whole = template(&world).await;
    for n in 0..if is_long() { 200 } else { 10 } {
        let mut files = whole.clone();
        damage(&mut files, Fault::Flip);
        let mut node = world.node(&format!("trial-{n}")).await;
        lay_out(&node.dir, &files);
        node.start_here().await;
        for n in 0..DOCUMENTS {
            let last = if n < DOCUMENTS / 2 { n + 1000 } else { n };
            assert_eq!(node.get(&format!("notes/{n}")).await.unwrap()["n"], json!(last));
        }
        let found = node.ask::<LogVerify>(&Empty {}).await;
        assert!(!found.damage.is_empty(), "a changed bit is not found");
        node.stop().await;
    }
}

/// A device whose segments changed has other devices that hold the same: once the index no longer
/// vouches for the damaged event, it is fetched like any that is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_event_is_fetched_again_from_another_device() {
    let world = World::new();
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
    let before = agree(&[&laptop, &phone]).await;
    for place in 0..if is_long() { 40 } else { 3 } {
        laptop.stop().await;
        flip_in_an_event(&laptop, place);
        laptop.start().await;
        let verified = laptop.ask::<LogVerify>(&Empty {}).await;
        let open = verified.damage.iter().filter(|one| !one.repaired).count();
        assert_eq!(open, 1, "{verified:?}");
        assert!(laptop.ask::<Doctor>(&DoctorRequest { rebuild: true }).await.rebuilt);
        let look = || async {
            let VerifyAnswer { damage, .. } = laptop.ask::<LogVerify>(&Empty {}).await;
            if damage.iter().all(|one| one.repaired) { Ok(()) } else { Err(format!("{damage:?}")) }
        };
        until("the damaged event is fetched again", PATIENCE, look).await;
        laptop.settle(Durability::Committed).await;
        assert_eq!(agree(&[&laptop, &phone]).await.export_hash, before.export_hash);
    }
    laptop.commit("notes/after", json!({ "n": 1 })).await;
    phone.hears("notes/after").await;
}

/// Changes a bit in the body of an event, another one for each `place`.
fn flip_in_an_event(node: &Node, place: usize) {
    let path = store(&node.dir).join("segments").join("00000001.car");
    let mut bytes = std::fs::read(&path).unwrap();
    // CIDv1, raw, SHA2-256: what stands in front of the body of an event.
    let raw = [0x01, 0x55, 0x12, 0x20];
    let at: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..at + 4] == raw).collect();
    let at = at[(place * 7 + 3) % at.len()] + 36 + 100;
    bytes[at] ^= 4;
    std::fs::write(&path, bytes).unwrap();
}

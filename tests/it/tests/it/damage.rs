//! Segments that were cut or changed: a pod opens or says why not, and never shows wrong data
//! without saying that something is wrong.
//!
//! What is so: bytes that changed are noticed at opening where the index is made anew, and by
//! `log verify` otherwise; documents come from the index until then. A segment that ends early
//! where the index knows more is damage; where it does not, a torn tail. A cut exactly between two
//! sections, with the index gone too, cannot be told from a device that wrote less: what is shown
//! then is what was there at some moment, and another device brings the rest back.

use crate::beside::pair;
use crate::support::folder::{ends_of_sections, files, lay_out, segment};
use crate::support::{Dice, Node, PATIENCE, World, agree, is_long, until};
use rhizome_api::log::VerifyAnswer;
use rhizome_api::status::DoctorRequest;
use rhizome_api::{DeviceKind, Doctor, Durability, Empty, LogVerify};
use rhizome_doc::{Batch, Mutation};
use rhizome_pod::{DEFAULT_APP, Handle, Pod, PodOptions};
use rhizome_schema::{DocPath, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Documents of the pod that is damaged; the first half was written twice.
const DOCUMENTS: i64 = 60;

/// How often it was written.
const WRITES: usize = 90;

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

/// How trials ended.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    reported: usize,
    /// Cut exactly between two sections, which nobody can notice.
    between: usize,
    refused: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Cut,
    Flip,
}

/// Damages the newest segment. Says whether it ends between two sections now.
fn damage(files: &mut BTreeMap<PathBuf, Vec<u8>>, fault: Fault, dice: &mut Dice) -> bool {
    let segments =
        files.iter_mut().filter(|(path, _)| path.extension().is_some_and(|x| x == "car"));
    let (_, bytes) = segments.max_by_key(|(path, _)| path.to_path_buf()).unwrap();
    let ends = ends_of_sections(bytes);
    let at = dice.below(bytes.len() as u64) as usize;
    match fault {
        // A tear is rarely far from the end.
        Fault::Cut if dice.one_in(2) => bytes.truncate(bytes.len() - at.min(4000)),
        Fault::Cut => bytes.truncate(at),
        Fault::Flip => bytes[at] ^= 1 << dice.below(8),
    }
    ends.contains(&bytes.len())
}

fn is_index(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "index")
}

/// Opens a damaged pod and compares what it shows with what was written.
async fn trial(dir: &Path, fault: Fault, between: bool, tally: &mut Tally) {
    let options = || PodOptions { dir: dir.to_owned(), ..PodOptions::default() };
    let pod = match Pod::start(options()).await {
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
    let seen = Seen::of(&identity.handle);
    assert!(seen.is_honest(), "never written: {seen:?}");
    if fault == Fault::Cut {
        assert!(seen.at_a_moment().is_some(), "never so at any moment: {seen:?}");
    }
    let whole = seen.at_a_moment() == Some(WRITES);
    assert!(whole || is_reported || between, "{seen:?} and nothing is said: {report:?}");
    match (is_reported, whole) {
        (true, _) => tally.reported += 1,
        (false, true) => tally.whole += 1,
        (false, false) => tally.between += 1,
    }
    // What is left can be written to.
    let path = DocPath::parse("notes/after").unwrap();
    let fields = [("n".to_owned(), Value::Int(1))].into();
    let body = Batch::new(vec![Mutation::set(path.clone(), fields)]).to_body().unwrap();
    identity.handle.write(DEFAULT_APP, None, body).await.unwrap();
    drop(identity);
    pod.stop().await;
    drop(pod);
    let pod = Pod::start(options()).await.unwrap();
    let identity = pod.current().unwrap();
    let documents = identity.handle.documents(DEFAULT_APP);
    assert!(documents.get(identity.handle.index(), &path).unwrap().is_some(), "lost again");
    assert_eq!(Seen::of(&identity.handle), seen, "writing and opening again changed the others");
    drop(identity);
    pod.stop().await;
}

/// The numbers that a pod shows in its documents.
#[derive(Debug, PartialEq)]
struct Seen(Vec<Option<i64>>);

impl Seen {
    fn of(handle: &Handle) -> Self {
        let documents = handle.documents(DEFAULT_APP);
        let number = |n: i64| {
            let path = DocPath::parse(&format!("notes/{n}")).unwrap();
            let found = documents.get(handle.index(), &path).unwrap()?;
            match found.fields.get("n").cloned() {
                Some(Value::Int(number)) => Some(number),
                other => panic!("never written: {other:?}"),
            }
        };
        Self((0..DOCUMENTS).map(number).collect())
    }

    /// Whether each is what was written once, or nothing.
    fn is_honest(&self) -> bool {
        let twice = |n: i64| n < DOCUMENTS / 2;
        let mut numbers = (0..).zip(&self.0);
        numbers.all(|(n, seen)| seen.is_none_or(|x| x == n || (x == n + 1000 && twice(n))))
    }

    /// After how many writes it was exactly so.
    fn at_a_moment(&self) -> Option<usize> {
        let after = |writes: usize| {
            let n = 0..DOCUMENTS;
            n.map(move |n| match (writes as i64 > n, writes as i64 > DOCUMENTS + n) {
                (_, true) => Some(n + 1000),
                (true, false) => Some(n),
                (false, false) => None,
            })
        };
        (0..=WRITES).find(|writes| after(*writes).eq(self.0.iter().copied()))
    }
}

async fn trials(fault: Fault, keep_index: bool) {
    count_panics();
    let mut dice = Dice::new("damaged pods");
    let world = World::new();
    let whole = template(&world).await;
    let mut tally = Tally::default();
    let count = if is_long() { 1000 } else { 100 };
    for n in 0..count {
        let mut files = whole.clone();
        files.retain(|path, _| keep_index || !is_index(path));
        let between = damage(&mut files, fault, &mut dice) && !keep_index;
        let dir = world.dir().join(format!("trial-{n}"));
        lay_out(&dir, &files);
        trial(&dir, fault, between, &mut tally).await;
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
    let mut dice = Dice::new("changed bytes below an index");
    let world = World::new();
    let whole = template(&world).await;
    for n in 0..if is_long() { 200 } else { 10 } {
        let mut files = whole.clone();
        damage(&mut files, Fault::Flip, &mut dice);
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
    let (mut laptop, phone) = pair(&world).await;
    let before = laptop.hash().await.unwrap();
    for place in 0..if is_long() { 40 } else { 3 } {
        laptop.stop().await;
        let copies = flip_in_an_event(&laptop, place);
        laptop.start().await;
        let verified = laptop.ask::<LogVerify>(&Empty {}).await;
        let open = verified.damage.iter().filter(|one| !one.repaired).count();
        assert_eq!(open, copies, "{verified:?}");
        assert!(laptop.ask::<Doctor>(&DoctorRequest { rebuild: true }).await.rebuilt);
        is_repaired(&laptop).await;
        laptop.settle(Durability::Committed).await;
        assert_eq!(agree(&[&laptop, &phone]).await.export_hash, before.export_hash);
    }
    laptop.commit("notes/after", json!({ "n": 1 })).await;
    phone.hears("notes/after").await;
}

async fn is_repaired(node: &Node) {
    let look = || async {
        let VerifyAnswer { damage, .. } = node.ask::<LogVerify>(&Empty {}).await;
        if damage.iter().all(|one| one.repaired) { Ok(()) } else { Err(format!("{damage:?}")) }
    };
    until("what is damaged is fetched again", PATIENCE, look).await;
}

/// Changes a bit in the body of an event, another one for each `place`, in every copy of it.
fn flip_in_an_event(node: &Node, place: usize) -> usize {
    let path = segment(node);
    let mut bytes = std::fs::read(&path).unwrap();
    // CIDv1, raw, SHA2-256: what stands in front of the body of an event.
    let raw = [0x01, 0x55, 0x12, 0x20];
    let mut bodies: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
    for at in (0..bytes.len() - 4).filter(|at| bytes[*at..at + 4] == raw) {
        let cid = &bytes[at..at + 36];
        match bodies.iter_mut().find(|(known, _)| known == cid) {
            Some((_, copies)) => copies.push(at),
            None => bodies.push((cid.to_vec(), vec![at])),
        }
    }
    let (_, copies) = &bodies[(place * 7 + 3) % bodies.len()];
    for at in copies {
        bytes[at + 36 + 100] ^= 4;
    }
    std::fs::write(&path, bytes).unwrap();
    copies.len()
}

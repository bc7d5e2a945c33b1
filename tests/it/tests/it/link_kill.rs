//! Linking is killed at every step that is on a disk, on either side: it ends linked or clean.
//!
//! A step is whatever changes in the folder of a pod: a note of the linking machine begun, written
//! or removed, a key file, a control record in the segments. A thread looks all the time and kills
//! the process as soon as there were so many.

use crate::support::folder::outline;
use crate::support::{Dice, Node, PATIENCE, World, agree, begin_join, is_long, show_code, until};
use rhizome_api::device::{JoinEvent, LinkConfirmRequest, LinkEvent};
use rhizome_api::{DeviceKind, DeviceLinkCancel, DeviceLinkConfirm, Empty};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// When the people give up on a linking that was interrupted.
const GIVE_UP: Duration = Duration::from_secs(3);

/// What the people have seen on the two screens.
#[derive(Clone, Default)]
struct Screens {
    digits: Arc<Mutex<Option<String>>>,
}

impl Screens {
    fn digits(&self) -> Option<String> {
        self.digits.lock().unwrap().clone()
    }
}

/// How a linking ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Linked,
    Clean,
}

/// Two people link a device; each step may fail, since processes die.
async fn people(laptop: &Node, phone: &Node, screens: &Screens) -> Option<()> {
    let (mut shown, code) = show_code(laptop).await.ok()?;
    let mut joining = begin_join(phone, code, DeviceKind::Phone).await.ok()?;
    let digits = loop {
        if let JoinEvent::Digits { digits } = joining.event().await.ok()? {
            break digits;
        }
    };
    *screens.digits.lock().unwrap() = Some(digits.clone());
    let session = loop {
        if let LinkEvent::Asking { session, .. } = shown.event().await.ok()? {
            break session;
        }
    };
    let confirm = LinkConfirmRequest { session, digits };
    laptop.client.ask::<DeviceLinkConfirm>(&confirm).await.ok()?;
    joining.finish(|_| {}).await.ok()?;
    shown.finish(|_| {}).await.ok()?;
    Some(())
}

/// Which side dies.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Side {
    Laptop,
    Phone,
}

/// When it dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// A while after people began.
    After(Duration),
    /// As soon as there were so many steps.
    Step(usize),
}

/// Looks for steps in the folder of a pod, on a thread of its own.
struct Steps {
    dir: PathBuf,
    seen: BTreeMap<PathBuf, (u64, u64)>,
    count: usize,
}

impl Steps {
    fn of(node: &Node) -> Self {
        Self { dir: node.dir.clone(), seen: outline(&node.dir), count: 0 }
    }

    /// Counts until there are `end` of them, or until people are done; says whether there were.
    fn reach(&mut self, end: usize, done: &AtomicBool) -> bool {
        while self.count < end {
            let is_last = done.load(Ordering::SeqCst);
            let seen = outline(&self.dir);
            self.count += usize::from(seen != self.seen);
            self.seen = seen;
            if is_last && self.count < end {
                return false;
            }
        }
        true
    }
}

/// How many steps each side takes when nobody dies.
async fn steps_of(laptop: &Node, phone: &Node) -> BTreeMap<Side, usize> {
    let done = Arc::new(AtomicBool::new(false));
    let counting = [(Side::Laptop, laptop), (Side::Phone, phone)].map(|(side, node)| {
        let (mut steps, done) = (Steps::of(node), Arc::clone(&done));
        tokio::task::spawn_blocking(move || {
            steps.reach(usize::MAX, &done);
            (side, steps.count)
        })
    });
    people(laptop, phone, &Screens::default()).await.expect("it works undisturbed");
    done.store(true, Ordering::SeqCst);
    let mut counts = BTreeMap::new();
    for counting in counting {
        counts.extend([counting.await.unwrap()]);
    }
    counts
}

/// Kills one side at a moment, starts it again, and lets people end what they began. Says whether
/// it came to that.
async fn trial(laptop: &mut Node, phone: &mut Node, side: Side, moment: Moment) -> (End, bool) {
    let screens = Screens::default();
    let is_killed = {
        let linking = people(laptop, phone, &screens);
        let victim = if side == Side::Laptop { &*laptop } else { &*phone };
        match moment {
            Moment::After(after) => {
                // Wherever it is by then, the people are interrupted along with it.
                let _ = tokio::time::timeout(after, linking).await;
                victim.killer()();
                true
            }
            Moment::Step(step) => killed_at(victim, step, linking).await,
        }
    };
    let victim = if side == Side::Laptop { &mut *laptop } else { &mut *phone };
    if is_killed {
        victim.start().await;
    }
    let what = format!("linking ends, the {side:?} died ({is_killed}) at {moment:?}");
    (end(laptop, phone, &screens, &what).await, is_killed)
}

/// Kills a pod after so many steps of linking, unless people are done before.
async fn killed_at(victim: &Node, step: usize, linking: impl Future<Output = Option<()>>) -> bool {
    let done = Arc::new(AtomicBool::new(false));
    let (killer, mut steps, is_done) = (victim.killer(), Steps::of(victim), Arc::clone(&done));
    let mut killing = tokio::task::spawn_blocking(move || {
        let reached = steps.reach(step, &is_done);
        if reached {
            killer();
        }
        reached
    });
    tokio::select! {
        killed = &mut killing => killed.unwrap(),
        linked = linking => {
            done.store(true, Ordering::SeqCst);
            let killed = killing.await.unwrap();
            assert!(killed || linked.is_some(), "people were interrupted and nobody died");
            killed
        }
    }
}

/// Lets people end what they began, one way or the other.
async fn end(laptop: &Node, phone: &Node, screens: &Screens, what: &str) -> End {
    let since = Instant::now();
    let mut gave_up = false;
    loop {
        match state(laptop, phone).await {
            Ok(end) => return end,
            Err(why) => assert!(since.elapsed() < 2 * PATIENCE, "{what}: {why}"),
        }
        if let Some(digits) = screens.digits() {
            let confirm = LinkConfirmRequest { session: String::new(), digits };
            // There may be nothing to confirm (yet, or any more).
            let _ = laptop.client.ask::<DeviceLinkConfirm>(&confirm).await;
        }
        if since.elapsed() > GIVE_UP && !gave_up {
            gave_up = true;
            laptop.ask::<DeviceLinkCancel>(&Empty {}).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Linked: both know each other. Clean: neither knows of anything. Nothing else is an end.
async fn state(laptop: &Node, phone: &Node) -> Result<End, String> {
    let ours = laptop.status().await.identity.expect("the laptop has one").id;
    let theirs = phone.status().await.identity.map(|identity| identity.id);
    let listed = laptop.devices().await.iter().any(|device| device.name == phone.name);
    let joining = phone.dir.join("joining").exists();
    let admitting = std::fs::read_dir(laptop.dir.join("identities")).unwrap().flatten();
    let admitting = admitting.map(|one| one.path().join("linking")).any(|note| note.exists());
    match (&theirs, listed, joining, admitting) {
        (Some(theirs), true, false, false) if *theirs == ours => Ok(End::Linked),
        (None, false, false, false) => Ok(End::Clean),
        _ => Err(format!("{theirs:?}, listed {listed}, joining {joining}, admitting {admitting}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linking_that_is_killed_at_any_step_ends_linked_or_clean() {
    let world = World::new();
    let mut laptop = world.node("laptop").await;
    laptop.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    laptop.set("notes/one", json!({ "text": "there before" })).await;
    let mut first = world.node("phone").await;
    first.start().await;
    let since = Instant::now();
    let steps = steps_of(&laptop, &first).await;
    let whole = since.elapsed();
    first.stop().await;
    assert!(steps.values().all(|count| *count > 5), "hardly anything is on a disk: {steps:?}");

    let mut moments = Vec::new();
    for (side, count) in &steps {
        // Daily, some of them; with patience, each of them and a few that may come on top.
        let every = if is_long() { 1 } else { count / 6 };
        moments.extend((1..=count + 4).step_by(every).map(|step| (*side, Moment::Step(step))));
    }
    let mut dice = Dice::new("linking");
    for _ in 0..if is_long() { 60 } else { 4 } {
        let side = if dice.one_in(2) { Side::Laptop } else { Side::Phone };
        moments.push((side, Moment::After(whole.mul_f64(dice.below(1200) as f64 / 1000.0))));
    }
    let (mut ends, mut kills) = (Vec::new(), 0);
    for (n, (side, moment)) in moments.iter().enumerate() {
        let mut phone = world.node(&format!("phone-{n}")).await;
        phone.start().await;
        let (end, is_killed) = trial(&mut laptop, &mut phone, *side, *moment).await;
        assert!(is_killed || end == End::Linked, "nobody died at {moment:?}, and it ends {end:?}");
        kills += usize::from(is_killed);
        if end == End::Linked {
            phone.hears("notes/one").await;
            agree(&[&laptop, &phone]).await;
        }
        ends.push(end);
        phone.stop().await;
    }
    let linked = ends.iter().filter(|end| **end == End::Linked).count();
    println!(
        "{} linkings of {steps:?} steps and {whole:?}, {kills} killed: {linked} linked, {} clean",
        ends.len(),
        ends.len() - linked
    );
    assert!(kills > moments.len() / 2, "hardly any linking was killed: {kills}");
    let known = || async {
        let devices = laptop.devices().await.len();
        if devices == 2 + linked { Ok(()) } else { Err(format!("{devices} devices")) }
    };
    until("the laptop knows those that linked and no other", PATIENCE, known).await;
}

//! Linking is killed at every moment, on either side: it ends linked or clean.

use crate::support::{Node, PATIENCE, World, agree, begin_join, is_long, show_code, until};
use rhizome_api::device::{JoinEvent, LinkConfirmRequest, LinkEvent};
use rhizome_api::{DeviceKind, DeviceLinkCancel, DeviceLinkConfirm, Empty};
use serde_json::json;
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

/// Kills one side after a while, starts it again, and lets people end what they began.
async fn trial(laptop: &mut Node, phone: &mut Node, laptop_dies: bool, after: Duration) -> End {
    let screens = Screens::default();
    {
        let linking = people(laptop, phone, &screens);
        // Wherever it is by then, the people are interrupted along with it.
        let _ = tokio::time::timeout(after, linking).await;
    }
    let victim = if laptop_dies { &mut *laptop } else { &mut *phone };
    victim.kill();
    victim.start().await;
    let since = Instant::now();
    let mut gave_up = false;
    let what = format!("linking ends (laptop dies: {laptop_dies}, after {after:?})");
    loop {
        match state(laptop, phone).await {
            Ok(end) => return end,
            Err(why) => assert!(since.elapsed() < PATIENCE, "{what}: {why}"),
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
async fn linking_that_is_killed_at_any_moment_ends_linked_or_clean() {
    let world = World::new();
    let mut laptop = world.node("laptop").await;
    laptop.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    laptop.set("notes/one", json!({ "text": "there before" })).await;

    // How long it takes when nobody dies.
    let mut first = world.node("phone").await;
    first.start().await;
    let since = Instant::now();
    people(&laptop, &first, &Screens::default()).await.expect("it works undisturbed");
    let whole = since.elapsed();
    first.stop().await;

    let count: u32 = if is_long() { 100 } else { 14 };
    let mut ends = Vec::new();
    for n in 0..count {
        let mut phone = world.node(&format!("phone-{n}")).await;
        phone.start().await;
        let after = whole.mul_f64(1.2) * n / count;
        let end = trial(&mut laptop, &mut phone, n % 2 == 0, after).await;
        if end == End::Linked {
            phone.hears("notes/one").await;
            agree(&[&laptop, &phone]).await;
        }
        ends.push(end);
        phone.stop().await;
    }
    let linked = ends.iter().filter(|end| **end == End::Linked).count();
    println!("{count} linkings killed within {whole:?}: {linked} linked, the others clean");
    let known = || async {
        let devices = laptop.devices().await.len();
        if devices == 2 + linked { Ok(()) } else { Err(format!("{devices} devices")) }
    };
    until("the laptop knows those that linked and no other", PATIENCE, known).await;
}

//! Attackers without a key, with a wrong one, with a revoked one, with that of a voter: they get an
//! error, change nothing, and the devices commit on.

mod forge;
mod wire;

use crate::support::{Node, PATIENCE, World, add_peer, agree, household, link, random, until};
use crate::voters::grow;
use forge::{Peek, Speaker};
use rhizome_api::data::HashAnswer;
use rhizome_api::device::LostRequest;
use rhizome_api::{DeviceKind, DeviceLost, Durability, Empty, SnapshotCreate};
use rhizome_block::{encode, kind};
use rhizome_identity::{ControlBody, ControlRecord, DeviceId, IdentityId};
use rhizome_net::{ConnectError, FrameSender, Link, LinkError};
use rhizome_pod::Home;
use rhizome_replica::{ControlHead, Message};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::{Attacker, dial_without_certificate};

/// Kinds of streams, as `trunk/pod` numbers them.
const SESSION: u8 = 1;
const ORDER: u8 = 2;
const ADDRESSES: u8 = 3;

/// An address of a network for documentation, which nobody has.
const NOWHERE: &str = "192.0.2.77:7733";

kind! {
    /// Kind of the message that says where a device is reached.
    AddressesKind = "addresses"
}

/// That message, as `docs/format/conversations.md` draws it.
#[derive(Serialize)]
struct Addresses {
    k: AddressesKind,
    v: u8,
    addresses: Vec<String>,
    others: BTreeMap<String, Vec<String>>,
}

/// How a pod closes a link whose device or behaviour it does not accept.
const NOT_WELCOME: u64 = 2;

/// The name under which the devices of the identity of a pod dial each other, and the identity.
fn identity_of(node: &Node) -> (String, IdentityId) {
    let home = Home::open(&node.dir).unwrap().identities().unwrap().remove(0);
    let identity = home.genesis().unwrap().identity_id();
    (format!("{identity}.rhizome"), identity)
}

/// The secret of the device in the folder of a pod, as a thief of the folder has it.
fn seed_of(node: &Node) -> ([u8; 32], DeviceId) {
    let home = Home::open(&node.dir).unwrap().identities().unwrap().remove(0);
    let keys = home.keys().unwrap().device;
    (*keys.signing.secret(), keys.device_id())
}

/// Says what a device says first, as one that holds nothing.
fn hello(identity: &IdentityId) -> Vec<u8> {
    let control = ControlHead { height: 0, record: identity.0 };
    let order = rhizome_log::Seen::default();
    let hello = Message::Hello { control, order, heads: Vec::new(), pins: Vec::new() };
    hello.to_bytes().unwrap()
}

/// Says `frames` in a session of its own and returns how the link ended, and what was said to it.
async fn say(link: &Link, frames: &[Vec<u8>]) -> (LinkError, Vec<Vec<u8>>) {
    let mut heard = Vec::new();
    let opened = link.open(SESSION).await;
    if let Ok((mut sender, mut receiver)) = opened {
        for frame in frames {
            // The pod may have hung up already.
            let _ = sender.send(frame).await;
            let _ = sender.flush().await;
        }
        while let Ok(Some(frame)) = receiver.receive().await {
            heard.push(frame.to_vec());
        }
    }
    let ended = tokio::time::timeout(PATIENCE, link.closed()).await.expect("the pod hangs up");
    (ended, heard)
}

/// Says `frames` like [`say`] and checks that nothing is told but the question who it is.
async fn say_in_vain(link: &Link, frames: &[Vec<u8>]) -> LinkError {
    let (ended, heard) = say(link, frames).await;
    heard.iter().for_each(|frame| is_introduction(frame));
    ended
}

#[track_caller]
fn is_introduction(frame: &[u8]) {
    let message = Message::from_bytes(frame).unwrap();
    assert!(matches!(message, Message::Introduce), "an attacker is told {message:?}");
}

#[track_caller]
fn is_turned_away(ended: &LinkError) {
    let LinkError::ClosedByPeer { code, reason } = ended else { panic!("{ended:?}") };
    assert_eq!(*code, NOT_WELCOME, "{reason}");
}

async fn still(node: &Node, before: &HashAnswer) {
    assert_eq!(node.hash().await.unwrap(), *before, "{} was changed", node.name);
}

async fn trio(world: &World) -> (Node, Node, Node) {
    let (laptop, phone, cloud) = household(world).await;
    add_peer(&laptop, &cloud).await;
    link(&laptop, &phone, DeviceKind::Phone).await;
    laptop.set("notes/one", json!({ "text": "mine" })).await;
    phone.hears("notes/one").await;
    laptop.ordered_by(&["cloud"]).await;
    (laptop, phone, cloud)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_turned_away_by_every_pod() {
    let world = World::new();
    let (laptop, phone, cloud) = trio(&world).await;
    let before = agree(&[&laptop, &phone]).await;
    let (name, identity) = identity_of(&laptop);
    let stranger = Attacker::new(random());
    let introduce = Message::Introduce.to_bytes().unwrap();
    let control = Message::Control { records: vec![vec![0xa1; 40].into()] }.to_bytes().unwrap();
    let mut waiting = Vec::new();
    for node in [&laptop, &phone, &cloud] {
        let bare = dial_without_certificate(node.listen, &name).await;
        assert!(bare.is_err(), "{} speaks to somebody without a key", node.name);
        for frames in [
            vec![hello(&identity), introduce.clone()],
            vec![hello(&identity), control.clone()],
            vec![control.clone()],
            vec![random::<64>().to_vec()],
            vec![vec![0; 4 << 20]],
        ] {
            let link = stranger.dial(node.listen, &name).await.unwrap();
            is_turned_away(&say_in_vain(&link, &frames).await);
        }
        tells_addresses(&stranger, node, &name).await;
        waiting.push(Waiting::at(node, &name, &hello(&identity)).await);
        let elsewhere = stranger.dial(node.listen, "somebody-else.rhizome").await;
        assert!(matches!(elsewhere, Err(ConnectError::UnknownName { .. })), "{elsewhere:?}");
    }
    still(&laptop, &before).await;
    still(&phone, &before).await;
    laptop.commit("notes/two", json!({ "text": "life goes on" })).await;
    laptop.ask::<SnapshotCreate>(&Empty {}).await;
    laptop.settle(Durability::Pinned).await;
    agree(&[&laptop, &phone]).await;
    // While all that went on, those who waited heard nothing of it.
    for waiting in waiting {
        waiting.heard_nothing().await;
    }
    // Nor is anything of them noted.
    for node in [&laptop, &phone, &cloud] {
        let home = Home::open(&node.dir).unwrap().identities().unwrap().remove(0);
        let meta = std::fs::read_to_string(home.dir().join("meta.json")).unwrap();
        assert!(!meta.contains(NOWHERE), "{} notes what a stranger told: {meta}", node.name);
        let noted = &home.meta().unwrap().heard_ms;
        let known: Vec<String> = laptop.devices().await.into_iter().map(|one| one.id).collect();
        assert!(noted.keys().all(|id| known.contains(id)), "{} noted {noted:?}", node.name);
    }
}

/// Tells, as a stranger, where it and others are reached.
async fn tells_addresses(stranger: &Attacker, node: &Node, name: &str) {
    let link = stranger.dial(node.listen, name).await.unwrap();
    let other = DeviceId([7; 32]).to_string();
    let addresses = vec![NOWHERE.to_owned()];
    let others = [(other, addresses.clone())].into();
    let told = encode(&Addresses { k: AddressesKind, v: 1, addresses, others }).unwrap();
    let (mut sender, mut receiver) = link.open(ADDRESSES).await.unwrap();
    sender.send(&told).await.unwrap();
    sender.finish().await.unwrap();
    // Whatever the pod makes of it, it is done with the stream.
    if let Ok(Some(frame)) = receiver.receive().await {
        panic!("a stranger is told {frame:?}");
    }
    link.close(0, "told enough");
}

/// A stranger who said hello and waits for what it might be told.
struct Waiting {
    attacker: Attacker,
    link: Link,
    listening: tokio::task::JoinHandle<Vec<Vec<u8>>>,
    _sender: FrameSender,
}

impl Waiting {
    async fn at(node: &Node, name: &str, hello: &[u8]) -> Self {
        // With a key of its own: a newer link of the same key takes the place of an older one.
        let attacker = Attacker::new(random());
        let link = attacker.dial(node.listen, name).await.unwrap();
        let (mut sender, mut receiver) = link.open(SESSION).await.unwrap();
        sender.send(hello).await.unwrap();
        sender.flush().await.unwrap();
        // The question shows that the pod has taken the hello.
        let frame = receiver.receive().await.unwrap().expect("the pod asks who it is");
        is_introduction(&frame);
        let listening = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Ok(Some(frame)) = receiver.receive().await {
                heard.push(frame.to_vec());
            }
            heard
        });
        Self { attacker, link, listening, _sender: sender }
    }

    async fn heard_nothing(self) {
        assert!(!self.listening.is_finished(), "the pod hung up before it could tell anything");
        self.link.close(0, "heard enough");
        let heard = self.listening.await.unwrap();
        heard.iter().for_each(|frame| is_introduction(frame));
        self.attacker.endpoint.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_key_is_not_spoken_to() {
    let world = World::new();
    let (laptop, mut phone, _cloud) = trio(&world).await;
    phone.stop().await;
    let before = laptop.hash().await.unwrap();
    let impostor = Attacker::listening(random(), phone.listen);
    let dialled = phone.cable.counts().up_datagrams;
    laptop.set("notes/wanted", json!({ "text": "for the phone alone" })).await;
    let look = || async {
        let now = phone.cable.counts().up_datagrams;
        if now > dialled + 2 { Ok(()) } else { Err(format!("{now} datagrams")) }
    };
    until("the laptop dials the impostor", PATIENCE, look).await;
    let taken_in = tokio::time::timeout(Duration::from_secs(2), impostor.endpoint.accept()).await;
    assert!(taken_in.is_err(), "the laptop finished a handshake with an impostor");
    let phone_seen = laptop.devices().await;
    assert!(phone_seen.iter().all(|one| one.name != "phone" || !one.connected), "{phone_seen:?}");
    impostor.endpoint.close().await;
    drop(impostor);
    let look = || async { std::net::UdpSocket::bind(phone.listen).map_err(|e| e.to_string()) };
    // Its socket is given free by a task that ends a little later.
    drop(until("the impostor's port is free", PATIENCE, look).await);
    phone.start().await;
    phone.hears("notes/wanted").await;
    assert_ne!(agree(&[&laptop, &phone]).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_told_nothing_but_that_and_believed_nothing() {
    let world = World::new();
    let (mut laptop, mut phone, mut cloud) = trio(&world).await;
    agree(&[&laptop, &phone]).await;
    let (seed, stolen) = seed_of(&phone);
    let (name, identity) = identity_of(&laptop);
    phone.stop().await;
    let confirm = Some("phone".to_owned());
    let request = LostRequest { device: "phone".to_owned(), confirm, dry_run: false, words: None };
    laptop.ask::<DeviceLost>(&request).await;
    laptop.commit("notes/after", json!({ "text": "not for the thief" })).await;
    let before = laptop.hash().await.unwrap();

    // The stolen phone writes on, out of reach of everybody who could tell it.
    laptop.stop().await;
    cloud.stop().await;
    phone.start().await;
    phone.set("notes/forged", json!({ "text": "as if nothing had happened" })).await;
    phone.stop().await;
    laptop.start().await;
    cloud.start().await;
    laptop.meets("cloud").await;

    // The thief asks everybody, and is shown why it is told nothing.
    let thief = Attacker::new(seed);
    for node in [&laptop, &cloud] {
        let link = thief.dial(node.listen, &name).await.unwrap();
        let (ended, heard) = say(&link, &[hello(&identity)]).await;
        is_turned_away(&ended);
        is_told_of_the_removal_alone(&heard, stolen);
    }
    // The phone itself tries to bring what it wrote.
    phone.start().await;
    let look = || async {
        let state = phone.status().await.state;
        let reason = state.reason.unwrap_or_default();
        if reason.contains("was removed from the identity") { Ok(()) } else { Err(reason) }
    };
    until("the phone hears that it was removed", PATIENCE, look).await;
    assert!(phone.get("notes/forged").await.is_ok(), "it keeps what it has");
    assert!(phone.get("notes/after").await.is_err(), "the thief reads what is new");
    laptop.commit("notes/later", json!({ "text": "life goes on" })).await;
    assert!(phone.get("notes/later").await.is_err(), "the thief reads what is new");
    assert!(laptop.get("notes/forged").await.is_err(), "the thief is believed");
    assert_ne!(laptop.hash().await.unwrap(), before);

    // Nor after a restart.
    laptop.stop().await;
    laptop.start().await;
    assert!(laptop.get("notes/forged").await.is_err());
}

/// A removed device is shown the record that removed it and what leads there, and nothing else.
#[track_caller]
fn is_told_of_the_removal_alone(heard: &[Vec<u8>], removed: DeviceId) {
    let mut shown = Vec::new();
    for frame in heard {
        match Message::from_bytes(frame).unwrap() {
            Message::Introduce => {}
            Message::Control { records } => shown.extend(records),
            message => panic!("a removed device is told {message:?}"),
        }
    }
    let last = shown.last().expect("it is told why");
    let record = ControlRecord::from_bytes(last).unwrap();
    let ControlBody::RevokeDevice(revoke) = record.body() else { panic!("{record:?}") };
    assert_eq!(revoke.device, removed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_forges_gets_errors_and_changes_nothing() {
    let world = World::new();
    let (mut desktop, mut laptop) = (world.node("desktop").await, world.node("laptop").await);
    let mut cloud = world.host("cloud").await;
    grow(&mut desktop, &mut laptop, &mut cloud).await;
    cloud.kill();
    desktop.settle(Durability::Committed).await;
    let (seed, hostile) = seed_of(&cloud);
    let peek = Peek::at(&mut desktop, hostile).await;
    laptop.meets("desktop").await;
    desktop.commit("notes/before", json!({ "n": 1 })).await;
    laptop.settle(Durability::Committed).await;
    let before = agree(&[&desktop, &laptop]).await;

    let (name, _) = identity_of(&desktop);
    let attacker = Attacker::new(seed);
    for victim in [&desktop, &laptop] {
        let link = attacker.dial(victim.listen, &name).await.unwrap();
        let speaker = Speaker { link, peek: &peek };
        speaker.forges_everything().await;
        assert_eq!(victim.status().await.order.voters.len(), 3);
    }
    garbage_sessions(&attacker, &desktop, &name).await;
    still(&desktop, &before).await;
    still(&laptop, &before).await;
    desktop.commit("notes/without", json!({ "n": 2 })).await;
    cloud.start().await;
    desktop.meets("cloud").await;
    laptop.kill();
    desktop.commit("notes/with", json!({ "n": 3 })).await;
    laptop.start().await;
    laptop.hears("notes/with").await;
    laptop.settle(Durability::Committed).await;
    agree(&[&desktop, &laptop]).await;
}

/// A device of the identity that breaks the session's protocol is cut off, each time.
async fn garbage_sessions(attacker: &Attacker, victim: &Node, name: &str) {
    let forged = forge::certificate_of_one();
    let order = Message::Order { entries: vec![vec![1, 2, 3].into()], certificate: forged };
    let record = Message::Control { records: vec![vec![0xa0; 30].into()] };
    for frame in [
        Vec::new(),
        vec![0xff; 100],
        random::<64>().to_vec(),
        vec![0xa1; (4 << 20) - 1],
        order.to_bytes().unwrap(),
        record.to_bytes().unwrap(),
    ] {
        let link = attacker.dial(victim.listen, name).await.unwrap();
        is_turned_away(&say(&link, &[frame]).await.0);
    }
}

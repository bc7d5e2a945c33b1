//! The control of the canary test, in a build whose sealing is off: the same search must hit on the
//! host's disk. `cargo test -p rhizome-it --features unsealed canary_control`
//!
//! Such a build serves nobody, so two pods run in here and one asks the other to be its host, in
//! the words of `docs/format/conversations.md`.

use super::scan::Scanner;
use super::{token, tokens_of};
use crate::support::{PATIENCE, World, random, until};
use rhizome_block::{decode, encode, kind};
use rhizome_identity::{Acceptance, DeviceId, DeviceKind, Signature};
use rhizome_net::{Endpoint, Expect, KeyRing, NetConfig};
use rhizome_pod::{DEFAULT_APP, Pod, PodOptions};
use rhizome_replica::Command;
use rhizome_schema::{DocPath, Fields, Value};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;
use std::sync::Arc;

const TOKENS: usize = 200;

/// Kind of the stream on which somebody asks to be hosted.
const HOST_STREAM: u8 = 5;

kind! {
    /// Kind of a message of that conversation.
    HostKind = "host"
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    k: HostKind,
    v: u8,
    body: HostMessage,
}

#[derive(Serialize, Deserialize)]
enum HostMessage {
    Ask { genesis: ByteBuf, records: Vec<ByteBuf> },
    Accept { device: DeviceId, signature: Signature },
    Admitted { records: Vec<ByteBuf> },
    Hosted,
}

struct NoKeys;

impl KeyRing for NoKeys {
    fn server_key(&self, _name: &str) -> Option<[u8; 32]> {
        None
    }
}

/// Makes `cloud` the host of the identity of `laptop`.
async fn become_host(laptop: &Pod, cloud: &Pod) {
    let identity = laptop.current().unwrap();
    let log = || async {
        let look = identity.handle.look(|replica, _| {
            let control = replica.control();
            let chain = control.chain_from(1).into_iter();
            let records = chain.map(|record| ByteBuf::from(record.to_bytes())).collect();
            (ByteBuf::from(control.genesis().to_bytes()), records, control.state().root())
        });
        look.await.unwrap()
    };
    let endpoint = Endpoint::bind(NetConfig::default(), Arc::new(NoKeys)).unwrap();
    let dialled = endpoint.connect(cloud.listening(), "host.rhizome", random(), Expect::Any);
    let link = dialled.await.unwrap();
    let (mut sender, mut receiver) = link.open(HOST_STREAM).await.unwrap();
    let (genesis, records, root) = log().await;
    let ask = Envelope { k: HostKind, v: 1, body: HostMessage::Ask { genesis, records } };
    sender.send(&encode(&ask).unwrap()).await.unwrap();
    sender.flush().await.unwrap();
    let answer: Envelope = decode(&receiver.receive().await.unwrap().unwrap()).unwrap();
    let HostMessage::Accept { device, signature } = answer.body else {
        panic!("it does not accept")
    };
    let kind = DeviceKind::CloudPeer;
    let acceptance = Acceptance { root, signing: device, sealing: None, kind };
    let command = Command::Admit { acceptance, signature, name: token() };
    identity.handle.command(command).await.unwrap();
    let (_, records, _) = log().await;
    let admitted = Envelope { k: HostKind, v: 1, body: HostMessage::Admitted { records } };
    sender.send(&encode(&admitted).unwrap()).await.unwrap();
    sender.flush().await.unwrap();
    let done: Envelope = decode(&receiver.receive().await.unwrap().unwrap()).unwrap();
    assert!(matches!(done.body, HostMessage::Hosted));
    let address = cloud.listening().to_string();
    let noted = identity.home.change_meta(|meta| {
        meta.addresses.insert(device.to_string(), vec![address]);
    });
    noted.unwrap();
    identity.wake.notify_one();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canary_control_a_program_without_sealing_serves_nobody() {
    let world = World::new();
    let dir = world.dir().join("laptop");
    let options = PodOptions { dir: dir.clone(), ..PodOptions::default() };
    let refused = rhizome_pod::run(options).await.unwrap_err();
    assert!(refused.message.contains("without sealing"), "{refused:?}");
    assert!(!dir.exists(), "it has made a folder for data all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canary_control_without_sealing_the_same_search_hits_on_the_host() {
    let world = World::new();
    let options = |name: &str, host| PodOptions {
        dir: world.dir().join(name),
        host,
        ..PodOptions::default()
    };
    let laptop = Pod::start(options("laptop", false)).await.unwrap();
    let cloud = Pod::start(options("cloud", true)).await.unwrap();
    let identity = laptop.create_identity("Ana", "laptop", DeviceKind::Laptop).unwrap();
    become_host(&laptop, &cloud).await;
    let tokens: Vec<String> = (0..TOKENS).map(|_| token()).collect();
    for token in &tokens {
        let path = DocPath::parse(&format!("notes/{token}")).unwrap();
        let mut fields = Fields::new();
        fields.insert("text".to_owned(), Value::Text(token.clone()));
        let body = rhizome_doc::Batch::new(vec![rhizome_doc::Mutation::set(path, fields)]);
        let body = body.to_body().unwrap();
        identity.handle.write(DEFAULT_APP, None, body).await.unwrap();
    }
    let scanner = Scanner::new(&tokens);
    let dir = world.dir().join("cloud");
    let look = || async {
        let hits = scanner.scan_folder(&dir);
        let found: BTreeSet<usize> = hits.values().flat_map(tokens_of).collect();
        if found.len() == TOKENS { Ok(hits.len()) } else { Err(format!("{} hits", found.len())) }
    };
    let places = until("the host's disk tells everything", PATIENCE, look).await;
    println!("{TOKENS} canaries found in {places} files of the host");
    drop(identity);
    laptop.stop().await;
    cloud.stop().await;
}

//! Inputs that no stored format is, and that the fuzzer would be long in finding: several records,
//! frames or blocks in one. They are kept under `corpus/`, because the fuzzer reads files; one that
//! is missing there is written by the tests with `UPDATE_FIXTURES=1`.

use crate::{family, session};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};
use rhizome_block::prolly::{self, Root};
use rhizome_block::tree::{self, TreeRef};
use rhizome_block::{Block, Cid, Codec, Link, Version, decode, encode};
use rhizome_cluster::{Chain, EntryBody};
use rhizome_identity::link::Introduction;
use rhizome_identity::{Acceptance, DeviceKind};
use rhizome_log::{Clock, Payload, PayloadKind, Run, Seen};
use rhizome_raft::{
    Ballot, Batch, EntryRecord, EntryRecordKind, LogAt, NodeId, RaftEntry, RaftRecord,
};
use rhizome_replica::{Manifest, Message, PinPurpose};
use rhizome_seal::{EpochSecret, seal_block};
use serde_bytes::ByteBuf;
use std::sync::Arc;

/// One seed.
#[derive(Debug)]
pub struct Seed {
    /// For which target.
    pub target: &'static str,
    /// Name of its file.
    pub name: &'static str,
    /// What it is.
    pub bytes: Vec<u8>,
    /// How many doors it passes there.
    pub doors: u32,
}

fn seed(target: &'static str, name: &'static str, doors: u32, bytes: Vec<u8>) -> Seed {
    Seed { target, name, bytes, doors }
}

fn list<T: AsRef<[u8]>>(parts: &[T]) -> Vec<u8> {
    let parts: Vec<ByteBuf> = parts.iter().map(|one| ByteBuf::from(one.as_ref())).collect();
    encode(&parts).expect("bytes have a form")
}

/// All of them.
///
/// # Panics
///
/// If one cannot be made, which would be our mistake.
#[must_use]
pub fn all() -> Vec<Seed> {
    [control(), sessions(), raft(), snapshot(), link()].into_iter().flatten().collect()
}

fn control() -> Vec<Seed> {
    let records: [&[u8]; 5] = [
        include_bytes!("../../../root/identity/fixtures/control-set-policy.v1.cbor"),
        include_bytes!("../../../root/identity/fixtures/control-add-device.v1.cbor"),
        include_bytes!("../../../root/identity/fixtures/control-rotate-epoch.v1.cbor"),
        include_bytes!("../../../root/identity/fixtures/control-dormant.v1.cbor"),
        include_bytes!("../../../root/identity/fixtures/control-revoke-device.v1.cbor"),
    ];
    let words = family::kit().words().join(" ");
    vec![
        seed("control", "records.cbor", 14, list(&records)),
        seed("control", "words.txt", 1, words.into_bytes()),
        seed("control", "letters.txt", 1, family::kit().code().as_bytes().to_vec()),
    ]
}

fn sessions() -> Vec<Seed> {
    let stored: Run = decode(include_bytes!("../../../root/log/fixtures/run-v1.cbor"))
        .expect("the stored run reads");
    let payload = Payload {
        k: PayloadKind,
        v: Version,
        app: None,
        deps: Vec::new(),
        hlc: Clock::at_ms(family::START_MS),
        schema: None,
        body: b"written".to_vec(),
    };
    let body = ByteBuf::from(encode(&payload).expect("a payload has a form"));
    // An even place: it is mended to follow what the replica holds.
    let mut run = Run { first: 2, ..stored };
    run.stretches.truncate(1);
    run.stretches[0].bodies = vec![body.clone(), body, ByteBuf::from(vec![1; 40])];
    let sealed = Block::raw(vec![1; 100]);
    let (seen, cids) = (Seen { g: 1, i: 1, c: [1; 32] }, vec![sealed.cid]);
    let manifest = Manifest::new(PinPurpose::Attachment, seen, cids, vec![2; 20]);
    let manifest = manifest.sign(&family::keys(1).signing);
    let revoked = include_bytes!("../../../root/identity/fixtures/control-revoke-device.v1.cbor");
    let offer = Message::Offer { manifest: manifest.bytes.into() };
    let blocks = Message::Blocks { blocks: vec![(sealed.cid, sealed.bytes.into())] };
    let revoke = Message::Control { records: vec![ByteBuf::from(revoked.to_vec())] };
    let told: Vec<Message> = session::said().to_vec();
    vec![
        seed("session", "run.cbor", 2, bytes(&Message::Run { run: run.clone() })),
        seed("session", "conversation.bin", 5, frames(&told)),
        seed("session", "offer.bin", 4, frames(&[offer, blocks])),
        seed("session", "removed.bin", 3, frames(&[revoke, Message::Run { run }])),
    ]
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_bytes().expect("a message fits a frame")
}

fn frames(messages: &[Message]) -> Vec<u8> {
    let frame = |message: &Message| {
        let bytes = bytes(message);
        let length = u32::try_from(bytes.len()).expect("a frame is short");
        [&length.to_be_bytes(), &bytes[..]].concat()
    };
    messages.iter().flat_map(frame).collect()
}

/// Three entries that go on where the voters of `rhizome_raft::fuzz` begin.
fn raft() -> Vec<Seed> {
    let mut chain = Chain::from(Seen { g: 1, i: 10, c: [1; 32] });
    let mut records = Vec::new();
    for index in 0..3_u64 {
        let record = Cid::of(Codec::DagCbor, &index.to_be_bytes());
        let body = EntryBody::Control { record };
        let end = chain.push(2, body.clone()).seen;
        let at = LogAt { term: 1, node: NodeId([1; 32]), index };
        let payload = rhizome_raft::Payload::Bodies(Batch(Arc::new(vec![body])));
        let entry = RaftEntry { at, payload };
        let (k, v, generation) = (EntryRecordKind, Version, 2);
        records.push(RaftRecord::Entry(EntryRecord { k, v, generation, entry, end }));
    }
    let ballot = Ballot { term: 4, node: NodeId([1; 32]), granted: true };
    let (k, v, generation) = (rhizome_raft::VoteRecordKind, Version, 2);
    records.push(RaftRecord::Vote(rhizome_raft::VoteRecord { k, v, generation, ballot }));
    let k = rhizome_raft::TruncateRecordKind;
    let truncate = rhizome_raft::TruncateRecord { k, v, generation, since: 2 };
    records.push(RaftRecord::Truncate(truncate));
    let blocks: Vec<Vec<u8>> = records.iter().map(|one| one.block().bytes).collect();
    vec![seed("raft", "records.cbor", 2, list(&blocks))]
}

fn snapshot() -> Vec<Seed> {
    let mut blocks = Vec::new();
    let root: Root = {
        let mut seal = |plain: &[u8]| keep(&mut blocks, plain);
        let value = |n: u64| if n == 7 { vec![7; 1500] } else { vec![1; 5] };
        let entries = (0..40_u64).map(|n| (n.to_be_bytes().to_vec(), value(n), n % 5));
        prolly::build(entries, &[5; 32], &mut seal).expect("the keys ascend")
    };
    let mut parts = vec![encode(&root).expect("a root has a form")];
    parts.extend(wanted(&root, &blocks));
    let mut chunk = Vec::new();
    let tree: TreeRef = tree::build(b"a short value", &mut |plain| keep(&mut chunk, plain));
    let tree = vec![encode(&tree).expect("a tree has a form"), chunk[0].1.clone()];
    let is_leaf = |(_, block): &&(Cid, Vec<u8>)| {
        prolly::node_links(block).is_ok_and(|links| links.children.is_empty())
    };
    let leaf = blocks.iter().find(is_leaf).expect("a tree has leaves").1.clone();
    vec![
        seed("snapshot", "prolly.cbor", 3, list(&parts)),
        seed("snapshot", "tree.cbor", 3, list(&tree)),
        seed("snapshot", "node.cbor", 4, leaf),
        seed("snapshot", "frame.bin", 1, frame()),
    ]
}

fn keep(blocks: &mut Vec<(Cid, Vec<u8>)>, plain: &[u8]) -> Link {
    let block = Block::raw(plain.to_vec());
    blocks.push((block.cid, block.bytes));
    Link { cid: block.cid, key: [0; 32] }
}

/// The blocks in the order in which a reader asks for them one by one.
fn wanted(root: &Root, blocks: &[(Cid, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut reader = prolly::Reader::new(*root, u64::MAX).expect("the tree is small");
    let mut open = |_: &Link, sealed: &[u8]| Ok(sealed.to_vec());
    let mut order = Vec::new();
    while let Some(cid) = reader.wanted(1).first().copied() {
        let found = blocks.iter().find(|(name, _)| *name == cid).expect("every block was kept");
        reader.supply(&cid, &found.1, &mut open).expect("the tree was just built");
        order.push(found.1.clone());
    }
    order
}

/// The frame of a compressed block up to the length of its contents, then its contents.
fn frame() -> Vec<u8> {
    let sealed = seal_block(&EpochSecret::from_bytes([2; 32]), &[b'a'; 3000]);
    let cipher = XChaCha20Poly1305::new((&sealed.key).into());
    let frame = cipher.decrypt((&[0; 24]).into(), &sealed.bytes[..]).expect("its own key opens it");
    let (head, rest) = frame.split_at(10);
    let contents: [u8; 4] = head[6..].try_into().expect("four of ten bytes");
    let contents = usize::try_from(u32::from_le_bytes(contents)).expect("a length is short");
    [&head[..6], &rest[..contents]].concat()
}

fn link() -> Vec<Seed> {
    let (keys, kind) = (family::keys(5), DeviceKind::Phone);
    let acceptance = Acceptance::of(keys, family::genesis().root(), kind);
    let introduction = Introduction {
        name: "a phone".to_owned(),
        kind,
        signing: keys.device_id(),
        sealing: keys.sealing_public(),
        acceptance: acceptance.sign(&keys.signing),
    };
    let introduction = encode(&introduction).expect("an introduction has a form");
    vec![
        seed("link", "introduction.cbor", 1, introduction),
        seed("link", "code.txt", 1, b"33-promote-mix-coach".to_vec()),
        seed("link", "invitation.txt", 1, b"RZ1:192.0.2.7:7733#33-promote-mix-coach".to_vec()),
    ]
}

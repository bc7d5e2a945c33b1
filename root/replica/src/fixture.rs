//! Stored bytes of version 1 of messages, manifests and bases, read back.
//!
//! A fixture is written once, by running the test with `UPDATE_FIXTURES=1`, and committed; from
//! then on the test compares with what is stored and never writes.
#![expect(clippy::disallowed_methods, reason = "test: reads and first writes committed fixtures")]

use crate::keys::{AdoptedKeys, AdoptedKeysKind};
use crate::{
    Base, BaseKind, BaseLog, ControlHead, Manifest, ManifestError, Message, MessageError,
    PinPurpose, Seal, SealError,
};
use rhizome_block::{CborError, Cid, Codec, Version, decode, encode, peek_kind};
use rhizome_cluster::Certificate;
use rhizome_identity::{EpochId, SigningKeys};
use rhizome_log::{Clock, Event, EventId, Head, LogId, LogTag, Run, RunSignature, Seen, Slot};
use serde_bytes::{ByteArray, ByteBuf};
use std::error::Error;
use std::path::PathBuf;

/// The stored bytes, which must equal `current`.
#[track_caller]
fn stored(name: &str, current: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if !path.exists() && std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, current).unwrap();
    }
    let stored = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{name}: {error}; UPDATE_FIXTURES=1 writes a new one"));
    assert!(stored == current, "{name} no longer reads as it was written");
    stored
}

const SEEN: Seen = Seen { g: 1, i: 300, c: [7; 32] };

fn keys() -> SigningKeys {
    SigningKeys::from_secret([1; 32])
}

fn cid(name: &[u8]) -> Cid {
    Cid::of(Codec::DagCbor, name)
}

fn log() -> LogId {
    LogId { author: keys().device_id(), tag: LogTag([8; 16]), incarnation: 0 }
}

fn run() -> Run {
    let epoch = EpochId { n: 0, record: cid(b"genesis") };
    let slot = Slot { log: log(), seq: 1, prev: None, epoch, seen: SEEN };
    let event = Event::at(&slot, vec![9; 104]).unwrap();
    let signature = RunSignature::sign(&keys(), log(), Head { seq: 1, id: event.id });
    Run::pack(&[event], signature)
}

/// One of every message.
fn messages() -> Vec<(&'static str, Message)> {
    let certificate = Certificate::new(SEEN, Vec::new());
    let heads = vec![(log(), 300)];
    let bytes = |text: &[u8]| ByteBuf::from(text.to_vec());
    let control = ControlHead { height: 2, record: cid(b"record") };
    let pins = vec![cid(b"manifest")];
    vec![
        (
            "hello",
            Message::Hello { control, order: SEEN, heads: heads.clone(), pins: pins.clone() },
        ),
        ("introduce", Message::Introduce),
        ("control", Message::Control { records: vec![bytes(b"record")] }),
        ("order", Message::Order { entries: vec![bytes(b"entry")], certificate }),
        ("order-at", Message::OrderAt { seen: SEEN }),
        ("heads", Message::Heads { heads }),
        ("run", Message::Run { run: run() }),
        ("refused", Message::Refused { log: log(), held: 299 }),
        ("enough", Message::Enough { log: log() }),
        ("want", Message::Want { log: log(), after: 299 }),
        ("offer", Message::Offer { manifest: bytes(b"manifest") }),
        ("want-blocks", Message::WantBlocks { cids: vec![cid(b"block")] }),
        ("blocks", Message::Blocks { blocks: vec![(cid(b"block"), bytes(b"block"))] }),
        ("seals", Message::Seals { seals: vec![bytes(b"seal")] }),
        ("kept", Message::Kept { pins }),
    ]
}

#[test]
fn every_message_of_version_1_reads_back() {
    for (name, message) in messages() {
        let bytes = message.to_bytes().unwrap();
        let bytes = stored(&format!("message-{name}-v1.cbor"), &bytes);
        assert_eq!(peek_kind(&bytes), Some("message"));
        assert_eq!(Message::from_bytes(&bytes).unwrap(), message, "{name}");
    }
}

#[test]
fn other_versions_are_refused_by_their_number() {
    let mut bytes = Message::Introduce.to_bytes().unwrap();
    bytes = version_2(&bytes, 1);
    let error = Message::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, MessageError::Version { version: 2 }), "{error}");
    let base = Base::read(&version_2(&base().block().bytes, 1)).unwrap_err();
    assert!(matches!(base, CborError::Version { version: 2 }), "{base}");
    let manifest = Manifest::new(PinPurpose::Snapshot, SEEN, Vec::new(), Vec::new()).sign(&keys());
    let outer = Manifest::read(&version_2(&manifest.bytes, 1)).unwrap_err();
    assert!(matches!(outer, ManifestError::Version { version: 2 }), "{outer}");
    let inner = Manifest::read(&version_2(&manifest.bytes, 2)).unwrap_err();
    assert!(inner.source().unwrap().to_string().contains("version 2 is not known"), "{inner:?}");
}

/// `bytes` with the version of its `nth` format made 2.
fn version_2(bytes: &[u8], nth: usize) -> Vec<u8> {
    let places = bytes.windows(3).enumerate().filter(|(_, three)| three == b"\x61v\x01");
    let (at, _) = places.into_iter().nth(nth - 1).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at + 2] = 2;
    bytes
}

#[test]
fn a_seal_of_version_1_reads_back_signed_and_no_changed_byte_does() {
    let good = stored("seal-v1.cbor", &Seal::sign(&keys(), SEEN, [5; 32]).bytes);
    assert_eq!(peek_kind(&good), Some("seal"));
    let read = Seal::read(&good).unwrap();
    assert_eq!((read.seen, read.state, read.author), (SEEN, [5; 32], keys().device_id()));
    let newer = Seal::read(&version_2(&good, 1)).unwrap_err();
    assert!(matches!(newer, SealError::Version { version: 2 }), "{newer}");
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert!(Seal::read(&bytes).is_err(), "byte {at}");
    }
}

#[test]
fn no_changed_byte_of_a_stored_manifest_reads_as_signed() {
    let blocks = vec![Cid::of(Codec::Raw, b"one")];
    let good = Manifest::new(PinPurpose::Snapshot, SEEN, blocks, b"sealed root".to_vec());
    let good = good.sign(&keys()).bytes;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert!(Manifest::read(&bytes).is_err(), "byte {at}");
    }
}

#[test]
fn a_manifest_of_version_1_reads_back_signed() {
    for (name, purpose) in
        [("attachment", PinPurpose::Attachment), ("snapshot", PinPurpose::Snapshot)]
    {
        let blocks = vec![Cid::of(Codec::Raw, b"one"), Cid::of(Codec::Raw, b"two")];
        let block = Manifest::new(purpose, SEEN, blocks.clone(), b"sealed root".to_vec());
        let block = block.sign(&keys());
        let bytes = stored(&format!("manifest-{name}-v1.cbor"), &block.bytes);
        assert_eq!(peek_kind(&bytes), Some("manifest"));
        let read = Manifest::read(&bytes).unwrap();
        assert_eq!((read.purpose, read.blocks, read.seen), (purpose, blocks, SEEN));
        assert_eq!(read.author, keys().device_id());
    }
}

fn base() -> Base {
    Base {
        k: BaseKind,
        v: Version,
        seen: SEEN,
        control: cid(b"record"),
        generations: vec![(1, Seen { g: 0, i: 0, c: [1; 32] })],
        logs: vec![BaseLog {
            log: log(),
            head: Some(Head { seq: 300, id: EventId(cid(b"event")) }),
            placed: 302,
            allowed: Some(Head { seq: 300, id: EventId(cid(b"event")) }),
            clock: Clock::at_ms(1_700_000_000_000),
            knows: vec![(LogId { incarnation: 1, ..log() }, 4)],
            app: Some("org.rhizome.pod".to_owned()),
        }],
        manifest: Some(cid(b"manifest")),
    }
}

#[test]
fn a_base_of_version_1_reads_back() {
    let base = base();
    let bytes = stored("base-v1.cbor", &base.block().bytes);
    assert_eq!(peek_kind(&bytes), Some("base"));
    assert_eq!(Base::read(&bytes).unwrap(), base);
}

#[test]
fn keys_of_an_adopted_identity_of_version_1_read_back() {
    let keys = AdoptedKeys {
        k: AdoptedKeysKind,
        v: Version,
        fixed: ByteArray::new([1; 32]),
        epochs: vec![(EpochId { n: 0, record: cid(b"genesis") }, ByteArray::new([2; 32]))],
        tags: vec![LogTag([8; 16])],
    };
    let bytes = stored("adopted-keys-v1.cbor", &encode(&keys).unwrap());
    assert_eq!(peek_kind(&bytes), Some("adopted-keys"));
    assert_eq!(decode::<AdoptedKeys>(&bytes).unwrap(), keys);
    let newer = decode::<AdoptedKeys>(&version_2(&bytes, 1)).unwrap_err();
    assert!(matches!(newer, CborError::Version { version: 2 }), "{newer}");
}

#[test]
fn cut_messages_and_messages_with_one_byte_too_many_are_refused() {
    for (name, message) in messages() {
        let good = message.to_bytes().unwrap();
        for length in 0..good.len() {
            assert!(Message::from_bytes(&good[..length]).is_err(), "{name} cut to {length}");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(Message::from_bytes(&longer).is_err(), "{name}");
        let value: Message = Message::from_bytes(&good).unwrap();
        assert_eq!(encode(&decode::<Whole>(&good).unwrap()).unwrap(), good, "{name}");
        assert_eq!(value, message);
    }
}

/// The envelope around a message, as `docs/format/session.md` draws it.
#[derive(serde::Serialize, serde::Deserialize)]
struct Whole {
    k: String,
    v: u8,
    body: Message,
}

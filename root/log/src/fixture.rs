//! Stored bytes of version 1 of events and runs, read back.
//!
//! A fixture is written once, by running the test with `UPDATE_FIXTURES=1`, and committed; from
//! then on the test compares with what is stored and never writes.
#![expect(clippy::disallowed_methods, reason = "test: reads and first writes committed fixtures")]

use crate::{
    Clock, Dep, Event, EventError, EventId, Head, LogId, LogTag, Payload, PayloadKind, Run,
    RunError, RunSignature, Seen, Slot,
};
use rhizome_block::{Cid, Codec, Version, decode, encode, peek_kind};
use rhizome_identity::{EpochId, SigningKeys};
use rhizome_seal::{EpochSecret, EventKey};
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

fn keys() -> SigningKeys {
    SigningKeys::from_secret([1; 32])
}

fn event_key(log: &LogId) -> EventKey {
    EventKey::derive(&EpochSecret::from_bytes([2; 32]), &log.tag.0)
}

fn cid(name: &[u8]) -> Cid {
    Cid::of(Codec::DagCbor, name)
}

fn payload(n: u64) -> Payload {
    let other = LogId { author: keys().device_id(), tag: LogTag([9; 16]), incarnation: 3 };
    Payload {
        k: PayloadKind,
        v: Version,
        app: (n == 1).then(|| "org.rhizome.pod".to_owned()),
        deps: vec![Dep { log: other, seq: 4, id: EventId(cid(b"other")) }],
        hlc: Clock::at_ms(1_700_000_000_000),
        schema: Some(cid(b"schema")),
        body: b"what the app wrote".to_vec(),
    }
}

/// Two events, the second after a change of epoch and order.
fn events() -> Vec<Event> {
    let log = LogId { author: keys().device_id(), tag: LogTag([8; 16]), incarnation: 0 };
    let mut events: Vec<Event> = Vec::new();
    for n in 1..=2_u8 {
        let slot = Slot {
            log,
            seq: u64::from(n),
            prev: events.last().map(|event| event.id),
            epoch: EpochId { n: u32::from(n), record: cid(b"control record") },
            seen: Seen { g: 1, i: 300 * u64::from(n), c: [n; 32] },
        };
        let event = slot.seal(&event_key(&log), [n; 24], &payload(u64::from(n)));
        events.push(event.unwrap());
    }
    events
}

fn signature(events: &[Event]) -> RunSignature {
    let last = events.last().unwrap();
    RunSignature::sign(&keys(), last.header.log, Head { seq: last.header.seq, id: last.id })
}

#[test]
fn an_event_of_version_1_reads_back_and_opens() {
    let first = events().remove(0);
    let header = stored("event-header-v1.cbor", &first.header_bytes);
    let body = stored("event-body-v1.bin", &first.body);
    assert_eq!(peek_kind(&header), Some("event"));
    let read = Event::read(header, body).unwrap();
    assert_eq!(read, first);
    let opened = read.open(&event_key(&read.header.log)).unwrap();
    assert_eq!(opened, payload(1));
    let plain = stored("payload-v1.cbor", &encode(&opened).unwrap());
    assert_eq!(decode::<Payload>(&plain).unwrap(), payload(1));
}

#[test]
fn a_run_of_version_1_reads_back_and_proves_its_events() {
    let events = events();
    let signature = signature(&events);
    let block = stored("run-signature-v1.cbor", &signature.block().bytes);
    assert_eq!(peek_kind(&block), Some("run"));
    let read = RunSignature::read(&block).unwrap();
    assert_eq!(read, signature);
    read.verify().unwrap();
    let run = Run::pack(&events, signature.clone());
    assert_eq!(run.stretches.len(), 2, "epoch and order changed between the two");
    let bytes = stored("run-v1.cbor", &encode(&run).unwrap());
    let run: Run = decode(&bytes).unwrap();
    assert_eq!(run.unpack().unwrap(), (events, signature));
}

#[test]
fn no_changed_byte_of_a_stored_event_reads_as_that_event() {
    let first = events().remove(0);
    let key = event_key(&first.header.log);
    for at in 0..first.header_bytes.len() {
        let mut header = first.header_bytes.clone();
        header[at] ^= 1;
        let read = Event::read(header, first.body.clone());
        assert!(read.is_err() || read.is_ok_and(|event| event.id != first.id), "byte {at}");
    }
    for at in 0..first.body.len() {
        let mut body = first.body.clone();
        body[at] ^= 1;
        let read = Event::read(first.header_bytes.clone(), body);
        assert!(matches!(read, Err(EventError::BodyMismatch)), "byte {at}");
    }
    let mut moved = first.slot();
    moved.seq += 1;
    let moved = Event::at(&moved, first.body).unwrap();
    assert!(matches!(moved.open(&key), Err(EventError::Seal { .. })), "a body stays in its place");
}

#[test]
fn no_changed_byte_of_a_stored_run_passes_for_it() {
    let events = events();
    let good = encode(&Run::pack(&events, signature(&events))).unwrap();
    let passes = |at: &usize| {
        let mut bytes = good.clone();
        bytes[*at] ^= 1;
        decode::<Run>(&bytes).is_ok_and(|run| run.unpack().is_ok())
    };
    let passed: Vec<usize> = (0..good.len()).filter(passes).collect();
    assert_eq!(passed, []);
}

/// `bytes` with the version behind `kind` made 2.
fn version_2(bytes: &[u8], kind: &str) -> Vec<u8> {
    let length = 0x60 + u8::try_from(kind.len()).unwrap();
    let start = [b"\x61k", [length].as_slice(), kind.as_bytes(), b"\x61v"].concat();
    let at = bytes.windows(start.len()).position(|window| window == start).unwrap();
    let mut bytes = bytes.to_vec();
    assert_eq!(std::mem::replace(&mut bytes[at + start.len()], 2), 1);
    bytes
}

#[test]
fn other_versions_are_refused_by_their_number() {
    let events = events();
    let first = &events[0];
    let header = Event::read(version_2(&first.header_bytes, "event"), first.body.clone());
    assert!(matches!(header, Err(EventError::Version { what: "event header", version: 2 })));
    let plain = version_2(&encode(&payload(1)).unwrap(), "payload");
    let key = event_key(&first.header.log);
    let body = key.seal(&first.slot().associated_data(), [1; 24], &plain);
    let newer = Event::at(&first.slot(), body).unwrap().open(&key);
    assert!(matches!(newer, Err(EventError::Version { what: "payload", version: 2 })));
    let signature = signature(&events);
    let stored = RunSignature::read(&version_2(&signature.block().bytes, "run"));
    assert!(matches!(stored, Err(RunError::Version { version: 2 })));
    let run = version_2(&encode(&Run::pack(&events, signature)).unwrap(), "run");
    let error = decode::<Run>(&run).unwrap_err().to_string();
    assert!(error.contains("version 2 is not known"), "{error}");
}

#[test]
fn a_signature_covers_its_version() {
    let signature = signature(&events());
    let mut signed = vec![1];
    signed.extend(signature.log.to_bytes());
    signed.extend(signature.head.seq.to_be_bytes());
    signed.extend(signature.head.id.0.to_bytes());
    let author = &signature.log.author.0;
    rhizome_identity::verify(author, "run", &signed, &signature.sig).unwrap();
    signed[0] = 2;
    rhizome_identity::verify(author, "run", &signed, &signature.sig).unwrap_err();
}

//! Stored bytes of version 1 of entries and proofs, read back.
//!
//! A fixture is written once, by running the test with `UPDATE_FIXTURES=1`, and committed; from
//! then on the test compares with what is stored and never writes.
#![expect(clippy::disallowed_methods, reason = "test: reads and first writes committed fixtures")]

use crate::{Ack, Certificate, CertificateError, Chain, Entry, EntryBody, EntryError};
use rhizome_block::{CborError, Cid, Codec, decode, encode, peek_kind, peek_version};
use rhizome_identity::{DeviceId, SigningKeys};
use rhizome_log::{EventId, Head, LogId, LogTag, Position, Seen};
use std::collections::BTreeSet;
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

fn voters() -> [SigningKeys; 3] {
    [1, 2, 3].map(|n| SigningKeys::from_secret([n; 32]))
}

fn range() -> Entry {
    let author = voters()[0].device_id();
    let log = LogId { author, tag: LogTag([8; 16]), incarnation: 2 };
    let head = Head { seq: 300, id: EventId(Cid::of(Codec::DagCbor, b"event")) };
    Entry::new(Position { g: 1, i: 1 }, EntryBody::Range { log, from: 1, head })
}

fn control() -> Entry {
    let record = Cid::of(Codec::DagCbor, b"control record");
    Entry::new(Position { g: 2, i: 2 }, EntryBody::Control { record })
}

#[test]
fn entries_of_version_1_read_back_and_chain_to_the_stored_hash() {
    let mut chain = Chain::from(Seen { g: 0, i: 0, c: [7; 32] });
    for (name, entry) in [("entry-range-v1.cbor", range()), ("entry-control-v1.cbor", control())] {
        let bytes = stored(name, &entry.block().bytes);
        assert_eq!(peek_kind(&bytes), Some("entry"));
        let read = Entry::read(&bytes).unwrap();
        assert_eq!(read, entry);
        chain.extend(read).unwrap();
    }
    stored("chain-v1.bin", &chain.end().c);
}

#[test]
fn other_versions_are_refused_by_their_number() {
    let error = Entry::read(&version_2(&range().block().bytes)).unwrap_err();
    assert!(matches!(error, EntryError::Version { version: 2 }), "{error}");
    let seen = Seen { g: 2, i: 300, c: [7; 32] };
    let ack = Ack::sign(&voters()[0], seen);
    let error = decode::<Ack>(&version_2(&encode(&ack).unwrap())).unwrap_err();
    assert!(matches!(error, CborError::Version { version: 2 }), "{error}");
    let certificate = Certificate::new(seen, vec![(ack.device, ack.sig)]);
    let error = Certificate::read(&version_2(&certificate.block().bytes)).unwrap_err();
    assert!(matches!(error, CertificateError::Version { version: 2 }), "{error}");
}

/// `bytes` with the version made 2.
fn version_2(bytes: &[u8]) -> Vec<u8> {
    assert_eq!(peek_version(bytes), Some(1));
    let at = bytes.windows(3).position(|three| three == [0x61, b'v', 1]).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at + 2] = 2;
    bytes
}

#[test]
fn an_acknowledgement_covers_its_version() {
    let ack = Ack::sign(&voters()[0], Seen { g: 2, i: 300, c: [7; 32] });
    let signed = |version: u8| {
        let (g, i) = (2_u64.to_be_bytes(), 300_u64.to_be_bytes());
        [[version].as_slice(), &g, &i, &[7; 32]].concat()
    };
    rhizome_identity::verify(&ack.device.0, "ack", &signed(1), &ack.sig).unwrap();
    rhizome_identity::verify(&ack.device.0, "ack", &signed(2), &ack.sig).unwrap_err();
}

#[test]
fn proofs_of_version_1_read_back_and_verify() {
    let seen = Seen { g: 2, i: 300, c: [7; 32] };
    let acks = voters().map(|voter| Ack::sign(&voter, seen));
    let ack: Ack = decode(&stored("ack-v1.cbor", &encode(&acks[0]).unwrap())).unwrap();
    assert_eq!(ack, acks[0]);
    ack.verify().unwrap();
    let signed = acks[..2].iter().map(|ack| (ack.device, ack.sig)).collect();
    let certificate = Certificate::new(seen, signed);
    let bytes = stored("certificate-v1.cbor", &certificate.block().bytes);
    assert_eq!(peek_kind(&bytes), Some("certificate"));
    let read = Certificate::read(&bytes).unwrap();
    assert_eq!(read, certificate);
    let all: BTreeSet<DeviceId> = acks.iter().map(|ack| ack.device).collect();
    read.verify(&all, &BTreeSet::from([acks[1].device])).unwrap();
    let outside = read.verify(&all, &BTreeSet::from([acks[2].device]));
    assert!(matches!(outside, Err(CertificateError::NoTrusted)));
}

#[test]
fn no_changed_byte_of_a_stored_certificate_proves_anything() {
    let seen = Seen { g: 2, i: 300, c: [7; 32] };
    let acks = voters().map(|voter| Ack::sign(&voter, seen));
    let all: BTreeSet<DeviceId> = acks.iter().map(|ack| ack.device).collect();
    let signed = acks[..2].iter().map(|ack| (ack.device, ack.sig)).collect();
    let good = Certificate::new(seen, signed).block().bytes;
    let proves = |at: &usize| {
        let mut bytes = good.clone();
        bytes[*at] ^= 1;
        Certificate::read(&bytes).is_ok_and(|one| one.verify(&all, &BTreeSet::new()).is_ok())
    };
    let proven: Vec<usize> = (0..good.len()).filter(proves).collect();
    assert_eq!(proven, []);
}

//! Control records, genesis, device certificates, the words and letters of a recovery kit.
//!
//! Mended: a record stands behind the head of a small identity, names its devices, and is signed by
//! them; the record that follows it on another branch is the same one by another signer.

use crate::family;
use rhizome_block::{decode, encode};
use rhizome_identity::{
    Author, ControlLog, ControlRecord, DeviceCertificate, Genesis, Inserted, RecoveryKit,
};
use serde_bytes::ByteBuf;

/// Records of one input.
const RECORDS_MAX: usize = 8;

/// How many doors the bytes pass: each form they have, each record that holds once it is mended.
pub fn run(bytes: &[u8]) -> u32 {
    let records = decode::<Vec<ByteBuf>>(bytes).unwrap_or_else(|_| vec![bytes.to_vec().into()]);
    let read: Vec<ControlRecord> =
        records.iter().take(RECORDS_MAX).filter_map(|bytes| record(bytes)).collect();
    genesis(bytes) + certificate(bytes) + kit(bytes) + placed(&read)
}

fn record(bytes: &[u8]) -> Option<ControlRecord> {
    let record = ControlRecord::from_bytes(bytes).ok()?;
    assert_eq!(record.to_bytes(), bytes, "a record has one form");
    Some(record)
}

/// Inserts records as they are, then mended, then as a fork, and compares two replicas that heard
/// them in opposite orders.
fn placed(records: &[ControlRecord]) -> u32 {
    if records.is_empty() {
        return 0;
    }
    let (mut log, mut heard) = (family::log(), Vec::new());
    for record in records {
        let heard_of = log.insert(record.clone());
        if matches!(heard_of, Ok(Inserted::Placed { .. } | Inserted::Waiting { .. })) {
            heard.push(record.clone());
        }
        let fork = log.clone();
        let Some(mended) = family::mend(&log, record) else { continue };
        if let Ok(Inserted::Placed { .. }) = log.insert(mended.clone()) {
            heard.push(mended.clone());
            heard.extend(rival(&fork, &mended));
        }
    }
    for record in &heard {
        let _ = log.insert(record.clone());
    }
    let mut other = family::log();
    // Parents may come later: what waits must be placed all the same.
    heard.iter().rev().for_each(|record| drop(other.insert(record.clone())));
    assert_eq!(log.head(), other.head(), "the winner does not depend on who was heard first");
    assert_eq!(log.state(), other.state(), "nor does what holds");
    let placed = heard.iter().filter(|record| log.record(&record.cid()).is_some()).count();
    commit(log);
    u32::try_from(records.len() + placed).unwrap_or(u32::MAX)
}

/// The same words by another admin, as a branch beside the first.
fn rival(fork: &ControlLog, record: &ControlRecord) -> Option<ControlRecord> {
    let by = if record.author() == Author::Device(family::id(1)) { 2 } else { 1 };
    let state = fork.state();
    let draft = rhizome_identity::Draft {
        identity: state.identity(),
        height: state.height() + 1,
        prev: state.record(),
        seen: None,
        author: Author::Device(family::id(by)),
        clock: record.clock(),
        body: record.body().clone(),
    };
    let rival = draft.sign(&family::keys(by).signing);
    fork.check(&rival).is_ok().then_some(rival)
}

fn commit(mut log: ControlLog) {
    let (head, state) = (log.head(), log.state().clone());
    log.commit(head).expect("the head is placed");
    assert_eq!(log.committed_state(), &state, "what counted is final");
    assert!(log.tentative().is_empty(), "nothing is beside what is final");
}

fn genesis(bytes: &[u8]) -> u32 {
    let Ok(genesis) = Genesis::from_bytes(bytes) else { return 0 };
    assert_eq!(genesis.to_bytes(), bytes, "a genesis has one form");
    let log = ControlLog::new(genesis);
    assert_eq!(log.state().admins().count(), 1);
    1
}

fn certificate(bytes: &[u8]) -> u32 {
    let Ok(certificate) = DeviceCertificate::from_bytes(bytes) else { return 0 };
    assert_eq!(certificate.to_bytes(), bytes, "a certificate has one form");
    let root = certificate.body().root;
    let _ = certificate.verify(&root, &family::id(1).0);
    let by = Author::Device(family::id(1));
    let Some(signed) = family::certify(certificate.body().clone(), &by) else { return 1 };
    signed.verify(&family::genesis().root(), &family::id(1).0).expect("it was signed");
    assert_eq!(decode::<DeviceCertificate>(&encode(&signed).expect("it has")).ok(), Some(signed));
    2
}

fn kit(bytes: &[u8]) -> u32 {
    let Ok(text) = std::str::from_utf8(bytes) else { return 0 };
    let Ok(kit) = RecoveryKit::parse(text) else { return 0 };
    let again = RecoveryKit::parse(&kit.words().join(" ")).expect("a kit writes its words");
    assert_eq!(again.entropy(), kit.entropy());
    1
}

//! What voters say to each other and keep: requests, replies, records, entries, certificates.
//!
//! Mended (`rhizome_raft::fuzz`): a request comes from a voter of this generation, within reach and
//! in sequence; certificates and acknowledgements are signed by the voters they name.

use rhizome_block::{decode, encode};
use rhizome_cluster::{Ack, Certificate, Chain, Entry};
use rhizome_identity::SigningKeys;
use rhizome_log::Seen;
use rhizome_raft::{RaftRecord, fuzz};
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;
use std::future::Future;

/// Records of one log.
const RECORDS_MAX: usize = 64;

/// How many doors the bytes pass.
pub fn run(bytes: &[u8]) -> u32 {
    block_on(async {
        let passed = request(bytes).await + reply(bytes).await;
        passed + records(bytes) + entry(bytes) + acks(bytes)
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without sockets starts");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

async fn request(bytes: &[u8]) -> u32 {
    if fuzz::answer(bytes).await.is_none() {
        return 0;
    }
    let Some(mended) = fuzz::mend(bytes) else { return 1 };
    match fuzz::answer(&mended).await.as_deref() {
        Some("node is starting") => 3,
        _ => 2,
    }
}

async fn reply(bytes: &[u8]) -> u32 {
    let Some(mended) = fuzz::mend_reply(bytes) else { return 0 };
    1 + u32::from(fuzz::hear(bytes).await) + u32::from(fuzz::hear(&mended).await)
}

/// One record, or a log of them.
fn records(bytes: &[u8]) -> u32 {
    let blocks = decode::<Vec<ByteBuf>>(bytes).unwrap_or_else(|_| vec![bytes.to_vec().into()]);
    let read = |bytes: &ByteBuf| {
        let record = RaftRecord::read(bytes).ok()?;
        assert_eq!(record.block().bytes, bytes.as_slice(), "a record has one form");
        Some(record)
    };
    let records: Vec<RaftRecord> = blocks.iter().take(RECORDS_MAX).filter_map(read).collect();
    if records.is_empty() { 0 } else { 1 + u32::from(fuzz::start(&records)) }
}

fn entry(bytes: &[u8]) -> u32 {
    let Ok(entry) = Entry::read(bytes) else { return 0 };
    assert_eq!(entry.block().bytes, bytes, "an entry has one form");
    let before = Seen { g: entry.g, i: entry.i.wrapping_sub(1), c: [0; 32] };
    let extended = Chain::from(before).extend(entry.clone());
    assert!(extended.is_ok() || entry.i == 0, "it follows what stands before it");
    1
}

fn acks(bytes: &[u8]) -> u32 {
    if let Ok(ack) = decode::<Ack>(bytes) {
        assert_eq!(encode(&ack).expect("it was read"), bytes, "an acknowledgement has one form");
        return 1 + u32::from(ack.verify().is_ok());
    }
    let Ok(certificate) = Certificate::read(bytes) else { return 0 };
    assert_eq!(certificate.block().bytes, bytes, "a certificate has one form");
    let voters: BTreeSet<_> =
        [1, 2, 3].map(|n| SigningKeys::from_secret([n; 32]).device_id()).into();
    let passed = u32::from(certificate.verify(&voters, &BTreeSet::new()).is_ok());
    let signers: BTreeSet<_> = certificate.acks.iter().map(|(device, _)| device).collect();
    assert!(passed == 0 || signers.len() > voters.len() / 2, "a majority signed");
    1 + passed
}

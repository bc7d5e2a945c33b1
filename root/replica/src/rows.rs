//! Rows of the index that belong to the replica.
//!
//! A key is a space byte and what it names; a value is the DAG-CBOR of a small struct. All of it
//! can be rebuilt by reading the segments from their start. Listed in `docs/format/index.md`.

use crate::access::Access;
use rhizome_block::{CborError, Cid, decode_own, encode};
use rhizome_cluster::EntryBody;
use rhizome_log::{Clock, Dep, EventId, Head, IndexError, Knowledge, LogId, Overlay, Place, Seen};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// First bytes of keys: 0x01 to 0x0f belong to `root`.
pub mod space {
    /// How far the segments are folded into the index (kept by the driver).
    pub const MARK: u8 = 0x01;
    /// State of one log.
    pub const LOG: u8 = 0x02;
    /// Position of one event.
    pub const EVENT: u8 = 0x03;
    /// Signature over a head.
    pub const SIGNATURE: u8 = 0x04;
    /// One entry of the order.
    pub const ENTRY: u8 = 0x05;
    /// A certificate.
    pub const CERTIFICATE: u8 = 0x06;
    /// State of the order.
    pub const ORDER: u8 = 0x07;
    /// A control record.
    pub const CONTROL: u8 = 0x08;
    /// A sealed block.
    pub const BLOCK: u8 = 0x09;
    /// A set of blocks kept together.
    pub const PIN: u8 = 0x0a;
    /// A set that a peer holds.
    pub const KEPT: u8 = 0x0b;
    /// Raft log and votes (kept by the driver).
    pub const RAFT: u8 = 0x0c;
    /// What the author of a log knew where a checkpoint stands for its events.
    pub const FLOOR: u8 = 0x0d;
    /// Devices known from elsewhere while the disk may have forgotten something.
    pub const DOUBT: u8 = 0x0e;
    /// The list of a set that a cloud peer keeps and this device does not.
    pub const LISTED: u8 = 0x0f;
    /// What a device says the state is at one place (0x10 to 0x17 are the documents').
    pub const SEAL: u8 = 0x18;
}

/// How long the keys are that begin like this one, if they end in a number that counts up: rows
/// that are written one after the other, of which a driver may keep many in one.
#[must_use]
pub fn numbered_rows(key: &[u8]) -> Option<usize> {
    const NUMBER: usize = size_of::<u64>();
    match *key.first()? {
        space::EVENT | space::SIGNATURE => Some(1 + LogId::BYTES + NUMBER),
        space::ENTRY | space::CERTIFICATE => Some(1 + NUMBER),
        _ => None,
    }
}

/// A row is not what we wrote: the index is damaged and must be rebuilt.
#[derive(Debug, thiserror::Error)]
#[error("row of the index is malformed; rebuild the index")]
pub struct RowError {
    #[from]
    source: CborError,
}

/// What is known of one log.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogRow {
    /// Last event held.
    pub held: Option<Head>,
    /// Last signed head.
    pub signed: u64,
    /// Last event whose dependencies are held too, so that it was delivered.
    pub opened: u64,
    /// Last event placed in the order.
    pub placed: u64,
    /// Last event that took effect.
    pub effective: u64,
    /// Effective clock of the last opened event.
    pub clock: Clock,
    /// What the author knew of other logs when it wrote the last opened event.
    pub knows: Vec<(LogId, u64)>,
    /// Name of the app.
    pub app: Option<String>,
    /// Events up to here are not on this disk: a snapshot stands for them.
    pub floor: u64,
    /// The last event that takes effect, of a device whose removal has its place in the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Head>,
    /// The last opened event that the layer above was shown, where it was not shown all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<u64>,
}

impl LogRow {
    /// A log of which nothing is known.
    pub(crate) fn empty() -> Self {
        Self {
            held: None,
            signed: 0,
            opened: 0,
            placed: 0,
            effective: 0,
            clock: Clock::default(),
            knows: Vec::new(),
            app: None,
            floor: 0,
            allowed: None,
            shown: None,
        }
    }

    /// Last event held, or 0.
    pub(crate) fn held_seq(&self) -> u64 {
        self.held.map_or(0, |head| head.seq)
    }

    /// What the author knew, as a map.
    pub(crate) fn knowledge(&self) -> Knowledge {
        self.knows.iter().copied().collect()
    }
}

/// Where an event lies and what placing it needs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRow {
    /// The event.
    pub id: EventId,
    /// Its header block.
    pub header: Place,
    /// Its body block.
    pub body: Place,
    /// Its dependencies; empty where the replica holds no keys.
    pub deps: Vec<Dep>,
    /// Its effective clock, once opened.
    pub clock: Clock,
    /// The secret that it is sealed under was not known: what it depends on is not known either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
}

/// Where an entry lies, and the chain hash after it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    /// Its block.
    pub place: Place,
    /// Name of the block.
    pub cid: Cid,
    /// Position and hash.
    pub seen: Seen,
    /// What it places.
    pub body: EntryBody,
}

/// How far the order is held, and how far it took effect.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderRow {
    /// Last certified entry held.
    pub end: Seen,
    /// Last entry applied.
    pub applied: Seen,
    /// The control record that is final, or the genesis.
    pub control: Cid,
    /// The last entry before each generation.
    pub bases: Vec<(u64, Seen)>,
}

impl OrderRow {
    /// Nothing is ordered yet.
    pub(crate) fn at(start: Seen, control: Cid) -> Self {
        let bases = vec![(rhizome_identity::GENERATION_FIRST, start)];
        Self { end: start, applied: start, control, bases }
    }
}

/// Where a block lies.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlockRow {
    /// Its place.
    pub place: Place,
}

pub(crate) fn log_key(log: &LogId) -> Vec<u8> {
    key(space::LOG, &log.to_bytes(), None)
}

pub(crate) fn event_key(log: &LogId, seq: u64) -> Vec<u8> {
    key(space::EVENT, &log.to_bytes(), Some(seq))
}

pub(crate) fn signature_key(log: &LogId, seq: u64) -> Vec<u8> {
    key(space::SIGNATURE, &log.to_bytes(), Some(seq))
}

pub(crate) fn entry_key(i: u64) -> Vec<u8> {
    key(space::ENTRY, &[], Some(i))
}

pub(crate) fn certificate_key(i: u64) -> Vec<u8> {
    key(space::CERTIFICATE, &[], Some(i))
}

pub(crate) fn floor_key(log: &LogId) -> Vec<u8> {
    key(space::FLOOR, &log.to_bytes(), None)
}

pub(crate) fn order_key() -> Vec<u8> {
    vec![space::ORDER]
}

/// What was redone after a reform; no block of the segments tells it.
pub(crate) fn cut_key() -> Vec<u8> {
    vec![space::ORDER, 1]
}

pub(crate) fn control_key(height: u64, cid: &Cid) -> Vec<u8> {
    let mut key = key(space::CONTROL, &[], Some(height));
    key.extend_from_slice(cid.digest());
    key
}

pub(crate) fn block_key(cid: &Cid) -> Vec<u8> {
    key(space::BLOCK, &cid.to_bytes(), None)
}

pub(crate) fn pin_key(root: &Cid) -> Vec<u8> {
    key(space::PIN, &root.to_bytes(), None)
}

pub(crate) fn seal_key(i: u64, author: &rhizome_identity::DeviceId) -> Vec<u8> {
    key(space::SEAL, &i.to_be_bytes(), None).into_iter().chain(author.0).collect()
}

pub(crate) fn listed_key(root: &Cid) -> Vec<u8> {
    key(space::LISTED, &root.to_bytes(), None)
}

pub(crate) fn kept_key(device: &rhizome_identity::DeviceId, root: &Cid) -> Vec<u8> {
    let mut key = key(space::KEPT, &device.0, None);
    key.extend_from_slice(&root.to_bytes());
    key
}

fn key(space: u8, name: &[u8], number: Option<u64>) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len() + 8);
    key.push(space);
    key.extend_from_slice(name);
    if let Some(number) = number {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key
}

/// Reads one row.
pub(crate) fn get<T: DeserializeOwned>(
    index: &Overlay<'_>,
    key: &[u8],
) -> Result<Option<T>, crate::ReplicaError> {
    match index.get(key)? {
        Some(bytes) => Ok(Some(parse(&bytes)?)),
        None => Ok(None),
    }
}

/// Decodes a row.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RowError> {
    Ok(decode_own(bytes)?)
}

/// Writes one row.
pub(crate) fn put<T: Serialize>(access: &mut Access<'_, '_>, key: Vec<u8>, row: &T) {
    access.index.put(key, encode(row).expect("rows have a DAG-CBOR form"));
}

/// Reads every row whose key starts with `prefix`.
pub(crate) fn scan<T: DeserializeOwned>(
    index: &Overlay<'_>,
    prefix: &[u8],
) -> Result<Vec<(Vec<u8>, T)>, crate::ReplicaError> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    index
        .scan_prefix(prefix, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .map_err(|error: IndexError| error)?;
    let row = |(key, value): (Vec<u8>, Vec<u8>)| Ok((key, parse(&value)?));
    found.into_iter().map(row).collect()
}

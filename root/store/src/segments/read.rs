//! Reading one block, never without checking its hash.

use super::car;
use crate::{Disk, Place};
use rhizome_block::{BLOCK_BYTES_READ_MAX, Cid};
use std::io;

/// Why a block could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes there are not what their name says; a good copy may exist at a peer.
    #[error("block in segment {} at {} is damaged", .place.segment, .place.offset)]
    Damaged {
        /// Its name, if the reader knew it or could read it.
        cid: Option<Cid>,
        /// Where it should have been.
        place: Place,
    },
    /// The segments were compacted since; a row that is made anew knows where the block lies now.
    #[error("segment {} was compacted", .place.segment)]
    Compacted {
        /// Where the block lay.
        place: Place,
    },
    /// The disk refused.
    #[error("segment {} cannot be read", .place.segment)]
    Disk {
        /// Where the block should have been.
        place: Place,
        /// What the disk said.
        source: io::Error,
    },
}

/// Reads the data at `place` and checks it against `expected`, or against the name in front of it.
pub(crate) fn read(
    disk: &dyn Disk,
    place: Place,
    expected: Option<&Cid>,
) -> Result<Vec<u8>, ReadError> {
    let damaged = |cid: Option<&Cid>| {
        metrics::counter!("rhizome_store_damaged_reads_total").increment(1);
        ReadError::Damaged { cid: cid.copied(), place }
    };
    let front = if expected.is_some() { 0 } else { Cid::BYTES };
    let data_bytes = place.bytes as usize;
    let Some(start) = place.offset.checked_sub(front as u64) else {
        return Err(damaged(expected));
    };
    if data_bytes > BLOCK_BYTES_READ_MAX {
        return Err(damaged(expected));
    }
    let mut bytes = vec![0; front + data_bytes];
    let count = match disk.read_at(&car::segment_name(place.segment), start, &mut bytes) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(expected)),
        Err(source) => return Err(ReadError::Disk { place, source }),
    };
    metrics::counter!("rhizome_store_read_bytes_total").increment(count as u64);
    let named = match expected {
        Some(cid) => Some(*cid),
        None => Cid::from_bytes(&bytes[..front]).ok(),
    };
    let Some(cid) = named.filter(|cid| count == bytes.len() && cid.names(&bytes[front..])) else {
        return Err(damaged(named.as_ref()));
    };
    debug_assert!(expected.is_none_or(|expected| *expected == cid), "the name was checked");
    bytes.drain(..front);
    Ok(bytes)
}

//! Small values for the tests of this crate.

use crate::voters::{KnownSet, Voters};
use crate::{Batch, LogAt, NodeId, Payload, RaftEntry, VoterSet};
use rhizome_block::{Cid, Codec};
use rhizome_cluster::EntryBody;
use rhizome_identity::{DeviceId, IdentityId, SigningKeys};
use std::sync::Arc;

pub(crate) fn signing_keys(n: u8) -> SigningKeys {
    SigningKeys::from_secret([n; 32])
}

pub(crate) fn device(n: u8) -> DeviceId {
    signing_keys(n).device_id()
}

pub(crate) fn identity() -> IdentityId {
    IdentityId(Cid::of(Codec::DagCbor, b"genesis"))
}

/// A set of voters by number; `trusted` are those that hold keys.
pub(crate) fn voter_set(voters: &[u8], trusted: &[u8]) -> VoterSet {
    let admitted = |n: &u8| (device(*n), Cid::of(Codec::DagCbor, &[*n]));
    VoterSet {
        admitted: voters.iter().map(admitted).collect(),
        trusted: trusted.iter().map(|n| device(*n)).collect(),
    }
}

pub(crate) fn voters(numbers: &[u8]) -> Voters {
    Voters::new(identity(), 2, &[], &voter_set(numbers, &[]))
}

pub(crate) fn known_set(numbers: &[u8], trusted: &[u8]) -> KnownSet {
    Voters::new(identity(), 2, &[], &voter_set(numbers, trusted)).wanted().clone()
}

pub(crate) fn body(n: u64) -> EntryBody {
    EntryBody::Control { record: Cid::of(Codec::DagCbor, &n.to_be_bytes()) }
}

pub(crate) fn batch(numbers: &[u64]) -> Batch {
    Batch(Arc::new(numbers.iter().map(|n| body(*n)).collect()))
}

pub(crate) fn at(term: u64, index: u64) -> LogAt {
    let node = if term == 0 { NodeId::default() } else { NodeId([term as u8; 32]) };
    LogAt { term, node, index }
}

pub(crate) fn entry(term: u64, index: u64, payload: Payload) -> RaftEntry {
    RaftEntry { at: at(term, index), payload }
}

pub(crate) fn bodies_entry(term: u64, index: u64, numbers: &[u64]) -> RaftEntry {
    entry(term, index, Payload::Bodies(batch(numbers)))
}

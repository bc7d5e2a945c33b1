//! Names inside Raft: nodes, ballots and places in the Raft log.
//!
//! These are ours, not openraft's, so that what lies on disk and travels does not change when the
//! library does.

use rhizome_block::Cid;
use rhizome_identity::{DeviceId, IdentityId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

/// A device in one generation, admitted by one control record. A device that is removed and
/// admitted again is another node, so no id ever returns with an older memory.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// SHA2-256 of `"rhizome node v1"`, the identity in binary form, the generation big-endian, the
    /// device, and the digest of the admitting control record.
    #[must_use]
    pub fn of(identity: &IdentityId, generation: u64, device: &DeviceId, admitted: &Cid) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"rhizome node v1");
        hash.update(identity.0.to_bytes());
        hash.update(generation.to_be_bytes());
        hash.update(device.0);
        hash.update(admitted.digest());
        Self(hash.finalize().into())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteArray::<32>::deserialize(deserializer)?;
        Ok(Self(bytes.into_array()))
    }
}

/// Who asks for, or holds, the lead in a term. In one term the greater node id wins.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// The node.
    pub node: NodeId,
    /// Whether a majority has granted it: a leader's ballot.
    pub granted: bool,
}

/// A place in the Raft log: the leader that wrote the entry, and its index.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct LogAt {
    /// The leader's term.
    pub term: u64,
    /// The leader.
    pub node: NodeId,
    /// Counted from 0 in each generation.
    pub index: u64,
}

impl LogAt {
    /// The leader part, which orders before the index does.
    #[must_use]
    pub const fn leader(&self) -> (u64, NodeId) {
        (self.term, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhizome_block::Codec;

    #[test]
    fn a_device_admitted_again_or_in_another_generation_is_another_node() {
        let identity = IdentityId(Cid::of(Codec::DagCbor, b"genesis"));
        let device = DeviceId([7; 32]);
        let (first, again) = (Cid::of(Codec::DagCbor, b"1"), Cid::of(Codec::DagCbor, b"2"));
        let node = NodeId::of(&identity, 1, &device, &first);
        assert_ne!(node, NodeId::of(&identity, 1, &device, &again));
        assert_ne!(node, NodeId::of(&identity, 2, &device, &first));
        assert_eq!(node, NodeId::of(&identity, 1, &device, &first));
    }
}

//! Between our names and openraft's. openraft's types do not leave this crate.

use crate::{Ballot, Batch, LogAt, Members, NodeId, Payload, RaftBase, RaftEntry};
use openraft::{
    EmptyNode, Entry, EntryPayload, LeaderId, LogId, Membership, SnapshotMeta, StoredMembership,
    Vote,
};
use std::collections::BTreeMap;

openraft::declare_raft_types!(
    /// What openraft is told about our types.
    pub(crate) Types:
        D = Batch,
        R = (),
        NodeId = NodeId,
        Node = EmptyNode,
        Entry = Entry<Types>,
        SnapshotData = RaftBase,
        Responder = openraft::impls::OneshotResponder<Types>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;

pub(crate) fn log_id(at: LogAt) -> LogId<NodeId> {
    LogId::new(LeaderId::new(at.term, at.node), at.index)
}

pub(crate) fn log_at(id: &LogId<NodeId>) -> LogAt {
    LogAt { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(crate) fn vote(ballot: &Ballot) -> Vote<NodeId> {
    Vote { leader_id: LeaderId::new(ballot.term, ballot.node), committed: ballot.granted }
}

pub(crate) fn ballot(vote: &Vote<NodeId>) -> Ballot {
    Ballot { term: vote.leader_id.term, node: vote.leader_id.node_id, granted: vote.committed }
}

pub(crate) fn membership(members: &Members) -> Membership<NodeId, EmptyNode> {
    let nodes: BTreeMap<_, _> =
        members.nodes.iter().map(|node| (*node, EmptyNode::new())).collect();
    Membership::new(members.configs.clone(), nodes)
}

pub(crate) fn members(membership: &Membership<NodeId, EmptyNode>) -> Members {
    Members {
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(node, _)| *node).collect(),
    }
}

pub(crate) fn entry(entry: &RaftEntry) -> Entry<Types> {
    let payload = match &entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Bodies(batch) => EntryPayload::Normal(batch.clone()),
        Payload::Members(members) => EntryPayload::Membership(membership(members)),
    };
    Entry { log_id: log_id(entry.at), payload }
}

pub(crate) fn raft_entry(entry: Entry<Types>) -> RaftEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(batch) => Payload::Bodies(batch),
        EntryPayload::Membership(membership) => Payload::Members(members(&membership)),
    };
    RaftEntry { at: log_at(&entry.log_id), payload }
}

/// A base as openraft describes a snapshot.
pub(crate) fn meta(base: &RaftBase) -> SnapshotMeta<NodeId, EmptyNode> {
    SnapshotMeta {
        last_log_id: Some(log_id(base.last)),
        last_membership: stored(base),
        snapshot_id: format!("{}-{}", base.last.term, base.last.index),
    }
}

/// The membership of a base, with its place.
pub(crate) fn stored(base: &RaftBase) -> StoredMembership<NodeId, EmptyNode> {
    StoredMembership::new(Some(log_id(base.members_at)), membership(&base.members))
}

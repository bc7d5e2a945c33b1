//! The rules that stand between peers and openraft.
//!
//! openraft believes whatever it is told: one forged message with term `u64::MAX` stops a group for
//! good. So nothing reaches it that breaks a rule here. Each rule is one small pure function and
//! one variant of [`GuardError`]; `docs/decision/raft-guard.md` says why each exists. Applying them
//! in order is left to `serve` (requests) and `client` (replies).

use crate::bounds::{
    BODIES_PER_ENTRY_MAX, BODIES_PER_REQUEST_MAX, ENTRIES_PER_REQUEST_MAX, INDEX_MAX,
    TERM_JUMP_MAX, TERM_MAX,
};
use crate::ledger::Ledger;
use crate::voters::Voters;
use crate::wire::{Append, WireError};
use crate::{Ballot, LogAt, NodeId, Payload, RaftBase, RaftEntry};
use rhizome_cluster::CertificateError;
use rhizome_identity::{DeviceId, IdentityId};
use rhizome_log::{Position, Seen};

/// Which rule a message broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The peer sends more than it may.
    #[error("peer sends more than it may")]
    Rate,
    /// Not an envelope.
    #[error("message is no envelope")]
    Wire {
        /// What is wrong with it.
        source: WireError,
    },
    /// The control log gives the sender no vote.
    #[error("sender is no voter of this generation")]
    Sender,
    /// It is about another identity.
    #[error("message is about another identity")]
    Identity,
    /// It is of another generation than ours.
    #[error("message is of generation {found}, this is {ours}")]
    Generation {
        /// Its generation.
        found: u64,
        /// Ours.
        ours: u64,
    },
    /// It speaks for another node than its sender.
    #[error("message speaks for node {claimed}, its sender is {sender}")]
    Claim {
        /// The node it names.
        claimed: NodeId,
        /// The sender's.
        sender: NodeId,
    },
    /// A leader's message with a candidate's ballot, or the reverse.
    #[error("ballot does not fit the message")]
    Ballot,
    /// The term is out of reach.
    #[error("term {found} is too far from {ours}")]
    Term {
        /// Its term.
        found: u64,
        /// Ours.
        ours: u64,
    },
    /// More entries or bodies than the bound.
    #[error("batch of {entries} entries with {bodies} bodies is out of bounds")]
    Size {
        /// Entries.
        entries: usize,
        /// Bodies in them.
        bodies: usize,
    },
    /// The entries do not follow each other, or name leaders that cannot have written them.
    #[error("entry {index} does not follow the one before it")]
    Sequence {
        /// Its Raft index.
        index: u64,
    },
    /// Certified entries would be replaced.
    #[error("entry {index} is certified and would be replaced")]
    Rewrite {
        /// Its Raft index.
        index: u64,
    },
    /// The sender's order does not extend ours although its log does.
    #[error("order of the sender differs from ours at {at:?}")]
    Chain {
        /// Where.
        at: Position,
    },
    /// The certificate proves nothing.
    #[error("certificate of a message proves nothing")]
    Certificate {
        /// Why.
        source: CertificateError,
    },
    /// Two orders were certified: somebody told two stories.
    #[error("two orders are certified at {at:?}")]
    Contradiction {
        /// Where.
        at: Position,
    },
    /// The control log knows no such membership.
    #[error("membership is none the control log names")]
    Members,
    /// The snapshot position is not needed, or not believable.
    #[error("snapshot position is not acceptable")]
    Base,
    /// The answer does not fit the question.
    #[error("answer does not fit the question")]
    Answer,
}

/// The sender has a vote, or is about to: then this is its node.
pub(crate) fn sender(voters: &Voters, from: &DeviceId) -> Result<NodeId, GuardError> {
    voters.node_of(from).ok_or(GuardError::Sender)
}

/// Same identity.
pub(crate) fn identity(ours: &IdentityId, found: &IdentityId) -> Result<(), GuardError> {
    if ours == found { Ok(()) } else { Err(GuardError::Identity) }
}

/// Same generation. The caller answers an older one with ours.
pub(crate) fn generation(ours: u64, found: u64) -> Result<(), GuardError> {
    if ours == found { Ok(()) } else { Err(GuardError::Generation { found, ours }) }
}

/// The node named in the message is its sender.
pub(crate) fn claim(sender: NodeId, ballot: &Ballot) -> Result<(), GuardError> {
    let claimed = ballot.node;
    if claimed == sender { Ok(()) } else { Err(GuardError::Claim { claimed, sender }) }
}

/// Leaders send granted ballots, candidates send others. A granted ballot in a vote request would
/// make openraft follow a leader nobody elected.
pub(crate) fn ballot(ballot: &Ballot, by_leader: bool) -> Result<(), GuardError> {
    if ballot.granted == by_leader { Ok(()) } else { Err(GuardError::Ballot) }
}

/// The term is within reach of ours.
pub(crate) fn term(ours: u64, found: u64) -> Result<(), GuardError> {
    if found <= TERM_MAX && found <= ours.saturating_add(TERM_JUMP_MAX) {
        Ok(())
    } else {
        Err(GuardError::Term { found, ours })
    }
}

/// A place in a log that a message of this ballot can name.
pub(crate) fn place(ballot: &Ballot, at: Option<&LogAt>) -> Result<(), GuardError> {
    let sound = |at: &LogAt| at.leader() <= (ballot.term, ballot.node) && at.index < INDEX_MAX;
    match at {
        Some(at) if !sound(at) => Err(GuardError::Sequence { index: at.index }),
        _ => Ok(()),
    }
}

/// No more entries and bodies than a leader of ours sends, and no empty batch.
pub(crate) fn size(entries: &[RaftEntry]) -> Result<(), GuardError> {
    let count = |entry: &RaftEntry| entry.payload.bodies().len();
    let bodies = entries.iter().map(count).sum();
    let fits = |entry: &RaftEntry| match &entry.payload {
        Payload::Bodies(batch) => (1..=BODIES_PER_ENTRY_MAX).contains(&batch.0.len()),
        Payload::Blank | Payload::Members(_) => true,
    };
    if entries.len() <= ENTRIES_PER_REQUEST_MAX
        && bodies <= BODIES_PER_REQUEST_MAX
        && entries.iter().all(fits)
    {
        Ok(())
    } else {
        Err(GuardError::Size { entries: entries.len(), bodies })
    }
}

/// Entries follow `prev` and each other without holes, and no leader wrote before an earlier one.
pub(crate) fn sequence(append: &Append) -> Result<(), GuardError> {
    place(&append.ballot, append.prev.as_ref())?;
    let mut before = append.prev;
    for entry in &append.entries {
        let at = entry.at;
        let index = before.map_or(0, |before| before.index + 1);
        let follows = before.is_none_or(|before| before.leader() <= at.leader());
        if at.index != index || !follows {
            return Err(GuardError::Sequence { index: at.index });
        }
        place(&append.ballot, Some(&at))?;
        before = Some(at);
    }
    Ok(())
}

/// Nothing certified is replaced: openraft would cut off its log wherever a leader says so.
pub(crate) fn keeps_certified(
    ledger: &Ledger,
    certified: Option<LogAt>,
    append: &Append,
) -> Result<(), GuardError> {
    let Some(certified) = certified else { return Ok(()) };
    for at in append.prev.iter().chain(append.entries.iter().map(|entry| &entry.at)) {
        let differs = match ledger.get(at.index) {
            Some(held) => held.entry.at != *at,
            None => at.leader() > certified.leader(),
        };
        if at.index <= certified.index && differs {
            return Err(GuardError::Rewrite { index: at.index });
        }
    }
    Ok(())
}

/// Where logs agree, orders agree: the sender's order after `prev` is ours, and entries we have
/// already carry the same.
pub(crate) fn extends(ledger: &Ledger, append: &Append) -> Result<(), GuardError> {
    if let Some(end) = ledger.end_at(append.prev)
        && end != append.chain
    {
        return Err(GuardError::Chain { at: end.into() });
    }
    for entry in &append.entries {
        if let Some(held) = ledger.get(entry.at.index)
            && held.entry.at == entry.at
            && held.entry.payload != entry.payload
        {
            return Err(GuardError::Chain { at: held.end.into() });
        }
    }
    Ok(())
}

/// What openraft is told to be committed: no more than what is certified here.
pub(crate) fn cap_commit(commit: Option<LogAt>, certified: Option<LogAt>) -> Option<LogAt> {
    commit.min(certified)
}

/// How many leading entries carry only memberships that the control log names. The rest waits, like
/// entries whose bytes are missing: the control record that names the new set may be on its way.
pub(crate) fn known_members(voters: &Voters, entries: &[RaftEntry]) -> usize {
    let unknown = |entry: &RaftEntry| match &entry.payload {
        Payload::Members(members) => !voters.knows(members),
        Payload::Blank | Payload::Bodies(_) => false,
    };
    entries.iter().position(unknown).unwrap_or(entries.len())
}

/// A snapshot position is taken only when our log does not reach it, when its membership is known,
/// and when it is possible at all.
pub(crate) fn base(
    ledger: &Ledger,
    voters: &Voters,
    ballot: &Ballot,
    base: &RaftBase,
) -> Result<(), GuardError> {
    place(ballot, Some(&base.last))?;
    place(ballot, Some(&base.members_at))?;
    if !voters.knows(&base.members) {
        return Err(GuardError::Members);
    }
    // Each Raft entry places a bounded number of bodies.
    let most = base.last.index.saturating_add(1).saturating_mul(BODIES_PER_ENTRY_MAX as u64);
    let placed = base.end.i.saturating_sub(ledger.order_floor());
    let needed = base.last.index >= ledger.next() && base.end.i >= ledger.end().i;
    if base.members_at > base.last || placed > most || !needed {
        return Err(GuardError::Base);
    }
    Ok(())
}

/// A ballot that a reply claims to be higher: it names a node we know, in reach, and is stripped of
/// the grant, because only that leader itself may say that it leads.
pub(crate) fn outvoted(
    voters: &Voters,
    ours: &Ballot,
    mut found: Ballot,
) -> Result<Ballot, GuardError> {
    term(ours.term, found.term)?;
    if voters.device_of(&found.node).is_none() {
        return Err(GuardError::Sender);
    }
    found.granted = false;
    if (found.term, found.node) > (ours.term, ours.node) {
        Ok(found)
    } else {
        Err(GuardError::Answer)
    }
}

/// The place a follower says it matches is one we sent.
pub(crate) fn matched(sent: &[Option<LogAt>], found: Option<LogAt>) -> Result<(), GuardError> {
    if sent.contains(&found) { Ok(()) } else { Err(GuardError::Answer) }
}

/// A voter that matched an entry in this term and has it no more has lost its memory, or lies:
/// openraft would panic.
pub(crate) fn conflict(prev: Option<LogAt>, matched: Option<LogAt>) -> Result<(), GuardError> {
    if prev > matched { Ok(()) } else { Err(GuardError::Answer) }
}

/// An acknowledgement in a reply is about this generation and our own chain. Its signature is
/// checked when it counts.
pub(crate) fn acknowledges(ledger: &Ledger, seen: &Seen) -> Result<LogAt, GuardError> {
    match ledger.at_order(seen.i) {
        Some((at, end)) if end == *seen => Ok(at),
        Some(_) => Err(GuardError::Chain { at: (*seen).into() }),
        None => Err(GuardError::Answer),
    }
}

#[cfg(test)]
mod tests;

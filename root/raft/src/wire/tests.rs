//! Requests and replies read as they were first written; others are refused.

use super::*;
use crate::Members;
use crate::testing::{at, bodies_entry, identity, signing_keys, voters};
use rhizome_block::peek_kind;

const END: Seen = Seen { g: 2, i: 12, c: [5; 32] };

fn ack() -> Ack {
    Ack::sign(&signing_keys(1), END)
}

fn requests() -> Vec<(&'static str, RequestEnvelope)> {
    let ballot = Ballot { term: 3, node: at(3, 0).node, granted: true };
    let (prev, commit) = (Some(at(1, 2)), Some(at(1, 1)));
    let entries = vec![bodies_entry(1, 3, &[1, 2])];
    let ids = voters(&[1, 2, 3]).wanted().ids.clone();
    let members = Members { configs: vec![ids.clone()], nodes: ids };
    let base = RaftBase { last: at(1, 3), end: END, members_at: at(0, 0), members };
    let candidate = Ballot { granted: false, ..ballot };
    let certificate = Certificate::new(END, vec![(ack().device, ack().sig)]);
    let envelope = |certificate, request| RequestEnvelope {
        k: RequestKind,
        v: Version,
        identity: identity(),
        generation: 2,
        certificate,
        request,
    };
    let append = Append { ballot, prev, chain: END, entries, commit };
    let vote = VoteCall { ballot: candidate, last: prev };
    vec![
        ("raft-request.append.1.cbor", envelope(None, Request::Append(append))),
        ("raft-request.vote.1.cbor", envelope(None, Request::Vote(vote))),
        ("raft-request.base.1.cbor", envelope(None, Request::Base(BaseCall { ballot, base }))),
        ("raft-request.certified.1.cbor", envelope(Some(certificate), Request::Certified)),
    ]
}

fn replies() -> Vec<(&'static str, ReplyEnvelope)> {
    let ballot = Ballot { term: 3, node: at(3, 0).node, granted: true };
    let last = Some(at(1, 3));
    let appended = Appended { matched: last, withheld: false };
    let voted = Voted { ballot, granted: true, last };
    let reply = |answer| ReplyEnvelope::new(answer, Vec::new());
    vec![
        ("raft-reply.appended.1.cbor", ReplyEnvelope::new(Answer::Appended(appended), vec![ack()])),
        ("raft-reply.conflict.1.cbor", reply(Answer::Conflict)),
        ("raft-reply.outvoted.1.cbor", reply(Answer::Outvoted(ballot))),
        ("raft-reply.voted.1.cbor", reply(Answer::Voted(voted))),
        ("raft-reply.adopted.1.cbor", reply(Answer::Adopted(ballot))),
        ("raft-reply.noted.1.cbor", reply(Answer::Noted)),
        ("raft-reply.superseded.1.cbor", reply(Answer::Superseded(3))),
        ("raft-reply.refused.1.cbor", reply(Answer::Refused("because".to_owned()))),
    ]
}

#[test]
fn every_envelope_reads_as_it_was_first_written() {
    for (name, request) in requests() {
        let stored = crate::fixture::check(name, &request.encode());
        assert_eq!(RequestEnvelope::read(&stored).unwrap(), request);
        assert_eq!(peek_kind(&stored), Some("raft-request"));
    }
    for (name, reply) in replies() {
        let stored = crate::fixture::check(name, &reply.encode());
        assert_eq!(ReplyEnvelope::read(&stored).unwrap(), reply);
        assert_eq!(peek_kind(&stored), Some("raft-reply"));
    }
}

#[test]
fn the_largest_batch_fits_a_request() {
    let mut request = requests().remove(0).1;
    let Request::Append(append) = &mut request.request else { panic!("it is the first") };
    let numbers: Vec<u64> = (0..crate::BODIES_PER_ENTRY_MAX as u64).collect();
    let entries = crate::bounds::BODIES_PER_REQUEST_MAX / crate::BODIES_PER_ENTRY_MAX;
    append.entries = vec![largest(&numbers); entries];
    let bytes = request.encode().len();
    assert!(bytes < REQUEST_BYTES_MAX, "{bytes}");
}

/// An entry of bodies that take the most bytes.
fn largest(numbers: &[u64]) -> RaftEntry {
    use rhizome_cluster::EntryBody;
    use rhizome_log::{EventId, Head, LogId, LogTag};
    let EntryBody::Control { record } = crate::testing::body(0) else { panic!("as made there") };
    let log = LogId { author: ack().device, tag: LogTag([7; 16]), incarnation: u32::MAX };
    let head = Head { seq: u64::MAX, id: EventId(record) };
    let body = EntryBody::Range { log, from: u64::MAX, head };
    let bodies = numbers.iter().map(|_| body.clone()).collect();
    let batch = crate::Batch(std::sync::Arc::new(bodies));
    RaftEntry { at: at(1, 3), payload: crate::Payload::Bodies(batch) }
}

#[test]
fn later_versions_and_messages_out_of_bounds_are_refused() {
    let later = RequestEnvelope::read(&version_2(requests().remove(3).1.encode()));
    assert!(matches!(later, Err(WireError::Version { version: 2 })));
    let later = ReplyEnvelope::read(&version_2(replies().remove(0).1.encode()));
    assert!(matches!(later, Err(WireError::Version { version: 2 })));
    let huge = RequestEnvelope::read(&vec![0; REQUEST_BYTES_MAX + 1]);
    assert!(matches!(huge, Err(WireError::Size { .. })));
    let many = ReplyEnvelope::new(Answer::Noted, vec![ack(); ACKS_PER_REPLY_MAX + 1]);
    assert!(matches!(ReplyEnvelope::read(&many.encode()), Err(WireError::Acks { .. })));
    let request = RequestEnvelope::read(&replies().remove(0).1.encode());
    assert!(matches!(request, Err(WireError::Malformed { .. })));
}

fn version_2(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.windows(3).position(|three| three == b"\x61v\x01").unwrap();
    bytes[at + 2] = 2;
    bytes
}

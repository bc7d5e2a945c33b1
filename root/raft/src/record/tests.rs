//! Records read as they were first written; others are refused.

use super::*;
use crate::testing::{at, bodies_entry, signing_keys, voters};
use crate::{Ballot, Members};
use rhizome_cluster::Ack;

fn samples() -> Vec<(&'static str, RaftRecord)> {
    let end = Seen { g: 2, i: 12, c: [5; 32] };
    let ids = voters(&[1, 2, 3]).wanted().ids.clone();
    let members = Members { configs: vec![ids.clone()], nodes: ids };
    let base = RaftBase { last: at(1, 3), end, members_at: at(0, 0), members };
    let ack = Ack::sign(&signing_keys(1), end);
    let certificate = Certificate::new(end, vec![(ack.device, ack.sig)]);
    let ballot = Ballot { term: 3, node: at(3, 0).node, granted: true };
    vec![
        ("raft-entry.1.cbor", RaftRecord::entry(2, bodies_entry(1, 3, &[1, 2]), end)),
        ("raft-vote.1.cbor", RaftRecord::vote(2, ballot)),
        ("raft-truncate.1.cbor", RaftRecord::truncate(2, 7)),
        ("raft-purge.1.cbor", RaftRecord::purge(2, at(1, 3), end)),
        ("raft-base.1.cbor", RaftRecord::base(2, base)),
        ("raft-commit.1.cbor", RaftRecord::commit(2, certificate)),
    ]
}

#[test]
fn every_record_reads_as_it_was_first_written() {
    for (name, record) in samples() {
        let stored = crate::fixture::check(name, &record.block().bytes);
        assert_eq!(RaftRecord::read(&stored).unwrap(), record);
        assert_eq!(peek_kind(&stored), name.split('.').next());
        assert_eq!(record.generation(), 2);
    }
}

#[test]
fn a_later_version_and_other_blocks_are_refused() {
    for (name, record) in samples() {
        let mut bytes = record.block().bytes;
        let at = bytes.windows(3).position(|three| three == b"\x61v\x01").unwrap();
        bytes[at + 2] = 2;
        let later = RaftRecord::read(&bytes);
        assert!(matches!(later, Err(RecordError::Version { version: 2 })), "{name}");
    }
    assert!(matches!(RaftRecord::read(b"\xa1\x61k\x63ack"), Err(RecordError::Kind)));
    assert!(matches!(RaftRecord::read(b""), Err(RecordError::Kind)));
    let bytes = samples().remove(0).1.block().bytes;
    let cut = RaftRecord::read(&bytes[..bytes.len() - 1]);
    assert!(matches!(cut, Err(RecordError::Malformed { .. })));
}

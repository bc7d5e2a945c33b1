//! Forged messages between voters, in the form of `docs/format/raft.md`.

use super::ORDER;
use crate::support::Node;
use rhizome_block::{Cid, Codec, encode, kind};
use rhizome_cluster::{Ack, Certificate, EntryBody};
use rhizome_identity::{DeviceId, IdentityId, SigningKeys};
use rhizome_log::Seen;
use rhizome_net::Link;
use rhizome_pod::Pod;
use rhizome_raft::{Ballot, Batch, LogAt, NodeId, Payload, RaftEntry};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most bytes of a request; what is larger is not even read.
const REQUEST_BYTES: usize = rhizome_raft::REQUEST_BYTES_MAX;

kind! {
    /// Kind of a request between voters.
    RequestKind = "raft-request"
}

#[derive(Clone, Serialize, Deserialize)]
struct Envelope {
    k: RequestKind,
    v: u8,
    identity: IdentityId,
    generation: u64,
    certificate: Option<Certificate>,
    request: Request,
}

#[derive(Clone, Serialize, Deserialize)]
enum Request {
    Append(Append),
    Vote(VoteCall),
    Certified,
}

#[derive(Clone, Serialize, Deserialize)]
struct Append {
    ballot: Ballot,
    prev: Option<LogAt>,
    chain: Seen,
    entries: Vec<RaftEntry>,
    commit: Option<LogAt>,
}

#[derive(Clone, Serialize, Deserialize)]
struct VoteCall {
    ballot: Ballot,
    last: Option<LogAt>,
}

/// What a voter that turned hostile knows.
pub struct Peek {
    identity: IdentityId,
    generation: u64,
    end: Seen,
    own: NodeId,
    other: NodeId,
}

impl Peek {
    /// Looks into the folder of a pod while its process is away for a moment.
    pub async fn at(node: &mut Node, hostile: DeviceId) -> Self {
        node.stop().await;
        let peek = {
            let pod = Pod::start(node.options()).await.unwrap();
            let identity = pod.current().unwrap();
            let (id, me) = (identity.id(), identity.handle.device());
            let look = identity.handle.look(move |replica, _| {
                let state = replica.control().state();
                let admitted = |device: &DeviceId| state.device(device).unwrap().admitted.record;
                let status = replica.status();
                let node = |device: &DeviceId| {
                    NodeId::of(&id, status.generation, device, &admitted(device))
                };
                let (own, other) = (node(&hostile), node(&me));
                let (generation, end) = (status.generation, status.end);
                Self { identity: id, generation, end, own, other }
            });
            let peek = look.await.unwrap();
            drop(identity);
            pod.stop().await;
            peek
        };
        // The port is free once the last task of the pod in here has ended.
        while std::net::UdpSocket::bind(node.listen).is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        node.start().await;
        peek
    }

    fn envelope(&self, request: Request) -> Envelope {
        let (identity, generation) = (self.identity, self.generation);
        Envelope { k: RequestKind, v: 1, identity, generation, certificate: None, request }
    }

    fn append(&self, term: u64, node: NodeId) -> Append {
        let ballot = Ballot { term, node, granted: true };
        Append { ballot, prev: None, chain: self.end, entries: Vec::new(), commit: None }
    }

    fn vote(&self, term: u64, node: NodeId, granted: bool) -> Envelope {
        let ballot = Ballot { term, node, granted };
        self.envelope(Request::Vote(VoteCall { ballot, last: None }))
    }
}

/// A certificate that one key alone signed, for an order that never was.
pub fn certificate_of_one() -> Certificate {
    let keys = SigningKeys::from_secret([9; 32]);
    let ack = Ack::sign(&keys, Seen { g: 2, i: 1 << 40, c: [6; 32] });
    Certificate::new(ack.seen, vec![(ack.device, ack.sig)])
}

/// A voter's link that says what the voter never would.
pub struct Speaker<'a> {
    pub link: Link,
    pub peek: &'a Peek,
}

impl Speaker<'_> {
    /// Asks once; an answer that is cut off is an error like any other.
    async fn ask(&self, request: &[u8]) -> String {
        let asked = async {
            let (mut sender, mut receiver) = self.link.open(ORDER).await.ok()?;
            sender.send(request).await.ok()?;
            sender.finish().await.ok()?;
            receiver.receive().await.ok()?
        };
        let reply = asked.await.unwrap_or_default();
        String::from_utf8_lossy(&reply).into_owned()
    }

    async fn is_refused(&self, what: &str, envelope: &Envelope, because: &str) {
        let reply = self.ask(&encode(envelope).unwrap()).await;
        assert!(reply.contains(because), "{what}: {reply:?}");
    }

    /// Everything a hostile voter might try, each with the error it gets.
    pub async fn forges_everything(&self) {
        let peek = self.peek;
        for term in [u64::MAX, 1 << 48, 1 << 40] {
            let append = peek.envelope(Request::Append(peek.append(term, peek.own)));
            self.is_refused("a term out of reach", &append, "too far").await;
            let vote = peek.vote(term, peek.own, false);
            self.is_refused("a term out of reach", &vote, "too far").await;
        }
        let honest = peek.envelope(Request::Append(peek.append(1, peek.own)));
        let older = Envelope { generation: peek.generation - 1, ..honest.clone() };
        self.is_refused("a generation that is over", &older, "Superseded").await;
        let newer = Envelope { generation: peek.generation + 1, ..honest.clone() };
        self.is_refused("a generation that is not yet", &newer, "Refused").await;
        let stranger = IdentityId(Cid::of(Codec::DagCbor, b"somebody else"));
        let foreign = Envelope { identity: stranger, ..honest.clone() };
        self.is_refused("another identity", &foreign, "Refused").await;
        let disguised = peek.envelope(Request::Append(peek.append(2, peek.other)));
        self.is_refused("another voter's name", &disguised, "speaks for").await;
        let crowned = peek.vote(2, peek.own, true);
        self.is_refused("a vote that grants itself", &crowned, "ballot").await;
        self.commits_nothing().await;
        let forged = Some(certificate_of_one());
        let certified = Envelope { certificate: forged, ..peek.envelope(Request::Certified) };
        self.is_refused("a certificate of one", &certified, "certificate").await;
        for garbage in [Vec::new(), vec![0xff; 1000], vec![0xa1; REQUEST_BYTES + 1]] {
            let reply = self.ask(&garbage).await;
            assert!(reply.contains("Refused"), "garbage is answered with {reply:?}");
        }
    }

    /// Claims that entries of its own making are committed.
    async fn commits_nothing(&self) {
        let peek = self.peek;
        let record = EntryBody::Control { record: Cid::of(Codec::DagCbor, b"never was") };
        let at = LogAt { term: 2, node: peek.own, index: 0 };
        let payload = Payload::Bodies(Batch(Arc::new(vec![record])));
        let mut append = peek.append(2, peek.own);
        append.entries = vec![RaftEntry { at, payload }];
        append.commit = Some(LogAt { index: 1 << 50, ..at });
        let forged = peek.envelope(Request::Append(append.clone()));
        self.is_refused("a commit index out of nowhere", &forged, "certified").await;
        append.entries.clear();
        append.prev = Some(LogAt { index: 1 << 50, ..at });
        let beyond = peek.envelope(Request::Append(append));
        let reply = self.ask(&encode(&beyond).unwrap()).await;
        let told = ["Refused", "Conflict", "Outvoted"].iter().any(|word| reply.contains(word));
        assert!(told, "a log that nobody has: {reply:?}");
    }
}

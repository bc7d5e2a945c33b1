//! Makes of a message one that device 1 could have said where the replica stands.

use super::node::{Node, stored};
use crate::family;
use ipld_core::ipld::Ipld;
use rhizome_block::{Cid, decode, encode};
use rhizome_cluster::{Ack, Certificate, Chain, Entry};
use rhizome_identity::{ControlRecord, SigningKeys};
use rhizome_log::{Event, Head, Payload, Run, RunSignature, Slot};
use rhizome_replica::{Manifest, Message};
use rhizome_seal::EventKey;
use serde_bytes::ByteBuf;

/// Parts of one message that are mended; the others are left out.
const PARTS_MAX: usize = 8;

fn signing() -> &'static SigningKeys {
    &family::keys(1).signing
}

pub(super) fn mend(node: &Node, message: &Message) -> Message {
    match message {
        Message::Control { records } => Message::Control { records: control(node, records) },
        Message::Order { entries, certificate } => order(node, entries, certificate),
        Message::Run { run } => Message::Run { run: mend_run(node, run) },
        Message::Offer { manifest } => Message::Offer { manifest: offer(manifest) },
        Message::Blocks { blocks } => {
            let named =
                |(cid, bytes): &(Cid, ByteBuf)| (Cid::of(cid.codec(), bytes), bytes.clone());
            Message::Blocks { blocks: blocks.iter().take(PARTS_MAX).map(named).collect() }
        }
        other => other.clone(),
    }
}

fn control(node: &Node, records: &[ByteBuf]) -> Vec<ByteBuf> {
    let mut log = node.replica.control().clone();
    let mut mended = Vec::new();
    for bytes in records.iter().take(PARTS_MAX) {
        let Ok(record) = ControlRecord::from_bytes(bytes) else { continue };
        let Some(record) = family::mend(&log, &record) else { continue };
        mended.push(ByteBuf::from(record.to_bytes()));
        let _ = log.insert(record);
    }
    mended
}

/// Entries right after what is applied, certified by the one voter.
fn order(node: &Node, entries: &[ByteBuf], certificate: &Certificate) -> Message {
    let generation = node.replica.control().committed_state().generation();
    let mut chain = Chain::from(node.replica.applied());
    let bodies = entries.iter().take(PARTS_MAX).filter_map(|bytes| Entry::read(bytes).ok());
    let entries: Vec<ByteBuf> =
        bodies.map(|one| chain.push(generation, one.body).block.bytes.into()).collect();
    if entries.is_empty() {
        return Message::Order { entries, certificate: certificate.clone() };
    }
    let ack = Ack::sign(signing(), chain.end());
    let certificate = Certificate::new(ack.seen, vec![(ack.device, ack.sig)]);
    Message::Order { entries, certificate }
}

/// The run as it would follow the head of device 1, its bodies sealed and its head signed. A body
/// that is a payload is sealed as that; any other stays ciphertext that does not open.
fn mend_run(node: &Node, run: &Run) -> Run {
    let Some(secret) = node.replica.keys().newest_secret() else { return run.clone() };
    let (log, head) = (stored().log, stored().head);
    let key = EventKey::derive(secret, &log.tag.0);
    let epoch = node.replica.control().state().epoch().id;
    let follows = run.first.is_multiple_of(2);
    let (first, prev) = if follows { (head.seq + 1, Some(head.id)) } else { (run.first, run.prev) };
    let mut events: Vec<Event> = Vec::new();
    for stretch in &run.stretches {
        for body in stretch.bodies.iter().take(PARTS_MAX) {
            let prev = events.last().map_or(prev, |event| Some(event.id));
            let Some(seq) = first.checked_add(events.len() as u64) else { return run.clone() };
            let epoch = if follows { epoch } else { stretch.epoch };
            let slot = Slot { log, seq, prev, epoch, seen: stretch.seen };
            let sealed = decode::<Payload>(body)
                .ok()
                .and_then(|payload| slot.seal(&key, [7; 24], &payload).ok());
            let event = sealed.map_or_else(|| Event::at(&slot, body.to_vec()), Ok);
            events.extend(event);
        }
    }
    let Some(last) = events.last() else { return run.clone() };
    let head = Head { seq: last.header.seq, id: last.id };
    Run::pack(&events, RunSignature::sign(signing(), log, head))
}

/// The manifest inside, signed by device 1.
fn offer(manifest: &ByteBuf) -> ByteBuf {
    let Ok(Ipld::Map(mut fields)) = decode::<Ipld>(manifest) else { return manifest.clone() };
    let inner = fields.remove("manifest").and_then(|inner| encode(&inner).ok());
    let read = inner.and_then(|bytes| decode::<Manifest>(&bytes).ok());
    read.map_or_else(|| manifest.clone(), |one| one.sign(signing()).bytes.into())
}

//! Events, payloads, runs and their signatures.
//!
//! Mended: a header names the body that comes with it, a payload is sealed under the key of its
//! event, a run ends at its head and is signed by its author.

use ipld_core::ipld::Ipld;
use rhizome_block::{decode, encode};
use rhizome_identity::SigningKeys;
use rhizome_log::{Event, Head, Header, LogId, Run, RunSignature, Slot, Stretch, read_header};
use rhizome_seal::{EpochSecret, EventKey};
use std::sync::OnceLock;

/// A body that some event has; no key opens it.
const BODY: &[u8] = &[7; 64];

fn author() -> &'static SigningKeys {
    static AUTHOR: OnceLock<SigningKeys> = OnceLock::new();
    AUTHOR.get_or_init(|| SigningKeys::from_secret([1; 32]))
}

fn key(log: &LogId) -> EventKey {
    EventKey::derive(&EpochSecret::from_bytes([2; 32]), &log.tag.0)
}

/// How many of the forms of an event the bytes have.
pub fn run(bytes: &[u8]) -> u32 {
    header(bytes) + payload(bytes) + signature(bytes) + whole_run(bytes)
}

fn header(bytes: &[u8]) -> u32 {
    let Ok(header) = read_header(bytes) else { return 0 };
    assert_eq!(encode(&header).expect("it was read"), bytes, "a header has one form");
    let slot = Slot {
        log: header.log,
        seq: header.seq,
        prev: header.prev,
        epoch: header.epoch,
        seen: header.seen,
    };
    assert!(Event::read(bytes.to_vec(), BODY.to_vec()).is_err(), "no hash of a body is chosen");
    let event = Event::at(&slot, BODY.to_vec()).expect("the body is short");
    let read = Event::read(event.header_bytes.clone(), BODY.to_vec()).expect("as it was built");
    assert_eq!(read, event, "a receiver builds what the author wrote");
    assert_eq!(read.slot(), slot);
    assert!(read.open(&key(&header.log)).is_err(), "nobody sealed this body");
    1
}

/// Any bytes as the contents of a sealed event.
fn payload(bytes: &[u8]) -> u32 {
    let Place { slot, key, bound } = place();
    let Ok(event) = Event::at(slot, key.seal(bound, [3; 24], bytes)) else { return 0 };
    let Ok(payload) = event.open(key) else { return 0 };
    assert_eq!(encode(&payload).expect("it was read"), bytes, "a payload has one form");
    let resealed = slot.seal(key, [3; 24], &payload).expect("it fitted before");
    assert_eq!(resealed, event, "sealing is a function");
    1
}

/// Where payloads are sealed into: the place of the stored event.
struct Place {
    slot: Slot,
    key: EventKey,
    /// The associated data, as `docs/format/event.md` draws it.
    bound: Vec<u8>,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let stored = include_bytes!("../../../root/log/fixtures/event-header-v1.cbor");
        let Header { log, seq, prev, epoch, seen, .. } =
            decode(stored).expect("a stored header reads");
        let Ok(Ipld::Map(mut fields)) = decode(stored) else { unreachable!("a header is a map") };
        fields.remove("ct_len");
        fields.remove("ct_hash");
        let bound = encode(&Ipld::Map(fields)).expect("fewer fields have a form");
        Place { slot: Slot { log, seq, prev, epoch, seen }, key: key(&log), bound }
    })
}

fn signature(bytes: &[u8]) -> u32 {
    let Ok(read) = RunSignature::read(bytes) else { return 0 };
    assert_eq!(read.block().bytes, bytes, "a signature has one form");
    if read.log.author != author().device_id() {
        // A signature that verifies and was not made with the key would be a forgery; a key that
        // the fuzzer chose may be one of those that sign everything, which `verify` refuses.
        assert!(read.verify().is_err(), "nobody signed this");
    }
    let log = LogId { author: author().device_id(), ..read.log };
    let signed = RunSignature::sign(author(), log, read.head);
    assert!(signed.verify().is_ok(), "its author signed this");
    1
}

fn whole_run(bytes: &[u8]) -> u32 {
    let Ok(run) = decode::<Run>(bytes) else { return 0 };
    assert_eq!(encode(&run).expect("it was read"), bytes, "a run has one form");
    let passed = u32::from(run.clone().unpack().is_ok());
    let Some(signed) = mend(run) else { return 1 + passed };
    let Ok((events, signature)) = signed.clone().unpack() else { return 1 + passed };
    let packed = Run::pack(&events, signature.clone());
    let again = packed.unpack().expect("what was unpacked packs");
    assert_eq!(again, (events, signature), "packing loses nothing");
    2 + passed
}

/// The run as an author would sign it.
fn mend(mut run: Run) -> Option<Run> {
    run.log.author = author().device_id();
    let head = head(&run)?;
    run.signature = RunSignature::sign(author(), run.log, head);
    Some(run)
}

fn head(run: &Run) -> Option<Head> {
    let (mut seq, mut head) = (run.first, None::<Head>);
    for Stretch { epoch, seen, bodies } in &run.stretches {
        for body in bodies {
            let prev = head.map_or(run.prev, |head| Some(head.id));
            let slot = Slot { log: run.log, seq, prev, epoch: *epoch, seen: *seen };
            head = Some(Head { seq, id: Event::at(&slot, body.to_vec()).ok()?.id });
            seq = seq.checked_add(1)?;
        }
    }
    head
}

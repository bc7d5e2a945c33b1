//! Events and segments as they are: telling the newest, and reading everything again.

use crate::identity::Identity;
use crate::methods::data::position;
use crate::methods::events::{Opened, open_event};
use crate::methods::facts::Facts;
use crate::pod::Pod;
use rhizome_api::log::{Damage, Entry, TailEvent, TailRequest, VerifyAnswer};
use rhizome_api::{ApiError, Durability, Empty, Problem};
use rhizome_block::{Cid, Codec, peek_kind};
use rhizome_identity::{Author, ControlBody, ControlRecord};
use rhizome_log::{Event, RunSignature, read_header};
use rhizome_store::{DamageKind, Mark, Report, Store};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

/// Most events told at once, and how many without being asked.
const TAIL_MAX: u64 = 1_000;
const TAIL_DEFAULT: u64 = 20;

/// Streams the newest events, and those that follow.
pub async fn tail(
    pod: &Pod,
    request: TailRequest,
    sender: mpsc::Sender<TailEvent>,
) -> Result<Empty, ApiError> {
    let identity = pod.current()?;
    let limit = request.limit.unwrap_or(TAIL_DEFAULT).min(TAIL_MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let store = &identity.handle.store;
    let (mark, newest) = block_in_place(|| newest(store, limit)).map_err(|e| unreadable(&e))?;
    tell(&identity, newest, &sender).await?;
    if request.follow { follow(&identity, mark, &sender).await } else { Ok(Empty {}) }
}

/// Tells what follows, until nobody listens or the identity is closed.
async fn follow(
    identity: &Identity,
    mut mark: Mark,
    sender: &mpsc::Sender<TailEvent>,
) -> Result<Empty, ApiError> {
    let store = &identity.handle.store;
    let mut pulse = identity.handle.pulse();
    loop {
        if store.end() != mark {
            let mut found = VecDeque::new();
            let scanned = block_in_place(|| scan(store, mark, TAIL_MAX as usize, &mut found));
            (mark, _) = scanned.map_err(|error| unreadable(&error))?;
            tell(identity, found, sender).await?;
        }
        let ended = match pulse.changed().await {
            Ok(()) => pulse.borrow_and_update().ended.is_some(),
            Err(_) => true,
        };
        if ended {
            return Err(ApiError::new(Problem::ABORTED, "the identity was closed"));
        }
    }
}

fn unreadable(error: &io::Error) -> ApiError {
    ApiError::new(Problem::DISK, "segments cannot be read").caused_by(error)
}

/// An event or a control record as it lies in a segment.
enum Found {
    Event(Box<Event>),
    Control(Box<ControlRecord>, u64),
}

/// The newest ones, from as few segments as hold them.
fn newest(store: &Store, limit: usize) -> io::Result<(Mark, VecDeque<Found>)> {
    let start = store.start();
    let mut from = Mark { offset: 0, ..store.end() };
    loop {
        let mut found = VecDeque::new();
        let (end, _) = scan(store, from, limit, &mut found)?;
        if found.len() >= limit || from <= start {
            return Ok((end, found));
        }
        from.segment -= 1;
    }
}

/// Visits from a mark to the end and keeps the last `limit`.
fn scan(
    store: &Store,
    from: Mark,
    limit: usize,
    found: &mut VecDeque<Found>,
) -> io::Result<(Mark, Report)> {
    let mut header: Option<Vec<u8>> = None;
    store.visit_from(from, &mut |_, cid, bytes| {
        let one = match (cid.codec(), header.take()) {
            (Codec::Raw, Some(header)) => {
                let event = Event::read(header, bytes.to_vec()).ok();
                event.map(|event| Found::Event(Box::new(event)))
            }
            (Codec::Raw, None) => None,
            _ => match peek_kind(bytes) {
                Some("event") => {
                    header = Some(bytes.to_vec());
                    None
                }
                Some("control") => {
                    let record = ControlRecord::from_bytes(bytes).ok();
                    record.map(|record| Found::Control(Box::new(record), bytes.len() as u64))
                }
                _ => None,
            },
        };
        if let Some(one) = one {
            found.push_back(one);
            if found.len() > limit {
                found.pop_front();
            }
        }
    })
}

async fn tell(
    identity: &Identity,
    found: VecDeque<Found>,
    sender: &mpsc::Sender<TailEvent>,
) -> Result<(), ApiError> {
    if found.is_empty() {
        return Ok(());
    }
    let opened = identity.handle.look(move |replica, _| {
        let open = |found: Found| {
            let opened = match &found {
                Found::Event(event) => open_event(replica, event),
                Found::Control(..) => None,
            };
            (found, opened)
        };
        found.into_iter().map(open).collect::<Vec<_>>()
    });
    let opened = opened.await?;
    let facts = Facts::of(identity).await?;
    for (found, opened) in opened {
        let entry = match found {
            Found::Event(event) => event_entry(identity, &facts, &event, opened),
            Found::Control(record, bytes) => control_entry(&facts, &record, bytes),
        };
        let sent = sender.send(TailEvent::Entry(entry)).await;
        sent.map_err(|_| ApiError::new(Problem::INTERRUPTED, "nobody reads any more"))?;
    }
    Ok(())
}

fn event_entry(identity: &Identity, facts: &Facts, event: &Event, opened: Option<Opened>) -> Entry {
    let (log, seq) = (event.header.log, event.header.seq);
    let app = facts.status.logs.iter().find(|one| one.log == log).and_then(|one| one.app.clone());
    let at = opened.as_ref().zip(app.as_deref()).and_then(|(opened, app)| {
        let documents = identity.handle.documents(app);
        let history = documents.history(identity.handle.index(), opened.first()?).ok()?;
        history.iter().find(|change| change.id == event.id)?.at
    });
    let travelled = facts.durability_of(&log, seq);
    let durability = match at {
        Some(at) if travelled == Durability::Committed => facts.durability_at(at),
        _ => travelled,
    };
    Entry {
        id: event.id.to_string(),
        at_ms: opened.as_ref().map_or(0, |opened| opened.at_ms),
        device: facts.name(&log.author),
        app,
        seq,
        summary: opened.map_or_else(|| "sealed".to_owned(), |opened| opened.summary()),
        durability,
        position: at.map(position),
        bytes: (event.header_bytes.len() + event.body.len()) as u64,
    }
}

fn control_entry(facts: &Facts, record: &ControlRecord, bytes: u64) -> Entry {
    let device = match record.author() {
        Author::Device(device) => facts.name(&device),
        Author::Recovery | Author::Root => "recovery kit".to_owned(),
    };
    let committed = facts.control.0 == facts.control.1;
    Entry {
        id: record.cid().to_string(),
        at_ms: record.clock() >> 16,
        device,
        app: None,
        seq: record.height(),
        summary: control_summary(facts, record.body()),
        durability: if committed { Durability::Committed } else { Durability::Local },
        position: None,
        bytes,
    }
}

fn control_summary(facts: &Facts, body: &ControlBody) -> String {
    match body {
        ControlBody::AddDevice(add) if add.certificate.body().serial > 1 => {
            format!("device {} got its name", facts.name(&add.certificate.device()))
        }
        ControlBody::AddDevice(add) => {
            format!("device {} was let in", facts.name(&add.certificate.device()))
        }
        ControlBody::RevokeDevice(revoke) => {
            format!("device {} was removed", facts.name(&revoke.device))
        }
        ControlBody::RotateEpoch(_) => "the keys changed".to_owned(),
        ControlBody::ChangeVoters(change) => {
            let names: Vec<String> = change.voters.iter().map(|id| facts.name(id)).collect();
            format!("{} order", names.join(", "))
        }
        ControlBody::SetPolicy(_) => "rules changed".to_owned(),
        ControlBody::Adopt(_) => "an identity was adopted".to_owned(),
        ControlBody::Dormant(_) => "a device counts as absent, or no longer".to_owned(),
        ControlBody::Reform(_) => "the order went on with other voters".to_owned(),
    }
}

/// Reads every segment again and checks every hash and signature.
pub async fn verify(pod: &Pod) -> Result<VerifyAnswer, ApiError> {
    let identity = pod.current()?;
    check(&identity).map_err(|error| unreadable(&error))
}

/// The check itself, on this thread.
pub fn check(identity: &Identity) -> io::Result<VerifyAnswer> {
    let since = Instant::now();
    let mut answer = VerifyAnswer::default();
    let mut segments = BTreeSet::new();
    let mut wrong = Vec::new();
    let store = &identity.handle.store;
    block_in_place(|| {
        let (_, report) = store.visit_from(Mark::default(), &mut |place, cid, bytes| {
            segments.insert(place.segment);
            if cid.codec() == Codec::Raw {
                return;
            }
            let fault = match peek_kind(bytes) {
                Some("event") => {
                    answer.events += 1;
                    read_header(bytes).err().map(|error| format!("event: {error}"))
                }
                Some("run") => {
                    answer.signatures += 1;
                    let checked = RunSignature::read(bytes).and_then(|run| run.verify());
                    checked.err().map(|error| format!("signature: {error}"))
                }
                _ => None,
            };
            if let Some(what) = fault {
                wrong.push(damage(place.segment, place.offset, what));
            }
        })?;
        answer.blocks = report.sections;
        answer.bytes = report.bytes;
        answer.damage = damages(store, &report)?;
        Ok::<_, io::Error>(())
    })?;
    answer.damage.append(&mut wrong);
    answer.segments = segments.len() as u64;
    answer.took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(answer)
}

fn damage(segment: u32, offset: u64, what: String) -> Damage {
    Damage { segment: format!("{segment:08}.car"), offset, what, repaired: false }
}

/// What a scan found, and which of it lies whole somewhere else, where a good copy was appended.
fn damages(store: &Store, report: &Report) -> io::Result<Vec<Damage>> {
    if report.damages.is_empty() {
        return Ok(Vec::new());
    }
    let damaged: BTreeSet<Cid> = report.damages.iter().filter_map(|one| one.cid).collect();
    let mut whole = BTreeSet::new();
    store.visit_from(Mark::default(), &mut |_, cid, _| {
        if damaged.contains(&cid) {
            whole.insert(cid);
        }
    })?;
    let one = |found: &rhizome_store::Damage| {
        let what = match found.kind {
            DamageKind::Missing => "segment is missing or cut".to_owned(),
            _ => format!("{} bytes are not what was written", found.bytes),
        };
        let repaired = found.cid.is_some_and(|cid| whole.contains(&cid));
        Damage { repaired, ..damage(found.mark.segment, found.mark.offset, what) }
    };
    Ok(report.damages.iter().map(one).collect())
}

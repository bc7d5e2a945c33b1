//! How everything is: is my data safe, where is it, who is waiting for whom since when.
//!
//! Every number is backed by an acknowledgement. Nothing is called confirmed because an error
//! stayed away.

use crate::clock;
use crate::identity::Identity;
use crate::methods::facts::{Facts, Member, Removed};
use crate::methods::{identity, pins, process, walk};
use crate::pod::Pod;
use rhizome_api::status::{
    DurabilitySummary, Hosting, Order, State, StateWord, StatusAnswer, Storage, Waiting,
};
use rhizome_api::{ApiError, Problem};
use rhizome_identity::{DeviceId, IdentityId};
use rhizome_log::Seen;
use rhizome_replica::{Alarm, RevokeReason};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::task::block_in_place;

/// Below this the disk counts as nearly full: two segments and an index have room in it.
const FREE_BYTES_LOW: u64 = 256 << 20;

/// How everything is.
pub async fn status(pod: &Pod) -> Result<StatusAnswer, ApiError> {
    let mut answer = StatusAnswer {
        version: process::VERSION.to_owned(),
        dir: pod.dir().display().to_string(),
        now_ms: clock::now_ms(),
        listening: vec![pod.listening().to_string()],
        config: config(pod),
        ..StatusAnswer::default()
    };
    answer.hosting = hosting(pod)?;
    answer.storage.free_bytes = fs4::available_space(pod.dir()).ok();
    let identity = match pod.current() {
        Ok(identity) => identity,
        Err(error) => {
            let error = ApiError::from(error);
            if error.id != Problem::NO_IDENTITY.id {
                return Err(error);
            }
            answer.state = State {
                is: StateWord::NeedsAttention,
                reason: Some(error.message),
                action: error.hint,
                ..State::default()
            };
            return Ok(answer);
        }
    };
    let facts = Facts::of(&identity).await?;
    answer.identity = Some(identity::describe(pod, &identity.home).await?);
    answer.devices = facts.devices();
    answer.order = order(&facts, pod.inner.started_ms, answer.now_ms);
    answer.storage = storage(&identity, &facts, answer.storage.free_bytes)?;
    answer.durability = durability(identity.id(), &facts);
    answer.snapshot = crate::snapshot::list(pod).await?.snapshots.pop();
    answer.state = state(&identity, &facts, &answer);
    Ok(answer)
}

fn config(pod: &Pod) -> serde_json::Value {
    let options = &pod.inner.options;
    serde_json::json!({
        "listen": options.listen.map(|listen| listen.to_string()),
        "advertise": options.advertise,
        "host": options.host,
        "lan": options.lan,
        "metrics": options.metrics.map(|metrics| metrics.to_string()),
    })
}

fn hosting(pod: &Pod) -> Result<Option<Hosting>, ApiError> {
    if !pod.inner.options.host {
        return Ok(None);
    }
    let mut hosting = Hosting::default();
    for home in pod.inner.home.identities()? {
        if home.meta().is_ok_and(|meta| meta.hosted) {
            hosting.identities += 1;
            hosting.bytes += block_in_place(|| folder_bytes(&home.store_dir()));
        }
    }
    Ok(Some(hosting))
}

/// Bytes of all files below a folder; what vanishes meanwhile does not count.
pub fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

fn order(facts: &Facts, started_ms: u64, now_ms: u64) -> Order {
    let status = &facts.status;
    Order {
        generation: status.generation,
        index: status.end.i,
        applied: status.applied.i,
        voters: facts.voters.iter().map(|id| facts.name(id)).collect(),
        leader: facts.leader().map(|id| facts.name(&id)),
        committed_all: facts.all_committed && status.control_waiting == 0,
        waiting: waiting(facts, started_ms, now_ms),
    }
}

fn changes(count: u64) -> String {
    if count == 1 { "1 change".to_owned() } else { format!("{count} changes") }
}

/// Since when a device cannot be reached; while it can, since now.
fn away_ms(facts: &Facts, device: &DeviceId, started_ms: u64, now_ms: u64) -> u64 {
    if facts.is_connected(device) { now_ms } else { facts.heard_ms(device).unwrap_or(started_ms) }
}

fn waiting(facts: &Facts, started_ms: u64, now_ms: u64) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    let mut add = |what: String, device: &DeviceId, action: String| {
        let (for_whom, since_ms) = (facts.name(device), away_ms(facts, device, started_ms, now_ms));
        waiting.push(Waiting { what, for_whom, since_ms, action });
    };
    let unplaced = facts.unplaced();
    if unplaced > 0 {
        for voter in facts.voters.iter().filter(|id| **id != facts.me) {
            let action = match facts.is_connected(voter) {
                true => "nothing: it answers".to_owned(),
                false if facts.lacks_quorum() => format!(
                    "rhizome peer test \"{}\"; if it is gone for good: rhizome cluster reform",
                    facts.name(voter)
                ),
                false => format!("rhizome peer test \"{}\"", facts.name(voter)),
            };
            add(format!("the place of {} in the order", changes(unplaced)), voter, action);
        }
    }
    if facts.status.sequencer {
        for device in &facts.status.doubted {
            let action = format!("bring \"{}\" online", facts.name(device));
            add("what this disk may have forgotten".to_owned(), device, action);
        }
    }
    for peer in facts.status.peers.iter().filter(|peer| peer.greeted && peer.lacking > 0) {
        let action = "nothing: they are on their way".to_owned();
        add(format!("copying {}", changes(peer.lacking)), &peer.device, action);
    }
    let only_here = only_here(facts);
    if only_here > 0 {
        for member in facts.others().filter(|one| is_away(facts, one)) {
            let action = format!("bring \"{}\" online", member.name);
            add(format!("a copy of {}", changes(only_here)), &member.id, action);
        }
    }
    waiting.sort_by_key(|one| one.since_ms);
    waiting
}

fn is_away(facts: &Facts, member: &Member) -> bool {
    !member.dormant && !facts.is_connected(&member.id)
}

/// How many events nobody else acknowledged, neither by holding nor by placing them.
fn only_here(facts: &Facts) -> u64 {
    let logs = facts.status.logs.iter().filter(|log| log.held_by.is_empty());
    let placed = |placed: u64| if facts.voted_elsewhere() { placed } else { 0 };
    logs.map(|log| log.held.saturating_sub(placed(log.placed))).sum()
}

/// How many documents there were, and of which state.
type Counted = (Vec<(u64, u64)>, Seen, u64);

/// Counts of documents, which cost a walk: kept for as long as nothing changes.
static COUNTED: Mutex<BTreeMap<IdentityId, Counted>> = Mutex::new(BTreeMap::new());

fn storage(
    identity: &Identity,
    facts: &Facts,
    free_bytes: Option<u64>,
) -> Result<Storage, ApiError> {
    let store = identity.home.store_dir();
    let events: u64 = facts.status.logs.iter().map(|log| log.held).sum();
    let index = identity.handle.index();
    block_in_place(|| {
        Ok(Storage {
            segment_bytes: folder_bytes(&store.join("segments")),
            index_bytes: folder_bytes(&identity.folder.index_path()),
            events,
            documents: documents(identity, facts)?,
            attachments: pins::attachments(index)?,
            free_bytes,
        })
    })
}

fn documents(identity: &Identity, facts: &Facts) -> Result<u64, ApiError> {
    let logs: Vec<(u64, u64)> =
        facts.status.logs.iter().map(|log| (log.held, log.effective)).collect();
    let counted = || COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, applied, count)) = counted().get(&identity.id())
        && (of, applied) == (&logs, &facts.status.applied)
    {
        return Ok(*count);
    }
    let index = identity.handle.index();
    let count =
        facts.apps().iter().map(|app| walk::count(index, app, None)).sum::<Result<_, _>>()?;
    counted().insert(identity.id(), (logs, facts.status.applied, count));
    Ok(count)
}

/// How many events a checkpoint stood for when it was the newest: what was written since does not
/// make it smaller.
static PINNED: Mutex<BTreeMap<IdentityId, (Seen, u64)>> = Mutex::new(BTreeMap::new());

fn durability(identity: IdentityId, facts: &Facts) -> DurabilitySummary {
    let mut summary = DurabilitySummary::default();
    for log in &facts.status.logs {
        summary.aside += log.aside;
        summary.committed += log.effective;
        let open = log.held.saturating_sub(log.effective);
        let placed = log.placed.saturating_sub(log.effective);
        match facts.copies(&log.log, log.held) {
            0 if facts.voted_elsewhere() => {
                summary.copied += placed;
                summary.local_only += open - placed.min(open);
            }
            0 => summary.local_only += open,
            _ => summary.copied += open,
        }
    }
    let mut pinned = PINNED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(frontier) = facts.pinned {
        if frontier.i >= facts.status.applied.i {
            pinned.insert(identity, (frontier, summary.committed));
        }
        let known = pinned.get(&identity).filter(|(at, _)| at.i <= frontier.i);
        summary.pinned = known.map_or(0, |(_, events)| *events).min(summary.committed);
        summary.committed -= summary.pinned;
    }
    let holds_all = |member: &&Member| facts.device(member).holds_all;
    summary.full_copies = facts.others().filter(holds_all).count() as u64;
    summary
}

/// The state by the closed list, the most urgent first.
fn state(identity: &Identity, facts: &Facts, answer: &StatusAnswer) -> State {
    if let Some(removed) = &facts.removed {
        return left(facts, removed);
    }
    if facts.locked {
        return State {
            is: StateWord::Locked,
            reason: Some(format!("the kit {} opens it", facts.meta.kit_key_id)),
            action: Some("rhizome recovery restore".to_owned()),
            ..State::default()
        };
    }
    let trouble = trouble(identity, answer.storage.free_bytes);
    trouble.unwrap_or_else(|| travelling(facts, answer))
}

/// This device does not belong any more. What it shows is what it had.
fn left(facts: &Facts, removed: &Removed) -> State {
    let why = match removed.reason {
        RevokeReason::Lost => "lost",
        RevokeReason::Retired => "retired",
        RevokeReason::Compromised => "compromised",
    };
    let by = removed.by.map_or_else(|| "the recovery kit".to_owned(), |by| facts.name(&by));
    let reason = format!("this device was removed from the identity as {why}, by {by}");
    let mut state = attention(reason, "rhizome data export, and link it as a new device");
    state.since_ms = Some(removed.at_ms);
    state
}

fn trouble(identity: &Identity, free_bytes: Option<u64>) -> Option<State> {
    if let Some(what) = identity.handle.store.failed() {
        return Some(attention(format!("the disk refused: {what}"), "rhizome doctor"));
    }
    if let Some(free) = free_bytes.filter(|free| *free < FREE_BYTES_LOW) {
        return Some(State {
            is: StateWord::LowDisk,
            reason: Some(format!("{} MiB are free", free >> 20)),
            action: Some("make room on the disk".to_owned()),
            ..State::default()
        });
    }
    if identity.report.damages_count > 0 {
        return Some(attention("segments are damaged".to_owned(), "rhizome log verify"));
    }
    let alarms = identity.alarms.lock().unwrap_or_else(PoisonError::into_inner);
    alarms.last().map(|alarm| match alarm {
        Alarm::Equivocation { .. } => attention(
            "two different orders were confirmed for one place".to_owned(),
            "rhizome device list",
        ),
        Alarm::Misplaced { .. } => attention(
            "an event was confirmed that its device did not write".to_owned(),
            "rhizome device list",
        ),
        Alarm::ForkedLog { .. } => attention(
            "a device wrote two different events for one place".to_owned(),
            "rhizome device list",
        ),
        Alarm::SealsDiffer { .. } => attention(
            "two devices came to different documents from one history".to_owned(),
            "rhizome doctor --rebuild",
        ),
        Alarm::Damage { .. } => {
            attention("a block on this disk is damaged".to_owned(), "rhizome log verify")
        }
    })
}

fn attention(reason: String, action: &str) -> State {
    State {
        is: StateWord::NeedsAttention,
        reason: Some(reason),
        action: Some(action.to_owned()),
        ..State::default()
    }
}

fn travelling(facts: &Facts, answer: &StatusAnswer) -> State {
    let Some(first) = answer.order.waiting.first() else {
        let is = match answer.order.committed_all {
            true => StateWord::UpToDate,
            false => StateWord::SavingHere,
        };
        return State { is, ..State::default() };
    };
    let of = |is: StateWord, one: &Waiting, left: Option<u64>| State {
        is,
        who: Some(one.for_whom.clone()),
        since_ms: Some(one.since_ms),
        left,
        reason: None,
        action: Some(one.action.clone()),
    };
    let unplaced = facts.unplaced();
    let missing = facts.voters.iter().find(|id| **id != facts.me && !facts.is_connected(id));
    if let (Some(missing), true) = (missing, unplaced > 0) {
        let name = facts.name(missing);
        let one = answer.order.waiting.iter().find(|one| one.for_whom == name).unwrap_or(first);
        let lost = facts.lacks_quorum().then(|| format!("without {name} nothing can be confirmed"));
        return State { reason: lost, ..of(StateWord::OrderPending, one, Some(unplaced)) };
    }
    let lacking = facts.status.peers.iter().filter(|peer| peer.greeted && peer.lacking > 0);
    if let Some(peer) = lacking.max_by_key(|peer| peer.lacking) {
        let name = facts.name(&peer.device);
        let one = answer.order.waiting.iter().find(|one| one.for_whom == name).unwrap_or(first);
        return of(StateWord::Copying, one, Some(peer.lacking));
    }
    if only_here(facts) > 0 {
        return of(StateWord::WaitingForDevice, first, Some(only_here(facts)));
    }
    of(StateWord::OrderPending, first, Some(unplaced))
}

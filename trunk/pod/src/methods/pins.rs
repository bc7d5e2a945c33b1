//! Which sets of blocks are kept where, read from the index without asking the actor.

use crate::methods::facts::Facts;
use crate::methods::failure;
use rhizome_api::{ApiError, Problem};
use rhizome_block::Cid;
use rhizome_identity::DeviceId;
use rhizome_log::{Index, Seen, scan_prefix};
use rhizome_replica::{
    Manifest, PinPurpose, ReplicaError, block_bytes, event_bytes, past_control, space,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

/// Most manifests whose contents are remembered; beyond, they are read again.
const KNOWN_MAX: usize = 65_536;

/// What a manifest is about.
#[derive(Clone, Copy)]
struct About {
    purpose: PinPurpose,
    seen: Seen,
    prev: Option<Cid>,
}

/// Manifests read before. A name is the hash of what it names, so this can never be wrong; `None`
/// is one that is not valid.
static KNOWN: Mutex<BTreeMap<Cid, Option<About>>> = Mutex::new(BTreeMap::new());

fn about(cid: &Cid, bytes: impl FnOnce() -> Option<Vec<u8>>) -> Option<About> {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(about) = known().get(cid) {
        return *about;
    }
    let about = Manifest::read(&bytes()?).ok().map(|manifest| About {
        purpose: manifest.purpose,
        seen: manifest.seen,
        prev: manifest.prev,
    });
    let mut known = known();
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.insert(*cid, about);
    about
}

fn look(index: &dyn Index, cid: &Cid) -> Option<About> {
    let key = |space: u8| [&[space], cid.to_bytes().as_slice()].concat();
    let row = |space: u8| index.get(&key(space)).ok().flatten();
    about(cid, || row(space::PIN).or_else(|| row(space::LISTED)))
}

/// The newest place in the order, up to `applied`, before which every event is in a checkpoint that
/// one of `holders` acknowledged holding. Control records behind it change no document, so a device
/// that joins later makes nothing less safe.
pub fn frontier(
    index: &dyn Index,
    holders: &BTreeSet<DeviceId>,
    applied: u64,
) -> Result<Option<Seen>, ApiError> {
    let mut kept: BTreeMap<DeviceId, BTreeSet<Cid>> = BTreeMap::new();
    let scanned = scan_prefix(index, &[space::KEPT], false, &mut |key, _| {
        if let Some((device, cid)) = key[1..].split_first_chunk::<32>()
            && holders.contains(&DeviceId(*device))
            && let Ok(cid) = Cid::from_bytes(cid)
        {
            kept.entry(DeviceId(*device)).or_default().insert(cid);
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| failure::index(&error))?;
    let whole = kept.values().flat_map(|kept| {
        kept.iter().filter_map(|cid| {
            let about = look(index, cid)?;
            let is_whole = about.prev.is_none_or(|prev| kept.contains(&prev));
            (about.purpose == PinPurpose::Snapshot && is_whole).then_some(about.seen)
        })
    });
    let Some(newest) = whole.max_by_key(|seen| seen.i) else { return Ok(None) };
    let reached = past_control(index, newest, applied);
    reached.map(Some).map_err(|error| ApiError::from_error(Problem::DAMAGED, &error))
}

/// How many bytes of what is here a device acknowledged holding: the logs it has all of, or signed
/// the places of, and whole sets of blocks. `None` if it acknowledged nothing yet.
pub fn held_bytes(
    index: &dyn Index,
    facts: &Facts,
    device: &DeviceId,
) -> Result<Option<u64>, ApiError> {
    let failed = |error: ReplicaError| ApiError::from_error(Problem::DISK, &error);
    let mut bytes = None;
    for log in &facts.status.logs {
        let to = match log.held_by.contains(device) {
            true => log.held,
            false if facts.voters == [*device] => log.placed,
            false => 0,
        };
        if to > 0 {
            *bytes.get_or_insert(0) += event_bytes(index, &log.log, to).map_err(failed)?;
        }
    }
    let mut blocks = BTreeSet::new();
    let prefix = [&[space::KEPT], device.0.as_slice()].concat();
    let scanned = scan_prefix(index, &prefix, false, &mut |key, _| {
        let pin = [&[space::PIN], &key[prefix.len()..]].concat();
        let manifest = index.get(&pin).ok().flatten();
        if let Some(manifest) = manifest.and_then(|bytes| Manifest::read(&bytes).ok()) {
            blocks.extend(manifest.blocks);
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| failure::index(&error))?;
    if !blocks.is_empty() {
        *bytes.get_or_insert(0) += block_bytes(index, &blocks).map_err(failed)?;
    }
    Ok(bytes)
}

/// How many attachments are kept here.
pub fn attachments(index: &dyn Index) -> Result<u64, ApiError> {
    let mut count = 0;
    let scanned = scan_prefix(index, &[space::PIN], false, &mut |key, value| {
        let about = Cid::from_bytes(&key[1..]).ok();
        let about = about.and_then(|cid| about_of(&cid, value));
        count += u64::from(about.is_some_and(|about| about.purpose == PinPurpose::Attachment));
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| failure::index(&error))?;
    Ok(count)
}

fn about_of(cid: &Cid, bytes: &[u8]) -> Option<About> {
    about(cid, || Some(bytes.to_vec()))
}

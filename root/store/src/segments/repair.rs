//! Which damage is repaired: a good copy of all that was in it lies somewhere else.
//!
//! Getting that copy is left to `root/replica`, appending it to [`crate::Store::repair`].

use super::scan::scan_closed;
use super::{Damage, DamageKind, Mark, Report, car};
use crate::{Disk, Place};
use rhizome_block::{BLOCK_BYTES_READ_MAX, Cid, Codec};
use std::collections::BTreeMap;
use std::io;

/// The first of `damages` that is not repaired by a block in one of `segments`.
pub(super) fn unrepaired(
    disk: &dyn Disk,
    damages: &[Damage],
    segments: impl Iterator<Item = Mark>,
) -> io::Result<Option<Damage>> {
    if damages.is_empty() {
        return Ok(None);
    }
    let names: Vec<Vec<Cid>> =
        damages.iter().map(|damage| names(disk, damage)).collect::<io::Result<_>>()?;
    let mut whole: BTreeMap<Cid, Option<usize>> =
        names.iter().flatten().map(|name| (*name, None)).collect();
    let mut buffer = Vec::new();
    for mark in segments {
        let mut visit = |_: Place, cid: Cid, bytes: &[u8]| {
            if let Some(found) = whole.get_mut(&cid) {
                *found = Some(bytes.len());
            }
        };
        scan_closed(disk, mark, &mut visit, &mut Report::default(), &mut buffer)?;
    }
    let is_repaired = |damage: &Damage, names: &[Cid]| {
        // A header holds no block. A region that is longer than its block holds another one.
        is_header(damage)
            || names.iter().filter_map(|name| whole[name]).any(|data_bytes| {
                rhizome_block::car::section_bytes(data_bytes) as u64 == damage.bytes
            })
    };
    let mut both = damages.iter().zip(&names);
    Ok(both.find(|(damage, names)| !is_repaired(damage, names)).map(|(damage, _)| *damage))
}

fn is_header(damage: &Damage) -> bool {
    damage.mark.offset == 0 && damage.bytes == car::HEADER.len() as u64
}

/// The names that the block in a damaged region can have had, whichever of length, name and data
/// was hit.
fn names(disk: &dyn Disk, damage: &Damage) -> io::Result<Vec<Cid>> {
    let bytes_max = BLOCK_BYTES_READ_MAX + car::HEAD_BYTES_MAX;
    let length = usize::try_from(damage.bytes).unwrap_or(usize::MAX);
    if damage.kind == DamageKind::Missing || length > bytes_max {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; length];
    let file = car::segment_name(damage.mark.segment);
    let count = disk.read_at(&file, damage.mark.offset, &mut bytes)?;
    bytes.truncate(count);
    let mut names = Vec::new();
    for length_bytes in 1..=car::LENGTH_BYTES_MAX {
        let Some((name, data)) =
            bytes.get(length_bytes..).and_then(|b| b.split_at_checked(Cid::BYTES))
        else {
            break;
        };
        names.extend(Cid::from_bytes(name).ok());
        names.extend([Codec::Raw, Codec::DagCbor].map(|codec| Cid::of(codec, data)));
    }
    Ok(names)
}

//! The loop that makes the world match the wish: plan, take one step, act, look again.

use crate::plan::{Pin, Present, Step, plan};
use crate::target::{PUT_BYTES_MAX, PinError, PinTarget};
use rhizome_block::{Block, Cid};
use std::collections::{BTreeMap, BTreeSet};

/// Why a step could not be done. The others go on; the next run tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// The target did not do it.
    #[error("step at a pin target failed")]
    Target(#[from] PinError),
    /// A block that should be kept elsewhere is not here either.
    #[error("block {cid} of a pin is not here")]
    Missing {
        /// The block.
        cid: Cid,
    },
}

/// What one run did.
#[derive(Debug, Default)]
pub struct Record {
    /// Blocks handed over.
    pub put: usize,
    /// Blocks proven.
    pub proven: usize,
    /// Blocks that a holder had acknowledged and could not prove; they are handed over again.
    pub lost: Vec<(String, Cid)>,
    /// Targets that failed, and why.
    pub failed: BTreeMap<String, ReconcileError>,
}

/// Brings every pin to its targets and lets those that are due prove what they hold. `read` gives
/// a block that is stored here; `known` is what was known before and is brought up to date.
pub fn reconcile(
    wanted: &[Pin],
    targets: &mut [Box<dyn PinTarget>],
    known: &mut Present,
    read: &dyn Fn(&Cid) -> Option<Vec<u8>>,
    now_ms: u64,
    dice: [u8; 32],
) -> Record {
    let mut record = Record::default();
    loop {
        let usable: Present = known
            .iter()
            .filter(|(name, _)| !record.failed.contains_key(*name))
            .map(|(name, holding)| (name.clone(), holding.clone()))
            .collect();
        let Some(step) = plan(wanted, &usable, now_ms, dice).into_iter().next() else {
            return record;
        };
        let (Step::Put { target: name, .. } | Step::Audit { target: name, .. }) = &step;
        let name = name.clone();
        let Some(target) = targets.iter_mut().find(|target| target.name() == name) else {
            known.remove(&name);
            continue;
        };
        let held = known.entry(name.clone()).or_default();
        let done = match &step {
            Step::Put { blocks, .. } => put(&mut **target, blocks, read).map(|()| {
                held.blocks.extend(blocks);
                record.put += blocks.len();
            }),
            Step::Audit { manifest, blocks, .. } => {
                target.audit(blocks).map_err(ReconcileError::from).map(|audit| {
                    let lost: BTreeSet<Cid> = audit.missing.iter().copied().collect();
                    held.blocks.retain(|cid| !lost.contains(cid));
                    held.audited_ms.insert(*manifest, now_ms);
                    record.proven += audit.proven.len();
                    record.lost.extend(lost.into_iter().map(|cid| (name.clone(), cid)));
                })
            }
        };
        if let Err(error) = done {
            tracing::warn!(target = name, error = &error as &dyn std::error::Error, "pin failed");
            record.failed.insert(name, error);
        }
    }
}

fn put(
    target: &mut dyn PinTarget,
    cids: &[Cid],
    read: &dyn Fn(&Cid) -> Option<Vec<u8>>,
) -> Result<(), ReconcileError> {
    let mut blocks = Vec::new();
    let mut bytes = 0;
    for cid in cids {
        let block = read(cid).ok_or(ReconcileError::Missing { cid: *cid })?;
        if bytes + block.len() > PUT_BYTES_MAX {
            target.put(&std::mem::take(&mut blocks))?;
            bytes = 0;
        }
        bytes += block.len();
        blocks.push(Block { cid: *cid, bytes: block });
    }
    Ok(target.put(&blocks)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DirectoryTarget, Holding};
    use std::fs;

    fn world() -> (Vec<Pin>, BTreeMap<Cid, Vec<u8>>) {
        let blocks: Vec<Block> =
            (0..50u8).map(|n| Block::raw(vec![n; 100 + usize::from(n)])).collect();
        let manifest = Block::raw(b"the list".to_vec());
        let pin = Pin {
            manifest: manifest.cid,
            blocks: blocks.iter().map(|block| block.cid).collect(),
            targets: BTreeSet::from(["attic".to_owned()]),
        };
        let stored = blocks.into_iter().chain([manifest]);
        (vec![pin], stored.map(|block| (block.cid, block.bytes)).collect())
    }

    fn attic(path: &std::path::Path) -> Vec<Box<dyn PinTarget>> {
        vec![Box::new(DirectoryTarget::open("attic", path).unwrap())]
    }

    #[test]
    fn a_pin_reaches_its_folder_and_what_is_damaged_there_is_handed_over_again() {
        let dir = tempfile::tempdir().unwrap();
        let (wanted, stored) = world();
        let read = |cid: &Cid| stored.get(cid).cloned();
        let mut known = Present::from([("attic".to_owned(), Holding::default())]);
        let mut targets = attic(dir.path());
        let first = reconcile(&wanted, &mut targets, &mut known, &read, 0, [7; 32]);
        assert_eq!((first.put, first.failed.len()), (51, 0));
        assert_eq!(first.proven, crate::AUDIT_BLOCKS);

        // Somebody changes one byte of every file: whatever is asked for is found missing.
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 1);
            fs::write(&path, bytes).unwrap();
        }
        let later = crate::AUDIT_PAUSE_MS;
        let second = reconcile(&wanted, &mut targets, &mut known, &read, later, [8; 32]);
        assert_eq!(second.lost.len(), crate::AUDIT_BLOCKS);
        assert_eq!(second.put, crate::AUDIT_BLOCKS);
        let again = targets[0].audit(&[second.lost[0].1]).unwrap();
        assert_eq!(again.missing, Vec::new(), "the new copy is whole");
    }

    #[test]
    fn a_block_that_is_nowhere_is_told_and_stops_only_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let (wanted, _) = world();
        let mut known = Present::from([("attic".to_owned(), Holding::default())]);
        let record = reconcile(&wanted, &mut attic(dir.path()), &mut known, &|_| None, 0, [7; 32]);
        assert!(matches!(record.failed["attic"], ReconcileError::Missing { .. }));
        assert_eq!(record.put, 0);
    }
}

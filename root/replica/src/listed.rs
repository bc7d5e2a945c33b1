//! Sets of blocks that cloud peers keep and this device does not: what they are, and how much.
//!
//! A device makes its own checkpoints and takes nobody else's; but whether one is kept, and how new
//! it is, every device should say. A cloud peer names the sets it keeps when it says hello and when
//! it has a new one; their lists are asked for like any block. All of it is asked for again when
//! the index is made anew.

use crate::access::{Access, ReplicaError};
use crate::input::Effect;
use crate::message::Message;
use crate::pins::{Manifest, PinPurpose};
use crate::rows::{self, BlockRow, EventRow, RowError};
use crate::state::Replica;
use rhizome_block::{Block, Cid, Codec};
use rhizome_identity::DeviceId;
use rhizome_log::{Index, LogId};
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

/// Most lists asked for at once: one can be as large as a block, and the newest are what counts.
const LISTS_MAX: usize = 16;

impl Replica {
    /// A cloud peer keeps these sets.
    pub(crate) fn learn_sets(
        &self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        sets: &[Cid],
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if !self.keys.can_read() || !self.is_cloud_peer(&device) {
            return Ok(());
        }
        let mut unknown = Vec::new();
        for cid in sets {
            let kept = rows::kept_key(&device, cid);
            if access.index.get(&kept)?.is_none() {
                access.index.put(kept, Vec::new());
            }
            let known = access.index.get(&rows::pin_key(cid))?.is_some()
                || access.index.get(&rows::listed_key(cid))?.is_some();
            if !known && unknown.len() < LISTS_MAX {
                unknown.push(*cid);
            }
        }
        if !unknown.is_empty() {
            effects.push(Effect::Send(device, Message::WantBlocks { cids: unknown }));
        }
        Ok(())
    }

    /// Notes the list of a checkpoint that a peer said it keeps. Says whether it was one.
    pub(crate) fn take_list(
        &self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        block: &Block,
    ) -> Result<bool, ReplicaError> {
        let keeps = self.peers.get(&device).is_some_and(|peer| peer.kept.contains(&block.cid));
        if block.cid.codec() != Codec::DagCbor || !keeps {
            return Ok(false);
        }
        let Ok(manifest) = Manifest::read(&block.bytes) else { return Ok(false) };
        let ours = self.control.state().device(&manifest.author).is_some();
        if !ours || manifest.purpose != PinPurpose::Snapshot {
            return Ok(false);
        }
        if access.index.get(&rows::pin_key(&block.cid))?.is_none() {
            access.index.put(rows::listed_key(&block.cid), block.bytes.clone());
        }
        Ok(true)
    }
}

/// How many bytes of this disk the events of a log take up to `to`.
pub fn event_bytes(index: &dyn Index, log: &LogId, to: u64) -> Result<u64, ReplicaError> {
    let (from, to) = (rows::event_key(log, 0), rows::event_key(log, to));
    let mut bytes = 0;
    let mut broken: Option<RowError> = None;
    let range = (Bound::Included(from.as_slice()), Bound::Included(to.as_slice()));
    index.scan(range.0, range.1, false, &mut |_, value| match rows::parse::<EventRow>(value) {
        Ok(row) => {
            bytes += u64::from(row.header.bytes) + u64::from(row.body.bytes);
            ControlFlow::Continue(())
        }
        Err(error) => {
            broken = Some(error);
            ControlFlow::Break(())
        }
    })?;
    broken.map_or(Ok(bytes), |error| Err(error.into()))
}

/// How many bytes of this disk these sealed blocks take.
pub fn block_bytes(index: &dyn Index, cids: &BTreeSet<Cid>) -> Result<u64, ReplicaError> {
    let mut bytes = 0;
    for cid in cids {
        if let Some(row) = index.get(&rows::block_key(cid))? {
            bytes += u64::from(rows::parse::<BlockRow>(&row)?.place.bytes);
        }
    }
    Ok(bytes)
}

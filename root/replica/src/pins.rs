//! Sets of blocks that are kept together: attachments and snapshots.
//!
//! A manifest lists its blocks as plain links, so that whoever keeps them needs no keys, and is
//! signed by the device that made it. A device offers its sets; the peer says which blocks it
//! lacks, stores them, and acknowledges the whole set once all of it is durable. Drawn in
//! `docs/format/manifest.md`.

use crate::access::{Access, ReplicaError};
use crate::input::{CloseReason, Effect, Ticket};
use crate::message::Message;
use crate::rows::{self, BlockRow, space};
use crate::ship::read_or_report;
use crate::stage::Staged;
use crate::state::Replica;
use rhizome_block::{
    BLOCK_BYTES_READ_MAX, Block, CborError, Cid, Codec, Version, decode, encode, kind,
};
use rhizome_identity::{DeviceId, DeviceKind, Signature, SigningKeys, verify};
use rhizome_log::Seen;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Most blocks of one manifest, so that it stays below a block; larger sets chain by `prev`.
pub const PIN_BLOCKS_MAX: usize = 20_000;

/// Most blocks asked for in one message.
const WANT_MAX: usize = 256;

/// Most bytes of blocks in one message; a frame carries 4 MiB.
const BLOCKS_BYTES_MAX: usize = 2 << 20;

/// Most sets offered to a peer that has not acknowledged them.
const OFFERS_MAX: usize = 4;

/// Most blocks the layer above may wait for.
pub(crate) const WANTED_MAX: usize = 65_536;

const VERSION: u8 = 1;
const SIGN_DOMAIN: &str = "manifest";

kind! {
    /// Kind of a manifest.
    pub ManifestKind = "manifest"
}

/// What a set of blocks is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum PinPurpose {
    /// A file that documents refer to: every device wants it.
    Attachment,
    /// A state snapshot: cloud peers keep it, devices make their own.
    Snapshot,
}

/// The public list of a set, without its signature.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Kind.
    pub k: ManifestKind,
    /// Version.
    pub v: Version<VERSION>,
    /// What the set is for.
    pub purpose: PinPurpose,
    /// The order its maker had applied.
    pub seen: Seen,
    /// The manifest before it in a chain.
    pub prev: Option<Cid>,
    /// The blocks.
    pub blocks: Vec<Cid>,
    /// Where reading starts, sealed for devices.
    pub root: ByteBuf,
    /// Who made it.
    pub author: DeviceId,
}

#[derive(Serialize, Deserialize)]
struct SignedManifest {
    k: ManifestKind,
    v: Version<VERSION>,
    manifest: Manifest,
    sig: Signature,
}

impl Manifest {
    /// A manifest of this device.
    #[must_use]
    pub fn new(purpose: PinPurpose, seen: Seen, blocks: Vec<Cid>, root: Vec<u8>) -> Self {
        Self {
            k: ManifestKind,
            v: Version,
            purpose,
            seen,
            prev: None,
            blocks,
            root: ByteBuf::from(root),
            author: DeviceId([0; 32]),
        }
    }

    /// Signs it and names it.
    #[must_use]
    pub fn sign(mut self, keys: &SigningKeys) -> Block {
        self.author = keys.device_id();
        let bytes = encode(&self).expect("a manifest has a DAG-CBOR form");
        let sig = keys.sign(SIGN_DOMAIN, &bytes);
        let signed = SignedManifest { k: ManifestKind, v: Version, manifest: self, sig };
        Block::encode(&signed).expect("a manifest has a DAG-CBOR form")
    }

    /// Reads a signed manifest and checks its author's signature.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let signed: SignedManifest = decode(bytes).map_err(|source| match source {
            CborError::Version { version } => ManifestError::Version { version },
            source => ManifestError::Malformed { source },
        })?;
        let manifest = signed.manifest;
        if manifest.blocks.len() > PIN_BLOCKS_MAX {
            return Err(ManifestError::TooMany { blocks: manifest.blocks.len() });
        }
        if let Some(cid) = manifest.blocks.iter().find(|cid| cid.codec() != Codec::Raw) {
            return Err(ManifestError::Unsealed { cid: *cid });
        }
        let bytes = encode(&manifest).map_err(|source| ManifestError::Malformed { source })?;
        verify(&manifest.author.0, SIGN_DOMAIN, &bytes, &signed.sig)
            .map_err(|_| ManifestError::Signature)?;
        Ok(manifest)
    }
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the format.
    #[error("manifest is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// Another version.
    #[error("manifest has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// Beyond [`PIN_BLOCKS_MAX`].
    #[error("manifest lists {blocks} blocks, more than {PIN_BLOCKS_MAX}")]
    TooMany {
        /// How many it lists.
        blocks: usize,
    },
    /// A block of it is not sealed. What we keep for others lies beside our own records, and what
    /// is no raw block would be read as one of them when the index is built anew.
    #[error("manifest lists {cid}, which is no sealed block")]
    Unsealed {
        /// Which.
        cid: Cid,
    },
    /// Its author did not sign it.
    #[error("manifest is not signed by its author")]
    Signature,
}

/// Blocks with the manifest that lists them, ready to be kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PinSet {
    /// What the set is for.
    pub purpose: PinPurpose,
    /// Where reading starts, sealed for devices.
    pub root: Vec<u8>,
    /// All blocks of the set, also those already stored.
    pub cids: Vec<Cid>,
    /// Those that may be missing here.
    pub blocks: Vec<Block>,
}

/// A set on its way here.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    from: DeviceId,
    bytes: Vec<u8>,
    missing: BTreeSet<Cid>,
}

impl Replica {
    /// Keeps a set made on this device.
    pub(crate) fn pin(
        &mut self,
        access: &mut Access<'_, '_>,
        ticket: Ticket,
        set: PinSet,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if set.cids.len() > PIN_BLOCKS_MAX {
            let refused = crate::CommandError::TooManyBlocks { blocks: set.cids.len() };
            effects.push(Effect::Rejected(ticket, refused));
            return Ok(());
        }
        for block in set.blocks {
            if !has_block(access, &block.cid)? {
                self.stage_block(block);
            }
        }
        let manifest = Manifest::new(set.purpose, self.order.applied, set.cids, set.root)
            .sign(self.keys.signing());
        self.stage_manifest(manifest, Some(ticket));
        Ok(())
    }

    /// Keeps blocks of a checkpoint that somebody else made.
    pub(crate) fn keep(
        &mut self,
        access: &Access<'_, '_>,
        ticket: Ticket,
        blocks: Vec<Block>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        for block in blocks.into_iter().filter(Block::holds) {
            if block.cid.codec() == Codec::Raw {
                if !has_block(access, &block.cid)? {
                    self.stage_block(block);
                }
            } else if Manifest::read(&block.bytes).is_ok()
                && access.index.get(&rows::pin_key(&block.cid))?.is_none()
            {
                self.stage_manifest(block, None);
            }
        }
        if self.staged.is_empty() {
            effects.push(Effect::Done(ticket, crate::Outcome::Unchanged));
        } else {
            self.staged.push(Staged::Command(ticket, crate::Outcome::Unchanged));
        }
        Ok(())
    }

    fn stage_manifest(&mut self, block: Block, ticket: Option<Ticket>) {
        let (manifest, bytes) = (block.cid, block.bytes.clone());
        self.blocks.push(block);
        self.staged.push(Staged::Pin { manifest, bytes, ticket });
    }

    pub(crate) fn pins_held(&self, access: &Access<'_, '_>) -> Result<Vec<Cid>, ReplicaError> {
        Ok(self.manifests(access)?.into_iter().map(|(cid, _)| cid).collect())
    }

    fn manifests(&self, access: &Access<'_, '_>) -> Result<Vec<(Cid, Vec<u8>)>, ReplicaError> {
        let mut found = Vec::new();
        access.index.scan_prefix(&[space::PIN], &mut |key, bytes| {
            if let Ok(cid) = Cid::from_bytes(&key[1..]) {
                found.push((cid, bytes.to_vec()));
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    pub(crate) fn is_cloud_peer(&self, device: &DeviceId) -> bool {
        let device = self.control.state().device(device);
        device.is_some_and(|one| one.certificate.body().kind == DeviceKind::CloudPeer)
    }

    /// Offers a peer the sets it lacks, a few at a time.
    pub(crate) fn offer_pins(
        &mut self,
        access: &Access<'_, '_>,
        device: DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let wants_all = self.is_cloud_peer(&device);
        let manifests = self.manifests(access)?;
        let Some(peer) = self.peers.get(&device).filter(|peer| peer.greeted) else {
            return Ok(());
        };
        let lacking = manifests.into_iter().filter(|(cid, bytes)| {
            let purpose = Manifest::read(bytes).map(|manifest| manifest.purpose);
            let wanted = wants_all || matches!(purpose, Ok(PinPurpose::Attachment));
            wanted && !peer.kept.contains(cid)
        });
        for (_, bytes) in lacking.take(OFFERS_MAX) {
            let manifest = ByteBuf::from(bytes);
            effects.push(Effect::Send(device, Message::Offer { manifest }));
        }
        Ok(())
    }

    /// A peer has a set.
    pub(crate) fn offered(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        bytes: &[u8],
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let block = Block { cid: manifest_cid(bytes), bytes: bytes.to_vec() };
        let manifest = match Manifest::read(bytes) {
            Ok(manifest) if self.control.state().device(&manifest.author).is_some() => manifest,
            Err(ManifestError::Version { version }) => {
                // A peer that runs a newer program does nothing wrong; its set waits for ours.
                tracing::warn!(peer = %device.short(), version, "offered set is not understood");
                return Ok(());
            }
            _ => {
                effects.push(Effect::Close(device, CloseReason::Misbehaved));
                return Ok(());
            }
        };
        if access.index.get(&rows::pin_key(&block.cid))?.is_some() {
            effects.push(Effect::Send(device, Message::Kept { pins: vec![block.cid] }));
            return Ok(());
        }
        if self.keys.can_read() && manifest.purpose == PinPurpose::Snapshot {
            return Ok(());
        }
        let mut missing = BTreeSet::new();
        for cid in &manifest.blocks {
            if !has_block(access, cid)? {
                missing.insert(*cid);
            }
        }
        if missing.is_empty() {
            self.stage_manifest(block, None);
            return Ok(());
        }
        let fetch = Fetch { from: device, bytes: block.bytes, missing };
        self.fetching.insert(block.cid, fetch);
        self.ask_for_blocks(device, effects);
        Ok(())
    }

    fn ask_for_blocks(&self, device: DeviceId, effects: &mut Vec<Effect>) {
        let cids: Vec<Cid> = self
            .fetching
            .values()
            .filter(|fetch| fetch.from == device)
            .flat_map(|fetch| fetch.missing.iter().copied())
            .take(WANT_MAX)
            .collect();
        if !cids.is_empty() {
            effects.push(Effect::Send(device, Message::WantBlocks { cids }));
        }
    }

    /// The layer above wants blocks: ask every peer that may have them.
    pub(crate) fn want(
        &mut self,
        access: &Access<'_, '_>,
        cids: Vec<Cid>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let mut here = Vec::new();
        let mut missing = Vec::new();
        for cid in cids {
            if has_block(access, &cid)? || access.index.get(&rows::pin_key(&cid))?.is_some() {
                here.push(cid);
            } else if self.wanted.len() < WANTED_MAX {
                self.wanted.insert(cid);
                missing.push(cid);
            }
        }
        if !here.is_empty() {
            effects.push(Effect::Arrived(here));
        }
        let peers = self.peers.iter().filter(|(_, peer)| peer.greeted).map(|(device, _)| *device);
        for device in peers {
            for cids in missing.chunks(WANT_MAX) {
                effects.push(Effect::Send(device, Message::WantBlocks { cids: cids.to_vec() }));
            }
        }
        Ok(())
    }

    /// Asks a peer that just said hello for what is still wanted.
    pub(crate) fn want_again(&self, device: DeviceId, effects: &mut Vec<Effect>) {
        let cids: Vec<Cid> = self.wanted.iter().copied().take(WANT_MAX).collect();
        if !cids.is_empty() {
            effects.push(Effect::Send(device, Message::WantBlocks { cids }));
        }
    }

    pub(crate) fn send_blocks(
        &mut self,
        access: &Access<'_, '_>,
        device: DeviceId,
        cids: &[Cid],
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for cid in cids.iter().take(WANT_MAX) {
            let Some(block) = self.block(access, cid)? else { continue };
            bytes += block.len();
            blocks.push((*cid, ByteBuf::from(block)));
            if bytes > BLOCKS_BYTES_MAX {
                let blocks = std::mem::take(&mut blocks);
                effects.push(Effect::Send(device, Message::Blocks { blocks }));
                bytes = 0;
            }
        }
        if !blocks.is_empty() {
            effects.push(Effect::Send(device, Message::Blocks { blocks }));
        }
        Ok(())
    }

    /// Reads a stored block or manifest.
    pub fn block(
        &self,
        access: &Access<'_, '_>,
        cid: &Cid,
    ) -> Result<Option<Vec<u8>>, ReplicaError> {
        if let Some(manifest) = access.index.get(&rows::pin_key(cid))? {
            return Ok(Some(manifest));
        }
        let row: Option<BlockRow> = rows::get(access.index, &rows::block_key(cid))?;
        match row {
            Some(row) => read_or_report(access, row.place, cid),
            None => Ok(None),
        }
    }

    pub(crate) fn take_blocks(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        blocks: Vec<(Cid, ByteBuf)>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        for (cid, bytes) in blocks {
            let block = Block { cid, bytes: bytes.into_vec() };
            if block.bytes.len() > BLOCK_BYTES_READ_MAX || !block.holds() {
                effects.push(Effect::Close(device, CloseReason::Misbehaved));
                return Ok(());
            }
            let mut expected = self.wanted.contains(&cid);
            for fetch in self.fetching.values_mut() {
                expected |= fetch.missing.remove(&cid);
            }
            if !expected && self.take_list(access, device, &block)? {
                continue;
            }
            if expected && cid.codec() == Codec::Raw && !has_block(access, &cid)? {
                self.stage_block(block);
            }
        }
        self.finish_fetches();
        self.ask_for_blocks(device, effects);
        Ok(())
    }

    fn finish_fetches(&mut self) {
        let whole: Vec<Cid> = self
            .fetching
            .iter()
            .filter(|(_, fetch)| fetch.missing.is_empty())
            .map(|(cid, _)| *cid)
            .collect();
        for cid in whole {
            if let Some(fetch) = self.fetching.remove(&cid) {
                self.stage_manifest(Block { cid, bytes: fetch.bytes }, None);
            }
        }
    }

    /// A peer acknowledges whole sets.
    pub(crate) fn peer_kept(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        pins: Vec<Cid>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        for manifest in &pins {
            access.index.put(rows::kept_key(&device, manifest), Vec::new());
        }
        self.learn_sets(access, device, &pins, effects)?;
        if let Some(peer) = self.peers.get_mut(&device) {
            peer.kept.extend(pins);
        }
        self.offer_pins(access, device, effects)
    }

    /// Which peers acknowledged which sets, and what the sets are for: those kept here, and
    /// checkpoints that only cloud peers keep.
    pub fn pins(
        &self,
        access: &Access<'_, '_>,
    ) -> Result<BTreeMap<Cid, (Manifest, BTreeSet<DeviceId>)>, ReplicaError> {
        let mut pins = BTreeMap::new();
        let mut known = self.manifests(access)?;
        access.index.scan_prefix(&[space::LISTED], &mut |key, bytes| {
            known.extend(Cid::from_bytes(&key[1..]).ok().map(|cid| (cid, bytes.to_vec())));
            ControlFlow::Continue(())
        })?;
        for (cid, bytes) in known {
            if let Ok(manifest) = Manifest::read(&bytes) {
                pins.insert(cid, (manifest, BTreeSet::new()));
            }
        }
        access.index.scan_prefix(&[space::KEPT], &mut |key, _| {
            let parsed = key[1..]
                .split_first_chunk::<32>()
                .and_then(|(device, cid)| Some((DeviceId(*device), Cid::from_bytes(cid).ok()?)));
            if let Some((device, cid)) = parsed
                && let Some((_, holders)) = pins.get_mut(&cid)
            {
                holders.insert(device);
            }
            ControlFlow::Continue(())
        })?;
        Ok(pins)
    }
}

fn manifest_cid(bytes: &[u8]) -> Cid {
    Cid::of(rhizome_block::Codec::DagCbor, bytes)
}

fn has_block(access: &Access<'_, '_>, cid: &Cid) -> Result<bool, ReplicaError> {
    Ok(access.index.get(&rows::block_key(cid))?.is_some())
}

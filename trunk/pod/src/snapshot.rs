//! Checkpoints: the committed state of all apps as one tree of sealed blocks, kept on cloud peers.
//!
//! A checkpoint is cut when everything held has taken effect, so that it is a function of the
//! committed prefix. Its manifest lists ciphertext blocks and is signed by this device; where
//! reading starts is sealed inside. Formats are `root/block`'s and `root/replica`'s.

use crate::handle::AskError;
use crate::identity::Identity;
use crate::link::failed;
use crate::pod::Pod;
use crate::{clock, link};
use rhizome_api::snapshot::{
    Audit, CreateAnswer, ExportAnswer, ExportRequest, ListAnswer, Snapshot, VerifyAnswer,
    VerifyRequest,
};
use rhizome_api::{ApiError, Problem};
use rhizome_block::prolly::{self, Reader, Root};
use rhizome_block::{
    BLOCK_BYTES_MAX, Block, CborError, Cid, Link, Version, car, decode, encode, kind,
};
use rhizome_doc::Documents;
use rhizome_identity::DeviceId;
use rhizome_log::{Index, Overlay, Seen};
use rhizome_replica::{
    Access, Base, Command, Manifest, Outcome, PinPurpose, PinSet, Replica, ReplicaKeys,
};
use rhizome_seal::{EpochSecret, boundary_key, open_block, seal_block};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a checkpoint waits for the order before it says who is waited for.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// How long a checkpoint waits for connected devices to say that they come to the same documents.
const SEAL_WAIT: Duration = Duration::from_secs(2);

/// Most documents of one app that are read from a checkpoint.
pub const DOCUMENTS_MAX: u64 = 100_000_000;

/// Most blocks asked for at once while a checkpoint is read.
pub const BLOCKS_AT_ONCE: usize = 64;

kind! {
    /// Kind of where reading a checkpoint starts.
    pub CheckpointKind = "checkpoint"
}

/// Where reading a checkpoint starts; sealed inside its manifest.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    k: CheckpointKind,
    v: Version<1>,
    /// What the person calls the identity.
    pub name: String,
    /// Where a replica goes on that takes it.
    pub base: Base,
    /// The tree of each app's documents.
    pub apps: Vec<(String, Root)>,
    /// Hash over the committed records of all apps.
    #[serde(with = "serde_bytes")]
    pub state: [u8; 32],
    /// Documents, tombstones included.
    pub documents: u64,
    /// When it was cut.
    pub made_ms: u64,
}

/// What is read inside the actor, so that it belongs to one moment.
struct Cut {
    base: Base,
    secret: EpochSecret,
    boundary: [u8; 32],
    apps: Vec<(String, Vec<prolly::Entry>)>,
}

/// Cuts a checkpoint and keeps it; cloud peers fetch it as they connect.
pub async fn create(pod: &Pod) -> Result<CreateAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let settled = identity.handle.until(rhizome_replica::Replica::is_settled);
    if tokio::time::timeout(SETTLE_WAIT, settled).await.is_err() {
        let message = "order not confirmed: a checkpoint holds confirmed changes only";
        return Err(ApiError::new(Problem::NOT_CONFIRMED, message).saved().hint("rhizome status"));
    }
    let index = Arc::clone(&identity.handle.index);
    let cut = identity.handle.look(move |replica, access| cut(replica, access, &*index)).await;
    let cut = cut.map_err(|error| failed(&error))?;
    let cut = cut.ok_or_else(|| ApiError::new(Problem::ABORTED, "a change came in between"))?;
    let (set, checkpoint) = seal(&identity, cut).await?;
    let outcome = identity.handle.pin(set).await.map_err(|error| failed(&error))?;
    let Outcome::Pinned { manifest } = outcome else {
        return Err(ApiError::new(Problem::INTERNAL, "a checkpoint was not kept"));
    };
    tracing::info!(%manifest, documents = checkpoint.documents, "checkpoint");
    let unsealed_by = seal_now(&identity, checkpoint.base.seen).await?;
    let snapshot = find(&identity, Some(manifest.to_string())).await?.0;
    let waiting_for =
        if snapshot.pinned_by.is_empty() { cloud_peers(&identity).await } else { Vec::new() };
    Ok(CreateAnswer { snapshot, waiting_for, unsealed_by })
}

/// Says what the state is at a place, and waits a moment for others to say it. Returns who did not.
async fn seal_now(identity: &Identity, seen: Seen) -> Result<Vec<String>, ApiError> {
    identity.handle.command(Command::Seal).await?;
    let connected: BTreeSet<DeviceId> = identity.links().keys().copied().collect();
    let agreed = identity.handle.until(move |replica| {
        let missing = replica.seal_status().missing;
        replica.sealed_at(&seen).is_some() && missing.is_disjoint(&connected)
    });
    // Who does not answer is named.
    let _ = tokio::time::timeout(SEAL_WAIT, agreed).await;
    let missing = identity.handle.look(|replica, _| replica.seal_status().missing).await;
    let mut names = Vec::new();
    for device in missing.map_err(|error| failed(&error))? {
        names.push(link::describe(identity, device).await.name);
    }
    Ok(names)
}

fn cut(replica: &Replica, access: &Access<'_, '_>, index: &dyn Index) -> Option<Cut> {
    let base = replica.base(access).ok()??;
    let secret = replica.keys().newest_secret()?.clone();
    let boundary = boundary_key(replica.keys().fixed_secret()?);
    let names: std::collections::BTreeSet<String> =
        base.logs.iter().filter_map(|log| log.app.clone()).collect();
    let mut apps = Vec::new();
    for app in names {
        let mut entries = Vec::new();
        let exported = Documents::new(&app).export_committed(index, &mut |key, bytes, newest| {
            entries.push((key.to_vec(), bytes.to_vec(), newest));
            ControlFlow::Continue(())
        });
        exported.ok()?;
        apps.push((app, entries));
    }
    Some(Cut { base, secret, boundary, apps })
}

/// Seals a cut into blocks, away from the actor.
async fn seal(identity: &Identity, cut: Cut) -> Result<(PinSet, Checkpoint), ApiError> {
    let name = identity.home.meta().map_err(|error| failed(&error))?.name;
    let sealed = tokio::task::spawn_blocking(move || {
        let mut blocks: BTreeMap<Cid, Block> = BTreeMap::new();
        let mut seal = |plain: &[u8]| {
            let sealed = seal_block(&cut.secret, plain);
            let link = Link { cid: sealed.cid, key: sealed.key };
            blocks.insert(sealed.cid, Block { cid: sealed.cid, bytes: sealed.bytes });
            link
        };
        let mut state = blake3_of_nothing();
        let mut documents = 0;
        let mut apps = Vec::new();
        for (app, entries) in cut.apps {
            documents += entries.len() as u64;
            for (key, bytes, _) in &entries {
                state = chain(&state, key, bytes);
            }
            let root = prolly::build(entries.into_iter(), &cut.boundary, &mut seal)?;
            apps.push((app, root));
        }
        let (k, v, made_ms) = (CheckpointKind, Version, clock::now_ms());
        let checkpoint = Checkpoint { k, v, name, base: cut.base, apps, state, documents, made_ms };
        Ok::<_, prolly::BuildError>((blocks, checkpoint))
    });
    let (blocks, checkpoint) =
        sealed.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let plain = encode(&checkpoint).map_err(|error| failed(&error))?;
    let nonce = clock::random();
    let root = identity.handle.look(move |replica, _| replica.keys().seal_root(&plain, nonce));
    let root = root.await.map_err(|error| failed(&error))?;
    let root = root.ok_or_else(|| ApiError::new(Problem::NOT_PERMITTED, "no keys here"))?;
    let cids = blocks.keys().copied().collect();
    let blocks = blocks.into_values().collect();
    Ok((PinSet { purpose: PinPurpose::Snapshot, root, cids, blocks }, checkpoint))
}

fn blake3_of_nothing() -> [u8; 32] {
    [0; 32]
}

/// One step of the hash over records: order and bytes count.
fn chain(state: &[u8; 32], key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut data = Vec::with_capacity(key.len() + bytes.len() + 8);
    data.extend_from_slice(&(key.len() as u64).to_be_bytes());
    data.extend_from_slice(key);
    data.extend_from_slice(bytes);
    rhizome_seal::keyed_hash(state, "rhizome checkpoint state v1", &data)
}

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Its epoch's secret is not here.
    #[error("the checkpoint is sealed under a key that is not on this device")]
    Sealed,
    /// It was cut by a newer program.
    #[error("the checkpoint has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// Not the format.
    #[error("the checkpoint is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
}

impl From<CheckpointError> for ApiError {
    fn from(error: CheckpointError) -> Self {
        let problem = match &error {
            CheckpointError::Version { .. } => Problem::FORMAT,
            _ => Problem::DAMAGED,
        };
        Self::from_error(problem, &error)
    }
}

/// Opens where a checkpoint starts.
pub fn open(keys: &ReplicaKeys, manifest: &Manifest) -> Result<Checkpoint, CheckpointError> {
    read(&keys.open_root(&manifest.root).ok_or(CheckpointError::Sealed)?)
}

fn read(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    decode(bytes).map_err(|source| match source {
        CborError::Version { version } => CheckpointError::Version { version },
        source => CheckpointError::Malformed { source },
    })
}

/// Reads documents out of the block `cid` of a checkpoint.
pub fn supply(
    reader: &mut Reader,
    cid: &Cid,
    bytes: &[u8],
) -> Result<Vec<prolly::Found>, prolly::ReadError> {
    reader.supply(cid, bytes, &mut |link, sealed| {
        Ok(open_block(&link.cid, &link.key, sealed, BLOCK_BYTES_MAX)?)
    })
}

/// Takes the documents of a base whose blocks are all here into an index that is built anew.
pub fn import_base(replica: &Replica, access: &mut Access<'_, '_>, base: &Base) -> Option<()> {
    let manifest = replica.block(access, &base.manifest?).ok()??;
    let checkpoint = open(replica.keys(), &Manifest::read(&manifest).ok()?).ok()?;
    for (app, root) in checkpoint.apps {
        let documents = Documents::new(&app);
        let mut reader = Reader::new(root, DOCUMENTS_MAX).ok()?;
        while !reader.is_done() {
            for cid in reader.wanted(BLOCKS_AT_ONCE) {
                let bytes = replica.block(access, &cid).ok()??;
                for found in supply(&mut reader, &cid, &bytes).ok()? {
                    let overlay: &mut Overlay<'_> = access.index;
                    documents.import_committed(overlay, &found.key, &found.value).ok()?;
                }
            }
        }
    }
    Some(())
}

/// A checkpoint as it is kept: its name, the list of its blocks, where reading starts, who has it.
type Kept = (Cid, Manifest, Result<Checkpoint, CheckpointError>, Vec<String>);

async fn manifests(identity: &Identity) -> Result<Vec<Kept>, ApiError> {
    let look = identity.handle.look(|replica, access| {
        let pins = replica.pins(access)?;
        let snapshots = pins.into_iter().filter(|(_, (m, _))| m.purpose == PinPurpose::Snapshot);
        let described = snapshots.map(|(cid, (manifest, holders))| {
            let checkpoint = open(replica.keys(), &manifest);
            (cid, manifest, checkpoint, holders)
        });
        Ok::<_, rhizome_replica::ReplicaError>(described.collect::<Vec<_>>())
    });
    let found = look.await.map_err(|error: AskError| failed(&error))?;
    let found = found.map_err(|error| failed(&error))?;
    let mut named = Vec::new();
    for (cid, manifest, checkpoint, holders) in found {
        let mut names = Vec::new();
        for holder in holders {
            names.push(link::describe(identity, holder).await.name);
        }
        named.push((cid, manifest, checkpoint, names));
    }
    named.sort_by_key(|(_, manifest, _, _)| manifest.seen);
    Ok(named)
}

async fn describe(
    identity: &Identity,
    (cid, manifest, checkpoint, pinned_by): Kept,
) -> Result<Snapshot, ApiError> {
    let mut bytes = 0;
    for block in &manifest.blocks {
        let block = identity.handle.block(*block).await.map_err(|error| failed(&error))?;
        bytes += block.map_or(0, |block| block.len() as u64);
    }
    let at = checkpoint.as_ref().map_or(manifest.seen, |checkpoint| checkpoint.base.seen);
    let sealed = identity.handle.look(move |replica, _| replica.sealed_at(&at).is_some()).await;
    Ok(Snapshot {
        id: cid.to_string(),
        generation: manifest.seen.g,
        index: manifest.seen.i,
        created_ms: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.made_ms),
        documents: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.documents),
        bytes,
        new_bytes: bytes,
        sealed: sealed.map_err(|error| failed(&error))?,
        pinned_by,
    })
}

/// The checkpoints that are known.
pub async fn list(pod: &Pod) -> Result<ListAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let mut snapshots = Vec::new();
    for one in manifests(&identity).await? {
        snapshots.push(describe(&identity, one).await?);
    }
    Ok(ListAnswer { snapshots })
}

async fn find(
    identity: &Identity,
    id: Option<String>,
) -> Result<(Snapshot, Manifest, Checkpoint), ApiError> {
    let all = manifests(identity).await?;
    let wanted =
        |one: &Kept| id.as_ref().is_none_or(|id| one.0.to_string().starts_with(id.as_str()));
    let found = all.into_iter().rev().find(wanted);
    let none = || {
        ApiError::new(Problem::UNKNOWN_NAME, "no such checkpoint").hint("rhizome snapshot create")
    };
    let (cid, manifest, checkpoint, holders) = found.ok_or_else(none)?;
    let checkpoint = checkpoint?;
    let one = (cid, manifest.clone(), Ok(checkpoint.clone()), holders);
    Ok((describe(identity, one).await?, manifest, checkpoint))
}

/// Reads a checkpoint whole from the blocks here and derives its state again.
pub async fn verify(pod: &Pod, request: VerifyRequest) -> Result<VerifyAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let (snapshot, manifest, checkpoint) = find(&identity, request.id).await?;
    let mut missing = Vec::new();
    for cid in &manifest.blocks {
        let block = identity.handle.block(*cid).await.map_err(|error| failed(&error))?;
        if block.is_none() {
            missing.push(cid.to_string());
        }
    }
    let mut state = blake3_of_nothing();
    if missing.is_empty() {
        for (_, root) in &checkpoint.apps {
            let mut records = read_all(&identity, *root).await?;
            records.sort();
            for (key, bytes) in &records {
                state = chain(&state, key, bytes);
            }
        }
    }
    let holders = snapshot.pinned_by.iter().map(|holder| Audit {
        holder: holder.clone(),
        asked: manifest.blocks.len() as u64,
        had: manifest.blocks.len() as u64,
    });
    Ok(VerifyAnswer {
        root_matches: missing.is_empty() && state == checkpoint.state,
        blocks: manifest.blocks.len() as u64,
        missing,
        holders: holders.collect(),
        snapshot,
    })
}

async fn read_all(identity: &Identity, root: Root) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ApiError> {
    let mut reader = Reader::new(root, DOCUMENTS_MAX).map_err(|error| failed(&error))?;
    let mut records = Vec::new();
    while !reader.is_done() {
        for cid in reader.wanted(BLOCKS_AT_ONCE) {
            let block = identity.handle.block(cid).await.map_err(|error| failed(&error))?;
            let block = block.unwrap_or_default();
            let found = supply(&mut reader, &cid, &block).map_err(|error| failed(&error))?;
            records.extend(found.into_iter().map(|found| (found.key, found.value)));
        }
    }
    Ok(records)
}

/// Writes a checkpoint as a CAR file: its manifest as the root, then its blocks, as they are.
pub async fn export(pod: &Pod, request: ExportRequest) -> Result<ExportAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let (snapshot, manifest, _) = find(&identity, request.id).await?;
    let id: Cid = snapshot.id.parse().map_err(|error| failed(&error))?;
    let mut bytes = car::header(&[id]);
    let mut blocks = 0;
    for cid in std::iter::once(&id).chain(&manifest.blocks) {
        let block = identity.handle.block(*cid).await.map_err(|error| failed(&error))?;
        let missing = || ApiError::new(Problem::DAMAGED, format!("block {cid} is not here"));
        car::write_section(&mut bytes, cid, &block.ok_or_else(missing)?);
        blocks += 1;
    }
    let to = Path::new(&request.to);
    std::fs::write(to, &bytes)
        .map_err(|error| ApiError::from_error(Problem::LOCAL_FILE, &error))?;
    Ok(ExportAnswer { path: request.to, root: snapshot.id, blocks, bytes: bytes.len() as u64 })
}

async fn cloud_peers(identity: &Identity) -> Vec<String> {
    let look = identity.handle.look(|replica, _| {
        let state = replica.control().state();
        let blind = |one: &rhizome_identity::Device| one.certificate.body().sealing.is_none();
        let clouds = state.devices().filter(|(_, one)| one.is_live() && blind(one));
        clouds.map(|(id, _)| id).collect::<Vec<_>>()
    });
    let mut names = Vec::new();
    for device in look.await.unwrap_or_default() {
        names.push(link::describe(identity, device).await.name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{stored, version_2};
    use rhizome_block::{Codec, peek_kind};
    use rhizome_log::Seen;
    use rhizome_replica::BaseKind;

    #[test]
    fn a_checkpoint_of_version_1_reads_back_and_other_versions_are_refused_by_their_number() {
        let seen = Seen { g: 1, i: 300, c: [7; 32] };
        let base = Base {
            k: BaseKind,
            v: Version,
            seen,
            control: Cid::of(Codec::DagCbor, b"record"),
            generations: vec![(1, Seen { g: 0, i: 0, c: [1; 32] })],
            logs: Vec::new(),
            manifest: None,
        };
        let link = Link { cid: Cid::of(Codec::Raw, b"block"), key: [3; 32] };
        let root = Root { link, count: 2, newest: 1_700_000_000_000, depth: 0 };
        let checkpoint = Checkpoint {
            k: CheckpointKind,
            v: Version,
            name: "Ana".to_owned(),
            base,
            apps: vec![(crate::DEFAULT_APP.to_owned(), root)],
            state: [5; 32],
            documents: 2,
            made_ms: 1_700_000_000_000,
        };
        let bytes = stored("checkpoint-v1.cbor", &encode(&checkpoint).unwrap());
        assert_eq!(peek_kind(&bytes), Some("checkpoint"));
        assert_eq!(read(&bytes).unwrap(), checkpoint);
        let newer = read(&version_2(&bytes)).unwrap_err();
        assert!(matches!(newer, CheckpointError::Version { version: 2 }), "{newer}");
    }
}

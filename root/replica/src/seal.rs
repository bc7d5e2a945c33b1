//! Seals: what trusted devices say the state is at one place of the order.
//!
//! Each device derives the state by itself from the order it applied, and signs what it came to,
//! with the place. A place is *sealed* once a majority of the trusted devices that are not dormant
//! signed one state; two states at one place are an alarm, because folding is a pure function. The
//! state is a keyed hash, so that a cloud peer, which stores and brings seals like everybody,
//! learns nothing from it. Deriving it is the engine's, which knows the documents. Drawn in
//! `docs/format/seal.md`.

use crate::access::{Access, ReplicaError};
use crate::input::{Alarm, CloseReason, Effect};
use crate::message::Message;
use crate::rows::{self, space};
use crate::stage::Staged;
use crate::state::Replica;
use rhizome_block::{Block, CborError, Version, decode, encode, kind};
use rhizome_identity::{Device, DeviceId, Signature, SigningKeys, verify};
use rhizome_log::Seen;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// Most seals kept of one device: the newest. One is enough where all meet at one place; more are
/// for devices that are late, and to say of older checkpoints that they are sealed.
const SEALS_OF_ONE_MAX: usize = 16;

/// Most seals of one message: those of 64 devices, at some 250 bytes each.
const SEALS_SENT_MAX: usize = 64 * SEALS_OF_ONE_MAX;

const VERSION: u8 = 1;
const SIGN_DOMAIN: &str = "seal";

kind! {
    /// Kind of a seal.
    pub SealKind = "seal"
}

/// What a device says the state is at one place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// Kind.
    pub k: SealKind,
    /// Version.
    pub v: Version<VERSION>,
    /// The place.
    pub seen: Seen,
    /// Keyed hash over the state there.
    #[serde(with = "serde_bytes")]
    pub state: [u8; 32],
    /// Who says so.
    pub author: DeviceId,
}

#[derive(Serialize, Deserialize)]
struct SignedSeal {
    k: SealKind,
    v: Version<VERSION>,
    seal: Seal,
    sig: Signature,
}

/// Why bytes are no seal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Another version.
    #[error("seal has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// Not the format.
    #[error("seal is malformed")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// Its author did not sign it.
    #[error("seal is not signed by its author")]
    Signature,
}

impl SignedSeal {
    fn read(bytes: &[u8]) -> Result<Self, SealError> {
        decode(bytes).map_err(|source| match source {
            CborError::Version { version } => SealError::Version { version },
            source => SealError::Malformed { source },
        })
    }
}

impl Seal {
    /// A device's word for a state.
    #[must_use]
    pub fn sign(keys: &SigningKeys, seen: Seen, state: [u8; 32]) -> Block {
        let seal = Self { k: SealKind, v: Version, seen, state, author: keys.device_id() };
        let bytes = encode(&seal).expect("a seal has a DAG-CBOR form");
        let sig = keys.sign(SIGN_DOMAIN, &bytes);
        let signed = SignedSeal { k: SealKind, v: Version, seal, sig };
        Block::encode(&signed).expect("a seal has a DAG-CBOR form")
    }

    /// Reads a seal and checks its author's signature.
    pub fn read(bytes: &[u8]) -> Result<Self, SealError> {
        let SignedSeal { seal, sig, .. } = SignedSeal::read(bytes)?;
        let signed = encode(&seal).map_err(|source| SealError::Malformed { source })?;
        verify(&seal.author.0, SIGN_DOMAIN, &signed, &sig).map_err(|_| SealError::Signature)?;
        Ok(seal)
    }
}

/// Seals that are known, by author and place.
#[derive(Debug, Default)]
#[cfg_attr(feature = "fuzz", derive(Clone))]
pub(crate) struct Seals {
    known: BTreeMap<DeviceId, BTreeMap<u64, (Seal, Vec<u8>)>>,
    /// This device is to seal the next place at which everything held has taken effect.
    wanted: bool,
    /// Places at which an alarm was raised.
    disputed: BTreeSet<u64>,
}

/// How far the state is sealed, and who is missing for the newest place anybody signed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SealStatus {
    /// The newest place that is sealed, with the state there.
    pub sealed: Option<(Seen, [u8; 32])>,
    /// The newest place that somebody signed.
    pub newest: Option<Seen>,
    /// Whose word counts and is missing there.
    pub missing: BTreeSet<DeviceId>,
}

impl Seals {
    /// What earlier runs stored.
    pub(crate) fn open(access: &Access<'_, '_>) -> Result<Self, ReplicaError> {
        let mut seals = Self::default();
        let mut stored = Vec::new();
        access.index.scan_prefix(&[space::SEAL], &mut |_, bytes| {
            stored.push(bytes.to_vec());
            std::ops::ControlFlow::Continue(())
        })?;
        for bytes in stored {
            // Its signature was checked when the row was written; opening is to stay quick.
            if let Ok(SignedSeal { seal, .. }) = SignedSeal::read(&bytes) {
                seals.keep(seal, bytes);
            }
        }
        Ok(seals)
    }

    /// Keeps a seal, and lets go of the oldest of its author, which it returns.
    fn keep(&mut self, seal: Seal, bytes: Vec<u8>) -> Option<u64> {
        let of = self.known.entry(seal.author).or_default();
        of.insert(seal.seen.i, (seal, bytes));
        (of.len() > SEALS_OF_ONE_MAX).then(|| of.pop_first()).flatten().map(|(i, _)| i)
    }

    /// Whether a seal is news: a place its author has not signed, and not older than all kept.
    fn is_news(&self, seal: &Seal) -> bool {
        let Some(of) = self.known.get(&seal.author) else { return true };
        let room = of.len() < SEALS_OF_ONE_MAX;
        let newer = || of.first_key_value().is_some_and(|(i, _)| *i < seal.seen.i);
        !of.contains_key(&seal.seen.i) && (room || newer())
    }

    fn has(&self, author: &DeviceId, i: u64) -> Option<&Seal> {
        self.known.get(author)?.get(&i).map(|(seal, _)| seal)
    }

    /// Places that somebody signed, newest first.
    fn places(&self) -> BTreeSet<std::cmp::Reverse<u64>> {
        self.known.values().flat_map(|of| of.keys().map(|i| std::cmp::Reverse(*i))).collect()
    }
}

/// Whether a device's word counts: it holds keys, belongs, and is not away for long.
fn counts(device: &Device) -> bool {
    device.is_live() && !device.dormant && device.certificate.body().sealing.is_some()
}

impl Replica {
    /// Asks this device to seal the next place at which everything it holds has taken effect.
    pub(crate) fn want_seal(&mut self) {
        self.seals.wanted = true;
    }

    /// The place this device is to seal now: the driver derives the state there and brings it as
    /// [`crate::Input::Seal`].
    #[must_use]
    pub fn seal_asked(&self) -> Option<Seen> {
        let at = self.order.applied;
        let asked = self.seals.wanted
            || self.seals.known.values().any(|of| of.get(&at.i).is_some_and(|(s, _)| s.seen == at));
        let me = self.device();
        let may = || self.control.committed_state().device(&me).is_some_and(counts);
        let done = || self.seals.has(&me, at.i).is_some();
        (asked && at.i > 0 && may() && !done() && self.is_settled()).then_some(at)
    }

    /// The state at a place, derived by the driver.
    pub(crate) fn seal_state(&mut self, seen: Seen, state: [u8; 32]) {
        if self.seal_asked() != Some(seen) {
            return;
        }
        self.seals.wanted = false;
        let block = Seal::sign(self.keys.signing(), seen, state);
        self.stage_seal(block);
    }

    fn stage_seal(&mut self, block: Block) {
        self.staged.push(Staged::Seal { bytes: block.bytes.clone() });
        self.blocks.push(block);
    }

    /// Notes a seal that is durable. Returns whether it was news.
    pub(crate) fn note_seal(&mut self, access: &mut Access<'_, '_>, bytes: Vec<u8>) -> bool {
        let Ok(seal) = Seal::read(&bytes) else { return false };
        if !self.seals.is_news(&seal) {
            return false;
        }
        access.index.put(rows::seal_key(seal.seen.i, &seal.author), bytes.clone());
        let author = seal.author;
        if let Some(old) = self.seals.keep(seal, bytes) {
            access.index.remove(rows::seal_key(old, &author));
        }
        true
    }

    /// Takes seals of a peer, which may be of anybody.
    pub(crate) fn take_seals(
        &mut self,
        from: DeviceId,
        seals: &[ByteBuf],
        effects: &mut Vec<Effect>,
    ) {
        for bytes in seals.iter().take(SEALS_SENT_MAX) {
            let seal = match Seal::read(bytes) {
                Ok(seal) => seal,
                Err(SealError::Version { version }) => {
                    tracing::warn!(peer = %from.short(), version, "a seal is not understood");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(peer = %from.short(), %error, "refused a seal");
                    effects.push(Effect::Close(from, CloseReason::Misbehaved));
                    return;
                }
            };
            let known = self.control.state().device(&seal.author).is_some_and(counts);
            if known && self.seals.is_news(&seal) {
                self.stage_seal(Block {
                    cid: rhizome_block::Cid::of(rhizome_block::Codec::DagCbor, bytes),
                    bytes: bytes.to_vec(),
                });
            }
        }
    }

    /// Shows a peer that just said hello what is sealed.
    pub(crate) fn show_seals(&self, device: DeviceId, effects: &mut Vec<Effect>) {
        let all = self.seals.known.values().flat_map(BTreeMap::values);
        let seals: Vec<ByteBuf> =
            all.map(|(_, bytes)| ByteBuf::from(bytes.clone())).take(SEALS_SENT_MAX).collect();
        if !seals.is_empty() {
            effects.push(Effect::Send(device, Message::Seals { seals }));
        }
    }

    /// Tells every peer what is sealed newly.
    pub(crate) fn tell_seals(&self, news: &[Vec<u8>], effects: &mut Vec<Effect>) {
        if news.is_empty() {
            return;
        }
        let seals: Vec<ByteBuf> = news.iter().cloned().map(ByteBuf::from).collect();
        for (device, _) in self.peers.iter().filter(|(_, peer)| peer.greeted) {
            effects.push(Effect::Send(*device, Message::Seals { seals: seals.clone() }));
        }
    }

    /// Alarms where two devices came to two states at one place of one order.
    pub(crate) fn compare_seals(&mut self, effects: &mut Vec<Effect>) {
        let mut at: BTreeMap<(u64, [u8; 32]), &Seal> = BTreeMap::new();
        let mut found = Vec::new();
        for (seal, _) in self.seals.known.values().flat_map(BTreeMap::values) {
            let first = at.entry((seal.seen.i, seal.seen.c)).or_insert(seal);
            if first.state != seal.state {
                found.push((seal.seen, first.author, seal.author));
            }
        }
        for (seen, one, other) in found {
            if self.seals.disputed.insert(seen.i) {
                effects.push(Effect::Alarm(Alarm::SealsDiffer { seen, one, other }));
            }
        }
    }

    /// How far the state is sealed.
    #[must_use]
    pub fn seal_status(&self) -> SealStatus {
        let voices = self.voices();
        let mut status = SealStatus::default();
        for std::cmp::Reverse(i) in self.seals.places() {
            let words = || voices.iter().filter_map(|voice| self.seals.has(voice, i));
            if let (None, Some(first)) = (&status.newest, words().next()) {
                status.newest = Some(first.seen);
                let silent = |voice: &&DeviceId| self.seals.has(voice, i).is_none();
                status.missing = voices.iter().filter(silent).copied().collect();
            }
            status.sealed = self.agreed(&voices, i);
            if status.sealed.is_some() {
                return status;
            }
        }
        status
    }

    /// The state that is sealed at a place, if it is.
    #[must_use]
    pub fn sealed_at(&self, seen: &Seen) -> Option<[u8; 32]> {
        self.agreed(&self.voices(), seen.i).filter(|(at, _)| at == seen).map(|(_, state)| state)
    }

    /// Whose word counts.
    fn voices(&self) -> BTreeSet<DeviceId> {
        let devices = self.control.committed_state().devices();
        devices.filter(|(_, one)| counts(one)).map(|(id, _)| id).collect()
    }

    /// What most of those who count said of a place.
    fn agreed(&self, voices: &BTreeSet<DeviceId>, i: u64) -> Option<(Seen, [u8; 32])> {
        let mut votes: BTreeMap<(Seen, [u8; 32]), usize> = BTreeMap::new();
        for seal in voices.iter().filter_map(|voice| self.seals.has(voice, i)) {
            *votes.entry((seal.seen, seal.state)).or_default() += 1;
        }
        votes.into_iter().find(|(_, count)| *count > voices.len() / 2).map(|(sealed, _)| sealed)
    }
}

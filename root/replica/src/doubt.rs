//! Doubt: what a disk may have forgotten is not done again before those who may remember it were
//! heard.
//!
//! Segments that were changed, or that are read without the index that knew their end, may lack a
//! tail that this device signed and others hold. While in doubt it goes on in new incarnations of
//! its logs, and as the one voter it places nothing. The doubt ends once every other device that
//! counts was met and everything it holds of ours is here; a device that is alone has nobody to
//! ask. It outlives a restart as a row of the index.

use crate::access::{Access, ReplicaError};
use crate::rows::{self, space};
use crate::state::Replica;
use rhizome_identity::DeviceId;
use rhizome_log::LogTag;
use std::collections::BTreeSet;

/// By how much at most an incarnation is greater than the newest that is left: so far beyond those
/// that may be forgotten that none is met by accident.
const INCARNATIONS_SKIPPED_MAX: u32 = 1 << 20;

/// Who is to be heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    /// Devices that the driver knows of; the record that admits one may be forgotten, too.
    known: BTreeSet<DeviceId>,
    /// Those of which everything is here.
    heard: BTreeSet<DeviceId>,
    /// Apps whose log of this device goes on in a new incarnation already.
    renewed: BTreeSet<LogTag>,
}

impl Doubt {
    /// The doubt that an earlier run of the program left.
    pub(crate) fn open(access: &Access<'_, '_>) -> Result<Option<Self>, ReplicaError> {
        let known: Option<BTreeSet<DeviceId>> = rows::get(access.index, &[space::DOUBT])?;
        Ok(known.map(|known| Self { known, ..Self::default() }))
    }
}

impl Replica {
    /// The disk may have forgotten what this device signed. `known` are devices of the identity,
    /// as far as they are known from elsewhere.
    pub fn doubt(&mut self, access: &mut Access<'_, '_>, known: BTreeSet<DeviceId>) {
        rows::put(access, vec![space::DOUBT], &known);
        self.doubt = Some(Doubt { known, ..Doubt::default() });
    }

    /// The devices to be met before this one trusts its disk again.
    #[must_use]
    pub fn doubted(&self) -> BTreeSet<DeviceId> {
        let Some(doubt) = &self.doubt else { return BTreeSet::new() };
        let state = self.control.state();
        let counts = |device: &DeviceId| {
            state.device(device).is_none_or(|one| one.is_live() && !one.dormant)
        };
        let others = state.devices().map(|(device, _)| device).chain(doubt.known.iter().copied());
        let me = self.device();
        others.filter(|id| *id != me && counts(id) && !doubt.heard.contains(id)).collect()
    }

    /// Notes who was heard, and forgets the doubt once nobody is left.
    pub(crate) fn settle_doubt(&mut self, access: &mut Access<'_, '_>) {
        if self.doubt.is_none() {
            return;
        }
        let me = self.device();
        let ours = |theirs: &crate::peer::Peer| {
            let mut logs = theirs.session.announced().filter(|(log, _)| log.author == me);
            logs.all(|(log, seq)| self.held(log) >= *seq)
        };
        let whole = |theirs: &&crate::peer::Peer| {
            theirs.greeted && theirs.order_at <= self.order.end.i && ours(theirs)
        };
        let heard = self.peers.iter().filter(|(_, peer)| whole(peer)).map(|(device, _)| *device);
        let heard: Vec<DeviceId> = heard.collect();
        if let Some(doubt) = &mut self.doubt {
            doubt.heard.extend(heard);
        }
        if self.doubted().is_empty() {
            tracing::info!("everything that others hold of this device is here");
            self.doubt = None;
            access.index.remove(vec![space::DOUBT]);
        }
    }

    /// By how much an incarnation must be greater than the lowest that is free as far as is known
    /// here, if in doubt a log goes on in a new one.
    pub(crate) fn doubtful_skip(&mut self, entropy: &[u8; 32], tag: LogTag) -> Option<u32> {
        if !self.doubt.as_mut()?.renewed.insert(tag) {
            return None;
        }
        let hash = rhizome_seal::keyed_hash(entropy, "rhizome incarnation v1", &tag.0);
        let dice = u32::from_be_bytes(*hash.first_chunk::<4>().expect("a hash has 32 bytes"));
        Some(dice % INCARNATIONS_SKIPPED_MAX)
    }
}

//! Doubt: what a disk may have forgotten is not done again before those who may remember it were
//! heard.
//!
//! Segments that were changed, or that are read without the index that knew their end, may lack a
//! tail that this device signed and others hold. While in doubt it goes on in new incarnations of
//! its logs, and as the one voter it places nothing. The doubt ends once every other device that
//! counts was met and everything it holds of ours is here; a device that is alone has nobody to
//! ask. It outlives a restart as a row of the index.
//!
//! Who is lost for good is never met. What a reform begins that was signed here since is no place
//! where something was placed before: there this device orders, however much it doubts.

use crate::access::{Access, ReplicaError};
use crate::reform::as_reform;
use crate::rows::{self, space};
use crate::state::Replica;
use rhizome_block::Cid;
use rhizome_identity::DeviceId;
use rhizome_log::LogTag;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// By how much at most an incarnation is greater than the newest that is left: so far beyond those
/// that may be forgotten that none is met by accident.
const INCARNATIONS_SKIPPED_MAX: u32 = 1 << 20;

/// What outlives a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct DoubtRow {
    /// Devices that the driver knows of; the record that admits one may be forgotten, too.
    known: BTreeSet<DeviceId>,
    /// The reform that was signed here since, if one was.
    reform: Option<Cid>,
}

/// Who is to be heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    row: DoubtRow,
    /// Those of which everything is here.
    heard: BTreeSet<DeviceId>,
    /// Apps whose log of this device goes on in a new incarnation already.
    renewed: BTreeSet<LogTag>,
}

impl Doubt {
    /// The doubt that an earlier run of the program left.
    pub(crate) fn open(access: &Access<'_, '_>) -> Result<Option<Self>, ReplicaError> {
        let row: Option<DoubtRow> = rows::get(access.index, &[space::DOUBT])?;
        Ok(row.map(|row| Self { row, ..Self::default() }))
    }
}

impl Replica {
    /// The disk may have forgotten what this device signed. `known` are devices of the identity,
    /// as far as they are known from elsewhere.
    pub fn doubt(&mut self, access: &mut Access<'_, '_>, known: BTreeSet<DeviceId>) {
        let row = DoubtRow { known, reform: None };
        rows::put(access, vec![space::DOUBT], &row);
        self.doubt = Some(Doubt { row, ..Doubt::default() });
    }

    /// Notes that a record was signed here just now: a reform by which this device orders begins
    /// where it has forgotten nothing.
    pub(crate) fn note_signed(&mut self, access: &mut Access<'_, '_>, record: Cid) {
        let me = self.device();
        let reform = self.control.record(&record).and_then(as_reform);
        if let Some(doubt) = &mut self.doubt
            && reform.is_some_and(|reform| reform.voters.contains(&me))
        {
            doubt.row.reform = Some(record);
            rows::put(access, vec![space::DOUBT], &doubt.row);
        }
    }

    /// Whether this device, as the one voter, may have forgotten what it placed.
    pub(crate) fn doubts_its_places(&self) -> bool {
        let newest = || self.newest_reform().map(rhizome_identity::ControlRecord::cid);
        let begun = |doubt: &Doubt| doubt.row.reform.is_some() && doubt.row.reform == newest();
        self.doubt.as_ref().is_some_and(|doubt| !begun(doubt))
    }

    /// The devices to be met before this one trusts its disk again.
    #[must_use]
    pub fn doubted(&self) -> BTreeSet<DeviceId> {
        let Some(doubt) = &self.doubt else { return BTreeSet::new() };
        let state = self.control.state();
        let counts = |device: &DeviceId| {
            state.device(device).is_none_or(|one| one.is_live() && !one.dormant)
        };
        let others =
            state.devices().map(|(device, _)| device).chain(doubt.row.known.iter().copied());
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

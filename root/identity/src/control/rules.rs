//! Whether a control record holds, given what held before it.
//!
//! Everything here is a function of the record and the state at its parent, so that every replica
//! comes to the same verdict, whatever it heard first and whatever its wall clock says.

use super::body::{
    AddDevice, Adopt, ChangeVoters, ControlBody, Dormant, EpochChange, LOG_HEADS_MAX, LogHead,
    Reform, RevokeDevice,
};
use super::error::{ControlError, VoterRule};
use super::log::ControlLog;
use super::record::{ControlRecord, RECORD_SIGNATURES_MAX};
use super::state::ControlState;
use crate::{Author, Capability, DeviceId, DeviceKind, Genesis, SealingPublic, Wrap};
use rhizome_block::planted::{Bug, planted};
use std::collections::BTreeSet;

/// How long a newcomer can neither revoke nor reform, by the clocks of the two records
/// (`security.md` 3.6): long enough for the person to notice the message that it joined.
pub const NEWCOMER_WAIT_MS: u64 = 24 * 60 * 60 * 1000;

/// Most identities nested by adoption, so that hostile bytes cannot exhaust the stack.
pub const ADOPT_DEPTH_MAX: u32 = 4;

/// Most bytes of the secret of the epoch before, encrypted: a secret and what a larger algorithm
/// may add later.
pub const PREVIOUS_BYTES_MAX: usize = 256;

/// Most bytes of the encrypted secrets of an adopted identity: several hundred epochs.
pub const ADOPT_KEYS_BYTES_MAX: usize = 64 * 1024;

/// Most voters.
const VOTERS_MAX: usize = 5;

/// Checks `record` against the state at its parent, and returns what it adopts, if it does.
pub(super) fn check(
    state: &ControlState,
    record: &ControlRecord,
    depth: u32,
) -> Result<Option<ControlState>, ControlError> {
    if record.height() != state.height + 1 {
        return Err(ControlError::Height { found: record.height(), parent: state.height });
    }
    check_signatures(state, record)?;
    match record.body() {
        ControlBody::AddDevice(add) => check_add(state, record, add)?,
        ControlBody::RevokeDevice(revoke) => check_revoke(state, record, revoke)?,
        ControlBody::RotateEpoch(epoch) => check_epoch(state, epoch, &[])?,
        ControlBody::ChangeVoters(change) => check_change(state, change)?,
        ControlBody::SetPolicy(policy) => {
            if policy.fold.is_none_or(|fold| fold <= state.fold) {
                return Err(ControlError::Policy);
            }
        }
        ControlBody::Adopt(adopt) => return check_adopt(state, adopt, depth).map(Some),
        ControlBody::Dormant(dormant) => check_dormant(state, dormant)?,
        ControlBody::Reform(reform) => check_reform(state, record, reform)?,
    }
    Ok(None)
}

fn check_signatures(state: &ControlState, record: &ControlRecord) -> Result<(), ControlError> {
    let signatures = record.signatures();
    let distinct: BTreeSet<_> = signatures.iter().map(|signed| signed.by).collect();
    let first_is_author = signatures.first().is_some_and(|first| first.by == record.author());
    if !first_is_author
        || signatures.len() > RECORD_SIGNATURES_MAX
        || distinct.len() != signatures.len()
    {
        return Err(ControlError::SignatureList);
    }
    let mut admins = 0;
    for signed in signatures {
        if let Author::Device(device) = signed.by {
            check_device_signer(state, record, device)?;
            admins += 1;
        }
        record
            .verify(signed, &state.key(&signed.by))
            .map_err(|source| ControlError::Signature { source })?;
    }
    let needed = state.signatures_needed(record.body());
    if admins == signatures.len() && admins < needed {
        return Err(ControlError::SignaturesNeeded { needed, found: admins });
    }
    Ok(())
}

/// Whether a device may be among the signers of this record.
fn check_device_signer(
    state: &ControlState,
    record: &ControlRecord,
    device: DeviceId,
) -> Result<(), ControlError> {
    let back = matches!(
        record.body(),
        ControlBody::Dormant(Dormant { device: who, dormant: false }) if *who == device
    );
    let entitled = state.may(&device, Capability::Admin) || back && state.is_live(&device);
    let known = state.device(&device).filter(|_| entitled);
    let known = known.ok_or(ControlError::NotAdmin { device })?;
    let waited = (record.clock() >> 16).saturating_sub(known.admitted.clock >> 16);
    let new = !known.admitted.by_kit && waited < NEWCOMER_WAIT_MS;
    if new && is_closed_to_newcomers(state, record.body()) {
        return Err(ControlError::Newcomer { device });
    }
    Ok(())
}

/// Whether only those may sign it who have been here for a day: what removes devices, and what
/// takes capabilities from one, which would be a removal by another name.
fn is_closed_to_newcomers(state: &ControlState, body: &ControlBody) -> bool {
    match body {
        ControlBody::RevokeDevice(_) | ControlBody::Reform(_) => true,
        ControlBody::AddDevice(AddDevice { certificate, .. }) => {
            let next = &certificate.body().capabilities;
            let before = state.device(&certificate.device());
            before.is_some_and(|one| !one.certificate.body().capabilities.is_subset(next))
        }
        _ => false,
    }
}

fn check_add(
    state: &ControlState,
    record: &ControlRecord,
    add: &AddDevice,
) -> Result<(), ControlError> {
    let certificate = &add.certificate;
    if certificate.by() != record.author() {
        return Err(ControlError::Issuer);
    }
    certificate
        .verify(&state.root, &state.key(&record.author()))
        .map_err(|source| ControlError::Certificate { source })?;
    let body = certificate.body();
    let Some(known) = state.device(&certificate.device()) else {
        let in_use = |key: &SealingPublic| {
            *key == state.recovery_seal
                || state.devices.values().any(|one| one.certificate.body().sealing == Some(*key))
        };
        let kit = [state.root.0, state.recovery_sign.0].contains(&certificate.device().0);
        if kit || body.sealing.as_ref().is_some_and(in_use) {
            return Err(ControlError::KeysInUse);
        }
        return check_wraps(&add.wraps, &body.sealing.into_iter().collect());
    };
    if !known.is_live() {
        return Err(ControlError::Returned { device: certificate.device() });
    }
    let before = known.certificate.body();
    if body.serial <= before.serial || body.sealing != before.sealing {
        return Err(ControlError::Serial);
    }
    let was_admin = known.certificate.may(Capability::Admin);
    let stays_admin = certificate.may(Capability::Admin);
    if was_admin && !stays_admin {
        check_admin_left(state, record, &[certificate.device()])?;
    }
    check_wraps(&add.wraps, &BTreeSet::new())
}

fn check_revoke(
    state: &ControlState,
    record: &ControlRecord,
    revoke: &RevokeDevice,
) -> Result<(), ControlError> {
    check_removal(state, revoke.device, &revoke.last)?;
    check_admin_left(state, record, &[revoke.device])?;
    check_epoch(state, &revoke.epoch, &[revoke.device])
}

fn check_removal(
    state: &ControlState,
    device: DeviceId,
    last: &[LogHead],
) -> Result<(), ControlError> {
    if !state.is_live(&device) {
        return Err(ControlError::NotLive { device });
    }
    check_heads(last, |author| *author == device)
}

fn check_heads(heads: &[LogHead], belongs: impl Fn(&DeviceId) -> bool) -> Result<(), ControlError> {
    let log = |head: &LogHead| (head.author, head.tag, head.incarnation);
    let sorted = heads.windows(2).all(|pair| log(&pair[0]) < log(&pair[1]));
    let theirs = heads.iter().all(|head| belongs(&head.author));
    if heads.len() > LOG_HEADS_MAX || !sorted || !theirs {
        return Err(ControlError::Heads);
    }
    Ok(())
}

/// An admin device must be left, unless the kit signs, which can admit another one.
fn check_admin_left(
    state: &ControlState,
    record: &ControlRecord,
    leaving: &[DeviceId],
) -> Result<(), ControlError> {
    let left = state.admins().any(|id| !leaving.contains(&id));
    let kit = record.signatures().iter().any(|signed| signed.by.is_kit());
    if left || kit { Ok(()) } else { Err(ControlError::LastAdmin) }
}

fn check_epoch(
    state: &ControlState,
    epoch: &EpochChange,
    leaving: &[DeviceId],
) -> Result<(), ControlError> {
    let current = state.epoch().id.n;
    if Some(epoch.n) != current.checked_add(1) {
        return Err(ControlError::Epoch { found: epoch.n, current });
    }
    if epoch.previous.len() > PREVIOUS_BYTES_MAX {
        return Err(ControlError::Wraps);
    }
    check_wraps(&epoch.wraps, &state.recipients(leaving))
}

fn check_wraps(wraps: &[Wrap], expected: &BTreeSet<SealingPublic>) -> Result<(), ControlError> {
    let recipients: BTreeSet<_> = wraps.iter().map(|wrap| wrap.recipient).collect();
    let bounded = wraps.iter().all(|wrap| wrap.bytes.len() <= Wrap::BYTES_MAX);
    if recipients == *expected && recipients.len() == wraps.len() && bounded {
        Ok(())
    } else {
        Err(ControlError::Wraps)
    }
}

fn check_change(state: &ControlState, change: &ChangeVoters) -> Result<(), ControlError> {
    let current = state.generation;
    let follows = change.generation == current || Some(change.generation) == current.checked_add(1);
    if !follows || change.base.g > change.generation {
        return Err(ControlError::Generation { found: change.generation, current });
    }
    check_voters(state, &change.voters, &[])
}

fn check_voters(
    state: &ControlState,
    voters: &[DeviceId],
    leaving: &[DeviceId],
) -> Result<(), ControlError> {
    voter_rule(state, voters, leaving).map_err(|source| ControlError::Voters { source })
}

fn voter_rule(
    state: &ControlState,
    voters: &[DeviceId],
    leaving: &[DeviceId],
) -> Result<(), VoterRule> {
    let count = voters.len();
    let is_odd = !count.is_multiple_of(2) || planted(Bug::VotersEven);
    if !is_odd || count > VOTERS_MAX {
        return Err(VoterRule::Count { count });
    }
    if voters.iter().collect::<BTreeSet<_>>().len() != count {
        return Err(VoterRule::Repeated);
    }
    let mut untrusted = 0;
    for &device in voters {
        let known = state.device(&device).filter(|one| one.is_live() && !one.dormant);
        let known = known.filter(|_| !leaving.contains(&device));
        let certificate = &known.ok_or(VoterRule::NotLive { device })?.certificate;
        if !certificate.may(Capability::Sequencer) {
            return Err(VoterRule::NotSequencer { device });
        }
        let kind = certificate.body().kind;
        if count > 1 && !kind.may_vote_with_others() {
            return Err(VoterRule::Sleeps { device });
        }
        untrusted += usize::from(kind == DeviceKind::CloudPeer);
    }
    let majority = count / 2 + 1;
    if untrusted >= majority && untrusted < count {
        return Err(VoterRule::UntrustedMajority);
    }
    Ok(())
}

fn check_reform(
    state: &ControlState,
    record: &ControlRecord,
    reform: &Reform,
) -> Result<(), ControlError> {
    let current = state.generation;
    if Some(reform.generation) != current.checked_add(1) || reform.base.g > current {
        return Err(ControlError::Generation { found: reform.generation, current });
    }
    let leaving: Vec<DeviceId> = reform.revoked.iter().map(|one| one.device).collect();
    for one in &reform.revoked {
        check_removal(state, one.device, &one.last)?;
        if leaving.iter().filter(|device| **device == one.device).count() > 1 {
            return Err(ControlError::NotLive { device: one.device });
        }
    }
    check_admin_left(state, record, &leaving)?;
    if reform.voters.len() > 1 {
        let source = VoterRule::ReformedBySeveral { count: reform.voters.len() };
        return Err(ControlError::Voters { source });
    }
    check_voters(state, &reform.voters, &leaving)?;
    check_epoch(state, &reform.epoch, &leaving)
}

fn check_dormant(state: &ControlState, change: &Dormant) -> Result<(), ControlError> {
    let device = change.device;
    match state.device(&device).filter(|one| one.is_live()) {
        None => Err(ControlError::NotLive { device }),
        Some(known) if known.dormant == change.dormant => Err(ControlError::Unchanged { device }),
        Some(_) => Ok(()),
    }
}

fn check_adopt(
    state: &ControlState,
    adopt: &Adopt,
    depth: u32,
) -> Result<ControlState, ControlError> {
    if depth >= ADOPT_DEPTH_MAX || adopt.keys.len() > ADOPT_KEYS_BYTES_MAX {
        return Err(ControlError::Adopt);
    }
    let genesis = Genesis::from_bytes(&adopt.genesis)
        .map_err(|source| ControlError::AdoptGenesis { source })?;
    let identity = genesis.identity_id();
    if identity == state.identity || state.adopted.contains_key(&identity) {
        return Err(ControlError::Adopt);
    }
    let mut chain = ControlLog::nested(genesis, depth + 1);
    for bytes in &adopt.records {
        let record = ControlRecord::from_bytes(bytes)
            .map_err(|source| ControlError::AdoptRecord { source })?;
        chain
            .append(record)
            .map_err(|source| ControlError::AdoptChain { source: Box::new(source) })?;
    }
    let old = chain.into_state();
    check_heads(&adopt.heads, |author| old.device(author).is_some())?;
    Ok(old)
}

//! A small identity for tests: a kit, devices by number, and bodies that hold.

use crate::control::*;
use crate::*;
use rhizome_block::{Cid, Codec};
use std::collections::BTreeSet;

/// A day and a bit, in milliseconds.
pub(super) const DAY: u64 = NEWCOMER_WAIT_MS;

/// When the identity of the tests begins.
pub(super) const START: u64 = 1_700_000_000_000;

pub(super) fn kit() -> RecoveryKit {
    RecoveryKit::from_entropy([7; 32])
}

pub(super) fn keys(number: u8) -> DeviceKeys {
    DeviceKeys::from_bytes(&[number; 64])
}

pub(super) fn id(number: u8) -> DeviceId {
    keys(number).device_id()
}

pub(super) fn wrap(recipient: SealingPublic) -> Wrap {
    Wrap { recipient, bytes: b"wrapped".to_vec() }
}

/// An identity of device 1, a laptop.
pub(super) fn genesis() -> Genesis {
    founded(1, 7)
}

pub(super) fn founded(first: u8, kit: u8) -> Genesis {
    let (keys, kit) = (keys(first), RecoveryKit::from_entropy([kit; 32]));
    Genesis::found(NewIdentity {
        kit: &kit,
        keys: &keys,
        kind: DeviceKind::Laptop,
        name_sealed: b"sealed name".to_vec(),
        fold: 1,
        epoch_wraps: vec![wrap(keys.sealing_public()), wrap(kit.sealing_public())],
        salt: [3; 32],
        made_ms: START,
    })
    .unwrap()
}

pub(super) fn log() -> ControlLog {
    ControlLog::new(genesis())
}

pub(super) const ADMIN: &[Capability] =
    &[Capability::Admin, Capability::Reader, Capability::Writer, Capability::Sequencer];
pub(super) const WRITER: &[Capability] =
    &[Capability::Reader, Capability::Writer, Capability::Sequencer];
pub(super) const SEQUENCER: &[Capability] = &[Capability::Sequencer];

/// Who signs: a device by number, or 0 for the recovery key.
pub(super) fn author(number: u8) -> (Author, SigningKeys) {
    match number {
        0 => (Author::Recovery, kit().recovery()),
        _ => (Author::Device(id(number)), keys(number).signing),
    }
}

pub(super) fn certificate(
    by: u8,
    device: u8,
    kind: DeviceKind,
    capabilities: &[Capability],
    serial: u32,
) -> DeviceCertificate {
    let accepted = Acceptance::of(&keys(device), kit().root().public(), kind);
    let body = CertificateBody {
        root: accepted.root,
        signing: accepted.signing,
        sealing: accepted.sealing,
        name_sealed: vec![device; 8],
        kind,
        capabilities: capabilities.iter().copied().collect(),
        serial,
        made_ms: START,
    };
    let (by, issuer) = author(by);
    DeviceCertificate::issue(body, accepted.sign(&keys(device).signing), by, &issuer).unwrap()
}

pub(super) fn add(by: u8, device: u8, kind: DeviceKind, may: &[Capability]) -> ControlBody {
    let certificate = certificate(by, device, kind, may, 1);
    let wraps = certificate.body().sealing.map(wrap).into_iter().collect();
    ControlBody::AddDevice(AddDevice { certificate, wraps })
}

pub(super) fn renew(by: u8, device: u8, may: &[Capability], serial: u32) -> ControlBody {
    let certificate = certificate(by, device, DeviceKind::Desktop, may, serial);
    ControlBody::AddDevice(AddDevice { certificate, wraps: Vec::new() })
}

pub(super) fn epoch(state: &ControlState, without: &[u8]) -> EpochChange {
    let without: Vec<_> = without.iter().map(|number| id(*number)).collect();
    EpochChange {
        n: state.epoch().id.n + 1,
        wraps: state.recipients(&without).into_iter().map(wrap).collect(),
        previous: b"previous".to_vec(),
    }
}

pub(super) fn head_of(device: u8, tag: u8) -> LogHead {
    let head = Cid::of(Codec::DagCbor, &[device, tag]);
    LogHead { author: id(device), tag: [tag; 16], incarnation: 0, seq: 9, head }
}

pub(super) fn revoke(state: &ControlState, device: u8) -> ControlBody {
    ControlBody::RevokeDevice(RevokeDevice {
        device: id(device),
        last: vec![head_of(device, 1), head_of(device, 2)],
        epoch: epoch(state, &[device]),
        reason: RevokeReason::Lost,
    })
}

pub(super) fn rotate(state: &ControlState) -> ControlBody {
    ControlBody::RotateEpoch(epoch(state, &[]))
}

pub(super) fn voters(generation: u64, numbers: &[u8]) -> ControlBody {
    let voters = numbers.iter().map(|number| id(*number)).collect();
    ControlBody::ChangeVoters(ChangeVoters { generation, voters, base: Seen::default() })
}

pub(super) fn reform(state: &ControlState, numbers: &[u8], revoked: &[u8]) -> ControlBody {
    ControlBody::Reform(Reform {
        generation: state.generation() + 1,
        voters: numbers.iter().map(|number| id(*number)).collect(),
        base: Seen { g: state.generation(), i: 5, c: [5; 32] },
        revoked: revoked
            .iter()
            .map(|number| Removal { device: id(*number), last: vec![head_of(*number, 1)] })
            .collect(),
        epoch: epoch(state, revoked),
        reason: RevokeReason::Compromised,
    })
}

/// The record that would follow the head of `log`, signed by the numbered, `days` after the start.
pub(super) fn record(log: &ControlLog, by: &[u8], days: u64, body: ControlBody) -> ControlRecord {
    let (first, keys) = author(by[0]);
    let mut record = log.draft(first, (START + days * DAY) << 16, None, body).sign(&keys);
    for other in &by[1..] {
        let (by, keys) = author(*other);
        record.cosign(by, &keys);
    }
    record
}

/// Puts a record after the head, which must hold, and returns its name.
#[track_caller]
pub(super) fn put(log: &mut ControlLog, by: &[u8], days: u64, body: ControlBody) -> Cid {
    let record = record(log, by, days, body);
    let cid = record.cid();
    match log.insert(record).unwrap() {
        Inserted::Placed { refused, .. } => assert!(refused.is_empty(), "{refused:?}"),
        other => panic!("{other:?}"),
    }
    cid
}

/// Puts a new epoch after the head, a day after the start.
pub(super) fn put_rotation(log: &mut ControlLog, by: &[u8]) -> Cid {
    let body = rotate(log.state());
    put(log, by, 1, body)
}

/// Why a record after the head does not hold.
#[track_caller]
pub(super) fn refused(log: &ControlLog, by: &[u8], days: u64, body: ControlBody) -> ControlError {
    let record = record(log, by, days, body);
    log.clone().insert(record).map(|done| panic!("{done:?}")).unwrap_err()
}

pub(super) fn admins(log: &ControlLog) -> BTreeSet<DeviceId> {
    log.state().admins().collect()
}

/// An identity with three admin devices (1 laptop, 2 and 3 desktops), a phone 4 that writes, and a
/// cloud peer 5.
pub(super) fn family() -> ControlLog {
    let mut log = log();
    put(&mut log, &[1], 0, add(1, 2, DeviceKind::Desktop, ADMIN));
    put(&mut log, &[1], 0, add(1, 3, DeviceKind::Desktop, ADMIN));
    put(&mut log, &[1], 0, add(1, 4, DeviceKind::Phone, WRITER));
    put(&mut log, &[1], 0, add(1, 5, DeviceKind::CloudPeer, SEQUENCER));
    log
}

//! Who is in the worlds: a kit, five devices with known keys, and the records they can write.

use rhizome_block::Cid;
use rhizome_identity::{
    Acceptance, AddDevice, Author, Capability, CertificateBody, ControlBody, ControlLog,
    ControlRecord, ControlState, DeviceCertificate, DeviceId, DeviceKeys, DeviceKind, Draft,
    EpochChange, Genesis, NEWCOMER_WAIT_MS, NewIdentity, RecoveryKit, RevokeDevice, RevokeReason,
    SealingPublic, Wrap,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

/// Devices there are; 1 and 2 are admins, 3 writes, the others may be let in.
pub(crate) const DEVICES: u8 = 5;

const START_MS: u64 = 1_700_000_000_000;

/// What an admin can write.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum What {
    /// Let a device in that writes.
    Admit(u8),
    /// Let a device in that may administer.
    Promote(u8),
    /// Remove a device.
    Remove(u8),
    /// Change the keys.
    Rotate,
}

pub(crate) fn keys(n: u8) -> &'static DeviceKeys {
    static KEYS: OnceLock<Vec<DeviceKeys>> = OnceLock::new();
    let made =
        KEYS.get_or_init(|| (1..=DEVICES).map(|n| DeviceKeys::from_bytes(&[n; 64])).collect());
    &made[usize::from(n) - 1]
}

pub(crate) fn id(n: u8) -> DeviceId {
    static IDS: OnceLock<Vec<DeviceId>> = OnceLock::new();
    let ids = IDS.get_or_init(|| (1..=DEVICES).map(|n| keys(n).device_id()).collect());
    ids[usize::from(n) - 1]
}

fn wrap(recipient: SealingPublic) -> Wrap {
    Wrap { recipient, bytes: b"wrapped".to_vec() }
}

fn genesis() -> Genesis {
    let (kit, first) = (RecoveryKit::from_entropy([7; 32]), keys(1));
    Genesis::found(NewIdentity {
        kit: &kit,
        keys: first,
        kind: DeviceKind::Desktop,
        name_sealed: b"sealed name".to_vec(),
        fold: 1,
        epoch_wraps: vec![wrap(first.sealing_public()), wrap(kit.sealing_public())],
        salt: [3; 32],
        made_ms: START_MS,
    })
    .expect("the parts belong together")
}

/// The log that every replica begins with: two admins and a device that writes, all final.
pub(crate) fn first_log() -> &'static ControlLog {
    static LOG: OnceLock<ControlLog> = OnceLock::new();
    LOG.get_or_init(|| {
        let mut log = ControlLog::new(genesis());
        for what in [What::Promote(2), What::Admit(3)] {
            let record = draft(log.state(), 1, what, START_MS, false).sign(&keys(1).signing);
            let cid = record.cid();
            log.insert(record).expect("the record holds");
            log.commit(cid).expect("it was placed");
        }
        log
    })
}

/// Every record that was ever written in any world, by name.
fn library() -> &'static Mutex<BTreeMap<Cid, Arc<ControlRecord>>> {
    static LIBRARY: OnceLock<Mutex<BTreeMap<Cid, Arc<ControlRecord>>>> = OnceLock::new();
    LIBRARY.get_or_init(Mutex::default)
}

/// A record that was written.
pub(crate) fn record(cid: &Cid) -> Arc<ControlRecord> {
    let library = library().lock().expect("nobody panics while holding it");
    Arc::clone(&library[cid])
}

type Written = HashMap<(Cid, u8, What, bool), Option<Arc<ControlRecord>>>;

/// The record that device `by` writes behind what `state` came from. Nothing that makes no sense
/// there: letting in who is in, removing who is not. `spared` wraps a new secret to everybody.
pub(crate) fn write(
    state: &ControlState,
    by: u8,
    what: What,
    spared: bool,
) -> Option<Arc<ControlRecord>> {
    static WRITTEN: OnceLock<Mutex<Written>> = OnceLock::new();
    let key = (state.record(), by, what, spared);
    let written = WRITTEN.get_or_init(Mutex::default);
    let find = || written.lock().expect("nobody panics while holding it").get(&key).cloned();
    if let Some(known) = find() {
        return known;
    }
    let made = makes_sense(state, what).then(|| {
        // Two days later nobody is new; each height has an hour of its own.
        let now = START_MS + 2 * NEWCOMER_WAIT_MS + state.height() * 3_600_000;
        Arc::new(draft(state, by, what, now, spared).sign(&keys(by).signing))
    });
    if let Some(record) = &made {
        let mut library = library().lock().expect("nobody panics while holding it");
        library.insert(record.cid(), Arc::clone(record));
    }
    written.lock().expect("nobody panics while holding it").insert(key, made.clone());
    made
}

fn makes_sense(state: &ControlState, what: What) -> bool {
    match what {
        What::Admit(n) | What::Promote(n) => state.device(&id(n)).is_none(),
        What::Remove(n) => state.is_live(&id(n)),
        What::Rotate => true,
    }
}

fn draft(state: &ControlState, by: u8, what: What, now_ms: u64, spared: bool) -> Draft {
    let body = match what {
        What::Admit(n) => admit(by, n, &[Capability::Reader, Capability::Writer]),
        What::Promote(n) => {
            let may = [Capability::Admin, Capability::Reader, Capability::Writer];
            admit(by, n, &may)
        }
        What::Remove(n) => ControlBody::RevokeDevice(RevokeDevice {
            device: id(n),
            last: Vec::new(),
            epoch: epoch(state, if spared { &[] } else { std::slice::from_ref(&n) }),
            reason: RevokeReason::Lost,
        }),
        What::Rotate => ControlBody::RotateEpoch(epoch(state, &[])),
    };
    Draft {
        identity: state.identity(),
        height: state.height() + 1,
        prev: state.record(),
        seen: None,
        author: Author::Device(id(by)),
        clock: now_ms << 16,
        body,
    }
}

fn admit(by: u8, n: u8, may: &[Capability]) -> ControlBody {
    let root = RecoveryKit::from_entropy([7; 32]).root().public();
    let accepted = Acceptance::of(keys(n), root, DeviceKind::Desktop);
    let body = CertificateBody {
        root,
        signing: accepted.signing,
        sealing: accepted.sealing,
        name_sealed: vec![n; 8],
        kind: accepted.kind,
        capabilities: may.iter().copied().collect(),
        serial: 1,
        made_ms: START_MS,
    };
    let (author, issuer) = (Author::Device(id(by)), &keys(by).signing);
    let signature = accepted.sign(&keys(n).signing);
    let certificate = DeviceCertificate::issue(body, signature, author, issuer)
        .expect("the device accepted what it says");
    let wraps = accepted.sealing.map(wrap).into_iter().collect();
    ControlBody::AddDevice(AddDevice { certificate, wraps })
}

fn epoch(state: &ControlState, without: &[u8]) -> EpochChange {
    let without: Vec<DeviceId> = without.iter().map(|n| id(*n)).collect();
    EpochChange {
        n: state.epoch().id.n + 1,
        wraps: state.recipients(&without).into_iter().map(wrap).collect(),
        previous: b"previous".to_vec(),
    }
}

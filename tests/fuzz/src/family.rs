//! A small identity whose every key is known, so that whatever the fuzzer writes can be signed.

use rhizome_identity::{
    Acceptance, AddDevice, Author, Capability, CertificateBody, ControlBody, ControlLog,
    ControlRecord, DeviceCertificate, DeviceId, DeviceKeys, DeviceKind, Draft, Genesis,
    RecoveryKit, SigningKeys,
};
use rhizome_replica::{Founding, found};
use std::sync::OnceLock;

/// When the identity begins.
pub const START_MS: u64 = 1_700_000_000_000;

/// Devices there may ever be: a fixed few, so that keys of any of them are at hand.
const DEVICES: u8 = 8;

/// The kit that outranks all devices.
pub fn kit() -> &'static RecoveryKit {
    static KIT: OnceLock<RecoveryKit> = OnceLock::new();
    KIT.get_or_init(|| RecoveryKit::from_entropy([7; 32]))
}

/// Keys of a device by number, from 1.
pub fn keys(number: u8) -> &'static DeviceKeys {
    static KEYS: OnceLock<Vec<DeviceKeys>> = OnceLock::new();
    let made = KEYS.get_or_init(|| {
        let bytes = |n: u8| std::array::from_fn(|at| if at < 32 { n } else { n | 0x80 });
        (1..=DEVICES).map(|n| DeviceKeys::from_bytes(&bytes(n))).collect()
    });
    &made[usize::from((number.wrapping_sub(1)) % DEVICES)]
}

/// A device by number.
pub fn id(number: u8) -> DeviceId {
    keys(number).device_id()
}

/// The number of a device, if it is one of ours.
fn number(device: &DeviceId) -> Option<u8> {
    (1..=DEVICES).find(|n| id(*n) == *device)
}

/// One of our devices, whatever device was named.
pub fn near(device: &DeviceId) -> u8 {
    number(device).unwrap_or(device.0[0] % DEVICES + 1)
}

/// The signing key of an author, after it was made one of ours.
pub fn signer(author: &Author) -> (Author, SigningKeys) {
    match author {
        Author::Device(device) => {
            let n = near(device);
            (Author::Device(id(n)), keys(n).signing.clone())
        }
        Author::Recovery => (Author::Recovery, kit().recovery()),
        Author::Root => (Author::Root, kit().root()),
    }
}

/// The genesis of device 1, a laptop.
pub fn genesis() -> &'static Genesis {
    static GENESIS: OnceLock<Genesis> = OnceLock::new();
    GENESIS.get_or_init(|| {
        let founding = Founding {
            kit: kit(),
            keys: keys(1),
            kind: DeviceKind::Laptop,
            name: "first",
            entropy: [5; 32],
            now_ms: START_MS,
        };
        found(&founding).expect("the parts belong together")
    })
}

/// A certificate of a device by an author, over what `body` says of it.
pub fn certify(mut body: CertificateBody, by: &Author) -> Option<DeviceCertificate> {
    let n = near(&body.signing);
    let accepted = Acceptance::of(keys(n), genesis().root(), body.kind);
    (body.root, body.signing, body.sealing) = (accepted.root, accepted.signing, accepted.sealing);
    let (by, issuer) = signer(by);
    let signature = accepted.sign(&keys(n).signing);
    DeviceCertificate::issue(body, signature, by, &issuer).ok()
}

fn admit(log: &ControlLog, n: u8, kind: DeviceKind, may: &[Capability]) -> ControlRecord {
    let accepted = Acceptance::of(keys(n), genesis().root(), kind);
    let body = CertificateBody {
        root: accepted.root,
        signing: accepted.signing,
        sealing: accepted.sealing,
        name_sealed: vec![n; 8],
        kind,
        capabilities: may.iter().copied().collect(),
        serial: 1,
        made_ms: START_MS,
    };
    let certificate = certify(body, &Author::Device(id(1))).expect("the certificate holds");
    let sealing = accepted.sealing.into_iter();
    let wraps = sealing.map(|recipient| rhizome_identity::Wrap { recipient, bytes: vec![n; 80] });
    let body = ControlBody::AddDevice(AddDevice { certificate, wraps: wraps.collect() });
    let clock = START_MS << 16;
    log.draft(Author::Device(id(1)), clock, None, body).sign(&keys(1).signing)
}

/// The control log of four devices: two admins (1 laptop, 2 desktop), a phone 3 that writes, a
/// cloud peer 4.
pub fn log() -> ControlLog {
    static LOG: OnceLock<ControlLog> = OnceLock::new();
    let family = LOG.get_or_init(|| {
        use Capability::{Admin, Reader, Sequencer, Writer};
        let mut log = ControlLog::new(genesis().clone());
        let devices: [(u8, DeviceKind, &[Capability]); 3] = [
            (2, DeviceKind::Desktop, &[Admin, Writer, Reader, Sequencer]),
            (3, DeviceKind::Phone, &[Writer, Reader, Sequencer]),
            (4, DeviceKind::CloudPeer, &[Sequencer]),
        ];
        for (n, kind, may) in devices {
            let record = admit(&log, n, kind, may);
            log.insert(record).expect("the record holds");
        }
        log
    });
    family.clone()
}

/// What `record` says, after the head of `log`, signed by those of ours that are nearest to its
/// signers.
pub fn mend(log: &ControlLog, record: &ControlRecord) -> Option<ControlRecord> {
    let (author, signing) = signer(&record.author());
    let mut body = record.body().clone();
    mend_body(&mut body, log, &author)?;
    let state = log.state();
    let draft = Draft {
        identity: state.identity(),
        height: state.height() + 1,
        prev: state.record(),
        seen: record.seen(),
        author,
        clock: record.clock(),
        body,
    };
    let mut mended = draft.sign(&signing);
    for signed in record.signatures().iter().skip(1) {
        let (by, signing) = signer(&signed.by);
        mended.cosign(by, &signing);
    }
    Some(mended)
}

/// Devices that a body names become ours, and what it wraps goes to those who must have it.
fn mend_body(body: &mut ControlBody, log: &ControlLog, author: &Author) -> Option<()> {
    let state = log.state();
    let ours = |device: &mut DeviceId| *device = id(near(device));
    let wraps = |epoch: &mut rhizome_identity::EpochChange, without: &[DeviceId]| {
        let bytes = epoch.wraps.first().map_or_else(Vec::new, |wrap| wrap.bytes.clone());
        let wrap = |recipient| rhizome_identity::Wrap { recipient, bytes: bytes.clone() };
        epoch.wraps = state.recipients(without).into_iter().map(wrap).collect();
        epoch.n = state.epoch().id.n.saturating_add(1);
    };
    match body {
        ControlBody::AddDevice(add) => {
            add.certificate = certify(add.certificate.body().clone(), author)?;
            if let (Some(wrap), Some(recipient)) =
                (add.wraps.first_mut(), add.certificate.body().sealing)
            {
                wrap.recipient = recipient;
            }
        }
        ControlBody::RevokeDevice(revoke) => {
            ours(&mut revoke.device);
            revoke.last.iter_mut().for_each(|head| head.author = revoke.device);
            wraps(&mut revoke.epoch, &[revoke.device]);
        }
        ControlBody::RotateEpoch(epoch) => wraps(epoch, &[]),
        ControlBody::ChangeVoters(change) => change.voters.iter_mut().for_each(ours),
        ControlBody::Dormant(dormant) => ours(&mut dormant.device),
        ControlBody::Reform(reform) => {
            reform.voters.iter_mut().for_each(ours);
            for one in &mut reform.revoked {
                ours(&mut one.device);
                one.last.iter_mut().for_each(|head| head.author = one.device);
            }
            let leaving: Vec<DeviceId> = reform.revoked.iter().map(|one| one.device).collect();
            wraps(&mut reform.epoch, &leaving);
        }
        ControlBody::SetPolicy(_) | ControlBody::Adopt(_) => {}
    }
    Some(())
}

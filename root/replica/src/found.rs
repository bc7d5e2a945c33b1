//! How an identity begins, and how its kit lets a new device in when all others are lost.

use crate::keys::{epoch_info, seal_name, wrap_all};
use rhizome_identity::{
    Acceptance, AddDevice, Author, Capability, CertificateBody, ControlBody, ControlLog,
    ControlRecord, DeviceCertificate, DeviceKeys, DeviceKind, Genesis, GenesisError, NewIdentity,
    RecoveryKit, SealingPublic,
};
use rhizome_log::Seen;
use rhizome_seal::{EpochSecret, Secret};
use std::collections::BTreeSet;

/// The version of the rules by which documents are folded.
pub const FOLD_VERSION: u32 = 1;

/// What a new identity is made from.
pub struct Founding<'a> {
    /// The kit; its words must reach the person.
    pub kit: &'a RecoveryKit,
    /// Keys of the first device.
    pub keys: &'a DeviceKeys,
    /// What the first device is.
    pub kind: DeviceKind,
    /// Its name.
    pub name: &'a str,
    /// Fresh random bytes.
    pub entropy: [u8; 32],
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Founds an identity: draws the first epoch's secret and the fixed secret, wraps both to the
/// first device and to the kit, and signs the genesis.
pub fn found(founding: &Founding<'_>) -> Result<Genesis, GenesisError> {
    let draw = |what: &str| rhizome_seal::keyed_hash(&founding.entropy, what, &[]);
    let secret = EpochSecret::from_bytes(draw("rhizome first epoch v1"));
    let fixed = Secret::from_bytes(draw("rhizome fixed secret v1"));
    let root = founding.kit.root().public();
    let recipients: [SealingPublic; 2] =
        [founding.keys.sealing_public(), founding.kit.sealing_public()];
    let entropy = draw("rhizome founding wraps v1");
    let epoch_wraps = wrap_all(&root, &secret, &fixed, recipients, &entropy)
        .expect("both recipients are keys we derived");
    Genesis::found(NewIdentity {
        kit: founding.kit,
        keys: founding.keys,
        kind: founding.kind,
        name_sealed: seal_name(&secret, founding.name, &entropy),
        fold: FOLD_VERSION,
        epoch_wraps,
        salt: draw("rhizome salt v1"),
        made_ms: founding.now_ms,
    })
}

/// Why the kit could not let a device in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// No epoch is wrapped to this kit.
    #[error("the kit does not open this identity")]
    WrongKit,
    /// The certificate could not be made.
    #[error("certificate is refused: {what}")]
    Certificate {
        /// What is wrong with it.
        what: String,
    },
}

/// The control record by which the kit admits a new device as admin.
pub fn recovery_record(
    control: &ControlLog,
    kit: &RecoveryKit,
    device: &DeviceKeys,
    name: &str,
    (kind, seen): (DeviceKind, Option<Seen>),
    (now_ms, entropy): (u64, [u8; 32]),
) -> Result<ControlRecord, RecoveryError> {
    let state = control.state();
    let root = state.root();
    let (secret, fixed) = newest_secret(control, kit).ok_or(RecoveryError::WrongKit)?;
    let acceptance = Acceptance::of(device, root, kind);
    let accepted = acceptance.sign(&device.signing);
    let body = CertificateBody {
        root,
        signing: acceptance.signing,
        sealing: acceptance.sealing,
        name_sealed: seal_name(&secret, name, &entropy),
        kind,
        capabilities: BTreeSet::from([
            Capability::Admin,
            Capability::Writer,
            Capability::Reader,
            Capability::Sequencer,
        ]),
        serial: 1,
        made_ms: now_ms,
    };
    let signing = kit.recovery();
    let certificate = DeviceCertificate::issue(body, accepted, Author::Recovery, &signing)
        .map_err(|error| RecoveryError::Certificate { what: error.to_string() })?;
    let wraps = wrap_all(&root, &secret, &fixed, acceptance.sealing, &entropy)
        .ok_or(RecoveryError::WrongKit)?;
    let body = ControlBody::AddDevice(AddDevice { certificate, wraps });
    Ok(control.draft(Author::Recovery, now_ms << 16, seen, body).sign(&signing))
}

/// The newest epoch's secret and the fixed secret, opened with the kit.
fn newest_secret(control: &ControlLog, kit: &RecoveryKit) -> Option<(EpochSecret, Secret)> {
    let state = control.state();
    let wrapped = state.epoch().wraps.get(&kit.sealing_public())?;
    let info = epoch_info(&state.root());
    let bytes = rhizome_seal::unwrap(&kit.sealing_secret(), &info, wrapped).ok()?;
    crate::keys::split(&bytes)
}

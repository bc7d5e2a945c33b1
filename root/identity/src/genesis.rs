//! The genesis of an identity: its first keys, its first device, its first epoch.
//!
//! The id of an identity is the [`Cid`] of this record, so nobody can bend any of it afterwards.
//! All that comes later is in the control log.

use crate::certificate::{Acceptance, CertificateBody};
use crate::format::{Alg1, V1};
use crate::keys::{Signature, SignatureError, verify};
use crate::{
    Author, Capability, CertificateError, DeviceCertificate, DeviceKeys, DeviceKind, EpochId,
    IdentityId, RecoveryKit, SealingPublic, SigningPublic, Wrap,
};
use rhizome_block::{CborError, Cid, Codec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Domain of the root signature.
const GENESIS_DOMAIN: &str = "genesis";

/// Most bytes of a genesis: a certificate, two wraps of the largest size, and keys.
pub const GENESIS_BYTES_MAX: usize = 8 * 1024;

/// Why a genesis does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// It is larger than [`GENESIS_BYTES_MAX`].
    #[error("genesis of {bytes} bytes is larger than {GENESIS_BYTES_MAX}")]
    Size {
        /// Its size.
        bytes: usize,
    },
    /// The bytes are no genesis.
    #[error("bytes are not a genesis")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// The root key did not sign it.
    #[error("genesis is not signed by its root key")]
    Signature {
        /// What the check said.
        source: SignatureError,
    },
    /// The first certificate does not hold.
    #[error("certificate of the first device does not hold")]
    Certificate {
        /// What the check said.
        source: CertificateError,
    },
    /// The first certificate is not signed by the root key.
    #[error("certificate of the first device is not signed as root")]
    Issuer,
    /// Nobody could administer the identity.
    #[error("first device is not an admin that can read and write")]
    FirstDevice,
    /// The first secret is not wrapped to exactly the first device and the kit.
    #[error("first epoch is not wrapped to the first device and the recovery kit alone")]
    Wraps,
    /// The three keys of the kit are not all different from each other and the device's.
    #[error("keys of the genesis are not all different")]
    Keys,
}

rhizome_block::kind!(
    /// The kind text of a genesis.
    pub(crate) GenesisKind = "genesis"
);

/// The first record of an identity.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Genesis {
    k: GenesisKind,
    v: V1,
    alg: Alg1,
    root: SigningPublic,
    recovery_sign: SigningPublic,
    recovery_seal: SealingPublic,
    device: DeviceCertificate,
    fold: u32,
    epoch_wraps: Vec<Wrap>,
    #[serde(with = "serde_bytes")]
    salt: [u8; 32],
    signature: Signature,
}

/// What the root key signs.
#[derive(Serialize)]
struct Signed<'a> {
    k: GenesisKind,
    v: V1,
    alg: Alg1,
    root: &'a SigningPublic,
    recovery_sign: &'a SigningPublic,
    recovery_seal: &'a SealingPublic,
    device: &'a DeviceCertificate,
    fold: u32,
    epoch_wraps: &'a [Wrap],
    #[serde(with = "serde_bytes")]
    salt: &'a [u8; 32],
}

/// What a new identity is made of.
#[derive(Clone, Debug)]
pub struct NewIdentity<'a> {
    /// The kit, whose keys the genesis names.
    pub kit: &'a RecoveryKit,
    /// The first device.
    pub keys: &'a DeviceKeys,
    /// What the first device is; no cloud peer.
    pub kind: DeviceKind,
    /// Its name, sealed under the first epoch.
    pub name_sealed: Vec<u8>,
    /// Version of the rules by which events are folded.
    pub fold: u32,
    /// The first epoch's secret, wrapped to the first device and to the kit.
    pub epoch_wraps: Vec<Wrap>,
    /// Random bytes, so that two identities never share an id.
    pub salt: [u8; 32],
    /// When, by the wall clock, for people to read.
    pub made_ms: u64,
}

impl Genesis {
    /// Founds an identity whose first device may do everything.
    pub fn found(new: NewIdentity<'_>) -> Result<Self, GenesisError> {
        let root = new.kit.root();
        let accepted = Acceptance::of(new.keys, root.public(), new.kind);
        let body = CertificateBody {
            root: root.public(),
            signing: accepted.signing,
            sealing: accepted.sealing,
            name_sealed: new.name_sealed,
            kind: new.kind,
            capabilities: BTreeSet::from([
                Capability::Admin,
                Capability::Writer,
                Capability::Reader,
                Capability::Sequencer,
            ]),
            serial: 1,
            made_ms: new.made_ms,
        };
        let acceptance = accepted.sign(&new.keys.signing);
        let device = DeviceCertificate::issue(body, acceptance, Author::Root, &root)
            .map_err(|source| GenesisError::Certificate { source })?;
        let mut genesis = Self {
            k: GenesisKind,
            v: V1,
            alg: Alg1,
            root: root.public(),
            recovery_sign: new.kit.recovery().public(),
            recovery_seal: new.kit.sealing_public(),
            device,
            fold: new.fold,
            epoch_wraps: new.epoch_wraps,
            salt: new.salt,
            signature: Signature([0; 64]),
        };
        genesis.signature = root.sign(GENESIS_DOMAIN, &genesis.signed_bytes());
        genesis.verify()?;
        Ok(genesis)
    }

    /// Reads and verifies a genesis.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GenesisError> {
        if bytes.len() > GENESIS_BYTES_MAX {
            return Err(GenesisError::Size { bytes: bytes.len() });
        }
        let genesis: Self =
            rhizome_block::decode(bytes).map_err(|source| GenesisError::Malformed { source })?;
        genesis.verify()?;
        Ok(genesis)
    }

    /// The canonical bytes, whose name is the identity.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rhizome_block::encode(self).expect("a genesis has a DAG-CBOR form")
    }

    /// The identity that this founds.
    #[must_use]
    pub fn identity_id(&self) -> IdentityId {
        IdentityId(Cid::of(Codec::DagCbor, &self.to_bytes()))
    }

    /// The first epoch.
    #[must_use]
    pub fn epoch_id(&self) -> EpochId {
        EpochId { n: 0, record: self.identity_id().0 }
    }

    /// Checks everything that can be checked of a genesis alone.
    pub fn verify(&self) -> Result<(), GenesisError> {
        verify(&self.root.0, GENESIS_DOMAIN, &self.signed_bytes(), &self.signature)
            .map_err(|source| GenesisError::Signature { source })?;
        if self.device.by() != Author::Root {
            return Err(GenesisError::Issuer);
        }
        self.device
            .verify(&self.root, &self.root.0)
            .map_err(|source| GenesisError::Certificate { source })?;
        let needed = [Capability::Admin, Capability::Reader, Capability::Writer];
        if !needed.iter().all(|one| self.device.may(*one)) {
            return Err(GenesisError::FirstDevice);
        }
        let sealing = self.device.body().sealing.ok_or(GenesisError::FirstDevice)?;
        let signing = [self.root.0, self.recovery_sign.0, self.device.device().0];
        if signing.iter().collect::<BTreeSet<_>>().len() != 3 || sealing == self.recovery_seal {
            return Err(GenesisError::Keys);
        }
        let recipients: BTreeSet<_> = self.epoch_wraps.iter().map(|wrap| wrap.recipient).collect();
        let bounded = self.epoch_wraps.iter().all(|wrap| wrap.bytes.len() <= Wrap::BYTES_MAX);
        if self.epoch_wraps.len() != 2
            || recipients != BTreeSet::from([sealing, self.recovery_seal])
            || !bounded
        {
            return Err(GenesisError::Wraps);
        }
        Ok(())
    }

    /// The root key.
    #[must_use]
    pub const fn root(&self) -> SigningPublic {
        self.root
    }

    /// The recovery signing key.
    #[must_use]
    pub const fn recovery_sign(&self) -> SigningPublic {
        self.recovery_sign
    }

    /// The recovery sealing key.
    #[must_use]
    pub const fn recovery_seal(&self) -> SealingPublic {
        self.recovery_seal
    }

    /// The certificate of the first device.
    #[must_use]
    pub const fn device(&self) -> &DeviceCertificate {
        &self.device
    }

    /// Version of the fold rules to begin with.
    #[must_use]
    pub const fn fold(&self) -> u32 {
        self.fold
    }

    /// The first epoch's secret, wrapped.
    #[must_use]
    pub fn epoch_wraps(&self) -> &[Wrap] {
        &self.epoch_wraps
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let signed = Signed {
            k: self.k,
            v: self.v,
            alg: self.alg,
            root: &self.root,
            recovery_sign: &self.recovery_sign,
            recovery_seal: &self.recovery_seal,
            device: &self.device,
            fold: self.fold,
            epoch_wraps: &self.epoch_wraps,
            salt: &self.salt,
        };
        rhizome_block::encode(&signed).expect("a genesis has a DAG-CBOR form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(
        kind: DeviceKind,
        change: impl FnOnce(&mut NewIdentity<'_>),
    ) -> Result<Genesis, GenesisError> {
        let kit = RecoveryKit::from_entropy([7; 32]);
        let keys = DeviceKeys::from_bytes(&[1; 64]);
        let wrap = |recipient| Wrap { recipient, bytes: b"wrapped".to_vec() };
        let mut new = NewIdentity {
            kit: &kit,
            keys: &keys,
            kind,
            name_sealed: b"sealed name".to_vec(),
            fold: 1,
            epoch_wraps: vec![wrap(keys.sealing_public()), wrap(kit.sealing_public())],
            salt: [3; 32],
            made_ms: 1_700_000_000_000,
        };
        change(&mut new);
        Genesis::found(new)
    }

    fn ana() -> Genesis {
        found(DeviceKind::Laptop, |_| ()).unwrap()
    }

    #[test]
    fn version_1_still_reads_and_names_the_same_identity() {
        let stored = crate::fixture::check("genesis.v1.cbor", &ana().to_bytes());
        let read = Genesis::from_bytes(&stored).unwrap();
        assert_eq!(rhizome_block::peek_kind(&stored), Some("genesis"));
        expect_test::expect!["bafyreidh7eqirbgnrxny42ed4nsiubr4zxwdjcxt7rmvpqvf3fxzekpbu4"]
            .assert_eq(&read.identity_id().to_string());
        assert_eq!(read.epoch_id(), EpochId { n: 0, record: read.identity_id().0 });
    }

    #[test]
    fn the_salt_alone_makes_another_identity() {
        let other = found(DeviceKind::Laptop, |new| new.salt = [4; 32]).unwrap();
        assert_ne!(other.identity_id(), ana().identity_id());
    }

    #[test]
    fn a_cloud_peer_founds_nothing() {
        let error = found(DeviceKind::CloudPeer, |_| ()).unwrap_err();
        assert!(matches!(error, GenesisError::Certificate { .. }), "{error:?}");
    }

    #[test]
    fn the_first_secret_goes_to_the_device_and_the_kit_alone() {
        let error = found(DeviceKind::Laptop, |new| drop(new.epoch_wraps.pop())).unwrap_err();
        assert!(matches!(error, GenesisError::Wraps), "{error:?}");
        let error = found(DeviceKind::Laptop, |new| {
            new.epoch_wraps.push(Wrap { recipient: SealingPublic([5; 32]), bytes: Vec::new() });
        });
        assert!(matches!(error.unwrap_err(), GenesisError::Wraps));
        let error = found(DeviceKind::Laptop, |new| {
            new.epoch_wraps[0].bytes = vec![0; Wrap::BYTES_MAX + 1];
        });
        assert!(matches!(error.unwrap_err(), GenesisError::Wraps));
    }

    #[test]
    fn a_device_certified_by_somebody_else_founds_nothing() {
        let mut genesis = ana();
        let keys = DeviceKeys::from_bytes(&[1; 64]);
        let by = Author::Device(keys.device_id());
        genesis.device = DeviceCertificate::issue(
            genesis.device.body().clone(),
            genesis.device.acceptance(),
            by,
            &keys.signing,
        )
        .unwrap();
        let root = RecoveryKit::from_entropy([7; 32]).root();
        genesis.signature = root.sign(GENESIS_DOMAIN, &genesis.signed_bytes());
        assert!(matches!(genesis.verify(), Err(GenesisError::Issuer)));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_without_a_panic(at in 0..2000usize, with: u8, noise: Vec<u8>) {
            let mut bytes = ana().to_bytes();
            let at = at % bytes.len();
            prop_assert!(Genesis::from_bytes(&bytes[..at]).is_err());
            prop_assert!(Genesis::from_bytes(&noise).is_err());
            let before = std::mem::replace(&mut bytes[at], with);
            prop_assert_eq!(Genesis::from_bytes(&bytes).is_ok(), before == with);
        }
    }
}

//! Device certificates: which keys a device has and what it may do.
//!
//! A certificate names the **root key** of its identity rather than the identity's id. The id is
//! the hash of the genesis, and the genesis contains the first certificate; the root key breaks
//! that circle, and stands for exactly one genesis in everything that checks it.
//!
//! The device signs that it joins this root with these keys ([`Acceptance`]); whoever admits it
//! signs the whole. Whether that signer was entitled to is left to the control log.

use crate::format::{Alg1, V1};
use crate::keys::{Signature, SignatureError, SigningKeys, verify};
use crate::{Author, DeviceId, DeviceKeys, SealingPublic, SigningPublic};
use rhizome_block::CborError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Domain of the signature of whoever admits the device.
const CERTIFICATE_DOMAIN: &str = "device-certificate";

/// Domain of the signature of the device itself.
const ACCEPTANCE_DOMAIN: &str = "device-acceptance";

/// Most bytes of the sealed name: a padded name of 256 bytes, nonce, tag and key commitment.
pub const NAME_SEALED_BYTES_MAX: usize = 512;

/// What sort of machine a device is; it decides the part it takes in ordering.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// Stands on a desk, mostly on.
    Desktop,
    /// Sleeps in a bag.
    Laptop,
    /// Sleeps in a pocket.
    Phone,
    /// A tab, whose storage the browser may delete.
    Browser,
    /// A server or storage box at home, always on.
    HomeServer,
    /// A hosted peer, always on, not trusted with contents.
    CloudPeer,
}

impl DeviceKind {
    /// Whether it may be one of several voters: not what is put to sleep by its system.
    #[must_use]
    pub const fn may_vote_with_others(self) -> bool {
        !matches!(self, Self::Phone | Self::Browser)
    }
}

/// One thing a device may do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Sign control records: admit, revoke, rotate.
    Admin,
    /// Write events.
    Writer,
    /// Hold keys and read contents.
    Reader,
    /// Vote on the order.
    Sequencer,
}

/// A rule about certificates that one of them breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateRule {
    /// It may do nothing at all.
    #[error("a certificate grants at least one capability")]
    NoCapability,
    /// A cloud peer orders and does nothing else.
    #[error("a cloud peer may sequence and nothing else")]
    CloudPeerCapabilities,
    /// A cloud peer must not be given content by mistake.
    #[error("a cloud peer has no sealing key")]
    CloudPeerSealing,
    /// What reads, writes or administers must be able to open secrets.
    #[error("a device without a sealing key may only sequence")]
    SealingMissing,
    /// The sealed name is too long.
    #[error("the sealed name is longer than {NAME_SEALED_BYTES_MAX} bytes")]
    NameLength,
    /// Serials count from 1.
    #[error("the serial is zero")]
    Serial,
}

/// Why a certificate does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are no certificate.
    #[error("bytes are not a device certificate")]
    Malformed {
        /// What the decoder said.
        source: CborError,
    },
    /// It breaks a rule.
    #[error("device certificate breaks a rule")]
    Rule {
        /// Which one.
        source: CertificateRule,
    },
    /// It belongs to another identity.
    #[error("device certificate names another root key")]
    Root,
    /// The device did not sign that it joins.
    #[error("device did not sign its own certificate")]
    Acceptance {
        /// What the check said.
        source: SignatureError,
    },
    /// Whoever it names as its signer did not sign it.
    #[error("device certificate is not signed by whom it names")]
    Issuer {
        /// What the check said.
        source: SignatureError,
    },
}

/// What a device signs to join: this root, these keys, as this kind of machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Root key of the identity that it joins.
    pub root: SigningPublic,
    /// Its signing key.
    pub signing: DeviceId,
    /// Its sealing key, if it may hold contents.
    pub sealing: Option<SealingPublic>,
    /// What it is.
    pub kind: DeviceKind,
}

impl Acceptance {
    /// The joining of a device with these keys. A cloud peer accepts without its sealing key.
    #[must_use]
    pub fn of(keys: &DeviceKeys, root: SigningPublic, kind: DeviceKind) -> Self {
        let sealing = (kind != DeviceKind::CloudPeer).then(|| keys.sealing_public());
        Self { root, signing: keys.device_id(), sealing, kind }
    }

    /// Signs it, with the key that it names.
    #[must_use]
    pub fn sign(&self, keys: &SigningKeys) -> Signature {
        keys.sign(ACCEPTANCE_DOMAIN, &self.bytes())
    }

    /// Checks that the device it names signed it.
    pub fn verify(&self, signature: &Signature) -> Result<(), SignatureError> {
        verify(&self.signing.0, ACCEPTANCE_DOMAIN, &self.bytes(), signature)
    }

    fn bytes(&self) -> Vec<u8> {
        rhizome_block::encode(self).expect("keys and a kind have a DAG-CBOR form")
    }
}

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBody")]
pub struct CertificateBody {
    /// Root key of the identity.
    pub root: SigningPublic,
    /// The device: its signing key.
    pub signing: DeviceId,
    /// Its sealing key; none for a cloud peer.
    pub sealing: Option<SealingPublic>,
    /// Its name, sealed by the caller so that a host cannot read it.
    #[serde(with = "serde_bytes")]
    pub name_sealed: Vec<u8>,
    /// What it is.
    pub kind: DeviceKind,
    /// What it may do.
    pub capabilities: BTreeSet<Capability>,
    /// Counts the certificates of this device from 1; the highest holds.
    pub serial: u32,
    /// When it was made, by the admitting device's clock, for people to read.
    pub made_ms: u64,
}

impl CertificateBody {
    /// Checks what must hold of every certificate whoever signed it.
    pub fn check(&self) -> Result<(), CertificateRule> {
        let sequencer_only = self.capabilities.iter().all(|one| *one == Capability::Sequencer);
        if self.capabilities.is_empty() {
            return Err(CertificateRule::NoCapability);
        }
        if self.kind == DeviceKind::CloudPeer && !sequencer_only {
            return Err(CertificateRule::CloudPeerCapabilities);
        }
        if self.kind == DeviceKind::CloudPeer && self.sealing.is_some() {
            return Err(CertificateRule::CloudPeerSealing);
        }
        if self.sealing.is_none() && !sequencer_only {
            return Err(CertificateRule::SealingMissing);
        }
        if self.name_sealed.len() > NAME_SEALED_BYTES_MAX {
            return Err(CertificateRule::NameLength);
        }
        if self.serial == 0 {
            return Err(CertificateRule::Serial);
        }
        Ok(())
    }

    /// What the device must have signed for this certificate.
    #[must_use]
    pub fn acceptance(&self) -> Acceptance {
        Acceptance {
            root: self.root,
            signing: self.signing,
            sealing: self.sealing,
            kind: self.kind,
        }
    }
}

/// The fields of a [`CertificateBody`] before its rules are checked.
#[derive(Deserialize)]
struct RawBody {
    root: SigningPublic,
    signing: DeviceId,
    sealing: Option<SealingPublic>,
    #[serde(with = "serde_bytes")]
    name_sealed: Vec<u8>,
    kind: DeviceKind,
    capabilities: BTreeSet<Capability>,
    serial: u32,
    made_ms: u64,
}

impl TryFrom<RawBody> for CertificateBody {
    type Error = CertificateRule;

    fn try_from(raw: RawBody) -> Result<Self, CertificateRule> {
        let body = Self {
            root: raw.root,
            signing: raw.signing,
            sealing: raw.sealing,
            name_sealed: raw.name_sealed,
            kind: raw.kind,
            capabilities: raw.capabilities,
            serial: raw.serial,
            made_ms: raw.made_ms,
        };
        body.check().map(|()| body)
    }
}

rhizome_block::kind!(
    /// The kind text of a certificate.
    pub(crate) CertificateKind = "device-certificate"
);

/// A certificate: what it says, and both signatures.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DeviceCertificate {
    k: CertificateKind,
    v: V1,
    alg: Alg1,
    body: CertificateBody,
    acceptance: Signature,
    by: Author,
    signature: Signature,
}

/// What the admitting key signs: everything but its own signature.
#[derive(Serialize)]
struct Signed<'a> {
    k: CertificateKind,
    v: V1,
    alg: Alg1,
    body: &'a CertificateBody,
    acceptance: &'a Signature,
    by: &'a Author,
}

impl DeviceCertificate {
    /// Signs a certificate as `by`, whose key is `keys`, over the device's own `acceptance`.
    pub fn issue(
        body: CertificateBody,
        acceptance: Signature,
        by: Author,
        keys: &SigningKeys,
    ) -> Result<Self, CertificateError> {
        body.check().map_err(|source| CertificateError::Rule { source })?;
        body.acceptance()
            .verify(&acceptance)
            .map_err(|source| CertificateError::Acceptance { source })?;
        let signed = Signed {
            k: CertificateKind,
            v: V1,
            alg: Alg1,
            body: &body,
            acceptance: &acceptance,
            by: &by,
        };
        let signature = keys.sign(CERTIFICATE_DOMAIN, &signed.bytes());
        Ok(Self { k: CertificateKind, v: V1, alg: Alg1, body, acceptance, by, signature })
    }

    /// Reads a certificate and checks its rules, not its signatures.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        rhizome_block::decode(bytes).map_err(|source| CertificateError::Malformed { source })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rhizome_block::encode(self).expect("a certificate has a DAG-CBOR form")
    }

    /// Checks rules and signatures: of the device, and of `issuer`, the key of [`Self::by`].
    pub fn verify(&self, root: &SigningPublic, issuer: &[u8; 32]) -> Result<(), CertificateError> {
        self.body.check().map_err(|source| CertificateError::Rule { source })?;
        if self.body.root != *root {
            return Err(CertificateError::Root);
        }
        self.body
            .acceptance()
            .verify(&self.acceptance)
            .map_err(|source| CertificateError::Acceptance { source })?;
        let signed = Signed {
            k: self.k,
            v: self.v,
            alg: self.alg,
            body: &self.body,
            acceptance: &self.acceptance,
            by: &self.by,
        };
        verify(issuer, CERTIFICATE_DOMAIN, &signed.bytes(), &self.signature)
            .map_err(|source| CertificateError::Issuer { source })
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &CertificateBody {
        &self.body
    }

    /// Who signed it.
    #[must_use]
    pub const fn by(&self) -> Author {
        self.by
    }

    /// The device's own signature, which its next certificate needs again.
    #[must_use]
    pub const fn acceptance(&self) -> Signature {
        self.acceptance
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.body.signing
    }

    /// Whether the device may do this.
    #[must_use]
    pub fn may(&self, capability: Capability) -> bool {
        self.body.capabilities.contains(&capability)
    }
}

impl Signed<'_> {
    fn bytes(&self) -> Vec<u8> {
        rhizome_block::encode(self).expect("a certificate has a DAG-CBOR form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(seed: u8) -> DeviceKeys {
        DeviceKeys::from_bytes(&[seed; 64])
    }

    fn body(kind: DeviceKind, capabilities: &[Capability]) -> CertificateBody {
        let root = keys(9).signing.public();
        let accepted = Acceptance::of(&keys(1), root, kind);
        CertificateBody {
            root,
            signing: accepted.signing,
            sealing: accepted.sealing,
            name_sealed: b"sealed name".to_vec(),
            kind,
            capabilities: capabilities.iter().copied().collect(),
            serial: 1,
            made_ms: 1_700_000_000_000,
        }
    }

    fn issue(body: CertificateBody) -> Result<DeviceCertificate, CertificateError> {
        let acceptance = body.acceptance().sign(&keys(1).signing);
        let by = Author::Device(keys(2).device_id());
        DeviceCertificate::issue(body, acceptance, by, &keys(2).signing)
    }

    fn laptop() -> DeviceCertificate {
        issue(body(DeviceKind::Laptop, &[Capability::Admin, Capability::Writer])).unwrap()
    }

    #[test]
    fn version_1_still_reads() {
        let stored = crate::fixture::check("certificate.v1.cbor", &laptop().to_bytes());
        let read = DeviceCertificate::from_bytes(&stored).unwrap();
        let root = keys(9).signing.public();
        read.verify(&root, &keys(2).device_id().0).unwrap();
        assert_eq!(rhizome_block::peek_kind(&stored), Some("device-certificate"));
        assert!(read.may(Capability::Admin) && !read.may(Capability::Sequencer));
    }

    #[test]
    fn both_signatures_and_the_root_are_checked() {
        let certificate = laptop();
        let root = keys(9).signing.public();
        let issuer = keys(2).device_id().0;
        assert!(matches!(
            certificate.verify(&keys(8).signing.public(), &issuer),
            Err(CertificateError::Root)
        ));
        assert!(matches!(
            certificate.verify(&root, &keys(3).device_id().0),
            Err(CertificateError::Issuer { .. })
        ));
        let mut stolen = certificate.clone();
        stolen.acceptance = stolen.body.acceptance().sign(&keys(3).signing);
        assert!(matches!(stolen.verify(&root, &issuer), Err(CertificateError::Acceptance { .. })));
        let mut promoted = certificate;
        promoted.body.capabilities.insert(Capability::Sequencer);
        assert!(matches!(promoted.verify(&root, &issuer), Err(CertificateError::Issuer { .. })));
    }

    #[test]
    fn a_cloud_peer_sequences_and_holds_no_sealing_key() {
        use CertificateRule::{CloudPeerCapabilities, CloudPeerSealing};
        let good = body(DeviceKind::CloudPeer, &[Capability::Sequencer]);
        assert_eq!(good.check(), Ok(()));
        issue(good.clone()).unwrap();
        let mut reader = good.clone();
        reader.capabilities.insert(Capability::Reader);
        assert_eq!(reader.check(), Err(CloudPeerCapabilities));
        let mut sealing = good;
        sealing.sealing = Some(keys(1).sealing_public());
        assert_eq!(sealing.check(), Err(CloudPeerSealing));
        for bad in [reader, sealing] {
            assert!(issue(bad.clone()).is_err());
            let forged = DeviceCertificate { body: bad, ..laptop() };
            assert!(matches!(
                DeviceCertificate::from_bytes(&forged.to_bytes()),
                Err(CertificateError::Malformed { .. })
            ));
            assert!(matches!(
                forged.verify(&keys(9).signing.public(), &keys(2).device_id().0),
                Err(CertificateError::Rule { .. })
            ));
        }
    }

    #[test]
    fn other_rules_hold_on_decoding_too() {
        use CertificateRule::{NameLength, NoCapability, SealingMissing, Serial};
        let good = || body(DeviceKind::Desktop, &[Capability::Reader]);
        let check = |change: fn(&mut CertificateBody), rule| {
            let mut bad = good();
            change(&mut bad);
            assert_eq!(bad.check(), Err(rule));
            let bytes = DeviceCertificate { body: bad, ..laptop() }.to_bytes();
            assert!(DeviceCertificate::from_bytes(&bytes).is_err());
        };
        check(|bad| bad.capabilities.clear(), NoCapability);
        check(|bad| bad.sealing = None, SealingMissing);
        check(|bad| bad.name_sealed = vec![0; NAME_SEALED_BYTES_MAX + 1], NameLength);
        check(|bad| bad.serial = 0, Serial);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_without_a_panic(
            at in 0..400usize, with: u8, cut in 0..400usize, noise: Vec<u8>,
        ) {
            let mut bytes = laptop().to_bytes();
            let (at, cut) = (at % bytes.len(), cut % bytes.len());
            prop_assert!(DeviceCertificate::from_bytes(&bytes[..cut]).is_err());
            prop_assert!(DeviceCertificate::from_bytes(&noise).is_err());
            let before = std::mem::replace(&mut bytes[at], with);
            let root = keys(9).signing.public();
            let verdict = DeviceCertificate::from_bytes(&bytes)
                .is_ok_and(|read| read.verify(&root, &keys(2).device_id().0).is_ok());
            prop_assert_eq!(verdict, before == with);
        }
    }
}

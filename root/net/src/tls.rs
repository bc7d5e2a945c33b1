//! TLS with raw public keys (RFC 7250): the Ed25519 key of a device is its key in the handshake.
//!
//! Both sides must show a key and prove it. The side that dials compares the key it finds with the
//! one it expects; the side that is dialled learns a key and leaves the rest to others. No name, no
//! authority, no date and no chain is involved, hence nothing of X.509.

use ed25519_dalek::{SigningKey, VerifyingKey};
use rhizome_identity::DeviceId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use std::fmt;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// The protocol both sides must name in the handshake: the version of everything on the wire.
pub const ALPN: &[u8] = b"rhizome/1";

/// The DER of an Ed25519 SubjectPublicKeyInfo up to the key itself (RFC 8410, section 4).
const PUBLIC_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The DER of an Ed25519 private key in PKCS #8 up to the seed itself (RFC 8410, section 7).
const SECRET_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The keys a process answers with, by the name that was dialled.
pub trait KeyRing: Send + Sync {
    /// The secret seed of the device that answers for `name` (`<identity>.rhizome`,
    /// `link.rhizome`, …), or `None` if nobody here does. Called in the middle of a handshake, with
    /// a name that anybody may have made up: answer from memory.
    fn server_key(&self, name: &str) -> Option<[u8; 32]>;
}

/// Whom the dialling side wants to find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// This device and no other.
    Key(DeviceId),
    /// Anybody; the layer above authenticates (linking, recovery, asking for hosting).
    Any,
}

/// The device whose secret is `seed`.
pub(crate) fn device_of(seed: &[u8; 32]) -> DeviceId {
    DeviceId(SigningKey::from_bytes(seed).verifying_key().to_bytes())
}

/// The device whose raw public key this is. Weak keys, with which everybody can sign, are none.
pub(crate) fn device_in(spki: &[u8]) -> Result<DeviceId, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let key = spki.strip_prefix(&PUBLIC_PREFIX).ok_or_else(bad)?;
    let key: [u8; 32] = key.try_into().map_err(|_| bad())?;
    let point = VerifyingKey::from_bytes(&key).map_err(|_| bad())?;
    if point.is_weak() { Err(bad()) } else { Ok(DeviceId(key)) }
}

/// `seed` in the form the handshake signs with.
fn certified(seed: &[u8; 32]) -> Result<Arc<CertifiedKey>, Error> {
    let mut secret = Zeroizing::new([0u8; 48]);
    secret[..16].copy_from_slice(&SECRET_PREFIX);
    secret[16..].copy_from_slice(seed);
    let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&secret[..]))?;
    let public = [&PUBLIC_PREFIX[..], &device_of(seed).0].concat();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signer)))
}

/// Makes TLS configurations that share one set of algorithms.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        Self { provider: Arc::new(ring::default_provider()) }
    }

    /// The side that is dialled: answers with the key of the name, wants a key, takes any.
    pub(crate) fn server(&self, ring: Arc<dyn KeyRing>) -> Result<rustls::ServerConfig, Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(AnyDevice { provider: self.provider.clone() }))
            .with_cert_resolver(Arc::new(ByName { ring }));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Every link proves both keys again: no tickets, no sessions, no early data.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }

    /// The side that dials with the key `seed` and wants to find `expect`.
    pub(crate) fn client(
        &self,
        seed: &[u8; 32],
        expect: Expect,
    ) -> Result<(rustls::ClientConfig, Arc<Expected>), Error> {
        let provider = self.provider.clone();
        let expected = Arc::new(Expected { expect, found: OnceLock::new(), provider });
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(expected.clone())
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                certified(seed)?,
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok((config, expected))
    }
}

/// Finds the key that answers for a name.
struct ByName {
    ring: Arc<dyn KeyRing>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByName")
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let seed = Zeroizing::new(self.ring.server_key(hello.server_name()?)?);
        certified(&seed).ok()
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

/// Checks a proof of the raw public key `key`.
fn check_proof(
    provider: &CryptoProvider,
    message: &[u8],
    key: &CertificateDer<'_>,
    proof: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = SubjectPublicKeyInfoDer::from(key.as_ref());
    let algorithms = &provider.signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &key, proof, algorithms)
}

/// TLS 1.2 is not offered; whoever gets here speaks something else.
fn no_tls12() -> Error {
    Error::General("only TLS 1.3 is spoken here".to_owned())
}

/// What the dialling side expects and what it found.
#[derive(Debug)]
pub(crate) struct Expected {
    expect: Expect,
    found: OnceLock<DeviceId>,
    provider: Arc<CryptoProvider>,
}

impl Expected {
    /// The expected and the shown key, if another one was shown. Shown is not yet proven.
    pub(crate) fn mismatch(&self) -> Option<(DeviceId, DeviceId)> {
        match (self.expect, self.found.get()) {
            (Expect::Key(expected), Some(found)) if expected != *found => Some((expected, *found)),
            _ => None,
        }
    }
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = device_in(key)?;
        self.found.get_or_init(|| shown);
        match self.expect {
            Expect::Key(expected) if expected != shown => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            Expect::Key(_) | Expect::Any => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_proof(&self.provider, message, key, proof)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Takes any device key, once proven.
#[derive(Debug)]
struct AnyDevice {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyDevice {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        device_in(key).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_proof(&self.provider, message, key, proof)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_key_survives_its_raw_public_key_form() {
        let key = certified(&[7; 32]).unwrap();
        assert_eq!(device_in(&key.cert[0]).unwrap(), device_of(&[7; 32]));
        let signer_public = key.key.public_key().unwrap();
        assert_eq!(signer_public.as_ref(), key.cert[0].as_ref(), "the signer has another key");
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused() {
        let good = certified(&[7; 32]).unwrap().cert[0].to_vec();
        assert!(device_in(&good[..43]).is_err(), "too short");
        assert!(device_in(&[&good[..], &[0]].concat()).is_err(), "too long");
        let mut other_algorithm = good.clone();
        other_algorithm[8] = 0x71;
        assert!(device_in(&other_algorithm).is_err(), "Ed448");
        assert!(device_in(&[]).is_err(), "nothing");
    }

    #[test]
    fn a_weak_key_with_which_everybody_can_sign_is_refused() {
        let mut neutral = [0u8; 32];
        neutral[0] = 1;
        assert!(device_in(&[&PUBLIC_PREFIX[..], &neutral].concat()).is_err());
    }
}

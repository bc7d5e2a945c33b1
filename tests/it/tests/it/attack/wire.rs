//! Endpoints of attackers: with a key of their choice, or with none.

use rhizome_net::{ConnectError, Endpoint, Expect, KeyRing, Link, NetConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Somebody with a key, right or wrong.
pub struct Attacker {
    pub endpoint: Endpoint,
    seed: [u8; 32],
}

/// Answers for every name with one key.
struct OneKey([u8; 32]);

impl KeyRing for OneKey {
    fn server_key(&self, _name: &str) -> Option<[u8; 32]> {
        Some(self.0)
    }
}

impl Attacker {
    pub fn new(seed: [u8; 32]) -> Self {
        Self::listening(seed, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// One that answers at an address, too.
    pub fn listening(seed: [u8; 32], listen: SocketAddr) -> Self {
        let config = NetConfig { listen, ..NetConfig::default() };
        let endpoint = Endpoint::bind(config, Arc::new(OneKey(seed))).unwrap();
        Self { endpoint, seed }
    }

    pub async fn dial(&self, at: SocketAddr, name: &str) -> Result<Link, ConnectError> {
        self.endpoint.connect(at, name, self.seed, Expect::Any).await
    }
}

/// Dials without any key and tries to say something; the error is how the pod refused.
pub async fn dial_without_certificate(
    at: SocketAddr,
    name: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"rhizome/1".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
    let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connection = endpoint.connect_with(config, at, name)?.await?;
    // A client of TLS 1.3 is done before the server has looked for its certificate.
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[1]).await?;
    let heard = tokio::time::timeout(Duration::from_secs(5), receive.read(&mut [0; 1])).await;
    heard??;
    Ok(())
}

/// Takes every server for the right one.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

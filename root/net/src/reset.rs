//! Stateless resets that survive a restart (RFC 9000, section 10.3).
//!
//! A process that was killed knows nothing of its old connections. If its connection ids and reset
//! tokens come from a stored secret, it can still tell a peer that goes on talking that nobody is
//! there any more, and the peer dials again at once instead of waiting for its idle timeout.

use quinn::EndpointConfig;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;
use std::sync::Arc;

/// Domains that keep what is derived from the secret apart.
const TOKEN_CONTEXT: &str = "rhizome 2026 quic reset token v1";
const ID_CONTEXT: &str = "rhizome 2026 quic connection id v1";

/// Settings of an endpoint whose resets come from `secret`.
pub(crate) fn settings(secret: [u8; 32]) -> EndpointConfig {
    let mut settings =
        EndpointConfig::new(Arc::new(Tokens(blake3::derive_key(TOKEN_CONTEXT, &secret))));
    let key = blake3::derive_key(ID_CONTEXT, &secret);
    let key = u64::from_be_bytes(*key.first_chunk().expect("32 bytes hold 8"));
    settings.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    settings
}

/// Derives tokens by keyed BLAKE3.
struct Tokens([u8; 32]);

impl HmacKey for Tokens {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let mut reader = blake3::Hasher::new_keyed(&self.0).update(data).finalize_xof();
        reader.fill(signature_out);
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let hash = blake3::keyed_hash(&self.0, data);
        // Comparing hashes takes the same time wherever they differ.
        let given: [u8; blake3::OUT_LEN] = signature.try_into().map_err(|_| CryptoError)?;
        if hash == given { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cable, Endpoint, Expect, KeyRing, LinkError, NetConfig};
    use rhizome_identity::SigningKeys;
    use std::sync::Arc;
    use std::time::Duration;

    struct One;

    impl KeyRing for One {
        fn server_key(&self, _: &str) -> Option<[u8; 32]> {
            Some([1; 32])
        }
    }

    fn bind(listen: std::net::SocketAddr) -> Endpoint {
        let reset_secret = Some([9; 32]);
        let config = NetConfig { listen, reset_secret, ..NetConfig::default() };
        Endpoint::bind(config, Arc::new(One)).unwrap()
    }

    /// The socket is free once the last task of the old endpoint has ended.
    async fn bind_again(listen: std::net::SocketAddr) -> Endpoint {
        for _ in 0..500 {
            let reset_secret = Some([9; 32]);
            let config = NetConfig { listen, reset_secret, ..NetConfig::default() };
            match Endpoint::bind(config, Arc::new(One)) {
                Ok(endpoint) => return endpoint,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("the socket was never freed");
    }

    /// A process whose last words are lost in a cut cable dies as silently as a killed one.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_peer_of_a_killed_process_is_told_by_the_next_one() {
        let any = "127.0.0.1:0".parse().unwrap();
        let server = bind(any);
        let address = server.local_addr();
        let cable = Cable::lay(any, address).await.unwrap();
        let client = bind(any);
        let expect = Expect::Key(SigningKeys::from_secret([1; 32]).device_id());
        let at = cable.local_addr();
        let link = client.connect(at, "one.rhizome", [2; 32], expect).await.unwrap();
        let (mut sender, _receiver) = link.open(1).await.unwrap();
        cable.cut();
        server.close().await;
        drop(server);
        let again = bind_again(address).await;
        cable.mend();
        sender.send(b"are you there?").await.ok();
        sender.flush().await.ok();
        let ended = tokio::time::timeout(Duration::from_secs(10), link.closed()).await;
        assert!(matches!(ended, Ok(LinkError::Forgotten)), "{ended:?}");
        again.close().await;
    }
}

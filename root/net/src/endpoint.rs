//! The endpoint: the one UDP socket of a process, over which it dials and is dialled.
//!
//! It performs the mutual proof of device keys, tells by the dialled name which identity is meant,
//! and keeps floods of handshakes within bounds. It leaves to others who is admitted.

use crate::admission::{Admission, Verdict};
use crate::config::{NetConfig, SOCKET_BUFFER_BYTES};
use crate::link::{Link, LinkError};
use crate::reset;
use crate::tls::{Expect, KeyRing, Tls, device_in};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, TransportErrorCode, VarInt};
use rhizome_identity::DeviceId;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::future::IntoFuture;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many finished handshakes may wait for [`Endpoint::accept`]. Further ones keep their
/// handshake slot, so that a slow acceptor slows the intake down.
const ARRIVALS_MAX: usize = 64;

/// How long [`Endpoint::close`] waits for the peers to hear of it; they would notice by silence.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The TLS alert `access_denied` (RFC 8446, section 6.2), by which a server says that nobody there
/// answers for a name.
const ALERT_ACCESS_DENIED: u8 = 49;

/// Why an endpoint could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken, or not ours.
    #[error("socket cannot be bound to {listen}")]
    Socket {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS refused its settings.
    #[error("handshakes cannot be set up")]
    Tls {
        /// What TLS said.
        source: rustls::Error,
    },
}

/// Why a peer could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Another device answered. Either the address is stale, or somebody is in between.
    #[error("device {found} answered instead of {expected}")]
    WrongKey {
        /// The device that was wanted.
        expected: DeviceId,
        /// The key that was shown. It was not proven, since it was not wanted.
        found: DeviceId,
    },
    /// Nobody there answers for the name.
    #[error("nobody at {address} answers for {name}")]
    UnknownName {
        /// The address.
        address: SocketAddr,
        /// The name.
        name: String,
    },
    /// The peer takes no further handshakes at the moment.
    #[error("{address} refused the connection")]
    Refused {
        /// The address.
        address: SocketAddr,
    },
    /// Nobody answered in time.
    #[error("{address} did not answer within {} ms", .after.as_millis())]
    Silent {
        /// The address.
        address: SocketAddr,
        /// How long we waited.
        after: Duration,
    },
    /// The name or the address cannot be dialled at all.
    #[error("{name} at {address} cannot be dialled")]
    Undialable {
        /// The address.
        address: SocketAddr,
        /// The name.
        name: String,
        /// What QUIC said.
        source: quinn::ConnectError,
    },
    /// TLS refused our own key or settings.
    #[error("handshake cannot be set up")]
    Tls {
        /// What TLS said.
        source: rustls::Error,
    },
    /// The handshake failed.
    #[error("handshake with {address} failed")]
    Handshake {
        /// The address.
        address: SocketAddr,
        /// How it ended.
        source: LinkError,
    },
}

/// A peer that has dialled us and proven its key. Whether it is welcome is for the caller to say.
#[derive(Debug)]
pub struct Incoming {
    /// The name it dialled; the key ring has a key for it.
    pub name: String,
    /// The device it has proven to be.
    pub peer: DeviceId,
    /// The link to it.
    pub link: Link,
}

/// The endpoint of a process. Cloning is cheap; dropping the last clone closes all its links.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    quinn: quinn::Endpoint,
    tls: Tls,
    config: NetConfig,
    dialling: Arc<quinn::TransportConfig>,
    arrivals: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
    gate: Arc<Gate>,
    local: SocketAddr,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.inner.local)
    }
}

impl Endpoint {
    /// Binds the socket and begins to answer for the names in `ring`. Needs a tokio runtime.
    pub fn bind(config: NetConfig, ring: Arc<dyn KeyRing>) -> Result<Self, BindError> {
        let tls = Tls::new();
        let server = tls.server(ring).map_err(|source| BindError::Tls { source })?;
        let crypto = QuicServerConfig::try_from(server)
            .expect("the algorithms of ring contain the one that QUIC begins with");
        let listen = config.listen;
        let (quinn, local) = open_socket(&config, config.server(crypto))
            .map_err(|source| BindError::Socket { listen, source })?;
        let (arrived, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let gate = Arc::new(Gate::new(&config));
        let intake = Intake {
            quinn: quinn.clone(),
            gate: gate.clone(),
            arrived,
            handshake_timeout: config.handshake_timeout,
            links_max: config.links_max,
        };
        tokio::spawn(intake.run());
        tracing::info!(%local, "listening");
        let dialling = config.transport(config.keep_alive);
        let arrivals = arrivals.into();
        let inner = Inner { quinn, tls, config, dialling, arrivals, gate, local };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where the endpoint listens, with the port it was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Dials `address` and asks for `name`, as the device whose secret is `seed`. Returns once the
    /// peer has proven the key that `expect` wants.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        seed: [u8; 32],
        expect: Expect,
    ) -> Result<Link, ConnectError> {
        let seed = zeroize::Zeroizing::new(seed);
        let (tls, expected) =
            self.inner.tls.client(&seed, expect).map_err(|source| ConnectError::Tls { source })?;
        let crypto = QuicClientConfig::try_from(tls)
            .expect("the algorithms of ring contain the one that QUIC begins with");
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(self.inner.dialling.clone());
        client.token_store(Arc::new(quinn::NoneTokenStore));
        let connecting = self.inner.quinn.connect_with(client, address, name);
        let connecting = connecting.map_err(|source| ConnectError::Undialable {
            address,
            name: name.to_owned(),
            source,
        })?;
        let after = self.inner.config.handshake_timeout;
        let connection = match tokio::time::timeout(after, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                return Err(match expected.mismatch() {
                    Some((expected, found)) => ConnectError::WrongKey { expected, found },
                    None => dial_error(address, name, after, error),
                });
            }
            Err(_) => return Err(ConnectError::Silent { address, after }),
        };
        let peer = proven_peer(&connection).expect("the handshake has checked the key");
        tracing::debug!(%address, name, %peer, "link opened");
        metrics::counter!("rhizome_net_links_opened_total", "side" => "dialled").increment(1);
        Ok(Link::new(connection, peer, name.to_owned()))
    }

    /// The next peer that has dialled us, or `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Incoming> {
        self.inner.arrivals.lock().await.recv().await
    }

    /// Handshakes under way that others began.
    #[must_use]
    pub fn handshakes(&self) -> u32 {
        self.inner.gate.lock().in_progress()
    }

    /// Links that are open, both ways, and handshakes that have begun.
    #[must_use]
    pub fn links(&self) -> usize {
        self.inner.quinn.open_connections()
    }

    /// Closes all links and stops listening; waits a moment for the peers to hear of it.
    pub async fn close(&self) {
        self.inner.shut();
        tokio::time::timeout(CLOSE_WAIT, self.inner.quinn.wait_idle()).await.ok();
    }
}

impl Inner {
    fn shut(&self) {
        self.quinn.close(VarInt::from_u32(0), b"endpoint closed");
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Binds the socket and lets QUIC answer on it.
fn open_socket(
    config: &NetConfig,
    server: quinn::ServerConfig,
) -> std::io::Result<(quinn::Endpoint, SocketAddr)> {
    let socket = UdpSocket::bind(config.listen)?;
    let state = quinn::udp::UdpSocketState::new((&socket).into())?;
    // A system that grants smaller buffers only makes us a little slower.
    state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES).ok();
    state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES).ok();
    let runtime = Arc::new(quinn::TokioRuntime);
    let settings = config.reset_secret.map_or_else(quinn::EndpointConfig::default, reset::settings);
    let quinn = quinn::Endpoint::new(settings, Some(server), socket, runtime)?;
    let local = quinn.local_addr()?;
    Ok((quinn, local))
}

/// What a failed dial means.
fn dial_error(
    address: SocketAddr,
    name: &str,
    after: Duration,
    error: ConnectionError,
) -> ConnectError {
    match &error {
        ConnectionError::TimedOut => return ConnectError::Silent { address, after },
        ConnectionError::ConnectionClosed(close) => {
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED {
                return ConnectError::Refused { address };
            }
            if close.error_code == TransportErrorCode::crypto(ALERT_ACCESS_DENIED) {
                return ConnectError::UnknownName { address, name: name.to_owned() };
            }
        }
        _ => {}
    }
    ConnectError::Handshake { address, source: error.into() }
}

/// The device the other side has proven to be.
fn proven_peer(connection: &quinn::Connection) -> Option<DeviceId> {
    let keys = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    device_in(keys.first()?).ok()
}

/// The name the other side has dialled.
fn dialled_name(connection: &quinn::Connection) -> Option<String> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.server_name
}

/// Counts handshakes for the intake and for whoever asks.
struct Gate {
    admission: Mutex<Admission>,
    opened: Instant,
}

impl Gate {
    fn new(config: &NetConfig) -> Self {
        Self { admission: Mutex::new(Admission::new(config)), opened: Instant::now() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Admission> {
        // Counting cannot panic half-way; a poisoned count is still a count.
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The slot of one handshake; dropping it, however the handshake ends, frees it.
struct Slot {
    gate: Arc<Gate>,
    address: IpAddr,
    proven: bool,
    completed: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now_ms = self.gate.now_ms();
        self.gate.lock().ended(now_ms, self.address, self.proven, self.completed);
    }
}

/// Takes handshakes in, within bounds, and hands over those that succeed.
struct Intake {
    quinn: quinn::Endpoint,
    gate: Arc<Gate>,
    arrived: mpsc::Sender<Incoming>,
    handshake_timeout: Duration,
    links_max: usize,
}

impl Intake {
    /// Runs until the endpoint is closed. Handshakes end with it.
    async fn run(self) {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                arriving = self.quinn.accept() => match arriving {
                    Some(arriving) => self.consider(arriving, &mut handshakes),
                    None => return,
                },
                Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            }
        }
    }

    /// Lets a handshake begin, sends it away to prove its address, or refuses it.
    fn consider(&self, arriving: quinn::Incoming, handshakes: &mut JoinSet<()>) {
        let address = arriving.remote_address().ip();
        let proven = arriving.remote_address_validated();
        let full = self.quinn.open_connections() >= self.links_max;
        let verdict = match full {
            true => Verdict::Refuse,
            false => self.gate.lock().consider(self.gate.now_ms(), address, proven),
        };
        match verdict {
            Verdict::Accept => {
                let slot = Slot { gate: self.gate.clone(), address, proven, completed: false };
                let arrived = self.arrived.clone();
                let timeout = self.handshake_timeout;
                handshakes.spawn(shake_hands(arriving, slot, arrived, timeout));
            }
            Verdict::Retry => {
                count_handshake("retried");
                // Fails only for who came back from a retry, and those were proven.
                arriving.retry().ok();
            }
            Verdict::Refuse => {
                count_handshake("refused");
                tracing::debug!(%address, full, "handshake refused");
                arriving.refuse();
            }
        }
    }
}

fn count_handshake(outcome: &'static str) {
    metrics::counter!("rhizome_net_handshakes_total", "outcome" => outcome).increment(1);
}

/// Performs one handshake and hands the link over.
async fn shake_hands(
    arriving: quinn::Incoming,
    mut slot: Slot,
    arrived: mpsc::Sender<Incoming>,
    timeout: Duration,
) {
    let address = slot.address;
    let connection = match tokio::time::timeout(timeout, arriving.into_future()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            count_handshake("failed");
            tracing::debug!(%address, %error, "handshake failed");
            return;
        }
        Err(_) => {
            count_handshake("timed-out");
            tracing::debug!(%address, "handshake took too long");
            return;
        }
    };
    let peer = proven_peer(&connection).expect("the handshake has checked the key");
    let name = dialled_name(&connection).expect("without a name there is no key to answer with");
    slot.completed = true;
    count_handshake("completed");
    metrics::counter!("rhizome_net_links_opened_total", "side" => "accepted").increment(1);
    tracing::debug!(%address, name, %peer, "link accepted");
    let link = Link::new(connection, peer, name.clone());
    tokio::select! {
        room = arrived.reserve() => if let Ok(room) = room {
            room.send(Incoming { name, peer, link });
        },
        _ = link.closed() => {}
    }
}

#[cfg(test)]
mod tests;

//! How an endpoint behaves: timeouts and bounds, and the QUIC settings that follow from them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How the endpoint of a process behaves. The defaults suit a laptop and a small host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetConfig {
    /// Where to listen. Port zero takes any free port. `[::]:port` serves both address families
    /// where the system allows it.
    pub listen: SocketAddr,
    /// Secret from which reset tokens come. With the same one after a restart, a peer that still
    /// talks to the old process is told at once and dials again; without one it notices by
    /// `idle_timeout`.
    pub reset_secret: Option<[u8; 32]>,
    /// How long a link may be silent before both sides forget it. Too low, and a lift ride costs a
    /// new handshake; too high, and the links of vanished devices keep their memory.
    pub idle_timeout: Duration,
    /// How often a link that *we* opened says that it is alive. Home routers forget a silent UDP
    /// mapping after about 30 s (RFC 4787 asks for 120 s and is widely ignored).
    pub keep_alive: Option<Duration>,
    /// The same for links opened by others. `None` on hosts: the device keeps the link alive, and
    /// a host with many thousand quiet links sends nothing.
    pub keep_alive_incoming: Option<Duration>,
    /// How long a handshake may take, on either side. Too high, and half-open ones hold their
    /// slots for long; too low, and a bad mobile network never gets in.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way at once. Each costs some 20 KiB until it ends.
    pub handshakes_max: u32,
    /// Above this many, strangers must first prove their address by a Retry, which costs us no
    /// memory and them one round trip.
    pub retry_above: u32,
    /// How many of the handshakes may come from one address (IPv6: one /64), so that one neighbour
    /// cannot take all slots.
    pub handshakes_per_address_max: u32,
    /// How many handshakes one address may start in a burst. A carrier's NAT hides many phones.
    pub address_burst: u32,
    /// How many handshakes one address may start per second in the long run. One costs about
    /// 0.2 ms of processor time.
    pub address_rate_per_s: u32,
    /// How many links may be open at once, so that a flood of keys cannot take all memory.
    pub links_max: usize,
    /// How many streams a peer may hold open on one link.
    pub streams_max: u32,
    /// How many bytes a peer may have in flight to us on one stream. One whole frame fits.
    pub stream_window_bytes: u32,
    /// The same for one link. This is what a peer can make us buffer while nobody reads.
    pub link_window_bytes: u32,
    /// How large a datagram path discovery may try. The default stays inside Ethernet.
    pub datagram_bytes_max: u16,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            reset_secret: None,
            idle_timeout: Duration::from_secs(60),
            keep_alive: Some(Duration::from_secs(25)),
            keep_alive_incoming: None,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            retry_above: 64,
            handshakes_per_address_max: 512,
            address_burst: 1024,
            address_rate_per_s: 128,
            links_max: 16_384,
            streams_max: 128,
            stream_window_bytes: 4 << 20,
            link_window_bytes: 8 << 20,
            datagram_bytes_max: 1452,
        }
    }
}

/// What we assume a round trip to take before we have measured one. The standard's 333 ms makes a
/// lost first packet cost a second; 100 ms covers all but satellites, which merely retransmit.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// How many bytes of early datagrams an undecided handshake may buffer; decisions are immediate.
const INCOMING_BUFFER_BYTES: u64 = 16 << 10;

/// How many bytes the socket should hold for us while we are busy: 2,900 full datagrams. The
/// system may grant less.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 20;

impl NetConfig {
    /// The QUIC settings of a link that says `keep_alive`.
    pub(crate) fn transport(&self, keep_alive: Option<Duration>) -> Arc<quinn::TransportConfig> {
        let mut path_discovery = quinn::MtuDiscoveryConfig::default();
        path_discovery.upper_bound(self.datagram_bytes_max);
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_idle_timeout(quinn::IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(keep_alive)
            .initial_rtt(INITIAL_ROUND_TRIP)
            .mtu_discovery_config(Some(path_discovery))
            .max_concurrent_bidi_streams(self.streams_max.into())
            .max_concurrent_uni_streams(0u32.into())
            .stream_receive_window(self.stream_window_bytes.into())
            .receive_window(self.link_window_bytes.into())
            .send_window(self.link_window_bytes.into())
            // Streams take turns, so that a bulk transfer never starves an order entry.
            .send_fairness(true)
            .datagram_receive_buffer_size(None);
        Arc::new(transport)
    }

    /// The settings of the listening side over `crypto`.
    pub(crate) fn server(
        &self,
        crypto: quinn::crypto::rustls::QuicServerConfig,
    ) -> quinn::ServerConfig {
        let mut tokens = quinn::ValidationTokenConfig::default();
        // A token for next time would let an observer tell that two links are one device.
        tokens.sent(0).log(Arc::new(quinn::NoneTokenLog));
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(self.transport(self.keep_alive_incoming))
            .validation_token_config(tokens)
            .max_incoming(self.handshakes_max as usize)
            .incoming_buffer_size(INCOMING_BUFFER_BYTES)
            .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * u64::from(self.handshakes_max));
        server
    }
}

//! A link: one QUIC connection between two proven devices, and the streams on it.
//!
//! A stream begins with one byte, its kind, and goes on in frames both ways. Which kinds exist and
//! what a close code means is decided above.

use crate::frame::{FrameError, FrameReceiver, FrameSender};
use quinn::{ConnectionError, VarInt};
use rhizome_identity::DeviceId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Most characters kept of the reason a peer gives for closing; it ends up in our log.
const REASON_CHARS_MAX: usize = 200;

/// How a link ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// We closed it.
    #[error("link was closed here")]
    ClosedHere,
    /// The peer closed it.
    #[error("link was closed by the peer with code {code}: {reason}")]
    ClosedByPeer {
        /// Its code.
        code: u64,
        /// Its words, shortened.
        reason: String,
    },
    /// Nothing was heard of the peer for too long.
    #[error("link was silent for too long")]
    Silent,
    /// The peer has forgotten the link, usually because it started anew.
    #[error("peer has forgotten the link")]
    Forgotten,
    /// QUIC gave up on it.
    #[error("link failed")]
    Failed {
        /// What QUIC said.
        source: ConnectionError,
    },
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::ApplicationClosed(close) => {
                let reason = String::from_utf8_lossy(&close.reason);
                let reason = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX);
                Self::ClosedByPeer { code: close.error_code.into_inner(), reason: reason.collect() }
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Forgotten,
            source => Self::Failed { source },
        }
    }
}

/// A connection to a device that has proven its key. Cloning is cheap; the connection ends with
/// [`Link::close`], or when the last clone and the last stream are dropped.
#[derive(Clone, Debug)]
pub struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: quinn::Connection,
    peer: DeviceId,
    name: String,
    /// A stream whose kind has not arrived yet, kept here so that a dropped
    /// [`Link::accept_stream`] loses none.
    arriving: tokio::sync::Mutex<Option<(quinn::SendStream, quinn::RecvStream)>>,
}

impl Link {
    pub(crate) fn new(connection: quinn::Connection, peer: DeviceId, name: String) -> Self {
        metrics::gauge!("rhizome_net_links").increment(1);
        Self { inner: Arc::new(Inner { connection, peer, name, arriving: None.into() }) }
    }

    /// The device at the other end. It has proven its key.
    #[must_use]
    pub fn peer(&self) -> DeviceId {
        self.inner.peer
    }

    /// The name that was dialled: which identity, or which service, this link is about.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where the peer is now. Changes when it moves to another network.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        let address = self.inner.connection.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// Opens a stream of `kind`. Waits while the peer has as many open as it allows.
    pub async fn open(&self, kind: u8) -> Result<(FrameSender, FrameReceiver), FrameError> {
        let opened = self.inner.connection.open_bi().await;
        let (send, receive) = opened.map_err(|error| FrameError::Link { source: error.into() })?;
        let receiver = FrameReceiver::new(receive);
        Ok((FrameSender::open(send, kind).await?, receiver))
    }

    /// The next stream the peer opens, with its kind. May be dropped while it waits. A stream that
    /// ends before its kind arrives is passed over.
    pub async fn accept_stream(&self) -> Result<(u8, FrameSender, FrameReceiver), LinkError> {
        let mut arriving = self.inner.arriving.lock().await;
        loop {
            if arriving.is_none() {
                *arriving = Some(self.inner.connection.accept_bi().await?);
            }
            let (_, receive) = arriving.as_mut().expect("filled just above");
            let mut kind = [0];
            let read = receive.read(&mut kind).await;
            let (send, receive) = arriving.take().expect("filled above");
            match read {
                Ok(Some(1)) => {
                    return Ok((kind[0], FrameSender::new(send), FrameReceiver::new(receive)));
                }
                Err(quinn::ReadError::ConnectionLost(cause)) => return Err(cause.into()),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Ends the link. The peer learns `code` and `reason`; frames under way may be lost.
    pub fn close(&self, code: u32, reason: &str) {
        self.inner.connection.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until the link has ended and says how.
    pub async fn closed(&self) -> LinkError {
        self.inner.connection.closed().await.into()
    }

    /// Whether the link has ended, and how.
    #[must_use]
    pub fn ended(&self) -> Option<LinkError> {
        self.inner.connection.close_reason().map(Into::into)
    }

    /// The current estimate of a round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.inner.connection.rtt()
    }

    /// Bytes sent so far, everything inside UDP counted.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.inner.connection.stats().udp_tx.bytes
    }

    /// Bytes received so far, everything inside UDP counted.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.inner.connection.stats().udp_rx.bytes
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let stats = self.connection.stats();
        metrics::gauge!("rhizome_net_links").decrement(1);
        metrics::counter!("rhizome_net_sent_bytes_total").increment(stats.udp_tx.bytes);
        metrics::counter!("rhizome_net_received_bytes_total").increment(stats.udp_rx.bytes);
        metrics::counter!("rhizome_net_lost_packets_total").increment(stats.path.lost_packets);
    }
}

//! QUIC between devices that know each other by key: links, streams of frames, addresses,
//! discovery in the local network, and a cable that can be cut.
//!
//! An [`Endpoint`] is the one UDP socket of a process. Everybody proves an Ed25519 device key in
//! the TLS handshake, and the name in the handshake says which identity is meant. This crate says
//! *who* is at the other end and moves bytes; who is admitted, and what the bytes mean, is decided
//! above.
#![expect(clippy::disallowed_methods, reason = "IO shell: owns sockets, the clock and captures")]

mod address;
mod admission;
mod cable;
mod config;
mod endpoint;
mod frame;
mod lan;
mod link;
mod reset;
mod tls;

pub use address::{AddressError, InviteError, PeerAddress, PeerInvite, ResolveError};
pub use cable::{Cable, CableCounts, CableError, capture_datagrams};
pub use config::NetConfig;
pub use endpoint::{BindError, ConnectError, Endpoint, Incoming};
#[cfg(feature = "fuzz")]
pub use frame::cut;
pub use frame::{FRAME_BYTES_MAX, FrameError, FrameReceiver, FrameSender};
pub use lan::{Announcement, Found, Lan, LanError, Sightings};
pub use link::{Link, LinkError};
pub use tls::{ALPN, Expect, KeyRing};

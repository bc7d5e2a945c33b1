//! Finding one's own devices in the local network, by multicast DNS (RFC 6762, RFC 6763).
//!
//! What is announced is a port and an opaque hint. The caller derives the hint so that only devices
//! of the same identity recognise it; to everybody else it says that some Rhizome runs here. What
//! is found is only a place to dial: the handshake decides who lives there. A network without
//! multicast is an error value and a line in the log, and everything else goes on.

use mdns_sd::{Receiver, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The service type under which every pod announces itself.
const SERVICE: &str = "_rhizome._udp.local.";

/// The TXT key that holds the hint.
const HINT_KEY: &str = "hint";

/// Most characters of a hint. A TXT string holds 255 bytes with its key.
const HINT_CHARS_MAX: usize = 128;

/// Most addresses taken from one announcement: a laptop with a few networks has fewer.
const ADDRESSES_MAX: usize = 16;

/// How long [`Lan::stop`] waits for the goodbye to leave.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// Why discovery does not work here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanError {
    /// The hint is empty, too long, or has characters that DNS does not carry well.
    #[error("hint must be 1 to {HINT_CHARS_MAX} letters, digits, hyphens or underscores")]
    BadHint,
    /// The system has no randomness for us.
    #[error("no randomness for a name in the local network")]
    NoRandomness {
        /// What the system said.
        source: getrandom::Error,
    },
    /// Multicast does not work here.
    #[error("local network cannot be searched")]
    NoMulticast {
        /// What multicast DNS said.
        source: mdns_sd::Error,
    },
}

/// Logs what multicast DNS said and makes it an error.
fn refused(source: mdns_sd::Error) -> LanError {
    tracing::warn!(error = %source, "discovery in the local network does not work");
    LanError::NoMulticast { source }
}

/// Discovery in the local network. Dropping it ends it; [`Lan::stop`] also says goodbye.
pub struct Lan {
    daemon: ServiceDaemon,
    /// A random name for this process, so that neither the machine's nor the person's is published.
    label: String,
    announced: AtomicU32,
}

impl Lan {
    /// Begins to take part.
    pub fn start() -> Result<Self, LanError> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|source| LanError::NoRandomness { source })?;
        let label = format!("rhizome-{:016x}", u64::from_le_bytes(random));
        let daemon = ServiceDaemon::new().map_err(refused)?;
        Ok(Self { daemon, label, announced: AtomicU32::new(0) })
    }

    /// Announces `hint` at the UDP `port` until the result is dropped. The hint should change with
    /// time, or strangers can follow a device from network to network.
    pub fn announce(&self, hint: &str, port: u16) -> Result<Announcement, LanError> {
        if !good_hint(hint) {
            return Err(LanError::BadHint);
        }
        let n = self.announced.fetch_add(1, Ordering::Relaxed);
        let instance = format!("{}-{n}", self.label);
        let host = format!("{}.local.", self.label);
        let properties = [(HINT_KEY, hint)];
        let service = ServiceInfo::new(SERVICE, &instance, &host, "", port, &properties[..]);
        let mut service = service.map_err(refused)?.enable_addr_auto();
        // The name is random: nobody else can hold it, and probing would cost most of a second.
        service.set_requires_probe(false);
        let name = service.get_fullname().to_owned();
        self.daemon.register(service).map_err(refused)?;
        tracing::debug!(name, port, "announced in the local network");
        Ok(Announcement { daemon: self.daemon.clone(), name })
    }

    /// Searches for others. One search at a time: a second one ends the first.
    pub fn browse(&self) -> Result<Sightings, LanError> {
        let events = self.daemon.browse(SERVICE).map_err(refused)?;
        Ok(Sightings { daemon: self.daemon.clone(), events, own_label: self.label.clone() })
    }

    /// Ends all announcements and searches, says goodbye to the network and waits for that.
    pub async fn stop(self) {
        if let Ok(ended) = self.daemon.shutdown() {
            tokio::time::timeout(STOP_WAIT, ended.recv_async()).await.ok();
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // Fails after `stop`, which has done it already.
        self.daemon.shutdown().ok();
    }
}

/// One announcement; dropping it withdraws it.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Fails once discovery has stopped, which withdrew it.
        self.daemon.unregister(&self.name).ok();
    }
}

/// Somebody in the local network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The hint it announces.
    pub hint: String,
    /// Where it says it can be dialled. Nothing of this is proven.
    pub addresses: Vec<SocketAddr>,
}

/// What a search sees; dropping it ends the search.
pub struct Sightings {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    own_label: String,
}

impl Sightings {
    /// The next sighting, or `None` once discovery has stopped. The same device may be seen again,
    /// with other addresses. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Found> {
        loop {
            if let ServiceEvent::ServiceResolved(service) = self.events.recv_async().await.ok()? {
                let own = service.fullname.starts_with(&self.own_label);
                let hint = service.get_property_val_str(HINT_KEY).filter(|hint| good_hint(hint));
                let addresses = dialable(&service.addresses, service.port);
                match hint {
                    Some(hint) if !own && !addresses.is_empty() => {
                        return Some(Found { hint: hint.to_owned(), addresses });
                    }
                    _ => tracing::trace!(name = service.fullname, own, "sighting passed over"),
                }
            }
        }
    }
}

impl Drop for Sightings {
    fn drop(&mut self) {
        // Fails once discovery has stopped.
        self.daemon.stop_browse(SERVICE).ok();
    }
}

/// Whether `hint` can be announced, or taken from somebody else's announcement.
fn good_hint(hint: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=HINT_CHARS_MAX).contains(&hint.len()) && hint.bytes().all(plain)
}

/// `addresses` with `port`, IPv4 first, at most [`ADDRESSES_MAX`].
fn dialable<'a>(addresses: impl IntoIterator<Item = &'a ScopedIp>, port: u16) -> Vec<SocketAddr> {
    let mut found: Vec<_> = addresses
        .into_iter()
        .map(|address| match (address, address.to_ip_addr()) {
            (ScopedIp::V6(scoped), IpAddr::V6(address)) if address.is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(address, port, 0, scoped.scope_id().index))
            }
            (_, address) => SocketAddr::new(address, port),
        })
        .filter(|address| port != 0 && !address.ip().is_unspecified())
        .collect();
    found.sort_unstable();
    found.truncate(ADDRESSES_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_that_dns_would_not_carry_are_refused() {
        assert!(good_hint("abc-DEF_123"));
        assert!(!good_hint(""));
        assert!(!good_hint("with space"));
        assert!(!good_hint(&"a".repeat(HINT_CHARS_MAX + 1)));
    }

    #[test]
    fn an_announcement_of_a_thousand_addresses_is_cut_and_nonsense_left_out() {
        let many: Vec<ScopedIp> =
            (0..1000u32).map(|n| IpAddr::V4(std::net::Ipv4Addr::from_bits(n)).into()).collect();
        let found = dialable(&many, 4433);
        assert_eq!(found.len(), ADDRESSES_MAX);
        assert!(found.iter().all(|address| !address.ip().is_unspecified()));
        assert!(dialable(&many, 0).is_empty());
    }

    #[tokio::test]
    async fn two_pods_in_one_network_find_each_other_by_hint() {
        let (Ok(here), Ok(there)) = (Lan::start(), Lan::start()) else {
            println!("skipped: no multicast DNS on this machine");
            return;
        };
        let announced = here.announce("test-hint-1", 4433).unwrap();
        let mut sightings = there.browse().unwrap();
        let hunt = async {
            loop {
                match sightings.next().await {
                    Some(found) if found.hint == "test-hint-1" => return Some(found),
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(3), hunt).await {
            Ok(Some(found)) => assert!(found.addresses.iter().all(|a| a.port() == 4433)),
            Ok(None) => panic!("discovery stopped by itself"),
            Err(_) => println!("skipped: this network carries no multicast"),
        }
        drop(announced);
        here.stop().await;
        there.stop().await;
        let ending = async { while sightings.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(3), ending).await.expect("a search ends too");
    }
}

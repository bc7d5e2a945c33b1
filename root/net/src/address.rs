//! Where a peer can be reached, as text: `host:port`, and the invitation of a cloud peer, which
//! names its key too.
//!
//! Text comes from people and from strangers: it is read with clear errors and bounds. Dialling is
//! left to [`crate::Endpoint`].

use rhizome_identity::{DeviceId, DeviceIdError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// Most characters of a host name (RFC 1035, section 2.3.4).
const HOST_CHARS_MAX: usize = 253;

/// Most addresses taken from one name; who publishes more will be reached by these.
const ADDRESSES_MAX: usize = 16;

/// How long a name may take to resolve. Resolvers retry for longer than people wait.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// What the invitation of a cloud peer begins with.
const INVITE_SCHEME: &str = "rhizome-peer://";

/// Why text is no address of a peer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No port follows the host.
    #[error("address has no port, as in example.org:4433")]
    NoPort,
    /// The port is not a number from 1 to 65535.
    #[error("port is not a number from 1 to 65535")]
    BadPort,
    /// The host is neither a name nor an address.
    #[error("host is neither a name of letters, digits, dots and hyphens nor an address")]
    BadHost,
    /// What stands in brackets is no IPv6 address.
    #[error("brackets hold no IPv6 address")]
    BadBrackets,
    /// An IPv6 address without brackets, whose port could be anywhere.
    #[error("an IPv6 address needs brackets, as in [2001:db8::1]:4433")]
    NeedsBrackets,
}

/// Why a host name gave no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The resolver failed.
    #[error("name {host} cannot be resolved")]
    Failed {
        /// The name.
        host: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The resolver took too long.
    #[error("name {host} did not resolve within {} s", RESOLVE_LIMIT.as_secs())]
    Slow {
        /// The name.
        host: String,
    },
    /// The name exists and has no address.
    #[error("name {host} has no address")]
    Nowhere {
        /// The name.
        host: String,
    },
}

/// Where a peer can be reached: `example.org:4433`, `192.0.2.7:4433`, `[2001:db8::1]:4433`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerAddress {
    /// A name in lower case, or an IP address without brackets.
    host: String,
    port: u16,
}

impl PeerAddress {
    /// The name or the IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses to dial, in the order the resolver prefers.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, ResolveError> {
        let host = || self.host.clone();
        let looking = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = match tokio::time::timeout(RESOLVE_LIMIT, looking).await {
            Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect::<Vec<_>>(),
            Ok(Err(source)) => return Err(ResolveError::Failed { host: host(), source }),
            Err(_) => return Err(ResolveError::Slow { host: host() }),
        };
        if found.is_empty() { Err(ResolveError::Nowhere { host: host() }) } else { Ok(found) }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::BadBrackets)?;
            let host: Ipv6Addr = host.parse().map_err(|_| AddressError::BadBrackets)?;
            (host.to_string(), rest.strip_prefix(':').ok_or(AddressError::NoPort)?)
        } else {
            let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
            if host.contains(':') {
                return Err(AddressError::NeedsBrackets);
            }
            (checked_name(host)?, port)
        };
        // `u16::from_str` takes "+5" too.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port: u16 = port.and_then(|port| port.parse().ok()).ok_or(AddressError::BadPort)?;
        if port == 0 { Err(AddressError::BadPort) } else { Ok(Self { host, port }) }
    }
}

/// `name` in lower case, if it can be a host name or an IPv4 address.
fn checked_name(name: &str) -> Result<String, AddressError> {
    let fits = name.len() <= HOST_CHARS_MAX;
    let label_fits = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-')
    };
    if fits && name.strip_suffix('.').unwrap_or(name).split('.').all(label_fits) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(AddressError::BadHost)
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why text is no invitation of a cloud peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// It does not begin as it should.
    #[error("invitation does not begin with {INVITE_SCHEME}")]
    NoScheme,
    /// The key is missing. Without it anybody could answer.
    #[error("invitation has no key after #")]
    NoKey,
    /// The key cannot be read; probably a part was not copied.
    #[error("key in the invitation cannot be read")]
    BadKey {
        /// What is wrong with it.
        source: DeviceIdError,
    },
    /// The address cannot be read.
    #[error("address in the invitation cannot be read")]
    BadAddress {
        /// What is wrong with it.
        source: AddressError,
    },
}

/// The invitation of a cloud peer: `rhizome-peer://host:port#<device id>`. The key stands in the
/// fragment, which no browser sends anywhere, and makes the first contact as safe as later ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerInvite {
    /// Where the host listens.
    pub address: PeerAddress,
    /// The key it must prove.
    pub key: DeviceId,
}

impl fmt::Display for PeerInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INVITE_SCHEME}{}#{}", self.address, self.key)
    }
}

impl FromStr for PeerInvite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        let rest = text.trim().strip_prefix(INVITE_SCHEME).ok_or(InviteError::NoScheme)?;
        let (address, key) = rest.split_once('#').ok_or(InviteError::NoKey)?;
        // Some programs insert a slash before the fragment.
        let address = address.strip_suffix('/').unwrap_or(address);
        let address = address.parse().map_err(|source| InviteError::BadAddress { source })?;
        let key = key.parse().map_err(|source| InviteError::BadKey { source })?;
        Ok(Self { address, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, AddressError>) {
        let read = text.parse::<PeerAddress>().map(|address| address.to_string());
        assert_eq!(read, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn addresses_are_read_and_written_alike() {
        check("example.org:4433", Ok("example.org:4433"));
        check("Example.ORG:4433", Ok("example.org:4433"));
        check("192.0.2.7:1", Ok("192.0.2.7:1"));
        check("[2001:DB8::1]:65535", Ok("[2001:db8::1]:65535"));
        check("localhost:4433", Ok("localhost:4433"));
    }

    #[test]
    fn what_is_no_address_says_why() {
        check("example.org", Err(AddressError::NoPort));
        check("[::1]", Err(AddressError::NoPort));
        check("", Err(AddressError::NoPort));
        check("example.org:", Err(AddressError::BadPort));
        check("example.org:0", Err(AddressError::BadPort));
        check("example.org:65536", Err(AddressError::BadPort));
        check("example.org:+5", Err(AddressError::BadPort));
        check(":4433", Err(AddressError::BadHost));
        check("exa mple:4433", Err(AddressError::BadHost));
        check("a..b:4433", Err(AddressError::BadHost));
        check("-a:4433", Err(AddressError::BadHost));
        check("https://example:4433", Err(AddressError::NeedsBrackets));
        check("bücher.example:4433", Err(AddressError::BadHost));
        check(&format!("{}:1", "a.".repeat(200)), Err(AddressError::BadHost));
        check("2001:db8::1:4433", Err(AddressError::NeedsBrackets));
        check("[example.org]:4433", Err(AddressError::BadBrackets));
        check("[::1:4433", Err(AddressError::BadBrackets));
    }

    #[test]
    fn an_invitation_carries_the_key_of_the_host() {
        let invite = PeerInvite {
            address: "cloud.example:4433".parse().unwrap(),
            key: crate::tls::device_of(&[7; 32]),
        };
        let text = invite.to_string();
        assert_eq!(text.parse::<PeerInvite>().unwrap(), invite);
        assert_eq!(text.replace('#', "/#").parse::<PeerInvite>().unwrap(), invite);
        let error = |text: &str| text.parse::<PeerInvite>().unwrap_err().to_string();
        assert_eq!(error(&text[..text.len() - 1]), "key in the invitation cannot be read");
        assert_eq!(error(&text[4..]), "invitation does not begin with rhizome-peer://");
        assert_eq!(error(text.split('#').next().unwrap()), "invitation has no key after #");
        assert_eq!(error(&text.replace(":4433", "")), "address in the invitation cannot be read");
    }

    proptest! {
        #[test]
        fn hostile_text_is_an_address_or_an_error(text in ".{0,80}") {
            if let Ok(address) = text.parse::<PeerAddress>() {
                prop_assert_eq!(address.to_string().parse::<PeerAddress>().unwrap(), address);
            }
            let _ = format!("rhizome-peer://{text}").parse::<PeerInvite>();
        }
    }

    #[tokio::test]
    async fn addresses_resolve_to_themselves() {
        let address: PeerAddress = "[::1]:4433".parse().unwrap();
        assert_eq!(address.resolve().await.unwrap(), ["[::1]:4433".parse().unwrap()]);
    }
}

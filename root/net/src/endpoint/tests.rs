//! What an endpoint holds to, over real sockets on loopback.

use super::*;
use crate::cable::Cable;
use crate::frame::{FRAME_BYTES_MAX, FrameError};
use crate::tls::device_of;
use std::collections::HashMap;

/// The key of the server in most tests, and of the client.
const SERVER: [u8; 32] = [1; 32];
const CLIENT: [u8; 32] = [2; 32];
const NAME: &str = "home.rhizome";

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Ring(HashMap<String, [u8; 32]>);

impl KeyRing for Ring {
    fn server_key(&self, name: &str) -> Option<[u8; 32]> {
        self.0.get(name).copied()
    }
}

fn ring<const N: usize>(names: [(&str, [u8; 32]); N]) -> Arc<dyn KeyRing> {
    Arc::new(Ring(names.into_iter().map(|(name, key)| (name.to_owned(), key)).collect()))
}

fn bind(config: NetConfig) -> Endpoint {
    Endpoint::bind(config, ring([(NAME, SERVER)])).unwrap()
}

/// A server, a client and a link between them, as both see it.
struct Pair {
    server: Endpoint,
    client: Endpoint,
    dialled: Link,
    accepted: Link,
}

async fn pair_over(config: NetConfig, address: impl AsyncFnOnce(SocketAddr) -> SocketAddr) -> Pair {
    let server = bind(config.clone());
    let client = bind(config);
    let address = address(server.local_addr()).await;
    let expect = Expect::Key(device_of(&SERVER));
    let dialled = client.connect(address, NAME, CLIENT, expect).await.unwrap();
    let accepted = server.accept().await.unwrap().link;
    Pair { server, client, dialled, accepted }
}

async fn pair() -> Pair {
    pair_over(NetConfig::default(), async |address| address).await
}

#[tokio::test]
async fn both_sides_learn_the_key_the_other_has_proven() {
    let server = bind(NetConfig::default());
    let client = bind(NetConfig::default());
    let expect = Expect::Key(device_of(&SERVER));
    let link = client.connect(server.local_addr(), NAME, CLIENT, expect).await.unwrap();
    let incoming = server.accept().await.unwrap();
    assert_eq!((link.peer(), link.name()), (device_of(&SERVER), NAME));
    assert_eq!((incoming.peer, incoming.name.as_str()), (device_of(&CLIENT), NAME));
    assert_eq!(incoming.link.peer(), device_of(&CLIENT));
    assert_eq!(incoming.link.remote_addr(), client.local_addr());
    let link = client.connect(server.local_addr(), NAME, CLIENT, Expect::Any).await.unwrap();
    assert_eq!(link.peer(), device_of(&SERVER), "who expects nobody still learns who answered");
}

#[tokio::test]
async fn another_device_than_the_expected_one_is_refused_by_the_caller() {
    let server = bind(NetConfig::default());
    let client = bind(NetConfig::default());
    let wanted = device_of(&[9; 32]);
    let dial = client.connect(server.local_addr(), NAME, CLIENT, Expect::Key(wanted)).await;
    match dial.unwrap_err() {
        ConnectError::WrongKey { expected, found } => {
            assert_eq!((expected, found), (wanted, device_of(&SERVER)));
        }
        other => panic!("{other:?}"),
    }
    server.close().await;
    assert!(server.accept().await.is_none(), "the server took a caller that hung up");
}

#[tokio::test]
async fn a_name_that_nobody_answers_for_is_refused() {
    let server = bind(NetConfig::default());
    let client = bind(NetConfig::default());
    let dial = client.connect(server.local_addr(), "other.rhizome", CLIENT, Expect::Any).await;
    assert!(matches!(dial.unwrap_err(), ConnectError::UnknownName { .. }));
    let dial = client.connect(server.local_addr(), "no name!", CLIENT, Expect::Any).await;
    assert!(matches!(dial.unwrap_err(), ConnectError::Undialable { .. }));
}

/// Dials with `tls`, however wrong it is, and says how the connection ended.
async fn dial_raw(to: SocketAddr, tls: rustls::ClientConfig) -> ConnectionError {
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    match client.connect_with(config, to, NAME).unwrap().await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    }
}

/// The settings of an honest client, with another way to show its key.
fn raw_tls(resolver: Arc<dyn rustls::client::ResolvesClientCert>) -> rustls::ClientConfig {
    let (mut tls, _) = Tls::new().client(&CLIENT, Expect::Any).unwrap();
    tls.client_auth_cert_resolver = resolver;
    tls
}

/// Knows how to speak of raw keys and has none.
#[derive(Debug)]
struct Keyless;

impl rustls::client::ResolvesClientCert for Keyless {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
    fn only_raw_public_keys(&self) -> bool {
        true
    }
    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_caller_without_a_key_fails_in_the_handshake() {
    let server = bind(NetConfig::default());
    let ended = dial_raw(server.local_addr(), raw_tls(Arc::new(Keyless))).await;
    assert!(matches!(ended, ConnectionError::ConnectionClosed(_)), "{ended:?}");
    server.close().await;
    assert!(server.accept().await.is_none(), "nobody without a key is handed over");
}

#[tokio::test]
async fn a_caller_that_shows_a_key_it_does_not_hold_fails_in_the_handshake() {
    let server = bind(NetConfig::default());
    let (victims, _) = Tls::new().client(&[5; 32], Expect::Any).unwrap();
    let (own, _) = Tls::new().client(&CLIENT, Expect::Any).unwrap();
    let schemes = [rustls::SignatureScheme::ED25519];
    let key =
        |tls: &rustls::ClientConfig| tls.client_auth_cert_resolver.resolve(&[], &schemes).unwrap();
    let stolen = rustls::sign::CertifiedKey::new(key(&victims).cert.clone(), key(&own).key.clone());
    let resolver = rustls::client::AlwaysResolvesClientRawPublicKeys::new(Arc::new(stolen));
    let ended = dial_raw(server.local_addr(), raw_tls(Arc::new(resolver))).await;
    assert!(matches!(ended, ConnectionError::ConnectionClosed(_)), "{ended:?}");
    server.close().await;
    assert!(server.accept().await.is_none(), "a forged proof was taken");
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let server = bind(NetConfig::default());
    let (mut tls, _) = Tls::new().client(&CLIENT, Expect::Any).unwrap();
    tls.alpn_protocols = vec![b"rhizome/2".to_vec()];
    let ended = dial_raw(server.local_addr(), tls).await;
    assert!(matches!(ended, ConnectionError::ConnectionClosed(_)), "{ended:?}");
}

#[tokio::test]
async fn nobody_home_is_an_error_in_time() {
    let client =
        bind(NetConfig { handshake_timeout: Duration::from_millis(50), ..NetConfig::default() });
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dial = client.connect(silent.local_addr().unwrap(), NAME, CLIENT, Expect::Any).await;
    assert!(matches!(dial.unwrap_err(), ConnectError::Silent { .. }));
}

#[tokio::test]
async fn three_hundred_identities_answer_on_one_socket_each_with_its_own_key() {
    let name = |n: u16| format!("tenant-{n}.rhizome");
    let seed = |n: u16| {
        let mut seed = [3; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        seed
    };
    let tenants = (0..300).map(|n| (name(n), seed(n))).collect();
    // So many handshakes at once take a busy machine a while.
    let patient = NetConfig { handshake_timeout: PATIENCE, ..NetConfig::default() };
    let server = Endpoint::bind(patient.clone(), Arc::new(Ring(tenants))).unwrap();
    let client = bind(patient);
    let accepting = tokio::spawn({
        let server = server.clone();
        async move {
            let mut names = std::collections::BTreeSet::new();
            let mut links = Vec::new();
            while names.len() < 300 {
                let incoming = server.accept().await.unwrap();
                names.insert(incoming.name.clone());
                links.push(incoming);
            }
            (names, links)
        }
    });
    let mut dials = JoinSet::new();
    for n in 0..300 {
        let (client, address) = (client.clone(), server.local_addr());
        dials.spawn(async move {
            let expect = Expect::Key(device_of(&seed(n)));
            client.connect(address, &name(n), CLIENT, expect).await.unwrap()
        });
    }
    let links = dials.join_all().await;
    let (names, _accepted) = accepting.await.unwrap();
    assert_eq!(names.len(), 300);
    // A first datagram that was sent twice may have begun a handshake that nobody goes on with.
    assert!(server.links() >= 300, "{} links", server.links());
    assert_eq!(client.links(), 300);
    drop(links);
}

#[tokio::test]
async fn frames_travel_both_ways_in_order_with_the_kind_of_their_stream() {
    let Pair { dialled, accepted, server: _server, client: _client } = pair().await;
    let (mut send, mut receive) = dialled.open(7).await.unwrap();
    send.send(b"one").await.unwrap();
    send.send_many(&[&b"two"[..], b"", b"three"]).await.unwrap();
    let (kind, mut back, mut heard) = accepted.accept_stream().await.unwrap();
    assert_eq!(kind, 7);
    for expected in [&b"one"[..], b"two", b"", b"three"] {
        assert_eq!(heard.receive().await.unwrap().unwrap(), expected);
    }
    back.send(b"answer").await.unwrap();
    back.finish().await.unwrap();
    assert_eq!(receive.receive().await.unwrap().unwrap(), &b"answer"[..]);
    assert!(receive.receive().await.unwrap().is_none(), "a finished stream ends");
    assert!(dialled.sent_bytes() > 0 && dialled.received_bytes() > 0);
}

#[tokio::test]
async fn the_largest_frame_arrives_whole_and_a_larger_one_is_not_sent() {
    let Pair { dialled, accepted, server: _server, client: _client } = pair().await;
    let (mut send, _receive) = dialled.open(1).await.unwrap();
    let large: bytes::Bytes = (0..FRAME_BYTES_MAX).map(|n| (n % 251) as u8).collect();
    let error = send.send(&vec![0; FRAME_BYTES_MAX + 1]).await.unwrap_err();
    assert!(matches!(error, FrameError::TooLong { .. }));
    let sending = tokio::spawn({
        let large = large.clone();
        async move { send.send_bytes(large).await.map(|()| send) }
    });
    let (_, _back, mut heard) = accepted.accept_stream().await.unwrap();
    assert!(heard.receive().await.unwrap().unwrap() == large, "bytes differ");
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_frame_that_claims_four_gibibytes_ends_its_stream_and_nothing_else() {
    let Pair { dialled, accepted, server, client } = pair().await;
    // A hostile peer: a stream of our own endpoint, below the frames.
    let raw = client.inner.quinn.connect_with(
        {
            let (tls, _) = Tls::new().client(&CLIENT, Expect::Any).unwrap();
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
        },
        server.local_addr(),
        NAME,
    );
    let raw = raw.unwrap().await.unwrap();
    let hostile = server.accept().await.unwrap().link;
    let (mut send, _receive) = raw.open_bi().await.unwrap();
    send.write_all(&[1, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    let (_, _back, mut heard) = hostile.accept_stream().await.unwrap();
    let error = heard.receive().await.unwrap_err();
    assert!(matches!(error, FrameError::TooLong { bytes: 0xffff_ffff }), "{error:?}");
    assert_eq!(send.stopped().await.unwrap(), Some(VarInt::from_u32(2)), "the peer is told");
    let (mut send, _receive) = dialled.open(1).await.unwrap();
    send.send(b"fine").await.unwrap();
    let (_, _back, mut heard) = accepted.accept_stream().await.unwrap();
    assert_eq!(heard.receive().await.unwrap().unwrap(), &b"fine"[..]);
}

#[tokio::test]
async fn a_dropped_send_leaves_its_frame_whole_for_the_next_call() {
    let config = NetConfig { stream_window_bytes: 1024, ..NetConfig::default() };
    let pair = pair_over(config, async |address| address).await;
    let (mut send, _receive) = pair.dialled.open(1).await.unwrap();
    let wide = vec![7; 4096];
    let waited = tokio::time::timeout(Duration::from_millis(20), send.send(&wide)).await;
    assert!(waited.is_err(), "the window was not full");
    let reading = async {
        let (_, _back, mut heard) = pair.accepted.accept_stream().await.unwrap();
        let first = heard.receive().await.unwrap().unwrap();
        (first, heard.receive().await.unwrap().unwrap())
    };
    let (sent, (first, second)) = tokio::join!(send.send(b"next"), reading);
    sent.unwrap();
    assert_eq!(first, wide);
    assert_eq!(second, &b"next"[..]);
}

#[tokio::test]
async fn a_sender_dropped_in_the_middle_of_a_frame_is_no_orderly_end() {
    let config = NetConfig { stream_window_bytes: 1024, ..NetConfig::default() };
    let pair = pair_over(config, async |address| address).await;
    let (mut send, _receive) = pair.dialled.open(1).await.unwrap();
    let wide = vec![7; 4096];
    tokio::time::timeout(Duration::from_millis(20), send.send(&wide)).await.unwrap_err();
    let (_, _back, mut heard) = pair.accepted.accept_stream().await.unwrap();
    drop(send);
    let error = heard.receive().await.unwrap_err();
    assert!(matches!(error, FrameError::GivenUp { code: 1 }), "{error:?}");
}

#[tokio::test]
async fn a_dropped_accept_loses_no_stream() {
    let Pair { dialled, accepted, server: _server, client: _client } = pair().await;
    let waited = tokio::time::timeout(Duration::from_millis(5), accepted.accept_stream()).await;
    assert!(waited.is_err());
    let (mut send, _receive) = dialled.open(9).await.unwrap();
    send.send(b"here").await.unwrap();
    let (kind, _back, mut heard) = accepted.accept_stream().await.unwrap();
    assert_eq!((kind, heard.receive().await.unwrap().unwrap()), (9, "here".into()));
}

#[tokio::test]
async fn closing_tells_the_peer_why() {
    let Pair { dialled, accepted, server: _server, client } = pair().await;
    dialled.close(42, "moving\nhouse");
    match accepted.closed().await {
        LinkError::ClosedByPeer { code: 42, reason } => assert_eq!(reason, "movinghouse"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(dialled.ended(), Some(LinkError::ClosedHere)));
    client.close().await;
    assert!(client.accept().await.is_none());
}

#[tokio::test]
async fn an_endpoint_nobody_holds_any_more_closes_its_links() {
    let Pair { dialled, accepted, server, client: _client } = pair().await;
    drop(server);
    assert!(matches!(dialled.closed().await, LinkError::ClosedByPeer { code: 0, .. }));
    drop(accepted);
}

/// Timeouts short enough for a test to see a link die.
fn impatient() -> NetConfig {
    NetConfig {
        idle_timeout: Duration::from_secs(2),
        keep_alive: Some(Duration::from_millis(200)),
        ..NetConfig::default()
    }
}

#[tokio::test]
async fn a_link_survives_a_short_cut_and_ends_cleanly_in_a_long_one() {
    let mut cable = None;
    let laid = &mut cable;
    let Pair { dialled, accepted, server: _server, client: _client } =
        pair_over(impatient(), async |to| {
            let cable = Cable::lay("127.0.0.1:0".parse().unwrap(), to).await.unwrap();
            laid.insert(cable).local_addr()
        })
        .await;
    let cable = cable.unwrap();
    let (mut send, _receive) = dialled.open(1).await.unwrap();
    send.send(b"before").await.unwrap();
    let (_, _back, mut heard) = accepted.accept_stream().await.unwrap();
    assert_eq!(heard.receive().await.unwrap().unwrap(), &b"before"[..]);

    cable.cut();
    send.send(b"during").await.unwrap();
    while cable.counts().dropped_datagrams == 0 {
        tokio::task::yield_now().await;
    }
    cable.mend();
    assert_eq!(heard.receive().await.unwrap().unwrap(), &b"during"[..], "it is sent again");
    assert!(dialled.ended().is_none() && accepted.ended().is_none());

    cable.cut();
    assert!(matches!(dialled.closed().await, LinkError::Silent));
    assert!(matches!(accepted.closed().await, LinkError::Silent));
    let error = heard.receive().await.unwrap_err();
    assert!(matches!(error, FrameError::Link { source: LinkError::Silent }), "{error:?}");
    assert!(matches!(send.send(b"after").await, Err(FrameError::Link { .. })));
}

#[tokio::test]
async fn a_link_survives_a_move_to_another_network() {
    let Pair { dialled, accepted, server: _server, client } = pair().await;
    let before = accepted.remote_addr();
    client.inner.quinn.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let (mut send, _receive) = dialled.open(1).await.unwrap();
    send.send(b"from elsewhere").await.unwrap();
    let (_, _back, mut heard) = accepted.accept_stream().await.unwrap();
    assert_eq!(heard.receive().await.unwrap().unwrap(), &b"from elsewhere"[..]);
    assert_ne!(accepted.remote_addr(), before);
}

#[tokio::test]
async fn the_dialling_side_alone_keeps_a_quiet_link_alive() {
    let config = NetConfig {
        idle_timeout: Duration::from_secs(1),
        keep_alive: Some(Duration::from_millis(50)),
        ..NetConfig::default()
    };
    let Pair { dialled, accepted, server: _server, client: _client } =
        pair_over(config, async |address| address).await;
    let ended = tokio::time::timeout(Duration::from_millis(2_500), accepted.closed()).await;
    assert!(ended.is_err(), "{ended:?}");
    assert!(dialled.ended().is_none());
}

/// Begins `n` handshakes at `to` and never goes on: each first datagram is a real client's, caught
/// on its way and sent on from a socket that ignores the answer.
async fn half_open(to: SocketAddr, n: usize) -> Vec<UdpSocket> {
    let mut sockets = Vec::new();
    for _ in 0..n {
        let catcher = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let (tls, _) = Tls::new().client(&CLIENT, Expect::Any).unwrap();
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let dial = client.connect_with(config, catcher.local_addr().unwrap(), NAME).unwrap();
        let mut first = [0; 2048];
        let (bytes, _) = catcher.recv_from(&mut first).await.unwrap();
        drop(dial);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&first[..bytes], to).unwrap();
        sockets.push(socket);
    }
    sockets
}

#[tokio::test]
async fn a_flood_of_half_open_handshakes_is_bounded_and_honest_peers_still_get_in() {
    let patient = NetConfig { handshake_timeout: PATIENCE, ..NetConfig::default() };
    let server = bind(NetConfig { retry_above: 16, handshakes_max: 64, ..patient.clone() });
    let client = bind(patient);
    let _flood = half_open(server.local_addr(), 300).await;
    let link = client.connect(server.local_addr(), NAME, CLIENT, Expect::Any).await.unwrap();
    let held = server.handshakes();
    assert!((1..=17).contains(&held), "{held} half-open handshakes are held");
    assert_eq!(server.accept().await.unwrap().peer, device_of(&CLIENT));
    assert_eq!(link.peer(), device_of(&SERVER));
}

#[tokio::test]
async fn half_open_handshakes_free_their_slots_in_time() {
    let config = NetConfig {
        handshake_timeout: Duration::from_millis(50),
        retry_above: 8,
        ..NetConfig::default()
    };
    let server = bind(config);
    let _flood = half_open(server.local_addr(), 8).await;
    let freed = async {
        while server.handshakes() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("slots are freed");
}

#[tokio::test]
async fn an_address_over_its_budget_is_refused() {
    let config = NetConfig { address_burst: 3, address_rate_per_s: 0, ..NetConfig::default() };
    let server = bind(config);
    let client = bind(NetConfig::default());
    for _ in 0..3 {
        client.connect(server.local_addr(), NAME, CLIENT, Expect::Any).await.unwrap();
        server.accept().await.unwrap();
    }
    let dial = client.connect(server.local_addr(), NAME, CLIENT, Expect::Any).await;
    assert!(matches!(dial.unwrap_err(), ConnectError::Refused { .. }));
}

/// Measures, prints and promises nothing: `cargo test -p rhizome-net round_trip -- --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_trip_and_a_transfer_are_measured() {
    let Pair { dialled, accepted, server: _server, client: _client } = pair().await;
    let echo = tokio::spawn(async move {
        let (_, mut back, mut heard) = accepted.accept_stream().await.unwrap();
        while let Some(frame) = heard.receive().await.unwrap() {
            let answer = if frame.len() > 1000 { &frame[..1] } else { &frame[..] };
            back.send(answer).await.unwrap();
        }
    });
    let (mut send, mut receive) = dialled.open(1).await.unwrap();
    let mut round_trips = Vec::new();
    for _ in 0..2000 {
        let begun = Instant::now();
        send.send(&[7; 200]).await.unwrap();
        receive.receive().await.unwrap().unwrap();
        round_trips.push(begun.elapsed());
    }
    round_trips.sort_unstable();
    println!("200 bytes there and back: p50 {:?}, p99 {:?}", round_trips[1000], round_trips[1980]);
    let large = bytes::Bytes::from(vec![7; 1 << 20]);
    let begun = Instant::now();
    for _ in 0..64 {
        send.send_bytes(large.clone()).await.unwrap();
    }
    for _ in 0..64 {
        receive.receive().await.unwrap().unwrap();
    }
    println!("64 MiB in {:?}", begun.elapsed());
    send.finish().await.unwrap();
    echo.await.unwrap();
}

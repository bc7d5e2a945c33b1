//! What a cable holds to: it carries both ways for several clients, and a cut one carries nothing.

use super::*;

/// A server that answers every datagram with itself.
async fn echo() -> (SocketAddr, Task) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer).await {
            socket.send_to(&buffer[..bytes], from).await.unwrap();
        }
    });
    (address, Task(task))
}

async fn client_of(cable: &Cable) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(cable.local_addr()).await.unwrap();
    socket
}

async fn answer(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let waiting = tokio::time::timeout(Duration::from_secs(60), client.recv(&mut buffer));
    let bytes = waiting.await.expect("an answer in time").unwrap();
    buffer[..bytes].to_vec()
}

/// Waits until the cable has dropped `n` datagrams.
async fn dropped(cable: &Cable, n: u64) {
    let waiting = async {
        while cable.counts().dropped_datagrams < n {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("a datagram is dropped");
}

#[tokio::test]
async fn a_cable_carries_both_ways_for_each_client() {
    let (server, _echo) = echo().await;
    let cable = Cable::lay("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
    let (ana, ben) = (client_of(&cable).await, client_of(&cable).await);
    ana.send(b"from ana").await.unwrap();
    ben.send(b"from ben").await.unwrap();
    assert_eq!(answer(&ana).await, b"from ana");
    assert_eq!(answer(&ben).await, b"from ben");
    let counts = cable.counts();
    assert_eq!((counts.up_datagrams, counts.up_bytes), (2, 16));
    assert_eq!(counts.dropped_datagrams, 0);
}

#[tokio::test]
async fn nothing_passes_a_cut_and_a_mended_cable_carries_again() {
    let (server, _echo) = echo().await;
    let cable = Cable::lay("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
    let ana = client_of(&cable).await;
    // A slow cable shows that a datagram is lost on reaching the cut, not on leaving it.
    cable.delay(Duration::from_secs(60));
    cable.cut();
    ana.send(b"lost").await.unwrap();
    dropped(&cable, 1).await;
    cable.delay(Duration::ZERO);
    cable.mend();
    ana.send(b"heard").await.unwrap();
    assert_eq!(answer(&ana).await, b"heard", "what was sent into the cut came out");
}

#[tokio::test]
async fn a_cut_takes_what_is_on_the_cable() {
    let (server, _echo) = echo().await;
    let cable = Cable::lay("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
    let ana = client_of(&cable).await;
    cable.delay(Duration::from_millis(30));
    let sent_at = Instant::now();
    ana.send(b"slow").await.unwrap();
    assert_eq!(answer(&ana).await, b"slow");
    assert!(sent_at.elapsed() >= Duration::from_millis(60), "both ways are slow");
    ana.send(b"gone").await.unwrap();
    cable.cut();
    dropped(&cable, 1).await;
    assert_eq!(cable.counts().up_datagrams, 1);
}

#[tokio::test]
async fn a_lossy_cable_loses_its_share() {
    let (server, _echo) = echo().await;
    let cable = Cable::lay("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
    let shared = &cable.shared;
    cable.loss(100);
    let lost = (0..10_000).filter(|_| shared.draws_loss()).count();
    assert!((900..1100).contains(&lost), "{lost} of 10,000");
    cable.loss(0);
    assert!((0..10_000).all(|_| !shared.draws_loss()));
    cable.loss(1000);
    assert!((0..10_000).all(|_| shared.draws_loss()));
}

#[tokio::test]
async fn a_capture_holds_every_datagram_even_what_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire");
    let (server, _echo) = echo().await;
    let cable = Cable::lay("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
    let ana = client_of(&cable).await;
    cable.capture(&path).await.unwrap();
    ana.send(b"canary").await.unwrap();
    assert_eq!(answer(&ana).await, b"canary");
    cable.cut();
    ana.send(b"into the cut").await.unwrap();
    dropped(&cable, 1).await;
    cable.end_capture().await.unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let captured: Vec<_> = capture_datagrams(&bytes).collect();
    assert_eq!(
        captured,
        [(true, &b"canary"[..]), (false, &b"canary"[..]), (true, &b"into the cut"[..])]
    );
    assert_eq!(
        capture_datagrams(&bytes[..bytes.len() - 1]).count(),
        2,
        "a torn record is left out"
    );
}

#[tokio::test]
async fn a_cable_lies_on_loopback_only() {
    let outside = "192.0.2.1:9".parse().unwrap();
    let here = "127.0.0.1:0".parse().unwrap();
    assert!(matches!(Cable::lay(here, outside).await, Err(CableError::NotLoopback { .. })));
    assert!(matches!(Cable::lay(outside, here).await, Err(CableError::NotLoopback { .. })));
}

#[tokio::test]
async fn more_clients_than_a_cable_holds_push_out_the_silent() {
    let (server, _echo) = echo().await;
    let cable = Cable::lay("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
    for n in 0..CLIENTS_MAX + 8 {
        let client = client_of(&cable).await;
        client.send(&n.to_be_bytes()).await.unwrap();
        assert_eq!(answer(&client).await, n.to_be_bytes());
    }
}

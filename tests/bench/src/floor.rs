//! What the machine itself can do: the floor that results are compared with.

use crate::measure::{Series, count, time};
use crate::table::Table;
use crate::{Outcome, Run};
use rhizome_identity::SigningKeys;
use rhizome_net::{Endpoint, Expect, KeyRing, NetConfig};
use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of one append: about what an event with a small document takes.
pub const APPEND_BYTES: usize = 400;

/// Appends and syncs, one after the other.
const APPENDS: usize = 1_000;

/// Bytes copied at once: beyond every cache of the machine class.
const COPY_BYTES: usize = 128 << 20;

const FLOOR_NAME: &str = "floor.rhizome";
const FLOOR_STREAM: u8 = 1;

/// Appends of [`APPEND_BYTES`], each followed by fdatasync.
pub fn appends(dir: &Path) -> Outcome<Series> {
    let path = dir.join("floor");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let bytes = [7; APPEND_BYTES];
    let mut each = Vec::with_capacity(APPENDS);
    let begun = Instant::now();
    for _ in 0..APPENDS {
        let started = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        each.push(started.elapsed());
    }
    let took = begun.elapsed();
    std::fs::remove_file(path)?;
    Ok(Series::new(each, took))
}

/// Round trips of one datagram between two threads.
fn datagrams(trips: usize) -> Outcome<Series> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let mut bytes = [0; 64];
        for _ in 0..trips {
            let length = far.recv(&mut bytes)?;
            far.send(&bytes[..length])?;
        }
        Ok(())
    });
    let mut bytes = [0; 64];
    let mut each = Vec::with_capacity(trips);
    let begun = Instant::now();
    for _ in 0..trips {
        let started = Instant::now();
        near.send(&bytes)?;
        near.recv(&mut bytes)?;
        each.push(started.elapsed());
    }
    let took = begun.elapsed();
    echo.join().map_err(|_| "the echo ended early")??;
    Ok(Series::new(each, took))
}

struct OneKey(SigningKeys);

impl KeyRing for OneKey {
    fn server_key(&self, name: &str) -> Option<[u8; 32]> {
        (name == FLOOR_NAME).then(|| *self.0.secret())
    }
}

/// Round trips of one frame on one stream, and how long it takes to connect.
async fn frames(trips: usize) -> Outcome<(Series, Duration)> {
    let keys = SigningKeys::from_secret([3; 32]);
    let far = Endpoint::bind(NetConfig::default(), Arc::new(OneKey(keys.clone())))?;
    let near = Endpoint::bind(NetConfig::default(), Arc::new(OneKey(keys.clone())))?;
    let listening = far.clone();
    let echo = tokio::spawn(async move {
        let incoming = listening.accept().await?;
        let (_, mut sender, mut receiver) = incoming.link.accept_stream().await.ok()?;
        while let Ok(Some(frame)) = receiver.receive().await {
            sender.send(&frame).await.ok()?;
            sender.flush().await.ok()?;
        }
        Some(())
    });
    let expect = Expect::Key(keys.device_id());
    let started = Instant::now();
    let link = near.connect(far.local_addr(), FLOOR_NAME, [4; 32], expect).await?;
    let connected = started.elapsed();
    let (mut sender, mut receiver) = link.open(FLOOR_STREAM).await?;
    let mut each = Vec::with_capacity(trips);
    let begun = Instant::now();
    for _ in 0..trips {
        let started = Instant::now();
        sender.send(&[1; 64]).await?;
        sender.flush().await?;
        receiver.receive().await?;
        each.push(started.elapsed());
    }
    let took = begun.elapsed();
    echo.abort();
    near.close().await;
    far.close().await;
    Ok((Series::new(each, took), connected))
}

/// Bytes per second that memory is copied at.
fn copies() -> f64 {
    let from = vec![1u8; COPY_BYTES];
    let mut to = vec![2u8; COPY_BYTES];
    let begun = Instant::now();
    for _ in 0..4 {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    4.0 * COPY_BYTES as f64 / begun.elapsed().as_secs_f64()
}

/// A median round trip of a frame, for benchmarks that compare with it.
pub async fn round_trip() -> Outcome<Duration> {
    Ok(frames(1_000).await?.0.percentile(0.5))
}

/// Measures all floors and prints them.
pub async fn print(run: &Run) -> Outcome<()> {
    let mut table =
        Table::new("Floors: what the machine does", &["what", "per second", "p50", "p99"]);
    let mut add = |what: &str, series: &Series| {
        let [p50, p99] = series.cells();
        table.row(vec![what.to_owned(), count(series.rate()), p50, p99]);
    };
    add("append of 400 bytes, fdatasync", &appends(&run.dir)?);
    add("UDP round trip, loopback", &datagrams(5_000)?);
    let (frames, connected) = frames(5_000).await?;
    add("QUIC round trip of a frame, loopback", &frames);
    add("QUIC handshake, loopback", &Series::new(vec![connected], connected));
    let copied = copies();
    let cell = format!("{:.1} GB", copied / 1e9);
    table.row(vec!["memcpy".to_owned(), cell, time(Duration::ZERO), time(Duration::ZERO)]);
    table.print();
    Ok(())
}

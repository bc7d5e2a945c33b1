//! A UDP cable that can be cut: a forwarder on loopback, below QUIC, between peers that think they
//! talk to each other.
//!
//! `rhizome demo` and the tests put one between devices to show what happens without a network, on
//! a slow one, and on one that loses datagrams, and to read what travels. It forwards for several
//! clients to one server and understands nothing of what it carries. It is no relay: nobody is
//! authenticated, so it listens on loopback only.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many clients a cable serves at once; each has a socket. The one silent for longest goes.
const CLIENTS_MAX: usize = 512;

/// How many delayed datagrams are on the cable at once; more are lost, as in any router. At 1,452
/// bytes each this is 12 MB.
const IN_FLIGHT_MAX: usize = 8192;

/// How many captured datagrams may wait for the disk before the cable waits too.
const CAPTURE_QUEUE_MAX: usize = 1024;

/// Most bytes of a datagram (UDP over IPv4 carries no more).
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Why a cable cannot be laid or tapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CableError {
    /// A cable authenticates nobody and stays on this machine.
    #[error("a cable lies on loopback only, not at {address}")]
    NotLoopback {
        /// Where it should have lain.
        address: SocketAddr,
    },
    /// The address is taken.
    #[error("cable cannot be laid at {address}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The capture cannot be written.
    #[error("capture {} cannot be written", .path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a cable has carried so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CableCounts {
    /// Datagrams from clients that went on to the server.
    pub up_datagrams: u64,
    /// Their bytes.
    pub up_bytes: u64,
    /// Datagrams from the server that went on to clients.
    pub down_datagrams: u64,
    /// Their bytes.
    pub down_bytes: u64,
    /// Datagrams that arrived and went nowhere: cut, lost, or too many at once.
    pub dropped_datagrams: u64,
}

/// A laid cable; dropping it removes it.
#[derive(Debug)]
pub struct Cable {
    shared: Arc<Shared>,
    local: SocketAddr,
    _forwarder: Task,
    _line: Task,
}

impl Cable {
    /// Lays a cable: what is sent to `listen` (port zero: any) arrives at `to`, and back.
    pub async fn lay(listen: SocketAddr, to: SocketAddr) -> Result<Self, CableError> {
        if let Some(address) = [listen, to].into_iter().find(|at| !at.ip().is_loopback()) {
            return Err(CableError::NotLoopback { address });
        }
        let failed = |source| CableError::Socket { address: listen, source };
        let near = UdpSocket::bind(listen).await.map_err(failed)?;
        let local = near.local_addr().map_err(failed)?;
        let (delayed, parcels) = mpsc::channel(IN_FLIGHT_MAX);
        let shared = Arc::new(Shared::new(to, near, delayed));
        let line = Task(tokio::spawn(deliver_delayed(shared.clone(), parcels)));
        let forwarder = Task(tokio::spawn(forward(shared.clone())));
        Ok(Self { shared, local, _forwarder: forwarder, _line: line })
    }

    /// Where the near end is: dial this instead of the server.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Cuts the cable: nothing passes either way, not even what is on it.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
    }

    /// Mends a cut.
    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }

    /// Whether it is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// From now on every datagram takes this long, in order.
    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.delay_us.store(micros, Ordering::SeqCst);
    }

    /// From now on this many of a thousand datagrams are lost, the same ones in every run.
    pub fn loss(&self, per_mille: u32) {
        self.shared.loss_per_mille.store(per_mille, Ordering::SeqCst);
    }

    /// What it has carried so far.
    #[must_use]
    pub fn counts(&self) -> CableCounts {
        let [up_datagrams, up_bytes, down_datagrams, down_bytes, dropped_datagrams] =
            self.shared.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        CableCounts { up_datagrams, up_bytes, down_datagrams, down_bytes, dropped_datagrams }
    }

    /// From now on writes every datagram that arrives at either end to `path`, also those that go
    /// nowhere, until [`Cable::end_capture`]. [`capture_datagrams`] reads the file.
    pub async fn capture(&self, path: &Path) -> Result<(), CableError> {
        self.end_capture().await?;
        let failed = |source| CableError::Capture { path: path.to_owned(), source };
        let file = File::create(path).await.map_err(failed)?;
        let (captured, records) = mpsc::channel(CAPTURE_QUEUE_MAX);
        let writer = tokio::spawn(write_capture(file, records));
        *self.shared.tap() = Some(Tap { path: path.to_owned(), captured, writer });
        Ok(())
    }

    /// Ends a capture, if there is one, and waits until the file is whole.
    pub async fn end_capture(&self) -> Result<(), CableError> {
        let Some(Tap { path, captured, writer }) = self.shared.tap().take() else {
            return Ok(());
        };
        drop(captured);
        let written = writer.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|source| CableError::Capture { path, source })
    }
}

/// The datagrams of a capture with their direction: `true` towards the server. A torn last record
/// is left out.
///
/// Each record is `direction: u8 (0 up, 1 down) ‖ length: u32 big-endian ‖ datagram`. The format is
/// read in the test that wrote it and by nobody later, so it has no version.
pub fn capture_datagrams(capture: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let mut rest = capture;
    std::iter::from_fn(move || {
        let (direction, after) = rest.split_first()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (datagram, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after;
        Some((*direction == 0, datagram))
    })
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A running capture.
#[derive(Debug)]
struct Tap {
    path: PathBuf,
    captured: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<()>>,
}

/// Where a datagram goes next.
#[derive(Debug)]
enum Route {
    /// To the server, from the socket of a client.
    Up(Arc<UdpSocket>),
    /// To this client.
    Down(SocketAddr),
}

/// A datagram on a slow cable.
#[derive(Debug)]
struct Parcel {
    due: Instant,
    route: Route,
    datagram: Vec<u8>,
}

/// A way through the cable.
#[derive(Clone, Copy, Debug)]
enum Direction {
    Up,
    Down,
}

/// What the tasks of a cable share.
#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    near: UdpSocket,
    delayed: mpsc::Sender<Parcel>,
    cut: AtomicBool,
    delay_us: AtomicU64,
    loss_per_mille: AtomicU32,
    /// How many lots were drawn about a loss.
    lots: AtomicU64,
    /// Datagrams and bytes up, datagrams and bytes down, datagrams dropped.
    counts: [AtomicU64; 5],
    tap: Mutex<Option<Tap>>,
}

impl Shared {
    fn new(to: SocketAddr, near: UdpSocket, delayed: mpsc::Sender<Parcel>) -> Self {
        Self {
            to,
            near,
            delayed,
            cut: AtomicBool::new(false),
            delay_us: AtomicU64::new(0),
            loss_per_mille: AtomicU32::new(0),
            lots: AtomicU64::new(0),
            counts: Default::default(),
            tap: Mutex::new(None),
        }
    }

    fn tap(&self) -> std::sync::MutexGuard<'_, Option<Tap>> {
        // The option is replaced as a whole; a panic elsewhere cannot have torn it.
        self.tap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dropped(&self) {
        self.counts[4].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the next datagram is lost: a fixed sequence (splitmix64), evenly spread.
    fn draws_loss(&self) -> bool {
        let per_mille = u64::from(self.loss_per_mille.load(Ordering::SeqCst));
        if per_mille == 0 {
            return false;
        }
        let n = self.lots.fetch_add(1, Ordering::Relaxed) + 1;
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ (n >> 31)) % 1000 < per_mille
    }

    /// A datagram has arrived at one end.
    async fn carry(&self, route: Route, datagram: &[u8]) {
        let captured = self.tap().as_ref().map(|tap| tap.captured.clone());
        if let Some(captured) = captured {
            // Fails when the disk did; `end_capture` says so.
            captured.send(record(route.direction(), datagram)).await.ok();
        }
        if self.cut.load(Ordering::SeqCst) || self.draws_loss() {
            return self.dropped();
        }
        let delay = Duration::from_micros(self.delay_us.load(Ordering::SeqCst));
        if delay.is_zero() {
            return self.deliver(&route, datagram).await;
        }
        let due = Instant::now() + delay;
        let parcel = Parcel { due, route, datagram: datagram.to_vec() };
        if self.delayed.try_send(parcel).is_err() {
            self.dropped();
        }
    }

    /// A datagram leaves the other end, unless the cable was cut meanwhile.
    async fn deliver(&self, route: &Route, datagram: &[u8]) {
        if self.cut.load(Ordering::SeqCst) {
            return self.dropped();
        }
        let sent = match route {
            Route::Up(far) => far.send(datagram).await,
            Route::Down(client) => self.near.send_to(datagram, client).await,
        };
        let Ok(bytes) = sent else {
            // Nobody listens there now; a cable does not care.
            return self.dropped();
        };
        let at = match route.direction() {
            Direction::Up => 0,
            Direction::Down => 2,
        };
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.counts[at + 1].fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Route {
    fn direction(&self) -> Direction {
        match self {
            Self::Up(_) => Direction::Up,
            Self::Down(_) => Direction::Down,
        }
    }
}

/// One client of a cable.
struct Client {
    far: Arc<UdpSocket>,
    /// When it was last heard, in datagrams.
    heard: u64,
    _back: Task,
}

/// Carries what clients send, and begins to carry back for each new one.
async fn forward(shared: Arc<Shared>) {
    let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    for heard in 0u64.. {
        let Some((bytes, from)) = heard_at(&shared.near, &mut buffer).await else { return };
        if !clients.contains_key(&from) {
            if clients.len() >= CLIENTS_MAX {
                let silent = clients.iter().min_by_key(|(_, client)| client.heard);
                let silent = silent.map(|(address, _)| *address).expect("the table is full");
                clients.remove(&silent);
            }
            match open_client(&shared, from).await {
                Ok(client) => drop(clients.insert(from, client)),
                Err(error) => {
                    tracing::warn!(%from, %error, "cable cannot serve another client");
                    shared.dropped();
                    continue;
                }
            }
        }
        let client = clients.get_mut(&from).expect("opened just above");
        client.heard = heard;
        shared.carry(Route::Up(client.far.clone()), &buffer[..bytes]).await;
    }
}

/// A socket of its own for `client`, and the task that carries back.
async fn open_client(shared: &Arc<Shared>, client: SocketAddr) -> io::Result<Client> {
    let far = Arc::new(UdpSocket::bind(SocketAddr::new(shared.to.ip(), 0)).await?);
    far.connect(shared.to).await?;
    let back = tokio::spawn(carry_back(shared.clone(), far.clone(), client));
    Ok(Client { far, heard: 0, _back: Task(back) })
}

/// Carries what the server sends to one client.
async fn carry_back(shared: Arc<Shared>, far: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Some((bytes, _)) = heard_at(&far, &mut buffer).await {
        shared.carry(Route::Down(client), &buffer[..bytes]).await;
    }
}

/// The next datagram at `socket`. That an earlier one of ours found nobody is no reason to stop.
async fn heard_at(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer).await {
            Ok(heard) => return Some(heard),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {}
                _ => {
                    tracing::warn!(%error, "cable broke");
                    return None;
                }
            },
        }
    }
}

/// Delivers what travels on a slow cable. A shorter delay holds once what was on it has arrived.
async fn deliver_delayed(shared: Arc<Shared>, mut parcels: mpsc::Receiver<Parcel>) {
    while let Some(Parcel { due, route, datagram }) = parcels.recv().await {
        tokio::time::sleep_until(due).await;
        shared.deliver(&route, &datagram).await;
    }
}

/// One record of a capture.
fn record(direction: Direction, datagram: &[u8]) -> Vec<u8> {
    let length = u32::try_from(datagram.len()).expect("a datagram has less than 64 KiB");
    let direction = match direction {
        Direction::Up => 0,
        Direction::Down => 1,
    };
    [&[direction], &length.to_be_bytes()[..], datagram].concat()
}

/// Writes a capture until nobody captures any more.
async fn write_capture(file: File, mut records: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    while let Some(record) = records.recv().await {
        file.write_all(&record).await?;
    }
    file.flush().await
}

#[cfg(test)]
mod tests;

//! A folder for the pods of one test, and pods in it: processes of their own or inside this one.
//!
//! Every pod keeps its port when it starts again, and is reached through a cable that can be cut.
//! A world whose test failed keeps its folder; one whose pods panicked fails its test.

use super::client::{Client, Events};
use super::small_disk::SmallDisk;
use rhizome_api::{ApiError, Empty, Method, PodPing, PodStop, socket_path};
use rhizome_net::Cable;
use rhizome_pod::PodOptions;
use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long anything may take that should be quick, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Ports below those the system hands out, so that nobody takes one while its pod is dead.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

static PORT: AtomicU16 = AtomicU16::new(0);

/// Whether the long variants were asked for.
pub fn is_long() -> bool {
    std::env::var_os("RHIZOME_LONG").is_some()
}

/// Looks every few milliseconds until `look` finds what it wants; its error says what is missing.
pub async fn until<T, L>(what: &str, limit: Duration, mut look: impl FnMut() -> L) -> T
where
    L: Future<Output = Result<T, String>>,
{
    let since = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(missing) if since.elapsed() > limit => {
                panic!("{what}: not within {} s: {missing}", limit.as_secs());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The folder of one test.
pub struct World {
    dir: Option<tempfile::TempDir>,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rz").tempdir().unwrap();
        Self { dir: Some(dir) }
    }

    pub fn dir(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    /// A pod that is not started yet. Others reach it through its cable.
    pub async fn node(&self, name: &str) -> Node {
        let listen = free_port();
        let near = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let cable = Cable::lay(near, listen).await.unwrap();
        let dir = self.dir().join(name);
        let client = Client { socket: socket_path(&dir) };
        let log = self.dir().join(format!("{name}.log"));
        let (name, filter) = (name.to_owned(), "info,quinn=warn".to_owned());
        let running = Running::No;
        let inside = None;
        let (host, lan) = (false, false);
        Node { name, dir, log, listen, cable, host, lan, inside, filter, client, running }
    }

    /// A pod that listens to the whole local network and tells no address of itself.
    pub async fn in_network(&self, name: &str) -> Node {
        let mut node = self.node(name).await;
        node.lan = true;
        node.moves();
        node
    }

    /// A pod that hosts others.
    pub async fn host(&self, name: &str) -> Node {
        let mut node = self.node(name).await;
        node.host = true;
        node
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        if std::thread::panicking() {
            eprintln!("what the pods left is in {}", dir.keep().display());
            return;
        }
        let logs = std::fs::read_dir(dir.path()).unwrap().flatten();
        for log in logs.filter(|entry| entry.path().extension().is_some_and(|end| end == "log")) {
            let said = String::from_utf8_lossy(&std::fs::read(log.path()).unwrap()).into_owned();
            if let Some(panic) = said.lines().find(|line| line.contains("panicked at")) {
                let kept = dir.keep();
                panic!("a pod panicked, see {}: {panic}", kept.join(log.file_name()).display());
            }
        }
    }
}

/// A port on loopback that nobody uses and nobody is given.
fn free_port() -> SocketAddr {
    let mut dice = [0; 2];
    getrandom::fill(&mut dice).unwrap();
    let begin = u16::from_le_bytes(dice) % (PORTS.end - PORTS.start);
    let _ = PORT.compare_exchange(0, PORTS.start + begin, Ordering::SeqCst, Ordering::SeqCst);
    loop {
        let port = PORT.fetch_add(1, Ordering::SeqCst);
        if port >= PORTS.end {
            PORT.store(PORTS.start, Ordering::SeqCst);
            continue;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

enum Running {
    No,
    Process(Arc<Mutex<Child>>),
    Here(JoinHandle<Result<(), ApiError>>),
}

/// A pod of a test.
pub struct Node {
    pub name: String,
    pub dir: PathBuf,
    pub log: PathBuf,
    pub listen: SocketAddr,
    pub cable: Cable,
    /// What it says into its log.
    pub filter: String,
    pub client: Client,
    host: bool,
    lan: bool,
    inside: Option<Arc<SmallDisk>>,
    running: Running,
}

impl Node {
    /// Listens at another port from the next start on, at every address of this machine.
    pub fn moves(&mut self) {
        self.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, free_port().port()));
    }

    /// Lives on a disk of its own from the next start on.
    pub fn inhabit(&mut self, disk: &Arc<SmallDisk>) {
        self.dir = disk.inside().join(&self.name);
        self.client = Client { socket: socket_path(&disk.outside().join(&self.name)) };
        self.inside = Some(Arc::clone(disk));
    }

    /// Uses another folder, which is there already.
    pub fn place(&mut self, dir: &Path) {
        self.dir = dir.to_owned();
        self.client = Client { socket: socket_path(dir) };
    }

    /// Starts it as a process and waits until it answers.
    pub async fn start(&mut self) {
        self.spawn();
        self.answers().await;
    }

    /// Starts it as a process.
    pub fn spawn(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = match &self.inside {
            None => Command::new(binary()),
            Some(disk) => disk.command(&binary()),
        };
        command.arg("--dir").arg(&self.dir).arg("run");
        command.arg("--listen").arg(self.listen.to_string());
        if !self.lan {
            command.arg("--no-lan").arg("--advertise").arg(self.cable.local_addr().to_string());
        }
        if self.host {
            command.arg("--host");
        }
        command.env("RHIZOME_LOG", &self.filter).env("NO_COLOR", "1").stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Running::Process(Arc::new(Mutex::new(command.spawn().unwrap())));
    }

    /// Starts it inside this process and waits until it answers.
    pub async fn start_here(&mut self) {
        self.running = Running::Here(tokio::spawn(rhizome_pod::run(self.options())));
        self.answers().await;
    }

    /// How it is started inside this process.
    pub fn options(&self) -> PodOptions {
        PodOptions {
            dir: self.dir.clone(),
            listen: Some(self.listen),
            advertise: vec![self.cable.local_addr().to_string()],
            host: self.host,
            lan: false,
            metrics: None,
        }
    }

    /// Waits until it answers.
    pub async fn answers(&mut self) {
        let since = Instant::now();
        while let Err(error) = self.client.ask::<PodPing>(&Empty {}).await {
            if let Some(ended) = self.ended() {
                panic!("{} ended with {ended} instead of answering; see {:?}", self.name, self.log);
            }
            assert!(since.elapsed() < PATIENCE, "{} does not answer: {error:?}", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How the process ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        match &mut self.running {
            Running::Process(child) => child.lock().unwrap().try_wait().unwrap(),
            Running::No | Running::Here(_) => None,
        }
    }

    /// Waits until the process ends by itself.
    pub async fn end(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                self.running = Running::No;
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "{} does not end", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the process at once, as a power cut would as far as the process can tell.
    pub fn kill(&mut self) {
        if !matches!(self.running, Running::No) {
            self.killer()();
            self.running = Running::No;
        }
    }

    /// What ends the process at once, for another thread to choose the moment.
    pub fn killer(&self) -> impl FnOnce() + Send + use<> {
        let Running::Process(child) = &self.running else {
            panic!("only a process can be killed");
        };
        let child = Arc::clone(child);
        move || {
            let mut child = child.lock().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks it to end and waits until it has.
    pub async fn stop(&mut self) {
        self.ask::<PodStop>(&Empty {}).await;
        match std::mem::replace(&mut self.running, Running::No) {
            Running::Here(task) => task.await.unwrap().unwrap(),
            running => {
                self.running = running;
                let status = self.end().await;
                assert!(status.success(), "{} stopped with {status}", self.name);
            }
        }
    }

    /// Asks a question that must be answered.
    #[track_caller]
    pub fn ask<M: Method>(&self, request: &M::Request) -> impl Future<Output = M::Answer> {
        let from = std::panic::Location::caller();
        async move {
            let answer = self.client.ask::<M>(request).await;
            answer.unwrap_or_else(|error| {
                panic!("{from}: {} refused {}: {error:?}", self.name, M::NAME)
            })
        }
    }

    /// Begins a stream.
    pub async fn stream<M: Method>(&self, request: &M::Request) -> Events<M> {
        self.client.stream::<M>(request).await.unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Process(child) => {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
            }
            Running::Here(task) => task.abort(),
            Running::No => {}
        }
    }
}

/// The `rhizome` binary of the same build. `cargo verify it` builds it before the tests run.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("rhizome");
    let binary = binary.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(binary.exists(), "no {}: cargo build -p rhizome-cli", binary.display());
    binary
}

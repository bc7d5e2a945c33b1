//! The world around the voters: a network, disks, and what each voter holds.

use crate::testing::{device, identity, signing_keys, voter_set};
use crate::{
    DiskError, Holdings, RaftConfig, RaftDisk, RaftEvent, RaftOrder, RaftRecord, RaftTransport,
    TransportError, VoterSet,
};
use async_trait::async_trait;
use rhizome_cluster::{Certificate, Chain, Entry, EntryBody};
use rhizome_identity::DeviceId;
use rhizome_log::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Where the generations of these tests begin.
pub(super) const BASE: Seen = Seen { g: 1, i: 10, c: [5; 32] };
pub(super) const GENERATION: u64 = 2;
/// How long anything may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Calls between voters of this process.
#[derive(Default)]
pub(super) struct Net {
    voters: Mutex<BTreeMap<DeviceId, RaftOrder>>,
    cut: Mutex<BTreeSet<DeviceId>>,
    /// Answers that are not given by the voter itself.
    lies: Mutex<BTreeMap<DeviceId, Vec<u8>>>,
}

impl Net {
    fn route(&self, from: DeviceId, to: DeviceId) -> Option<RaftOrder> {
        let cut = self.cut.lock().unwrap();
        let open = !cut.contains(&from) && !cut.contains(&to);
        open.then(|| self.voters.lock().unwrap().get(&to).cloned()).flatten()
    }

    pub(super) fn cut(&self, n: u8) {
        self.cut.lock().unwrap().insert(device(n));
    }

    pub(super) fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }

    pub(super) fn lie(&self, n: u8, answer: Option<Vec<u8>>) {
        let mut lies = self.lies.lock().unwrap();
        match answer {
            Some(answer) => lies.insert(device(n), answer),
            None => lies.remove(&device(n)),
        };
    }
}

struct Line {
    from: DeviceId,
    net: Arc<Net>,
}

#[async_trait]
impl RaftTransport for Line {
    async fn call(
        &self,
        to: DeviceId,
        request: Vec<u8>,
        patience: Duration,
    ) -> Result<Vec<u8>, TransportError> {
        let down = || TransportError { what: "cut".to_owned() };
        let order = self.net.route(self.from, to).ok_or_else(down)?;
        let answer = timeout(patience, order.handle(self.from, &request)).await;
        let answer = answer.map_err(|_| TransportError { what: "late".to_owned() })?;
        self.net.route(to, self.from).ok_or_else(down)?;
        Ok(self.net.lies.lock().unwrap().get(&to).cloned().unwrap_or(answer))
    }
}

/// A disk that survives its voter.
#[derive(Default)]
pub(super) struct MemoryDisk {
    pub(super) records: Mutex<Vec<Vec<u8>>>,
    pub(super) broken: Mutex<bool>,
    /// Nothing becomes durable as long as this is so.
    pub(super) held: Mutex<bool>,
}

#[async_trait]
impl RaftDisk for MemoryDisk {
    async fn append(&self, records: Vec<RaftRecord>) -> Result<(), DiskError> {
        while *self.held.lock().unwrap() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if *self.broken.lock().unwrap() {
            return Err(DiskError { source: "no space left".into() });
        }
        let blocks = records.iter().map(|record| record.block().bytes);
        self.records.lock().unwrap().extend(blocks);
        Ok(())
    }

    async fn load(&self, generation: u64) -> Result<Vec<RaftRecord>, DiskError> {
        let blocks = self.records.lock().unwrap();
        let records = blocks.iter().map(|bytes| RaftRecord::read(bytes).unwrap());
        Ok(records.filter(|record| record.generation() == generation).collect())
    }
}

/// A disk of files, each append one fdatasync, on a thread of its own.
pub(super) struct FileDisk {
    jobs: std::sync::mpsc::Sender<(Vec<RaftRecord>, tokio::sync::oneshot::Sender<()>)>,
}

impl FileDisk {
    pub(super) fn new(n: u8) -> Self {
        use std::io::Write;
        let (jobs, queue) =
            std::sync::mpsc::channel::<(Vec<RaftRecord>, tokio::sync::oneshot::Sender<()>)>();
        let name = format!("rhizome-raft-measure-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::thread::spawn(move || {
            let mut file = std::fs::File::create(&path).unwrap();
            while let Ok((records, done)) = queue.recv() {
                let bytes: Vec<u8> =
                    records.iter().flat_map(|record| record.block().bytes).collect();
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
                let _ = done.send(());
            }
            std::fs::remove_file(path).unwrap();
        });
        Self { jobs }
    }
}

#[async_trait]
impl RaftDisk for FileDisk {
    async fn append(&self, records: Vec<RaftRecord>) -> Result<(), DiskError> {
        let (done, durable) = tokio::sync::oneshot::channel();
        self.jobs.send((records, done)).unwrap();
        durable.await.map_err(|error| DiskError { source: error.into() })
    }

    async fn load(&self, _generation: u64) -> Result<Vec<RaftRecord>, DiskError> {
        Ok(Vec::new())
    }
}

/// What a voter holds: everything, except what is missing.
pub(super) struct Stock {
    pub(super) missing: watch::Sender<BTreeSet<String>>,
    pub(super) reached: watch::Sender<u64>,
}

impl Default for Stock {
    fn default() -> Self {
        Self { missing: watch::Sender::new(BTreeSet::new()), reached: watch::Sender::new(u64::MAX) }
    }
}

fn name(body: &EntryBody) -> String {
    format!("{body:?}")
}

impl Stock {
    pub(super) fn miss(&self, body: &EntryBody) {
        self.missing.send_modify(|missing| _ = missing.insert(name(body)));
    }

    pub(super) fn find(&self, body: &EntryBody) {
        self.missing.send_modify(|missing| _ = missing.remove(&name(body)));
    }
}

#[async_trait]
impl Holdings for Stock {
    async fn held(&self, body: &EntryBody, patience: Duration) -> bool {
        let mut missing = self.missing.subscribe();
        let held = missing.wait_for(|missing| !missing.contains(&name(body)));
        timeout(patience, held).await.is_ok()
    }

    async fn reached(&self, seen: &Seen, patience: Duration) -> bool {
        let mut reached = self.reached.subscribe();
        timeout(patience, reached.wait_for(|at| *at >= seen.i)).await.is_ok()
    }
}

/// What came out of a voter.
#[derive(Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    pub(super) certificates: Vec<Certificate>,
    pub(super) refused: Vec<String>,
    pub(super) failed: Option<String>,
}

/// One voter with its surroundings.
pub(super) struct Voter {
    pub(super) number: u8,
    pub(super) config: RaftConfig,
    pub(super) order: RaftOrder,
    pub(super) disk: Arc<MemoryDisk>,
    pub(super) stock: Arc<Stock>,
    pub(super) log: watch::Receiver<Log>,
}

/// A group.
pub(super) struct World {
    pub(super) net: Arc<Net>,
    pub(super) voters: BTreeMap<u8, Voter>,
    pub(super) set: VoterSet,
    next: u64,
}

pub(super) fn config(n: u8, set: &VoterSet) -> RaftConfig {
    let founder = RaftConfig::founder(identity(), device(n), GENERATION, BASE, set.clone());
    RaftConfig { heartbeat_ms: 40, election_ms: (200, 400), ..founder }
}

impl World {
    /// Voters by number, all founding.
    pub(super) async fn of(numbers: &[u8], trusted: &[u8]) -> Self {
        let set = voter_set(numbers, trusted);
        let mut world = Self::empty(&set);
        for n in numbers {
            world.start(*n, config(*n, &set), Arc::default(), Arc::default()).await;
        }
        world
    }

    pub(super) fn empty(set: &VoterSet) -> Self {
        let net = Arc::new(Net::default());
        Self { net, voters: BTreeMap::new(), set: set.clone(), next: 0 }
    }

    pub(super) async fn start(
        &mut self,
        n: u8,
        config: RaftConfig,
        disk: Arc<MemoryDisk>,
        stock: Arc<Stock>,
    ) {
        self.start_on(n, config, Arc::clone(&disk), disk, stock).await;
    }

    /// Starts a voter whose records go to `disk`, which need not be the one it keeps.
    pub(super) async fn start_on(
        &mut self,
        n: u8,
        config: RaftConfig,
        kept: Arc<MemoryDisk>,
        disk: Arc<dyn RaftDisk>,
        stock: Arc<Stock>,
    ) {
        let line = Arc::new(Line { from: device(n), net: Arc::clone(&self.net) });
        let keys = Arc::new(signing_keys(n));
        let holdings = Arc::clone(&stock);
        let (order, mut events) =
            RaftOrder::start(config.clone(), keys, disk, line, holdings).await.unwrap();
        self.net.voters.lock().unwrap().insert(device(n), order.clone());
        let (sender, log) = watch::channel(Log::default());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                sender.send_modify(|log| log.take(event));
            }
        });
        let voter = Voter { number: n, config, order, disk: kept, stock, log };
        self.voters.insert(n, voter);
    }

    /// Stops a voter as a crash would: only its disk is left.
    pub(super) async fn crash(&mut self, n: u8) -> Voter {
        self.net.voters.lock().unwrap().remove(&device(n));
        let voter = self.voters.remove(&n).unwrap();
        voter.order.stop().await;
        voter
    }

    pub(super) async fn restart(&mut self, voter: Voter) {
        self.start(voter.number, voter.config, voter.disk, voter.stock).await;
    }

    pub(super) fn voter(&self, n: u8) -> &Voter {
        &self.voters[&n]
    }

    /// Some voter that leads and is not cut off, once there is one.
    pub(super) async fn leader(&self) -> u8 {
        let until = Instant::now() + PATIENCE;
        loop {
            let cut = self.net.cut.lock().unwrap().clone();
            let leads =
                |voter: &&Voter| voter.order.is_leader() && !cut.contains(&device(voter.number));
            // Of two that think they lead, the later is right.
            let newest = self.voters.values().filter(leads).max_by_key(|v| v.order.metrics().term);
            if let Some(voter) = newest {
                return voter.number;
            }
            assert!(Instant::now() < until, "nobody leads");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Proposes `count` new bodies to whoever leads, as a replica would: again, until taken.
    pub(super) async fn propose(&mut self, count: u64) -> Vec<EntryBody> {
        let bodies: Vec<_> = (0..count).map(|n| crate::testing::body(self.next + n)).collect();
        self.next += count;
        loop {
            let leader = self.leader().await;
            if self.voter(leader).order.propose(bodies.clone()).await.is_ok() {
                return bodies;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Proposes and waits until every voter of `on` has handed the bodies out, proposing again as
    /// often as the lead changes.
    pub(super) async fn commit_on(&mut self, count: u64, on: &[u8]) {
        let bodies = self.propose(count).await;
        let has = |log: &Log| {
            bodies.iter().all(|body| log.entries.iter().rev().any(|entry| entry.body == *body))
        };
        let until = Instant::now() + PATIENCE;
        for n in on {
            let mut log = self.voter(*n).log.clone();
            while timeout(Duration::from_millis(600), log.wait_for(has)).await.is_err() {
                assert!(Instant::now() < until, "voter {n} did not commit");
                let leader = self.leader().await;
                let _ = self.voter(leader).order.propose(bodies.clone()).await;
            }
        }
    }

    pub(super) async fn commit(&mut self, count: u64) {
        let all: Vec<u8> = self.voters.keys().copied().collect();
        self.commit_on(count, &all).await;
    }

    /// Orders of voters that joined later begin later; where they overlap, they are one.
    pub(super) fn check_from_first(&self) {
        let mut order: BTreeMap<u64, Entry> = BTreeMap::new();
        for voter in self.voters.values() {
            for entry in &voter.log.borrow().entries {
                let known = order.entry(entry.i).or_insert_with(|| entry.clone());
                assert_eq!(known, entry, "two orders");
            }
        }
        let first = order.keys().next().copied().unwrap();
        assert!(order.keys().copied().eq(first..first + order.len() as u64), "holes");
    }

    /// All orders are prefixes of the longest, and every certificate proves the order it is about.
    pub(super) fn check(&self) {
        let mut longest: Vec<Entry> = Vec::new();
        for voter in self.voters.values() {
            let log = voter.log.borrow();
            let shared = longest.len().min(log.entries.len());
            assert_eq!(longest[..shared], log.entries[..shared], "two orders");
            if log.entries.len() > longest.len() {
                longest.clone_from(&log.entries);
            }
        }
        let mut chain = Chain::from(BASE);
        let seen: BTreeMap<u64, Seen> = longest
            .into_iter()
            .map(|entry| chain.extend(entry).unwrap().seen)
            .map(|seen| (seen.i, seen))
            .collect();
        for voter in self.voters.values() {
            for certificate in &voter.log.borrow().certificates {
                if let Some(known) = seen.get(&certificate.seen.i) {
                    assert_eq!(*known, certificate.seen);
                }
                let good =
                    |set: &VoterSet| certificate.verify(&set.devices(), &set.trusted).is_ok();
                let mut sets = vec![&self.set, &voter.config.voters];
                sets.extend(&voter.config.history);
                assert!(sets.into_iter().any(good), "certificate proves nothing");
            }
        }
    }

    pub(super) async fn stop(self) {
        for voter in self.voters.values() {
            voter.order.stop().await;
        }
    }
}

impl Log {
    fn take(&mut self, event: RaftEvent) {
        match event {
            RaftEvent::Committed { entries, certificate } => {
                assert!(entries.last().is_some_and(|entry| entry.i <= certificate.seen.i));
                self.entries.extend(entries);
                self.certificates.push(certificate);
            }
            RaftEvent::Refused { reason, .. } => self.refused.push(reason.to_string()),
            RaftEvent::Failed(what) => self.failed = Some(what),
            RaftEvent::Leader(_) | RaftEvent::Superseded { .. } => {}
        }
    }
}

//! Three voters on loopback: from the write to its confirmed place in the order.

use crate::documents::{self, APP};
use crate::floor;
use crate::measure::{Process, Series, count, time};
use crate::table::{Table, Target};
use crate::world::{Node, options, until};
use crate::{Outcome, Run};
use rhizome_cluster::VoterPolicy;
use rhizome_identity::DeviceKind;
use rhizome_log::LogId;
use rhizome_pod::Pod;
use rhizome_replica::Command;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

/// Writes that are not counted.
const WARM_UP: u64 = 300;

/// Writers, writes of a whole run, and the target: median in milliseconds, or rate per second.
const CASES: [(u64, u64, Aim); 3] = [
    (1, 3_000, Aim::MedianMs(0.6)),
    (64, 60_000, Aim::Rate(35_000.0)),
    (256, 100_000, Aim::Rate(50_000.0)),
];

#[derive(Clone, Copy)]
enum Aim {
    MedianMs(f64),
    Rate(f64),
}

impl Aim {
    fn cell(self, series: &Series) -> String {
        match self {
            Self::MedianMs(bound) => {
                let ms = series.percentile(0.5).as_secs_f64() * 1e3;
                Target::most(ms, bound, &format!("p50 {bound} ms")).cell()
            }
            Self::Rate(bound) => {
                Target::least(series.rate(), bound, &format!("{}/s", count(bound))).cell()
            }
        }
    }
}

/// Desktop, laptop and cloud peer, in one process.
pub struct Trio {
    desktop: Node,
    laptop: Node,
    cloud: Pod,
    _dirs: [TempDir; 3],
}

impl Trio {
    /// Makes three voters out of three folders.
    pub async fn start(run: &Run) -> Outcome<Self> {
        let dirs = [run.folder()?, run.folder()?, run.folder()?];
        let desktop = Node::found(dirs[0].path(), DeviceKind::Desktop).await?;
        let no_one = desktop.address();
        let host = desktop.admit(dirs[2].path(), DeviceKind::CloudPeer, no_one).await?;
        let cloud = Pod::start(options(dirs[2].path(), true)).await?;
        let cloud_at = cloud.listening().to_string();
        desktop.meet(&host, cloud_at.clone())?;
        let mut peers = desktop.address();
        peers.insert(host.to_string(), vec![cloud_at]);
        desktop.admit(dirs[1].path(), DeviceKind::Laptop, peers).await?;
        let laptop = Node::open(dirs[1].path()).await?;
        laptop.belong().await?;
        until("three devices are linked", async || Ok(desktop.links() == 2 && laptop.links() == 2))
            .await?;
        let trio = Self { desktop, laptop, cloud, _dirs: dirs };
        trio.vote().await?;
        Ok(trio)
    }

    async fn vote(&self) -> Outcome<()> {
        let identity = self.desktop.pod.current()?;
        let present: BTreeSet<_> = identity.links().keys().copied().collect();
        let policy = VoterPolicy::default();
        let command = Command::PlanVoters { present, mostly_on: BTreeSet::new(), policy };
        self.desktop.handle.command(command).await?;
        until("three devices vote", async || {
            let status = self.desktop.handle.look(|replica, _| {
                (replica.control().state().voters().len(), replica.status().sequencer)
            });
            Ok(status.await? == (3, false))
        })
        .await?;
        // A first write that is confirmed shows that somebody leads.
        self.desktop.handle.write(APP, None, documents::set(0)).await?;
        let (log, _) = documents::effective(&self.desktop.handle).await?.ok_or("no log")?;
        let confirmed = documents::reach(&self.desktop.handle, log, 1);
        tokio::time::timeout(Duration::from_secs(60), confirmed).await?
    }

    async fn stop(self) {
        self.laptop.pod.stop().await;
        self.desktop.pod.stop().await;
        self.cloud.stop().await;
    }

    async fn leads(&self) -> Outcome<&'static str> {
        let leads = |node: &Node| {
            let handle = node.handle.clone();
            async move { handle.look(|replica, _| replica.status().leading).await }
        };
        Ok(match (leads(&self.desktop).await?, leads(&self.laptop).await?) {
            (true, _) => "desktop",
            (_, true) => "laptop",
            _ => "cloud peer",
        })
    }
}

/// Tells how far a log of this device is confirmed, looking once after every batch, so that many
/// waiting writers cost the replica one look.
fn follow(node: &Node, log: LogId) -> watch::Receiver<u64> {
    let (tell, told) = watch::channel(0);
    let handle = node.handle.clone();
    tokio::spawn(async move {
        let mut pulse = handle.pulse();
        let mut last = 0;
        loop {
            // Marked before the look: what comes in between is news.
            pulse.borrow_and_update();
            let after = last + 1;
            let reached = handle.look(move |replica, _| {
                let mut reached = after;
                while replica.is_committed(&log, reached) {
                    reached += 1;
                }
                reached - 1
            });
            let Ok(reached) = reached.await else { return };
            if reached > last {
                last = reached;
                tell.send_replace(reached);
            }
            if tell.is_closed() || pulse.changed().await.is_err() {
                return;
            }
        }
    });
    told
}

async fn drive(node: &Node, log: LogId, writers: u64, from: u64, to: u64) -> Outcome<Series> {
    let told = follow(node, log);
    let next = Arc::new(AtomicU64::new(from));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..writers {
        let (handle, next, mut told) = (node.handle.clone(), Arc::clone(&next), told.clone());
        tasks.push(tokio::spawn(async move {
            let mut each = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= to {
                    return Outcome::Ok(each);
                }
                let started = Instant::now();
                let done = handle.write(APP, None, documents::set(n)).await?;
                told.wait_for(|reached| *reached >= done.seq).await?;
                each.push(started.elapsed());
            }
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.append(&mut task.await??);
    }
    Ok(Series::new(all, begun.elapsed()))
}

/// Where a lone write spends its time: the way to each stage, from the start.
async fn stages(trio: &Trio, log: LogId, from: u64, writes: u64) -> Outcome<()> {
    let mut each: [Vec<Duration>; 4] = Default::default();
    let begun = Instant::now();
    for n in from..from + writes {
        let started = Instant::now();
        let done = trio.desktop.handle.write(APP, None, documents::set(n)).await?;
        each[0].push(started.elapsed());
        let held = async {
            documents::hold(&trio.laptop.handle, log, done.seq).await?;
            Outcome::Ok(started.elapsed())
        };
        let here = async {
            documents::reach(&trio.desktop.handle, log, done.seq).await?;
            Outcome::Ok(started.elapsed())
        };
        let there = async {
            documents::reach(&trio.laptop.handle, log, done.seq).await?;
            Outcome::Ok(started.elapsed())
        };
        let (held, here, there) = tokio::try_join!(held, here, there)?;
        each[1].push(held);
        each[2].push(here);
        each[3].push(there);
    }
    let took = begun.elapsed();
    let mut table = Table::new("The way of a lone write", &["stage", "p50", "p99"]);
    let names = [
        "durable on the desktop",
        "held by the laptop",
        "confirmed on the desktop",
        "confirmed on the laptop",
    ];
    for (name, each) in names.into_iter().zip(each) {
        let [p50, p99] = Series::new(each, took).cells();
        table.row(vec![name.to_owned(), p50, p99]);
    }
    table.print();
    Ok(())
}

/// Throughput and latency with 1, 64 and 256 writers on the desktop.
pub async fn run(run: &Run) -> Outcome<()> {
    let trio = Trio::start(run).await?;
    let columns = [
        "writers",
        "writes",
        "per second",
        "p50",
        "p99",
        "CPU per write",
        "floor",
        "× floor",
        "target",
    ];
    let title = format!("Confirmed by three voters on loopback; the {} leads", trio.leads().await?);
    let mut table = Table::new(&title, &columns);
    let (log, done) = documents::effective(&trio.desktop.handle).await?.ok_or("no log")?;
    let mut from = done;
    drive(&trio.desktop, log, 16, from, from + WARM_UP).await?;
    from += WARM_UP;
    for (writers, writes, aim) in CASES {
        let writes = run.size(writes, writes / 50);
        // One append here, one there at once, and the way there and back.
        let floor = floor::appends(&run.dir)?.percentile(0.5) * 2 + floor::round_trip().await?;
        let before = Process::own()?;
        let series = drive(&trio.desktop, log, writers, from, from + writes).await?;
        let used = Process::own()?.used_since(&before);
        from += writes;
        let [p50, p99] = series.cells();
        let ratio = series.percentile(0.5).as_secs_f64() / floor.as_secs_f64();
        table.row(vec![
            writers.to_string(),
            count(writes as f64),
            count(series.rate()),
            p50,
            p99,
            time(used / u32::try_from(writes)?),
            time(floor),
            count(ratio),
            aim.cell(&series),
        ]);
    }
    table.print();
    stages(&trio, log, from, run.size(500, 50)).await?;
    trio.stop().await;
    Ok(())
}

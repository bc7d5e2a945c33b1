//! What an idle identity costs its host: memory, wake-ups, bytes.

use crate::child::Child;
use crate::measure::{Process, count, size};
use crate::table::Table;
use crate::world::random;
use crate::{Outcome, Run};
use rhizome_identity::{DeviceId, DeviceKeys, DeviceKind, RecoveryKit};
use rhizome_net::{Endpoint, Expect, FrameReceiver, FrameSender, KeyRing, Link, NetConfig};
use rhizome_pod::{Home, IdentityMeta, KeyFile};
use rhizome_replica::{Founding, found};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Identities of one process.
const IDENTITIES: u64 = 300;

/// Stream of the session.
const SESSION_STREAM: u8 = 1;

/// Devices keep a link alive every 25 s: two of these.
const WATCHED: Duration = Duration::from_secs(50);

/// A hosted identity, seen from its device.
struct Tenant {
    name: String,
    device: DeviceKeys,
    host: DeviceId,
}

struct NoNames;

impl KeyRing for NoNames {
    fn server_key(&self, _: &str) -> Option<[u8; 32]> {
        None
    }
}

fn tenant(home: &Home) -> Outcome<Tenant> {
    let kit = RecoveryKit::from_entropy(random());
    let device = DeviceKeys::from_bytes(&random());
    let genesis = found(&Founding {
        kit: &kit,
        keys: &device,
        kind: DeviceKind::Laptop,
        name: "laptop",
        entropy: random(),
        now_ms: 1_700_000_000_000,
    })?;
    let host = DeviceKeys::from_bytes(&random());
    let tenant = Tenant {
        name: format!("{}.rhizome", genesis.identity_id()),
        device,
        host: host.device_id(),
    };
    let meta = IdentityMeta { hosted: true, ..IdentityMeta::default() };
    home.create(&genesis, &KeyFile { device: host, kit: None }, &meta)?;
    Ok(tenant)
}

fn tenants(dir: &Path, many: u64) -> Outcome<Vec<Tenant>> {
    let home = Home::open(dir)?;
    (0..many).map(|_| tenant(&home)).collect()
}

type Session = (Link, FrameSender, FrameReceiver);

/// Connects the device of each tenant and opens its session.
async fn visit(tenants: &[Tenant], at: SocketAddr) -> Outcome<(Endpoint, Vec<Session>)> {
    let endpoint = Endpoint::bind(NetConfig::default(), Arc::new(NoNames))?;
    let mut sessions = Vec::new();
    for tenant in tenants {
        let seed = *tenant.device.signing.secret();
        let link = endpoint.connect(at, &tenant.name, seed, Expect::Key(tenant.host)).await?;
        let (mut sender, mut receiver) = link.open(SESSION_STREAM).await?;
        sender.flush().await?;
        // The host says hello: the identity is open there.
        receiver.receive().await?;
        sessions.push((link, sender, receiver));
    }
    Ok((endpoint, sessions))
}

fn bytes(sessions: &[Session]) -> u64 {
    sessions.iter().map(|(link, _, _)| link.sent_bytes() + link.received_bytes()).sum()
}

struct Watched {
    process: Process,
    wakes: f64,
    processor: f64,
    bytes: f64,
}

/// Watches the host do nothing; all numbers per second.
async fn watch(run: &Run, id: u32, sessions: &[Session]) -> Outcome<Watched> {
    let watched = if run.quick { WATCHED / 10 } else { WATCHED };
    let (before, carried) = (Process::of(id)?, bytes(sessions));
    tokio::time::sleep(watched).await;
    let process = Process::of(id)?;
    let seconds = watched.as_secs_f64();
    Ok(Watched {
        wakes: process.woken_since(&before) as f64 / seconds,
        processor: process.used_since(&before).as_secs_f64() / seconds,
        bytes: (bytes(sessions) - carried) as f64 / seconds,
        process,
    })
}

/// An empty host, one whose tenants nobody visited, one whose devices are all connected, and what
/// stays when they have gone.
pub async fn run(run: &Run) -> Outcome<()> {
    let many = run.size(IDENTITIES, 20);
    let columns = [
        "host",
        "memory",
        "per identity",
        "threads",
        "wake-ups/s",
        "processor",
        "bytes/h per identity",
    ];
    let mut table = Table::new(&format!("{many} idle identities in one process"), &columns);
    let empty = run.folder()?;
    let child = Child::start("host", empty.path())?;
    let bare = watch(run, child.id(), &[]).await?;
    drop(child);
    let mut add = |what: &str, seen: &Watched| {
        let more = seen.process.rss.saturating_sub(bare.process.rss) as f64;
        table.row(vec![
            what.to_owned(),
            size(seen.process.rss as f64),
            size(more / many as f64),
            seen.process.threads().to_string(),
            count(seen.wakes),
            format!("{:.2} %", seen.processor * 100.0),
            size(seen.bytes * 3600.0 / many as f64),
        ]);
    };
    add("without any", &bare);
    let dir = run.folder()?;
    let tenants = tenants(dir.path(), many)?;
    let child = Child::start("host", dir.path())?;
    add("known, never visited", &watch(run, child.id(), &[]).await?);
    let (endpoint, sessions) = visit(&tenants, child.said().parse()?).await?;
    add("open, each with a silent device", &watch(run, child.id(), &sessions).await?);
    drop(sessions);
    endpoint.close().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    add("open, devices gone", &watch(run, child.id(), &[]).await?);
    table.print();
    Ok(())
}

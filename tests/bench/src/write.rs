//! Durable single-document writes on a lone device, by each way that leads to one.
//!
//! The SDK and the socket are what people use: the SDK checks the batch against the documents and
//! hands it to the identity in its own process; the socket adds HTTP, JSON and another process. The
//! rows called *identity* leave all that out, and show what sealing, order and disk take.

use crate::documents;
use crate::floor;
use crate::measure::{Process, Series, count, time};
use crate::socket::{Client, Served};
use crate::table::{Table, Target};
use crate::world::Node;
use crate::{Outcome, Run};
use rhizome_api::DataSet;
use rhizome_api::data::SetRequest;
use rhizome_identity::DeviceKind;
use rhizome_sdk::{App, Collection, Rhizome};

/// Writes that are not counted, so that files and caches are there.
const WARM_UP: u64 = 500;

/// Writers, writes of a whole run, and how often the floor's rate the SDK must reach.
const CASES: [(u64, u64, f64); 2] = [(1, 5_000, 0.8), (64, 100_000, 12.0)];

/// The socket costs an order of magnitude more per write, so fewer say as much.
const BY_SOCKET_SHARE: u64 = 5;

const COLUMNS: [&str; 9] = [
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

type Notes = Collection<documents::Note>;

/// Writes with 1 and 64 writers, by the SDK, without it, and through the socket.
pub async fn run(run: &Run) -> Outcome<()> {
    let mut table = Table::new("Durable writes of one document, nobody else there", &COLUMNS);
    embedded(run, &mut table).await?;
    served(run, &mut table).await?;
    table.print();
    Ok(())
}

/// In this process: by the SDK, and without it.
async fn embedded(run: &Run, table: &mut Table) -> Outcome<()> {
    let dir = run.folder()?;
    let node = Node::found(dir.path(), DeviceKind::Laptop).await?;
    let db = Rhizome::over(node.pod.clone())?.connect(App::new(documents::APP))?;
    let notes: Notes = db.collection(documents::COLLECTION)?;
    let mut numbers = Numbers(0);
    by_sdk(&notes, 16, numbers.next(WARM_UP)).await?;
    for (writers, writes, target) in CASES {
        let range = numbers.next(run.size(writes, writes / 20));
        let measured = Measured::begin(run, std::process::id())?;
        let series = by_sdk(&notes, writers, range).await?;
        table.row(measured.row(run, &format!("{writers}, SDK"), &series, Some(target))?);
    }
    for (writers, writes, _) in CASES {
        let (from, to) = numbers.next(run.size(writes, writes / 20));
        let measured = Measured::begin(run, std::process::id())?;
        let series = documents::write(&node.handle, writers, from, to, documents::set).await?;
        table.row(measured.row(run, &format!("{writers}, identity"), &series, None)?);
    }
    node.pod.stop().await;
    Ok(())
}

/// Through the socket of a pod in another process, whose processor time alone is counted.
async fn served(run: &Run, table: &mut Table) -> Outcome<()> {
    let dir = run.folder()?;
    let pod = Served::start(dir.path()).await?;
    let mut numbers = Numbers(0);
    for (writers, writes, _) in CASES {
        let mut clients = Vec::new();
        for _ in 0..writers {
            clients.push(pod.client().await?);
        }
        let (from, to) = numbers.next(run.size(writes / BY_SOCKET_SHARE, writes / 50));
        let measured = Measured::begin(run, pod.process())?;
        let series = documents::by(clients, from, to, |mut client: Client, n| async move {
            let request = SetRequest {
                app: Some(documents::APP.to_owned()),
                path: documents::path(n).as_str().to_owned(),
                fields: serde_json::to_value(documents::note(n))?,
                ..SetRequest::default()
            };
            client.call::<DataSet>(&request).await?;
            Ok(client)
        })
        .await?;
        table.row(measured.row(run, &format!("{writers}, socket"), &series, None)?);
    }
    Ok(())
}

async fn by_sdk(notes: &Notes, writers: u64, (from, to): (u64, u64)) -> Outcome<Series> {
    let all = (0..writers).map(|_| notes.clone()).collect();
    let one = |notes: Notes, n| async move {
        notes.doc(documents::path(n).id())?.set(&documents::note(n)).await?;
        Ok(notes)
    };
    documents::by(all, from, to, one).await
}

/// Numbers of documents that were not written yet.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, many: u64) -> (u64, u64) {
        let from = self.0;
        self.0 += many;
        (from, self.0)
    }
}

/// What is measured around a series: floors before and after, and processor time.
struct Measured {
    process: u32,
    before: Process,
    floor: f64,
}

impl Measured {
    fn begin(run: &Run, process: u32) -> Outcome<Self> {
        let floor = floor::appends(&run.dir)?.rate();
        Ok(Self { process, before: Process::of(process)?, floor })
    }

    fn row(
        self,
        run: &Run,
        who: &str,
        series: &Series,
        target: Option<f64>,
    ) -> Outcome<Vec<String>> {
        let used = Process::of(self.process)?.used_since(&self.before);
        // The machine is seldom quiet: the better of two floors is the more honest one.
        let floor = self.floor.max(floor::appends(&run.dir)?.rate());
        let [p50, p99] = series.cells();
        let ratio = series.rate() / floor;
        let target = target.map(|least| Target::least(ratio, least, &format!("{least} ×")).cell());
        Ok(vec![
            who.to_owned(),
            count(series.len() as f64),
            count(series.rate()),
            p50,
            p99,
            time(used / u32::try_from(series.len())?),
            count(floor),
            count(ratio),
            target.unwrap_or_default(),
        ])
    }
}

//! Durable single-document writes on a lone device.

use crate::documents;
use crate::floor;
use crate::measure::{Process, Series, count, time};
use crate::table::{Table, Target};
use crate::world::Node;
use crate::{Outcome, Run};
use rhizome_identity::DeviceKind;
use rhizome_sdk::{App, Rhizome};
use std::time::Instant;

/// Writes that are not counted, so that files and caches are there.
const WARM_UP: u64 = 500;

/// Writes with 1 and 64 writers, and through the SDK.
pub async fn run(run: &Run) -> Outcome<()> {
    let dir = run.folder()?;
    let node = Node::found(dir.path(), DeviceKind::Laptop).await?;
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
    let mut table = Table::new("Durable writes of one document, nobody else there", &columns);
    let mut from = WARM_UP;
    documents::write(&node.handle, 16, 0, WARM_UP, documents::set).await?;
    let cases = [(1, run.size(5_000, 500), 0.8), (64, run.size(100_000, 3_000), 12.0)];
    for (writers, writes, target) in cases {
        let measured = Measured::begin(run)?;
        let series =
            documents::write(&node.handle, writers, from, from + writes, documents::set).await?;
        from += writes;
        table.row(measured.row(run, &writers.to_string(), &series, Some(target))?);
    }
    let measured = Measured::begin(run)?;
    let series = typed(&node, run.size(5_000, 500)).await?;
    table.row(measured.row(run, "1 (SDK, typed)", &series, None)?);
    let stopping = Instant::now();
    node.pod.stop().await;
    table.print();
    println!("\nClosing the pod took {}.", time(stopping.elapsed()));
    Ok(())
}

/// What is measured around a series: floors before and after, and processor time.
struct Measured {
    before: Process,
    floor: f64,
}

impl Measured {
    fn begin(run: &Run) -> Outcome<Self> {
        let floor = floor::appends(&run.dir)?.rate();
        Ok(Self { before: Process::own()?, floor })
    }

    fn row(
        self,
        run: &Run,
        who: &str,
        series: &Series,
        target: Option<f64>,
    ) -> Outcome<Vec<String>> {
        let used = Process::own()?.used_since(&self.before);
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

async fn typed(node: &Node, writes: u64) -> Outcome<Series> {
    let db = Rhizome::over(node.pod.clone())?.connect(App::new(documents::APP))?;
    let notes = db.collection::<serde_json::Value>("typed")?;
    let mut each = Vec::new();
    let begun = Instant::now();
    for n in 0..writes {
        let value = serde_json::json!({ "title": format!("Note {n}"), "rank": n, "done": false });
        let started = Instant::now();
        let written = notes.doc(&format!("n{n}"))?.set(&value).await?;
        each.push(started.elapsed());
        drop(written);
    }
    Ok(Series::new(each, begun.elapsed()))
}

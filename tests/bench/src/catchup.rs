//! A newcomer catches up on everything, and then follows further edits.

use crate::documents;
use crate::library::{Library, Made};
use crate::measure::{Process, count, size, time};
use crate::table::{Table, Target};
use crate::world::Node;
use crate::{Outcome, Run};
use rhizome_identity::DeviceKind;
use rhizome_log::LogId;
use std::time::{Duration, Instant};

/// Edits that follow.
const EDITS: u64 = 100;

/// Writes that are followed one by one, to see what a lone event costs on the wire.
const LONE: u64 = 200;

/// Catches up on the library, then follows.
pub async fn run(run: &Run) -> Outcome<()> {
    let mut library = Library::of(run).await?;
    let made = library.as_mut().ok_or("the library was just made")?;
    let all = made.documents;
    let dir = run.folder()?;
    let columns = ["what", "took", "per second", "wire", "wire per event", "target"];
    let mut table =
        Table::new(&format!("A newcomer and {} documents", count(all as f64)), &columns);
    let (newcomer, log, took) = join(made, dir.path()).await?;
    let wire = newcomer.wire_bytes() as f64;
    let target = Target::most(took.as_secs_f64(), 1.0, "1 s");
    let mut add = |what: &str, took: Duration, events: u64, wire: f64, target: String| {
        let rate = count(events as f64 / took.as_secs_f64());
        let per_event = size(wire / events as f64);
        table.row(vec![what.to_owned(), time(took), rate, size(wire), per_event, target]);
    };
    add("catches up", took, all, wire, target.cell());
    let memory = Process::own()?.rss;
    let founder = made.node().await?;
    let mut seq = documents::effective(&founder.handle).await?.ok_or("no log")?.1;

    let edit = |n| documents::edit([n], -1);
    let before = newcomer.wire_bytes();
    let started = Instant::now();
    documents::write(&founder.handle, EDITS, 0, EDITS, edit).await?;
    seq += EDITS;
    documents::reach(&newcomer.handle, log, seq).await?;
    let took = started.elapsed();
    settle(&newcomer).await;
    let wire = (newcomer.wire_bytes() - before) as f64;
    let met = Target::most(took.as_secs_f64().max(wire / 1e4 * 0.02), 0.02, "20 ms, 10 kB");
    add("100 edits, an event each", took, EDITS, wire, met.cell());

    let before = newcomer.wire_bytes();
    let started = Instant::now();
    founder.handle.write(documents::APP, None, documents::edit(0..EDITS, -2)).await?;
    seq += 1;
    documents::reach(&newcomer.handle, log, seq).await?;
    let took = started.elapsed();
    settle(&newcomer).await;
    let wire = (newcomer.wire_bytes() - before) as f64;
    add("100 edits, one event", took, 1, wire, String::new());

    let before = newcomer.wire_bytes();
    let started = Instant::now();
    for n in 0..LONE {
        founder.handle.write(documents::APP, None, documents::set(all + n)).await?;
        seq += 1;
        documents::reach(&newcomer.handle, log, seq).await?;
    }
    let took = started.elapsed();
    settle(&newcomer).await;
    let wire = (newcomer.wire_bytes() - before) as f64;
    add("new documents, one at a time", took, LONE, wire, String::new());
    table.print();
    println!("\nBoth pods in one process: {} resident after catching up.", size(memory as f64));
    newcomer.pod.stop().await;
    made.documents += LONE;
    Ok(())
}

/// Acknowledgements that follow belong to what they acknowledge.
async fn settle(newcomer: &Node) {
    let mut bytes = newcomer.wire_bytes();
    loop {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let now = newcomer.wire_bytes();
        if now == bytes {
            return;
        }
        bytes = now;
    }
}

/// Links a newcomer to the library; returns it with the log, once all of it took effect there.
async fn join(made: &mut Made, dir: &std::path::Path) -> Outcome<(Node, LogId, Duration)> {
    let founder = made.node().await?;
    let (log, all) = documents::effective(&founder.handle).await?.ok_or("no log")?;
    founder.admit(dir, DeviceKind::Phone, founder.address()).await?;
    let started = Instant::now();
    let newcomer = Node::open(dir).await?;
    newcomer.belong().await?;
    documents::reach(&newcomer.handle, log, all).await?;
    let took = started.elapsed();
    let last = documents::path(all - 1);
    let there = newcomer.handle.documents(documents::APP).get(newcomer.handle.index(), &last)?;
    there.ok_or("the last document is missing")?;
    Ok((newcomer, log, took))
}

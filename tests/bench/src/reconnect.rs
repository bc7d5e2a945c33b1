//! How long until news flows again: after the network was away, and after a link broke.

use crate::documents;
use crate::measure::{Series, time};
use crate::table::Table;
use crate::world::{Node, until};
use crate::{Outcome, Run, floor};
use rhizome_identity::DeviceKind;
use rhizome_net::Cable;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Outages of the cable.
const OUTAGES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// Measures both.
pub async fn run(run: &Run) -> Outcome<()> {
    let dirs = [run.folder()?, run.folder()?];
    let first = Node::found(dirs[0].path(), DeviceKind::Desktop).await?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let cable = Cable::lay(any, first.pod.listening()).await?;
    let through = vec![cable.local_addr().to_string()];
    let peers = BTreeMap::from([(first.handle.device().to_string(), through)]);
    first.admit(dirs[1].path(), DeviceKind::Phone, peers).await?;
    let second = Node::open(dirs[1].path()).await?;
    second.belong().await?;
    let mut seq = 0;
    let mut write = async || -> Outcome<u64> {
        seq += 1;
        first.handle.write(documents::APP, None, documents::set(seq)).await?;
        Ok(seq)
    };
    write().await?;
    let (log, _) = documents::effective(&first.handle).await?.ok_or("no log")?;
    documents::reach(&second.handle, log, 1).await?;

    let columns = ["what", "times", "p50", "p99"];
    let mut table = Table::new("Until news flows again", &columns);
    let mut add = |what: String, series: &Series| {
        let [p50, p99] = series.cells();
        table.row(vec![what, series.len().to_string(), p50, p99]);
    };
    let floor = floor::round_trip().await?;
    for outage in OUTAGES.iter().take(if run.quick { 1 } else { 2 }) {
        let mut mended = Vec::new();
        for _ in 0..run.size(5, 1) {
            cable.cut();
            let seq = write().await?;
            tokio::time::sleep(*outage).await;
            let started = Instant::now();
            cable.mend();
            documents::reach(&second.handle, log, seq).await?;
            mended.push(started.elapsed());
        }
        let what =
            format!("cable mended after {}, the event written meanwhile over", time(*outage));
        add(what, &Series::new(mended, floor));
    }
    let mut broken = Vec::new();
    for _ in 0..run.size(20, 3) {
        let started = Instant::now();
        for identity in second.pod.identities() {
            identity.links().values().for_each(|(_, link)| link.close(0, "measured"));
        }
        let seq = write().await?;
        documents::reach(&second.handle, log, seq).await?;
        broken.push(started.elapsed());
        until("linked again", async || Ok(second.links() == 1)).await?;
    }
    add("link broken, dialled again, one event over".to_owned(), &Series::new(broken, floor));
    table.print();
    println!("\nA round trip of a frame takes {}.", time(floor));
    second.pod.stop().await;
    first.pod.stop().await;
    Ok(())
}

//! How long a commit takes and how many fit into a second, on real files. Worth reading are the
//! figures of `RHIZOME_LONG=1 cargo test -p rhizome-raft --release measure -- --nocapture`.

use super::world::{FileDisk, World, config};
use crate::testing::{body, voter_set};
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn world() -> World {
    let set = voter_set(&[1, 2, 3], &[]);
    let mut world = World::empty(&set);
    for n in [1, 2, 3] {
        let disk = Arc::new(FileDisk::new(n));
        let calm =
            crate::RaftConfig { heartbeat_ms: 150, election_ms: (500, 1_000), ..config(n, &set) };
        world.start_on(n, calm, Arc::default(), disk, Arc::default()).await;
    }
    world.commit(1).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure() {
    let (alone, count) =
        if std::env::var_os("RHIZOME_LONG").is_some() { (2_000, 200_000) } else { (20, 640) };
    let mut world = world().await;
    let leader = world.leader().await;
    let mut times = Vec::new();
    for _ in 0..alone {
        let start = Instant::now();
        world.commit_on(1, &[leader]).await;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let of = |share: usize| times[times.len() * share / 100];
    println!("one at a time: p50 {:?}, p90 {:?}, p99 {:?}", of(50), of(90), of(99));

    let log = world.voter(leader).log.clone();
    let before = log.borrow().entries.len();
    let start = Instant::now();
    let mut n = 0;
    while n < count {
        let bodies = (n..n + 64).map(|n| body(2_000_000 + n)).collect();
        let leader = world.leader().await;
        if world.voter(leader).order.propose(bodies).await.is_ok() {
            n += 64;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    world.commit_on(1, &[leader]).await;
    let done = (log.borrow().entries.len() - before) as f64;
    println!("many at once: {:.0} entries/s", done / start.elapsed().as_secs_f64());
    world.check();
    world.stop().await;
}

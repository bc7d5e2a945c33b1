//! A disk that takes no more: writes are refused with a clear error, reads go on, nothing that was
//! acknowledged is lost, and writing goes on once there is room.
//!
//! That a sync that failed is never tried again, and every place where a disk may fail, is shown
//! below the pod: `root/store/src/segments/tests/faults.rs`.

use crate::support::{Dice, Node, PATIENCE, SmallDisk, World, is_long, until};
use rhizome_api::data::SetRequest;
use rhizome_api::{ApiError, DataSet, DeviceKind, Empty, ErrorCode, LogVerify};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What the disk holds: what a pod needs before it has anything, and some megabytes.
const DISK_MIB: u32 = 64;

/// A refusal that takes longer is none.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// By then the index has tried to write down what it took: it does so every two seconds.
const INDEX_WRITTEN_WITHIN: Duration = Duration::from_secs(3);

/// A pod on a disk of its own, or a word why there is none.
async fn on_small_disk(world: &World) -> Option<(Arc<SmallDisk>, Node)> {
    let place = world.dir().join("small");
    std::fs::create_dir(&place).unwrap();
    let disk = match SmallDisk::new(&place, DISK_MIB) {
        Ok(disk) => Arc::new(disk),
        Err(why) => {
            println!("skipped: no disk of our own here: {why}");
            return None;
        }
    };
    let mut laptop = world.node("laptop").await;
    laptop.inhabit(&disk);
    laptop.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    Some((disk, laptop))
}

async fn write(laptop: &Node, n: usize, bytes: usize) -> Result<(), ApiError> {
    let fields = json!({ "n": n, "text": "x".repeat(bytes) });
    let request = SetRequest { path: format!("notes/{n}"), fields, ..SetRequest::default() };
    let asked = tokio::time::timeout(REFUSED_WITHIN, laptop.client.ask::<DataSet>(&request)).await;
    asked.expect("a write hangs").map(drop)
}

/// Everything that was acknowledged is read.
async fn all_there(laptop: &Node, written: &[usize]) {
    for n in written {
        let found = laptop.get(&format!("notes/{n}")).await;
        let found = found.unwrap_or_else(|error| panic!("note {n} is not read: {error:?}"));
        assert_eq!(found["n"], json!(n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_writes_and_nothing_else() {
    let world = World::new();
    let Some((disk, mut laptop)) = on_small_disk(&world).await else { return };
    let mut dice = Dice::new("a full disk");
    let mut written = Vec::new();
    for n in 0..50 {
        write(&laptop, n, 1000).await.unwrap();
        written.push(n);
    }
    for round in 1..=if is_long() { 20 } else { 3 } {
        // Sometimes the segments end at the reserve, sometimes nothing is left for the index.
        disk.fill(dice.below(8 << 20) as usize);
        let mut refused = 0;
        for n in (0..).map(|n| round * 10_000 + n).take(600) {
            match write(&laptop, n, 20_000).await {
                Ok(()) => written.push(n),
                Err(error) => {
                    assert_eq!((error.id.as_str(), error.exit), ("RZ-0302", 10), "{error:?}");
                    assert_eq!(error.code, ErrorCode::ResourceExhausted);
                    refused += 1;
                }
            }
            if refused == 20 {
                break;
            }
        }
        assert_eq!(refused, 20, "the disk is not full");
        all_there(&laptop, &written).await;
        assert!(laptop.hash().await.unwrap().indexes_ok);
        laptop.status().await;
        if round % 3 == 2 {
            // Nor is anything lost to a process that dies there and then.
            laptop.kill();
            disk.free();
            laptop.start().await;
            all_there(&laptop, &written).await;
        } else {
            disk.free();
        }
        let n = round * 100_000;
        let look = || async { write(&laptop, n, 1000).await.map_err(|error| error.message) };
        until("there is room again", PATIENCE, look).await;
        written.push(n);
        all_there(&laptop, &written).await;
    }
    laptop.kill();
    laptop.start().await;
    all_there(&laptop, &written).await;
    let verified = laptop.ask::<LogVerify>(&Empty {}).await;
    assert!(verified.damage.is_empty(), "{verified:?}");
    println!("{} writes acknowledged beside a full disk, all found", written.len());
    laptop.stop().await;
}

/// A write is refused for want of room.
async fn is_refused(laptop: &Node, n: usize) {
    let refused = write(laptop, n, 1000).await.unwrap_err();
    assert_eq!((refused.id.as_str(), refused.exit), ("RZ-0302", 10), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_others_take_all_room_reads_go_on_and_so_does_a_restart() {
    let world = World::new();
    let Some((disk, mut laptop)) = on_small_disk(&world).await else { return };
    let mut written: Vec<usize> = (0..400).collect();
    for n in &written {
        write(&laptop, *n, 1000).await.unwrap();
    }
    // At once, while the index still has something to write down: soon it cannot.
    disk.fill(0);
    let since = std::time::Instant::now();
    while since.elapsed() < INDEX_WRITTEN_WITHIN {
        all_there(&laptop, &written).await;
    }
    is_refused(&laptop, 1000).await;
    all_there(&laptop, &written).await;

    laptop.kill();
    laptop.start().await;
    all_there(&laptop, &written).await;
    is_refused(&laptop, 2000).await;
    all_there(&laptop, &written).await;

    disk.free();
    write(&laptop, 3000, 1000).await.unwrap();
    written.push(3000);
    all_there(&laptop, &written).await;
    assert!(laptop.hash().await.unwrap().indexes_ok);
    laptop.kill();
    laptop.start().await;
    all_there(&laptop, &written).await;
    laptop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_starts_on_a_disk_that_takes_nothing_says_so_and_loses_nothing() {
    let world = World::new();
    let Some((disk, mut laptop)) = on_small_disk(&world).await else { return };
    for n in 0..50 {
        write(&laptop, n, 1000).await.unwrap();
    }
    let written: Vec<usize> = (0..50).collect();
    laptop.stop().await;
    disk.protect(true);
    laptop.spawn();
    let ended = laptop.end().await;
    let said = std::fs::read_to_string(&laptop.log).unwrap();
    assert_eq!(ended.code(), Some(10), "{said}");
    assert!(said.contains("RZ-0302"), "{said}");
    disk.protect(false);
    laptop.start().await;
    all_there(&laptop, &written).await;
    write(&laptop, 50, 1000).await.unwrap();
    laptop.stop().await;
}

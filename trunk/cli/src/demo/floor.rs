//! What this disk can do at best, and how fast writes were beside it.
//!
//! The floor is a small block written and synchronised to the disk, one after the other: no write
//! that is durable before it is acknowledged can be faster alone. Other work on the machine slows
//! it as it slows the writes, so it is measured before and after them and the faster counts.

use super::figures::{Rate, ms};
use rhizome_api::{ApiError, Problem};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many blocks are written to find the floor: enough for a stable middle.
const SYNCS: usize = 200;

/// On a slow disk fewer are, so that the demo stays short.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// About what one small event takes on disk.
const BLOCK_BYTES: usize = 512;

/// Measures the floor of the disk that `root` is on.
pub(super) async fn measure(root: &Path) -> Result<Rate, ApiError> {
    let path = root.join("floor");
    let measured = tokio::task::spawn_blocking(move || {
        let measured = synchronise(&path);
        drop(std::fs::remove_file(&path));
        measured
    });
    measured.await.expect("writing a file does not panic").map_err(|source| {
        ApiError::new(Problem::DISK, "the disk cannot be measured").caused_by(&source)
    })
}

fn synchronise(path: &Path) -> io::Result<Rate> {
    let mut file = File::create(path)?;
    let block = [0x5a; BLOCK_BYTES];
    let mut each = Vec::with_capacity(SYNCS);
    let since = Instant::now();
    while each.len() < SYNCS && since.elapsed() < TIME_LIMIT {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        each.push(start.elapsed());
    }
    Ok(rate(each, since.elapsed()))
}

/// How fast operations were that took `each` and `whole` together.
pub(super) fn rate(mut each: Vec<Duration>, whole: Duration) -> Rate {
    each.sort_unstable();
    let at = |percent: usize| {
        let last = each.len().saturating_sub(1);
        each.get(last * percent / 100).copied().unwrap_or_default()
    };
    let count = each.len() as u64;
    Rate {
        count,
        took_ms: ms(whole),
        per_second: if whole.is_zero() { 0 } else { per_second(count, whole) },
        p50_ms: ms(at(50)),
        p99_ms: ms(at(99)),
        ratio_to_floor: None,
    }
}

fn per_second(count: u64, whole: Duration) -> u64 {
    let per_second = u128::from(count) * 1_000_000_000 / whole.as_nanos();
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_knows_its_middle_and_its_tail() {
        let each: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        let found = rate(each, Duration::from_secs(2));
        assert_eq!((found.count, found.per_second), (101, 50));
        assert_eq!((found.p50_ms, found.p99_ms), (51.0, 100.0));
        assert_eq!(rate(Vec::new(), Duration::ZERO).per_second, 0);
    }

    #[tokio::test]
    async fn the_disk_is_measured_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let floor = measure(dir.path()).await.unwrap();
        assert!(floor.count > 0 && floor.per_second > 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

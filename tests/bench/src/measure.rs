//! What is measured: durations and their percentiles, and what the system knows of a process.

use crate::Outcome;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Many durations, and how long all of it took.
#[derive(Default)]
pub struct Series {
    sorted: Vec<Duration>,
    /// From the first start to the last end.
    pub took: Duration,
}

impl Series {
    /// Of these durations.
    pub fn new(mut each: Vec<Duration>, took: Duration) -> Self {
        each.sort_unstable();
        Self { sorted: each, took }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// How many per second.
    pub fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.took.as_secs_f64()
    }

    /// The duration that `share` of all do not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.sorted.get(at).copied().unwrap_or_default()
    }

    /// Median and 99th percentile, for a table.
    pub fn cells(&self) -> [String; 2] {
        [self.percentile(0.5), self.percentile(0.99)].map(time)
    }
}

/// A duration for people.
pub fn time(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    match us {
        ..1_000.0 => format!("{us:.1} µs"),
        ..1_000_000.0 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A count or rate for people.
pub fn count(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size for people.
pub fn size(bytes: f64) -> String {
    match bytes {
        ..1e4 => format!("{bytes:.0} B"),
        ..1e6 => format!("{:.1} kB", bytes / 1e3),
        _ => format!("{:.1} MB", bytes / 1e6),
    }
}

/// What Linux says of a process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Memory in use, in bytes.
    pub rss: u64,
    /// Processor time used, in ticks of 10 ms.
    ticks: u64,
    /// How often each of its threads gave the processor up to wait.
    waits: BTreeMap<u32, u64>,
}

impl Process {
    /// Of the process with this id.
    pub fn of(id: u32) -> Outcome<Self> {
        let root = format!("/proc/{id}");
        let status = fs::read_to_string(format!("{root}/status"))?;
        let stat = fs::read_to_string(format!("{root}/stat"))?;
        let rss = field(&status, "VmRSS:") * 1024;
        let mut process = Self { rss, ticks: ticks(&stat), ..Self::default() };
        for task in fs::read_dir(format!("{root}/task"))? {
            let task = task?;
            let name = task.file_name();
            let thread = name.to_str().and_then(|name| name.parse().ok());
            // A thread may end while we look.
            let status = fs::read_to_string(task.path().join("status"));
            if let (Some(thread), Ok(status)) = (thread, status) {
                process.waits.insert(thread, field(&status, "voluntary_ctxt_switches:"));
            }
        }
        Ok(process)
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.waits.len()
    }

    /// Processor time used since an earlier look.
    pub fn used_since(&self, before: &Self) -> Duration {
        Duration::from_millis(self.ticks.saturating_sub(before.ticks) * 10)
    }

    /// How often its present threads woke up since an earlier look. Those that ended meanwhile took
    /// their count along.
    pub fn woken_since(&self, before: &Self) -> u64 {
        let since = |(thread, now): (&u32, &u64)| {
            now.saturating_sub(before.waits.get(thread).copied().unwrap_or(0))
        };
        self.waits.iter().map(since).sum()
    }

    /// Of this process.
    pub fn own() -> Outcome<Self> {
        Self::of(std::process::id())
    }
}

/// User and system time in a line of `/proc/<id>/stat`; a name may hold spaces and brackets.
fn ticks(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Bytes that files below a folder take on disk.
pub fn folder_bytes(path: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { blocks(&metadata) };
    }
    Ok(bytes)
}

fn blocks(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(each: impl IntoIterator<Item = u64>, took_ms: u64) -> Series {
        let each = each.into_iter().map(Duration::from_micros).collect();
        Series::new(each, Duration::from_millis(took_ms))
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_durations_whatever_their_order() {
        let hundred = series((0..=100).rev(), 50);
        let at = |share| hundred.percentile(share).as_micros();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(at), [0, 50, 99, 100]);
        assert_eq!(hundred.cells(), ["50.0 µs", "99.0 µs"]);
        assert_eq!((hundred.len(), hundred.rate()), (101, 2_020.0));
    }

    #[test]
    fn a_lone_duration_is_every_percentile_and_none_is_nothing() {
        assert_eq!(series([7], 1).percentile(0.5).as_micros(), 7);
        assert_eq!(series([7], 1).percentile(0.99).as_micros(), 7);
        assert_eq!(series([], 1).percentile(0.99), Duration::ZERO);
    }

    #[test]
    fn figures_are_written_for_people() {
        let times = [999, 1_500, 2_500_000].map(|us| time(Duration::from_micros(us)));
        assert_eq!(times, ["999.0 µs", "1.50 ms", "2.50 s"]);
        let counts = [0.8, 99.994, 100.0, 999.6, 1_234_567.0].map(count);
        assert_eq!(counts, ["0.80", "99.99", "100", "1,000", "1,234,567"]);
        assert_eq!([900.0, 12_300.0, 4_560_000.0].map(size), ["900 B", "12.3 kB", "4.6 MB"]);
    }

    #[test]
    fn a_field_of_a_process_is_found_by_its_whole_name() {
        let status = "VmRSSx: 1 kB\nnonvoluntary_ctxt_switches:\t9\nVmRSS:\t  2048 kB\n\
            voluntary_ctxt_switches:\t12\n";
        assert_eq!(field(status, "VmRSS:"), 2_048);
        assert_eq!(field(status, "voluntary_ctxt_switches:"), 12);
        assert_eq!(field(status, "Threads:"), 0);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 30 12 0 0";
        assert_eq!(ticks(&format!("77 (a) b (c) {rest}")), 42);
        assert_eq!(ticks("nonsense"), 0);
    }

    #[test]
    fn a_thread_that_ended_is_not_counted_backwards() {
        let of = |waits: &[(u32, u64)], ticks| Process {
            waits: waits.iter().copied().collect(),
            ticks,
            rss: 0,
        };
        let (before, after) = (of(&[(1, 10), (2, 500)], 3), of(&[(1, 14), (3, 5)], 8));
        assert_eq!(after.woken_since(&before), 9);
        assert_eq!(after.used_since(&before), Duration::from_millis(50));
        assert_eq!(after.threads(), 2);
    }

    #[test]
    fn this_process_has_memory_and_a_thread() {
        let own = Process::own().unwrap();
        assert!(own.rss > 0 && own.threads() > 0);
    }
}

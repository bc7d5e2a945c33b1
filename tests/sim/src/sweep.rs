//! Many worlds at once: each runs in one thread, byte for byte as it would alone, and as many run
//! side by side as there are cores.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// What did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// The file that says so.
    pub file: String,
    /// The line there.
    pub line: u32,
    /// What it says.
    pub words: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.words)
    }
}

/// A folding within a folding needs a deep stack, and a planted bug may bring about many.
const STACK_BYTES: usize = 64 << 20;

thread_local! {
    /// The last panic of this thread, for whoever catches it.
    static LAST: RefCell<Option<Broken>> = const { RefCell::new(None) };
}

/// Runs something that panics where something does not hold.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, Broken> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(keep)));
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let last = LAST.with(|last| last.borrow_mut().take());
        last.unwrap_or(Broken { file: String::new(), line: 0, words: "no words".to_owned() })
    })
}

fn keep(panic: &PanicHookInfo<'_>) {
    let file = panic.location().map(|at| at.file().to_owned()).unwrap_or_default();
    let line = panic.location().map_or(0, std::panic::Location::line);
    let words = panic.payload_as_str().unwrap_or("no words").to_owned();
    LAST.with(|last| *last.borrow_mut() = Some(Broken { file, line, words }));
}

/// How many worlds run side by side unless somebody says otherwise.
#[must_use]
pub fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Does `work` for each seed and returns what came of it, in the order of the seeds.
pub fn all<T: Send>(seeds: Range<u64>, jobs: usize, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let mut found = spread(seeds, jobs, |seed| Some(work(seed)), false);
    found.sort_by_key(|(seed, _)| *seed);
    found.into_iter().map(|(_, one)| one).collect()
}

/// Looks for the first seed of which `work` makes something.
pub fn first<T: Send>(
    seeds: Range<u64>,
    jobs: usize,
    work: impl Fn(u64) -> Option<T> + Sync,
) -> Option<(u64, T)> {
    let found = spread(seeds, jobs, work, true);
    found.into_iter().min_by_key(|(seed, _)| *seed)
}

/// Seeds are handed out in order: once one is found, all before it are under way already.
fn spread<T: Send>(
    seeds: Range<u64>,
    jobs: usize,
    work: impl Fn(u64) -> Option<T> + Sync,
    until_found: bool,
) -> Vec<(u64, T)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let turn = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Some(one) = work(seed) {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((seed, one));
                if until_found {
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, turn).expect("a thread can be started");
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_of_seeds_stands_in_their_order() {
        assert_eq!(all(3..40, 4, |seed| seed * 2), (3..40).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_seed_is_found_however_many_look() {
        let late = |seed: u64| (seed % 7 == 6).then_some(seed);
        assert_eq!(first(0..100, 3, late), Some((6, 6)));
        assert_eq!(first(0..6, 3, late), None);
    }

    #[test]
    fn what_does_not_hold_says_where() {
        let broken = attempt(|| assert_eq!(1, 2, "numbers")).unwrap_err();
        assert!(broken.file.ends_with("sweep.rs") && broken.words.contains("numbers"));
        assert_eq!(attempt(|| 3), Ok(3));
    }
}

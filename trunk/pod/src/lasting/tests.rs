//! An index that fails while it is read, and its folder that does not open.

use super::*;
use rhizome_log::scan_prefix;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An index that answers as often as it is told, and then never again.
struct Failing {
    below: MemoryIndex,
    left: AtomicUsize,
}

impl Failing {
    fn filled(keys: u8, left: usize) -> Arc<Self> {
        let below = MemoryIndex::default();
        let mut batch = Batch::default();
        (0..keys).for_each(|key| batch.put(vec![1, key], vec![key]));
        below.write(batch).unwrap();
        Arc::new(Self { below, left: AtomicUsize::new(left) })
    }

    fn answers(&self) -> Result<(), IndexError> {
        let take = |left: usize| left.checked_sub(1);
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        taken.map(drop).map_err(|_| IndexError { what: "no space left".to_owned() })
    }
}

impl Index for Failing {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.answers()?;
        self.below.get(key)
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        let mut failed = None;
        self.below.scan(from, to, reverse, &mut |key, value| match self.answers() {
            Ok(()) => visit(key, value),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.answers()?;
        self.below.write(batch)
    }
}

/// Does what the actor does: waits until somebody could not read, and shows another index.
async fn mend(index: &LastingIndex, other: Arc<dyn Index>) {
    index.broken().await;
    assert!(index.is_broken());
    index.hide();
    index.show(other);
    assert!(!index.is_broken());
}

fn scanned(index: &LastingIndex, reverse: bool) -> Vec<u8> {
    let mut seen = Vec::new();
    let scanned = scan_prefix(index, &[1], reverse, &mut |_, value| {
        seen.extend_from_slice(value);
        ControlFlow::Continue(())
    });
    scanned.unwrap();
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_a_failing_index_is_answered_by_the_next() {
    let lasting = Arc::new(LastingIndex::new(Failing::filled(3, 1), true));
    assert_eq!(lasting.get(&[1, 2]).unwrap(), Some(vec![2]));
    let reader = Arc::clone(&lasting);
    let reading = tokio::spawn(async move { reader.get(&[1, 1]) });
    mend(&lasting, Failing::filled(3, 9)).await;
    assert_eq!(reading.await.unwrap().unwrap(), Some(vec![1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_the_next_index_holds_on_to_none() {
    let failing = Failing::filled(1, 0);
    let gone = Arc::downgrade(&failing);
    let lasting = Arc::new(LastingIndex::new(failing, true));
    let reader = Arc::clone(&lasting);
    let reading = tokio::spawn(async move { reader.get(&[1, 0]) });
    lasting.broken().await;
    lasting.hide();
    assert!(gone.upgrade().is_none(), "its folder would stay locked");
    lasting.show(Failing::filled(1, 1));
    assert_eq!(reading.await.unwrap().unwrap(), Some(vec![0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_goes_on_where_the_index_failed() {
    for reverse in [false, true] {
        let lasting = Arc::new(LastingIndex::new(Failing::filled(6, 4), true));
        let reader = Arc::clone(&lasting);
        let reading = tokio::spawn(async move { scanned(&reader, reverse) });
        mend(&lasting, Failing::filled(6, 9)).await;
        let mut seen = reading.await.unwrap();
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5], "reverse: {reverse}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_where_no_other_index_will_come() {
    let shared = LastingIndex::new(Failing::filled(1, 0), false);
    assert!(shared.get(&[1, 0]).is_err());
    assert!(!shared.is_broken());
    let ended = Arc::new(LastingIndex::new(Failing::filled(1, 0), true));
    let reader = Arc::clone(&ended);
    let reading = tokio::spawn(async move { reader.get(&[1, 0]) });
    ended.broken().await;
    ended.end();
    assert!(reading.await.unwrap().is_err());
}

#[test]
fn an_index_that_does_not_open_is_built_anew_where_nobody_shares_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    std::fs::write(&path, "no folder").unwrap();
    assert!(Shelf::new(&path).on_disk_or_in_memory().is_err());
    assert!(path.is_file());
    std::fs::remove_file(&path).unwrap();
    drop(Shelf::new(&path).open(0).unwrap());
    std::fs::write(path.join("conf"), "no configuration").unwrap();
    assert!(Shelf::new(&path).on_disk_or_in_memory().is_err());
    let opened = Shelf::new(&path).open(0).unwrap();
    assert!(!opened.in_memory);
    assert_eq!(opened.index.get(&[7]).unwrap(), None);
}

#[test]
fn an_index_that_fails_twice_is_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut renewal = Renewal::new(Shelf::new(&folder.path().join("index")), false);
    let put = |index: &dyn Index| {
        let mut batch = Batch::default();
        batch.put(vec![7], vec![7]);
        index.write(batch).unwrap();
    };
    put(&*Shelf::new(&folder.path().join("index")).open(0).unwrap().index);
    assert_eq!(renewal.open().unwrap().get(&[7]).unwrap(), Some(vec![7]), "it is tried once");
    assert_eq!(renewal.open().unwrap().get(&[7]).unwrap(), None);
}

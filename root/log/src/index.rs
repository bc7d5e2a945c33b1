//! The index: one ordered map of bytes that everything rebuildable lives in.
//!
//! Positions of events, views of documents and query indexes are all derived from the logs, so
//! losing the index loses time and nothing else. Reads are synchronous, because a pure machine
//! cannot wait. `root/store` keeps it in sled; [`MemoryIndex`] is its twin for tests, browsers and
//! the simulator, and both pass one shared test suite.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{PoisonError, RwLock};

/// Why the index could not answer.
#[derive(Debug, thiserror::Error)]
#[error("index cannot be used: {what}")]
pub struct IndexError {
    /// What the storage below said.
    pub what: String,
}

/// Changes that become visible together or not at all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// Key and new value (`None` removes), later ones winning.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Removes `key`.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), None));
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What a scan calls for each key and value, in key order; `Break` ends it.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// An ordered map of bytes.
///
/// The first byte of a key says whose it is; the spaces are listed in `docs/format/index.md`.
pub trait Index: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// Visits the keys between the bounds, ascending, or descending if `reverse`.
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError>;

    /// Applies `batch` whole or not at all, after a crash too. It may be lost in a crash, but then
    /// so is every later one.
    fn write(&self, batch: Batch) -> Result<(), IndexError>;
}

/// The first key after all keys that start with `prefix` (`None`: there is no such key).
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Visits every key that starts with `prefix`, ascending, or descending if `reverse`.
pub fn scan_prefix(
    index: &dyn Index,
    prefix: &[u8],
    reverse: bool,
    visit: &mut Visit<'_>,
) -> Result<(), IndexError> {
    let end = prefix_end(prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    index.scan(Bound::Included(prefix), to, reverse, visit)
}

/// An [`Index`] in memory.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    map: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Index for MemoryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.map.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut range = map.range::<[u8], _>((from, to));
        loop {
            let next = if reverse { range.next_back() } else { range.next() };
            let Some((key, value)) = next else { return Ok(()) };
            if visit(key, value).is_break() {
                return Ok(());
            }
        }
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch.changes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }
}

/// Reads through pending changes to the index below, so that a series of steps sees its own work
/// and becomes visible as one [`Batch`].
pub struct Overlay<'a> {
    below: &'a dyn Index,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    /// Starts without changes.
    #[must_use]
    pub fn new(below: &'a dyn Index) -> Self {
        Self { below, changes: BTreeMap::new() }
    }

    /// The value of `key`, changes included.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.below.get(key),
        }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Removes `key`.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), None);
    }

    /// Visits every key that starts with `prefix`, ascending, changes included.
    pub fn scan_prefix(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
        self.scan(prefix, prefix_end(prefix).as_deref(), visit)
    }

    /// Visits the keys from `from` (included) to `to` (excluded), ascending, changes included.
    pub fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        if is_empty_range(Bound::Included(from), to) {
            return Ok(());
        }
        let mut ours = self.changes.range::<[u8], _>((Bound::Included(from), to)).peekable();
        let mut stopped = false;
        self.below.scan(Bound::Included(from), to, false, &mut |key, value| {
            while let Some((k, v)) = ours.next_if(|(k, _)| k.as_slice() < key) {
                if v.as_ref().is_some_and(|v| visit(k, v).is_break()) {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let flow = match ours.next_if(|(k, _)| k.as_slice() == key) {
                Some((_, Some(changed))) => visit(key, changed),
                Some((_, None)) => ControlFlow::Continue(()),
                None => visit(key, value),
            };
            stopped = flow.is_break();
            flow
        })?;
        if !stopped {
            for (key, value) in ours {
                if value.as_ref().is_some_and(|value| visit(key, value).is_break()) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, to be written in one go.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        Batch { changes: self.changes.into_iter().collect() }
    }
}

/// `BTreeMap::range` panics on a range that ends before it starts; a scan finds nothing there.
fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

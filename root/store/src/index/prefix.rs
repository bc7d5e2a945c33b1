//! Many indexes in one: each sees the keys behind its prefix.

use super::FlushIndex;
use rhizome_log::{Batch, Index, IndexError, Visit, prefix_end};
use std::ops::Bound;
use std::sync::Arc;

/// The part of another index behind a prefix, so that many identities share one database.
///
/// No prefix of one index may begin another's; the hash of the identity makes a good one.
pub struct PrefixIndex<I: ?Sized> {
    inner: Arc<I>,
    prefix: Vec<u8>,
}

impl<I: Index + ?Sized> PrefixIndex<I> {
    /// Sees the keys of `inner` that begin with `prefix`, without it.
    #[must_use]
    pub fn new(inner: Arc<I>, prefix: impl Into<Vec<u8>>) -> Self {
        Self { inner, prefix: prefix.into() }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn bound(&self, bound: Bound<&[u8]>) -> Option<Bound<Vec<u8>>> {
        match bound {
            Bound::Included(key) => Some(Bound::Included(self.key(key))),
            Bound::Excluded(key) => Some(Bound::Excluded(self.key(key))),
            Bound::Unbounded => None,
        }
    }
}

impl<I: Index + ?Sized> Index for PrefixIndex<I> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.inner.get(&self.key(key))
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        let from = self.bound(from).unwrap_or_else(|| Bound::Included(self.prefix.clone()));
        let to = self
            .bound(to)
            .unwrap_or_else(|| prefix_end(&self.prefix).map_or(Bound::Unbounded, Bound::Excluded));
        let (from, to) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        self.inner
            .scan(from, to, reverse, &mut |key, value| visit(&key[self.prefix.len()..], value))
    }

    fn write(&self, mut batch: Batch) -> Result<(), IndexError> {
        for (key, _) in &mut batch.changes {
            key.splice(..0, self.prefix.iter().copied());
        }
        self.inner.write(batch)
    }
}

impl<I: FlushIndex + ?Sized> FlushIndex for PrefixIndex<I> {
    fn flush(&self) -> Result<(), IndexError> {
        self.inner.flush()
    }
}

//! Walking several sorted sources at once, the newest counting where several have a key.

use super::page::Entry;
use super::sheet::Cursor;
use rhizome_log::IndexError;
use std::collections::btree_map::Range;
use std::iter::{Peekable, Rev};

/// Changes of a sorted map.
pub(super) type Changes<'a> = Range<'a, Vec<u8>, Option<Vec<u8>>>;

/// One source, in one direction.
pub(super) enum Source<'a> {
    Sheet(Cursor),
    Map(Peekable<Changes<'a>>),
    MapReversed(Peekable<Rev<Changes<'a>>>),
}

impl Source<'_> {
    fn peek(&mut self) -> Option<Entry<'_>> {
        let entry = match self {
            Self::Sheet(cursor) => return cursor.peek(),
            Self::Map(map) => map.peek(),
            Self::MapReversed(map) => map.peek(),
        };
        entry.map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    fn advance(&mut self) -> Result<(), IndexError> {
        match self {
            Self::Sheet(cursor) => cursor.advance()?,
            Self::Map(map) => drop(map.next()),
            Self::MapReversed(map) => drop(map.next()),
        }
        Ok(())
    }
}

/// All sources together.
pub(super) struct Walk<'a> {
    /// Newest first.
    sources: Vec<Source<'a>>,
    reverse: bool,
    key: Vec<u8>,
    /// Sources that stand on the key.
    same: Vec<usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(sources: Vec<Source<'a>>, reverse: bool) -> Self {
        Self { sources, reverse, key: Vec::new(), same: Vec::new() }
    }

    /// Hands the next entry to `take`; `false` once there is none. An entry without a value hides
    /// those beneath it, and is handed over too.
    pub(super) fn next<T>(
        &mut self,
        take: impl FnOnce(&[u8], Option<&[u8]>) -> T,
    ) -> Result<Option<T>, IndexError> {
        self.same.clear();
        for (n, source) in self.sources.iter_mut().enumerate() {
            let Some((key, _)) = source.peek() else { continue };
            let order = match self.same.is_empty() {
                true => std::cmp::Ordering::Less,
                false if self.reverse => self.key.as_slice().cmp(key),
                false => key.cmp(self.key.as_slice()),
            };
            if order.is_lt() {
                self.same.clear();
                self.key.clear();
                self.key.extend_from_slice(key);
            }
            if order.is_le() {
                self.same.push(n);
            }
        }
        let Some(newest) = self.same.first() else { return Ok(None) };
        let (key, value) = self.sources[*newest].peek().expect("it stands on the key");
        let taken = take(key, value);
        for n in &self.same {
            self.sources[*n].advance()?;
        }
        Ok(Some(taken))
    }
}

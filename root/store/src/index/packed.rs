//! Many rows in one: keys that end in a number that counts up lie together in pages.
//!
//! sled takes a key in some 10 µs, however small. Rows that are written in the order of their
//! numbers (events, entries of the order) come in stretches, so a page of them costs as much as one
//! row would. All other keys reach the index below as they are. Pages are drawn in
//! `docs/format/index-root.md`.

use super::{FlushIndex, is_empty_range};
use rhizome_block::{decode_own, encode};
use rhizome_log::{Batch, Index, IndexError, Visit};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::{Mutex, PoisonError};

/// How many numbers share a page: rows of some 200 bytes then make 3 KiB, of which sled keeps many
/// in a node.
const PAGE_ROWS: u8 = 16;

/// How long the keys are that begin like this one, if they end in a number that counts up, big end
/// first. Keys that begin like that must not be longer.
pub type Numbered = fn(&[u8]) -> Option<usize>;

/// An [`Index`] that keeps numbered rows in pages of another one.
pub struct PackedIndex<I> {
    below: I,
    numbered: Numbered,
    /// Held while pages are read, changed and written.
    writing: Mutex<()>,
}

/// Rows of a page by the last digit of their number, ascending.
type Page = Vec<(u8, ByteBuf)>;

impl<I: FlushIndex> PackedIndex<I> {
    /// Packs the keys for which `numbered` gives their own length.
    #[must_use]
    pub fn new(below: I, numbered: Numbered) -> Self {
        Self { below, numbered, writing: Mutex::new(()) }
    }

    /// The page of a key and its place there, if it is packed.
    fn place(&self, key: &[u8]) -> Option<(Vec<u8>, u8)> {
        (self.numbered)(key).filter(|bytes| *bytes == key.len()).map(|_| place(key))
    }

    fn page(&self, key: &[u8]) -> Result<Option<Page>, IndexError> {
        self.below.get(key)?.map(|bytes| read(&bytes)).transpose()
    }

    /// Hands `batch` on, its packed rows as whole pages.
    fn pack(&self, batch: Batch) -> Result<Batch, IndexError> {
        let mut packed = Batch::default();
        let mut pages: BTreeMap<Vec<u8>, Page> = BTreeMap::new();
        for (key, value) in batch.changes {
            let Some((at, row)) = self.place(&key) else {
                packed.changes.push((key, value));
                continue;
            };
            let page = match pages.entry(at) {
                Entry::Occupied(page) => page.into_mut(),
                Entry::Vacant(free) => {
                    let page = self.page(free.key())?.unwrap_or_default();
                    free.insert(page)
                }
            };
            set(page, row, value);
        }
        for (key, page) in pages {
            let bytes = (!page.is_empty()).then(|| encode(&page)).transpose();
            packed.changes.push((key, bytes.map_err(|error| damaged(&error))?));
        }
        Ok(packed)
    }

    /// Visits the rows of a page that lie in the range.
    fn visit_page(
        &self,
        at: &[u8],
        bytes: &[u8],
        range: (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, IndexError> {
        let page = read(bytes)?;
        let mut key = at.to_vec();
        let last = key.len() - 1;
        let first = key[last];
        let mut show = |(row, value): &(u8, ByteBuf)| {
            key[last] = first | row;
            if range.contains(&key[..]) { visit(&key, value) } else { ControlFlow::Continue(()) }
        };
        let mut rows = page.iter();
        Ok(if reverse {
            rows.by_ref().rev().try_for_each(&mut show)
        } else {
            rows.try_for_each(&mut show)
        })
    }

    /// From where the index below must be scanned to meet the page that holds `from`.
    fn scan_from(&self, from: Bound<&[u8]>) -> Bound<Vec<u8>> {
        let (Bound::Included(key) | Bound::Excluded(key)) = from else { return Bound::Unbounded };
        match (self.numbered)(key) {
            Some(bytes) if bytes <= key.len() => Bound::Included(place(&key[..bytes]).0),
            _ => from.map(<[u8]>::to_vec),
        }
    }
}

/// The page of a packed key, and its place there.
fn place(key: &[u8]) -> (Vec<u8>, u8) {
    let mut page = key.to_vec();
    let Some(digit) = page.last_mut() else { return (page, 0) };
    let row = *digit % PAGE_ROWS;
    *digit -= row;
    (page, row)
}

fn set(page: &mut Page, row: u8, value: Option<Vec<u8>>) {
    let found = page.binary_search_by_key(&row, |(row, _)| *row);
    match (found, value) {
        (Ok(at), Some(value)) => page[at].1 = ByteBuf::from(value),
        (Ok(at), None) => drop(page.remove(at)),
        (Err(at), Some(value)) => page.insert(at, (row, ByteBuf::from(value))),
        (Err(_), None) => {}
    }
}

fn read(bytes: &[u8]) -> Result<Page, IndexError> {
    decode_own(bytes).map_err(|error| damaged(&error))
}

fn damaged(error: &rhizome_block::CborError) -> IndexError {
    IndexError { what: format!("a page of rows: {error}") }
}

impl<I: FlushIndex> Index for PackedIndex<I> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let Some((at, row)) = self.place(key) else { return self.below.get(key) };
        let Some(mut page) = self.page(&at)? else { return Ok(None) };
        let found = page.binary_search_by_key(&row, |(row, _)| *row);
        Ok(found.ok().map(|at| page.swap_remove(at).1.into_vec()))
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
        let start = self.scan_from(from);
        let mut wrong = Ok(());
        self.below.scan(start.as_ref().map(Vec::as_slice), to, reverse, &mut |key, value| {
            if self.place(key).is_none() {
                return visit(key, value);
            }
            self.visit_page(key, value, (from, to), reverse, visit).unwrap_or_else(|error| {
                wrong = Err(error);
                ControlFlow::Break(())
            })
        })?;
        wrong
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.below.write(self.pack(batch)?)
    }
}

impl<I: FlushIndex> FlushIndex for PackedIndex<I> {
    fn flush(&self) -> Result<(), IndexError> {
        self.below.flush()
    }

    fn write_hidden(&self, batch: Batch) -> Result<(), IndexError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.below.write_hidden(self.pack(batch)?)
    }
}

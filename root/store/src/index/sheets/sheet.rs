//! A sheet: many entries in key order in one file that is written once and never changed.
//!
//! Drawn in `docs/format/sheet.md`. Its directory (first keys of pages, and the filter) is held in
//! memory; pages are read when they are needed, and checked.

use super::bytes::{CHECK_BYTES, Reader, checked, damaged};
use super::page::{Page, find};
use super::{filter, index_error};
use crate::platform;
use rhizome_log::IndexError;
use std::fs::File;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a sheet of version 1 begins.
pub(super) const MAGIC: [u8; 8] = *b"rhizsht\x01";

/// Where the directory begins and how long it is, at the very end.
pub(super) const FOOTER_BYTES: usize = 16;

/// A sheet that is whole.
pub(super) struct Sheet {
    /// Its number, counted from 1.
    pub(super) id: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    file: File,
    path: PathBuf,
    directory: Directory,
    /// Whether the file goes when nobody reads it any more.
    obsolete: AtomicBool,
}

/// What is known of a sheet without reading its pages.
#[derive(Default)]
pub(super) struct Directory {
    /// Where each page begins, and where the last one ends.
    pub(super) offsets: Vec<u64>,
    /// First keys of the pages, one after the other, and where each ends.
    pub(super) keys: Vec<u8>,
    pub(super) key_ends: Vec<usize>,
    pub(super) filter: Vec<u8>,
}

impl Directory {
    pub(super) fn pages(&self) -> usize {
        self.key_ends.len()
    }

    fn first_key(&self, page: usize) -> &[u8] {
        let start = page.checked_sub(1).map_or(0, |before| self.key_ends[before]);
        &self.keys[start..self.key_ends[page]]
    }

    /// How many pages begin with a key for which `after` does not hold.
    fn before(&self, after: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.pages());
        while low < high {
            let middle = usize::midpoint(low, high);
            if after(self.first_key(middle)) { high = middle } else { low = middle + 1 }
        }
        low
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(checked(bytes)?);
        let mut directory = Self { offsets: vec![MAGIC.len() as u64], ..Self::default() };
        for _ in 0..reader.number()? {
            let end = directory.offsets.last()?.checked_add(reader.number()?)?;
            directory.offsets.push(end);
            let length = reader.length()?;
            directory.keys.extend_from_slice(reader.take(length)?);
            directory.key_ends.push(directory.keys.len());
        }
        let length = reader.length()?;
        directory.filter = reader.take(length)?.to_vec();
        reader.is_empty().then_some(directory)
    }
}

/// The name of a sheet's file.
pub(super) fn file_name(id: u64) -> String {
    format!("{id:08}.sheet")
}

impl Sheet {
    pub(super) fn new(
        id: u64,
        path: PathBuf,
        file: File,
        bytes: u64,
        directory: Directory,
    ) -> Self {
        Self { id, bytes, file, path, directory, obsolete: AtomicBool::new(false) }
    }

    /// Opens the sheet of this number, which must have `bytes` bytes.
    pub(super) fn open(folder: &Path, id: u64, bytes: u64) -> Result<Self, IndexError> {
        let path = folder.join(file_name(id));
        let file = platform::open_file(&path).map_err(|error| index_error(&path, &error))?;
        let whole = || damaged(&format!("sheet {id}"));
        let found = file.metadata().map_err(|error| index_error(&path, &error))?.len();
        let footer = found.checked_sub(FOOTER_BYTES as u64).ok_or_else(whole)?;
        if found != bytes || read(&file, 0, MAGIC.len()).map_err(|_| whole())? != MAGIC {
            return Err(whole());
        }
        let ends = read(&file, footer, FOOTER_BYTES).map_err(|_| whole())?;
        let (at, length) = ends.split_first_chunk::<8>().ok_or_else(whole)?;
        let (length, _) = length.split_first_chunk::<8>().ok_or_else(whole)?;
        let (at, length) = (u64::from_be_bytes(*at), u64::from_be_bytes(*length));
        if at.checked_add(length) != Some(footer) {
            return Err(whole());
        }
        let length = usize::try_from(length).map_err(|_| whole())?;
        let bytes = read(&file, at, length).map_err(|_| whole())?;
        let directory = Directory::read(&bytes).ok_or_else(whole)?;
        if directory.offsets.last() != Some(&at) {
            return Err(whole());
        }
        Ok(Self::new(id, path, file, found, directory))
    }

    /// The value of `key`, whose hash is given: `None` if the sheet says nothing of the key.
    pub(super) fn get(&self, key: &[u8], hash: u64) -> Result<Option<Option<Vec<u8>>>, IndexError> {
        if !filter::may_hold(&self.directory.filter, hash) {
            return Ok(None);
        }
        let Some(page) = self.directory.before(|first| first > key).checked_sub(1) else {
            return Ok(None);
        };
        let bytes = self.page_bytes(page)?;
        let found = find(&bytes[..bytes.len() - CHECK_BYTES], key);
        let found = found.map_err(|()| self.is_damaged())?;
        Ok(found.map(|value| value.map(<[u8]>::to_vec)))
    }

    /// Lets the file go once nobody reads it any more.
    pub(super) fn retire(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    fn is_damaged(&self) -> IndexError {
        damaged(&format!("sheet {}", self.id))
    }

    /// A page with its checksum, which is right.
    fn page_bytes(&self, page: usize) -> Result<Vec<u8>, IndexError> {
        let Range { start, end } = self.directory.offsets[page]..self.directory.offsets[page + 1];
        let length = usize::try_from(end - start).map_err(|_| self.is_damaged())?;
        let bytes =
            read(&self.file, start, length).map_err(|error| index_error(&self.path, &error))?;
        match checked(&bytes) {
            Some(_) => Ok(bytes),
            None => Err(self.is_damaged()),
        }
    }

    fn page(&self, page: usize) -> Result<Page, IndexError> {
        let bytes = self.page_bytes(page)?;
        Page::read(&bytes[..bytes.len() - CHECK_BYTES]).ok_or_else(|| self.is_damaged())
    }
}

impl Drop for Sheet {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, sheet = self.id, "an old sheet stays; opening removes it");
        }
    }
}

fn read(file: &File, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let found = platform::read_at(file, offset, &mut bytes)?;
    if found == length { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// Walks the entries of a sheet between two bounds, in one direction.
pub(super) struct Cursor {
    sheet: Arc<Sheet>,
    reverse: bool,
    /// Where the walk ends: the upper bound, or the lower one in reverse.
    end: Bound<Vec<u8>>,
    page_at: usize,
    page: Page,
    /// The entry the cursor stands on.
    at: Option<usize>,
}

impl Cursor {
    /// Stands on the first entry between the bounds; in reverse, on the last.
    pub(super) fn new(
        sheet: Arc<Sheet>,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
    ) -> Result<Self, IndexError> {
        let (start, end) = if reverse { (to, from) } else { (from, to) };
        // Pages whose first key lies before the start, or on it: the last of them holds the start.
        let page_at = match (start, reverse) {
            (Bound::Unbounded, false) => 0,
            (Bound::Unbounded, true) => sheet.directory.pages().saturating_sub(1),
            (Bound::Included(key) | Bound::Excluded(key), _) => {
                sheet.directory.before(|first| first > key).saturating_sub(1)
            }
        };
        let end = end.map(<[u8]>::to_vec);
        let mut cursor = Self { sheet, reverse, end, page_at, page: Page::default(), at: None };
        if cursor.sheet.directory.pages() == 0 {
            return Ok(cursor);
        }
        cursor.page = cursor.sheet.page(page_at)?;
        let at = match start {
            Bound::Unbounded if reverse => cursor.page.len(),
            Bound::Unbounded => 0,
            // In reverse the cursor begins before what lies beyond the start.
            Bound::Included(start) if reverse => cursor.page.position(|key| key > start),
            Bound::Excluded(start) if reverse => cursor.page.position(|key| key >= start),
            Bound::Included(start) => cursor.page.position(|key| key >= start),
            Bound::Excluded(start) => cursor.page.position(|key| key > start),
        };
        cursor.at = if reverse { at.checked_sub(1) } else { Some(at) };
        cursor.settle()?;
        Ok(cursor)
    }

    /// The entry the cursor stands on.
    pub(super) fn peek(&self) -> Option<super::page::Entry<'_>> {
        self.at.map(|at| self.page.entry(at))
    }

    /// Goes on to the next entry.
    pub(super) fn advance(&mut self) -> Result<(), IndexError> {
        let Some(at) = self.at else { return Ok(()) };
        self.at = if self.reverse { at.checked_sub(1) } else { Some(at + 1) };
        self.settle()
    }

    fn turn(&mut self, page_at: usize) -> Result<(), IndexError> {
        self.page = self.sheet.page(page_at)?;
        self.page_at = page_at;
        Ok(())
    }

    /// Turns the page behind the last entry of one, and stops at the end of the walk.
    fn settle(&mut self) -> Result<(), IndexError> {
        if !self.reverse && self.at.is_some_and(|at| at >= self.page.len()) {
            self.at = None;
            if self.page_at + 1 < self.sheet.directory.pages() {
                self.turn(self.page_at + 1)?;
                self.at = (self.page.len() > 0).then_some(0);
            }
        }
        if self.reverse && self.at.is_none() && self.page_at > 0 {
            self.turn(self.page_at - 1)?;
            self.at = self.page.len().checked_sub(1);
        }
        let within = |key: &[u8]| match (&self.end, self.reverse) {
            (Bound::Unbounded, _) => true,
            (Bound::Included(end), false) => key <= end.as_slice(),
            (Bound::Excluded(end), false) => key < end.as_slice(),
            (Bound::Included(end), true) => key >= end.as_slice(),
            (Bound::Excluded(end), true) => key > end.as_slice(),
        };
        if self.peek().is_some_and(|(key, _)| !within(key)) {
            self.at = None;
        }
        Ok(())
    }
}

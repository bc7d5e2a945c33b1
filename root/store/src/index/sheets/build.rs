//! Writing a sheet, page by page, from entries that come in key order.

use super::bytes::{put_check, put_number};
use super::page::PageWriter;
use super::sheet::{Directory, MAGIC, Sheet, file_name};
use super::{filter, index_error};
use crate::platform;
use rhizome_log::IndexError;
use std::fs::File;
use std::path::{Path, PathBuf};

/// From how many bytes on a page is closed. A read takes a whole page: larger ones cost reads
/// time, smaller ones make the directory in memory long.
const PAGE_BYTES: usize = 8 << 10;

/// How many bytes are handed to the disk at once.
const WRITE_BYTES: usize = 1 << 20;

/// A sheet being written. Dropped unfinished, it leaves nothing behind.
pub(super) struct SheetWriter {
    id: u64,
    path: PathBuf,
    file: Option<File>,
    /// Bytes that are in the file already, and those that follow.
    written: u64,
    out: Vec<u8>,
    page: PageWriter,
    first_key: Vec<u8>,
    directory: Directory,
    hashes: Vec<u64>,
}

impl SheetWriter {
    pub(super) fn create(folder: &Path, id: u64) -> Result<Self, IndexError> {
        let path = folder.join(file_name(id));
        let file = platform::create_file(&path).map_err(|error| index_error(&path, &error))?;
        let offsets = vec![MAGIC.len() as u64];
        Ok(Self {
            id,
            path,
            file: Some(file),
            written: 0,
            out: MAGIC.to_vec(),
            page: PageWriter::default(),
            first_key: Vec::new(),
            directory: Directory { offsets, ..Directory::default() },
            hashes: Vec::new(),
        })
    }

    /// Adds an entry, whose key must be greater than all before.
    pub(super) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), IndexError> {
        if self.page.bytes.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
        self.page.push(key, value);
        self.hashes.push(filter::hash(key));
        if self.page.bytes.len() >= PAGE_BYTES { self.close_page() } else { Ok(()) }
    }

    /// Ends the sheet and makes it durable.
    pub(super) fn finish(mut self) -> Result<Sheet, IndexError> {
        self.close_page()?;
        self.directory.filter = filter::build(&self.hashes);
        let at = self.written + self.out.len() as u64;
        let start = self.out.len();
        self.put_directory();
        put_check(&mut self.out, start);
        let length = (self.out.len() - start) as u64;
        self.out.extend_from_slice(&at.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        self.hand_over()?;
        let file = self.file.take().expect("the file is there until the sheet is finished");
        let folder = self.path.parent().expect("a sheet lies in a folder");
        file.sync_data()
            .and_then(|()| platform::sync_folder(folder))
            .map_err(|error| index_error(&self.path, &error))?;
        let directory = std::mem::take(&mut self.directory);
        Ok(Sheet::new(self.id, self.path.clone(), file, self.written, directory))
    }

    fn put_directory(&mut self) {
        let directory = &self.directory;
        put_number(&mut self.out, directory.pages() as u64);
        let mut key_start = 0;
        for (page, key_end) in directory.key_ends.iter().enumerate() {
            let bytes = directory.offsets[page + 1] - directory.offsets[page];
            let key = &directory.keys[key_start..*key_end];
            put_number(&mut self.out, bytes);
            put_number(&mut self.out, key.len() as u64);
            self.out.extend_from_slice(key);
            key_start = *key_end;
        }
        put_number(&mut self.out, directory.filter.len() as u64);
        self.out.extend_from_slice(&directory.filter);
    }

    fn close_page(&mut self) -> Result<(), IndexError> {
        if self.page.bytes.is_empty() {
            return Ok(());
        }
        let start = self.out.len();
        self.out.extend_from_slice(&self.page.bytes);
        put_check(&mut self.out, start);
        self.page.clear();
        self.directory.offsets.push(self.written + self.out.len() as u64);
        self.directory.keys.extend_from_slice(&self.first_key);
        self.directory.key_ends.push(self.directory.keys.len());
        if self.out.len() >= WRITE_BYTES { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), IndexError> {
        let file = self.file.as_ref().expect("the file is there until the sheet is finished");
        platform::write_at(file, self.written, &self.out)
            .map_err(|error| index_error(&self.path, &error))?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
}

impl Drop for SheetWriter {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, sheet = self.id, "half a sheet stays; opening removes it");
        }
    }
}

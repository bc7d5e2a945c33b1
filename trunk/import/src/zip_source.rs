//! A source over a zip archive from somewhere unknown.
//!
//! Names, links, encryption, duplicates and sizes are checked when the archive is opened; how much
//! an entry really inflates to is checked while it inflates. Nothing is ever unpacked to a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use zip::ZipArchive;
use zip::read::ZipFileEntry;
use zip::result::ZipError;

use crate::names::cut;
use crate::path::{SEGMENT_BYTES_MAX, safe_path};
use crate::source::{Entry, Listed, Refusal, Source, SourceError};
use crate::time;

/// How many entries are taken: ten times the largest exports seen, and a directory fits in memory.
pub const ZIP_ENTRIES_MAX: u64 = 500_000;

/// How many times longer than its compressed form an entry may be. Honest text reaches 20, logs
/// 100; deflate ends at 1,032, and bombs live up there.
pub const ZIP_RATIO_MAX: u64 = 200;

/// Entries up to this length are taken whatever their ratio: they hurt nobody.
pub const ZIP_RATIO_SLACK_BYTES: u64 = 1 << 20;

/// Where the end of the directory can be: a record of 22 bytes and a comment of at most 65,535.
const TAIL_BYTES: u64 = 22 + 65_535;

/// How much is inflated at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Fixed part of one directory header.
const HEADER_BYTES: u64 = 46;

/// Why an archive is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZipOpenError {
    /// It is no zip archive, or a broken one.
    #[error("not a readable zip archive")]
    Archive {
        /// What the archive reader said.
        #[from]
        source: ZipError,
    },
    /// The file could not be read.
    #[error("cannot read the archive")]
    Read {
        /// What the reader said.
        #[from]
        source: std::io::Error,
    },
    /// It declares more entries than are taken, or more than can be in it.
    #[error("archive declares {entries} entries, which it cannot or should not have")]
    TooManyEntries {
        /// What it declares.
        entries: u64,
    },
    /// Its directory does not lie where it says.
    #[error("directory of the archive is damaged")]
    Directory,
    /// Its entries share bytes, so that it inflates to far more than it is.
    #[error("entries of the archive overlap: looks like a zip bomb")]
    Overlapping,
}

/// A zip archive whose entries can be read.
pub struct ZipSource<R> {
    archive: Mutex<ZipArchive<R>>,
    listed: Vec<Listed>,
    entries: BTreeMap<String, (usize, u64)>,
}

impl<R: Read + Seek> ZipSource<R> {
    /// Opens an archive and checks its directory.
    ///
    /// # Errors
    ///
    /// When the archive as a whole cannot be trusted; single bad entries are listed as refused.
    pub fn open(mut reader: R) -> Result<ZipSource<R>, ZipOpenError> {
        let length = reader.seek(SeekFrom::End(0))?;
        check_claims(&mut reader, length)?;
        let mut archive = ZipArchive::new(reader)?;
        if archive.len() as u64 > ZIP_ENTRIES_MAX {
            return Err(ZipOpenError::TooManyEntries { entries: archive.len() as u64 });
        }
        let mut repeated = BTreeSet::new();
        if archive.has_duplicate_names() {
            let directory_start = archive.central_directory_start();
            let mut reader = archive.into_inner();
            repeated = repeated_names(&mut reader, directory_start)?;
            archive = ZipArchive::new(reader)?;
        }
        let mut opened = ZipSource {
            archive: Mutex::new(archive),
            listed: Vec::new(),
            entries: BTreeMap::new(),
        };
        opened.list(length, &repeated)?;
        Ok(opened)
    }

    fn list(&mut self, length: u64, repeated: &BTreeSet<Vec<u8>>) -> Result<(), ZipOpenError> {
        let archive = self.archive.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut compressed_total = 0_u64;
        let mut taken: BTreeMap<String, (usize, u64)> = BTreeMap::new();
        let mut twice: BTreeSet<String> = BTreeSet::new();
        for index in 0..archive.len() {
            let file = archive.by_index_data(index)?;
            compressed_total = compressed_total.saturating_add(file.compressed_size());
            if file.is_dir() {
                continue;
            }
            let outcome = match checked(&file) {
                Ok(_) if repeated.contains(file.name_raw()) => Err(Refusal::Duplicate),
                other => other,
            };
            match outcome {
                Ok(entry) => {
                    if taken.insert(entry.path.clone(), (index, file.compressed_size())).is_some() {
                        twice.insert(entry.path.clone());
                    }
                    self.listed.push(Listed::Entry(entry));
                }
                Err(reason) => {
                    let path = shown(file.name_raw());
                    self.listed.push(Listed::Refused { path, reason });
                }
            }
        }
        if compressed_total > length {
            return Err(ZipOpenError::Overlapping);
        }
        for listed in &mut self.listed {
            if twice.contains(listed.path()) {
                let path = listed.path().to_owned();
                taken.remove(&path);
                *listed = Listed::Refused { path, reason: Refusal::Duplicate };
            }
        }
        self.entries = taken;
        self.listed.sort_by(|left, right| left.path().cmp(right.path()));
        self.listed.dedup();
        Ok(())
    }
}

impl<R: Read + Seek> Source for ZipSource<R> {
    fn entries(&self, visit: &mut dyn FnMut(Listed)) -> Result<(), SourceError> {
        self.listed.iter().cloned().for_each(visit);
        Ok(())
    }

    fn stream(
        &self,
        path: &str,
        bytes_max: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, SourceError> {
        let &(index, compressed) = self.entries.get(path).ok_or(SourceError::NotFound)?;
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = archive.by_index(index).map_err(|source| SourceError::Damaged { source })?;
        hand_out(&mut file, compressed, bytes_max, take)
    }
}

/// Reads `file` to its end within both bounds. The archive reader holds entries to their declared
/// length too, but that is its promise, and this is ours.
fn hand_out(
    file: &mut impl Read,
    compressed: u64,
    bytes_max: u64,
    take: &mut dyn FnMut(&[u8]),
) -> Result<u64, SourceError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut total = 0_u64;
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(SourceError::Read { source }),
        };
        total += count as u64;
        if total > bytes_max {
            return Err(SourceError::TooLarge { bytes_max });
        }
        if is_bomb(total, compressed) {
            return Err(SourceError::Bomb);
        }
        take(piece.get(..count).unwrap_or_default());
    }
}

fn is_bomb(inflated: u64, compressed: u64) -> bool {
    inflated > ZIP_RATIO_SLACK_BYTES && inflated > compressed.saturating_mul(ZIP_RATIO_MAX)
}

fn checked(file: &ZipFileEntry<'_>) -> Result<Entry, Refusal> {
    let name = match std::str::from_utf8(file.name_raw()) {
        Ok(name) => name.to_owned(),
        Err(_) => file.name().map_err(|_| Refusal::NameEncoding)?.into_owned(),
    };
    let path = safe_path(&name)?;
    let kind = file.unix_mode().unwrap_or(0) & 0o170_000;
    if file.is_symlink() {
        return Err(Refusal::Symlink);
    }
    if kind != 0 && kind != 0o100_000 {
        return Err(Refusal::Special);
    }
    if file.encrypted() {
        return Err(Refusal::Encrypted);
    }
    let supported = [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated];
    if !supported.contains(&file.compression()) {
        return Err(Refusal::Compression);
    }
    if is_bomb(file.size(), file.compressed_size()) {
        return Err(Refusal::Bomb);
    }
    Ok(Entry { path, bytes: file.size(), modified_ms: modified_ms(file) })
}

/// A zip's time has no zone; it counts as UTC.
fn modified_ms(file: &ZipFileEntry<'_>) -> Option<u64> {
    let at = file.last_modified()?;
    let midnight = time::from_civil(at.year().into(), at.month().into(), at.day().into())?;
    let seconds =
        u64::from(at.hour()) * 3_600 + u64::from(at.minute()) * 60 + u64::from(at.second());
    Some(u64::try_from(midnight / 1_000).ok()? + seconds * 1_000)
}

/// A hostile name, made fit to be shown.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let plain: String =
        text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    cut(&plain, SEGMENT_BYTES_MAX).to_owned()
}

/// Checks what every possible end record claims before anything is allocated on its word.
fn check_claims(reader: &mut (impl Read + Seek), length: u64) -> Result<(), ZipOpenError> {
    let start = length.saturating_sub(TAIL_BYTES + 20);
    reader.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    reader.by_ref().take(length - start).read_to_end(&mut tail)?;
    for at in 20..tail.len() {
        let end = tail.get(at..at + 4) == Some(b"PK\x05\x06");
        let locator = tail.get(at - 20..at).filter(|locator| locator.starts_with(b"PK\x06\x07"));
        let (true, Some(locator)) = (end, locator) else { continue };
        let record_at = u64_at(locator, 8).unwrap_or(u64::MAX);
        if record_at.checked_add(56).is_none_or(|record_end| record_end > length) {
            return Err(ZipOpenError::Directory);
        }
        reader.seek(SeekFrom::Start(record_at))?;
        let mut record = [0; 56];
        reader.read_exact(&mut record)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err(ZipOpenError::Directory);
        }
        let entries = u64_at(&record, 32).unwrap_or(u64::MAX);
        if entries > ZIP_ENTRIES_MAX || entries.saturating_mul(HEADER_BYTES) > length {
            return Err(ZipOpenError::TooManyEntries { entries });
        }
        if u64_at(&record, 40).is_none_or(|bytes| bytes > length) {
            return Err(ZipOpenError::Directory);
        }
    }
    Ok(())
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// Raw names that the directory holds more than once; the archive reader keeps the last.
fn repeated_names(
    reader: &mut (impl Read + Seek),
    directory_start: u64,
) -> Result<BTreeSet<Vec<u8>>, ZipOpenError> {
    let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    reader.seek(SeekFrom::Start(directory_start))?;
    let mut reader = std::io::BufReader::new(reader);
    for _ in 0..ZIP_ENTRIES_MAX {
        let mut header = [0; HEADER_BYTES as usize];
        if reader.read_exact(&mut header).is_err() || !header.starts_with(b"PK\x01\x02") {
            break;
        }
        let length_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let mut name = vec![0; usize::from(length_at(28))];
        reader.read_exact(&mut name)?;
        let rest = i64::from(length_at(30)) + i64::from(length_at(32));
        reader.seek_relative(rest)?;
        if !seen.insert(name.clone()) {
            repeated.insert(name);
        }
    }
    Ok(repeated)
}

#[cfg(test)]
mod tests;

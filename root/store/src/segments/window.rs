//! A part of a file in memory, moving forward in large reads.

use crate::Disk;
use std::io;

/// Bytes of one read while scanning: large enough that the disk streams, small enough for a phone.
const READ_BYTES: usize = 1 << 20;

/// A part of a file in memory.
pub(super) struct Window<'a> {
    disk: &'a dyn Disk,
    name: &'a str,
    end: u64,
    start: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl<'a> Window<'a> {
    /// Looks at the first `end` bytes of a file, using the memory of `buffer`.
    pub(super) fn new(disk: &'a dyn Disk, name: &'a str, end: u64, buffer: Vec<u8>) -> Self {
        Self { disk, name, end, start: 0, buffer, filled: 0 }
    }

    /// Where the file ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes from `offset` on: at least `want` of them unless the file ends before.
    pub(super) fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let rest = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = want.min(rest);
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        match skip {
            Some(skip) if skip + want <= self.filled => Ok(&self.buffer[skip..self.filled]),
            _ => self.fill(offset, want, rest),
        }
    }

    /// Gives the memory back.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    fn fill(&mut self, offset: u64, want: usize, rest: usize) -> io::Result<&[u8]> {
        let overlap = offset
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| *skip < self.filled);
        let mut kept = 0;
        if let Some(skip) = overlap {
            self.buffer.copy_within(skip..self.filled, 0);
            kept = self.filled - skip;
        }
        self.start = offset;
        self.filled = kept;
        let target = want.max(READ_BYTES).min(rest).max(kept);
        if self.buffer.len() < target {
            self.buffer.resize(target, 0);
        }
        let read =
            self.disk.read_at(self.name, offset + kept as u64, &mut self.buffer[kept..target])?;
        self.filled = kept + read;
        if self.filled < want {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&self.buffer[..self.filled])
    }
}

//! Indexes on disk: sled, pages of rows in it, a buffer in front of it, and many indexes in one.
//!
//! All of them pass one suite with `rhizome_log::MemoryIndex`. What the keys mean is left to the
//! crates above; building an index again from the segments, to the replica.

mod buffered;
mod intent;
mod packed;
mod prefix;
mod sled;

pub use self::sled::{SledConfig, SledIndex};
pub use buffered::{BufferedIndex, PENDING_BYTES_MAX};
pub use packed::{Numbered, PackedIndex};
pub use prefix::PrefixIndex;

use rhizome_log::{Batch, Index, IndexError, MemoryIndex};
use std::ops::Bound;

/// An [`Index`] that can be told to write down what it has taken so far.
pub trait FlushIndex: Index {
    /// Writes down everything taken so far. That makes opening quicker after a crash, and promises
    /// nothing: the index may still lose its tail.
    fn flush(&self) -> Result<(), IndexError>;

    /// Applies `batch` whole or not at all, after a crash too, like [`Index::write`]; but readers
    /// may see it half done, because the caller hides all of its keys from them meanwhile.
    fn write_hidden(&self, batch: Batch) -> Result<(), IndexError> {
        self.write(batch)
    }
}

/// It is gone with the process, whatever is done.
impl FlushIndex for MemoryIndex {
    fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }
}

/// Whether no key lies between two bounds; some maps panic when asked to look.
fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

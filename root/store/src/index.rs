//! Indexes on disk: sled, sheets beside it, a buffer in front, and many indexes in one.
//!
//! All of them pass one suite with `rhizome_log::MemoryIndex`. What the keys mean is left to the
//! crates above; building an index again from the segments, to the replica.

mod buffered;
mod prefix;
mod sheets;
mod sled;

pub use self::sled::{SledConfig, SledIndex};
pub use buffered::{BufferedIndex, PENDING_BYTES_MAX};
pub use prefix::PrefixIndex;
pub use sheets::SheetIndex;

use rhizome_log::{Batch, Index, IndexError};
use std::collections::BTreeMap;
use std::ops::Bound;

/// An [`Index`] that can be told to write down what it has taken so far.
pub trait FlushIndex: Index {
    /// Writes down everything taken so far. That makes opening quicker after a crash, and promises
    /// nothing: the index may still lose its tail.
    fn flush(&self) -> Result<(), IndexError>;

    /// [`Index::write`] of changes that are sorted already and may be read where they are.
    fn write_changes(&self, changes: &Changes) -> Result<(), IndexError> {
        let changes = changes.iter().map(|(key, value)| (key.clone(), value.clone()));
        self.write(Batch { changes: changes.collect() })
    }
}

/// Keys with their new values (`None` removes).
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

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

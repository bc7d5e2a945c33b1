//! Disks: CAR segments as truth, the rebuildable Index in sled and in memory.
//!
//! A [`Store`] appends blocks to segment files and answers once they are durable; many threads
//! share one fdatasync. Every read checks the hash, so wrong bytes never leave this crate. Indexes
//! ([`SledIndex`] behind a [`BufferedIndex`]) hold what the segments can rebuild. What the blocks
//! mean is left to `root/log` and above; fetching good copies of damaged ones to `root/replica`.
#![expect(clippy::disallowed_methods, reason = "IO shell: owns files, locks and the drain thread")]

mod disk;
mod format;
mod index;
mod platform;
mod private;
mod segments;
mod store;

pub use disk::{
    Change, Crash, Disk, FaultDisk, Faults, FileDisk, Flip, MemoryDisk, Watch, WatchedDisk,
    is_short_of_room,
};
pub use format::{FolderError, STORE_VERSION, StoreFolder};
pub use index::{
    BufferedIndex, FlushIndex, Numbered, PENDING_BYTES_MAX, PackedIndex, PrefixIndex, SledConfig,
    SledIndex,
};
pub use platform::LockError;
pub use private::{create_private_folder, write_private};
pub use segments::{
    CompactError, Compacted, Damage, DamageKind, Mark, OpenError, ReadError, Report, Section,
    SectionVisit, Segments, SegmentsConfig, StoreError, Torn,
};
pub use store::{QUEUE_BYTES_MAX, Store};

/// Where a block lies in the segments.
pub use rhizome_log::Place;

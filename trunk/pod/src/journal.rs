//! The segments as the engine's journal, and the fence that holds its mark back.

use rhizome_block::{Block, Cid};
use rhizome_engine::{Journal, JournalError};
use rhizome_log::{Blocks, Place, ReadError};
use rhizome_store::{Mark, Section, Store};
use std::sync::{Arc, Mutex, PoisonError};

/// The segments of one identity. Clones share them.
#[derive(Clone)]
pub struct Segments {
    store: Store,
    fence: Fence,
}

impl Segments {
    /// The segments in `store`, whose mark stays behind what `fence` holds.
    pub const fn new(store: Store, fence: Fence) -> Self {
        Self { store, fence }
    }

    /// The store itself.
    pub const fn store(&self) -> &Store {
        &self.store
    }
}

impl Blocks for Segments {
    fn read(&self, place: Place, cid: &Cid) -> Result<Vec<u8>, ReadError> {
        Blocks::read(&self.store, place, cid)
    }
}

impl Journal for Segments {
    fn append(&self, blocks: &[Block]) -> Result<Vec<Place>, JournalError> {
        let sections: Vec<Section<'_>> =
            blocks.iter().map(|block| Section { cid: block.cid, bytes: &block.bytes }).collect();
        let appended = self.store.append_durable(&sections);
        appended.map_err(|error| JournalError { what: chain(&error).into() })
    }

    fn mark(&self) -> Vec<u8> {
        self.fence.mark(&self.store).to_bytes()
    }
}

/// An error and its causes in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Holds the index's mark back while somebody else's rows are on their way: a mark must never pass
/// a block whose row is not written.
#[derive(Clone, Default)]
pub struct Fence {
    held: Arc<Mutex<Option<Mark>>>,
}

impl Fence {
    /// Keeps the mark at or before the present end of `store` until the guard is dropped.
    pub fn hold(&self, store: &Store) -> FenceGuard {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert(store.end());
        FenceGuard { fence: self.clone() }
    }

    fn mark(&self, store: &Store) -> Mark {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.unwrap_or_else(|| store.end())
    }
}

/// Releases a [`Fence`] when dropped.
pub struct FenceGuard {
    fence: Fence,
}

impl Drop for FenceGuard {
    fn drop(&mut self) {
        *self.fence.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

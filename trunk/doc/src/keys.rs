//! Keys of the index: where each piece of the document layer lies (`docs/format/index.md`).
//!
//! Every key is a space byte, the app's name, 0, and then what the space orders by.

use crate::stamp::Stamp;
use rhizome_log::{Clock, LogId};
use rhizome_schema::DocPath;

/// Views: what reads and queries see. Committed records too, as long as nothing is pending on them.
pub(crate) const VIEW: u8 = 0x10;
/// Committed records of documents with something pending.
pub(crate) const COMMITTED: u8 = 0x11;
/// Pending events, bodies included.
pub(crate) const PENDING: u8 = 0x12;
/// Which pending events touch a document, in folding order.
pub(crate) const PENDING_OF: u8 = 0x13;
/// Committed events that changed documents, each with the change before it.
pub(crate) const HISTORY: u8 = 0x14;
/// Events that changed nothing, and why.
pub(crate) const OUTCOME: u8 = 0x15;
/// Which field indexes a collection has.
pub(crate) const FIELD_INDEX: u8 = 0x16;
/// Entries of field indexes.
pub(crate) const ENTRY: u8 = 0x17;

/// Bytes of a stamp in a key.
const STAMP_BYTES: usize = 68;

/// Builds the keys of one app.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    app: String,
}

impl Keys {
    pub(crate) fn new(app: &str) -> Self {
        Self { app: app.to_owned() }
    }

    /// What begins all keys of a space.
    pub(crate) fn space(&self, space: u8) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.app.len() + 96);
        key.push(space);
        key.extend_from_slice(self.app.as_bytes());
        key.push(0);
        key
    }

    pub(crate) fn with(&self, space: u8, rest: &[u8]) -> Vec<u8> {
        let mut key = self.space(space);
        key.extend_from_slice(rest);
        key
    }

    /// The key of a document in a space.
    pub(crate) fn doc(&self, space: u8, path: &DocPath) -> Vec<u8> {
        let mut key = self.space(space);
        path.push_key(&mut key);
        key
    }

    pub(crate) fn view(&self, path: &DocPath) -> Vec<u8> {
        self.doc(VIEW, path)
    }

    pub(crate) fn committed(&self, path: &DocPath) -> Vec<u8> {
        self.doc(COMMITTED, path)
    }

    pub(crate) fn event(&self, space: u8, log: &LogId, seq: u64) -> Vec<u8> {
        let mut key = self.with(space, &log.to_bytes());
        key.extend_from_slice(&seq.to_be_bytes());
        key
    }

    /// Sorted as [`Stamp`] is.
    pub(crate) fn pending_of(&self, path: &DocPath, stamp: &Stamp) -> Vec<u8> {
        let mut key = self.doc(PENDING_OF, path);
        key.extend_from_slice(&stamp.clock.0.to_be_bytes());
        let log = stamp.log.to_bytes();
        key.extend_from_slice(&log[..32]);
        key.extend_from_slice(&stamp.seq.to_be_bytes());
        key.extend_from_slice(&log[32..]);
        key
    }
}

/// How long the keys are that begin like this one, if they end in the place of an event in its log:
/// rows that are written one after the other, of which a driver may keep many in one.
#[must_use]
pub fn numbered_rows(key: &[u8]) -> Option<usize> {
    let (PENDING | HISTORY | OUTCOME) = *key.first()? else { return None };
    let app = key.iter().position(|byte| *byte == 0)?;
    Some(app + 1 + LogId::BYTES + size_of::<u64>())
}

/// The stamp that ends a key of [`Keys::pending_of`].
pub(crate) fn stamp_of(key: &[u8]) -> Option<Stamp> {
    let at = key.len().checked_sub(STAMP_BYTES)?;
    let (clock, rest) = key[at..].split_first_chunk::<8>()?;
    let (author, rest) = rest.split_first_chunk::<32>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let mut log = [0; LogId::BYTES];
    log[..32].copy_from_slice(author);
    log[32..].copy_from_slice(rest);
    Some(Stamp {
        clock: Clock(u64::from_be_bytes(*clock)),
        log: LogId::from_bytes(&log),
        seq: u64::from_be_bytes(*seq),
    })
}

/// The document that a key of [`VIEW`], with its first `prefix` bytes left out, is about.
pub(crate) fn path_of(key: &[u8], prefix: usize) -> Option<DocPath> {
    DocPath::from_key(key.get(prefix..)?)
}

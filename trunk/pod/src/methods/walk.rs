//! Walking over documents page by page, so that a slow reader holds nothing of the index.
//!
//! Views lie in the index in the order of paths (`docs/format/index.md`); what is in them is read
//! by `trunk/doc`.

use crate::methods::failure;
use rhizome_api::{ApiError, Problem};
use rhizome_doc::Record;
use rhizome_log::{Index, prefix_end};
use rhizome_schema::{CollectionPath, DocPath};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Space of views, as documents are seen here.
const VIEW: u8 = 0x10;

/// Space of committed records beneath views with something pending.
const COMMITTED: u8 = 0x11;

/// Documents read at once: a few megabytes at most where documents are as large as usual.
const PAGE: usize = 256;

/// A walk over the documents of an app, or of one collection, in the order of their paths.
pub struct Walk<'a> {
    index: &'a dyn Index,
    space: usize,
    from: Vec<u8>,
    skip_first: bool,
    end: Option<Vec<u8>>,
    done: bool,
}

impl<'a> Walk<'a> {
    /// Begins a walk, after a document or from the first.
    pub fn new(
        index: &'a dyn Index,
        app: &str,
        collection: Option<&CollectionPath>,
        after: Option<&DocPath>,
    ) -> Self {
        let mut prefix = key(VIEW, app, &[]);
        let space = prefix.len();
        prefix.extend(collection.map(CollectionPath::key).unwrap_or_default());
        let end = prefix_end(&prefix);
        let from = after.map_or(prefix, |after| key(VIEW, app, &after.key()));
        Self { index, space, from, skip_first: after.is_some(), end, done: false }
    }

    /// The next records, removed documents among them; none at the end.
    pub fn page(&mut self) -> Result<Vec<(DocPath, Record)>, ApiError> {
        if self.done {
            return Ok(Vec::new());
        }
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let from = match self.skip_first {
            true => Bound::Excluded(self.from.as_slice()),
            false => Bound::Included(self.from.as_slice()),
        };
        let to = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let scanned = self.index.scan(from, to, false, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        scanned.map_err(|error| failure::index(&error))?;
        self.done = rows.len() < PAGE;
        if let Some((last, _)) = rows.last() {
            self.from.clone_from(last);
            self.skip_first = true;
        }
        rows.iter().map(|(key, value)| read(&key[self.space..], value)).collect()
    }

    /// Visits what exists until `visit` has seen enough (`false`).
    pub fn each(mut self, mut visit: impl FnMut(DocPath, Record) -> bool) -> Result<(), ApiError> {
        loop {
            let page = self.page()?;
            if page.is_empty() {
                return Ok(());
            }
            for (path, record) in page {
                if record.value.is_some() && !visit(path, record) {
                    return Ok(());
                }
            }
        }
    }
}

fn key(space: u8, app: &str, rest: &[u8]) -> Vec<u8> {
    [&[space], app.as_bytes(), &[0], rest].concat()
}

fn read(path_key: &[u8], value: &[u8]) -> Result<(DocPath, Record), ApiError> {
    let damaged = || {
        ApiError::new(Problem::DAMAGED, "index holds a damaged document")
            .hint("rhizome doctor --rebuild")
    };
    let path = DocPath::from_key(path_key).ok_or_else(damaged)?;
    let record = Record::from_bytes(value).map_err(|error| damaged().caused_by(&error))?;
    Ok((path, record))
}

/// The record of a document without what is pending.
pub fn committed(index: &dyn Index, app: &str, path: &DocPath) -> Result<Option<Record>, ApiError> {
    let get = |space| {
        let row = index.get(&key(space, app, &path.key()));
        let row = row.map_err(|error| failure::index(&error))?;
        row.map(|row| Ok(read(&path.key(), &row)?.1)).transpose()
    };
    match get(VIEW)? {
        Some(record) if record.pending > 0 => get(COMMITTED),
        record => Ok(record),
    }
}

/// How many documents each collection holds.
pub fn collections(index: &dyn Index, app: &str) -> Result<BTreeMap<String, u64>, ApiError> {
    let mut found = BTreeMap::new();
    Walk::new(index, app, None, None).each(|path, _| {
        *found.entry(path.collection().as_str().to_owned()).or_default() += 1;
        true
    })?;
    Ok(found)
}

/// How many documents there are.
pub fn count(
    index: &dyn Index,
    app: &str,
    collection: Option<&CollectionPath>,
) -> Result<u64, ApiError> {
    let mut count = 0;
    Walk::new(index, app, collection, None).each(|_, _| {
        count += 1;
        true
    })?;
    Ok(count)
}

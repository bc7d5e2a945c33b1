//! The state as a whole: its hash, its way into and out of snapshots, and a check of its indexes.
//!
//! Two replicas with the same committed prefix and the same pending events have equal hashes. What
//! a device decides for itself (which indexes it has) and what a snapshot does not carry (history,
//! reasons why events changed nothing) is not hashed.

use crate::change::Change;
use crate::engine::{DocumentError, Documents, Work, damaged};
use crate::field_index::{self, FieldIndex};
use crate::keys;
use crate::record::Record;
use crate::scope::Scope;
use rhizome_log::{Index, Overlay, scan_prefix};
use rhizome_schema::DocPath;
use rhizome_schema::binary::BinaryError;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Opens each hash, so that it cannot be mistaken for one of another kind.
const STATE_DOMAIN: &str = "rhizome 2026 documents state v1";
const COMMITTED_DOMAIN: &str = "rhizome 2026 documents committed v1";

/// What [`Documents::check_indexes`] found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IndexCheck {
    /// Entries that are stored and should be.
    pub right: usize,
    /// Entries that should be stored and are not.
    pub missing: usize,
    /// Entries that are stored and should not be.
    pub surplus: usize,
}

/// What [`Documents::export_committed`] calls for each record; `Break` ends it.
pub type VisitCommitted<'a> = dyn FnMut(&[u8], &[u8], u64) -> ControlFlow<()> + 'a;

/// Key of a collection and its indexes.
type Registry = (Vec<u8>, Vec<FieldIndex>);

impl IndexCheck {
    /// Whether queries can trust the indexes.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.missing == 0 && self.surplus == 0
    }
}

fn put(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

impl Documents {
    /// A hash over views, committed records (values, stamps, conflicts, tombstones, positions) and
    /// pending events.
    pub fn state_hash(&self, index: &dyn Index) -> Result<[u8; 32], DocumentError> {
        let mut hasher = blake3::Hasher::new_derive_key(STATE_DOMAIN);
        for space in [keys::VIEW, keys::COMMITTED, keys::PENDING, keys::PENDING_OF] {
            let prefix = self.keys.space(space);
            hasher.update(&[space]);
            scan_prefix(index, &prefix, false, &mut |key, value| {
                put(&mut hasher, &key[prefix.len()..]);
                put(&mut hasher, value);
                ControlFlow::Continue(())
            })?;
        }
        Ok(hasher.finalize().into())
    }

    /// A hash over the committed records alone: a function of the committed prefix.
    pub fn committed_hash(&self, index: &dyn Index) -> Result<[u8; 32], DocumentError> {
        let mut hasher = blake3::Hasher::new_derive_key(COMMITTED_DOMAIN);
        self.export_committed(index, &mut |path_key, bytes, _| {
            put(&mut hasher, path_key);
            put(&mut hasher, bytes);
            ControlFlow::Continue(())
        })?;
        Ok(hasher.finalize().into())
    }

    /// Visits every committed record, tombstones included, in the order of paths: key of the path,
    /// bytes of the record, and when it last changed (milliseconds; newest first is how people
    /// want them back).
    pub fn export_committed(
        &self,
        index: &dyn Index,
        visit: &mut VisitCommitted<'_>,
    ) -> Result<(), DocumentError> {
        let prefix = self.keys.space(keys::VIEW);
        let mut wrong = Ok(());
        scan_prefix(index, &prefix, false, &mut |key, value| {
            let path_key = &key[prefix.len()..];
            match self.committed_bytes(index, path_key, value) {
                Ok(Some((bytes, newest_ms))) => visit(path_key, &bytes, newest_ms),
                Ok(None) => ControlFlow::Continue(()),
                Err(error) => {
                    wrong = Err(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        wrong
    }

    /// The committed record beneath a view, if there is one.
    fn committed_bytes(
        &self,
        index: &dyn Index,
        path_key: &[u8],
        view: &[u8],
    ) -> Result<Option<(Vec<u8>, u64)>, DocumentError> {
        let record = Record::from_bytes(view).map_err(damaged("document"))?;
        if record.pending == 0 {
            return Ok(Some((view.to_vec(), record.updated_ms)));
        }
        let Some(bytes) = index.get(&self.keys.with(keys::COMMITTED, path_key))? else {
            return Ok(None);
        };
        let record = Record::from_bytes(&bytes).map_err(damaged("document"))?;
        Ok(Some((bytes, record.updated_ms)))
    }

    /// Puts a record that [`Documents::export_committed`] gave out in its place, as the committed
    /// state of its document; what is pending here is folded on top. Later events fold as they
    /// would have on the device it came from.
    pub fn import_committed(
        &self,
        overlay: &mut Overlay<'_>,
        path_key: &[u8],
        bytes: &[u8],
    ) -> Result<Vec<Change>, DocumentError> {
        let wrong = |what| damaged("snapshot entry")(BinaryError { what });
        let path = DocPath::from_key(path_key).ok_or_else(|| wrong("path"))?;
        let record = Record::from_bytes(bytes).map_err(damaged("snapshot entry"))?;
        // Version 1 is read, and written as what it is now.
        let same = bytes.first() == Some(&1) || record.to_bytes() == bytes;
        if record.pending != 0 || record.pending_last.is_some() || !same {
            return Err(wrong("record"));
        }
        let mut work = Work::new(&self.keys, overlay);
        work.refold(vec![(path, Some(record))])?;
        Ok(work.changes)
    }

    /// Compares every field index with what the documents say it should hold.
    pub fn check_indexes(&self, index: &dyn Index) -> Result<IndexCheck, DocumentError> {
        let mut check = IndexCheck::default();
        for (scope_key, fields) in self.all_indexes(index)? {
            for field_index in fields.iter().filter(|field_index| field_index.complete) {
                let expected = self.expected_entries(index, &scope_key, field_index)?;
                let mut prefix = self.keys.with(keys::ENTRY, &scope_key);
                prefix.extend_from_slice(&field_index.number.to_be_bytes());
                let mut stored = BTreeSet::new();
                scan_prefix(index, &prefix, false, &mut |key, _| {
                    stored.insert(key.to_vec());
                    ControlFlow::Continue(())
                })?;
                check.right += expected.intersection(&stored).count();
                check.missing += expected.difference(&stored).count();
                check.surplus += stored.difference(&expected).count();
            }
        }
        Ok(check)
    }

    fn all_indexes(&self, index: &dyn Index) -> Result<Vec<Registry>, DocumentError> {
        let prefix = self.keys.space(keys::FIELD_INDEX);
        let mut registries = Vec::new();
        scan_prefix(index, &prefix, false, &mut |key, value| {
            registries.push((key[prefix.len()..].to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        registries
            .into_iter()
            .map(|(key, value)| Ok((key, field_index::read_registry(Some(&value))?)))
            .collect()
    }

    fn expected_entries(
        &self,
        index: &dyn Index,
        scope_key: &[u8],
        field_index: &FieldIndex,
    ) -> Result<BTreeSet<Vec<u8>>, DocumentError> {
        let mut expected = BTreeSet::new();
        let within = if Scope::is_group(scope_key) { &[] } else { scope_key };
        self.each_record(index, within, &mut |path, record| {
            let scope = Scope::both(&path).into_iter().find(|scope| scope.key() == scope_key);
            if let (Some(scope), Some(fields)) = (scope, &record.value) {
                let mut keys =
                    field_index::entry_keys(&self.keys, &scope, field_index, &path, fields);
                expected.append(&mut keys);
            }
            ControlFlow::Continue(())
        })?;
        Ok(expected)
    }

    /// Visits the views whose path key begins with `prefix`, in the order of paths.
    pub(crate) fn each_record(
        &self,
        index: &dyn Index,
        prefix: &[u8],
        visit: &mut dyn FnMut(DocPath, Record) -> ControlFlow<()>,
    ) -> Result<(), DocumentError> {
        let space = self.keys.space(keys::VIEW).len();
        let mut wrong = Ok(());
        scan_prefix(index, &self.keys.with(keys::VIEW, prefix), false, &mut |key, value| {
            let path = keys::path_of(key, space).ok_or(BinaryError { what: "path" });
            match path.and_then(|path| Ok((path, Record::from_bytes(value)?))) {
                Ok((path, record)) => visit(path, record),
                Err(error) => {
                    wrong = Err(damaged("document")(error));
                    ControlFlow::Break(())
                }
            }
        })?;
        wrong
    }
}

//! Field indexes: keys that keep the documents of a collection in the order of some fields.
//!
//! An index is built on the first query that needs it ([`crate::Documents::build_index`]), step by
//! step, and kept up to date with every write from the moment it is registered; queries use it once
//! it is complete. A document is in it if it has every field the index names. Collections without
//! indexes pay one look-up per write.

use crate::engine::{DocumentError, damaged};
use crate::keys::{self, Keys};
use crate::scope::Scope;
use rhizome_log::Overlay;
use rhizome_schema::binary::{self, BinaryError, Reader};
use rhizome_schema::{DocPath, FieldPath, Fields, Value, push_order_bytes};
use std::collections::BTreeSet;

const VERSION: u8 = 1;

/// Most indexes of one scope: each costs a key per document and write.
pub const INDEXES_MAX: usize = 32;

/// How a field takes part in an index.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PartKind {
    /// Smallest value first.
    Ascending,
    /// Greatest value first.
    Descending,
    /// One entry per distinct element of the array.
    Contains,
}

/// A field of an index.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Part {
    /// The field.
    pub field: FieldPath,
    /// How it takes part.
    pub kind: PartKind,
}

/// An index of a collection, or of a group of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldIndex {
    /// Its number among the indexes of its scope, on this device.
    pub number: u32,
    /// Its fields.
    pub parts: Vec<Part>,
    /// Whether every document has been looked at.
    pub complete: bool,
    /// The key of the document looked at last while it is being built.
    pub(crate) cursor: Vec<u8>,
}

pub(crate) fn registry_key(keys: &Keys, scope: &Scope) -> Vec<u8> {
    keys.with(keys::FIELD_INDEX, &scope.key())
}

pub(crate) fn entry_prefix(keys: &Keys, scope: &Scope, number: u32) -> Vec<u8> {
    let mut key = keys.with(keys::ENTRY, &scope.key());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn write_registry(indexes: &[FieldIndex]) -> Vec<u8> {
    let mut out = vec![VERSION];
    binary::put_number(&mut out, indexes.len() as u64);
    for index in indexes {
        binary::put_number(&mut out, u64::from(index.number));
        out.push(u8::from(index.complete));
        binary::put_bytes(&mut out, &index.cursor);
        binary::put_number(&mut out, index.parts.len() as u64);
        for part in &index.parts {
            out.push(match part.kind {
                PartKind::Ascending => 0,
                PartKind::Descending => 1,
                PartKind::Contains => 2,
            });
            binary::put_number(&mut out, part.field.names().len() as u64);
            part.field.names().iter().for_each(|n| binary::put_bytes(&mut out, n.as_bytes()));
        }
    }
    out
}

pub(crate) fn read_registry(bytes: Option<&[u8]>) -> Result<Vec<FieldIndex>, DocumentError> {
    bytes.map_or(Ok(Vec::new()), |bytes| parse(bytes).map_err(damaged("list of indexes")))
}

fn parse(bytes: &[u8]) -> Result<Vec<FieldIndex>, BinaryError> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != VERSION {
        return Err(BinaryError { what: "version" });
    }
    let count = reader.count()?;
    let mut indexes = Vec::with_capacity(count.min(INDEXES_MAX));
    for _ in 0..count {
        let number = u32::try_from(reader.number()?).map_err(|_| BinaryError { what: "index" })?;
        let complete = reader.byte()? != 0;
        let cursor = reader.bytes()?.to_vec();
        let parts = reader.count()?;
        let parts = (0..parts).map(|_| parse_part(&mut reader)).collect::<Result<_, _>>()?;
        indexes.push(FieldIndex { number, parts, complete, cursor });
    }
    reader.finish()?;
    Ok(indexes)
}

fn parse_part(reader: &mut Reader<'_>) -> Result<Part, BinaryError> {
    let kind = match reader.byte()? {
        0 => PartKind::Ascending,
        1 => PartKind::Descending,
        2 => PartKind::Contains,
        _ => return Err(BinaryError { what: "part of an index" }),
    };
    let names = reader.count()?;
    let names: Vec<String> =
        (0..names).map(|_| reader.text().map(str::to_owned)).collect::<Result<_, _>>()?;
    let field = FieldPath::new(names).map_err(|_| BinaryError { what: "field of an index" })?;
    Ok(Part { field, kind })
}

/// The value of a field, if the document has it.
pub(crate) fn field<'v>(fields: &'v Fields, path: &FieldPath) -> Option<&'v Value> {
    let (first, rest) = path.names().split_first()?;
    rest.iter().try_fold(fields.get(first)?, |value, name| match value {
        Value::Map(map) => map.get(name),
        _ => None,
    })
}

/// Appends a value as it stands in an index: turned over if the order is descending.
pub(crate) fn push_part(out: &mut Vec<u8>, kind: PartKind, value: &Value) {
    let start = out.len();
    push_order_bytes(out, value);
    if kind == PartKind::Descending {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// What stands between prefix and document id, for each entry the document has.
fn entries(parts: &[Part], fields: &Fields) -> BTreeSet<Vec<u8>> {
    let mut keys = vec![Vec::with_capacity(24)];
    for part in parts {
        match (field(fields, &part.field), part.kind) {
            (Some(Value::Array(items)), PartKind::Contains) => {
                let extend = |item: &Value| {
                    keys.iter().map(move |key| (key.clone(), item.clone())).collect::<Vec<_>>()
                };
                let longer: BTreeSet<Vec<u8>> = items
                    .iter()
                    .flat_map(extend)
                    .map(|(mut key, item)| {
                        push_part(&mut key, part.kind, &item);
                        key
                    })
                    .collect();
                keys = longer.into_iter().collect();
            }
            (Some(value), PartKind::Ascending | PartKind::Descending) => {
                keys.iter_mut().for_each(|key| push_part(key, part.kind, value));
            }
            _ => return BTreeSet::new(),
        }
    }
    keys.into_iter().collect()
}

/// All keys a document has in one index.
pub(crate) fn entry_keys(
    keys: &Keys,
    scope: &Scope,
    index: &FieldIndex,
    path: &DocPath,
    fields: &Fields,
) -> BTreeSet<Vec<u8>> {
    let prefix = entry_prefix(keys, scope, index.number);
    let tail = scope.tail(path);
    let whole = |entry: Vec<u8>| [prefix.as_slice(), &entry, &tail].concat();
    entries(&index.parts, fields).into_iter().map(whole).collect()
}

/// Moves the entries of a document in the indexes of a scope from what it was to what it is.
pub(crate) fn update(
    keys: &Keys,
    overlay: &mut Overlay<'_>,
    (scope, indexes): (&Scope, &[FieldIndex]),
    path: &DocPath,
    before: Option<&Fields>,
    after: Option<&Fields>,
) {
    for index in indexes {
        let of = |fields: Option<&Fields>| {
            fields.map(|fields| entry_keys(keys, scope, index, path, fields)).unwrap_or_default()
        };
        let (old, new) = (of(before), of(after));
        old.difference(&new).for_each(|key| overlay.remove(key.as_slice()));
        new.difference(&old).for_each(|key| overlay.put(key.as_slice(), scope.entry(path)));
    }
}

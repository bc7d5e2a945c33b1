//! A public schema: what an app promises about the documents of its collections.
//!
//! It is a block of its own, named by its hash; events carry that name. A schema describes, it does
//! not yet check writes, and it translates nothing: lenses between schemas come with binds.

use crate::path::{CollectionPath, FieldPath, PathError};
use crate::value::Value;
use rhizome_block::{CborError, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

rhizome_block::kind!(
    /// `k` of a schema block.
    pub SchemaKind = "schema"
);

/// Most collections of a schema and most fields of a collection: what people could read.
const ENTRIES_MAX: usize = 1_000;

/// What a field holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// Any number.
    Number,
    /// A moment.
    Timestamp,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// The path of a document.
    Reference,
    /// A place.
    GeoPoint,
    /// A list.
    Array,
    /// A vector.
    Vector,
    /// A map.
    Map,
    /// A reference to large contents.
    Blob,
    /// Anything.
    Any,
}

impl FieldType {
    /// Whether `value` is of this type. Null is of every type: it says that nothing is there.
    #[must_use]
    pub fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _) | (_, Value::Null) => true,
            (Self::Bool, Value::Bool(_))
            | (Self::Int | Self::Number, Value::Int(_))
            | (Self::Number, Value::Double(_))
            | (Self::Timestamp, Value::Timestamp(_))
            | (Self::Text, Value::Text(_))
            | (Self::Bytes, Value::Bytes(_))
            | (Self::Reference, Value::Reference(_))
            | (Self::GeoPoint, Value::GeoPoint { .. })
            | (Self::Array, Value::Array(_))
            | (Self::Vector, Value::Vector(_)) => true,
            (Self::Map, Value::Map(_)) => crate::BlobRef::from_value(value).is_err(),
            (Self::Blob, value) => crate::BlobRef::from_value(value).is_ok(),
            _ => false,
        }
    }
}

/// The collections of an app and the types of their fields.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    k: SchemaKind,
    v: Version<1>,
    /// Name of the app, such as `org.example.todo`.
    pub app: String,
    /// Counts up with each change the app publishes.
    pub revision: u32,
    /// For each collection path (subcollections with `*` for the document ids above them), the
    /// dotted field paths and their types.
    pub collections: BTreeMap<String, BTreeMap<String, FieldType>>,
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The bytes are not a schema.
    #[error("bytes are not a schema")]
    Form(#[source] CborError),
    /// The version is not one we read.
    #[error("schema has version {version}, this program reads 1")]
    Version {
        /// Its version.
        version: u64,
    },
    /// A collection or field path is wrong.
    #[error("path in the schema is wrong")]
    Path(#[source] PathError),
    /// Too many collections or fields.
    #[error("more than {ENTRIES_MAX} collections or fields")]
    Long,
}

impl Schema {
    /// A schema without collections.
    #[must_use]
    pub fn new(app: &str, revision: u32) -> Self {
        Self {
            k: SchemaKind,
            v: Version,
            app: app.to_owned(),
            revision,
            collections: BTreeMap::new(),
        }
    }

    /// The block that publishes it.
    pub fn to_block(&self) -> Result<rhizome_block::Block, SchemaError> {
        self.check()?;
        rhizome_block::Block::encode(self).map_err(SchemaError::Form)
    }

    /// Reads and checks the bytes of such a block.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SchemaError> {
        let schema: Self = rhizome_block::decode(bytes).map_err(|source| match source {
            CborError::Version { version } => SchemaError::Version { version },
            source => SchemaError::Form(source),
        })?;
        schema.check()?;
        Ok(schema)
    }

    fn check(&self) -> Result<(), SchemaError> {
        if self.collections.len() > ENTRIES_MAX {
            return Err(SchemaError::Long);
        }
        for (collection, fields) in &self.collections {
            CollectionPath::parse(collection).map_err(SchemaError::Path)?;
            if fields.len() > ENTRIES_MAX {
                return Err(SchemaError::Long);
            }
            for field in fields.keys() {
                FieldPath::parse(field).map_err(SchemaError::Path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a field of every type.
    fn sample() -> Schema {
        use FieldType::{
            Any, Array, Blob, Bool, Bytes, GeoPoint, Int, Map, Number, Reference, Text, Timestamp,
            Vector,
        };
        let all = [
            Bool, Int, Number, Timestamp, Text, Bytes, Reference, GeoPoint, Array, Vector, Map,
            Blob, Any,
        ];
        let mut schema = Schema::new("org.example.todo", 3);
        let fields = all.iter().map(|of| (format!("of.{of:?}"), *of)).collect();
        schema.collections.insert("todos".to_owned(), fields);
        let fields = BTreeMap::from([("title".to_owned(), Text)]);
        schema.collections.insert("todos/*/steps".to_owned(), fields);
        schema
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "test: reads a committed fixture")]
    fn version_1_reads_as_it_was_written() {
        let bytes = sample().to_block().unwrap().bytes;
        let at = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/schema-v1.cbor");
        let at = std::path::Path::new(at);
        // What was released is never written again.
        if std::env::var_os("UPDATE_FIXTURES").is_some() && !at.exists() {
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, &bytes).unwrap();
        }
        let stored = std::fs::read(at).expect("the fixture is committed");
        assert_eq!(Schema::from_bytes(&stored).unwrap(), sample());
        assert_eq!(stored, bytes, "it is written as it was");
    }

    #[test]
    fn a_schema_survives_as_a_block_whose_kind_can_be_seen() {
        let schema = sample();
        let block = schema.to_block().unwrap();
        assert_eq!(rhizome_block::peek_kind(&block.bytes), Some("schema"));
        assert_eq!(Schema::from_bytes(&block.bytes).unwrap(), schema);
    }

    #[test]
    fn a_newer_version_and_a_wrong_path_are_refused() {
        let mut newer = Schema::new("a", 1).to_block().unwrap().bytes;
        let at = newer.windows(3).position(|three| three == b"\x61v\x01").unwrap();
        newer[at + 2] = 2;
        let newer = Schema::from_bytes(&newer).unwrap_err();
        assert!(matches!(newer, SchemaError::Version { version: 2 }), "{newer}");
        let mut wrong = Schema::new("a", 1);
        wrong.collections.insert("todos/a".to_owned(), BTreeMap::new());
        wrong.to_block().unwrap_err();
    }
}

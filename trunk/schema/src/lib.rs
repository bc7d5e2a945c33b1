//! Values as Firestore knows them, document paths, their total order, public schemas.
//!
//! This crate says what a value is, how values compare, and how they look as DAG-CBOR (events),
//! as compact binary (the index), as order-preserving bytes (index keys) and as JSON (people). It
//! leaves what happens to documents to `trunk/doc`.

pub mod binary;
mod blob;
mod code;
mod convert;
pub mod json;
mod order;
mod path;
mod schema;
mod time;
mod value;

pub use blob::{BLOB_KEY, BlobError, BlobRef};
pub use code::Code;
pub use order::{compare, equal, order_bytes, push_order_bytes, type_class, union_equal};
pub use path::{
    CollectionPath, DocPath, FIELD_DEPTH_MAX, FieldPath, ID_BYTES_MAX, PATH_BYTES_MAX, PathError,
    auto_id,
};
pub use schema::{FieldType, Schema, SchemaError};
pub use value::{
    ARRAY_ITEMS_MAX, DEPTH_MAX, DOCUMENT_BYTES_MAX, Fields, Number, Reserved, Timestamp, Value,
    ValueError,
};

//! A reference to contents too large for an event: an encrypted tree of blocks.
//!
//! It travels inside a value, as a map with the one reserved key [`BLOB_KEY`], which people and
//! apps cannot write: only the pod makes references, for bytes it has stored. What the link means
//! and how blocks are sealed is `root/seal`'s.

use crate::value::{Fields, Value};
use rhizome_block::Cid;

/// The reserved key that tells a blob reference from a map.
pub const BLOB_KEY: &str = "__blob__";

/// Most bytes of a media type or a file name in a reference: file systems stop at 255 too.
const TEXT_BYTES_MAX: usize = 255;

/// Where the bytes are, how to open them, and what they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BlobRef {
    /// The root block of the encrypted tree.
    pub link: Cid,
    /// The key that opens it.
    pub key: [u8; 32],
    /// Length of the plain contents.
    pub bytes: u64,
    /// Levels of the tree; 0 means that the root is the only block.
    pub depth: u8,
    /// What the contents are, such as `image/png`.
    pub media_type: String,
    /// The name of the file it came from.
    pub name: Option<String>,
}

/// Why a value is not a blob reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// It is not a map with the reserved key alone.
    #[error("value is not a blob reference")]
    NotABlob,
    /// A part is missing, unknown, or of the wrong type.
    #[error("blob reference has a wrong `{part}`")]
    Part {
        /// Which.
        part: &'static str,
    },
}

impl BlobRef {
    /// The reference as a value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let mut fields = Fields::from([
            ("bytes".to_owned(), Value::Int(bytes)),
            ("depth".to_owned(), Value::Int(i64::from(self.depth))),
            ("key".to_owned(), Value::Bytes(self.key.to_vec())),
            ("link".to_owned(), Value::Bytes(self.link.to_bytes().to_vec())),
            ("media_type".to_owned(), Value::Text(self.media_type.clone())),
        ]);
        if let Some(name) = &self.name {
            fields.insert("name".to_owned(), Value::Text(name.clone()));
        }
        Value::Map(Fields::from([(BLOB_KEY.to_owned(), Value::Map(fields))]))
    }

    /// Reads a reference.
    pub fn from_value(value: &Value) -> Result<Self, BlobError> {
        let Value::Map(outer) = value else { return Err(BlobError::NotABlob) };
        let (1, Some(Value::Map(fields))) = (outer.len(), outer.get(BLOB_KEY)) else {
            return Err(BlobError::NotABlob);
        };
        let part = |part| move || BlobError::Part { part };
        let short = |text: &String| text.len() <= TEXT_BYTES_MAX;
        let int = |name| match fields.get(name) {
            Some(Value::Int(int)) => u64::try_from(*int).ok(),
            _ => None,
        };
        let bytes = |name| match fields.get(name) {
            Some(Value::Bytes(bytes)) => Some(bytes.as_slice()),
            _ => None,
        };
        let name = match fields.get("name") {
            None => None,
            Some(Value::Text(name)) if short(name) => Some(name.clone()),
            Some(_) => return Err(BlobError::Part { part: "name" }),
        };
        if fields.len() != 5 + usize::from(name.is_some()) {
            return Err(BlobError::Part { part: "set of fields" });
        }
        Ok(Self {
            link: bytes("link")
                .and_then(|link| Cid::from_bytes(link).ok())
                .ok_or_else(part("link"))?,
            key: bytes("key").and_then(|key| key.try_into().ok()).ok_or_else(part("key"))?,
            bytes: int("bytes").ok_or_else(part("bytes"))?,
            depth: int("depth")
                .and_then(|depth| u8::try_from(depth).ok())
                .ok_or_else(part("depth"))?,
            media_type: match fields.get("media_type") {
                Some(Value::Text(media_type)) if short(media_type) => media_type.clone(),
                _ => return Err(BlobError::Part { part: "media_type" }),
            },
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Reserved;
    use rhizome_block::Codec;

    fn blob() -> BlobRef {
        BlobRef {
            link: Cid::of(Codec::Raw, b"root"),
            key: [7; 32],
            bytes: 300_000,
            depth: 1,
            media_type: "image/png".to_owned(),
            name: Some("holiday.png".to_owned()),
        }
    }

    #[test]
    fn a_reference_survives_as_a_value_and_as_dag_cbor() {
        for blob in [blob(), BlobRef { name: None, ..blob() }] {
            let value = blob.to_value();
            let bytes = rhizome_block::encode(&value).unwrap();
            let read: Value = rhizome_block::decode(&bytes).unwrap();
            assert_eq!(BlobRef::from_value(&read).unwrap(), blob);
        }
    }

    #[test]
    fn only_events_may_hold_a_reference() {
        let value = blob().to_value();
        value.validate(Reserved::Blobs).unwrap();
        value.validate(Reserved::Refused).unwrap_err();
    }

    #[test]
    fn a_map_that_only_claims_to_be_a_blob_is_refused_everywhere() {
        let fake = Value::Map(Fields::from([(BLOB_KEY.to_owned(), Value::Int(1))]));
        fake.validate(Reserved::Blobs).unwrap_err();
        let Value::Map(mut fields) = blob().to_value() else { unreachable!() };
        fields.insert("more".to_owned(), Value::Null);
        Value::Map(fields).validate(Reserved::Blobs).unwrap_err();
    }
}

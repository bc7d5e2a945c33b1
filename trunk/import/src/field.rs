//! The values that importers produce, and the hash by which an unchanged document is recognised.
//!
//! These are deliberately fewer than a document's own values: no platform read here has more.
//! Turning them into a document's values is left to the pod.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// How deep lists and maps may nest. Documents allow no more, and recursion stays shallow.
pub const FIELD_DEPTH_MAX: usize = 20;

/// Separates this hash from every other use of SHA-256.
const CONTENT_DOMAIN: &[u8] = b"rhizome import content 1\0";

/// The fields of one document.
pub type Fields = BTreeMap<String, Field>;

/// One value in an imported document.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// Known to be nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number with a fraction.
    Double(f64),
    /// A point in time, microseconds since 1970, UTC.
    TimestampMicros(i64),
    /// Text.
    Text(String),
    /// Several values in order.
    List(Vec<Field>),
    /// Named values.
    Map(Fields),
    /// The bytes of one of the item's attachments.
    Attachment(AttachmentId),
}

impl Field {
    /// Text from anything that can be text.
    pub fn text(text: impl Into<String>) -> Field {
        Field::Text(text.into())
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Field::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON for people to look at: times as `{"$time": micros}`, attachments as
    /// `{"$attachment": id}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::{Value, json};
        match self {
            Field::Null => Value::Null,
            Field::Bool(value) => json!(value),
            Field::Int(value) => json!(value),
            Field::Double(value) => json!(value),
            Field::TimestampMicros(micros) => json!({ "$time": micros }),
            Field::Text(text) => json!(text),
            Field::List(items) => items.iter().map(Field::to_json).collect(),
            Field::Map(fields) => {
                let entries = fields.iter().map(|(name, value)| (name.clone(), value.to_json()));
                Value::Object(entries.collect())
            }
            Field::Attachment(id) => json!({ "$attachment": id.to_string() }),
        }
    }

    fn feed(&self, hash: &mut Sha256) {
        match self {
            Field::Null => hash.update([0]),
            Field::Bool(value) => hash.update([1, u8::from(*value)]),
            Field::Int(value) => feed_tagged(hash, 2, &value.to_be_bytes()),
            Field::Double(value) => feed_tagged(hash, 3, &value.to_bits().to_be_bytes()),
            Field::TimestampMicros(micros) => feed_tagged(hash, 4, &micros.to_be_bytes()),
            Field::Text(text) => {
                hash.update([5]);
                feed_text(hash, text);
            }
            Field::List(items) => {
                feed_tagged(hash, 6, &(items.len() as u64).to_be_bytes());
                items.iter().for_each(|item| item.feed(hash));
            }
            Field::Map(fields) => feed_fields(hash, fields),
            Field::Attachment(id) => {
                hash.update([8]);
                feed_text(hash, id.as_str());
            }
        }
    }
}

fn feed_tagged(hash: &mut Sha256, tag: u8, bytes: &[u8]) {
    hash.update([tag]);
    hash.update(bytes);
}

fn feed_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
}

fn feed_fields(hash: &mut Sha256, fields: &Fields) {
    feed_tagged(hash, 7, &(fields.len() as u64).to_be_bytes());
    for (name, value) in fields {
        feed_text(hash, name);
        value.feed(hash);
    }
}

/// Which attachment: the first 20 letters of its SHA-256 in base32, so that equal files are one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct AttachmentId(String);

impl AttachmentId {
    /// The id of the attachment with these SHA-256 bytes.
    #[must_use]
    pub fn of(sha256: &[u8; 32]) -> AttachmentId {
        AttachmentId(short_base32(sha256))
    }

    /// The id's 20 letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// SHA-256 over an item's collection and fields; equal means that importing again changes nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl FromStr for ContentHash {
    type Err = data_encoding::DecodeError;

    fn from_str(text: &str) -> Result<ContentHash, Self::Err> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes())?;
        let length = data_encoding::DecodeError {
            position: bytes.len(),
            kind: data_encoding::DecodeKind::Length,
        };
        bytes.try_into().map(ContentHash).map_err(|_| length)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ContentHash, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The hash of a document in `collection` with these fields; `docs/format/import.md` draws it.
#[must_use]
pub fn content_hash(collection: &str, fields: &Fields) -> ContentHash {
    let mut hash = Sha256::new();
    hash.update(CONTENT_DOMAIN);
    feed_text(&mut hash, collection);
    feed_fields(&mut hash, fields);
    ContentHash(hash.finalize().into())
}

/// The first 20 letters of base32: 100 bits, enough for ids that nobody gains by colliding.
pub(crate) fn short_base32(hash: &[u8; 32]) -> String {
    let mut letters = data_encoding::BASE32_NOPAD.encode(hash).to_ascii_lowercase();
    letters.truncate(20);
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_values_never_hash_alike() {
        let one = |value: Field| content_hash("c", &Fields::from([("f".to_owned(), value)]));
        let values = [
            Field::Null,
            Field::Bool(false),
            Field::Int(0),
            Field::Double(0.0),
            Field::TimestampMicros(0),
            Field::text(""),
            Field::text("ab"),
            Field::List(vec![]),
            Field::List(vec![Field::text("a"), Field::text("b")]),
            Field::Map(Fields::new()),
            Field::Attachment(AttachmentId("ab".to_owned())),
        ];
        let hashes: std::collections::BTreeSet<ContentHash> = values.into_iter().map(one).collect();
        assert_eq!(hashes.len(), 11);
        assert_ne!(content_hash("c", &Fields::new()), content_hash("d", &Fields::new()));
    }

    #[test]
    fn a_content_hash_survives_its_text_form() {
        let hash = content_hash("notes", &Fields::new());
        assert_eq!(hash.to_string().parse::<ContentHash>().unwrap(), hash);
        assert!("abcd".parse::<ContentHash>().is_err());
        assert!("not hex".parse::<ContentHash>().is_err());
    }
}

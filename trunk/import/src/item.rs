//! One thing to import: how it is named, what happens to it, what it turns into, what went wrong.

use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::field::{AttachmentId, ContentHash, Field, Fields, short_base32};
use crate::source::{Refusal, SourceError};

/// Separates document ids from every other use of SHA-256.
const ID_DOMAIN: &[u8] = b"rhizome import document 1\0";

/// The field under which the pod stores where a document came from.
const PROVENANCE_VERSION: i64 = 1;

/// A platform whose archives can be read.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Importer {
    /// A folder or zip of Markdown notes.
    Markdown,
    /// Google Keep, as JSON from Google Takeout.
    Keep,
    /// Tables of comma-separated values.
    Csv,
}

impl Importer {
    /// All of them, in the order of the manual.
    pub const ALL: [Importer; 3] = [Importer::Markdown, Importer::Keep, Importer::Csv];

    /// The word used on the command line and in provenance.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Importer::Markdown => "markdown",
            Importer::Keep => "keep",
            Importer::Csv => "csv",
        }
    }

    /// The importer with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Importer> {
        Importer::ALL.into_iter().find(|importer| importer.name() == name)
    }
}

impl fmt::Display for Importer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What an item is called at its source; the same key always becomes the same document.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ItemKey {
    /// The kind of source.
    pub importer: Importer,
    /// Keeps apart two sources whose items have the same names; see [`crate::Options::scope`].
    pub scope: String,
    /// The item's own name: a path, a creation time, a row's id.
    pub original_id: String,
}

impl ItemKey {
    /// The id of the document that this item becomes: 20 letters of base32.
    #[must_use]
    pub fn document_id(&self) -> DocumentId {
        let mut hash = Sha256::new();
        hash.update(ID_DOMAIN);
        for part in [self.importer.name(), &self.scope, &self.original_id] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        DocumentId(short_base32(&hash.finalize().into()))
    }
}

/// The id of an imported document.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct DocumentId(String);

impl DocumentId {
    /// The id's 20 letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What the pod remembers about an item it imported before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// The hash it had then.
    pub content_hash: ContentHash,
    /// The batch that wrote it.
    pub batch: String,
}

/// What an import will do with an item.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It becomes a new document.
    New,
    /// It changes a document that an earlier import wrote.
    Update,
    /// It is already there, unchanged.
    Same,
    /// It is left out on purpose.
    Skip(SkipReason),
    /// It cannot be read.
    Fail(String),
}

impl Action {
    /// Whether the item has to be read and written.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self, Action::New | Action::Update)
    }
}

/// Why something is left out without being broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// Hidden files and folders hold settings, not notes.
    #[error("hidden or system file")]
    Hidden,
    /// A file of another kind that no item refers to.
    #[error("not referred to by any item")]
    NotReferenced,
    /// A file that this importer does not read.
    #[error("not a file that this importer reads")]
    OtherKind,
    /// A table with a header and nothing below it.
    #[error("table has no rows")]
    NoRows,
    /// JSON that is no Keep note.
    #[error("not a Keep note")]
    NotKeep,
    /// The same note once more as HTML.
    #[error("the same note as HTML")]
    HtmlTwin,
    /// An archive inside the source; it may be imported by itself.
    #[error("archive inside the source: unpack it and import it by itself")]
    NestedArchive,
}

impl Serialize for SkipReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One line of a plan.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PlannedItem {
    /// The item's name at its source.
    pub key: ItemKey,
    /// What will happen to it.
    pub action: Action,
    /// The file it is in.
    pub path: String,
    /// Which row of the file, counted from 0, where a file holds many items.
    pub row: Option<u64>,
    /// How many bytes of the source it stands for, attachments left out.
    pub bytes: u64,
}

/// One document, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedItem {
    /// The collection it belongs in.
    pub collection: String,
    /// Its id there.
    pub id: DocumentId,
    /// What it holds.
    pub fields: Fields,
    /// The files it carries; their bytes are read from the source under [`Attachment::path`].
    pub attachments: Vec<Attachment>,
    /// Where it came from.
    pub provenance: Provenance,
    /// What could not be taken over.
    pub losses: Vec<Loss>,
}

/// A file that belongs to an item.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Attachment {
    /// How the item's fields refer to it.
    pub id: AttachmentId,
    /// Where it is in the source.
    pub path: String,
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, to be compared when the bytes are read.
    #[serde(serialize_with = "hex")]
    pub sha256: [u8; 32],
}

fn hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
}

/// Where a document came from; with the batch, all that undoing an import needs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Provenance {
    /// The kind of source.
    pub importer: Importer,
    /// The scope of its key.
    pub scope: String,
    /// The item's own name at its source.
    pub original_id: String,
    /// When it was made or last changed there, milliseconds since 1970.
    pub original_time_ms: Option<i64>,
    /// What [`crate::Plan`] compares the next time.
    pub content_hash: ContentHash,
}

impl Provenance {
    /// The value to store beside the document for the batch that wrote it.
    #[must_use]
    pub fn to_field(&self, batch: &str) -> Field {
        let time = self.original_time_ms.and_then(|time_ms| time_ms.checked_mul(1_000));
        let entries = [
            ("v", Field::Int(PROVENANCE_VERSION)),
            ("batch", Field::text(batch)),
            ("source", Field::text(self.importer.name())),
            ("scope", Field::text(&*self.scope)),
            ("originalId", Field::text(&*self.original_id)),
            ("originalTime", time.map_or(Field::Null, Field::TimestampMicros)),
            ("contentHash", Field::text(self.content_hash.to_string())),
        ];
        Field::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl Known {
    /// Reads back what [`Provenance::to_field`] stored; none if it is something else.
    #[must_use]
    pub fn from_field(field: &Field) -> Option<Known> {
        let Field::Map(fields) = field else { return None };
        if fields.get("v") != Some(&Field::Int(PROVENANCE_VERSION)) {
            return None;
        }
        let content_hash = fields.get("contentHash")?.as_text()?.parse().ok()?;
        Some(Known { content_hash, batch: fields.get("batch")?.as_text()?.to_owned() })
    }
}

/// Something that could not be taken over, although its item was.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Loss {
    /// The file it happened in.
    pub path: String,
    /// What happened.
    pub what: LossKind,
}

/// What could not be taken over.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LossKind {
    /// The file is not UTF-8 and does not say what it is.
    #[error("not UTF-8: read as {encoding}, some letters may be wrong")]
    Encoding {
        /// The encoding that was assumed.
        encoding: &'static str,
    },
    /// Some bytes stand for nothing in the file's encoding.
    #[error("some bytes are not {encoding} and were replaced")]
    Replaced {
        /// The file's encoding.
        encoding: &'static str,
    },
    /// The front matter is not valid YAML, or too large; it stays in the text.
    #[error("front matter is left in the text: {reason}")]
    FrontMatter {
        /// What the parser said.
        reason: String,
    },
    /// A file that the item refers to is not in the source.
    #[error("attachment not found: {target}")]
    AttachmentMissing {
        /// What the item calls it.
        target: String,
    },
    /// A file that the item refers to could not be read or is too large.
    #[error("attachment left out: {target}: {reason}")]
    AttachmentLeftOut {
        /// What the item calls it.
        target: String,
        /// Why.
        reason: String,
    },
    /// A list was cut.
    #[error("only the first {max} entries of {list} were taken")]
    ListCut {
        /// The field.
        list: &'static str,
        /// How many were taken.
        max: usize,
    },
    /// A value nests too deeply and is kept as JSON text.
    #[error("{name} nests too deeply and is kept as text")]
    Nested {
        /// The field.
        name: String,
    },
    /// A field is of an unexpected kind and is kept among the properties.
    #[error("{name} is not what it should be and is kept as a property")]
    Unexpected {
        /// The field.
        name: String,
    },
    /// A field had to be renamed.
    #[error("{from:?} is called {to:?} here")]
    Renamed {
        /// The name at the source.
        from: String,
        /// The name in the document.
        to: String,
    },
    /// A row has another number of cells than the header.
    #[error("row on line {line} has {cells} cells instead of {columns}")]
    Ragged {
        /// Where the row starts.
        line: u64,
        /// How many cells it has.
        cells: usize,
        /// How many the header has.
        columns: usize,
    },
    /// A row repeats another row's id and is named after its content instead.
    #[error("row on line {line} repeats an id and is named after its content")]
    RepeatedId {
        /// Where the row starts.
        line: u64,
    },
}

impl Serialize for LossKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why one item cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The source did not hand out its bytes.
    #[error("cannot read the file")]
    Source {
        /// What the source said.
        #[from]
        source: SourceError,
    },
    /// The source refuses the entry.
    #[error("refused")]
    Refused {
        /// Why.
        #[from]
        source: Refusal,
    },
    /// The bytes are no text.
    #[error("not text: looks like a binary file")]
    Binary,
    /// The JSON does not parse.
    #[error("not valid JSON")]
    Json {
        /// What the parser said.
        #[from]
        source: serde_json::Error,
    },
    /// The table does not parse.
    #[error("not a readable table")]
    Csv {
        /// What the parser said.
        #[from]
        source: csv::Error,
    },
    /// The table has no header row.
    #[error("table is empty")]
    EmptyTable,
    /// The table has more columns than are taken.
    #[error("table has more than {columns_max} columns")]
    TooManyColumns {
        /// The limit.
        columns_max: usize,
    },
    /// One cell is larger than is taken, which mostly means an unclosed quote.
    #[error("cell on line {line} is larger than {bytes_max} bytes: is a quote missing?")]
    CellTooLarge {
        /// Where the row starts.
        line: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// The file no longer holds what was planned.
    #[error("file has changed since it was planned")]
    Changed,
}

impl ItemError {
    /// The message with all its causes, for a report.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// An item that could not be read after all.
#[derive(Debug, thiserror::Error)]
#[error("cannot import {path}")]
pub struct ItemFailure {
    /// The file it is in.
    pub path: String,
    /// Why.
    pub source: ItemError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_becomes_the_same_document_every_time_and_scopes_keep_apart() {
        let key = |scope: &str, id: &str| ItemKey {
            importer: Importer::Markdown,
            scope: scope.to_owned(),
            original_id: id.to_owned(),
        };
        let id = key("", "a.md").document_id();
        assert_eq!(id, key("", "a.md").document_id());
        assert_eq!(id.as_str().len(), 20);
        assert_ne!(key("a", "b").document_id(), key("", "ab").document_id());
        assert_ne!(key("home", "a.md").document_id(), key("work", "a.md").document_id());
    }

    #[test]
    fn what_is_stored_beside_a_document_is_recognised_the_next_time() {
        let provenance = Provenance {
            importer: Importer::Keep,
            scope: String::new(),
            original_id: "1".to_owned(),
            original_time_ms: Some(5),
            content_hash: ContentHash([7; 32]),
        };
        let known = Known::from_field(&provenance.to_field("b1")).unwrap();
        assert_eq!(known, Known { content_hash: ContentHash([7; 32]), batch: "b1".to_owned() });
        assert_eq!(Known::from_field(&Field::Null), None);
    }
}

//! What imports know of themselves: documents `imports/<batch>` and `imports/<batch>/items/<id>`.

use super::{fields_of, value};
use crate::DEFAULT_APP;
use crate::identity::Identity;
use crate::methods::walk::Walk;
use crate::writes;
use rhizome_api::ApiError;
use rhizome_api::import::{Batch as ApiBatch, ImportKind};
use rhizome_import::{ContentHash, DocumentId, Known, Provenance};
use rhizome_schema::{CollectionPath, DocPath, Fields, Timestamp, Value};
use std::collections::BTreeMap;

/// Where batches are.
const BATCHES: &str = "imports";

/// One batch as it is stored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BatchRow {
    /// Its name.
    pub id: String,
    /// What the source was.
    pub kind: ImportKind,
    /// Where it was.
    pub path: String,
    /// Where documents went, if somebody said so.
    pub collection: Option<String>,
    /// When it began.
    pub at_ms: u64,
    /// Documents that were new.
    pub imported: u64,
    /// Documents that were changed.
    pub updated: u64,
    /// Items that failed.
    pub failed: u64,
    /// Whether it came to its end.
    pub finished: bool,
    /// Whether it was taken back.
    pub undone: bool,
}

impl BatchRow {
    /// Its document.
    pub fn document(&self) -> Result<DocPath, ApiError> {
        batch_document(&self.id)
    }

    /// What is stored of it.
    pub fn to_fields(&self) -> Fields {
        let int = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let collection = self.collection.clone().map_or(Value::Null, Value::Text);
        Fields::from([
            ("at".to_owned(), Value::Timestamp(Timestamp::at_ms(self.at_ms))),
            ("collection".to_owned(), collection),
            ("failed".to_owned(), int(self.failed)),
            ("finished".to_owned(), Value::Bool(self.finished)),
            ("imported".to_owned(), int(self.imported)),
            ("kind".to_owned(), Value::Text(kind_word(self.kind).to_owned())),
            ("path".to_owned(), Value::Text(self.path.clone())),
            ("undone".to_owned(), Value::Bool(self.undone)),
            ("updated".to_owned(), int(self.updated)),
        ])
    }

    fn from_fields(id: &str, fields: &Fields) -> Option<Self> {
        let int = |name: &str| match fields.get(name) {
            Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        };
        let flag = |name: &str| matches!(fields.get(name), Some(Value::Bool(true)));
        let kinds = [ImportKind::Markdown, ImportKind::Keep, ImportKind::Csv];
        let word = text(fields, "kind")?;
        let Some(Value::Timestamp(at)) = fields.get("at") else { return None };
        Some(Self {
            id: id.to_owned(),
            kind: kinds.into_iter().find(|kind| kind_word(*kind) == word)?,
            path: text(fields, "path")?.to_owned(),
            collection: text(fields, "collection").map(str::to_owned),
            at_ms: u64::try_from(at.micros / 1_000).unwrap_or(0),
            imported: int("imported"),
            updated: int("updated"),
            failed: int("failed"),
            finished: flag("finished"),
            undone: flag("undone"),
        })
    }

    /// As the local API shows it.
    pub fn shown(self) -> ApiBatch {
        ApiBatch {
            id: self.id,
            kind: self.kind,
            path: self.path,
            at_ms: self.at_ms,
            imported: self.imported,
            updated: self.updated,
            failed: self.failed,
            finished: self.finished,
            undone: self.undone,
        }
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    match fields.get(name) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn kind_word(kind: ImportKind) -> &'static str {
    match kind {
        ImportKind::Markdown => "markdown",
        ImportKind::Keep => "keep",
        ImportKind::Csv => "csv",
    }
}

/// The document of a batch; its name must be an id.
pub fn batch_document(id: &str) -> Result<DocPath, ApiError> {
    let path = writes::collection(BATCHES)?.doc(id);
    path.map_err(|error| crate::methods::failure::invalid(&error))
}

/// The collection of a batch's items.
pub fn items(batch: &DocPath) -> CollectionPath {
    batch.collection_below("items").expect("a short id below a path of two")
}

/// A batch that is stored.
pub fn batch(identity: &Identity, id: &str) -> Result<Option<BatchRow>, ApiError> {
    let fields = fields_of(identity, &batch_document(id)?)?;
    Ok(fields.and_then(|fields| BatchRow::from_fields(id, &fields)))
}

/// All batches.
pub fn batches(identity: &Identity) -> Result<Vec<BatchRow>, ApiError> {
    let mut rows = Vec::new();
    let collection = writes::collection(BATCHES)?;
    let walk = Walk::new(identity.handle.index(), DEFAULT_APP, Some(&collection), None);
    walk.each(|path, record| {
        let fields = record.value.unwrap_or_default();
        rows.extend(BatchRow::from_fields(path.id(), &fields));
        true
    })?;
    Ok(rows)
}

/// One item that an import wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// The document it became.
    pub document: DocPath,
    /// Whether that was new.
    pub new: bool,
    /// What was written, to see whether somebody changed it since.
    pub fingerprint: String,
    /// What was there before, as JSON; for an update only.
    pub before: Option<String>,
}

impl ItemRow {
    /// What is stored of it, with what a later import looks for.
    pub fn to_fields(&self, provenance: &Provenance, batch: &str) -> Fields {
        let mut fields = match value::value(&provenance.to_field(batch), &BTreeMap::new()) {
            Ok(Value::Map(fields)) => fields,
            _ => Fields::new(),
        };
        fields.insert("document".to_owned(), Value::Text(self.document.as_str().to_owned()));
        fields.insert("new".to_owned(), Value::Bool(self.new));
        fields.insert("fingerprint".to_owned(), Value::Text(self.fingerprint.clone()));
        if let Some(before) = &self.before {
            fields.insert("before".to_owned(), Value::Text(before.clone()));
        }
        fields
    }

    fn from_fields(fields: &Fields) -> Option<Self> {
        Some(Self {
            document: DocPath::parse(text(fields, "document")?).ok()?,
            new: matches!(fields.get("new"), Some(Value::Bool(true))),
            fingerprint: text(fields, "fingerprint")?.to_owned(),
            before: text(fields, "before").map(str::to_owned),
        })
    }
}

/// One item of a batch, if it is noted.
pub fn item(identity: &Identity, note: &DocPath) -> Result<Option<ItemRow>, ApiError> {
    Ok(fields_of(identity, note)?.and_then(|fields| ItemRow::from_fields(&fields)))
}

/// The items of a batch, by their documents.
pub fn items_of(identity: &Identity, batch: &str) -> Result<Vec<(DocPath, ItemRow)>, ApiError> {
    let mut rows = Vec::new();
    let collection = items(&batch_document(batch)?);
    let walk = Walk::new(identity.handle.index(), DEFAULT_APP, Some(&collection), None);
    walk.each(|path, record| {
        let row = record.value.as_deref().and_then(ItemRow::from_fields);
        rows.extend(row.map(|row| (path, row)));
        true
    })?;
    Ok(rows)
}

/// Everything that was imported and is still there.
pub struct Ledger {
    known: BTreeMap<String, Known>,
}

impl Ledger {
    /// Reads it.
    pub fn read(identity: &Identity) -> Result<Self, ApiError> {
        let mut rows = batches(identity)?;
        rows.sort_by(|a, b| (a.at_ms, &a.id).cmp(&(b.at_ms, &b.id)));
        let mut known = BTreeMap::new();
        for row in rows {
            let collection = items(&row.document()?);
            let walk = Walk::new(identity.handle.index(), DEFAULT_APP, Some(&collection), None);
            let mut wrong = Ok(());
            walk.each(|path, record| {
                match still_there(identity, &row.id, record.value.as_deref()) {
                    Ok(Some(one)) => {
                        known.insert(path.id().to_owned(), one);
                    }
                    Ok(None) => {}
                    Err(error) => wrong = Err(error),
                }
                wrong.is_ok()
            })?;
            wrong?;
        }
        Ok(Self { known })
    }

    /// What is remembered of an item.
    pub fn known(&self, id: &DocumentId) -> Option<Known> {
        self.known.get(id.as_str()).cloned()
    }
}

fn still_there(
    identity: &Identity,
    batch: &str,
    fields: Option<&Fields>,
) -> Result<Option<Known>, ApiError> {
    let read = |fields: &Fields| {
        let document = DocPath::parse(text(fields, "document")?).ok()?;
        Some((document, text(fields, "contentHash")?.parse::<ContentHash>().ok()?))
    };
    let Some((document, content_hash)) = fields.and_then(read) else { return Ok(None) };
    let exists = fields_of(identity, &document)?.is_some();
    Ok(exists.then(|| Known { content_hash, batch: batch.to_owned() }))
}

//! One import under way: a source, an importer, and what is remembered between its items.

use encoding_rs::Encoding;

use crate::csv_table::{self, Table};
use crate::field::{Field, Fields, content_hash};
use crate::item::{
    Attachment, ImportedItem, Importer, ItemError, ItemFailure, ItemKey, Loss, LossKind,
    PlannedItem, Provenance,
};
use crate::library::{ENTRIES_MAX, Library};
use crate::plan::with_path;
use crate::source::{Source, SourceError};
use crate::{keep, markdown};

/// Largest attachment that is taken unless the caller says otherwise: a long video of a phone.
pub const ATTACHMENT_BYTES_MAX: u64 = 1 << 30;

/// What the person asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Keeps apart sources whose items have the same names, such as two vaults with a `README.md`:
    /// the same scope means the same documents. Empty suits Keep, whose names are unique by
    /// themselves; the name of the folder or archive suits the others.
    pub scope: String,
    /// Whether attachments are taken along.
    pub attachments: bool,
    /// Attachments above this are left out and reported.
    pub attachment_bytes_max: u64,
    /// The encoding of files without a byte order mark, as the web names them (`shift_jis`); none
    /// means UTF-8 where it fits, else an honest guess.
    pub encoding: Option<String>,
    /// The column that names a table's rows; none means one called `id`, `uuid`, `guid`, `uid` or
    /// `_id`, else the row's content.
    pub id_column: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            scope: String::new(),
            attachments: true,
            attachment_bytes_max: ATTACHMENT_BYTES_MAX,
            encoding: None,
            id_column: None,
        }
    }
}

/// Why an import cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The source could not be listed.
    #[error("cannot list the source")]
    Source {
        /// What the source said.
        #[from]
        source: SourceError,
    },
    /// The source lists more entries than are taken.
    #[error("source has more than {entries_max} entries")]
    TooManyEntries {
        /// The limit.
        entries_max: usize,
    },
    /// The stated encoding does not exist.
    #[error("unknown encoding {label:?}")]
    Encoding {
        /// What was stated.
        label: String,
    },
}

/// An import under way. It remembers the listing, the hashes of attachments and the table it last
/// read, so that planning and then reading every item touches nothing more often than it must.
pub struct Import<'s> {
    pub(crate) importer: Importer,
    pub(crate) options: Options,
    pub(crate) library: Library,
    source: &'s dyn Source,
    encoding: Option<&'static Encoding>,
    table: Option<Table>,
}

/// What an importer needs to read one item.
pub(crate) struct Origin<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) options: &'a Options,
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) library: &'a mut Library,
}

impl<'s> Import<'s> {
    /// Lists `source` and gets ready to plan.
    ///
    /// # Errors
    ///
    /// When the source cannot be listed or an option makes no sense.
    pub fn open(
        source: &'s dyn Source,
        importer: Importer,
        options: Options,
    ) -> Result<Import<'s>, OpenError> {
        let encoding = match &options.encoding {
            None => None,
            Some(label) => {
                let found = Encoding::for_label(label.as_bytes());
                Some(found.ok_or_else(|| OpenError::Encoding { label: label.clone() })?)
            }
        };
        let library = Library::list(source)?;
        if library.overfull {
            return Err(OpenError::TooManyEntries { entries_max: ENTRIES_MAX });
        }
        Ok(Import { importer, options, library, source, encoding, table: None })
    }

    /// Reads one planned item.
    ///
    /// # Errors
    ///
    /// When the item is broken, or no longer what it was when it was planned. The import goes on
    /// with the next one.
    pub fn read_item(&mut self, item: &PlannedItem) -> Result<ImportedItem, ItemFailure> {
        let draft = self.draft(&item.path, item.row).and_then(|draft| match draft {
            Some(draft) if names(&draft, item) => Ok(draft),
            _ => Err(ItemError::Changed),
        });
        match draft {
            Ok(draft) => Ok(draft.finish(&item.key, &item.path)),
            Err(source) => Err(ItemFailure { path: item.path.clone(), source }),
        }
    }

    /// Reads the item at `path`, or row `row` of the table there; none if there is no item.
    pub(crate) fn draft(
        &mut self,
        path: &str,
        row: Option<u64>,
    ) -> Result<Option<Draft>, ItemError> {
        match self.importer {
            Importer::Markdown => markdown::read(&mut self.origin(), path).map(Some),
            Importer::Keep => keep::read(&mut self.origin(), path),
            Importer::Csv => self.table(path)?.draft(row.unwrap_or(0)),
        }
    }

    /// The table at `path`, read once.
    pub(crate) fn table(&mut self, path: &str) -> Result<&Table, ItemError> {
        let table = match self.table.take() {
            Some(table) if table.path() == path => table,
            _ => csv_table::load(&self.origin(), path)?,
        };
        Ok(self.table.insert(table))
    }

    fn origin(&mut self) -> Origin<'_> {
        Origin {
            source: self.source,
            options: &self.options,
            encoding: self.encoding,
            library: &mut self.library,
        }
    }
}

/// Whether `draft` is what was planned as `item`.
fn names(draft: &Draft, item: &PlannedItem) -> bool {
    let planned = &item.key.original_id;
    draft.original_id == *planned || with_path(&draft.original_id, &item.path) == *planned
}

/// A document before it has its id.
pub(crate) struct Draft {
    pub(crate) collection: String,
    pub(crate) original_id: String,
    pub(crate) fields: Fields,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) losses: Vec<LossKind>,
    pub(crate) original_time_ms: Option<i64>,
    unhashed: Fields,
}

impl Draft {
    pub(crate) fn new(collection: impl Into<String>, original_id: String) -> Draft {
        Draft {
            collection: collection.into(),
            original_id,
            fields: Fields::new(),
            attachments: Vec::new(),
            losses: Vec::new(),
            original_time_ms: None,
            unhashed: Fields::new(),
        }
    }

    pub(crate) fn text(&mut self, name: &str, text: impl Into<String>) {
        self.fields.insert(name.to_owned(), Field::Text(text.into()));
    }

    /// A list of texts, each once, in order; nothing when there are none.
    pub(crate) fn texts(&mut self, name: &str, texts: Vec<String>) {
        let mut seen = std::collections::BTreeSet::new();
        let unique: Vec<Field> =
            texts.into_iter().filter(|text| seen.insert(text.clone())).map(Field::Text).collect();
        if !unique.is_empty() {
            self.fields.insert(name.to_owned(), Field::List(unique));
        }
    }

    pub(crate) fn time(&mut self, name: &str, micros: Option<i64>) {
        if let Some(micros) = micros {
            self.fields.insert(name.to_owned(), Field::TimestampMicros(micros));
        }
    }

    /// A time that does not count when two imports are compared.
    pub(crate) fn unhashed_time(&mut self, name: &str, micros: Option<i64>) {
        if let Some(micros) = micros {
            self.unhashed.insert(name.to_owned(), Field::TimestampMicros(micros));
        }
    }

    pub(crate) fn finish(self, key: &ItemKey, path: &str) -> ImportedItem {
        let content_hash = content_hash(&self.collection, &self.fields);
        let mut fields = self.fields;
        fields.extend(self.unhashed);
        let loss = |what| Loss { path: path.to_owned(), what };
        ImportedItem {
            collection: self.collection,
            id: key.document_id(),
            fields,
            attachments: self.attachments,
            provenance: Provenance {
                importer: key.importer,
                scope: key.scope.clone(),
                original_id: key.original_id.clone(),
                original_time_ms: self.original_time_ms,
                content_hash,
            },
            losses: self.losses.into_iter().map(loss).collect(),
        }
    }
}

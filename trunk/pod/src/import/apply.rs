//! Carrying a plan out: items become documents, a hundred or so per event.

use super::attachments::Attachments;
use super::ledger::{self, BatchRow, ItemRow, Ledger};
use super::{Job, LISTED_MAX, fields_of, fingerprint, value};
use crate::{DEFAULT_APP, clock};
use rhizome_api::import::{ApplyAnswer, ApplyEvent, Item};
use rhizome_api::{ApiError, Problem};
use rhizome_doc::{BATCH_BYTES_MAX, Batch, Mutation};
use rhizome_import::{Action, ImportedItem, PlannedItem, Report, ReportLine, eta_ms};
use rhizome_schema::{DocPath, Fields, Value, json};
use std::time::Instant;
use tokio::sync::mpsc;

/// Most items of one event: enough that the disk is asked seldom, few enough that progress shows.
const ITEMS_PER_EVENT: usize = 100;

/// Bytes from which on an event is written: well below what one may have.
const EVENT_BYTES: usize = BATCH_BYTES_MAX * 3 / 4;

/// A text longer than this becomes an attachment, so that its document fits an event.
const TEXT_BYTES_MAX: usize = 96 << 10;

/// Imports everything that is new or differs.
pub fn apply(
    job: &Job,
    batch: Option<String>,
    events: &mpsc::Sender<ApplyEvent>,
) -> Result<ApplyAnswer, ApiError> {
    let since = Instant::now();
    let source = job.source()?;
    let mut import = job.open(&*source)?;
    let ledger = Ledger::read(&job.identity)?;
    let row = begin(job, batch)?;
    tell(events, ApplyEvent::Started { batch: row.id.clone() })?;
    let plan = job.look(&mut import, &ledger, &|| events.is_closed())?;
    let mut writing = Writing {
        job,
        attachments: Attachments::new(job, &*source)?,
        report: Report::begin(row.id.clone(), &plan),
        items: ledger::items(&row.document()?),
        row,
        ops: Vec::new(),
        ready: Vec::new(),
        bytes: 0,
        events: 0,
        collection: None,
        written_bytes: 0,
    };
    let todo: Vec<&PlannedItem> = plan.items.iter().filter(|item| item.action.writes()).collect();
    let total = todo.len() as u64;
    if total > 0 {
        writing.note_batch()?;
    }
    for (at, item) in todo.iter().enumerate() {
        let before = writing.events;
        match import.read_item(item) {
            Ok(read) => writing.add(&item.action, &item.path, read)?,
            Err(failure) => writing.report.failed(&failure),
        }
        if at + 1 == todo.len() {
            writing.flush()?;
        }
        if writing.events != before || at + 1 == todo.len() {
            let done = (at + 1 - writing.ready.len()) as u64;
            let elapsed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let (bytes, eta_ms) = (writing.written_bytes, eta_ms(elapsed, done, total));
            tell(events, ApplyEvent::Progress { done, total, bytes, eta_ms })?;
        }
    }
    writing.finish(total > 0)?;
    Ok(writing.answer(since))
}

fn tell(events: &mpsc::Sender<ApplyEvent>, event: ApplyEvent) -> Result<(), ApiError> {
    events.blocking_send(event).map_err(|_| {
        ApiError::new(Problem::INTERRUPTED, "the import was stopped; run it again to go on")
    })
}

/// The batch to go on with: the one that is named, one of the same source that was interrupted, or
/// a new one.
fn begin(job: &Job, name: Option<String>) -> Result<BatchRow, ApiError> {
    let path = job.path.display().to_string();
    let fresh = |id: String| BatchRow {
        id,
        kind: job.kind,
        path: path.clone(),
        collection: job.collection.clone(),
        at_ms: clock::now_ms(),
        ..BatchRow::default()
    };
    if let Some(name) = name {
        ledger::batch_document(&name)?;
        return match ledger::batch(&job.identity, &name)? {
            None => Ok(fresh(name)),
            Some(row) if row.kind == job.kind && !row.undone => {
                Ok(BatchRow { finished: false, ..row })
            }
            Some(_) => {
                let message = format!("batch `{name}` is of another kind, or was taken back");
                Err(ApiError::new(Problem::PRECONDITION, message).hint("rhizome import list"))
            }
        };
    }
    let same = |row: &BatchRow| {
        (row.kind, &row.path, &row.collection) == (job.kind, &path, &job.collection)
            && !row.finished
            && !row.undone
    };
    if let Some(row) = ledger::batches(&job.identity)?.into_iter().find(same) {
        return Ok(row);
    }
    let dice = clock::random::<4>();
    let id: String = dice.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(fresh(format!("{}-{id}", job.importer())))
}

/// A batch being written.
struct Writing<'a> {
    job: &'a Job,
    attachments: Attachments<'a>,
    report: Report,
    row: BatchRow,
    items: rhizome_schema::CollectionPath,
    ops: Vec<Mutation>,
    ready: Vec<(Action, ImportedItem)>,
    bytes: usize,
    events: u64,
    collection: Option<String>,
    written_bytes: u64,
}

impl Writing<'_> {
    /// Adds an item to the event being filled; one that cannot be written is reported.
    fn add(&mut self, action: &Action, source: &str, item: ImportedItem) -> Result<(), ApiError> {
        match self.mutations(&item) {
            Ok(mutations) => {
                let bytes = size(&mutations);
                let full = self.bytes + bytes > EVENT_BYTES || self.ready.len() >= ITEMS_PER_EVENT;
                if full {
                    self.flush()?;
                }
                self.bytes += bytes;
                self.ops.extend(mutations);
                self.ready.push((action.clone(), item));
                if self.ready.len() >= ITEMS_PER_EVENT {
                    self.flush()?;
                }
            }
            Err(reason) => self.report.failed_for(source, reason),
        }
        Ok(())
    }

    /// The document of an item and what is noted of it, or why it cannot be written.
    fn mutations(&mut self, item: &ImportedItem) -> Result<Vec<Mutation>, String> {
        for attachment in &item.attachments {
            self.attachments.store(attachment).map_err(|error| chain(&error))?;
        }
        let collection = self.job.collection_of(&item.collection);
        let path = DocPath::parse(&format!("{collection}/{}", item.id));
        let path = path.map_err(|error| chain(&error))?;
        let mut fields = Fields::new();
        for (name, field) in &item.fields {
            let field = value::value(field, self.attachments.stored());
            let field = self.fitting(field.map_err(|error| chain(&error))?)?;
            fields.insert(name.clone(), field);
        }
        let before = fields_of(&self.job.identity, &path).map_err(|error| error.message)?;
        let note = self.items.doc(item.id.as_str()).map_err(|error| chain(&error))?;
        let mut row = ItemRow {
            document: path.clone(),
            new: before.is_none(),
            fingerprint: fingerprint(&fields),
            before: before.map(|before| json::fields_to_json(&before)),
        };
        // What this batch wrote itself before it was interrupted is not what undoing restores.
        if let Some(own) = ledger::item(&self.job.identity, &note).map_err(|e| e.message)? {
            (row.new, row.before) = (own.new, own.before);
        }
        let note_of = |row: &ItemRow| {
            Mutation::set(note.clone(), row.to_fields(&item.provenance, &self.row.id))
        };
        let document = Mutation::set(path, fields);
        let mut both = vec![document, note_of(&row)];
        if size(&both) > EVENT_BYTES {
            // Without what was there before, undoing leaves the document as it is.
            row.before = None;
            both[1] = note_of(&row);
        }
        Batch::new(both.clone()).to_body().map_err(|error| chain(&error))?;
        self.collection.get_or_insert(collection);
        Ok(both)
    }

    /// A value that fits an event: a long text becomes an attachment.
    fn fitting(&self, value: Value) -> Result<Value, String> {
        match value {
            Value::Text(text) if text.len() > TEXT_BYTES_MAX => {
                let stored = self.attachments.store_text(&text, "text/plain; charset=utf-8");
                Ok(stored.map_err(|error| chain(&error))?.to_value())
            }
            value => Ok(value),
        }
    }

    /// Writes the event being filled.
    fn flush(&mut self) -> Result<(), ApiError> {
        if self.ops.is_empty() {
            return Ok(());
        }
        let ops = std::mem::take(&mut self.ops);
        self.write(ops)?;
        self.events += 1;
        self.written_bytes += std::mem::take(&mut self.bytes) as u64;
        for (action, item) in std::mem::take(&mut self.ready) {
            let attached: u64 = item.attachments.iter().map(|file| file.bytes).sum();
            self.written_bytes += attached;
            self.report.wrote(&action, &item);
        }
        Ok(())
    }

    fn write(&self, ops: Vec<Mutation>) -> Result<(), ApiError> {
        let body = Batch::new(ops).to_body();
        let body = body.map_err(|error| crate::methods::failure::write(&error.into()))?;
        let write = self.job.identity.handle.write(DEFAULT_APP, None, body);
        self.job.runtime.block_on(write)?;
        Ok(())
    }

    fn note_batch(&self) -> Result<(), ApiError> {
        self.write(vec![Mutation::set(self.row.document()?, self.row.to_fields())])
    }

    /// Notes that the batch is finished. One that wrote nothing and is not stored leaves no trace.
    fn finish(&mut self, wrote: bool) -> Result<(), ApiError> {
        let stored = ledger::batch(&self.job.identity, &self.row.id)?.is_some();
        if !wrote && !stored {
            return Ok(());
        }
        let items = ledger::items_of(&self.job.identity, &self.row.id)?;
        let new = items.iter().filter(|(_, item)| item.new).count() as u64;
        self.row.imported = new;
        self.row.updated = items.len() as u64 - new;
        self.row.failed = self.report.failed.len() as u64;
        self.row.finished = true;
        self.note_batch()
    }

    fn answer(self, since: Instant) -> ApplyAnswer {
        let lines = |lines: Vec<ReportLine>| {
            let item = |line: ReportLine| Item { path: line.path, reason: line.reason };
            lines.into_iter().take(LISTED_MAX).map(item).collect()
        };
        let default = || self.job.collection_of(super::COLLECTION_DEFAULT);
        ApplyAnswer {
            collection: self.collection.clone().unwrap_or_else(default),
            batch: self.row.id,
            imported: self.report.imported,
            updated: self.report.updated,
            unchanged: self.report.same,
            attachments: self.report.attachments,
            skipped: lines(self.report.skipped),
            failed: lines(self.report.failed),
            bytes: self.written_bytes,
            took_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// About how many bytes mutations take in an event.
fn size(mutations: &[Mutation]) -> usize {
    let one = |mutation: &Mutation| match &mutation.op {
        rhizome_doc::Op::Set { value, .. } => Value::fields_size(value),
        _ => 0,
    };
    mutations.iter().map(|mutation| mutation.path.as_str().len() + one(mutation)).sum()
}

/// A message with all its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

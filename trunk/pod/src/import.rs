//! Importing: what `trunk/import` reads from a folder or an archive becomes documents.
//!
//! Everything an import knows of itself is documents too (`imports/<batch>` and
//! `imports/<batch>/items/<id>`), written in the same events as what it brings: so an import that
//! was killed goes on, one that is repeated changes nothing, and one that is regretted is undone.

mod apply;
mod attachments;
mod folder;
mod ledger;
mod undo;
mod value;

use crate::identity::Identity;
use crate::methods::failure;
use crate::pod::Pod;
use folder::FolderSource;
use ledger::Ledger;
use rhizome_api::import::{
    ApplyAnswer, ApplyEvent, ApplyRequest, ImportKind, Item, ListAnswer, Loss, PlanAnswer,
    PlanRequest, SampleDocument, UndoAnswer, UndoRequest,
};
use rhizome_api::{ApiError, Problem};
use rhizome_import::{
    Action, Import, Importer, OpenError, Options, Plan, PlanError, PlannedItem, Source,
    ZipOpenError, ZipSource,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Largest attachment that is taken: it is read, sealed and kept in pieces, and a longer one would
/// fill the disk of a laptop before anybody noticed.
const ATTACHMENT_BYTES_MAX: u64 = 1 << 30;

/// Most items of a list in an answer: what a person may read.
const LISTED_MAX: usize = 1_000;

/// Longest text of a field in a sample.
const SAMPLE_TEXT_CHARACTERS: usize = 200;

/// Where notes go when nobody says otherwise.
const COLLECTION_DEFAULT: &str = "notes";

/// How an archive begins.
const ZIP_MAGIC: &[u8] = b"PK";

/// Says what an import would do.
pub async fn plan(pod: &Pod, request: PlanRequest) -> Result<PlanAnswer, ApiError> {
    let identity = pod.current()?;
    let job = Job::new(identity, request.kind, &request.path, request.collection)?;
    blocking(move || job.plan()).await
}

/// Imports.
pub async fn apply(
    pod: &Pod,
    request: ApplyRequest,
    events: mpsc::Sender<ApplyEvent>,
) -> Result<ApplyAnswer, ApiError> {
    let identity = pod.current()?;
    let job = Job::new(identity, request.kind, &request.path, request.collection)?;
    blocking(move || apply::apply(&job, request.batch, &events)).await
}

/// Takes an import back, as far as nothing was built on it.
pub async fn undo(pod: &Pod, request: UndoRequest) -> Result<UndoAnswer, ApiError> {
    let identity = pod.current()?;
    blocking(move || undo::undo(&identity, &request.batch)).await
}

/// Lists the imports so far.
pub async fn list(pod: &Pod) -> Result<ListAnswer, ApiError> {
    let identity = pod.current()?;
    blocking(move || {
        let mut batches = ledger::batches(&identity)?;
        batches.sort_by(|a, b| (b.at_ms, &b.id).cmp(&(a.at_ms, &a.id)));
        Ok(ListAnswer { batches: batches.into_iter().map(ledger::BatchRow::shown).collect() })
    })
    .await
}

/// Runs work that reads files on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError::from_error(Problem::INTERNAL, &error))?
}

/// What to import, and into what.
struct Job {
    identity: Arc<Identity>,
    kind: ImportKind,
    path: PathBuf,
    collection: Option<String>,
    runtime: tokio::runtime::Handle,
}

impl Job {
    fn new(
        identity: Arc<Identity>,
        kind: ImportKind,
        path: &str,
        collection: Option<String>,
    ) -> Result<Self, ApiError> {
        if let Some(collection) = &collection {
            crate::writes::collection(collection)?;
        }
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            let message = format!("`{}` is not an absolute path", path.display());
            return Err(ApiError::new(Problem::USAGE, message));
        }
        let runtime = tokio::runtime::Handle::current();
        Ok(Self { identity, kind, path, collection, runtime })
    }

    fn importer(&self) -> Importer {
        match self.kind {
            ImportKind::Markdown => Importer::Markdown,
            ImportKind::Keep => Importer::Keep,
            ImportKind::Csv => Importer::Csv,
        }
    }

    fn options(&self) -> Options {
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_archive = self.path.extension().is_some_and(|ending| ending == "zip");
        let scope = match self.kind {
            // Names of Keep notes are unique by themselves.
            ImportKind::Keep => None,
            // A vault and its archive are one source.
            _ if is_archive => stem,
            _ => name,
        };
        Options {
            scope: scope.unwrap_or_default(),
            attachment_bytes_max: ATTACHMENT_BYTES_MAX,
            ..Options::default()
        }
    }

    fn source(&self) -> Result<Box<dyn Source>, ApiError> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            let message = format!("cannot read {}", self.path.display());
            ApiError::new(Problem::IMPORT_SOURCE, message).caused_by(error)
        };
        let data = std::fs::metadata(&self.path).map_err(|error| failed(&error))?;
        if !data.is_file() || !is_zip(&self.path).map_err(|error| failed(&error))? {
            return Ok(Box::new(FolderSource::new(&self.path)));
        }
        let open = || -> Result<ZipSource<File>, ZipOpenError> {
            ZipSource::open(File::open(&self.path)?)
        };
        Ok(Box::new(open().map_err(|error| failed(&error))?))
    }

    fn open<'s>(&self, source: &'s dyn Source) -> Result<Import<'s>, ApiError> {
        let opened = Import::open(source, self.importer(), self.options());
        opened.map_err(|error| match error {
            OpenError::TooManyEntries { .. } => ApiError::from_error(Problem::TOO_LARGE, &error),
            _ => ApiError::from_error(Problem::IMPORT_SOURCE, &error),
        })
    }

    /// Looks at everything; `stop` ends it early.
    fn look(
        &self,
        import: &mut Import<'_>,
        ledger: &Ledger,
        stop: &dyn Fn() -> bool,
    ) -> Result<Plan, ApiError> {
        let known = |key: &rhizome_import::ItemKey| ledger.known(&key.document_id());
        let planned = import.plan(&known, &mut |_| match stop() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        planned.map_err(|error| match error {
            PlanError::Stopped => ApiError::from_error(Problem::INTERRUPTED, &error),
            _ => ApiError::from_error(Problem::TOO_LARGE, &error),
        })
    }

    /// Where an item goes.
    fn collection_of(&self, own: &str) -> String {
        self.collection.clone().unwrap_or_else(|| own.to_owned())
    }

    fn plan(&self) -> Result<PlanAnswer, ApiError> {
        let source = self.source()?;
        let mut import = self.open(&*source)?;
        let ledger = Ledger::read(&self.identity)?;
        let plan = self.look(&mut import, &ledger, &|| false)?;
        let own = plan.sample.first().map_or(COLLECTION_DEFAULT, |sample| &sample.collection);
        let totals = plan.totals;
        Ok(PlanAnswer {
            kind: self.kind,
            path: self.path.display().to_string(),
            collection: self.collection_of(own),
            new: totals.new,
            updated: totals.update,
            unchanged: totals.same,
            attachments: totals.attachments,
            bytes: totals.bytes + totals.attachment_bytes,
            sample: self.sample(&mut import, &plan),
            losses: losses(&plan),
            failed: plan.items.iter().filter_map(failure_of).take(LISTED_MAX).collect(),
        })
    }

    fn sample(&self, import: &mut Import<'_>, plan: &Plan) -> Vec<SampleDocument> {
        let shown = |item: &PlannedItem| {
            let read = import.read_item(item).ok()?;
            let fields = read.fields.iter().map(|(name, field)| (name.clone(), field.to_json()));
            let mut fields: serde_json::Value = fields.collect::<serde_json::Map<_, _>>().into();
            shorten(&mut fields);
            let path = format!("{}/{}", self.collection_of(&read.collection), read.id);
            Some(SampleDocument { path, source: item.path.clone(), fields })
        };
        let writes = plan.items.iter().filter(|item| item.action.writes());
        writes.take(plan.sample.len()).filter_map(shown).collect()
    }
}

fn is_zip(path: &Path) -> io::Result<bool> {
    let mut start = [0; ZIP_MAGIC.len()];
    match File::open(path)?.read_exact(&mut start) {
        Ok(()) => Ok(start == ZIP_MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn shorten(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(SAMPLE_TEXT_CHARACTERS) {
                text.truncate(end);
                text.push('…');
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(shorten),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

fn losses(plan: &Plan) -> Vec<Loss> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for loss in &plan.losses {
        *counts.entry(loss.what.to_string()).or_default() += 1;
    }
    let mut losses: Vec<Loss> =
        counts.into_iter().map(|(what, count)| Loss { what, count }).collect();
    losses.sort_by_key(|loss| std::cmp::Reverse(loss.count));
    losses.truncate(LISTED_MAX);
    if plan.losses_left_out > 0 {
        losses.push(Loss { what: "more of this kind".to_owned(), count: plan.losses_left_out });
    }
    losses
}

fn failure_of(item: &PlannedItem) -> Option<Item> {
    match &item.action {
        Action::Fail(reason) => Some(Item { path: item.path.clone(), reason: reason.clone() }),
        _ => None,
    }
}

/// The fields of a document as seen here.
fn fields_of(
    identity: &Identity,
    path: &rhizome_schema::DocPath,
) -> Result<Option<Arc<rhizome_schema::Fields>>, ApiError> {
    let documents = identity.handle.documents(crate::DEFAULT_APP);
    let found = documents.get(identity.handle.index(), path);
    let found = found.map_err(|error| failure::documents(&error))?;
    Ok(found.map(|doc| Arc::clone(&doc.fields)))
}

/// By which it is seen whether a document is still what an import wrote.
fn fingerprint(fields: &rhizome_schema::Fields) -> String {
    let text = rhizome_schema::json::fields_to_json(fields);
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

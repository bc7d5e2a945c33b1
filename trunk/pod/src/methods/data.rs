//! Documents: reading, writing, finding, exporting, comparing.

use crate::identity::Identity;
use crate::methods::events::Opened;
use crate::methods::facts::Facts;
use crate::methods::select::query_of;
use crate::methods::walk::{self, Walk};
use crate::methods::{events, failure};
use crate::pod::Pod;
use crate::writes::{self, Wait};
use rhizome_api::data::{
    Aggregate as ApiAggregate, AggregateAnswer, AggregateRequest, BatchRequest, Collection,
    DeleteRequest, Document, Explain, ExportAnswer, ExportDocument, ExportEvent, ExportRequest,
    GetAnswer, GetRequest, HashAnswer, HistoryAnswer, HistoryEntry, HistoryRequest, LsAnswer,
    LsRequest, Position, QueryAnswer, QueryRequest, SetRequest, SettleAnswer, SettleRequest,
    UpdateRequest, WriteAnswer,
};
use rhizome_api::{ApiError, Durability, Problem, ReadLevel};
use rhizome_doc::{Aggregate, Batch, Doc, Record};
use rhizome_schema::{CollectionPath, DocPath};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

/// Most documents or collections of one answer; the rest follows with `after`.
const LIST_MAX: u64 = 10_000;

/// Most changes of a document that are told at once, and how many without being asked.
const HISTORY_MAX: u64 = 1_000;
const HISTORY_DEFAULT: u64 = 50;

/// How often hashes are taken again when something was written meanwhile.
const HASH_TRIES: usize = 5;

/// A place in the order as the local API shows it.
pub fn position(at: rhizome_log::Position) -> Position {
    Position { g: at.g, i: at.i }
}

/// Lists collections, or the documents of one.
pub async fn ls(pod: &Pod, request: LsRequest) -> Result<LsAnswer, ApiError> {
    let identity = pod.current()?;
    let app = writes::app(request.app)?;
    let limit = request.limit.unwrap_or(LIST_MAX).clamp(1, LIST_MAX);
    let Some(collection) = request.collection else {
        let found = block_in_place(|| walk::collections(identity.handle.index(), &app))?;
        let mut collections: Vec<Collection> = found
            .into_iter()
            .filter(|(path, _)| request.after.as_ref().is_none_or(|after| path > after))
            .map(|(path, documents)| Collection { path, documents })
            .collect();
        let rest = collections.len() as u64 > limit;
        collections.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = collections.last().filter(|_| rest).map(|last| last.path.clone());
        return Ok(LsAnswer { collections, documents: Vec::new(), next });
    };
    let collection = writes::collection(&collection)?;
    let after = request.after.as_deref().map(|after| after_path(&collection, after)).transpose()?;
    let facts = Facts::of(&identity).await?;
    block_in_place(|| {
        let mut documents = Vec::new();
        let mut rest = false;
        let walk = Walk::new(identity.handle.index(), &app, Some(&collection), after.as_ref());
        walk.each(|path, record| {
            rest = documents.len() as u64 == limit;
            if !rest {
                documents.push(shown(&path, &record, &facts));
            }
            !rest
        })?;
        let next = documents.last().filter(|_| rest).map(|last| last.path.clone());
        Ok(LsAnswer { collections: Vec::new(), documents, next })
    })
}

/// Where to go on: the path of a document, or its id alone.
fn after_path(collection: &CollectionPath, after: &str) -> Result<DocPath, ApiError> {
    let path = if after.contains('/') { DocPath::parse(after) } else { collection.doc(after) };
    path.map_err(|error| failure::invalid(&error))
}

/// Reads one document.
pub async fn get(pod: &Pod, request: GetRequest) -> Result<GetAnswer, ApiError> {
    let identity = pod.current()?;
    let app = writes::app(request.app)?;
    let path = writes::document(&request.path)?;
    let facts = Facts::of(&identity).await?;
    let index = identity.handle.index();
    let record = match request.level {
        ReadLevel::Local => {
            let record = identity.handle.documents(&app).record(index, &path);
            record.map_err(|error| failure::documents(&error))?
        }
        ReadLevel::Committed => walk::committed(index, &app, &path)?,
    };
    match record.filter(|record| record.value.is_some()) {
        Some(record) => Ok(GetAnswer { document: shown(&path, &record, &facts) }),
        None => Err(missing(&path)),
    }
}

fn missing(path: &DocPath) -> ApiError {
    let hint = format!("rhizome data ls {}", path.collection().as_str());
    ApiError::new(Problem::NOT_FOUND, format!("no document `{}`", path.as_str())).hint(hint)
}

/// A document that exists.
fn shown(path: &DocPath, record: &Record, facts: &Facts) -> Document {
    let fields = record.value.as_deref().map(writes::fields_json).unwrap_or_default();
    Document {
        path: path.as_str().to_owned(),
        fields,
        durability: facts.durability(record),
        updated_ms: Some(record.updated_ms),
        version: record.at.map(position),
        conflicts: record.conflicts.len() as u64,
    }
}

/// How far the newest change of a document of a result has travelled.
pub fn durability_of(
    identity: &Identity,
    app: &str,
    doc: &Doc,
    facts: &Facts,
) -> Result<Durability, ApiError> {
    match doc.at {
        Some(at) if !doc.pending => Ok(facts.durability_at(at)),
        _ => {
            let record = identity.handle.documents(app).record(identity.handle.index(), &doc.path);
            let record = record.map_err(|error| failure::documents(&error))?;
            Ok(record.map_or(Durability::Local, |record| facts.durability(&record)))
        }
    }
}

/// Writes one document.
pub async fn set(pod: &Pod, request: SetRequest) -> Result<WriteAnswer, ApiError> {
    let mutation = writes::set(&request.path, &request.fields, request.merge)?;
    let wait = Wait::of(request.wait, request.timeout_ms);
    let app = writes::app(request.app)?;
    writes::write(&*pod.current()?, &app, &Batch::new(vec![mutation]), wait).await
}

/// Changes fields of a document.
pub async fn update(pod: &Pod, request: UpdateRequest) -> Result<WriteAnswer, ApiError> {
    let mutation = writes::update(&request.path, &request.fields)?;
    let wait = Wait::of(request.wait, request.timeout_ms);
    let app = writes::app(request.app)?;
    writes::write(&*pod.current()?, &app, &Batch::new(vec![mutation]), wait).await
}

/// Deletes one document.
pub async fn delete(pod: &Pod, request: DeleteRequest) -> Result<WriteAnswer, ApiError> {
    let mutation = writes::delete(&request.path)?;
    let wait = Wait::of(request.wait, request.timeout_ms);
    let app = writes::app(request.app)?;
    writes::write(&*pod.current()?, &app, &Batch::new(vec![mutation]), wait).await
}

/// Applies several writes as one event.
pub async fn batch(pod: &Pod, request: BatchRequest) -> Result<WriteAnswer, ApiError> {
    let ops = request.ops.iter().map(writes::mutation).collect::<Result<_, _>>()?;
    let wait = Wait::of(request.wait, request.timeout_ms);
    let app = writes::app(request.app)?;
    writes::write(&*pod.current()?, &app, &Batch::new(ops), wait).await
}

/// Finds documents.
pub async fn query(pod: &Pod, request: QueryRequest) -> Result<QueryAnswer, ApiError> {
    let identity = pod.current()?;
    let app = writes::app(request.app)?;
    let query = query_of(&request.collection, &request.selection)?;
    let facts = Facts::of(&identity).await?;
    block_in_place(|| {
        let since = Instant::now();
        let (documents, index) = (identity.handle.documents(&app), identity.handle.index());
        let plan = identity.handle.plan(&documents, &query);
        let plan = plan.map_err(|error| failure::query(&error))?;
        let found = documents.query(index, &query).map_err(|error| failure::query(&error))?;
        let took = since.elapsed();
        let explain = request.explain.then(|| {
            let matched = found.len() as u64;
            let ranged = plan.is_indexed();
            let scanned = match ranged {
                true => matched,
                false => walk::count(index, &app, query.scope.collection())?,
            };
            let index = ranged.then(|| plan.explain());
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            Ok::<_, ApiError>(Explain { index, scanned, matched, took_us })
        });
        let one = |doc: &Arc<Doc>| {
            Ok(Document {
                path: doc.path.as_str().to_owned(),
                fields: writes::fields_json(&doc.fields),
                durability: durability_of(&identity, &app, doc, &facts)?,
                updated_ms: Some(doc.updated_ms),
                version: doc.at.map(position),
                conflicts: doc.conflicts as u64,
            })
        };
        let documents = found.iter().map(one).collect::<Result<_, ApiError>>()?;
        Ok(QueryAnswer { documents, explain: explain.transpose()? })
    })
}

/// Counts, sums and averages documents.
pub async fn aggregate(pod: &Pod, request: AggregateRequest) -> Result<AggregateAnswer, ApiError> {
    let identity = pod.current()?;
    let app = writes::app(request.app)?;
    let query = query_of(&request.collection, &request.selection)?;
    let number = |number: &ApiAggregate| {
        Ok(match number {
            ApiAggregate::Count => Aggregate::Count,
            ApiAggregate::Sum(field) => Aggregate::Sum(writes::field(field)?),
            ApiAggregate::Average(field) => Aggregate::Average(writes::field(field)?),
        })
    };
    let asked: Vec<Aggregate> =
        request.numbers.iter().map(number).collect::<Result<_, ApiError>>()?;
    block_in_place(|| {
        let (documents, index) = (identity.handle.documents(&app), identity.handle.index());
        identity.handle.plan(&documents, &query).map_err(|error| failure::query(&error))?;
        let values = documents.aggregate(index, &query, &asked);
        let values = values.map_err(|error| failure::query(&error))?;
        Ok(AggregateAnswer { values: values.iter().map(writes::value_json).collect() })
    })
}

/// Says who changed a document, when, and on which device.
pub async fn history(pod: &Pod, request: HistoryRequest) -> Result<HistoryAnswer, ApiError> {
    let identity = pod.current()?;
    let app = writes::app(request.app)?;
    let path = writes::document(&request.path)?;
    let limit = request.limit.unwrap_or(HISTORY_DEFAULT).clamp(1, HISTORY_MAX);
    let facts = Facts::of(&identity).await?;
    let (documents, index) = (identity.handle.documents(&app), identity.handle.index());
    let (changes, record) = block_in_place(|| {
        let changes = documents.history(index, &path)?;
        Ok((changes, documents.record(index, &path)?))
    })
    .map_err(|error| failure::documents(&error))?;
    if changes.is_empty() {
        return Err(missing(&path));
    }
    let conflicts = record.map(|record| record.conflicts).unwrap_or_default();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    for change in changes.into_iter().rev().take(limit) {
        let opened = events::open(&identity, change.log, change.seq).await?;
        let yielded = conflicts
            .iter()
            .any(|conflict| conflict.stamp.log == change.log && conflict.stamp.seq == change.seq);
        entries.push(HistoryEntry {
            event: change.id.to_string(),
            at_ms: change.hlc.ms(),
            device: facts.name(&change.log.author),
            kind: change.summary.as_str().to_owned(),
            fields: opened
                .as_ref()
                .map(|opened| Opened::assigned(opened, &path))
                .unwrap_or_default(),
            durability: match change.at {
                Some(at) => facts.durability_at(at),
                None => facts.durability_of(&change.log, change.seq).min(Durability::Copied),
            },
            position: change.at.map(position),
            yielded,
        });
    }
    Ok(HistoryAnswer { path: request.path, entries })
}

/// Streams documents in canonical order.
pub async fn export(
    pod: &Pod,
    request: ExportRequest,
    sender: mpsc::Sender<ExportEvent>,
) -> Result<ExportAnswer, ApiError> {
    let identity = pod.current()?;
    let collection = request.collection.as_deref().map(writes::collection).transpose()?;
    let apps = match request.app {
        Some(app) => vec![writes::app(Some(app))?],
        None => Facts::of(&identity).await?.apps().into_iter().collect(),
    };
    let mut hash = ExportHash::default();
    for app in apps {
        let mut walk = Walk::new(identity.handle.index(), &app, collection.as_ref(), None);
        loop {
            let page = block_in_place(|| walk.page())?;
            if page.is_empty() {
                break;
            }
            for (path, record) in page {
                let Some(document) = hash.add(&app, &path, &record) else { continue };
                let sent = sender.send(ExportEvent::Document(document)).await;
                sent.map_err(|_| ApiError::new(Problem::INTERRUPTED, "nobody reads any more"))?;
            }
        }
    }
    Ok(hash.answer())
}

/// SHA-256 of the lines of an export, each with its line break.
#[derive(Default)]
struct ExportHash {
    hash: Sha256,
    documents: u64,
}

impl ExportHash {
    /// Adds a document, if it exists.
    fn add(&mut self, app: &str, path: &DocPath, record: &Record) -> Option<ExportDocument> {
        let fields = writes::fields_json(record.value.as_deref()?);
        let path = path.as_str().to_owned();
        let document = ExportDocument { app: app.to_owned(), fields, path };
        self.hash.update(document.line().as_bytes());
        self.hash.update(b"\n");
        self.documents += 1;
        Some(document)
    }

    fn answer(self) -> ExportAnswer {
        ExportAnswer { documents: self.documents, hash: hex(&self.hash.finalize()) }
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |text, byte| format!("{text}{byte:02x}"))
}

/// Waits until everything known here has travelled far enough.
pub async fn settle(pod: &Pod, request: SettleRequest) -> Result<SettleAnswer, ApiError> {
    let identity = pod.current()?;
    let since = Instant::now();
    let wait = Wait::of(Some(request.level), request.timeout_ms);
    let everything = |facts: &Facts| {
        let logs = &facts.status.logs;
        let committed = facts.all_committed && facts.status.control_waiting == 0;
        match request.level {
            Durability::Local => true,
            Durability::Copied => logs.iter().all(|log| facts.copies(&log.log, log.held) > 0),
            Durability::Committed => committed,
            Durability::Pinned => {
                committed && facts.pinned.is_some_and(|at| at.i >= facts.status.applied.i)
            }
        }
    };
    let facts = writes::settled(&identity, wait, everything).await?;
    Ok(SettleAnswer {
        level: request.level,
        events: facts.status.logs.iter().map(|log| log.held).sum(),
        waited_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Hashes of what this device holds.
pub async fn hash(pod: &Pod) -> Result<HashAnswer, ApiError> {
    let identity = pod.current()?;
    let mut before = Facts::of(&identity).await?;
    for _ in 0..HASH_TRIES {
        let answer = block_in_place(|| hash_now(&identity, &before))?;
        let after = Facts::of(&identity).await?;
        if (&before.status.logs, before.status.applied, before.control)
            == (&after.status.logs, after.status.applied, after.control)
        {
            return Ok(answer);
        }
        before = after;
    }
    Err(ApiError::new(Problem::ABORTED, "something was written each time hashes were taken")
        .hint("rhizome data settle"))
}

fn hash_now(identity: &Identity, facts: &Facts) -> Result<HashAnswer, ApiError> {
    let index = identity.handle.index();
    let mut export = ExportHash::default();
    let mut state = blake3::Hasher::new_derive_key("rhizome 2026 device state v1");
    let mut committed = blake3::Hasher::new_derive_key("rhizome 2026 device committed v1");
    let mut indexes_ok = true;
    for app in facts.apps() {
        let mut walk = Walk::new(index, &app, None, None);
        loop {
            let page = walk.page()?;
            if page.is_empty() {
                break;
            }
            for (path, record) in page {
                export.add(&app, &path, &record);
            }
        }
        let documents = identity.handle.documents(&app);
        let hashes = || {
            let (all, settled) = (documents.state_hash(index)?, documents.committed_hash(index)?);
            Ok((all, settled, documents.check_indexes(index)?))
        };
        let (all, settled, check) = hashes().map_err(|error| failure::documents(&error))?;
        for (hasher, hash) in [(&mut state, all), (&mut committed, settled)] {
            hasher.update(&(app.len() as u64).to_be_bytes());
            hasher.update(app.as_bytes());
            hasher.update(&hash);
        }
        indexes_ok &= check.is_right();
    }
    let applied = facts.status.applied;
    for (hasher, control) in [(&mut state, facts.control.0), (&mut committed, facts.control.1)] {
        hasher.update(&control.to_bytes());
        hasher.update(&applied.g.to_be_bytes());
        hasher.update(&applied.i.to_be_bytes());
        hasher.update(&applied.c);
    }
    let ExportAnswer { documents, hash } = export.answer();
    Ok(HashAnswer {
        documents,
        export_hash: hash,
        state_hash: hex(state.finalize().as_bytes()),
        committed_hash: hex(committed.finalize().as_bytes()),
        indexes_ok,
    })
}

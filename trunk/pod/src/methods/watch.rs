//! Listening: the result of a query, then every change of it.
//!
//! A listener is told what the index holds now, never what a change said a moment ago, so that a
//! slow reader skips states and never sees one twice.

use crate::handle::Changes;
use crate::handle::Pulse;
use crate::identity::Identity;
use crate::methods::data::durability_of;
use crate::methods::facts::Facts;
use crate::methods::failure;
use crate::methods::select::query_of;
use crate::pod::Pod;
use crate::writes;
use rhizome_api::data::{Change as ApiChange, ChangeKind, WatchEvent, WatchRequest};
use rhizome_api::{ApiError, Durability, Empty, Problem};
use rhizome_doc::{Change, Doc, DocChange, Documents, Kind, Listener, Snapshot, Target};
use rhizome_schema::DocPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::sync::{broadcast, mpsc};
use tokio::task::block_in_place;

/// How often whoever asked for it hears that only the durability changed.
const DURABILITY_PAUSE: Duration = Duration::from_millis(250);

/// Finds documents and tells every change from then on.
pub async fn watch(
    pod: &Pod,
    request: WatchRequest,
    events: mpsc::Sender<WatchEvent>,
) -> Result<Empty, ApiError> {
    let identity = pod.current()?;
    let app: Arc<str> = writes::app(request.app.clone())?.into();
    let target = target(&request)?;
    let documents = identity.handle.documents(&app);
    // Changes are heard from before the first look, so that none falls between.
    let mut changes = identity.handle.changes();
    let mut pulse = identity.handle.pulse();
    if let Target::Query(query) = &target {
        identity.handle.plan(&documents, query).map_err(|error| failure::query(&error))?;
    }
    let opened =
        block_in_place(|| Listener::open(&documents, identity.handle.index(), target.clone()));
    let (listener, first) = opened.map_err(|error| failure::query(&error))?;
    let mut watching = Watching {
        identity,
        app,
        documents,
        target,
        listener,
        metadata: request.metadata,
        told: BTreeMap::new(),
        events,
    };
    watching.tell(first).await?;
    let mut look_again = tokio::time::interval(DURABILITY_PAUSE);
    loop {
        tokio::select! {
            heard = changes.recv() => watching.heard(heard, &mut changes).await?,
            () = has_ended(&mut pulse) => {
                let message = "the identity was closed; watch it again";
                return Err(ApiError::new(Problem::ABORTED, message));
            }
            _ = look_again.tick(), if watching.metadata => watching.tell_durability().await?,
        }
    }
}

/// Resolves when the actor has ended; the guard of the channel stays inside.
async fn has_ended(pulse: &mut watch::Receiver<Pulse>) {
    // A sender that is gone has ended too.
    let _ = pulse.wait_for(|pulse| pulse.ended.is_some()).await;
}

/// A path with an even number of parts is one document.
fn target(request: &WatchRequest) -> Result<Target, ApiError> {
    if let Ok(path) = DocPath::parse(&request.path) {
        if request.selection.is_all() {
            return Ok(Target::Document(path));
        }
        let message = format!("`{}` is one document, and has no conditions", request.path);
        return Err(ApiError::new(Problem::INVALID, message));
    }
    Ok(Target::Query(query_of(&request.path, &request.selection)?))
}

struct Watching {
    identity: Arc<Identity>,
    app: Arc<str>,
    documents: Documents,
    target: Target,
    listener: Listener,
    metadata: bool,
    told: BTreeMap<String, Durability>,
    events: mpsc::Sender<WatchEvent>,
}

impl Watching {
    /// Takes everything that is heard by now as one step.
    async fn heard(
        &mut self,
        first: Result<Changes, broadcast::error::RecvError>,
        changes: &mut broadcast::Receiver<Changes>,
    ) -> Result<(), ApiError> {
        let mut touched = BTreeSet::new();
        let mut missed = self.note(first.ok(), &mut touched);
        loop {
            match changes.try_recv() {
                Ok(more) => {
                    self.note(Some(more), &mut touched);
                }
                Err(broadcast::error::TryRecvError::Lagged(_)) => missed = true,
                Err(_) => break,
            }
        }
        let snapshot = block_in_place(|| self.advance(&touched, missed))?;
        match snapshot {
            Some(snapshot) => self.tell(snapshot).await,
            None => Ok(()),
        }
    }

    /// Notes which documents changed; `true` if some changes were missed.
    fn note(&self, changes: Option<Changes>, touched: &mut BTreeSet<DocPath>) -> bool {
        let Some(changes) = changes else { return true };
        let ours = changes.iter().filter(|(app, _)| *app == self.app);
        touched.extend(ours.map(|(_, change)| change.path.clone()));
        false
    }

    fn advance(
        &mut self,
        touched: &BTreeSet<DocPath>,
        missed: bool,
    ) -> Result<Option<Snapshot>, ApiError> {
        let index = self.identity.handle.index();
        let mut paths = touched.clone();
        if missed {
            let fresh = Listener::open(&self.documents, index, self.target.clone());
            let (fresh, _) = fresh.map_err(|error| failure::query(&error))?;
            let all = self.listener.docs().iter().chain(fresh.docs());
            paths.extend(all.map(|doc| doc.path.clone()));
        }
        let now = |path: DocPath| {
            let after = self.documents.get(index, &path)?;
            Ok(Change { path, before: None, after })
        };
        let changes: Vec<Change> = paths
            .into_iter()
            .map(now)
            .collect::<Result<_, _>>()
            .map_err(|error| failure::documents(&error))?;
        let snapshot = self.listener.update(&self.documents, index, &changes);
        snapshot.map_err(|error| failure::query(&error))
    }

    async fn tell(&mut self, snapshot: Snapshot) -> Result<(), ApiError> {
        if snapshot.is_metadata_only() && !snapshot.changes.is_empty() && !self.metadata {
            return Ok(());
        }
        let facts = Facts::of(&self.identity).await?;
        let mut changes = Vec::with_capacity(snapshot.changes.len());
        for change in &snapshot.changes {
            let durability = durability_of(&self.identity, &self.app, &change.doc, &facts)?;
            let path = change.doc.path.as_str().to_owned();
            match change.kind {
                Kind::Removed => self.told.remove(&path),
                _ => self.told.insert(path, durability),
            };
            changes.push(shown(change, durability));
        }
        self.send(changes, &facts).await
    }

    /// Tells documents whose durability changed, and nothing else of them.
    async fn tell_durability(&mut self) -> Result<(), ApiError> {
        let docs: Vec<Arc<Doc>> = self.listener.docs().to_vec();
        if docs.is_empty() {
            return Ok(());
        }
        let facts = Facts::of(&self.identity).await?;
        let mut changes = Vec::new();
        for (at, doc) in docs.iter().enumerate() {
            let durability = durability_of(&self.identity, &self.app, doc, &facts)?;
            let told = self.told.insert(doc.path.as_str().to_owned(), durability);
            if told.is_some_and(|told| told != durability) {
                let doc = Arc::clone(doc);
                let (old_index, new_index) = (Some(at), Some(at));
                let change = DocChange { kind: Kind::Metadata, doc, old_index, new_index };
                changes.push(shown(&change, durability));
            }
        }
        if changes.is_empty() { Ok(()) } else { self.send(changes, &facts).await }
    }

    async fn send(&self, changes: Vec<ApiChange>, facts: &Facts) -> Result<(), ApiError> {
        let pending = self.listener.docs().iter().any(|doc| doc.pending);
        let event = WatchEvent::Snapshot { changes, pending, from_cache: facts.is_behind() };
        let sent = self.events.send(event).await;
        sent.map_err(|_| ApiError::new(Problem::INTERRUPTED, "nobody listens any more"))
    }
}

fn shown(change: &DocChange, durability: Durability) -> ApiChange {
    ApiChange {
        kind: match change.kind {
            Kind::Removed => ChangeKind::Removed,
            Kind::Added => ChangeKind::Added,
            Kind::Modified | Kind::Metadata => ChangeKind::Modified,
        },
        path: change.doc.path.as_str().to_owned(),
        fields: writes::fields_json(&change.doc.fields),
        durability,
        old_index: change.old_index.map(|at| at as u64),
        new_index: change.new_index.map(|at| at as u64),
    }
}

//! Following a query or a document.
//!
//! Changes of several writes that wait for a slow consumer become one snapshot, so that nobody
//! falls behind for good and the newest state always arrives.

use crate::database::Database;
use crate::error::Error;
use crate::reference::Document;
use futures_util::Stream;
use futures_util::stream::unfold;
use rhizome_doc::{Kind, Listener, Target};
use rhizome_schema::{Code, DocPath};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::block_in_place;

type Changes = Arc<Vec<(Arc<str>, rhizome_doc::Change)>>;

/// What happened to one document of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<T> {
    /// What happened.
    pub kind: Kind,
    /// The document; as it was, if it left.
    pub document: Document<T>,
    /// Its place before this step; `None` if it came.
    pub old_index: Option<usize>,
    /// Its place after this step; `None` if it left.
    pub new_index: Option<usize>,
}

/// A result, and how it came from the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    /// All documents, in order.
    pub docs: Vec<Document<T>>,
    /// The steps from the result before.
    pub changes: Vec<Change<T>>,
    /// Whether any document is pending.
    pub has_pending_writes: bool,
}

impl<T: DeserializeOwned> Snapshot<T> {
    fn of(snapshot: &rhizome_doc::Snapshot) -> Result<Self, Error> {
        let change = |change: &rhizome_doc::DocChange| {
            Ok(Change {
                kind: change.kind,
                document: Document::of(&change.doc)?,
                old_index: change.old_index,
                new_index: change.new_index,
            })
        };
        Ok(Self {
            docs: snapshot.docs.iter().map(|doc| Document::of(doc)).collect::<Result<_, _>>()?,
            changes: snapshot.changes.iter().map(change).collect::<Result<_, Error>>()?,
            has_pending_writes: snapshot.has_pending_writes,
        })
    }
}

/// What both kinds of watch share.
struct Following {
    db: Database,
    target: Target,
    listener: Listener,
    heard: Receiver<Changes>,
    first: Option<rhizome_doc::Snapshot>,
    metadata: bool,
}

impl Following {
    fn open(db: &Database, target: Target) -> Result<Self, Error> {
        // Listening begins before reading, so that nothing falls between the two.
        let heard = db.handle().changes();
        if let Target::Query(query) = &target {
            db.handle().plan(db.documents(), query)?;
        }
        let index = db.handle().index();
        let (listener, first) =
            block_in_place(|| Listener::open(db.documents(), index, target.clone()))?;
        Ok(Self { db: db.clone(), target, listener, heard, first: Some(first), metadata: false })
    }

    async fn next(&mut self) -> Result<rhizome_doc::Snapshot, Error> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            let (touched, missed) = self.hear().await?;
            let snapshot = block_in_place(|| self.advance(touched, missed))?;
            if let Some(snapshot) = snapshot
                && (self.metadata || !snapshot.is_metadata_only())
            {
                return Ok(snapshot);
            }
        }
    }

    /// Waits for changes and takes all that are there: their documents, and whether some changes
    /// were missed.
    async fn hear(&mut self) -> Result<(BTreeSet<DocPath>, bool), Error> {
        let mut touched = BTreeSet::new();
        let mut missed = false;
        // This handle keeps the channel open, so the end is heard from the pulse.
        let mut pulse = self.db.handle().pulse();
        let heard = tokio::select! {
            biased;
            heard = self.heard.recv() => heard,
            _ = pulse.wait_for(|pulse| pulse.ended.is_some()) => Err(RecvError::Closed),
        };
        match heard {
            Ok(changes) => self.note(&changes, &mut touched),
            Err(RecvError::Lagged(_)) => missed = true,
            Err(RecvError::Closed) => {
                return Err(Error::new(Code::Unavailable, "replica is closed"));
            }
        }
        loop {
            match self.heard.try_recv() {
                Ok(changes) => self.note(&changes, &mut touched),
                Err(TryRecvError::Lagged(_)) => missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => {
                    return Ok((touched, missed));
                }
            }
        }
    }

    fn note(&self, changes: &Changes, touched: &mut BTreeSet<DocPath>) {
        let ours = changes.iter().filter(|(app, _)| **app == *self.db.documents().app());
        touched.extend(ours.map(|(_, change)| change.path.clone()));
    }

    /// Reads what was touched as it is now: what was heard may be older than what was read.
    fn advance(
        &mut self,
        mut touched: BTreeSet<DocPath>,
        missed: bool,
    ) -> Result<Option<rhizome_doc::Snapshot>, Error> {
        let (documents, index) = (self.db.documents(), self.db.handle().index());
        if missed {
            let (fresh, _) = Listener::open(documents, index, self.target.clone())?;
            let all = self.listener.docs().iter().chain(fresh.docs());
            touched.extend(all.map(|doc| doc.path.clone()));
        }
        let now = |path: DocPath| {
            let after = documents.get(index, &path)?;
            Ok(rhizome_doc::Change { path, before: None, after })
        };
        let changes = touched.into_iter().map(now).collect::<Result<Vec<_>, Error>>()?;
        Ok(self.listener.update(documents, index, &changes)?)
    }
}

/// Follows the result of a query.
pub struct Watch<T> {
    following: Following,
    form: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Watch<T> {
    pub(crate) fn open(db: &Database, target: Target) -> Result<Self, Error> {
        Ok(Self { following: Following::open(db, target)?, form: PhantomData })
    }

    /// Also tells changes of metadata alone, such as `pending`.
    #[must_use]
    pub fn include_metadata_changes(mut self) -> Self {
        self.following.metadata = true;
        self
    }

    /// The result as it is, the first time; then waits until it changes. Dropping the future
    /// loses nothing that a later call would not tell.
    pub async fn next(&mut self) -> Result<Snapshot<T>, Error> {
        Snapshot::of(&self.following.next().await?)
    }

    /// The same as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Snapshot<T>, Error>> {
        unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            let told = watch.next().await;
            let rest = told.is_ok().then_some(watch);
            Some((told, rest))
        })
    }
}

/// Follows one document.
pub struct DocumentWatch<T> {
    watch: Watch<T>,
}

impl<T: DeserializeOwned> DocumentWatch<T> {
    pub(crate) fn open(db: &Database, path: DocPath) -> Result<Self, Error> {
        Ok(Self { watch: Watch::open(db, Target::Document(path))? })
    }

    /// The document as it is, the first time; then waits until it changes.
    pub async fn next(&mut self) -> Result<Option<Document<T>>, Error> {
        Ok(self.watch.next().await?.docs.pop())
    }
}

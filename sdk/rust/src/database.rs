//! The documents of one app: where references come from, and the one way that writes take.

use crate::app::{App, Verb};
use crate::batch::Batch;
use crate::collection::Collection;
use crate::error::Error;
use crate::query::Query;
use crate::written::Written;
use rhizome_doc::{Documents, Mutation, Scope};
use rhizome_log::Overlay;
use rhizome_pod::Handle;
use rhizome_schema::{Code, CollectionPath};
use std::sync::Arc;

/// The documents of one app. Cloning shares it.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    documents: Documents,
    app: App,
}

impl Database {
    pub(crate) fn new(handle: Handle, app: App) -> Self {
        let documents = handle.documents(app.name());
        Self { shared: Arc::new(Shared { handle, documents, app }) }
    }

    /// A collection whose documents have the form of `T`.
    pub fn collection<T>(&self, path: &str) -> Result<Collection<T>, Error> {
        let path = CollectionPath::parse(path)?;
        self.check(&path, Verb::Read)?;
        Ok(Collection::new(self.clone(), path))
    }

    /// All documents of every collection of this name, wherever it lies; for an app that asks for
    /// all of its own.
    pub fn collection_group<T>(&self, name: &str) -> Result<Query<T>, Error> {
        let path = CollectionPath::parse(name)?;
        if path.parent().is_some() {
            let message = format!("a group of collections has a name, and `{name}` is a path");
            return Err(Error::new(Code::InvalidArgument, message));
        }
        self.shared.app.check_group(name)?;
        Ok(Query::new(self.clone(), Scope::Group(name.to_owned())))
    }

    /// Writes that apply together or not at all.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.shared.handle
    }

    pub(crate) fn documents(&self) -> &Documents {
        &self.shared.documents
    }

    pub(crate) fn check(&self, collection: &CollectionPath, verb: Verb) -> Result<(), Error> {
        self.shared.app.check(collection, verb)
    }

    /// Writes one event; resolves once it is durable here.
    pub(crate) async fn write(&self, ops: Vec<Mutation>) -> Result<Written, Error> {
        for mutation in &ops {
            self.check(&mutation.path.collection(), Verb::Write)?;
        }
        let batch = rhizome_doc::Batch::new(ops);
        batch.validate()?;
        let body = batch.to_body()?;
        let Shared { handle, documents, app } = &*self.shared;
        // A look at a few rows, mostly in memory: handing it to another thread would cost more.
        documents.check(&Overlay::new(handle.index()), &batch)?;
        let done = handle.write(app.name(), None, body).await?;
        let written = Written::new(self.clone(), done);
        written.refused(Code::Aborted)?;
        Ok(written)
    }
}

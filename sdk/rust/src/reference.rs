//! One document: its place, and what is there.

use crate::app::Verb;
use crate::collection::Collection;
use crate::convert::{fields_of, typed};
use crate::database::Database;
use crate::error::Error;
use crate::update::Update;
use crate::watch::DocumentWatch;
use crate::written::Written;
use rhizome_doc::{Doc, Mutation};
use rhizome_schema::DocPath;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use tokio::task::block_in_place;

/// A document that exists, as this device sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<T> {
    /// Its id.
    pub id: String,
    /// Its path.
    pub path: String,
    /// What it holds.
    pub data: T,
    /// Whether part of it has no place in the order yet (Firestore's `hasPendingWrites`).
    pub pending: bool,
    /// When it came into being, by its writer's clock, in milliseconds.
    pub created_ms: u64,
    /// When it last changed, by its writer's clock, in milliseconds.
    pub updated_ms: u64,
    /// How many values lost against later ones and wait for somebody to look.
    pub conflicts: usize,
}

impl<T: DeserializeOwned> Document<T> {
    pub(crate) fn of(doc: &Doc) -> Result<Self, Error> {
        Ok(Self {
            id: doc.path.id().to_owned(),
            path: doc.path.as_str().to_owned(),
            data: typed(&doc.path, &doc.fields)?,
            pending: doc.pending,
            created_ms: doc.created_ms,
            updated_ms: doc.updated_ms,
            conflicts: doc.conflicts,
        })
    }
}

/// The place of a document, there or not.
pub struct DocumentRef<T> {
    db: Database,
    path: DocPath,
    form: PhantomData<fn() -> T>,
}

impl<T> Clone for DocumentRef<T> {
    fn clone(&self) -> Self {
        Self::new(self.db.clone(), self.path.clone())
    }
}

impl<T> DocumentRef<T> {
    pub(crate) fn new(db: Database, path: DocPath) -> Self {
        Self { db, path, form: PhantomData }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.path.id()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    pub(crate) fn doc_path(&self) -> &DocPath {
        &self.path
    }

    /// A collection below it.
    pub fn collection<U>(&self, id: &str) -> Result<Collection<U>, Error> {
        let path = self.path.collection_below(id)?;
        self.db.collection(path.as_str())
    }

    /// Writes fields of `value`, leaving the others; maps merge deeply.
    pub async fn merge(&self, value: &impl Serialize) -> Result<Written, Error> {
        let mutation = Mutation::merge(self.path.clone(), fields_of(value)?);
        self.db.write(vec![mutation]).await
    }

    /// Changes fields of the document, which must exist.
    pub async fn update(&self, update: Update) -> Result<Written, Error> {
        let mutation = Mutation::update(self.path.clone(), update.into_ops()?);
        self.db.write(vec![mutation]).await
    }

    /// Removes the document, if it is there.
    pub async fn delete(&self) -> Result<Written, Error> {
        self.db.write(vec![Mutation::delete(self.path.clone())]).await
    }
}

impl<T: Serialize> DocumentRef<T> {
    /// Replaces the document; durable here once it resolves.
    pub async fn set(&self, value: &T) -> Result<Written, Error> {
        let mutation = Mutation::set(self.path.clone(), fields_of(value)?);
        self.db.write(vec![mutation]).await
    }

    /// Writes the document unless there is one: then `already-exists`.
    pub async fn create(&self, value: &T) -> Result<Written, Error> {
        let mutation = Mutation::set(self.path.clone(), fields_of(value)?).if_exists(false);
        self.db.write(vec![mutation]).await
    }
}

impl<T: DeserializeOwned> DocumentRef<T> {
    /// Reads the document as this device sees it, pending writes included.
    pub async fn get(&self) -> Result<Option<Document<T>>, Error> {
        self.db.check(&self.path.collection(), Verb::Read)?;
        let index = self.db.handle().index();
        let found = block_in_place(|| self.db.documents().get(index, &self.path))?;
        found.map(|doc| Document::of(&doc)).transpose()
    }

    /// Follows the document: as it is now, then whenever it changes.
    pub async fn watch(&self) -> Result<DocumentWatch<T>, Error> {
        self.db.check(&self.path.collection(), Verb::Read)?;
        DocumentWatch::open(&self.db, self.path.clone())
    }
}

//! A collection: documents of one form under one path.

use crate::database::Database;
use crate::error::Error;
use crate::query::Query;
use crate::reference::{Document, DocumentRef};
use crate::written::Written;
use rhizome_schema::{CollectionPath, auto_id};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// Documents of the form of `T` under one path.
pub struct Collection<T> {
    db: Database,
    path: CollectionPath,
    form: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self::new(self.db.clone(), self.path.clone())
    }
}

impl<T> Collection<T> {
    pub(crate) fn new(db: Database, path: CollectionPath) -> Self {
        Self { db, path, form: PhantomData }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// The document of this id, there or not.
    pub fn doc(&self, id: &str) -> Result<DocumentRef<T>, Error> {
        Ok(DocumentRef::new(self.db.clone(), self.path.doc(id)?))
    }

    /// A document with an id that nothing else has.
    #[must_use]
    pub fn new_doc(&self) -> DocumentRef<T> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the operating system gives randomness");
        let path = self.path.doc(&auto_id(random)).expect("letters and digits make an id");
        DocumentRef::new(self.db.clone(), path)
    }

    /// All documents, to be filtered, ordered and limited.
    pub fn query(&self) -> Query<T> {
        Query::new(self.db.clone(), self.path.clone())
    }
}

impl<T: Serialize> Collection<T> {
    /// Writes a new document; durable here once it resolves.
    pub async fn add(&self, value: &T) -> Result<(DocumentRef<T>, Written), Error> {
        let document = self.new_doc();
        let written = document.set(value).await?;
        Ok((document, written))
    }
}

impl<T: DeserializeOwned> Collection<T> {
    /// All documents, by id.
    pub async fn get(&self) -> Result<Vec<Document<T>>, Error> {
        self.query().get().await
    }
}

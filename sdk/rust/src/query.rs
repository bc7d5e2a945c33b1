//! Finding documents of a collection.

use crate::convert::value_of;
use crate::database::Database;
use crate::error::Error;
use crate::reference::Document;
use crate::watch::Watch;
use rhizome_doc::{Direction, Operator, Target};
use rhizome_schema::{CollectionPath, FieldPath};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use tokio::task::block_in_place;

/// Documents of a collection that match filters, in an order. A mistake in one of its parts is told
/// when it is asked.
#[must_use = "nothing is read until it is asked"]
pub struct Query<T> {
    db: Database,
    query: rhizome_doc::Query,
    wrong: Option<Error>,
    form: PhantomData<fn() -> T>,
}

impl<T> Query<T> {
    pub(crate) fn new(db: Database, collection: CollectionPath) -> Self {
        let query = rhizome_doc::Query::of(collection);
        Self { db, query, wrong: None, form: PhantomData }
    }

    /// Keeps documents whose field compares like this.
    pub fn filter(mut self, field: &str, operator: Operator, value: impl Serialize) -> Self {
        let parts = FieldPath::parse(field).map_err(Error::from);
        match parts.and_then(|field| Ok((field, value_of(&value)?))) {
            Ok((field, value)) => self.query = self.query.filter(field, operator, value),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// Orders by a field, after those named before; documents without it are not in the result.
    pub fn order_by(mut self, field: &str, direction: Direction) -> Self {
        match FieldPath::parse(field) {
            Ok(field) => self.query = self.query.order_by(field, direction),
            Err(error) => self.wrong = self.wrong.or(Some(error.into())),
        }
        self
    }

    /// At most so many.
    pub fn limit(mut self, limit: usize) -> Self {
        self.query = self.query.limit(limit);
        self
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// The documents as this device sees them.
    pub async fn get(self) -> Result<Vec<Document<T>>, Error> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let (documents, handle) = (self.db.documents(), self.db.handle());
        handle.plan(documents, &self.query)?;
        let index = handle.index();
        let found = block_in_place(|| documents.query(index, &self.query))?;
        found.iter().map(|doc| Document::of(doc)).collect()
    }

    /// Follows the result: as it is now, then whenever it changes.
    pub async fn watch(self) -> Result<Watch<T>, Error> {
        match self.wrong {
            Some(error) => Err(error),
            None => Watch::open(&self.db, Target::Query(self.query)),
        }
    }
}

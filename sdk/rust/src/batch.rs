//! Writes that apply together or not at all: one event.

use crate::convert::fields_of;
use crate::database::Database;
use crate::error::Error;
use crate::reference::DocumentRef;
use crate::update::Update;
use crate::written::Written;
use rhizome_doc::Mutation;
use serde::Serialize;

/// Writes that apply together or not at all.
#[must_use = "nothing is written until it is committed"]
pub struct Batch {
    db: Database,
    ops: Vec<Mutation>,
    wrong: Option<Error>,
}

impl Batch {
    pub(crate) fn new(db: Database) -> Self {
        Self { db, ops: Vec::new(), wrong: None }
    }

    /// Replaces a document.
    pub fn set<T: Serialize>(self, document: &DocumentRef<T>, value: &T) -> Self {
        let fields = fields_of(value);
        self.with(fields.map(|fields| Mutation::set(document.doc_path().clone(), fields)))
    }

    /// Writes fields of a document, leaving the others.
    pub fn merge<T>(self, document: &DocumentRef<T>, value: &impl Serialize) -> Self {
        let fields = fields_of(value);
        self.with(fields.map(|fields| Mutation::merge(document.doc_path().clone(), fields)))
    }

    /// Changes fields of a document, which must exist.
    pub fn update<T>(self, document: &DocumentRef<T>, update: Update) -> Self {
        let ops = update.into_ops();
        self.with(ops.map(|ops| Mutation::update(document.doc_path().clone(), ops)))
    }

    /// Removes a document.
    pub fn delete<T>(self, document: &DocumentRef<T>) -> Self {
        self.with(Ok(Mutation::delete(document.doc_path().clone())))
    }

    fn with(mut self, mutation: Result<Mutation, Error>) -> Self {
        match mutation {
            Ok(mutation) => self.ops.push(mutation),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// Writes all of it as one event; durable here once it resolves.
    pub async fn commit(self) -> Result<Written, Error> {
        match self.wrong {
            Some(error) => Err(error),
            None => self.db.write(self.ops).await,
        }
    }
}

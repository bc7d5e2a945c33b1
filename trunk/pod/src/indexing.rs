//! Indexes of fields are built behind the first query that needs them.
//!
//! That query looks at every document; meanwhile the actor reads the collection a stretch at a
//! time, between its batches, so that no write waits long. The next query reads a range. What an
//! index is and how far it has come is `trunk/doc`'s, kept in rows: after a crash it goes on where
//! it stood, when a query wants it again.

use crate::handle::{EditError, Handle};
use rhizome_doc::{AnswerError, Building, Documents, Part, Plan, Query, Scope};
use rhizome_log::Overlay;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Documents looked at in one turn of the actor: about a millisecond.
const STRETCH_DOCUMENTS: usize = 256;

/// Most indexes that are built at once; a query beyond looks at every document, as it did before.
const BUILDING_MAX: usize = 8;

/// One index under way: its app, scope and fields.
type Wanted = (String, Scope, Vec<Part>);

/// The indexes that are being built, so that none is built twice at once.
pub type UnderWay = Arc<Mutex<BTreeSet<Wanted>>>;

impl Handle {
    /// How `query` is answered now. If it has to look at every document, the index it would rather
    /// read is built from here on, unless somebody builds it already. Must be called inside the
    /// runtime.
    pub fn plan(&self, documents: &Documents, query: &Query) -> Result<Plan, AnswerError> {
        let plan = documents.plan(self.index(), query)?;
        if let Plan::Scan { wanted } = &plan {
            let wanted = (documents.app().to_owned(), query.scope.clone(), wanted.clone());
            let mut under_way = self.indexing.lock().unwrap_or_else(PoisonError::into_inner);
            if under_way.len() < BUILDING_MAX && under_way.insert(wanted.clone()) {
                tokio::spawn(build(self.clone(), wanted));
            }
        }
        Ok(plan)
    }
}

async fn build(handle: Handle, wanted: Wanted) {
    if let Err(error) = stretches(&handle, &wanted).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "an index is not built");
    }
    handle.indexing.lock().unwrap_or_else(PoisonError::into_inner).remove(&wanted);
}

async fn stretches(handle: &Handle, wanted: &Wanted) -> Result<(), EditError> {
    loop {
        let (app, scope, parts) = wanted.clone();
        let stretch = move |overlay: &mut Overlay<'_>| {
            Documents::new(&app).build_index(overlay, &scope, &parts, STRETCH_DOCUMENTS)
        };
        match handle.edit(stretch).await? {
            Building::More => {}
            Building::Complete | Building::Full => return Ok(()),
        }
    }
}

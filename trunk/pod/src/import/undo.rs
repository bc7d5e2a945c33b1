//! Taking an import back, as far as nothing was built on it.

use super::ledger::{self, BatchRow, ItemRow};
use super::{LISTED_MAX, fields_of, fingerprint};
use crate::DEFAULT_APP;
use crate::identity::Identity;
use crate::methods::failure;
use rhizome_api::import::{Item, UndoAnswer};
use rhizome_api::{ApiError, Problem};
use rhizome_doc::{Batch, Mutation};
use rhizome_schema::{DocPath, json};
use std::sync::Arc;

/// Most items taken back in one event.
const ITEMS_PER_EVENT: usize = 100;

/// Bytes of restored documents from which on an event is written.
const EVENT_BYTES: usize = rhizome_doc::BATCH_BYTES_MAX / 2;

/// Takes a batch back. What somebody changed since stays.
pub fn undo(identity: &Arc<Identity>, id: &str) -> Result<UndoAnswer, ApiError> {
    let Some(row) = ledger::batch(identity, id)? else {
        let message = format!("no import is called `{id}`");
        return Err(ApiError::new(Problem::UNKNOWN_NAME, message).hint("rhizome import list"));
    };
    let mut answer = UndoAnswer { batch: id.to_owned(), ..UndoAnswer::default() };
    let (mut ops, mut bytes) = (Vec::new(), 0);
    for (note, item) in ledger::items_of(identity, id)? {
        let before = item.before.as_ref().map_or(0, String::len);
        if ops.len() >= ITEMS_PER_EVENT * 2 || bytes + before > EVENT_BYTES && !ops.is_empty() {
            write(identity, std::mem::take(&mut ops))?;
            bytes = 0;
        }
        match step(identity, &item)? {
            Step::Gone => ops.push(Mutation::delete(note)),
            Step::Remove => {
                answer.removed += 1;
                ops.extend([Mutation::delete(item.document), Mutation::delete(note)]);
            }
            Step::Restore(mutation) => {
                answer.restored += 1;
                bytes += before;
                ops.extend([*mutation, Mutation::delete(note)]);
            }
            Step::Keep(reason) if answer.kept.len() < LISTED_MAX => {
                answer.kept.push(Item { path: item.document.as_str().to_owned(), reason });
            }
            Step::Keep(_) => {}
        }
    }
    let document: DocPath = row.document()?;
    let done = BatchRow { undone: true, finished: true, ..row };
    ops.push(Mutation::set(document, done.to_fields()));
    write(identity, ops)?;
    Ok(answer)
}

enum Step {
    /// Somebody removed the document.
    Gone,
    /// The import made the document, and nobody changed it.
    Remove,
    /// The import changed the document, and nobody since.
    Restore(Box<Mutation>),
    /// It stays, and why.
    Keep(String),
}

fn step(identity: &Identity, item: &ItemRow) -> Result<Step, ApiError> {
    let Some(now) = fields_of(identity, &item.document)? else { return Ok(Step::Gone) };
    if fingerprint(&now) != item.fingerprint {
        return Ok(Step::Keep("it was changed since".to_owned()));
    }
    if item.new {
        return Ok(Step::Remove);
    }
    let before = item.before.as_deref().and_then(|before| json::fields_from_json(before).ok());
    Ok(match before {
        Some(before) => Step::Restore(Box::new(Mutation::set(item.document.clone(), before))),
        None => Step::Keep("what was there before was too large to note".to_owned()),
    })
}

fn write(identity: &Identity, ops: Vec<Mutation>) -> Result<(), ApiError> {
    let body = Batch::new(ops).to_body().map_err(|error| failure::write(&error.into()))?;
    let runtime = tokio::runtime::Handle::current();
    runtime.block_on(identity.handle.write(DEFAULT_APP, None, body))?;
    Ok(())
}

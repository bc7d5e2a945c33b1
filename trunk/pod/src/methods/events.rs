//! Events as they were written: opened again from the disk, for history and for the log.

use crate::identity::Identity;
use crate::writes;
use rhizome_api::ApiError;
use rhizome_doc::{Batch, Op};
use rhizome_log::{Event, LogId};
use rhizome_replica::{Access, Replica};
use rhizome_schema::DocPath;
use rhizome_seal::EventKey;
use serde_json::{Map, Value as Json};

/// Most documents named in the summary of an event.
const NAMED_MAX: usize = 2;

/// An event and what it says.
pub struct Opened {
    /// When its author wrote it, by the author's clock.
    pub at_ms: u64,
    /// What it does, if it is a batch of mutations.
    pub batch: Option<Batch>,
}

/// Reads and opens one event. `None`: it is not here, or sealed under keys that are not at hand.
pub async fn open(identity: &Identity, log: LogId, seq: u64) -> Result<Option<Opened>, ApiError> {
    let look = move |replica: &Replica, access: &Access<'_, '_>| {
        let run = replica.pack_run(access, &log, seq.checked_sub(1)?).ok().flatten()?;
        let (events, _) = run.unpack().ok()?;
        open_event(replica, events.first()?)
    };
    Ok(identity.handle.look(look).await?)
}

/// Opens an event with the keys at hand.
pub fn open_event(replica: &Replica, event: &Event) -> Option<Opened> {
    let secret = replica.keys().secret_of(&event.header.epoch)?;
    let key = EventKey::derive(secret, &event.header.log.tag.0);
    let payload = event.open(&key).ok()?;
    let batch = Batch::from_body(&payload.body).ok();
    Some(Opened { at_ms: payload.hlc.ms(), batch })
}

impl Opened {
    /// What it assigned in one document, as a request would have it.
    #[must_use]
    pub fn assigned(&self, path: &DocPath) -> Json {
        let Some(batch) = &self.batch else { return Json::Null };
        let mut fields = Map::new();
        for mutation in batch.ops.iter().filter(|mutation| mutation.path == *path) {
            let ops = match &mutation.op {
                Op::Delete => {
                    fields.clear();
                    continue;
                }
                Op::Set { value, ops, .. } => {
                    if let Json::Object(assigned) = writes::fields_json(value) {
                        fields.extend(assigned);
                    }
                    ops
                }
                Op::Update(ops) => ops,
            };
            fields.extend(
                ops.iter().map(|(field, op)| (field.to_string(), writes::operation_json(op))),
            );
        }
        Json::Object(fields)
    }

    /// What it does, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(batch) = &self.batch else { return "not a batch of mutations".to_owned() };
        let one = |mutation: &rhizome_doc::Mutation| {
            let verb = match &mutation.op {
                Op::Set { merge: rhizome_doc::Merge::None, .. } => "set",
                Op::Set { .. } => "merge",
                Op::Update(_) => "update",
                Op::Delete => "delete",
            };
            format!("{verb} {}", mutation.path.as_str())
        };
        let named: Vec<String> = batch.ops.iter().take(NAMED_MAX).map(one).collect();
        match batch.ops.len().saturating_sub(NAMED_MAX) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    /// The first document it touches.
    #[must_use]
    pub fn first(&self) -> Option<&DocPath> {
        self.batch.as_ref()?.ops.first().map(|mutation| &mutation.path)
    }
}

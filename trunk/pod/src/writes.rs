//! From JSON to events: reads mutations, checks them against what is here, writes them as one
//! event, and waits as far as was asked.

use crate::DEFAULT_APP;
use crate::handle::WriteDone;
use crate::identity::Identity;
use crate::methods::facts::Facts;
use crate::methods::failure;
use rhizome_api::data::WriteAnswer;
use rhizome_api::{ApiError, Durability, Problem};
use rhizome_doc::{Batch, FieldOp, Mutation};
use rhizome_log::Overlay;
use rhizome_schema::{CollectionPath, DocPath, FieldPath, Number, Value, json};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Most bytes of an app's name: the names of apps are domain names.
const APP_BYTES_MAX: usize = 255;

/// How long to wait for copies or a place in the order when the caller does not say.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// The longest that a caller may wait: beyond, it asks again.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Pauses between two looks at what others acknowledged: short enough not to be felt, and growing,
/// so that long waits cost nothing.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How far to wait, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// How far.
    pub level: Durability,
    /// How long.
    pub limit: Duration,
}

impl Wait {
    /// What a request asks for.
    #[must_use]
    pub fn of(level: Option<Durability>, timeout_ms: Option<u64>) -> Self {
        let limit = timeout_ms.map_or(WAIT_DEFAULT, Duration::from_millis).min(WAIT_MAX);
        Self { level: level.unwrap_or_default(), limit }
    }
}

/// The app a request is about.
pub fn app(name: Option<String>) -> Result<String, ApiError> {
    let name = name.unwrap_or_else(|| DEFAULT_APP.to_owned());
    if name.is_empty() || name.len() > APP_BYTES_MAX || name.chars().any(char::is_control) {
        let message = format!("name of an app has 1 to {APP_BYTES_MAX} bytes, no control ones");
        return Err(ApiError::new(Problem::INVALID, message));
    }
    Ok(name)
}

/// The path of a document.
pub fn document(path: &str) -> Result<DocPath, ApiError> {
    DocPath::parse(path).map_err(|error| failure::invalid(&error))
}

/// The path of a collection.
pub fn collection(path: &str) -> Result<CollectionPath, ApiError> {
    CollectionPath::parse(path).map_err(|error| failure::invalid(&error))
}

/// The path of a field.
pub fn field(path: &str) -> Result<FieldPath, ApiError> {
    FieldPath::parse(path).map_err(|error| failure::invalid(&error))
}

/// A value.
pub fn value(json: &Json) -> Result<Value, ApiError> {
    json::from_tree(json).map_err(|error| failure::invalid(&error))
}

/// Writes a document whole, or merges into it.
pub fn set(path: &str, fields: &Json, merge: bool) -> Result<Mutation, ApiError> {
    let path = document(path)?;
    let fields = json::fields_from_tree(fields).map_err(|error| failure::invalid(&error))?;
    Ok(if merge { Mutation::merge(path, fields) } else { Mutation::set(path, fields) })
}

/// Changes fields of a document.
pub fn update(path: &str, fields: &BTreeMap<String, Json>) -> Result<Mutation, ApiError> {
    let path = document(path)?;
    let ops = fields.iter().map(|(name, json)| Ok((field(name)?, operation(name, json)?)));
    Ok(Mutation::update(path, ops.collect::<Result<_, ApiError>>()?))
}

/// Removes a document.
pub fn delete(path: &str) -> Result<Mutation, ApiError> {
    Ok(Mutation::delete(document(path)?))
}

/// One mutation as a request has it.
pub fn mutation(write: &rhizome_api::data::Write) -> Result<Mutation, ApiError> {
    use rhizome_api::data::Write;
    match write {
        Write::Set { path, fields, merge } => set(path, fields, *merge),
        Write::Update { path, fields } => update(path, fields),
        Write::Delete { path } => delete(path),
    }
}

/// An operation on a field, or a value to assign.
fn operation(name: &str, json: &Json) -> Result<FieldOp, ApiError> {
    let tagged = json.as_object().filter(|object| object.len() == 1);
    let Some((tag, operand)) = tagged.and_then(|object| object.iter().next()) else {
        return Ok(FieldOp::Assign(value(json)?));
    };
    let wrong = |needs: &str| {
        ApiError::new(Problem::INVALID, format!("`{tag}` of field `{name}` needs {needs}"))
    };
    let elements = || match value(operand)? {
        Value::Array(elements) => Ok(elements),
        _ => Err(wrong("an array")),
    };
    Ok(match tag.as_str() {
        "$increment" => {
            FieldOp::Increment(Number::try_from(value(operand)?).map_err(|_| wrong("a number"))?)
        }
        "$arrayUnion" => FieldOp::ArrayUnion(elements()?),
        "$arrayRemove" => FieldOp::ArrayRemove(elements()?),
        "$delete" if *operand == Json::Bool(true) => FieldOp::DeleteField,
        "$serverTime" if *operand == Json::Bool(true) => FieldOp::ServerTime,
        "$delete" | "$serverTime" => return Err(wrong("true")),
        _ => FieldOp::Assign(value(json)?),
    })
}

/// An operation as a request would have it.
#[must_use]
pub fn operation_json(operation: &FieldOp) -> Json {
    let list = |values: &[Value]| values.iter().map(value_json).collect::<Vec<_>>();
    match operation {
        FieldOp::Assign(value) => value_json(value),
        FieldOp::DeleteField => serde_json::json!({ "$delete": true }),
        FieldOp::ServerTime => serde_json::json!({ "$serverTime": true }),
        FieldOp::Increment(by) => serde_json::json!({ "$increment": value_json(&(*by).into()) }),
        FieldOp::Minimum(at) => serde_json::json!({ "$minimum": value_json(&(*at).into()) }),
        FieldOp::Maximum(at) => serde_json::json!({ "$maximum": value_json(&(*at).into()) }),
        FieldOp::ArrayUnion(values) => serde_json::json!({ "$arrayUnion": list(values) }),
        FieldOp::ArrayRemove(values) => serde_json::json!({ "$arrayRemove": list(values) }),
    }
}

/// A value as JSON.
#[must_use]
pub fn value_json(value: &Value) -> Json {
    serde_json::from_str(&json::to_json(value)).expect("values have a JSON form")
}

/// Fields as JSON.
#[must_use]
pub fn fields_json(fields: &rhizome_schema::Fields) -> Json {
    serde_json::from_str(&json::fields_to_json(fields)).expect("fields have a JSON form")
}

/// Writes a batch that a person or an app made.
pub async fn write(
    identity: &Identity,
    app: &str,
    batch: &Batch,
    wait: Wait,
) -> Result<WriteAnswer, ApiError> {
    batch.validate().map_err(|error| failure::write(&error.into()))?;
    write_own(identity, app, batch, wait).await
}

/// Writes a batch that may hold what only the pod makes (references to attachments).
pub async fn write_own(
    identity: &Identity,
    app: &str,
    batch: &Batch,
    wait: Wait,
) -> Result<WriteAnswer, ApiError> {
    let documents = identity.handle.documents(app);
    let body = batch.to_body().map_err(|error| failure::write(&error.into()))?;
    let index = identity.handle.index();
    documents.check(&Overlay::new(index), batch).map_err(|error| failure::write(&error))?;
    let done = identity.handle.write(app, None, body).await?;
    let outcome = documents.outcome(index, &done.log, done.seq);
    if let Some(outcome) = outcome.map_err(|error| failure::documents(&error))? {
        let message = format!("somebody else was faster: {}", outcome.reason);
        return Err(ApiError::new(Problem::ABORTED, message));
    }
    if wait.level == Durability::Local {
        return reached_now(identity, batch, &done).await;
    }
    let mut certified = None;
    let facts = settled(identity, wait, |facts| {
        if wait.level == Durability::Pinned && certified.is_none() {
            let committed = facts.is_committed(&done.log, done.seq);
            certified = committed.then_some(facts.status.applied);
        }
        match wait.level {
            Durability::Local => true,
            Durability::Copied => facts.copies(&done.log, done.seq) > 0,
            Durability::Committed => facts.is_committed(&done.log, done.seq),
            Durability::Pinned => match (facts.pinned, certified) {
                (Some(pinned), Some(at)) => pinned.i >= at.i,
                _ => false,
            },
        }
    })
    .await?;
    let reached = facts.durability_of(&done.log, done.seq);
    let pinned = wait.level == Durability::Pinned;
    Ok(WriteAnswer {
        paths: paths_of(batch),
        event: done.id.to_string(),
        durability: if pinned { Durability::Pinned } else { reached },
        copies: facts.copies(&done.log, done.seq),
    })
}

/// The answer to who waits for nothing but this device: how far the write has travelled by now.
async fn reached_now(
    identity: &Identity,
    batch: &Batch,
    done: &WriteDone,
) -> Result<WriteAnswer, ApiError> {
    let (log, seq) = (done.log, done.seq);
    let look = identity
        .handle
        .look(move |replica, _| (replica.is_committed(&log, seq), replica.copies(&log, seq)));
    let (committed, copies) = look.await?;
    let durability = match (committed, copies) {
        (true, _) => Durability::Committed,
        (false, 0) => Durability::Local,
        (false, _) => Durability::Copied,
    };
    let (event, copies) = (done.id.to_string(), copies as u64);
    Ok(WriteAnswer { paths: paths_of(batch), event, durability, copies })
}

/// The documents a batch touches, each once, in order.
fn paths_of(batch: &Batch) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let path = |mutation: &Mutation| mutation.path.as_str().to_owned();
    batch.ops.iter().map(path).filter(|path| seen.insert(path.clone())).collect()
}

/// Looks until `done` holds. What was written is saved, whatever comes of the waiting.
pub async fn settled(
    identity: &Identity,
    wait: Wait,
    mut done: impl FnMut(&Facts) -> bool + Send,
) -> Result<Facts, ApiError> {
    let since = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        let facts = Facts::of(identity).await.map_err(ApiError::saved)?;
        if done(&facts) {
            return Ok(facts);
        }
        let left = wait.limit.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(not_confirmed(&facts, wait));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn not_confirmed(facts: &Facts, wait: Wait) -> ApiError {
    let awaited = |who: Vec<String>, nobody: &str| match who.as_slice() {
        [] => nobody.to_owned(),
        who => format!("waiting for {}", who.join(", ")),
    };
    let (what, why, hint) = match wait.level {
        Durability::Local | Durability::Copied => {
            let who = facts.others().map(|one| one.name.clone()).collect();
            ("copied", awaited(who, "there is no other device yet"), "rhizome device link")
        }
        Durability::Committed => {
            let away = facts.voters.iter().filter(|id| **id != facts.me);
            let who = away.map(|id| facts.name(id)).collect();
            ("confirmed", awaited(who, "the order is being settled"), "rhizome status")
        }
        Durability::Pinned => {
            let cloud = rhizome_api::DeviceKind::CloudPeer;
            let who = facts.others().filter(|one| one.kind == cloud);
            let who = who.map(|one| one.name.clone()).collect();
            let why = awaited(who, "there is no cloud peer yet");
            ("in a checkpoint elsewhere", why, "rhizome snapshot create")
        }
    };
    let message = format!("not {what} within {} ms: {why}", wait.limit.as_millis());
    ApiError::new(Problem::NOT_CONFIRMED, message).saved().hint(hint)
}

#[cfg(test)]
mod tests;

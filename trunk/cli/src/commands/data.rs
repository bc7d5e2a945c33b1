//! `rhizome data`: documents.

mod arguments;

pub(crate) use arguments::{DataCommand, EXAMPLES};

use crate::client::Next;
use crate::context::Context;
use crate::progress::Progress;
use crate::{parse, prompt, render};
use arguments::{ExportArgs, QueryArgs, SetArgs, UpdateArgs, WatchArgs, WriteFlags};
use rhizome_api::data::{
    Aggregate, AggregateAnswer, AggregateRequest, DeleteRequest, ExportEvent, ExportRequest,
    GetRequest, HistoryRequest, LsRequest, QueryRequest, SetRequest, SettleRequest, UpdateRequest,
    WatchEvent, WatchRequest,
};
use rhizome_api::{
    ApiError, DataAggregate, DataDelete, DataExport, DataGet, DataHash, DataHistory, DataLs,
    DataQuery, DataSet, DataSettle, DataUpdate, DataWatch, Durability, Empty, Exit, Problem,
    ReadLevel,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Does what was asked for.
pub(super) async fn perform(command: DataCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        DataCommand::Ls(args) => {
            let request = LsRequest {
                app: args.app.app,
                collection: args.collection,
                limit: args.limit,
                after: args.after,
            };
            let answer = context.answer::<DataLs>(&request, render::data::ls).await?;
            if let Some(next) = answer.next {
                context.say(&format!("There is more: --after {next}"));
            }
        }
        DataCommand::Get(args) => {
            let level = if args.confirmed { ReadLevel::Committed } else { ReadLevel::Local };
            let request = GetRequest { app: args.app.app, path: args.path, level };
            let answer = context.answer::<DataGet>(&request, render::data::get).await?;
            context.say(&render::data::travelled(&answer.document, &context.errors));
        }
        DataCommand::Set(args) => set(args, context).await?,
        DataCommand::Update(args) => update(args, context).await?,
        DataCommand::Delete(args) => {
            let (wait, timeout_ms) = how_far(&args.write);
            let request = DeleteRequest { app: args.app.app, path: args.path, wait, timeout_ms };
            let answer = context.answer::<DataDelete>(&request, render::data::written).await?;
            if let Some(path) = answer.paths.first() {
                let history = format!("rhizome data history {path}");
                context.next_steps(&[(&history, "see what it was")]);
            }
        }
        DataCommand::Query(args) => query(args, context).await?,
        DataCommand::Watch(args) => watch(args, context).await?,
        DataCommand::History(args) => {
            let request = HistoryRequest { app: args.app.app, path: args.path, limit: args.limit };
            context.answer::<DataHistory>(&request, render::data::history).await?;
        }
        DataCommand::Export(args) => export(args, context).await?,
        DataCommand::Settle(args) => {
            let timeout_ms = args.timeout.map(millis);
            let request = SettleRequest { level: args.level.into(), timeout_ms };
            context.answer::<DataSettle>(&request, render::data::settled).await?;
        }
        DataCommand::Hash => {
            let answer = context.answer::<DataHash>(&Empty {}, render::data::hash).await?;
            if !answer.indexes_ok {
                context.next_steps(&[("rhizome doctor --rebuild", "rebuild the indexes")]);
                return Ok(Exit::Damaged);
            }
        }
    }
    Ok(Exit::Ok)
}

/// How long to wait for a level if nobody said: a peer that answers at all answers within that.
const WAIT_MS: u64 = 10_000;

fn how_far(flags: &WriteFlags) -> (Option<Durability>, Option<u64>) {
    let wait: Option<Durability> = flags.wait.map(Into::into);
    let timeout = flags.timeout.map(millis);
    (wait, wait.map(|_| timeout.unwrap_or(WAIT_MS)))
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn wrong(message: String) -> ApiError {
    ApiError::new(Problem::USAGE, message)
}

async fn set(args: SetArgs, context: &Context) -> Result<(), ApiError> {
    let fields = match &args.from {
        Some(path) => parse::object(&prompt::read_document(path)?),
        None => parse::fields(&args.fields),
    };
    let (wait, timeout_ms) = how_far(&args.write);
    let request = SetRequest {
        app: args.app.app,
        path: args.path,
        fields: fields.map_err(wrong)?,
        merge: args.merge,
        wait,
        timeout_ms,
    };
    context.answer::<DataSet>(&request, render::data::written).await?;
    Ok(())
}

async fn update(args: UpdateArgs, context: &Context) -> Result<(), ApiError> {
    let (wait, timeout_ms) = how_far(&args.write);
    let fields = changes(&args).map_err(wrong)?;
    let request = UpdateRequest { app: args.app.app, path: args.path, fields, wait, timeout_ms };
    context.answer::<DataUpdate>(&request, render::data::written).await?;
    Ok(())
}

/// The fields and operations of an update, each field once.
fn changes(args: &UpdateArgs) -> Result<BTreeMap<String, Value>, String> {
    let mut out = BTreeMap::new();
    let mut put = |field: String, value: Value| match out.insert(field.clone(), value) {
        None => Ok(()),
        Some(_) => Err(format!("field `{field}` is given twice")),
    };
    for (field, value) in parse::assignments(&args.fields)? {
        put(field, value)?;
    }
    for (field, value) in parse::assignments(&args.increment)? {
        if !value.is_number() {
            return Err(format!("`{field}` can only be incremented by a number"));
        }
        put(field, json!({"$increment": value}))?;
    }
    for (field, value) in parse::assignments(&args.union)? {
        put(field, json!({"$arrayUnion": listed(value)}))?;
    }
    for (field, value) in parse::assignments(&args.remove)? {
        put(field, json!({"$arrayRemove": listed(value)}))?;
    }
    for field in &args.delete {
        put(field.clone(), json!({"$delete": true}))?;
    }
    for field in &args.server_time {
        put(field.clone(), json!({"$serverTime": true}))?;
    }
    if out.is_empty() { Err("no field to change".to_owned()) } else { Ok(out) }
}

/// A list as it is, anything else as a list of one.
fn listed(value: Value) -> Value {
    if value.is_array() { value } else { json!([value]) }
}

async fn query(args: QueryArgs, context: &Context) -> Result<(), ApiError> {
    let selection = args.select.into_selection();
    let numbers = numbers(args.count, args.sum, args.average);
    let (app, collection) = (args.app.app, args.collection);
    if !numbers.is_empty() {
        let names = render::data::number_names(&numbers);
        let request = AggregateRequest { app, collection, selection, numbers };
        let show = |answer: &AggregateAnswer, _: &_| render::data::numbers(&names, &answer.values);
        context.answer::<DataAggregate>(&request, show).await?;
        return Ok(());
    }
    let request = QueryRequest { app, collection, selection, explain: args.explain };
    let answer = context.answer::<DataQuery>(&request, render::data::query).await?;
    if let Some(explain) = answer.explain {
        context.say(&render::data::explain(&explain));
    }
    Ok(())
}

/// The numbers that flags ask for, in the order of the help.
fn numbers(count: bool, sum: Vec<String>, average: Vec<String>) -> Vec<Aggregate> {
    let count = count.then_some(Aggregate::Count);
    let sum = sum.into_iter().map(Aggregate::Sum);
    count.into_iter().chain(sum).chain(average.into_iter().map(Aggregate::Average)).collect()
}

async fn watch(args: WatchArgs, context: &Context) -> Result<(), ApiError> {
    let request = WatchRequest {
        app: args.app.app,
        path: args.path,
        selection: args.select.into_selection(),
        metadata: args.durability,
    };
    let mut events = context.client().await?.stream::<DataWatch>(&request).await?;
    while let Next::Event(event) = context.next(&mut events).await? {
        let WatchEvent::Snapshot { changes, .. } = event;
        if !context.json {
            for change in &changes {
                context.print(&render::data::change(change, &context.data));
            }
        }
    }
    Ok(())
}

async fn export(args: ExportArgs, context: &Context) -> Result<(), ApiError> {
    let request = ExportRequest { app: args.app.app, collection: args.collection };
    let mut events = context.client().await?.stream::<DataExport>(&request).await?;
    let progress = Progress::new(context, "documents");
    let (mut documents, mut bytes) = (0, 0);
    loop {
        match context.next(&mut events).await? {
            Next::Event(ExportEvent::Document(document)) => {
                let line = document.line() + "\n";
                documents += 1;
                bytes += line.len() as u64;
                progress.set(documents, None, bytes);
                if !context.json {
                    context.print(&line);
                }
            }
            Next::Done(answer) => {
                progress.finish();
                context.say(&render::data::exported(&answer));
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;

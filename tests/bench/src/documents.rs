//! The documents that are written: notes of some 330 bytes of JSON.

use crate::Outcome;
use rhizome_doc::{Batch, FieldOp, Mutation};
use rhizome_log::LogId;
use rhizome_pod::Handle;
use rhizome_schema::{DocPath, FieldPath, Fields, Value, json};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::measure::Series;

/// The app that writes.
pub const APP: &str = "org.rhizome.bench";

const WORDS: [&str; 16] = [
    "garden", "river", "bread", "letter", "winter", "engine", "window", "music", "harbour",
    "copper", "school", "lantern", "paper", "forest", "market", "island",
];

/// Collection of the documents.
pub const COLLECTION: &str = "notes";

/// The path of document `n`.
pub fn path(n: u64) -> DocPath {
    DocPath::parse(&format!("{COLLECTION}/n{n:07}")).expect("letters and digits make a path")
}

/// A document as an application has it.
#[derive(Serialize)]
pub struct Note {
    title: String,
    text: String,
    rank: u64,
    done: bool,
    tag: &'static str,
}

impl Note {
    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Document `n`.
pub fn note(n: u64) -> Note {
    let mut dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        WORDS[(dice % 16) as usize]
    };
    let text: Vec<&str> = (0..32).map(|_| word()).collect();
    Note {
        title: format!("Note {n:07} about {}", word()),
        text: text.join(" "),
        rank: n,
        done: n.is_multiple_of(3),
        tag: word(),
    }
}

/// Document `n` as the document layer has it.
pub fn fields(n: u64) -> Fields {
    let Note { title, text, rank, done, tag } = note(n);
    Fields::from([
        ("title".to_owned(), Value::from(title)),
        ("text".to_owned(), Value::from(text)),
        ("rank".to_owned(), Value::from(i64::try_from(rank).unwrap_or(i64::MAX))),
        ("done".to_owned(), Value::from(done)),
        ("tag".to_owned(), Value::from(tag)),
    ])
}

/// Bytes of document `n` as JSON.
pub fn json_bytes(n: u64) -> u64 {
    json::fields_to_json(&fields(n)).len() as u64
}

/// The body of the event that writes document `n`.
pub fn set(n: u64) -> Vec<u8> {
    body(vec![Mutation::set(path(n), fields(n))])
}

/// The body of an event that changes one field of these documents.
pub fn edit(documents: impl IntoIterator<Item = u64>, rank: i64) -> Vec<u8> {
    let field = FieldPath::parse("rank").expect("a plain name is a path");
    let change = |n| {
        let op = FieldOp::Assign(Value::from(rank));
        Mutation::update(path(n), vec![(field.clone(), op)])
    };
    body(documents.into_iter().map(change).collect())
}

fn body(ops: Vec<Mutation>) -> Vec<u8> {
    Batch::new(ops).to_body().expect("the batch keeps the rules")
}

/// Writes events `from..to` by `writers` tasks at once, straight to the identity; each waits for
/// its write to be durable.
pub async fn write(
    handle: &Handle,
    writers: u64,
    from: u64,
    to: u64,
    make: fn(u64) -> Vec<u8>,
) -> Outcome<Series> {
    let all = (0..writers).map(|_| handle.clone()).collect();
    let one = move |handle: Handle, n| async move {
        handle.write(APP, None, make(n)).await?;
        Ok(handle)
    };
    by(all, from, to, one).await
}

/// Does `from..to`, each number once, by a task per writer at once.
pub async fn by<W, F>(
    writers: Vec<W>,
    from: u64,
    to: u64,
    one: impl Fn(W, u64) -> F + Clone + Send + 'static,
) -> Outcome<Series>
where
    W: Send + 'static,
    F: Future<Output = Outcome<W>> + Send,
{
    let next = Arc::new(AtomicU64::new(from));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for mut writer in writers {
        let (one, next) = (one.clone(), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut each = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= to {
                    return Outcome::Ok(each);
                }
                let started = Instant::now();
                writer = one(writer, n).await?;
                each.push(started.elapsed());
            }
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.append(&mut task.await??);
    }
    Ok(Series::new(all, begun.elapsed()))
}

/// This device's log of the app, and how far it took effect here.
pub async fn effective(handle: &Handle) -> Outcome<Option<(LogId, u64)>> {
    let logs = handle.look(|replica, _| replica.status().logs).await?;
    let ours = logs.into_iter().find(|log| log.app.as_deref() == Some(APP));
    Ok(ours.map(|log| (log.log, log.effective)))
}

/// Waits until a log took effect up to `seq`.
pub async fn reach(handle: &Handle, log: LogId, seq: u64) -> Outcome<()> {
    Ok(handle.until(move |replica| replica.is_committed(&log, seq)).await?)
}

/// Waits until a log is held up to `seq`, with or without a place in the order.
pub async fn hold(handle: &Handle, log: LogId, seq: u64) -> Outcome<()> {
    let held = move |replica: &rhizome_replica::Replica| {
        replica.status().logs.iter().any(|one| one.log == log && one.held >= seq)
    };
    Ok(handle.until(held).await?)
}

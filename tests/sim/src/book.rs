//! The workload, and the book that remembers every promise made to it.
//!
//! Each write is one batch that sets a document of its own and counts it: so a write that took
//! effect twice, or in half, shows. Beside it some touch documents that all devices fight over.

use crate::dice::Dice;
use rhizome_doc::{Batch, FieldOp, Mutation};
use rhizome_log::LogId;
use rhizome_replica::{Ticket, Write};
use rhizome_schema::{DocPath, FieldPath, Fields, Value};
use std::collections::BTreeMap;

/// The app all devices write with.
pub const APP: &str = "org.rhizome.sim";

/// Documents that devices fight over.
pub const SHARED: u64 = 6;

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Nobody was told anything: it may be there or not.
    Unknown,
    /// Its device said that it is durable.
    Acknowledged {
        /// Its log.
        log: LogId,
        /// Its place there.
        seq: u64,
    },
    /// Its device said no.
    Refused,
}

/// One write.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Index of the device that was asked.
    pub device: usize,
    /// What became of it.
    pub fate: Fate,
}

/// All writes so far, by number; a write's number is its ticket.
#[derive(Default)]
pub struct Book {
    /// The writes.
    pub promises: BTreeMap<u64, Promise>,
}

impl Book {
    /// The next write, asked of `device`.
    pub fn write(&mut self, device: usize, dice: &mut Dice) -> Write {
        let n = self.promises.len() as u64 + 1;
        self.promises.insert(n, Promise { device, fate: Fate::Unknown });
        let one = FieldOp::Increment(rhizome_schema::Number::Int(1));
        let count = Mutation {
            op: rhizome_doc::Op::Set {
                value: Fields::new(),
                merge: rhizome_doc::Merge::All,
                ops: vec![(field("count"), one)],
            },
            ..Mutation::delete(counter())
        };
        let canary = Value::from(canary(n).as_str());
        let mark = Mutation::set(mark(n), Fields::from([("text".into(), canary)]));
        let mut ops = vec![mark, count];
        ops.extend(contest(n, dice));
        let body = Batch::new(ops).to_body().expect("the workload writes what is allowed");
        Write { ticket: Ticket(n), app: APP.to_owned(), schema: None, body }
    }

    /// A device acknowledged.
    pub fn acknowledge(&mut self, ticket: Ticket, log: LogId, seq: u64) {
        let promise = self.promises.get_mut(&ticket.0).expect("tickets are the book's");
        assert_eq!(promise.fate, Fate::Unknown, "write {} was answered twice", ticket.0);
        promise.fate = Fate::Acknowledged { log, seq };
    }

    /// A device refused. Commands have tickets that are not the book's.
    pub fn refuse(&mut self, ticket: Ticket) {
        if let Some(promise) = self.promises.get_mut(&ticket.0) {
            promise.fate = Fate::Refused;
        }
    }

    /// How many were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let acknowledged = |one: &&Promise| matches!(one.fate, Fate::Acknowledged { .. });
        self.promises.values().filter(acknowledged).count()
    }
}

/// What some writes do beside: a shared document is merged into, replaced, or removed.
fn contest(n: u64, dice: &mut Dice) -> Option<Mutation> {
    let path = shared(dice.below(SHARED));
    let name = ["a", "b", "c"][dice.index(3)];
    let value = Fields::from([(name.into(), Value::from(n as i64))]);
    match dice.below(10) {
        0..4 => Some(Mutation::merge(path, value)),
        4..6 => Some(Mutation::set(path, value)),
        6 => Some(Mutation::delete(path)),
        _ => None,
    }
}

fn field(name: &str) -> FieldPath {
    name.parse().expect("a valid field")
}

/// One of the documents that devices fight over.
#[must_use]
pub fn shared(n: u64) -> DocPath {
    format!("shared/{n}").parse().expect("a valid path")
}

/// The document of one write.
#[must_use]
pub fn mark(n: u64) -> DocPath {
    format!("marks/{n:06}").parse().expect("a valid path")
}

/// The document that counts all writes.
#[must_use]
pub fn counter() -> DocPath {
    "counters/all".parse().expect("a valid path")
}

/// What a host must never hold in the clear.
#[must_use]
pub fn canary(n: u64) -> String {
    format!("canary-{n:06}-sings")
}

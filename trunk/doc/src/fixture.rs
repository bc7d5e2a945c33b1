//! A small world for tests: devices that write events and replicas that hear of them.

use crate::{Batch, Doc, Documents, FieldOp, Mutation};
use rhizome_block::{Cid, Codec};
use rhizome_identity::DeviceId;
use rhizome_log::{
    Clock, Delivery, EventId, Index, Knowledge, LogId, LogTag, MemoryIndex, OpenEvent, Overlay,
    Position,
};
use rhizome_schema::{DocPath, FieldPath, Fields, json};
use std::sync::Arc;

pub(crate) const APP: &str = "org.example.notes";

pub(crate) fn path(path: &str) -> DocPath {
    DocPath::parse(path).unwrap()
}

pub(crate) fn fields(json: &str) -> Fields {
    json::fields_from_json(json).unwrap()
}

pub(crate) fn set(at: &str, json: &str) -> Mutation {
    Mutation::set(path(at), fields(json))
}

pub(crate) fn merge(at: &str, json: &str) -> Mutation {
    Mutation::merge(path(at), fields(json))
}

pub(crate) fn update(at: &str, ops: &[(&str, FieldOp)]) -> Mutation {
    let ops = ops.iter().map(|(at, op)| (FieldPath::parse(at).unwrap(), op.clone()));
    Mutation::update(path(at), ops.collect())
}

pub(crate) fn assign(at: &str, field: &str, json: &str) -> Mutation {
    update(at, &[(field, FieldOp::Assign(json::from_json(json).unwrap()))])
}

pub(crate) fn delete(at: &str) -> Mutation {
    Mutation::delete(path(at))
}

pub(crate) fn log(author: u8) -> LogId {
    LogId { author: DeviceId([author; 32]), tag: LogTag([7; 16]), incarnation: 0 }
}

/// An event by `author` at `ms`, who knows `knows` (author and sequence number).
pub(crate) fn event(
    author: u8,
    seq: u64,
    ms: u64,
    knows: &[(u8, u64)],
    body: Vec<u8>,
) -> OpenEvent {
    let knows: Knowledge = knows.iter().map(|(author, seq)| (log(*author), *seq)).collect();
    let name = [&[author][..], &seq.to_be_bytes(), &body].concat();
    OpenEvent {
        id: EventId(Cid::of(Codec::DagCbor, &name)),
        log: log(author),
        seq,
        app: APP.into(),
        hlc: Clock::at_ms(ms),
        clock: Clock::at_ms(ms),
        knows: Arc::new(knows),
        schema: None,
        body,
    }
}

pub(crate) fn body(ops: &[Mutation]) -> Vec<u8> {
    Batch::new(ops.to_vec()).to_body().unwrap()
}

/// One replica.
#[derive(Default)]
pub(crate) struct Replica {
    pub index: MemoryIndex,
    placed: u64,
}

pub(crate) fn documents() -> Documents {
    Documents::new(APP)
}

impl Replica {
    pub(crate) fn deliver(&self, deliveries: &[Delivery]) -> Vec<crate::Change> {
        let mut overlay = Overlay::new(&self.index);
        let changes = documents().deliver(&mut overlay, deliveries).unwrap();
        let batch = overlay.into_batch();
        self.index.write(batch).unwrap();
        changes
    }

    pub(crate) fn next(&mut self) -> Position {
        self.placed += 1;
        Position { g: 1, i: self.placed }
    }

    pub(crate) fn pend(&self, event: &OpenEvent) {
        self.deliver(&[Delivery::Pending(event.clone())]);
    }

    pub(crate) fn settle(&mut self, event: &OpenEvent) {
        let at = self.next();
        self.deliver(&[Delivery::Settled { log: event.log, seq: event.seq, at }]);
    }

    pub(crate) fn commit(&mut self, event: &OpenEvent) {
        let at = self.next();
        self.deliver(&[Delivery::Effective { event: event.clone(), at }]);
    }

    pub(crate) fn doc(&self, at: &str) -> Option<Arc<Doc>> {
        documents().get(&self.index, &path(at)).unwrap()
    }

    /// The document as JSON, with its conflicts behind it.
    pub(crate) fn show(&self, at: &str) -> String {
        let Some(record) = documents().record(&self.index, &path(at)).unwrap() else {
            return "never\n".to_owned();
        };
        let mut out = match &record.value {
            Some(fields) => json::fields_to_json(fields),
            None => "gone".to_owned(),
        };
        if record.pending > 0 {
            out += &format!(" ({} pending)", record.pending);
        }
        out.push('\n');
        for conflict in &record.conflicts {
            let lost = conflict.lost.as_ref().map_or("removal".to_owned(), json::to_json);
            let field = conflict.field.join(".");
            let author = conflict.stamp.log.author.0[0];
            out += &format!("  [{field}] {lost} by {author} {:?}\n", conflict.why);
        }
        out
    }

    /// Everything stored except field indexes.
    pub(crate) fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        rhizome_log::scan_prefix(&self.index, &[], false, &mut |key, value| {
            all.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        all
    }
}

/// The bytes of a committed fixture. `UPDATE_FIXTURES=1` writes those that do not exist yet; what
/// was released is never written again.
#[expect(clippy::disallowed_methods, reason = "test")]
pub(crate) fn stored(at: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let at = std::path::Path::new(at);
    if std::env::var("UPDATE_FIXTURES").is_ok() && !at.exists() {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, make()).unwrap();
    }
    std::fs::read(at).expect("the fixture is committed")
}

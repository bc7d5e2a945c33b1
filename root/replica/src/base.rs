//! A base: where a replica begins that takes a checkpoint in place of the history below it.
//!
//! It says how far the order and each log had taken effect when the checkpoint was cut. A replica
//! that stores it holds no events up to there; its documents come out of the checkpoint's tree. The
//! base is a block in the segments like everything else, so an index built anew begins there too.
//! Drawn in `docs/format/base.md`.

use crate::access::{Access, ReplicaError};
use crate::input::{Effect, Ticket};
use crate::rows::{self, EventRow, LogRow};
use crate::stage::Staged;
use crate::state::{LogState, Replica};
use crate::{CommandError, Outcome};
use rhizome_block::{Block, CborError, Cid, Version, decode, kind};
use rhizome_cluster::Chain;
use rhizome_log::{Clock, Head, LogId, Seen};
use serde::{Deserialize, Serialize};

/// Version of the format.
const VERSION: u8 = 1;

kind! {
    /// Kind of a base.
    pub BaseKind = "base"
}

/// One log at a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct BaseLog {
    /// Which.
    pub log: LogId,
    /// Its last event that had taken effect; nothing of a removed device whose events do not count.
    pub head: Option<Head>,
    /// The last event that the order had placed: the same, but for a removed device.
    pub placed: u64,
    /// The last event that takes effect, where the author was removed.
    pub allowed: Option<Head>,
    /// The effective clock of `head`.
    pub clock: Clock,
    /// What its author knew of other logs at `head`.
    pub knows: Vec<(LogId, u64)>,
    /// Name of the app.
    pub app: Option<String>,
}

/// Everything a replica needs to go on after a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// Kind.
    pub k: BaseKind,
    /// Version.
    pub v: Version<VERSION>,
    /// The last entry that had taken effect.
    pub seen: Seen,
    /// The control record that was final.
    pub control: Cid,
    /// The last entry before each generation.
    pub generations: Vec<(u64, Seen)>,
    /// The logs.
    pub logs: Vec<BaseLog>,
    /// The checkpoint's manifest, once it has one.
    pub manifest: Option<Cid>,
}

impl Base {
    /// Reads a stored base.
    pub fn read(bytes: &[u8]) -> Result<Self, CborError> {
        decode(bytes)
    }

    /// The block that is stored.
    #[must_use]
    pub fn block(&self) -> Block {
        Block::encode(self).expect("a base has a DAG-CBOR form")
    }
}

impl Replica {
    /// Whether everything held that counts has taken effect: only then is the state a function of
    /// the committed prefix.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let settled = |(log, state): (&LogId, &LogState)| {
            let held = state.row.held_seq();
            state.row.effective == self.allowed(log).map_or(held, |allowed| allowed.min(held))
        };
        self.all_committed() && self.logs.iter().all(settled)
    }

    /// Where a checkpoint cut now would begin, if [`Self::is_settled`].
    pub fn base(&self, access: &Access<'_, '_>) -> Result<Option<Base>, ReplicaError> {
        if !self.is_settled() {
            return Ok(None);
        }
        let logs = self.logs.iter().filter(|(_, state)| state.row.placed > 0);
        let logs = logs.map(|(log, state)| self.base_log(access, *log, &state.row));
        Ok(Some(Base {
            k: BaseKind,
            v: Version,
            seen: self.order.applied,
            control: self.control.committed_head(),
            generations: self.order.base_of.iter().map(|(g, seen)| (*g, *seen)).collect(),
            logs: logs.collect::<Result<_, _>>()?,
            manifest: None,
        }))
    }

    fn base_log(
        &self,
        access: &Access<'_, '_>,
        log: LogId,
        row: &LogRow,
    ) -> Result<BaseLog, ReplicaError> {
        let (placed, allowed, app) = (row.placed, row.allowed, row.app.clone());
        if row.effective == row.opened {
            let (head, clock, knows) = (row.held, row.clock, row.knows.clone());
            return Ok(BaseLog { log, head, placed, allowed, clock, knows, app });
        }
        let event: Option<EventRow> =
            rows::get(access.index, &rows::event_key(&log, row.effective))?;
        let head = event.as_ref().map(|event| Head { seq: row.effective, id: event.id });
        let clock = event.map_or(Clock::default(), |event| event.clock);
        let knows = self.knew(access, &log, row.effective)?.into_iter().collect();
        Ok(BaseLog { log, head, placed, allowed, clock, knows, app })
    }

    /// Begins at a base. Only a replica without any order or log of its own can.
    pub(crate) fn begin_at(&mut self, ticket: Ticket, base: Base, effects: &mut Vec<Effect>) {
        if self.order.applied.i != 0 || !self.logs.is_empty() {
            effects.push(Effect::Rejected(ticket, CommandError::NotEmpty));
            return;
        }
        self.blocks.push(base.block());
        self.staged.push(Staged::Base(Box::new(base)));
        let record = self.control.committed_head();
        self.staged.push(Staged::Command(ticket, Outcome::Recorded { record }));
    }

    /// Moves the state to a durable base.
    pub(crate) fn note_base(
        &mut self,
        access: &mut Access<'_, '_>,
        base: Base,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if self.order.applied.i != 0 {
            return Ok(());
        }
        if let Err(error) = self.control.commit(base.control) {
            tracing::error!(%error, "a base names a control record that is not here");
        }
        self.order.chain = Chain::from(base.seen);
        (self.order.end, self.order.applied) = (base.seen, base.seen);
        self.order.base_of = base.generations.into_iter().collect();
        for one in base.logs {
            let seq = one.head.map_or(0, |head| head.seq);
            if !one.knows.is_empty() {
                rows::put(access, rows::floor_key(&one.log), &one.knows);
            }
            let row = LogRow {
                held: one.head,
                signed: seq,
                opened: seq,
                placed: one.placed,
                effective: seq,
                clock: one.clock,
                knows: one.knows,
                app: one.app.clone(),
                floor: seq,
                allowed: one.allowed,
                shown: None,
            };
            self.clock = self.clock.max(one.clock);
            self.index_log(one.log, one.app.as_deref());
            self.logs.insert(one.log, LogState::new(row));
            self.cursors.restore(one.log, self.countable(&one.log), seq);
            self.dirty.insert(one.log);
        }
        self.control_changed(effects);
        Ok(())
    }
}

//! openraft's log storage: the ledger in memory, the records on disk.
//!
//! Records go to disk through one task, in order, as many at a time as have gathered. A follower's
//! append is reported once it is durable. A leader's append of bodies is reported at once, so that
//! followers are sent the entries while the leader's own disk works: openraft 0.9 waits for the
//! report before it sends. That is safe because openraft's commit is not ours: nothing is certified
//! before it is durable here too (`State::certify`), votes and memberships still wait for the disk,
//! and a leader that restarts has lost its lead (`restore`).

use crate::ledger::Ledger;
use crate::shared::Shared;
use crate::state::State;
use crate::types::{StorageError, Types, ballot, entry, log_at, log_id, raft_entry, vote};
use crate::{DiskError, LogAt, NodeId, Payload, RaftDisk, RaftRecord};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, Entry, LogId, LogState, OptionalSend, RaftLogReader, StorageIOError, Vote,
};
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Records for the disk, and what to do once they are durable.
pub(crate) struct Job {
    pub(crate) records: Vec<RaftRecord>,
    /// The last entry among them.
    pub(crate) upto: Option<LogAt>,
    pub(crate) done: Done,
}

/// Whom to tell.
pub(crate) enum Done {
    /// Nobody.
    Quiet,
    /// openraft, which waits for an append.
    Flushed(LogFlushed<Types>),
    /// Whoever waits.
    Tell(oneshot::Sender<Result<(), String>>),
}

/// The error openraft takes for anything that went wrong with the disk.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct StoreFailure(String);

fn failure(what: impl Into<String>) -> AnyError {
    AnyError::new(&StoreFailure(what.into()))
}

/// Writes jobs until the voter stops. A disk that failed once is not tried again: what it holds is
/// unknown until it is read back (`security.md` 5.7).
pub(crate) async fn write(
    shared: Arc<Shared>,
    disk: Arc<dyn RaftDisk>,
    mut jobs: mpsc::Receiver<Job>,
) {
    let mut failed = None;
    while let Some(first) = jobs.recv().await {
        let mut batch = vec![first];
        while let Ok(job) = jobs.try_recv() {
            batch.push(job);
        }
        let records: Vec<_> =
            batch.iter_mut().flat_map(|job| std::mem::take(&mut job.records)).collect();
        if failed.is_none()
            && let Err(error) = disk.append(records).await
        {
            let what = format!("{error}: {}", error.source);
            shared.fail(what.clone());
            failed = Some(what);
        }
        finish(&shared, batch, failed.as_deref());
    }
}

fn finish(shared: &Arc<Shared>, batch: Vec<Job>, failed: Option<&str>) {
    let durable = batch.iter().rev().find_map(|job| job.upto);
    if failed.is_none()
        && let Some(at) = durable
    {
        shared.state().set_durable(at);
    }
    for job in batch {
        match job.done {
            Done::Quiet => {}
            Done::Flushed(callback) => callback.log_io_completed(match failed {
                None => Ok(()),
                Some(what) => Err(std::io::Error::other(what.to_owned())),
            }),
            Done::Tell(waiting) => {
                let _ = waiting.send(failed.map_or(Ok(()), |what| Err(what.to_owned())));
            }
        }
    }
    if failed.is_none() && durable.is_some() {
        shared.progress();
    }
}

impl Shared {
    /// Hands a job to the disk.
    pub(crate) async fn enqueue(&self, job: Job) -> Result<(), AnyError> {
        let stopped = || failure("raft node is stopped");
        self.jobs().ok_or_else(stopped)?.send(job).await.map_err(|_| stopped())
    }

    /// Hands a job to the disk if there is room, for what can wait until later.
    pub(crate) fn try_enqueue(&self, job: Job) -> bool {
        self.jobs().is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    /// Writes records and waits until they are durable.
    pub(crate) async fn persist(&self, records: Vec<RaftRecord>) -> Result<(), AnyError> {
        let (tell, told) = oneshot::channel();
        self.enqueue(Job { records, upto: None, done: Done::Tell(tell) }).await?;
        match told.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(what)) => Err(failure(what)),
            Err(_) => Err(failure("raft node is stopped")),
        }
    }
}

/// Restores `state` from records, in the order they were written.
pub(crate) fn restore(state: &mut State, records: &[RaftRecord]) -> Result<(), DiskError> {
    let bad = |what: &str| DiskError { source: what.to_owned().into() };
    let mut floor = None;
    let mut base: Option<&crate::RaftBase> = None;
    for record in records {
        match record {
            RaftRecord::Purge(purge) => floor = floor.max(Some((purge.upto, purge.end))),
            RaftRecord::Base(record) if base.is_none_or(|known| known.last < record.base.last) => {
                base = Some(&record.base);
            }
            _ => {}
        }
    }
    if let Some((upto, end)) = floor {
        state.ledger.restore_floor(upto, end);
    }
    for record in records {
        replay(state, record).map_err(bad)?;
    }
    if let Some(base) = base {
        // A base beyond the log was adopted from a leader just before the end.
        if base.last.index >= state.ledger.next() {
            state.ledger.restore_floor(base.last, base.end);
        }
        state.rebase(base.clone());
    } else if floor.is_some() {
        return Err(bad("raft log begins without a base"));
    }
    if !state.ledger.is_sound() {
        return Err(bad("raft log and order disagree"));
    }
    note_spent(&mut state.ledger, records);
    state.durable = state.ledger.last();
    restore_certificates(state, records);
    // Only the disk remembers: whoever led has lost entries it had sent but not written, and must
    // not go on under the same ballot.
    if state.ballot.node == state.me {
        state.ballot.granted = false;
    }
    Ok(())
}

fn replay(state: &mut State, record: &RaftRecord) -> Result<(), &'static str> {
    match record {
        RaftRecord::Entry(record) => {
            let at = record.entry.at;
            let purged = state.ledger.purged().is_some_and(|floor| at.index <= floor.index);
            if !purged && !state.ledger.restore(record.entry.clone(), record.end) {
                return Err("raft log has a hole");
            }
        }
        RaftRecord::Truncate(record) => state.ledger.truncate(record.since),
        RaftRecord::Vote(record) => state.ballot = record.ballot,
        RaftRecord::Purge(_) | RaftRecord::Base(_) | RaftRecord::Commit(_) => {}
    }
    Ok(())
}

/// Every position that was durable once and is not in the log any more stays unsignable.
fn note_spent(ledger: &mut Ledger, records: &[RaftRecord]) {
    let floor = ledger.order_floor();
    for record in records {
        let RaftRecord::Entry(record) = record else { continue };
        let held = ledger.get(record.entry.at.index);
        let kept = held.is_some_and(|held| held.entry.at == record.entry.at);
        let gone = !kept && record.end.i > floor && !record.entry.payload.bodies().is_empty();
        if gone {
            ledger.restore_spent(record.end);
        }
    }
}

fn restore_certificates(state: &mut State, records: &[RaftRecord]) {
    for record in records {
        if let RaftRecord::Commit(record) = record {
            // Checked when it was written; what cannot be used is left aside.
            let _ = state.accept(record.certificate.clone());
        }
    }
}

/// The handle openraft holds.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) shared: Arc<Shared>,
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<RB>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, StorageError>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let state = self.shared.state();
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => state.ledger.next(),
        };
        let first = state.ledger.purged().map_or(0, |at| at.index + 1);
        let range = start.max(first)..end.min(state.ledger.next());
        Ok(range
            .filter_map(|index| state.ledger.get(index))
            .map(|held| entry(&held.entry))
            .collect())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry<Types>>, StorageError> {
        let state = self.shared.state();
        let mut entries = Vec::new();
        let mut bodies = 0;
        for index in start..end {
            let Some(held) = state.ledger.get(index) else { break };
            bodies += held.entry.payload.bodies().len();
            if !entries.is_empty() && bodies > crate::bounds::BODIES_PER_REQUEST_MAX {
                break;
            }
            entries.push(entry(&held.entry));
        }
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let state = self.shared.state();
        Ok(LogState {
            last_purged_log_id: state.ledger.purged().map(log_id),
            last_log_id: state.ledger.last().map(log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, new: &Vote<NodeId>) -> Result<(), StorageError> {
        let ballot = ballot(new);
        let record = RaftRecord::vote(self.shared.generation, ballot);
        self.shared.persist(vec![record]).await.map_err(StorageIOError::write_vote)?;
        self.shared.state().set_ballot(ballot);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        let ballot = self.shared.state().ballot;
        Ok(Some(vote(&ballot)))
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<NodeId>>,
    ) -> Result<(), StorageError> {
        self.shared.state().committed = committed.as_ref().map(log_at);
        self.shared.progress();
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<NodeId>>, StorageError> {
        // After a restart only what is certified counts as committed.
        Ok(self.shared.state().certified.map(log_id))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().map(raft_entry).collect();
        let upto = entries.last().map(|entry| entry.at);
        let bodies_only = entries.iter().all(|entry| matches!(entry.payload, Payload::Bodies(_)));
        let (records, early) = {
            let mut state = self.shared.state();
            let records = entries
                .into_iter()
                .map(|entry| {
                    let end = state.ledger.push(entry.clone());
                    RaftRecord::entry(self.shared.generation, entry, end)
                })
                .collect();
            // A certificate may have arrived before the entries did.
            state.advance();
            (records, bodies_only && state.leads())
        };
        let (done, now) =
            if early { (Done::Quiet, Some(callback)) } else { (Done::Flushed(callback), None) };
        self.shared
            .enqueue(Job { records, upto, done })
            .await
            .map_err(StorageIOError::write_logs)?;
        if let Some(callback) = now {
            callback.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, since: LogId<NodeId>) -> Result<(), StorageError> {
        // The guard lets no such request through. Should one slip past, the node stops here.
        let cut = self.shared.state().truncate(since.index);
        cut.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)))?;
        let record = RaftRecord::truncate(self.shared.generation, since.index);
        self.shared.persist(vec![record]).await.map_err(StorageIOError::write_logs)?;
        Ok(())
    }

    async fn purge(&mut self, upto: LogId<NodeId>) -> Result<(), StorageError> {
        let upto = log_at(&upto);
        let end = self.shared.state().ledger.purge(upto);
        let Some(end) = end else {
            let what = failure("openraft purges what is not in the log");
            return Err(StorageIOError::write_logs(what).into());
        };
        let records = vec![RaftRecord::purge(self.shared.generation, upto, end)];
        let job = Job { records, upto: None, done: Done::Quiet };
        self.shared.enqueue(job).await.map_err(StorageIOError::write_logs)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

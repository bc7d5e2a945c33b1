//! openraft's state machine. There is hardly any: applying is left to whoever reads the events.
//!
//! A snapshot is only a position. Its builder names the newest certified entry; whoever adopts one
//! has pulled the order up to it by the sync session before (`serve`).

use crate::shared::Shared;
use crate::types::{StorageError, Types, log_at, log_id, meta, stored};
use crate::{LogAt, NodeId, RaftBase, RaftRecord};
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EmptyNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageIOError, StoredMembership,
};
use std::sync::Arc;

/// The handle openraft holds.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug, thiserror::Error)]
#[error("nothing is certified that a snapshot could name")]
struct NoBase;

fn snapshot(base: RaftBase) -> Snapshot<Types> {
    Snapshot { meta: meta(&base), snapshot: Box::new(base) }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let base = {
            let state = self.shared.state();
            let newest = state.base_index().and_then(|index| state.ledger.base_at(index));
            newest.or_else(|| state.ledger.base().cloned())
        };
        let Some(base) = base else {
            return Err(StorageIOError::read_snapshot(None, AnyError::new(&NoBase)).into());
        };
        let record = RaftRecord::base(self.shared.generation, base.clone());
        let persisted = self.shared.persist(vec![record]).await;
        persisted.map_err(|error| StorageIOError::write_snapshot(None, error))?;
        self.shared.state().ledger.set_base(base.clone());
        Ok(snapshot(base))
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<NodeId>>, StoredMembership<NodeId, EmptyNode>), StorageError> {
        let state = self.shared.state();
        let base = state.ledger.base();
        Ok(base.map_or_else(Default::default, |base| (Some(log_id(base.last)), stored(base))))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = Vec::new();
        let mut room = false;
        {
            let mut state = self.shared.state();
            for entry in entries {
                let at: LogAt = log_at(&entry.log_id);
                let is_batch = matches!(entry.payload, EntryPayload::Normal(_));
                let own = is_batch && at.leader() == (state.ballot.term, state.me);
                room |= state.set_applied(at, own);
                applied.push(());
            }
        }
        if room {
            self.shared.wake.notify_one();
        }
        Ok(applied)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<RaftBase>, StorageError> {
        // Bases arrive whole (`serve`), so openraft never asks for a place to collect one.
        Err(StorageIOError::read_snapshot(None, AnyError::new(&NoBase)).into())
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta<NodeId, EmptyNode>,
        snapshot: Box<RaftBase>,
    ) -> Result<(), StorageError> {
        self.shared.state().rebase(*snapshot);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        Ok(self.shared.state().ledger.base().cloned().map(snapshot))
    }
}

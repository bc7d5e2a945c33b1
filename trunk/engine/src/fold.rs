//! Folding: the rows and documents that the journal's blocks stand for, when the index lacks them.

use crate::engine::{Engine, EngineError, split};
use crate::journal::Journal;
use rhizome_block::Cid;
use rhizome_block::planted::{Bug, planted};
use rhizome_log::{Index, Overlay, Place};
use rhizome_replica::{Access, Replay, Replica, space};

/// Folds blocks that lie in the same journal and are not the replica's: the log of a group of
/// voters, the checkpoint a replica began at.
pub type Others<'a> = dyn FnMut(&Replica, &mut Access<'_, '_>, Place, &[u8]) + 'a;

/// A fold under way, from the index's mark to the journal's end.
#[derive(Default)]
pub struct Fold {
    replay: Replay,
}

impl Engine {
    /// Folds the next stretch of blocks, oldest first, and writes what came of it.
    pub fn fold(
        &mut self,
        fold: &mut Fold,
        index: &dyn Index,
        journal: &dyn Journal,
        blocks: &[(Place, Cid, Vec<u8>)],
        others: &mut Others<'_>,
    ) -> Result<(), EngineError> {
        self.stretch(fold, index, journal, blocks, others, false)
    }

    /// Ends a fold: what no signature covers is cut, and the index is folded up to the end.
    pub fn finish_fold(
        &mut self,
        mut fold: Fold,
        index: &dyn Index,
        journal: &dyn Journal,
    ) -> Result<(), EngineError> {
        self.stretch(&mut fold, index, journal, &[], &mut |_, _, _, _| {}, true)?;
        let mut batch = rhizome_log::Batch::default();
        batch.put(vec![space::MARK], journal.mark());
        Ok(index.write(batch)?)
    }

    fn stretch(
        &mut self,
        fold: &mut Fold,
        index: &dyn Index,
        journal: &dyn Journal,
        blocks: &[(Place, Cid, Vec<u8>)],
        others: &mut Others<'_>,
        at_end: bool,
    ) -> Result<(), EngineError> {
        let mut overlay = Overlay::new(index);
        let mut access = Access { index: &mut overlay, blocks: journal };
        for (place, cid, bytes) in blocks.iter().skip(planted(Bug::FoldStartsLate).into()) {
            self.replica.replay(&mut access, &mut fold.replay, *place, *cid, bytes)?;
            others(&self.replica, &mut access, *place, bytes);
        }
        let effects = self.replica.finish_replay(&mut access, &mut fold.replay, at_end)?;
        let (deliveries, _) = split(effects);
        self.deliver(&mut overlay, &deliveries)?;
        Ok(index.write(overlay.into_batch())?)
    }
}

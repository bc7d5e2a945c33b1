//! The engine: one batch of work at a time, durable before anybody is told.

use crate::journal::{Journal, JournalError};
use crate::sealing::state_root;
use rhizome_block::planted::{Bug, planted};
use rhizome_doc::{Change, DocumentError, Documents};
use rhizome_identity::{DeviceId, Genesis};
use rhizome_log::{Batch, Delivery, Index, IndexError, Overlay, Place, ReadError};
use rhizome_replica::{
    Access, Effect, Input, Replica, ReplicaError, ReplicaKeys, Tick, outlasts_rewind, space,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// While it is there, the index is being emptied.
const REWINDING: &[u8] = &[space::ORDER, 2];

/// Most rows removed in one write, so that a large index needs little memory to be emptied.
const ROWS_REMOVED_MAX: usize = 4096;

/// Changes rows that no event stands for (documents of a checkpoint, an index of fields), and
/// returns what to do once they are written.
pub type Edit = Box<dyn FnOnce(&mut Overlay<'_>) -> Edited + Send>;

/// Tells whoever asked for an [`Edit`].
pub type Edited = Box<dyn FnOnce() + Send>;

/// One piece of work of a batch.
#[expect(clippy::large_enum_variant, reason = "nearly all are inputs; a box each would cost more")]
pub enum Work {
    /// For the replica.
    Input(Input),
    /// For the index.
    Edit(Edit),
}

/// What a batch came to. Everything in it is durable.
#[derive(Default)]
pub struct Done {
    /// What the driver must do, in this order; appends and deliveries are done already.
    pub effects: Vec<Effect>,
    /// Documents that changed, with the name of their app.
    pub changes: Vec<(Arc<str>, Change)>,
}

/// Why a batch could not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The replica cannot go on.
    #[error("replica failed")]
    Replica(#[from] ReplicaError),
    /// The index cannot be used.
    #[error("index failed")]
    Index(#[from] IndexError),
    /// The documents cannot be moved forward.
    #[error("documents failed")]
    Documents(#[from] DocumentError),
    /// The disk does not take writes. The engine must be opened again before it goes on.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl EngineError {
    /// Whether the index is what failed. What the journal holds is as it was.
    #[must_use]
    pub fn is_of_index(&self) -> bool {
        matches!(
            self,
            Self::Index(_)
                | Self::Documents(DocumentError::Index(_))
                | Self::Replica(ReplicaError::Index(_))
        )
    }
}

/// One replica and the documents of its apps.
pub struct Engine {
    pub(crate) replica: Replica,
    pub(crate) documents: BTreeMap<Arc<str>, Documents>,
}

impl Engine {
    /// Opens the replica from the rows of `index`. What the journal holds beyond the index's mark
    /// must then be folded: [`Engine::fold`].
    pub fn open(
        keys: ReplicaKeys,
        genesis: Genesis,
        index: &dyn Index,
    ) -> Result<Self, ReplicaError> {
        if index.get(REWINDING)?.is_some() {
            empty(index)?;
        }
        let mut overlay = Overlay::new(index);
        let mut access = Access { index: &mut overlay, blocks: &NoBlocks };
        let replica = Replica::open(keys, genesis, &mut access)?;
        let apps: BTreeSet<String> =
            replica.status().logs.into_iter().filter_map(|log| log.app).collect();
        let documents = apps.iter().map(|app| (Arc::from(app.as_str()), Documents::new(app)));
        Ok(Self { documents: documents.collect(), replica })
    }

    /// Whether what was ordered does not count any more ([`Replica::rewinds`]): call
    /// [`Engine::rewind`], open the engine again, and fold the whole journal.
    #[must_use]
    pub fn rewinds(&self) -> bool {
        self.replica.rewinds()
    }

    /// Empties the index, but for what the journal does not tell.
    pub fn rewind(&self, index: &dyn Index) -> Result<(), EngineError> {
        let mut overlay = Overlay::new(index);
        let mut access = Access { index: &mut overlay, blocks: &NoBlocks };
        self.replica.rewind(&mut access)?;
        // Its end is vouched for all the same: nothing but the order is doubtful.
        overlay.put(vec![space::MARK], Vec::new());
        overlay.put(REWINDING.to_vec(), Vec::new());
        index.write(overlay.into_batch())?;
        Ok(empty(index)?)
    }

    /// The replica.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// After bytes of the journal were lost or cut: no log of this device goes on where it was.
    pub fn start_new_incarnations(&mut self) {
        self.replica.start_new_incarnations();
    }

    /// After a journal was read whose end nobody can vouch for: what this device signed is not
    /// taken for granted until the others were heard, of whom `known` are known from elsewhere.
    pub fn doubt(
        &mut self,
        index: &dyn Index,
        known: BTreeSet<DeviceId>,
    ) -> Result<(), IndexError> {
        let mut overlay = Overlay::new(index);
        let mut access = Access { index: &mut overlay, blocks: &NoBlocks };
        self.replica.doubt(&mut access, known);
        index.write(overlay.into_batch())
    }

    /// Does `work` as one batch. `tick` gives each step its time and randomness. After an error
    /// the engine must be dropped and opened again.
    pub fn batch(
        &mut self,
        tick: &mut dyn FnMut() -> Tick,
        index: &dyn Index,
        journal: &dyn Journal,
        work: Vec<Work>,
    ) -> Result<Done, EngineError> {
        let mut overlay = Overlay::new(index);
        let mut edited = Vec::new();
        let mut turn = Turn { engine: self, tick, journal, effects: Vec::new() };
        for one in work {
            match one {
                Work::Input(input) => turn.step(&mut overlay, input)?,
                Work::Edit(edit) => edited.push(edit(&mut overlay)),
            }
        }
        turn.step(&mut overlay, Input::Flush)?;
        let effects = turn.settle(&mut overlay)?;
        let (deliveries, effects) = split(effects);
        let changes = self.deliver(&mut overlay, &deliveries)?;
        write(index, journal, overlay)?;
        edited.into_iter().for_each(|tell| tell());
        let mut done = Done { effects, changes };
        self.seal(tick, index, journal, &mut done)?;
        Ok(done)
    }

    /// Derives the state and signs it, where the replica is asked to.
    fn seal(
        &mut self,
        tick: &mut dyn FnMut() -> Tick,
        index: &dyn Index,
        journal: &dyn Journal,
        done: &mut Done,
    ) -> Result<(), EngineError> {
        let Some(seen) = self.replica.seal_asked() else { return Ok(()) };
        let Some(state) = state_root(&self.replica, index)? else { return Ok(()) };
        let mut overlay = Overlay::new(index);
        let mut turn = Turn { engine: self, tick, journal, effects: Vec::new() };
        turn.step(&mut overlay, Input::Seal(seen, state))?;
        turn.step(&mut overlay, Input::Flush)?;
        done.effects.extend(turn.settle(&mut overlay)?);
        Ok(write(index, journal, overlay)?)
    }

    /// Hands deliveries to the documents of their apps.
    pub(crate) fn deliver(
        &mut self,
        overlay: &mut Overlay<'_>,
        deliveries: &[Delivery],
    ) -> Result<Vec<(Arc<str>, Change)>, DocumentError> {
        for app in apps_in(deliveries) {
            self.documents.entry(Arc::clone(&app)).or_insert_with(|| Documents::new(&app));
        }
        let mut changed = Vec::new();
        for (app, documents) in &self.documents {
            let changes = documents.deliver(overlay, deliveries)?;
            changed.extend(changes.into_iter().map(|change| (Arc::clone(app), change)));
        }
        Ok(changed)
    }
}

/// One batch under way.
struct Turn<'a> {
    engine: &'a mut Engine,
    tick: &'a mut dyn FnMut() -> Tick,
    journal: &'a dyn Journal,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn step(&mut self, overlay: &mut Overlay<'_>, input: Input) -> Result<(), EngineError> {
        let mut access = Access { index: overlay, blocks: self.journal };
        let effects = self.engine.replica.step((self.tick)(), &mut access, input)?;
        self.effects.extend(effects);
        Ok(())
    }

    /// Makes appends durable until none is left; returns all other effects in their order.
    fn settle(mut self, overlay: &mut Overlay<'_>) -> Result<Vec<Effect>, EngineError> {
        let mut settled = Vec::with_capacity(self.effects.len());
        loop {
            let mut appended = None;
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Append(blocks) => appended = Some(blocks),
                    effect => settled.push(effect),
                }
            }
            let Some(blocks) = appended else { return Ok(settled) };
            let places = match self.journal.append(&blocks) {
                Err(_) if planted(Bug::AckedNotStored) => vec![Place::default(); blocks.len()],
                stored => stored?,
            };
            self.step(overlay, Input::Durable(places))?;
            self.step(overlay, Input::Flush)?;
        }
    }
}

/// Deliveries, and everything else, each in its order.
pub(crate) fn split(effects: Vec<Effect>) -> (Vec<Delivery>, Vec<Effect>) {
    let mut deliveries = Vec::new();
    let mut others = Vec::with_capacity(effects.len());
    for effect in effects {
        match effect {
            Effect::Deliver(news) => deliveries.extend(news),
            effect => others.push(effect),
        }
    }
    (deliveries, others)
}

/// Writes rows, documents and the mark as one batch, unless nothing changed.
fn write(
    index: &dyn Index,
    journal: &dyn Journal,
    mut overlay: Overlay<'_>,
) -> Result<(), IndexError> {
    if overlay.is_empty() {
        return Ok(());
    }
    overlay.put(vec![space::MARK], journal.mark());
    let batch: Batch = overlay.into_batch();
    index.write(batch)
}

/// Removes every row that does not outlast a rewind. One that is interrupted goes on when the index
/// is opened again.
fn empty(index: &dyn Index) -> Result<(), IndexError> {
    loop {
        let mut batch = Batch::default();
        let mut count = 0;
        index.scan(Bound::Unbounded, Bound::Unbounded, false, &mut |key, _| {
            if key != REWINDING && key != [space::MARK] && !outlasts_rewind(key) {
                batch.remove(key.to_vec());
                count += 1;
            }
            if count < ROWS_REMOVED_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if count == 0 {
            batch.remove(REWINDING.to_vec());
            return index.write(batch);
        }
        index.write(batch)?;
    }
}

fn apps_in(deliveries: &[Delivery]) -> BTreeSet<Arc<str>> {
    let app = |delivery: &Delivery| match delivery {
        Delivery::Pending(event) | Delivery::Effective { event, .. } => {
            Some(Arc::clone(&event.app))
        }
        Delivery::Settled { .. } | Delivery::Retracted { .. } => None,
    };
    deliveries.iter().filter_map(app).collect()
}

/// While a replica is opened from its rows, no block is read.
struct NoBlocks;

impl rhizome_log::Blocks for NoBlocks {
    fn read(&self, _: Place, cid: &rhizome_block::Cid) -> Result<Vec<u8>, ReadError> {
        Err(ReadError::Damaged { cid: *cid })
    }
}

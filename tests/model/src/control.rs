//! The control log: admins that admit, remove and change keys while they do not hear each other.
//!
//! Each replica hears records in any order, or never; any admin may write behind any record it has
//! heard, also one that has lost or that removed it; the order makes records final one by one, each
//! replica in its own time.

mod people;
mod replica;

pub use people::What;
pub use replica::Replica;

use rhizome_block::Cid;
use rhizome_identity::ControlRecord;
use stateright::{Model, Property};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Replicas: the first two are those of the admins, the third only listens.
pub const REPLICAS: usize = 3;

/// A rule that can be taken out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Without {
    /// Nothing is missing.
    Nothing,
    /// A replica stays on the branch that it heard first.
    ForkRule,
    /// What a removed device signs counts on.
    CutOff,
    /// A new epoch is wrapped to everybody, also to whom it removes.
    NewEpoch,
}

/// What a world may do.
pub struct World {
    /// Most records that are written.
    pub records: usize,
    /// What admins may write.
    pub whats: Vec<What>,
    /// The rule that is missing.
    pub without: Without,
    /// What happens to a replica does not depend on the others, so it is worked out once.
    known: Mutex<BTreeMap<(u64, Step), Arc<Replica>>>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Hear(Cid),
    Commit(Cid),
}

/// A state of the world.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// What each replica holds.
    pub replicas: [Arc<Replica>; REPLICAS],
    /// Everything that was written.
    pub written: BTreeSet<Cid>,
    /// What the order has placed.
    pub order: Vec<Cid>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// An admin writes behind a record that it has heard.
    Write {
        /// Which admin: 1 or 2.
        by: u8,
        /// Behind what.
        on: Cid,
        /// What.
        what: What,
    },
    /// A record reaches a replica.
    Hear {
        /// Which replica.
        at: usize,
        /// What.
        record: Cid,
    },
    /// The voter places the next record of its chain.
    Place,
    /// A replica hears what was placed next.
    Commit {
        /// Which replica.
        at: usize,
    },
}

impl World {
    /// A world of so many records.
    #[must_use]
    pub fn new(records: usize, whats: &[What], without: Without) -> Self {
        Self { records, whats: whats.to_vec(), without, known: Mutex::default() }
    }

    fn step(&self, replica: &Arc<Replica>, step: Step) -> Arc<Replica> {
        let key = (replica.digest, step);
        let find = || self.known.lock().expect("nobody panics while holding it").get(&key).cloned();
        if let Some(known) = find() {
            return known;
        }
        let next = Arc::new(match step {
            Step::Hear(record) => replica.hear(&people::record(&record), self.without),
            Step::Commit(record) => replica.commit(record),
        });
        let mut known = self.known.lock().expect("nobody panics while holding it");
        Arc::clone(known.entry(key).or_insert(next))
    }

    fn write(&self, replica: &Replica, by: u8, on: Cid, what: What) -> Option<Arc<ControlRecord>> {
        let state = replica.log.state_after(&on)?;
        let spared = self.without == Without::NewEpoch;
        people::write(state, by, what, spared)
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replica = Arc::new(Replica::first());
        let replicas = [replica.clone(), replica.clone(), replica];
        vec![State { replicas, written: BTreeSet::new(), order: Vec::new() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.written.len() < self.records {
            for (by, replica) in [(1, &state.replicas[0]), (2, &state.replicas[1])] {
                for on in replica.open() {
                    let writes =
                        self.whats.iter().map(|what| Action::Write { by, on, what: *what });
                    actions.extend(writes);
                }
            }
        }
        for (at, replica) in state.replicas.iter().enumerate() {
            let new = state.written.iter().filter(|record| !replica.heard.contains(record));
            actions.extend(new.map(|record| Action::Hear { at, record: *record }));
            let next = state.order.get(replica.committed);
            if next.is_some_and(|next| replica.log.record(next).is_some()) {
                actions.push(Action::Commit { at });
            }
        }
        actions.push(Action::Place);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Write { by, on, what } => {
                let at = usize::from(by) - 1;
                let record = self.write(&state.replicas[at], by, on, what)?;
                let cid = record.cid();
                if !next.written.insert(cid) {
                    return None;
                }
                next.replicas[at] = self.step(&state.replicas[at], Step::Hear(cid));
            }
            Action::Hear { at, record } => {
                next.replicas[at] = self.step(&state.replicas[at], Step::Hear(record));
            }
            Action::Place => {
                let voter = &state.replicas[0];
                if voter.committed < state.order.len() {
                    return None;
                }
                let placed = voter.next()?;
                next.order.push(placed);
                next.replicas[0] = self.step(voter, Step::Commit(placed));
            }
            Action::Commit { at } => {
                let record = *state.order.get(state.replicas[at].committed)?;
                next.replicas[at] = self.step(&state.replicas[at], Step::Commit(record));
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the same records make the same members", |_, state: &State| {
                pairs(state).all(|(one, other)| {
                    one.heard != other.heard
                        || one.committed != other.committed
                        || (one.members == other.members
                            && one.head == other.head
                            && one.log.state() == other.log.state())
                })
            }),
            Property::always("whoever was removed admits nobody", |_, state: &State| {
                state.replicas.iter().all(|replica| replica.removed_admits_nobody)
            }),
            Property::always(
                "the current secret is for all who live and nobody else",
                |_, state: &State| {
                    state.replicas.iter().all(|replica| replica.secret_is_for_members)
                },
            ),
            Property::always("somebody is left to administer", |_, state: &State| {
                state.replicas.iter().all(|replica| replica.log.state().admins().next().is_some())
            }),
            Property::always("what is final stays", |_, state: &State| {
                let is_final = |replica: &Arc<Replica>| {
                    let chain = replica.log.chain_from(replica.begun + 1);
                    let placed = state.order[..replica.committed].iter();
                    placed.zip(&chain).all(|(cid, record)| record.cid() == *cid)
                };
                state.replicas.iter().all(is_final)
            }),
            Property::sometimes("both admins removed each other", |_, state: &State| {
                let removed = |n| state.replicas.iter().any(|one| !one.members.contains(&n));
                removed(1) && removed(2)
            }),
            Property::sometimes("one branch wins over another", |_, state: &State| {
                state.replicas.iter().any(|replica| replica.forked)
            }),
        ]
    }
}

fn pairs(state: &State) -> impl Iterator<Item = (&Replica, &Replica)> {
    let at = [(0, 1), (0, 2), (1, 2)];
    at.into_iter().map(|(one, other)| (&*state.replicas[one], &*state.replicas[other]))
}

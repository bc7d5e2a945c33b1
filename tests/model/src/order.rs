//! The order: three voters, some of them hosts that say anything to anybody, and certificates.
//!
//! An honest voter holds a chain of entries, may be led to replace what is not certified, and signs
//! each index once. A host signs every chain there is. Acknowledgements reach each replica in any
//! order, or never; what a replica has of them is made into certificates, which it verifies.
//! Checkpoints sealed by several devices are not built yet, so nothing here seals.

use rhizome_block::{Cid, Codec};
use rhizome_cluster::{Ack, Certificate, Chain, EntryBody};
use rhizome_identity::{DeviceId, Signature, SigningKeys};
use rhizome_log::Seen;
use stateright::{Model, Property};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Voters there are.
pub const VOTERS: usize = 3;

/// The generation that all entries belong to.
const GENERATION: u64 = 1;

/// A chain, by what it places at each index: one of two entries.
pub type Path = Vec<bool>;

/// One acknowledgement: which voter, for which chain.
pub type Said = (usize, Path);

/// A rule that can be taken out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Without {
    /// Nothing is missing.
    Nothing,
    /// A certificate counts although no trusted voter signed it.
    Trusted,
    /// An honest voter signs an index again when its entry was replaced.
    SignOnce,
    /// A certificate counts with fewer signatures than a majority.
    Majority,
    /// What a majority has written may be replaced, although nobody lies.
    Raft,
}

/// What a world may do.
#[derive(Clone, Debug)]
pub struct World {
    /// Most entries of a chain.
    pub length: usize,
    /// How many voters are hosts, which hold no keys and may lie. They come first.
    pub hosts: usize,
    /// How many chains a host signs, whatever it holds; with 0 the hosts are honest.
    pub lies: usize,
    /// Replicas that gather acknowledgements.
    pub replicas: usize,
    /// The rule that is missing.
    pub without: Without,
}

/// A state of the world.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The chain that each voter holds.
    pub chains: [Path; VOTERS],
    /// Everything that was signed.
    pub said: BTreeSet<Said>,
    /// What each replica has heard of that.
    pub heard: Vec<BTreeSet<Said>>,
}

/// What can happen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// A leader has a voter hold this chain.
    Hold {
        /// Which voter.
        voter: usize,
        /// Which chain.
        path: Path,
    },
    /// A voter signs.
    Sign(Said),
    /// An acknowledgement reaches a replica.
    Hear {
        /// Which replica.
        at: usize,
        /// What.
        said: Said,
    },
}

fn keys() -> &'static [SigningKeys; VOTERS] {
    static KEYS: OnceLock<[SigningKeys; VOTERS]> = OnceLock::new();
    KEYS.get_or_init(|| [1, 2, 3].map(|n| SigningKeys::from_secret([n; 32])))
}

/// Chains of up to this length are worked out and signed once, by the code that runs.
const LENGTH_MAX: usize = 4;

struct Signed {
    seen: Seen,
    by: [(DeviceId, Signature); VOTERS],
}

fn signed(path: &[bool]) -> &'static Signed {
    static SIGNED: OnceLock<BTreeMap<Path, Signed>> = OnceLock::new();
    let all = SIGNED.get_or_init(|| {
        let mut all = BTreeMap::new();
        for length in 1..=LENGTH_MAX {
            for number in 0..1_usize << length {
                let path: Path = (0..length).map(|at| number >> at & 1 == 1).collect();
                let seen = seen(&path);
                let by = [0, 1, 2].map(|voter| {
                    let ack = Ack::sign(&keys()[voter], seen);
                    (ack.device, ack.sig)
                });
                all.insert(path, Signed { seen, by });
            }
        }
        all
    });
    &all[path]
}

fn seen(path: &[bool]) -> Seen {
    let mut chain = Chain::from(Seen { g: 0, i: 0, c: [7; 32] });
    for (at, other) in path.iter().enumerate() {
        let record = Cid::of(Codec::DagCbor, &[at as u8, u8::from(*other)]);
        chain.push(GENERATION, EntryBody::Control { record });
    }
    chain.end()
}

impl World {
    fn is_host(&self, voter: usize) -> bool {
        voter < self.hosts
    }

    fn is_lying(&self, voter: usize) -> bool {
        self.lies > 0 && self.is_host(voter)
    }

    /// Whether the acknowledgements of `voters` for one chain commit it.
    fn certifies(&self, path: &[bool], voters: u8) -> bool {
        let signed = signed(path);
        let acks = (0..VOTERS).filter(|voter| voters >> voter & 1 == 1);
        let certificate = Certificate::new(signed.seen, acks.map(|at| signed.by[at]).collect());
        let all: BTreeSet<DeviceId> = keys().iter().map(SigningKeys::device_id).collect();
        let ids = |voters: std::ops::Range<usize>| {
            voters.map(|at| keys()[at].device_id()).collect::<BTreeSet<_>>()
        };
        let (voters, trusted) = match self.without {
            Without::Trusted => (all, BTreeSet::new()),
            // Whoever signed is taken for all the voters there are.
            Without::Majority => {
                let signers: BTreeSet<DeviceId> =
                    certificate.acks.iter().map(|(device, _)| *device).collect();
                (signers, ids(self.hosts..VOTERS))
            }
            Without::Nothing | Without::SignOnce | Without::Raft => (all, ids(self.hosts..VOTERS)),
        };
        !voters.is_empty() && certificate.verify(&voters, &trusted).is_ok()
    }

    /// The chains that a replica can prove to be committed.
    fn committed(&self, heard: &BTreeSet<Said>) -> Vec<Path> {
        let mut signers: BTreeMap<&Path, u8> = BTreeMap::new();
        for (voter, path) in heard {
            *signers.entry(path).or_default() |= 1 << voter;
        }
        let good = |(path, voters): &(&Path, u8)| self.proves(path, *voters);
        signers.into_iter().filter(good).map(|(path, _)| path.clone()).collect()
    }

    /// [`Self::certifies`], worked out once for each chain and set of voters.
    fn proves(&self, path: &Path, voters: u8) -> bool {
        type Known = BTreeMap<(usize, u8, Path, u8), bool>;
        thread_local! {
            static KNOWN: RefCell<Known> = const { RefCell::new(Known::new()) };
        }
        let key = (self.hosts, self.without as u8, path.clone(), voters);
        KNOWN.with_borrow_mut(|known| {
            *known.entry(key).or_insert_with(|| self.certifies(path, voters))
        })
    }

    /// Two signatures of one voter for one index, among what a replica has.
    fn proofs(heard: &BTreeSet<Said>) -> BTreeSet<usize> {
        let mut first: BTreeMap<(usize, usize), &Path> = BTreeMap::new();
        let mut liars = BTreeSet::new();
        for (voter, path) in heard {
            let before = first.entry((*voter, path.len())).or_insert(path);
            if *before != path {
                liars.insert(*voter);
            }
        }
        liars
    }

    /// Whether an honest voter may be led to hold `path`. The guard keeps what the voter knows to
    /// be certified, whoever leads. Raft keeps what a majority has written, as long as nobody lies
    /// about it. Nothing else is relied upon.
    fn may_hold(&self, state: &State, voter: usize, path: &Path) -> bool {
        let certified = self.committed(&state.heard[voter % self.replicas]);
        let promised = self.lies == 0 && self.without != Without::Raft;
        let agrees = |known: &Path| !differ(known, path);
        certified.iter().all(agrees)
            && (!promised || written(state, self.length).iter().all(agrees))
    }

    fn may_sign(&self, state: &State, voter: usize, path: &Path) -> bool {
        let before = |said: &&Said| said.0 == voter && said.1.len() == path.len();
        self.without == Without::SignOnce || state.said.iter().find(before).is_none()
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let heard = vec![BTreeSet::new(); self.replicas];
        vec![State { chains: Default::default(), said: BTreeSet::new(), heard }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for voter in 0..VOTERS {
            if self.is_lying(voter) {
                if state.said.iter().filter(|said| said.0 == voter).count() >= self.lies {
                    continue;
                }
                let every = paths(self.length).into_iter().map(|path| (voter, path));
                actions.extend(every.filter(|said| !state.said.contains(said)).map(Action::Sign));
                continue;
            }
            let chain = &state.chains[voter];
            // A leader hands over one entry more, or replaces the last one.
            for last in [false, true] {
                let longer = [&chain[..], &[last]].concat();
                let other = chain.split_last().map(|(_, kept)| [kept, &[last]].concat());
                for path in [Some(longer), other].into_iter().flatten() {
                    if path.len() <= self.length && path != *chain {
                        actions.push(Action::Hold { voter, path });
                    }
                }
            }
            let said = (voter, chain.clone());
            let new = !chain.is_empty() && !state.said.contains(&said);
            if new && self.may_sign(state, voter, chain) {
                actions.push(Action::Sign(said));
            }
        }
        for (at, heard) in state.heard.iter().enumerate() {
            let new = state.said.difference(heard);
            actions.extend(new.map(|said| Action::Hear { at, said: said.clone() }));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Hold { voter, path } => {
                if !self.may_hold(state, voter, &path) {
                    return None;
                }
                next.chains[voter] = path;
            }
            Action::Sign(said) => drop(next.said.insert(said)),
            Action::Hear { at, said } => drop(next.heard[at].insert(said)),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "two orders for one index prove that a host lied",
                |world: &Self, state: &State| {
                    state.heard.iter().all(|heard| {
                        !one_index_twice(&Self::committed(world, heard))
                            || Self::proofs(heard).iter().any(|voter| world.is_host(*voter))
                    })
                },
            ),
            Property::always("no honest voter can be framed", |world: &Self, state: &State| {
                let lied = |voter: usize| world.is_lying(voter);
                Self::proofs(&state.said).into_iter().all(lied)
            }),
            Property::always("hosts commit nothing alone", |world: &Self, state: &State| {
                state.heard.iter().all(|heard| {
                    world.committed(heard).iter().all(|path| {
                        heard.iter().any(|(voter, said)| said == path && !world.is_host(*voter))
                    })
                })
            }),
            Property::always("without lies there is one order", |world: &Self, state: &State| {
                let committed: Vec<Path> =
                    state.heard.iter().flat_map(|heard| world.committed(heard)).collect();
                world.lies > 0 || !conflict(&committed)
            }),
            Property::sometimes("two orders and no proof", |world: &Self, state: &State| {
                let unproven = |heard: &BTreeSet<Said>| {
                    conflict(&world.committed(heard)) && Self::proofs(heard).is_empty()
                };
                state.heard.iter().any(unproven)
            }),
            Property::sometimes("something is committed", |world: &Self, state: &State| {
                state.heard.iter().any(|heard| !world.committed(heard).is_empty())
            }),
        ]
    }
}

/// Chains that a majority holds, or has held when it signed them.
fn written(state: &State, length: usize) -> Vec<Path> {
    let stands = |voter: usize, path: &Path| {
        let signed = state.said.iter().any(|(by, said)| *by == voter && said.starts_with(path));
        signed || state.chains[voter].starts_with(path)
    };
    let by_most = |path: &Path| (0..VOTERS).filter(|at| stands(*at, path)).count() > VOTERS / 2;
    paths(length).into_iter().filter(by_most).collect()
}

/// Whether two of the chains end at one index.
fn one_index_twice(paths: &[Path]) -> bool {
    let lengths: BTreeSet<usize> = paths.iter().map(Vec::len).collect();
    lengths.len() < paths.len()
}

/// Whether any two of the chains differ at an index that both have.
fn conflict(paths: &[Path]) -> bool {
    paths.iter().any(|one| paths.iter().any(|other| differ(one, other)))
}

fn differ(one: &Path, other: &Path) -> bool {
    let shorter = one.len().min(other.len());
    one[..shorter] != other[..shorter]
}

/// Every chain of up to this length.
fn paths(length: usize) -> Vec<Path> {
    let of = |length: usize| {
        (0..1_usize << length).map(move |n| (0..length).map(|at| n >> at & 1 == 1).collect())
    };
    (1..=length).flat_map(of).collect()
}

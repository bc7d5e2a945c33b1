//! A model of the group of voters, in place of openraft: it promises what Raft promises.
//!
//! One log per generation. A leader is a voter that reaches a majority; what it proposes is
//! appended, and committed once a majority of the voters in force holds the named bytes durably, a
//! trusted one among them. A new leader keeps everything committed and any prefix of the rest.
//! Commits reach a voter late, in order, and again after a restart. Changing the voters needs both
//! majorities once.

use crate::dice::Dice;
use rhizome_block::planted::{Bug, planted};
use rhizome_cluster::{Ack, Certificate, Chain, EntryBody, OrderedEntry};
use rhizome_identity::{DeviceId, SigningKeys};
use rhizome_log::Seen;
use rhizome_replica::{OrderNews, VoterList};
use std::collections::{BTreeMap, BTreeSet};

/// What the model asks of the world around it.
pub trait Surroundings {
    /// Whether two voters can talk now.
    fn linked(&self, a: DeviceId, b: DeviceId) -> bool;
    /// Whether a voter is on and holds, durably, what a body names.
    fn holds(&self, voter: DeviceId, body: &EntryBody) -> bool;
    /// Its signing keys.
    fn keys(&self, voter: DeviceId) -> SigningKeys;
}

/// News for one voter.
pub type News = (DeviceId, OrderNews);

/// A generation, and the order it goes on from: two reforms may begin the same generation.
type Name = (u64, [u8; 32]);

/// The groups of all generations.
#[derive(Default)]
pub struct Groups {
    groups: BTreeMap<Name, Group>,
    /// The group that each voter takes part in.
    part: BTreeMap<DeviceId, Name>,
}

struct Group {
    log: Vec<OrderedEntry>,
    base: Seen,
    committed: usize,
    certificate: Option<Certificate>,
    sets: Vec<VoterList>,
    in_force: usize,
    leader: Option<DeviceId>,
    /// How many entries each voter was told are committed.
    told: BTreeMap<DeviceId, usize>,
}

impl Groups {
    /// A voter starts, or goes on in, a generation.
    pub fn run(
        &mut self,
        voter: DeviceId,
        generation: u64,
        base: Seen,
        sets: Vec<VoterList>,
        applied: Seen,
    ) {
        let name = (generation, base.c);
        let again = self.part.insert(voter, name) == Some(name);
        let group = self.groups.entry(name).or_insert_with(|| Group::new(base));
        if sets.len() >= group.sets.len() {
            group.sets = sets;
        }
        if !again || !group.told.contains_key(&voter) {
            let held = applied.i.saturating_sub(base.i);
            let held = usize::try_from(held).unwrap_or(0).min(group.committed);
            group.told.insert(voter, held);
        }
    }

    /// A voter leaves, or is switched off.
    pub fn leave(&mut self, voter: DeviceId) {
        if let Some(name) = self.part.remove(&voter)
            && let Some(group) = self.groups.get_mut(&name)
        {
            group.told.remove(&voter);
            if group.leader == Some(voter) {
                group.leader = None;
            }
        }
    }

    /// A leader proposes. From anybody else it is lost, as it is in Raft.
    pub fn propose(&mut self, voter: DeviceId, bodies: Vec<EntryBody>) {
        let Some(name) = self.part.get(&voter).copied() else { return };
        let Some(group) = self.groups.get_mut(&name) else { return };
        if group.leader != Some(voter) {
            return;
        }
        let mut chain = Chain::from(group.end());
        group.log.extend(bodies.into_iter().map(|body| chain.push(name.0, body)));
    }

    /// Time passes: elections, commits, and news of them.
    pub fn tick(&mut self, dice: &mut Dice, world: &dyn Surroundings) -> Vec<News> {
        let mut news = Vec::new();
        for (name, group) in &mut self.groups {
            let part: BTreeSet<DeviceId> =
                self.part.iter().filter(|(_, in_)| *in_ == name).map(|(d, _)| *d).collect();
            group.elect(dice, world, &part, &mut news);
            group.commit(world, &part);
            group.tell(world, &part, &mut news);
        }
        news
    }

    /// Makes the leaders step down.
    pub fn depose(&mut self, dice: &mut Dice) -> Vec<News> {
        let led = self.groups.values_mut().filter(|group| group.leader.is_some());
        led.filter_map(|group| group.depose(dice)).collect()
    }
}

impl Group {
    fn new(base: Seen) -> Self {
        Self {
            log: Vec::new(),
            base,
            committed: 0,
            certificate: None,
            sets: Vec::new(),
            in_force: 0,
            leader: None,
            told: BTreeMap::new(),
        }
    }

    fn end(&self) -> Seen {
        self.log.last().map_or(self.base, |entry| entry.seen)
    }

    /// The sets whose majorities count now: the one in force, and the one that is to follow.
    fn counting(&self) -> impl Iterator<Item = &VoterList> {
        let last = self.sets.len().saturating_sub(1);
        let first = self.in_force.min(last);
        [first, last].into_iter().filter_map(|at| self.sets.get(at))
    }

    fn reached(
        &self,
        world: &dyn Surroundings,
        part: &BTreeSet<DeviceId>,
        from: DeviceId,
    ) -> BTreeSet<DeviceId> {
        let reached = |to: &&DeviceId| **to == from || world.linked(from, **to);
        part.iter().filter(reached).copied().collect()
    }

    fn is_majority(&self, present: &BTreeSet<DeviceId>) -> bool {
        self.counting().all(|list| {
            let voters: BTreeSet<DeviceId> = list.admitted.iter().map(|(d, _)| *d).collect();
            let here = voters.intersection(present).count();
            let trusted = list.trusted.is_empty() || !list.trusted.is_disjoint(present);
            here > voters.len() / 2 && trusted
        })
    }

    fn elect(
        &mut self,
        dice: &mut Dice,
        world: &dyn Surroundings,
        part: &BTreeSet<DeviceId>,
        news: &mut Vec<News>,
    ) {
        if let Some(leader) = self.leader {
            let stays =
                part.contains(&leader) && self.is_majority(&self.reached(world, part, leader));
            if stays {
                return;
            }
            news.extend(self.depose(dice));
        }
        let last = self.sets.last();
        let able = |one: &&DeviceId| {
            last.is_some_and(|list| list.admitted.iter().any(|(device, _)| device == *one))
                && self.is_majority(&self.reached(world, part, **one))
        };
        let able: Vec<DeviceId> = part.iter().filter(able).copied().collect();
        if let Some(leader) = dice.pick(&able) {
            self.leader = Some(leader);
            news.push((leader, OrderNews::Leading(true)));
        }
    }

    /// What was not committed may be lost with the lead.
    fn depose(&mut self, dice: &mut Dice) -> Option<News> {
        let leader = self.leader.take()?;
        let open = self.log.len() - self.committed;
        let kept = if open == 0 { 0 } else { dice.index(open + 1) };
        self.committed -= usize::from(planted(Bug::LeaderForgets) && self.committed > 0);
        self.log.truncate(self.committed + kept);
        Some((leader, OrderNews::Leading(false)))
    }

    fn commit(&mut self, world: &dyn Surroundings, part: &BTreeSet<DeviceId>) {
        let Some(leader) = self.leader else { return };
        let mut holders = self.reached(world, part, leader);
        let mut best = None;
        for (at, entry) in self.log.iter().enumerate().skip(self.committed) {
            holders.retain(|voter| world.holds(*voter, &entry.entry.body));
            if !holders.contains(&leader) || !self.is_majority(&holders) {
                break;
            }
            best = Some((at, entry.seen, holders.clone()));
        }
        let Some((at, seen, holders)) = best else { return };
        let last: BTreeSet<DeviceId> = self
            .sets
            .last()
            .map(|l| l.admitted.iter().map(|(d, _)| *d).collect())
            .unwrap_or_default();
        let sign = |voter: &DeviceId| (*voter, Ack::sign(&world.keys(*voter), seen).sig);
        let acks = holders.intersection(&last).map(sign).collect();
        self.certificate = Some(Certificate::new(seen, acks));
        self.committed = at + 1;
        self.in_force = self.sets.len().saturating_sub(1);
    }

    /// A certificate covers all up to its place, so news end at the newest one.
    fn tell(&mut self, world: &dyn Surroundings, part: &BTreeSet<DeviceId>, news: &mut Vec<News>) {
        let (Some(leader), Some(certificate)) = (self.leader, self.certificate.clone()) else {
            return;
        };
        for voter in self.reached(world, part, leader) {
            let told = self.told.entry(voter).or_default();
            if *told >= self.committed {
                continue;
            }
            let entries = self.log[*told..self.committed].iter();
            let entries = entries.map(|placed| placed.entry.clone()).collect();
            *told = self.committed;
            let certificate = certificate.clone();
            news.push((voter, OrderNews::Committed { entries, certificate }));
        }
    }
}

//! A removed device reads nothing new, and what it wrote after its cut-off changes nothing.
//!
//! With every write: it is sealed under the newest keys that its author knows, so that a removal it
//! knows of holds for it. With every message: whoever knows that a device was removed shows it
//! control records and nothing else. In the healed world: no removed device holds the secret of an
//! epoch that began with its removal or later; and each event of it that took effect was named by
//! the removal, had its place before the removal, or is what an event that counts depends on. That
//! is worked out here from the order and the sealed events alone, apart from the replica's own
//! reckoning.

use super::events;
use crate::book::{APP, Fate, mark};
use crate::world::World;
use rhizome_cluster::{Entry, EntryBody};
use rhizome_doc::Documents;
use rhizome_identity::{DeviceId, DeviceKind, EpochId};
use rhizome_log::{Dep, LogId, LogTag};
use rhizome_replica::{Access, Message, Replica};
use std::collections::BTreeMap;

/// The newest keys that a device knows and holds.
pub fn newest(world: &World, at: usize) -> Option<EpochId> {
    let replica = world.devices[at].replica()?;
    let newest = replica.control().state().epoch().id;
    replica.keys().has_epoch(&newest).then_some(newest)
}

/// A device wrote under `sealed`, and knew of the `newest` keys when it was asked.
pub fn writes(at: usize, sealed: EpochId, newest: EpochId) {
    assert_eq!(sealed, newest, "device {at} wrote under keys that a removed device may have");
}

/// A device says something.
pub fn says(world: &World, at: usize, to: DeviceId, message: &Message) {
    let state = world.devices[at].replica().map(|replica| replica.control().state());
    let known = state.and_then(|state| state.device(&to));
    let removed = known.is_some_and(|one| !one.is_live());
    assert!(
        !removed || matches!(message, Message::Control { .. }),
        "device {at} shows a device that it knows as removed more than its removal"
    );
}

/// The world has healed.
pub fn check(world: &World) {
    let live = world.live();
    let mut readers =
        live.iter().copied().filter(|at| world.devices[*at].kind != DeviceKind::CloudPeer);
    let Some(reader) = readers.next() else { return };
    reads_nothing_new(world, reader);
    changes_nothing(world, reader);
}

fn reads_nothing_new(world: &World, reader: usize) {
    let Some(replica) = world.devices[reader].replica() else { return };
    let state = replica.control().committed_state();
    let chain = replica.control().chain_from(1);
    for device in &world.devices {
        let Some(by) = state.device(&device.id()).and_then(|one| one.revoked.as_ref()) else {
            continue;
        };
        let Some(keys) = device.replica().map(Replica::keys) else { continue };
        let since = chain.iter().skip_while(|record| record.cid() != by.record);
        let since: Vec<_> = since.map(|record| record.cid()).collect();
        let new = state.epochs().filter(|epoch| since.contains(&epoch.id.record));
        for epoch in new {
            let id = device.id();
            assert!(!keys.has_epoch(&epoch.id), "{id} was removed and reads {:?}", epoch.id);
        }
    }
}

fn changes_nothing(world: &World, reader: usize) {
    let device = &world.devices[reader];
    let Some(replica) = device.replica() else { return };
    let allowed = device.look(Reckoning::of).map(|reckoning| reckoning.allowed);
    let allowed = allowed.unwrap_or_default();
    let state = replica.control().committed_state();
    let mut effective = BTreeMap::new();
    for log in replica.status().logs {
        effective.insert(log.log, log.effective);
        let removed = state.device(&log.log.author).is_some_and(|one| !one.is_live());
        let to = allowed.get(&log.log).copied().unwrap_or(0);
        assert!(
            !removed || log.effective <= to,
            "{:?} of a removed device has effect to {}, and should to {to}",
            log.log,
            log.effective
        );
    }
    let documents = Documents::new(APP);
    for (n, promise) in &world.book.promises {
        let Fate::Acknowledged { log, seq } = promise.fate else { continue };
        let found = documents.get(device.index(), &mark(*n)).expect("documents can be read");
        let to = effective.get(&log).copied().unwrap_or(0);
        assert!(found.is_none() || seq <= to, "write {n} shows and took no effect");
    }
}

/// What may count of each log of a removed device, worked out anew.
#[derive(Default)]
struct Reckoning {
    placed: BTreeMap<LogId, u64>,
    allowed: BTreeMap<LogId, u64>,
}

impl Reckoning {
    fn of(replica: &Replica, access: &Access<'_, '_>) -> Self {
        let mut reckoning = Self::default();
        if replica.control().committed_state().devices().any(|(_, one)| !one.is_live()) {
            reckoning.follow_order(replica, access);
            reckoning.follow_deps(replica, access);
        }
        reckoning
    }

    /// What a removal names, and what had its place before it.
    fn follow_order(&mut self, replica: &Replica, access: &Access<'_, '_>) {
        let mut from = 0;
        while let Some((entries, certificate)) =
            replica.pack_order(access, from).expect("the order can be read")
        {
            for bytes in entries {
                match Entry::read(&bytes).expect("an entry is one").body {
                    EntryBody::Range { log, head, .. } => {
                        let placed = self.placed.entry(log).or_default();
                        *placed = (*placed).max(head.seq);
                    }
                    EntryBody::Control { record } => self.removal(replica, record),
                }
            }
            from = certificate.seen.i;
        }
    }

    fn removal(&mut self, replica: &Replica, record: rhizome_block::Cid) {
        for (author, device) in replica.control().committed_state().devices() {
            let Some(by) = device.revoked.as_ref().filter(|by| by.record == record) else {
                continue;
            };
            for (log, placed) in self.placed.iter().filter(|(log, _)| log.author == author) {
                self.allowed.insert(*log, *placed);
            }
            for head in &by.last {
                let (author, tag, incarnation) = (head.author, LogTag(head.tag), head.incarnation);
                let named = self.allowed.entry(LogId { author, tag, incarnation }).or_default();
                *named = (*named).max(head.seq);
            }
        }
    }

    /// What events that count depend on, and what these do.
    fn follow_deps(&mut self, replica: &Replica, access: &Access<'_, '_>) {
        let state = replica.control().committed_state();
        let removed = |log: &LogId| state.device(&log.author).is_some_and(|one| !one.is_live());
        let mut deps = Vec::new();
        for log in replica.status().logs {
            let events = events::behind(replica, access, &log.log, 0).into_iter();
            let named = events.flat_map(|event| {
                let seq = event.seq;
                event.deps.into_iter().map(move |dep| (seq, dep))
            });
            deps.push((log.log, named.collect::<Vec<(u64, Dep)>>()));
        }
        loop {
            let before = self.allowed.clone();
            for (log, deps) in &deps {
                let counts = match removed(log) {
                    true => self.allowed.get(log).copied().unwrap_or(0),
                    false => u64::MAX,
                };
                let counting = deps.iter().filter(|(seq, _)| *seq <= counts);
                for (_, dep) in counting.filter(|(_, dep)| removed(&dep.log)) {
                    let allowed = self.allowed.entry(dep.log).or_default();
                    *allowed = (*allowed).max(dep.seq);
                }
            }
            if before == self.allowed {
                return;
            }
        }
    }
}

//! Nothing takes effect before what it depends on: asked after every act, of what took effect
//! since, with the dependencies that the sealed events themselves name.

use super::events;
use crate::world::World;
use rhizome_identity::{DeviceId, DeviceKind};
use rhizome_log::{Dep, LogId};
use std::collections::BTreeMap;

/// What was opened and asked so far.
#[derive(Default)]
pub struct Causes {
    /// What each event of a log depends on, in their order.
    deps: BTreeMap<LogId, Vec<Vec<Dep>>>,
    /// How far each device was asked.
    asked: BTreeMap<(DeviceId, LogId), u64>,
}

pub fn check(world: &mut World) {
    for at in world.live() {
        let device = &world.devices[at];
        let Some(replica) = device.replica().filter(|_| device.kind != DeviceKind::CloudPeer)
        else {
            continue;
        };
        let status = replica.status();
        let effective: BTreeMap<LogId, u64> =
            status.logs.iter().map(|log| (log.log, log.effective)).collect();
        for (log, to) in &effective {
            let known = world.watch.causes.deps.entry(*log).or_default();
            if (known.len() as u64) < *to {
                let after = known.len() as u64;
                let news = device.look(|one, access| events::behind(one, access, log, after));
                known.extend(news.unwrap_or_default().into_iter().map(|event| event.deps));
            }
            let asked = world.watch.causes.asked.entry((device.id(), *log)).or_default();
            for seq in *asked + 1..=*to {
                let event = usize::try_from(seq - 1).ok().and_then(|place| known.get(place));
                let waits = |dep: &&Dep| effective.get(&dep.log).is_none_or(|to| *to < dep.seq);
                let early = event.and_then(|deps| deps.iter().find(waits));
                assert!(
                    early.is_none(),
                    "on device {at} event {seq} of {log:?} took effect before {early:?}"
                );
            }
            *asked = *to;
        }
    }
}

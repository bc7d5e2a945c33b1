//! The later edit wins, not the later arrival: the documents that devices fight over are worked out
//! anew from the sealed events, by their clocks and authors alone, in no order, and compared with
//! what a device that reads has made of them. Asked of the healed world.

use super::events::{self, Opened};
use crate::book::{APP, SHARED, shared};
use crate::world::World;
use rhizome_doc::{Batch, Documents, Merge, Op, Stamp};
use rhizome_identity::DeviceKind;
use rhizome_log::{Clock, LogId};
use rhizome_schema::{DocPath, Fields, Value};
use std::collections::BTreeMap;

type Event = (LogId, u64);

pub fn check(world: &World) {
    let live = world.live();
    let reader = live.into_iter().find(|at| world.devices[*at].kind != DeviceKind::CloudPeer);
    let Some(reader) = reader else { return };
    let device = &world.devices[reader];
    let events = device.look(|replica, access| {
        let mut all = BTreeMap::new();
        for log in replica.status().logs {
            for event in events::behind(replica, access, &log.log, 0) {
                if event.seq <= log.effective {
                    all.insert((log.log, event.seq), event);
                }
            }
        }
        all
    });
    let events = events.unwrap_or_default();
    let clocks = clocks(&events);
    let mut edits = BTreeMap::new();
    for ((log, seq), event) in &events {
        let stamp = Stamp { clock: clocks[&(*log, *seq)], log: *log, seq: *seq };
        note(&mut edits, stamp, event);
    }
    let documents = Documents::new(APP);
    for n in 0..SHARED {
        let path = shared(n);
        let found = documents.get(device.index(), &path).expect("documents can be read");
        let found = found.map(|doc| (*doc.fields).clone());
        let meant = edits.remove(&path).and_then(Edits::outcome);
        assert_eq!(found, meant, "an earlier edit of {path} won on device {reader}");
    }
}

/// The effective clock of each event: later than its own log before it and what it depends on.
fn clocks(events: &BTreeMap<Event, Opened>) -> BTreeMap<Event, Clock> {
    let mut clocks: BTreeMap<Event, Clock> = BTreeMap::new();
    while clocks.len() < events.len() {
        let before = clocks.len();
        for ((log, seq), event) in events {
            let causes = event.deps.iter().map(|dep| (dep.log, dep.seq));
            let causes: Vec<Event> = causes.chain((*seq > 1).then(|| (*log, seq - 1))).collect();
            let known: Option<Vec<Clock>> =
                causes.iter().map(|cause| clocks.get(cause).map(|clock| clock.next())).collect();
            if let Some(known) = known {
                let clock = known.into_iter().max().unwrap_or_default().max(event.hlc);
                clocks.insert((*log, *seq), clock);
            }
        }
        assert!(clocks.len() > before, "events that took effect wait for each other");
    }
    clocks
}

/// Assignments of one document.
#[derive(Default)]
struct Edits {
    /// The latest set or removal of all of it.
    whole: Option<(Stamp, Option<Fields>)>,
    /// The latest assignment of each field.
    fields: BTreeMap<String, (Stamp, Value)>,
}

fn note(edits: &mut BTreeMap<DocPath, Edits>, stamp: Stamp, event: &Opened) {
    let Ok(batch) = Batch::from_body(&event.body) else { return };
    for mutation in batch.ops {
        let edits = edits.entry(mutation.path).or_default();
        match mutation.op {
            Op::Delete => edits.all(stamp, None),
            Op::Set { value, merge: Merge::None, .. } => edits.all(stamp, Some(value)),
            Op::Set { value, .. } => {
                for (name, value) in value {
                    let known = edits.fields.get(&name).is_some_and(|(known, _)| *known > stamp);
                    if !known {
                        edits.fields.insert(name, (stamp, value));
                    }
                }
            }
            Op::Update(_) => {}
        }
    }
}

impl Edits {
    fn all(&mut self, stamp: Stamp, value: Option<Fields>) {
        if self.whole.as_ref().is_none_or(|(known, _)| *known < stamp) {
            self.whole = Some((stamp, value));
        }
    }

    /// What is there in the end.
    fn outcome(self) -> Option<Fields> {
        let (since, whole) = self.whole.map_or((None, None), |(stamp, all)| (Some(stamp), all));
        let later = |(stamp, _): &(Stamp, Value)| since.is_none_or(|since| *stamp > since);
        let later = self.fields.into_iter().filter(|(_, edit)| later(edit));
        let later: Vec<(String, Value)> = later.map(|(name, (_, value))| (name, value)).collect();
        if whole.is_none() && later.is_empty() {
            return None;
        }
        let mut fields = whole.unwrap_or_default();
        fields.extend(later);
        Some(fields)
    }
}

//! Lies about what others wrote, told by whoever carries it.

use super::super::script::Script;
use crate::world::World;
use rhizome_identity::DeviceId;
use rhizome_log::{Event, Head, LogId, Run, Slot, Stretch};
use rhizome_replica::Message;
use std::collections::VecDeque;

/// Most messages of others that are kept to be said again.
const KEPT_MAX: usize = 200;

/// Whether a lie is told now: often, but not always, so that conversations get anywhere.
fn lies(world: &mut World) -> bool {
    let first = world.hostile.as_ref().is_some_and(|stage| stage.lies == 0);
    first || world.dice.chance(40)
}

/// Nobody hears from the host what the second device wrote, or that it wrote.
pub struct Withholding;

impl Withholding {
    fn is_theirs(world: &World, log: &LogId) -> bool {
        log.author == world.devices[1].id()
    }
}

impl Script for Withholding {
    fn begin(&mut self, world: &mut World, _actor: usize) {
        world.write(1);
    }

    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        let victim = world.devices[1].id();
        if to == victim {
            return vec![message];
        }
        let mut open = |heads: Vec<(LogId, u64)>| -> Vec<(LogId, u64)> {
            if heads.iter().any(|(log, _)| log.author == victim) {
                world.lied("withheld heads");
            }
            heads.into_iter().filter(|(log, _)| log.author != victim).collect()
        };
        match message {
            Message::Run { run } if run.log.author == victim => {
                world.lied("withheld");
                Vec::new()
            }
            Message::Heads { heads } => vec![Message::Heads { heads: open(heads) }],
            Message::Hello { control, order, heads, pins } => {
                vec![Message::Hello { control, order, heads: open(heads), pins }]
            }
            message => vec![message],
        }
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        let held = |at: usize| -> Vec<(LogId, u64)> {
            let logs = world.devices[at].replica().map(|one| one.status().logs).unwrap_or_default();
            let theirs = logs.into_iter().filter(|one| Self::is_theirs(world, &one.log));
            theirs.map(|one| (one.log, one.held)).collect()
        };
        let lacks = |at: &usize| !world.is_actor(*at) && held(*at) != held(1);
        let lacking = (0..world.devices.len()).find(lacks)?;
        Some(format!("device {lacking} still lacks what was withheld"))
    }
}

/// Messages, and entries within them, in another order.
#[derive(Default)]
pub struct Reordering {
    held: Vec<(DeviceId, Message)>,
}

impl Script for Reordering {
    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        if !lies(world) {
            return vec![message];
        }
        world.lied("reordered");
        match message {
            Message::Order { mut entries, certificate } if entries.len() > 1 => {
                entries.reverse();
                vec![Message::Order { entries, certificate }]
            }
            Message::Control { mut records } if records.len() > 1 => {
                records.reverse();
                vec![Message::Control { records }]
            }
            message => {
                self.held.push((to, message));
                Vec::new()
            }
        }
    }

    fn act(&mut self, world: &mut World, actor: usize) {
        while !self.held.is_empty() {
            let (to, message) = self.held.swap_remove(world.dice.index(self.held.len()));
            world.utter(actor, to, &message);
        }
    }
}

/// Runs, orders and control logs that end too early.
pub struct Truncation;

impl Script for Truncation {
    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        if !lies(world) {
            return vec![message];
        }
        match message {
            Message::Run { mut run } => {
                world.lied("truncated run");
                let last = run.stretches.last_mut();
                last.and_then(|stretch| stretch.bodies.pop());
                vec![Message::Run { run }]
            }
            Message::Order { mut entries, certificate } => {
                world.lied("truncated order");
                entries.pop();
                vec![Message::Order { entries, certificate }]
            }
            Message::Control { mut records } => {
                world.lied("truncated control log");
                records.pop();
                vec![Message::Control { records }]
            }
            message => vec![message],
        }
    }
}

/// What anybody ever said, said again to anybody.
#[derive(Default)]
pub struct Replay {
    said: VecDeque<Message>,
}

impl Replay {
    fn keep(&mut self, message: &Message) {
        if self.said.len() == KEPT_MAX {
            self.said.pop_front();
        }
        self.said.push_back(message.clone());
    }
}

impl Script for Replay {
    fn says(
        &mut self,
        _world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        self.keep(&message);
        vec![message]
    }

    fn hears(
        &mut self,
        _world: &mut World,
        _face: usize,
        _from: DeviceId,
        message: Message,
    ) -> Option<Message> {
        self.keep(&message);
        Some(message)
    }

    fn act(&mut self, world: &mut World, actor: usize) {
        let peers: Vec<DeviceId> = world.devices[actor].peers.keys().copied().collect();
        for to in peers {
            for _ in 0..8 {
                let Some(at) = (!self.said.is_empty()).then(|| world.dice.index(self.said.len()))
                else {
                    return;
                };
                world.lied("replayed");
                world.utter(actor, to, &self.said[at].clone());
            }
        }
    }
}

/// Bodies of events in each other's places, moved to other logs, or with other bytes.
pub struct CiphertextSwap;

impl CiphertextSwap {
    fn twist(world: &mut World, run: &mut Run) -> bool {
        let place = world.dice.index(run.stretches.len().max(1));
        let Some(stretch) = run.stretches.get_mut(place) else { return false };
        let count = stretch.bodies.len();
        match world.dice.below(3) {
            0 if count > 1 => stretch.bodies.swap(0, count - 1),
            1 => run.log.incarnation = run.log.incarnation.wrapping_add(1),
            _ => {
                let Some(body) = stretch.bodies.first_mut() else { return false };
                let at = world.dice.index(body.len().max(1));
                body.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
            }
        }
        true
    }
}

impl Script for CiphertextSwap {
    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        let Message::Run { mut run } = message else { return vec![message] };
        if lies(world) && Self::twist(world, &mut run) {
            world.lied("swapped");
        }
        vec![Message::Run { run }]
    }
}

/// Events with other bytes, and a signature that claims to be over them.
pub struct ForgedRun;

impl ForgedRun {
    /// The last event changes, and the head with it; the signature is that over the old head.
    fn twist(run: &mut Run) -> Option<()> {
        let (mut seq, mut prev) = (run.first, run.prev);
        let body = run.stretches.last_mut()?.bodies.last_mut()?;
        *body.last_mut()? ^= 1;
        for Stretch { epoch, seen, bodies } in &run.stretches {
            for body in bodies {
                let slot = Slot { log: run.log, seq, prev, epoch: *epoch, seen: *seen };
                let event = Event::at(&slot, body.to_vec()).ok()?;
                run.signature.head = Head { seq, id: event.id };
                (seq, prev) = (seq + 1, Some(event.id));
            }
        }
        Some(())
    }
}

impl Script for ForgedRun {
    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        let Message::Run { mut run } = message else { return vec![message] };
        if lies(world) && Self::twist(&mut run).is_some() {
            world.lied("forged");
        }
        vec![Message::Run { run }]
    }
}

//! Hostile actors: a device that belongs to the identity and says what no honest replica says.
//!
//! The actor is a real device with its real keys and a real replica, or several that share the
//! keys; a script changes what they say, hears what it likes, and adds lies of its own. Everybody
//! else runs the code of the pod and nothing besides. Each script says what honest devices owe: the
//! lie is *refused* (nothing of it takes effect), or, where somebody with a vote told two stories,
//! it is *detected* the first time two honest devices that were told different ones talk. Then the
//! actor is removed, and the others must order again, agree, and have lost nothing.

mod host;
mod member;
mod scene;
mod script;
mod table;

use crate::sweep;
use crate::world::World;
use rhizome_identity::DeviceId;
use rhizome_replica::{Alarm, Message};
use script::Script;
pub use script::{Entry, Must};
use std::collections::BTreeMap;
pub use table::Table;

/// The scripts, in the order of the table.
#[must_use]
pub fn scripts() -> Vec<Entry> {
    host::scripts().into_iter().chain(member::scripts()).collect()
}

/// What a world with a hostile device remembers of it.
pub struct Stage {
    /// The hostile device.
    pub actor: DeviceId,
    /// What it does; away while it is asked.
    script: Option<Box<dyn Script>>,
    /// Who is shown which of its replicas; everybody else is shown the first.
    faces: BTreeMap<DeviceId, usize>,
    /// Alarms that honest devices raised.
    pub alarms: Vec<(usize, Alarm)>,
    /// Lies told so far.
    pub lies: u64,
}

/// What came of one script in one world.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// No lie took effect.
    Refused,
    /// An honest device raised the alarm, at the first honest exchange.
    Detected,
    /// A lie went through, or what must hold afterwards does not.
    Undetected(String),
    /// An honest device panicked.
    Panicked(String),
}

/// Runs one script in the world of one seed.
#[must_use]
pub fn run(entry: &Entry, seed: u64) -> Verdict {
    let (mut world, verdict) = match sweep::attempt(|| scene::play(entry, seed)) {
        Ok((world, Ok(verdict))) => (world, verdict),
        Ok((_, Err(why))) => return Verdict::Undetected(why),
        Err(broken) => return Verdict::Panicked(broken.to_string()),
    };
    let ended = sweep::attempt(|| {
        crate::story::seal(&mut world);
        crate::invariants::check(&world);
    });
    match ended {
        Ok(()) => verdict,
        Err(broken) => Verdict::Undetected(broken.to_string()),
    }
}

impl World {
    /// Which replica a peer is shown when it speaks to a device.
    pub(crate) fn face(&self, device: DeviceId, peer: DeviceId) -> Option<usize> {
        let stage = self.hostile.as_ref().filter(|stage| stage.actor == device);
        let face = stage.and_then(|stage| stage.faces.get(&peer)).copied();
        face.or_else(|| self.at(device))
    }

    /// What a device says instead of a message.
    pub(crate) fn twisted(&mut self, at: usize, to: DeviceId, message: Message) -> Vec<Message> {
        if !self.is_actor(at) {
            return vec![message];
        }
        self.with_script(|world, script| script.says(world, at, to, message.clone()))
            .unwrap_or_else(|| vec![message])
    }

    /// What a device hears of a message.
    pub(crate) fn heard(&mut self, at: usize, from: DeviceId, message: Message) -> Option<Message> {
        if !self.is_actor(at) {
            return Some(message);
        }
        match self.with_script(|world, script| script.hears(world, at, from, message.clone())) {
            Some(heard) => heard,
            None => Some(message),
        }
    }

    /// Whether a device of the world is the hostile one.
    pub(crate) fn is_actor(&self, at: usize) -> bool {
        let id = self.devices[at].id();
        self.hostile.as_ref().is_some_and(|stage| stage.actor == id)
    }

    /// Asks the script; what it does itself is not asked again.
    fn with_script<T>(&mut self, ask: impl FnOnce(&mut Self, &mut dyn Script) -> T) -> Option<T> {
        let mut script = self.hostile.as_mut()?.script.take()?;
        let answer = ask(self, &mut *script);
        if let Some(stage) = &mut self.hostile {
            stage.script = Some(script);
        }
        Some(answer)
    }

    /// A lie was told.
    pub(crate) fn lied(&mut self, what: &str) {
        self.note("lie", what.as_bytes());
        if let Some(stage) = &mut self.hostile {
            stage.lies += 1;
        }
    }

    /// A second replica of the hostile device, as it is now, for some peers to see.
    pub(crate) fn split(&mut self, actor: usize, peers: &[DeviceId]) -> usize {
        let twin = self.devices[actor].twin();
        self.devices.push(twin);
        let face = self.devices.len() - 1;
        self.step(face, vec![rhizome_replica::Input::Opened]);
        self.show(actor, face, peers);
        face
    }

    /// From now on these peers are shown another replica of the hostile device.
    pub(crate) fn show(&mut self, actor: usize, face: usize, peers: &[DeviceId]) {
        let id = self.devices[actor].id();
        for peer in peers {
            self.network.cut(self.now_ms, &mut self.dice, id, *peer);
            if self.devices[actor].peers.remove(peer).is_some() {
                self.step(actor, vec![rhizome_replica::Input::PeerDown(*peer)]);
            }
        }
        if let Some(stage) = &mut self.hostile {
            stage.faces.extend(peers.iter().map(|peer| (*peer, face)));
        }
    }
}

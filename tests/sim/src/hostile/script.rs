//! What a script is.

use crate::world::World;
use rhizome_identity::DeviceId;
use rhizome_replica::Message;

/// What honest devices owe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Must {
    /// Nothing of the lie takes effect.
    Refuse,
    /// Somebody raises the alarm when two that were told different things talk.
    Detect,
}

/// Who lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// A host, which holds no keys to read with and is the one voter.
    Host,
    /// A device that reads and writes, and neither votes nor decides who belongs.
    Member,
}

/// One line of the table.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What the actor does.
    pub line: &'static str,
    /// Who does.
    pub role: Role,
    /// What honest devices owe.
    pub must: Must,
    /// A fresh actor.
    pub make: fn() -> Box<dyn Script>,
}

/// What a hostile device does. Whatever is not here, its real replica does.
pub trait Script {
    /// The attack begins: everybody is in step, and honest devices hear only the actor.
    fn begin(&mut self, _world: &mut World, _actor: usize) {}

    /// Some time passed: lies that answer nothing.
    fn act(&mut self, _world: &mut World, _actor: usize) {}

    /// What its replica at `face` would say; what it says instead.
    fn says(
        &mut self,
        _world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        vec![message]
    }

    /// What somebody says to it; what its replica hears.
    fn hears(
        &mut self,
        _world: &mut World,
        _face: usize,
        _from: DeviceId,
        message: Message,
    ) -> Option<Message> {
        Some(message)
    }

    /// Whether a lie took effect on an honest device, and how.
    fn took_effect(&self, _world: &World) -> Option<String> {
        None
    }
}

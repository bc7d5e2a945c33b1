//! What must hold, one file each.
//!
//! Safety is asked where it can break: with every message that is said and every step of a device
//! ([`said`], [`stepped`]), and, where a question costs as much as many steps, after every act of
//! the story ([`acted`]). What is promised of a healed world is asked at its end ([`check`]).

mod agreement;
mod bounds;
mod causes;
mod ciphertext;
mod edits;
mod events;
mod generation;
mod nonces;
mod once;
mod order;
mod promises;
mod rebuilt;
mod revoked;
mod sealed;
mod states;
mod voters;
mod writes;

use crate::world::World;
use rhizome_identity::DeviceId;
use rhizome_replica::{Message, OrderCommand};

pub use order::check as one_order;
pub use revoked::newest as newest_keys;
pub use writes::answered;

/// What the invariants remember of a world.
#[derive(Default)]
pub struct Watch {
    causes: causes::Causes,
    nonces: nonces::Nonces,
    states: states::States,
    voters: voters::Ids,
}

/// A device says something: asked with every message, before a script may change it.
pub fn said(world: &mut World, at: usize, to: DeviceId, message: &Message) {
    revoked::says(world, at, to, message);
    if let Message::Run { run } = message {
        world.watch.nonces.see(run);
    }
}

/// A device runs a group of voters: asked with every such command.
pub fn ordered(world: &mut World, from: DeviceId, command: &OrderCommand) {
    world.watch.voters.run(from, command);
}

/// Bytes arrive at a device: asked with every message.
pub fn arrived(world: &World, bytes: &[u8]) {
    ciphertext::said(world, bytes);
}

/// A device took a step: asked after each.
pub fn stepped(world: &World, at: usize) {
    voters::odd(world, at);
    bounds::check(world, at);
}

/// An act of the story is over, and whatever arrived within it: asked after each.
pub fn acted(world: &mut World) {
    states::check(world);
    causes::check(world);
}

/// The world has healed: asked once.
///
/// # Panics
///
/// With what does not hold, as all of them.
pub fn check(world: &World) {
    agreement::check(world);
    generation::check(world);
    promises::check(world);
    once::check(world);
    edits::check(world);
    revoked::check(world);
    rebuilt::check(world);
    sealed::check(world);
    ciphertext::check(world);
}

//! What must hold when a world has healed, one file each. What must hold after every step is
//! asked where the step is taken: one order ([`crate::world::World::check_places`]), no alarm among
//! honest devices, every write answered in its own batch.

mod agreement;
mod ciphertext;
mod generation;
mod once;
mod promises;
mod rebuilt;
mod sealed;

use crate::world::World;

/// Checks all of them.
///
/// # Panics
///
/// With what does not hold.
pub fn check(world: &World) {
    agreement::check(world);
    generation::check(world);
    promises::check(world);
    once::check(world);
    rebuilt::check(world);
    sealed::check(world);
    ciphertext::check(world);
}

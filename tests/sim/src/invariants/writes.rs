//! A local write never waits: it is acknowledged or refused in the batch that took it, whoever can
//! be reached, and what is acknowledged can be read here at once. Asked with every write; only a
//! disk that refuses the batch leaves it unanswered, and then nobody was promised anything.

use super::events::behind;
use crate::book::Fate;
use crate::world::World;
use rhizome_identity::EpochId;
use rhizome_replica::{Access, Replica};

/// A device took a batch with a write, or its disk did not. `keys` were its newest before.
pub fn answered(world: &World, ticket: u64, at: usize, disk_took: bool, keys: Option<EpochId>) {
    let fate = world.book.promises[&ticket].fate;
    let answered = fate != Fate::Unknown;
    assert!(answered || !disk_took, "a write on device {at} was not answered in its own batch");
    let Fate::Acknowledged { log, seq } = fate else { return };
    let look = |one: &Replica, access: &Access<'_, '_>| behind(one, access, &log, seq - 1);
    let events = world.devices[at].look(look).unwrap_or_default();
    let event = events.first();
    let event = event.unwrap_or_else(|| panic!("device {at} acknowledged what it cannot read"));
    if let Some(newest) = keys {
        super::revoked::writes(at, event.epoch, newest);
    }
}

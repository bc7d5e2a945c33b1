//! A whole world of devices from one seed: faults, then healing, then what must hold.
//!
//! Devices of all kinds drive the engine that the pod drives, over the pod's store on disks that
//! forget, tear, fill up and refuse; connections are late, silent one way, or gone; power fails,
//! with or without the index; clocks are wrong; devices join, are removed, and change who votes. A
//! book remembers every promise made to an app. One thread and one seed: the same seed is the same
//! run, byte for byte, and a failure is its seed.

pub mod book;
pub mod device;
pub mod dice;
pub mod group;
pub mod hostile;
pub mod invariants;
pub mod join;
mod listed;
pub mod lost;
pub mod network;
pub mod planted;
pub mod report;
pub mod story;
pub mod sweep;
pub mod world;

pub use listed::listed;
use report::Counts;
use rhizome_identity::DeviceKind;
pub use story::Kind;
use world::World;

/// How many acts a run has: enough for several devices to meet, part and meet again.
const ACTS: u64 = 260;

/// Runs the world of one seed to its end and returns what was done, and a hash over it.
///
/// # Panics
///
/// When something that must hold does not.
#[must_use]
pub fn run(seed: u64, kind: Kind) -> (Counts, blake3::Hash) {
    let kinds = [DeviceKind::Laptop, DeviceKind::Desktop, DeviceKind::Phone];
    let first = kinds[usize::try_from(seed % 3).unwrap_or(0)];
    let mut world = World::new(seed, first);
    world.kind = kind;
    story::suffer(&mut world, ACTS);
    story::heal(&mut world);
    story::seal(&mut world);
    invariants::check(&world);
    assert!(world.counts.faults() > 0, "a run in which nothing went wrong shows nothing");
    world.counts.acknowledged = world.book.acknowledged() as u64;
    world.counts.entries = world.places.keys().map(|(_, i)| *i).max().unwrap_or(0);
    let trace = world.trace();
    (world.counts, trace)
}

#[cfg(test)]
mod tests;

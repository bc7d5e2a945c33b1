//! What the tests share: pods, their cables, their socket, and what people do with them.

mod client;
mod dice;
pub mod folder;
mod people;
mod small_disk;
mod world;

pub use client::Client;
pub use dice::Dice;
pub use people::{add_peer, agree, begin_join, export, household, link, show_code};
pub use small_disk::SmallDisk;
pub use world::{Node, PATIENCE, World, binary, is_long, until};

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// The sample at a share of the way through, in microseconds.
pub fn percentile(sorted: &[std::time::Duration], per_mille: usize) -> u128 {
    sorted[(sorted.len() * per_mille / 1000).min(sorted.len() - 1)].as_micros()
}

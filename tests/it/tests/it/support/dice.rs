//! Randomness that can be repeated: the seed is printed, and `RHIZOME_SEED` gives it back.

use super::random;

/// The dice of one test. What it rolls is repeated by its seed; when the processes it rolls for get
/// their turn is not.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Rolls from a new seed, or from the one in `RHIZOME_SEED`.
    pub fn new(test: &str) -> Self {
        let given = std::env::var("RHIZOME_SEED").ok();
        let given = given.map(|seed| seed.parse().expect("RHIZOME_SEED is a number"));
        let state = given.unwrap_or_else(|| u64::from_le_bytes(random()));
        println!("{test}: RHIZOME_SEED={state}");
        Self { state }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // splitmix64: few lines, and good enough to choose moments and places.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Whether one of `sides` came up.
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

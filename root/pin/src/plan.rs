//! What must happen so that each pin is where it should be: a pure function of wish and world.

use rhizome_block::Cid;
use std::collections::{BTreeMap, BTreeSet};

/// Most blocks of one step: at 1 MiB a block a step stays within what a target takes at once.
pub const PUT_BLOCKS_MAX: usize = 16;

/// How many blocks an audit asks for. A holder that lost one block in ten passes an audit of 16
/// with probability 0.9^16 = 0.19, and a week of daily audits with 0.00001.
pub const AUDIT_BLOCKS: usize = 16;

/// How long a proof counts: a day, so that loss is noticed while other copies are still there.
pub const AUDIT_PAUSE_MS: u64 = 24 * 3600 * 1000;

/// A set of blocks that should be kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pin {
    /// The manifest; it is handed over last, so that whoever holds it holds the whole set.
    pub manifest: Cid,
    /// The blocks it lists.
    pub blocks: Vec<Cid>,
    /// Names of the targets that should keep it.
    pub targets: BTreeSet<String>,
}

/// What is known of one target.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holding {
    /// Blocks it acknowledged and did not fail to prove since.
    pub blocks: BTreeSet<Cid>,
    /// When it last proved a set, by manifest.
    pub audited_ms: BTreeMap<Cid, u64>,
}

/// What is known of all targets, by name. A target that is not here is not reachable now.
pub type Present = BTreeMap<String, Holding>;

/// One thing to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Hand these blocks of a pin to a target.
    Put {
        /// The target.
        target: String,
        /// The pin's manifest.
        manifest: Cid,
        /// The blocks.
        blocks: Vec<Cid>,
    },
    /// Let a target prove that it holds these blocks of a pin.
    Audit {
        /// The target.
        target: String,
        /// The pin's manifest.
        manifest: Cid,
        /// The blocks.
        blocks: Vec<Cid>,
    },
}

/// What is missing where, then who is due to prove what it holds. `dice` are fresh random bytes:
/// whoever can foresee them can prepare for an audit.
#[must_use]
pub fn plan(wanted: &[Pin], present: &Present, now_ms: u64, dice: [u8; 32]) -> Vec<Step> {
    let mut puts = Vec::new();
    let mut audits = Vec::new();
    for pin in wanted {
        for target in &pin.targets {
            let Some(holding) = present.get(target) else { continue };
            let manifest = pin.manifest;
            let missing = missing(pin, holding);
            for blocks in missing.chunks(PUT_BLOCKS_MAX) {
                let blocks = blocks.to_vec();
                puts.push(Step::Put { target: target.clone(), manifest, blocks });
            }
            let last = holding.audited_ms.get(&manifest).copied();
            let due = last.is_none_or(|last| now_ms.saturating_sub(last) >= AUDIT_PAUSE_MS);
            if missing.is_empty() && due {
                let blocks = sample(pin, target, dice);
                audits.push(Step::Audit { target: target.clone(), manifest, blocks });
            }
        }
    }
    puts.append(&mut audits);
    puts
}

/// What a target lacks of a pin, the manifest last.
fn missing(pin: &Pin, holding: &Holding) -> Vec<Cid> {
    let mut seen = BTreeSet::new();
    let all = pin.blocks.iter().chain([&pin.manifest]);
    all.filter(|cid| !holding.blocks.contains(cid) && seen.insert(**cid)).copied().collect()
}

/// The blocks whose names come first when all are hashed with the dice: a fair draw that needs no
/// state and differs from target to target.
fn sample(pin: &Pin, target: &str, dice: [u8; 32]) -> Vec<Cid> {
    let all: BTreeSet<Cid> = pin.blocks.iter().copied().chain([pin.manifest]).collect();
    let mut drawn: Vec<(Cid, Cid)> =
        all.into_iter().map(|cid| (lot(&cid, target, dice), cid)).collect();
    drawn.sort_unstable();
    drawn.into_iter().take(AUDIT_BLOCKS).map(|(_, cid)| cid).collect()
}

/// A hash of the dice, the target and the block.
fn lot(cid: &Cid, target: &str, dice: [u8; 32]) -> Cid {
    let mut bytes = dice.to_vec();
    bytes.extend_from_slice(&cid.to_bytes());
    bytes.extend_from_slice(target.as_bytes());
    Cid::of(rhizome_block::Codec::Raw, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rhizome_block::Codec;
    use std::slice::from_ref;

    fn cid(n: usize) -> Cid {
        Cid::of(Codec::Raw, &n.to_be_bytes())
    }

    fn pin(blocks: usize, targets: &[&str]) -> Pin {
        let targets = targets.iter().map(ToString::to_string).collect();
        Pin { manifest: cid(1_000_000), blocks: (0..blocks).map(cid).collect(), targets }
    }

    fn holding(cids: impl IntoIterator<Item = Cid>) -> Holding {
        Holding { blocks: cids.into_iter().collect(), ..Holding::default() }
    }

    fn present(name: &str, holding: Holding) -> Present {
        BTreeMap::from([(name.to_owned(), holding)])
    }

    #[test]
    fn what_is_missing_goes_over_in_bounded_steps_and_the_manifest_comes_last() {
        let pin = pin(40, &["attic"]);
        let steps = plan(from_ref(&pin), &present("attic", holding([cid(3)])), 0, [0; 32]);
        let mut over = Vec::new();
        for step in &steps {
            let Step::Put { blocks, .. } = step else { panic!("nothing to audit yet: {step:?}") };
            assert!(blocks.len() <= PUT_BLOCKS_MAX);
            over.extend(blocks);
        }
        assert_eq!(over.len(), 40);
        assert!(!over.contains(&cid(3)));
        assert_eq!(over.last(), Some(&pin.manifest));
    }

    #[test]
    fn a_target_that_is_away_is_left_alone() {
        assert_eq!(plan(&[pin(3, &["attic"])], &Present::new(), 0, [0; 32]), Vec::new());
    }

    #[test]
    fn a_whole_pin_is_audited_once_a_day_with_blocks_nobody_can_foresee() {
        let pin = pin(200, &["attic"]);
        let mut whole = holding(pin.blocks.iter().copied().chain([pin.manifest]));
        let ask = |holding: &Holding, now_ms, dice| {
            plan(from_ref(&pin), &present("attic", holding.clone()), now_ms, dice)
        };
        let first = ask(&whole, 5, [1; 32]);
        let [Step::Audit { blocks, .. }] = first.as_slice() else { panic!("one audit: {first:?}") };
        assert_eq!(blocks.len(), AUDIT_BLOCKS);
        assert_ne!(first, ask(&whole, 5, [2; 32]), "other dice, other blocks");
        whole.audited_ms.insert(pin.manifest, 5);
        assert_eq!(ask(&whole, 5 + AUDIT_PAUSE_MS - 1, [1; 32]), Vec::new());
        assert_eq!(ask(&whole, 5 + AUDIT_PAUSE_MS, [1; 32]).len(), 1);
    }

    proptest! {
        #[test]
        fn doing_what_the_plan_says_leaves_nothing_to_put(
            blocks in 0usize..60,
            there in proptest::collection::btree_set(0usize..60, 0..60),
        ) {
            let pin = pin(blocks, &["a", "b"]);
            let mut world = Present::new();
            for name in ["a", "b"] {
                world.insert(name.to_owned(), holding(there.iter().map(|n| cid(*n))));
            }
            for step in plan(from_ref(&pin), &world, 0, [0; 32]) {
                if let Step::Put { target, blocks, .. } = step {
                    world.get_mut(&target).unwrap().blocks.extend(blocks);
                }
            }
            let rest = plan(&[pin], &world, 0, [0; 32]);
            let audits = rest.iter().all(|step| matches!(step, Step::Audit { .. }));
            prop_assert!(audits);
        }
    }
}

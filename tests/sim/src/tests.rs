//! A few seeds, and every seed that ever found something.

use crate::Deciders::One;
use crate::run;

/// Seeds that are run with every check; `rhizome-sim` and the nightly check run thousands.
const DAILY: u64 = 12;

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2] {
        assert_eq!(run(seed, One), run(seed, One), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(run(1, One).1, run(4, One).1);
}

#[test]
fn what_must_hold_does_for_a_few_seeds() {
    let mut all = crate::report::Counts::default();
    for seed in 0..DAILY {
        all += run(seed, One).0;
    }
    println!("{all}");
    assert!(all.crashes > 0 && all.cuts > 0 && all.links > 0 && all.group_runs > 0);
    assert!(all.acknowledged > DAILY * 50);
}

#[test]
fn seeds_that_found_something_find_nothing_any_more() {
    let seeds = include_str!("../seeds.txt").lines();
    let seeds = seeds.filter_map(|line| line.split_whitespace().next()?.parse().ok());
    for seed in seeds {
        let _ = run(seed, One);
    }
}

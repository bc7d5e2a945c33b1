//! A few seeds, and every seed that ever found something.

use crate::Deciders::{self, All, One, Survivors};
use crate::run;

/// Seeds that are run with every check; `rhizome-sim` and the nightly check run thousands.
const DAILY: u64 = 12;

/// A seed in which several devices vote, as in one of six. What a seed means changes with what
/// devices say; then another one is to be found (`rhizome-sim --seeds` counts the groups).
const DAILY_VOTERS: u64 = 25;

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
    for seed in (0..DAILY).chain([DAILY_VOTERS]) {
        all += run(seed, One).0;
    }
    println!("{all}");
    assert!(all.crashes > 0 && all.cuts > 0 && all.links > 0 && all.group_runs > 0);
    assert!(all.acknowledged > DAILY * 50);
}

/// Worlds in which several admins decide apart.
const DAILY_CONTESTED: u64 = 3;

#[test]
fn nobody_is_orphaned_where_several_decide_apart() {
    let mut all = crate::report::Counts::default();
    for seed in 0..DAILY_CONTESTED {
        all += run(seed, All).0;
    }
    println!("{all}");
    assert!(all.links > 0 && all.cuts > 0);
}

/// Worlds in which the voters vanish for good.
const DAILY_LOST: u64 = 6;

#[test]
fn nothing_is_lost_and_all_follow_one_reform_where_the_voters_vanish() {
    let mut all = crate::report::Counts::default();
    for seed in 0..DAILY_LOST {
        all += run(seed, Survivors).0;
    }
    println!("{all}");
    assert!(all.losses > 0 && all.reforms > all.losses && all.rewinds > 0);
}

/// A line of the list: a seed, and the word `contested` where several decide, or `lost` where the
/// voters vanish for good.
fn listed(line: &str) -> Option<(u64, Deciders)> {
    let mut words = line.split_whitespace();
    let seed = words.next()?.parse().ok()?;
    let deciders = match words.next() {
        Some("contested") => All,
        Some("lost") => Survivors,
        _ => One,
    };
    Some((seed, deciders))
}

#[test]
fn seeds_that_found_something_find_nothing_any_more() {
    let seeds: Vec<(u64, Deciders)> =
        include_str!("../seeds.txt").lines().filter_map(listed).collect();
    assert!(seeds.len() > 2 && seeds.iter().any(|(_, deciders)| *deciders == All));
    for (seed, deciders) in seeds {
        let _ = run(seed, deciders);
    }
}

/// Worlds in which each hostile script is played.
const DAILY_HOSTILE: u64 = 3;

#[test]
fn every_lie_is_refused_or_found_out() {
    let table = crate::hostile::Table::play((0, DAILY_HOSTILE), "");
    println!("{table}");
    assert_eq!(table.failures(), Vec::<String>::new());
}

#[test]
fn the_page_about_hostile_scripts_lists_each_of_them() {
    let page = include_str!("../../../docs/hostile.md");
    for entry in crate::hostile::scripts() {
        let line = format!("| {} | {} |", entry.name, entry.line);
        assert!(page.contains(&line), "docs/hostile.md does not say: {line}");
    }
}

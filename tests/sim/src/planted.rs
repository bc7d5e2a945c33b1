//! Whether the simulator sees: bugs that are planted on purpose must be found.
//!
//! The bugs stand in `root/block/src/planted.rs`; only a build with `--cfg rhizome_planted` has
//! them. For each, worlds of the kinds that can show it run from the first seed on, until something
//! does not hold. What did is the check that sees the bug. A bug that no seed shows is a gap in the
//! worlds or in what is asked of them.

use crate::hostile::{self, Verdict};
use crate::sweep::{self, Broken};
use crate::{Kind, run};
use rhizome_block::planted::{Bug, plant};
use std::fmt::Write as _;
use std::ops::Range;

/// A world in which a bug is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hunt {
    /// One of honest devices.
    Honest(Kind),
    /// One with a hostile device that plays this script.
    Hostile(&'static str),
}

use Hunt::{Honest, Hostile};
use Kind::{Contested, Lost, Plain};

/// The worlds that can show a bug.
const fn hunts(bug: Bug) -> &'static [Hunt] {
    match bug {
        Bug::OldKeysUsed
        | Bug::RemovedGetsKeys
        | Bug::RemovedCounts
        | Bug::RemovedStaysConnected
        | Bug::RemovedStaysShown => &[Honest(Contested)],
        Bug::FenceIgnored | Bug::AsideLost => &[Honest(Lost)],
        Bug::UnknownEpochTaken => &[Honest(Lost), Honest(Contested)],
        Bug::HeadUnchecked => &[Hostile("ciphertext-swap")],
        Bug::SignatureUnchecked => &[Hostile("forged-run")],
        Bug::CertificateUnchecked => &[Hostile("forged-commit")],
        _ => &[Honest(Plain)],
    }
}

/// How a bug was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The bug.
    pub bug: Bug,
    /// The first seed that shows it.
    pub seed: u64,
    /// In which world.
    world: String,
    /// What does not hold there.
    broken: Broken,
}

/// Looks for a bug; `None` if no seed shows it, or this build has no bugs.
#[must_use]
pub fn find(bug: Bug, seeds: Range<u64>, jobs: usize) -> Option<Found> {
    if !plant(Some(bug)) {
        return None;
    }
    let look = |seed| hunts(bug).iter().find_map(|hunt| Some((name(*hunt), show(*hunt, seed)?)));
    let found = sweep::first(seeds, jobs, look);
    plant(None);
    found.map(|(seed, (world, broken))| Found { bug, seed, world, broken })
}

fn name(hunt: Hunt) -> String {
    match hunt {
        Honest(kind) => kind.name().to_owned(),
        Hostile(script) => format!("hostile, {script}"),
    }
}

/// What does not hold in the world of a seed.
fn show(hunt: Hunt, seed: u64) -> Option<Broken> {
    match hunt {
        Honest(kind) => sweep::attempt(|| run(seed, kind)).err(),
        Hostile(script) => {
            let entry = hostile::scripts().into_iter().find(|entry| entry.name == script)?;
            match hostile::run(&entry, seed) {
                Verdict::Refused | Verdict::Detected => None,
                Verdict::Undetected(words) | Verdict::Panicked(words) => {
                    Some(Broken { file: "hostile.rs".to_owned(), line: 0, words })
                }
            }
        }
    }
}

impl Found {
    /// The check that saw it: an invariant by the name of its file, or where else it was seen.
    fn check(&self) -> String {
        let file = self.broken.file.replace('\\', "/");
        let stem = file.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        match (file.contains("/invariants/"), file.contains("tests/sim/")) {
            (true, _) => format!("`{stem}`"),
            (false, true) if stem == "world" && self.broken.words.contains("alarm") => {
                "an alarm among honest devices".to_owned()
            }
            (false, true) => format!("the simulator's `{stem}`"),
            (false, false) if stem == "hostile" => "what honest devices owe".to_owned(),
            (false, false) => format!("an assertion of `{file}`"),
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, seed, world) = (self.bug.name(), self.seed, &self.world);
        let words = self.broken.words.lines().next().unwrap_or_default();
        write!(f, "{name}: seed {seed} ({world}), {}: {words}", self.check())
    }
}

/// Begins the row of a bug in the table of `docs/planted.md`.
fn row(bug: Bug) -> String {
    format!("| {} | {} |", bug.name(), bug.what())
}

/// The table of `docs/planted.md`.
#[must_use]
pub fn table(found: &[Found]) -> String {
    let mut table = "| bug | what goes wrong | found by | worlds | after seeds |\n".to_owned();
    table += "| --- | --- | --- | --- | ---: |\n";
    for one in found {
        let (row, check, after) = (row(one.bug), one.check(), one.seed + 1);
        let _ = writeln!(table, "{row} {check} | {} | {after} |", one.world);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_planted_bugs_lists_each_of_them_and_no_other() {
        let page = include_str!("../../../docs/planted.md");
        let rows = page.lines().filter(|line| line.starts_with("| ")).count();
        assert_eq!(rows, Bug::ALL.len() + 2, "a row each, and the head of the table");
        for bug in Bug::ALL {
            assert!(page.contains(&row(*bug)), "docs/planted.md does not say: {}", row(*bug));
        }
    }

    #[test]
    fn every_bug_is_looked_for_and_hostile_scripts_that_are_to_show_one_exist() {
        let scripts: Vec<&str> = hostile::scripts().iter().map(|entry| entry.name).collect();
        for bug in Bug::ALL {
            assert!(!hunts(*bug).is_empty(), "{}", bug.name());
            for hunt in hunts(*bug) {
                let known = match hunt {
                    Honest(_) => true,
                    Hostile(script) => scripts.contains(script),
                };
                assert!(known, "{}: there is no such script", bug.name());
            }
        }
    }
}

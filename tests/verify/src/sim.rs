//! Simulated worlds: the seeds that found something once, and as many others as the time allows.
//!
//! Daily they run in the profile of the tests, so that nothing is built twice, and take some three
//! minutes on two quiet cores; in the long variant they run in the release profile.

use crate::Options;
use crate::step::{Outcome, Step, all};
use std::ffi::OsString;
use std::path::Path;

/// One kind of world.
struct Worlds {
    /// What `rhizome-sim` calls it; plain ones have no name there.
    flag: Option<&'static str>,
    /// How many seeds run daily.
    daily: u64,
    /// How many in the long variant.
    long: u64,
}

/// Plain ones are most; scripts of hostile devices are twenty plays for each seed.
const WORLDS: &[Worlds] = &[
    Worlds { flag: None, daily: 200, long: 5_000 },
    Worlds { flag: Some("--contested"), daily: 12, long: 1_000 },
    Worlds { flag: Some("--lost"), daily: 12, long: 1_000 },
    Worlds { flag: Some("--joined"), daily: 12, long: 1_000 },
    Worlds { flag: Some("--hostile"), daily: 3, long: 60 },
];

const PROGRAM: &str = "rhizome-sim";

/// How many seeds a planted bug may take to be found.
const PLANTED_SEEDS: u64 = 500;

/// Builds the simulator, runs the listed seeds, then worlds of every kind.
pub fn run(root: &Path, options: Options) -> Outcome {
    let steps = steps(&target(root), options);
    all(&steps, root, options.long)
}

/// Builds the simulator with planted bugs, in a folder of its own, so that nothing built like that
/// is ever taken for the program, and looks for each of them.
pub fn planted(root: &Path, options: Options) -> Outcome {
    let folder = root.join("target/planted");
    let build = ["build", "--locked", "--quiet", "-p", PROGRAM, "--target-dir", "target/planted"];
    let build = Step::cargo(&build).set("RUSTFLAGS", "--cfg rhizome_planted");
    let (from, to) = options.seeds.unwrap_or((0, PLANTED_SEEDS));
    let seeds = format!("{from}..{to}");
    let program = Step::program(folder.join("debug").join(PROGRAM));
    all(&[build, program.with(&["--planted", "--seeds", &seeds])], root, options.long)
}

/// Where cargo builds.
fn target(root: &Path) -> OsString {
    let named = std::env::var_os("CARGO_TARGET_DIR");
    named.unwrap_or_else(|| root.join("target").into_os_string())
}

fn steps(target: &OsString, options: Options) -> Vec<Step> {
    // The tests of the workspace go along, so that features are as the other checks want them.
    let build = ["build", "--locked", "--quiet", "--workspace", "--bin", PROGRAM];
    let build = Step::cargo(&build).with(&["--test", "tidy"]);
    let (build, profile) = match options.long {
        true => (build.with(&["--release"]), "release"),
        false => (build, "debug"),
    };
    let program = Path::new(target).join(profile).join(PROGRAM);
    let mut steps = vec![build, Step::program(&program).with(&["--listed"])];
    for worlds in WORLDS {
        let many = if options.long { worlds.long } else { worlds.daily };
        let (from, to) = options.seeds.unwrap_or((0, many));
        let seeds = format!("{from}..{to}");
        let step = Step::program(&program).with(&["--seeds", &seeds]);
        steps.push(step.with(&worlds.flag.into_iter().collect::<Vec<_>>()));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(options: Options) -> Vec<String> {
        let steps = steps(&OsString::from("there"), options);
        steps.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_kind_of_world_runs_and_all_of_them_the_seeds_that_were_named() {
        let daily = lines(Options::default());
        assert!(daily[1].ends_with("rhizome-sim --listed"), "{daily:?}");
        assert!(daily[2].ends_with("rhizome-sim --seeds 0..200"), "{daily:?}");
        let options = Options { long: true, seeds: Some((3, 9)), ..Options::default() };
        let named = lines(options);
        assert!(named[0].contains("--release"), "{named:?}");
        assert!(named[2..].iter().all(|line| line.contains("--seeds 3..9")), "{named:?}");
        assert!(named[3].ends_with("--contested") && named[4].ends_with("--lost"), "{named:?}");
    }
}

//! Hostile bytes for every decoder: builds the targets of `tests/fuzz` and has libFuzzer run them.
//!
//! The flags are those that cargo-fuzz passes, so that nothing has to be installed: a C++ compiler
//! builds libFuzzer, and address checking is on where the toolchain brings its runtime. Finds and
//! what they grew from stay below `target/fuzz`.

use crate::Options;
use crate::step::{Outcome, Step, all};
use std::path::Path;
use std::process::Command;

/// Each target with the folders of stored formats that it begins from, besides its corpus.
const TARGETS: &[(&str, &[&str])] = &[
    ("event", &["root/log"]),
    ("control", &["root/identity"]),
    ("session", &["root/replica", "root/net"]),
    ("raft", &["root/raft", "root/cluster"]),
    ("snapshot", &["root/block", "root/replica", "root/seal"]),
    ("car", &["root/block", "root/store"]),
    ("link", &["root/identity"]),
];

/// How often each target runs, unless [`RUNS_VARIABLE`] says otherwise.
const RUNS: u64 = 500_000;

/// The same of the long variant.
const RUNS_LONG: u64 = 10_000_000;

/// Says how often each target runs.
const RUNS_VARIABLE: &str = "RHIZOME_FUZZ_RUNS";

/// What stops a run: a hang, 512 MiB in all, 64 MiB at once. An input that takes a second is kept
/// and reported; it stops the run only at ten, because a busy machine makes a second of a tenth.
/// Inputs are short: every format is bounded by counts that a short one can claim as well.
const LIMITS: &[&str] = &[
    "-report_slow_units=1",
    "-timeout=10",
    "-rss_limit_mb=512",
    "-malloc_limit_mb=64",
    "-max_len=8192",
];

const MANIFEST: &str = "tests/fuzz/Cargo.toml";
const TARGET_DIR: &str = "target/fuzz";

/// What cargo-fuzz passes to the compiler.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 --cfg fuzzing";

const ADDRESSES: &str = " -Zsanitizer=address";

/// Runs the tests of the targets, then each target.
pub fn run(root: &Path, options: Options) -> Outcome {
    let long = options.long;
    let runs = match std::env::var(RUNS_VARIABLE).ok().map(|text| text.parse::<u64>()) {
        None => {
            if long {
                RUNS_LONG
            } else {
                RUNS
            }
        }
        Some(Ok(runs)) => runs,
        Some(Err(error)) => {
            return Outcome::Failed { output: format!("{RUNS_VARIABLE}: {error}") };
        }
    };
    let Some(host) = asked(root, &["-vV"]).and_then(|said| host(&said).map(str::to_owned)) else {
        return Outcome::Failed { output: "rustc does not say for which machine".to_owned() };
    };
    if !has_cxx() {
        return Outcome::Skipped { why: "no C++ compiler".to_owned() };
    }
    let steps = [checks(), vec![build(root, &host)]].concat();
    match all(&steps, root, long) {
        Outcome::Passed => {}
        other => return other,
    }
    for (name, folders) in TARGETS {
        for kind in ["corpus", "artifacts"] {
            let folder = root.join(TARGET_DIR).join(kind).join(name);
            if let Err(error) = std::fs::create_dir_all(&folder) {
                return Outcome::Failed { output: format!("{}: {error}", folder.display()) };
            }
        }
        match target(root, &host, name, folders, runs).run(root, long) {
            Outcome::Passed => {}
            other => return other,
        }
    }
    Outcome::Passed
}

/// What the checks of the main workspace do, for this one: it is formatted, clippy has nothing to
/// say, and every seed still reaches what it is kept for.
fn checks() -> Vec<Step> {
    let here = ["--manifest-path", MANIFEST];
    let built = ["--locked", "--quiet", "--target-dir", TARGET_DIR];
    vec![
        Step::cargo(&["fmt", "--check"]).with(&here),
        Step::cargo(&["clippy", "--all-targets"])
            .with(&here)
            .with(&built)
            .with(&["--", "-Dwarnings"]),
        Step::cargo(&["test", "--lib"]).with(&here).with(&built),
    ]
}

fn build(root: &Path, host: &str) -> Step {
    let library = asked(root, &["--print", "target-libdir"]).unwrap_or_default();
    let flags = if has_address_checks(Path::new(library.trim())) {
        [COVERAGE, ADDRESSES].concat()
    } else {
        COVERAGE.to_owned()
    };
    Step::cargo(&["build", "--locked", "--quiet", "--release", "--bins"])
        .with(&["--manifest-path", MANIFEST, "--target", host, "--target-dir", TARGET_DIR])
        .set("RUSTFLAGS", flags)
        // The flags above have no stable name.
        .set("RUSTC_BOOTSTRAP", "1")
}

fn target(root: &Path, host: &str, name: &str, folders: &[&str], runs: u64) -> Step {
    let program = Path::new(TARGET_DIR).join(host).join("release").join(name);
    // What it finds goes into the first folder; the others are only read.
    let mut read = vec![format!("{TARGET_DIR}/corpus/{name}")];
    read.extend(folders.iter().map(|folder| format!("{folder}/fixtures")));
    let kept = format!("tests/fuzz/corpus/{name}");
    read.extend(root.join(&kept).is_dir().then_some(kept));
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    let prefix = format!("-artifact_prefix={TARGET_DIR}/artifacts/{name}/");
    Step::program(program)
        .with(&read)
        .with(LIMITS)
        .with(&[&format!("-runs={runs}"), &prefix])
        // Freed memory is kept back to notice its use; a little is enough, and counts as used.
        .set("ASAN_OPTIONS", "quarantine_size_mb=16")
}

/// What rustc says to a question.
fn asked(root: &Path, question: &[&str]) -> Option<String> {
    let said = Command::new("rustc").args(question).current_dir(root).output().ok()?;
    Some(String::from_utf8_lossy(&said.stdout).into_owned())
}

fn host(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("host: "))
}

fn has_cxx() -> bool {
    let named = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    Command::new(named).arg("--version").output().is_ok_and(|said| said.status.success())
}

/// Whether the toolchain brings the runtime that checks addresses.
fn has_address_checks(library: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(library) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
    }

    #[test]
    fn every_target_of_the_crate_is_run_with_seeds_that_are_there() {
        let manifest = std::fs::read_to_string(root().join(MANIFEST)).unwrap();
        let bins = manifest.split("[[bin]]").skip(1);
        let mut names: Vec<&str> = bins.filter_map(|bin| bin.split('"').nth(1)).collect();
        let mut run: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        run.sort_unstable();
        assert_eq!(names, run);
        for folder in TARGETS.iter().flat_map(|(_, folders)| *folders) {
            assert!(root().join(folder).join("fixtures").is_dir(), "{folder}");
        }
    }

    #[test]
    fn a_target_runs_as_often_as_it_is_told_within_its_limits() {
        let step =
            target(root(), "x86_64-unknown-linux-gnu", "raft", &["root/raft"], 7).to_string();
        for part in
            ["raft ", "root/raft/fixtures", "tests/fuzz/corpus/raft", "-runs=7", "-timeout=10"]
        {
            assert!(step.contains(part), "{part}: {step}");
        }
        assert_eq!(host("rustc 1\nhost: a-b-c\nrelease: 1"), Some("a-b-c"));
    }
}

//! The checks: their names, their order, and the commands each consists of.
//!
//! All commands select the whole workspace, with its tests: cargo unites the features of what is
//! selected, and another selection would build most dependencies a second time.

use crate::step::{Outcome, Step, all};
use crate::{Options, fuzz, sim, web};
use std::path::Path;

/// One check.
#[derive(Debug)]
pub struct Check {
    /// What it is called.
    pub name: &'static str,
    /// What it checks, for `cargo verify list`.
    pub about: &'static str,
    /// Whether `cargo verify` runs it without being asked; `cargo verify nightly` runs all.
    pub daily: bool,
    /// Runs it from the top folder.
    pub run: fn(&Path, Options) -> Outcome,
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// All checks, quick ones first.
pub const CHECKS: &[Check] = &[
    Check { name: "format", about: "the sources are formatted", daily: true, run: format },
    Check { name: "lint", about: "clippy has nothing to say", daily: true, run: lint },
    Check {
        name: "tidy",
        about: "imports, purity, sizes and documents keep the rules",
        daily: true,
        run: tidy,
    },
    Check { name: "unit", about: "the tests beside the code pass", daily: true, run: unit },
    Check { name: "sim", about: "simulated worlds hold", daily: true, run: sim::run },
    Check { name: "it", about: "real pods on loopback keep their promises", daily: true, run: it },
    Check {
        name: "docs",
        about: "the documentation builds and its code runs",
        daily: true,
        run: docs,
    },
    Check {
        name: "web",
        about: "the pure crates build for the browser",
        daily: true,
        run: web::run,
    },
    Check {
        name: "planted",
        about: "the simulator finds every bug that is planted",
        daily: false,
        run: sim::planted,
    },
    Check {
        name: "fuzz",
        about: "hostile bytes harm no decoder and nothing behind it",
        daily: false,
        run: fuzz::run,
    },
];

fn format(root: &Path, options: Options) -> Outcome {
    Step::cargo(&["fmt", "--all", "--check"]).run(root, options.long)
}

fn lint(root: &Path, options: Options) -> Outcome {
    let clippy = ["clippy", "--locked", "--quiet", "--workspace", "--all-targets"];
    Step::cargo(&clippy).with(&["--", "-D", "warnings"]).run(root, options.long)
}

fn tidy(root: &Path, options: Options) -> Outcome {
    Step::cargo(&["test", "--locked", "--quiet", "--workspace", "--test", "tidy"])
        .run(root, options.long)
}

fn unit(root: &Path, options: Options) -> Outcome {
    let test = ["test", "--locked", "--quiet", "--no-fail-fast", "--workspace"];
    Step::cargo(&test)
        .with(&["--exclude", "rhizome-it", "--lib", "--bins", "--tests"])
        .run(root, options.long)
}

/// The tests start the binary, so it is built first.
fn it(root: &Path, options: Options) -> Outcome {
    let tests = ["--test", "it", "--test", "commands"];
    let build = ["build", "--locked", "--quiet", "--workspace", "--bin", "rhizome"];
    let test = ["test", "--locked", "--quiet", "--no-fail-fast", "--workspace"];
    // Each starts processes of its own: two at a time keep a small machine busy and not swamped.
    let test = Step::cargo(&test).with(&tests).with(&["--", "--test-threads=2"]);
    let mut steps = vec![Step::cargo(&build).with(&tests), test];
    if options.long {
        steps.extend(without_sealing());
    }
    all(&steps, root, options.long)
}

/// The control of the canary test: without sealing the same search must hit. In a folder of its
/// own, so that nothing built like that is ever taken for the program.
fn without_sealing() -> [Step; 2] {
    let test = ["test", "--locked", "--quiet", "--features", "unsealed"];
    let unsealed = Step::cargo(&test).with(&["--target-dir", "target/unsealed"]);
    let sealing = unsealed.clone().with(&["-p", "rhizome-seal"]);
    [sealing, unsealed.with(&["-p", "rhizome-it", "--test", "it", "canary_control"])]
}

fn docs(root: &Path, options: Options) -> Outcome {
    let doc = Step::cargo(&["doc", "--locked", "--quiet", "--workspace", "--no-deps"])
        .with(&["--document-private-items"])
        .set("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    let test = Step::cargo(&["test", "--locked", "--quiet", "--workspace", "--doc"]);
    all(&[doc, test], root, options.long)
}

//! Whether the pure crates build for the browser, with whatever toolchain for it is here.

use crate::Options;
use crate::step::{Outcome, Step};
use std::path::Path;
use std::process::Command;

/// The crates that must build. `tests/it/tests/tidy` compares this list with its table of crates.
pub const PURE: &[&str] = &[
    "rhizome-block",
    "rhizome-identity",
    "rhizome-seal",
    "rhizome-log",
    "rhizome-cluster",
    "rhizome-replica",
    "rhizome-schema",
    "rhizome-doc",
    "rhizome-engine",
    "rhizome-import",
    "rhizome-api",
];

const TARGET: &str = "wasm32-unknown-unknown";

/// Where a distribution puts its compiler and the sources of the standard library.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";
const SYSTEM_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

/// What runs nowhere needs no optimising.
const QUICK: &[&str] =
    &["--config", "profile.dev.opt-level=0", "--config", "profile.dev.package.\"*\".opt-level=0"];

/// How to reach the browser from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Toolchain {
    /// The compiler has the target's standard library.
    Installed,
    /// The system's compiler builds the standard library from its sources.
    FromSources,
}

/// Builds them, or says what is missing. A folder of its own keeps the compilers apart.
pub fn run(root: &Path, options: Options) -> Outcome {
    let mut build = vec!["build", "--locked", "--quiet", "--target", TARGET];
    build.extend(["--target-dir", "target/web"]);
    build.extend(QUICK);
    build.extend(PURE.iter().flat_map(|name| ["-p", *name]));
    let step = match toolchain(root) {
        Some(Toolchain::Installed) => Step::cargo(&build),
        Some(Toolchain::FromSources) => Step::program(SYSTEM_CARGO)
            .with(&build)
            .with(&["-Z", "build-std=std,panic_abort"])
            .set("RUSTC", SYSTEM_RUSTC)
            .set("RUSTC_BOOTSTRAP", "1"),
        None => return Outcome::Skipped { why: "no wasm toolchain".to_owned() },
    };
    step.run(root, options.long)
}

fn toolchain(root: &Path) -> Option<Toolchain> {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root)
        .output();
    let folder = asked.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    if folder.is_ok_and(|folder| Path::new(&folder).is_dir()) {
        return Some(Toolchain::Installed);
    }
    let here = [SYSTEM_RUSTC, SYSTEM_CARGO, SYSTEM_SOURCES].map(|path| Path::new(path).exists());
    (here == [true; 3]).then_some(Toolchain::FromSources)
}

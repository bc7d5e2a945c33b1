//! `cargo verify`: every check of the project, by name, one line each.
//!
//! It changes nothing on disk outside the target folder, and is all that continuous integration
//! runs. What a check consists of stands in `checks`; how a command is run, in `step`; finding a
//! toolchain for the browser, in `web`; hostile bytes, in `fuzz`; simulated worlds, in `sim`.
#![expect(clippy::disallowed_methods, reason = "IO shell: starts cargo and takes the time")]

mod checks;
mod fuzz;
mod sim;
mod step;
mod web;

use checks::{CHECKS, Check};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use step::Outcome;

/// What the person asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Tests run their long variants.
    pub long: bool,
    /// The first failure ends the run.
    stop: bool,
    /// Seeds of simulated worlds, instead of those that a check would take.
    seeds: Option<(u64, u64)>,
}

/// What to do.
#[derive(Debug, PartialEq)]
enum Request {
    Run(Vec<&'static Check>, Options),
    List,
}

const USAGE: &str = "cargo verify [--stop] [NAME…]   these checks, or the daily ones
cargo verify sim --seeds A..B   worlds of these seeds, of every kind
cargo verify [--stop] nightly   all, in their long variants
cargo verify list               names and what they check";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Ok(Request::Run(checks, options)) => run(&checks, options, &root()),
        Ok(Request::List) => {
            print!("{}", list());
            ExitCode::SUCCESS
        }
        Err(unknown) => {
            eprintln!("there is no check `{unknown}`\n\n{USAGE}\n\n{}", list());
            ExitCode::from(2)
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies two folders below the top").to_owned()
}

fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut options = Options::default();
    let mut named: Vec<&'static Check> = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "list" | "--help" | "-h" => return Ok(Request::List),
            "--stop" => options.stop = true,
            "nightly" => options.long = true,
            "--seeds" => options.seeds = Some(seeds(arguments.next())?),
            name => {
                let check = CHECKS.iter().find(|check| check.name == name);
                named.push(check.ok_or_else(|| name.to_owned())?);
            }
        }
    }
    if named.is_empty() {
        named = CHECKS.iter().filter(|check| check.daily || options.long).collect();
    }
    Ok(Request::Run(named, options))
}

/// Reads `FROM..TO`.
fn seeds(text: Option<&String>) -> Result<(u64, u64), String> {
    let text = text.map_or("", String::as_str);
    let parts = text.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    match parts {
        Some((Ok(from), Ok(to))) => Ok((from, to)),
        _ => Err(format!("--seeds {text}")),
    }
}

fn list() -> String {
    let line = |check: &Check| format!("{:<8} {}\n", check.name, check.about);
    CHECKS.iter().map(line).collect()
}

fn run(checks: &[&Check], options: Options, root: &Path) -> ExitCode {
    let mut outcomes = Vec::new();
    for check in checks {
        print!("{:<8} ", check.name);
        // A line that is not seen early is only seen late.
        let _ = std::io::stdout().flush();
        let begun = Instant::now();
        let outcome = (check.run)(root, options);
        let seconds = begun.elapsed().as_secs_f64();
        println!("{}", line(&outcome, seconds));
        if let Outcome::Failed { output } = &outcome {
            println!("{}", step::tail(output));
        }
        let failed = matches!(outcome, Outcome::Failed { .. });
        outcomes.push((check.name, outcome));
        if failed && options.stop {
            break;
        }
    }
    println!("{}", summary(&outcomes));
    let failed = |(_, outcome): &(&str, Outcome)| matches!(outcome, Outcome::Failed { .. });
    if outcomes.iter().any(failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn line(outcome: &Outcome, seconds: f64) -> String {
    match outcome {
        Outcome::Passed => format!("passed  {seconds:7.1} s"),
        Outcome::Failed { .. } => format!("FAILED  {seconds:7.1} s"),
        Outcome::Skipped { why } => format!("skipped: {why}"),
    }
}

/// The last line: how many passed and failed, and which did not pass.
fn summary(outcomes: &[(&str, Outcome)]) -> String {
    let names = |wanted: fn(&Outcome) -> bool| -> Vec<&str> {
        outcomes.iter().filter(|(_, outcome)| wanted(outcome)).map(|(name, _)| *name).collect()
    };
    let passed = names(|outcome| matches!(outcome, Outcome::Passed));
    let failed = names(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let skipped = names(|outcome| matches!(outcome, Outcome::Skipped { .. }));
    let mut text = format!("{} passed, {} failed", passed.len(), failed.len());
    if !skipped.is_empty() {
        text += &format!(", {} skipped ({})", skipped.len(), skipped.join(", "));
    }
    if !failed.is_empty() {
        text += &format!(": {}", failed.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(request: Request) -> (Vec<&'static str>, Options) {
        match request {
            Request::Run(checks, options) => (checks.iter().map(|one| one.name).collect(), options),
            Request::List => (Vec::new(), Options::default()),
        }
    }

    fn ask(arguments: &[&str]) -> Result<Request, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        parse(&arguments)
    }

    #[test]
    fn without_names_the_daily_checks_run_in_order_and_nightly_runs_all() {
        let (daily, options) = names(ask(&[]).unwrap());
        assert_eq!(daily, ["format", "lint", "tidy", "unit", "sim", "it", "docs", "web"]);
        assert_eq!(options, Options::default());
        let (nightly, options) = names(ask(&["nightly"]).unwrap());
        assert_eq!(
            nightly,
            ["format", "lint", "tidy", "unit", "sim", "it", "docs", "web", "planted", "fuzz"]
        );
        assert!(options.long);
    }

    #[test]
    fn named_checks_run_in_the_order_they_were_named() {
        let (some, options) = names(ask(&["--stop", "unit", "format"]).unwrap());
        assert_eq!((some, options.stop), (vec!["unit", "format"], true));
        assert_eq!(ask(&["unti"]), Err("unti".to_owned()));
        let (sim, options) = names(ask(&["sim", "--seeds", "3..9"]).unwrap());
        assert_eq!((sim, options.seeds), (vec!["sim"], Some((3, 9))));
        assert_eq!(ask(&["sim", "--seeds", "3"]), Err("--seeds 3".to_owned()));
    }

    #[test]
    fn the_summary_counts_and_names_what_did_not_pass() {
        let failed = Outcome::Failed { output: String::new() };
        let skipped = Outcome::Skipped { why: "no wasm toolchain".to_owned() };
        assert_eq!(summary(&[("a", Outcome::Passed)]), "1 passed, 0 failed");
        let all = [("a", Outcome::Passed), ("b", failed), ("c", skipped)];
        assert_eq!(summary(&all), "1 passed, 1 failed, 1 skipped (c): b");
    }

    #[test]
    fn a_missing_or_failing_command_fails_its_check() {
        let missing = step::Step::program("rhizome-has-no-such-program").run(&root(), false);
        assert!(matches!(missing, Outcome::Failed { .. }), "{missing:?}");
        let refused = step::Step::cargo(&["no-such-command"]).run(&root(), false);
        assert!(matches!(refused, Outcome::Failed { .. }), "{refused:?}");
    }
}

//! `rhizome-sim`: runs worlds, and says which seeds did not hold.
#![expect(clippy::disallowed_methods, reason = "says how long the worlds took")]

use clap::Parser;
use rhizome_block::planted::Bug;
use rhizome_sim::Kind;
use rhizome_sim::hostile::Table;
use rhizome_sim::planted;
use rhizome_sim::report::Counts;
use rhizome_sim::sweep::{self, Broken};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;
use tracing_subscriber::EnvFilter;

/// Runs simulated worlds and checks what must hold.
#[derive(Parser)]
struct Arguments {
    /// Seeds to run: one, or FROM..TO; 0..200 unless it is said.
    #[arg(long, value_parser = seeds)]
    seeds: Option<(u64, u64)>,
    /// Let every admin decide while the identity is cut into parts, and remove devices, too.
    #[arg(long)]
    contested: bool,
    /// Let a majority of the voters vanish for good, and the others reform.
    #[arg(long, conflicts_with = "contested")]
    lost: bool,
    /// Let devices bring along data of an identity that they had before.
    #[arg(long, conflicts_with_all = ["contested", "lost"])]
    joined: bool,
    /// Put a hostile device into each world, once for each script, and print the table.
    #[arg(long, conflicts_with_all = ["contested", "lost", "joined"])]
    hostile: bool,
    /// Of the hostile scripts, play those whose name contains this.
    #[arg(long, default_value = "", requires = "hostile")]
    script: String,
    /// Run the seeds that found something once, and no others.
    #[arg(long, conflicts_with_all = ["contested", "lost", "joined", "hostile", "seeds"])]
    listed: bool,
    /// Plant bugs, one after the other, and look for each in the worlds of these seeds (0..500).
    #[arg(long, conflicts_with_all = ["contested", "lost", "joined", "hostile", "listed"])]
    planted: bool,
    /// Of the planted bugs, look for this one only.
    #[arg(long, requires = "planted")]
    bug: Option<String>,
    /// How many worlds run side by side; as many as there are cores unless it is said.
    #[arg(long)]
    jobs: Option<usize>,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    match text.split_once("..") {
        Some((from, to)) => Ok((number(from)?, number(to)?)),
        None => number(text).map(|seed| (seed, seed + 1)),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Ok(filter) = EnvFilter::try_from_env("RHIZOME_LOG") {
        let lines = tracing_subscriber::fmt().with_env_filter(filter).without_time();
        lines.with_writer(std::io::stderr).init();
    }
    let jobs = arguments.jobs.unwrap_or_else(sweep::jobs);
    if arguments.planted {
        let (from, to) = arguments.seeds.unwrap_or((0, 500));
        return hunt(from..to, arguments.bug.as_deref(), jobs);
    }
    let (from, to) = arguments.seeds.unwrap_or((0, 200));
    if arguments.hostile {
        return play_hostile((from, to), &arguments.script, jobs);
    }
    let kind = match (arguments.contested, arguments.lost, arguments.joined) {
        (true, ..) => Kind::Contested,
        (_, true, _) => Kind::Lost,
        (.., true) => Kind::Joined,
        _ => Kind::Plain,
    };
    match arguments.listed {
        true => run(&rhizome_sim::listed(), jobs),
        false => run(&(from..to).map(|seed| (seed, kind)).collect::<Vec<_>>(), jobs),
    }
}

/// Looks for planted bugs, prints how each was found, and the table of all.
fn hunt(seeds: Range<u64>, only: Option<&str>, jobs: usize) -> ExitCode {
    let chosen = Bug::ALL.iter().filter(|bug| only.is_none_or(|name| name == bug.name()));
    let (mut found, mut missed) = (Vec::new(), 0);
    for bug in chosen {
        match planted::find(*bug, seeds.clone(), jobs) {
            Some(one) => {
                eprintln!("{one}");
                found.push(one);
            }
            None => {
                eprintln!("{}: NOT FOUND", bug.name());
                missed += 1;
            }
        }
    }
    print!("{}", planted::table(&found));
    eprintln!("{} found, {missed} not found", found.len());
    if missed == 0 && !found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the table of hostile scripts, and what did not hold.
fn play_hostile(seeds: (u64, u64), script: &str, jobs: usize) -> ExitCode {
    let table = Table::play(seeds, script, jobs);
    print!("{table}");
    let failures = table.failures();
    failures.iter().for_each(|failure| eprintln!("{failure}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs worlds, and prints what was done in them and what did not hold.
fn run(worlds: &[(u64, Kind)], jobs: usize) -> ExitCode {
    let since = Instant::now();
    let one = |at: u64| {
        let (seed, kind) = worlds[usize::try_from(at).unwrap_or(0)];
        sweep::attempt(|| rhizome_sim::run(seed, kind).0).map_err(|broken| (seed, kind, broken))
    };
    let outcomes = sweep::all(0..worlds.len() as u64, jobs, one);
    let (mut all, mut failed) = (Counts::default(), 0);
    for outcome in &outcomes {
        match outcome {
            Ok(counts) => all += *counts,
            Err((seed, kind, broken)) => {
                failed += 1;
                complain(*seed, *kind, broken);
            }
        }
    }
    let minutes = since.elapsed().as_secs_f64() / 60.0;
    println!("{all}");
    println!("faults injected {:>10}", all.faults());
    println!("seeds a minute  {:>10.0}", outcomes.len() as f64 / minutes.max(f64::EPSILON));
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(seed: u64, kind: Kind, broken: &Broken) {
    let flag = match kind {
        Kind::Plain => String::new(),
        other => format!(" --{}", other.name()),
    };
    eprintln!("seed {seed} did not hold: {broken}; again:");
    eprintln!("  cargo run -p rhizome-sim -- --seeds {seed}{flag}");
}

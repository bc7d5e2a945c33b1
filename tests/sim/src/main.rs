//! `rhizome-sim`: runs worlds, and says which seeds did not hold.
#![expect(clippy::disallowed_methods, reason = "says how long the worlds took")]

use clap::Parser;
use rhizome_sim::Deciders;
use rhizome_sim::hostile::Table;
use rhizome_sim::report::Counts;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;
use tracing_subscriber::EnvFilter;

/// Runs simulated worlds and checks what must hold.
#[derive(Parser)]
struct Arguments {
    /// Seeds to run: one, or FROM..TO.
    #[arg(long, default_value = "0..200", value_parser = seeds)]
    seeds: (u64, u64),
    /// Let every admin decide while the identity is cut into parts, and remove devices, too.
    #[arg(long)]
    contested: bool,
    /// Let a majority of the voters vanish for good, and the others reform.
    #[arg(long, conflicts_with = "contested")]
    lost: bool,
    /// Put a hostile device into each world, once for each script, and print the table.
    #[arg(long, conflicts_with_all = ["contested", "lost"])]
    hostile: bool,
    /// Of the hostile scripts, play those whose name contains this.
    #[arg(long, default_value = "", requires = "hostile")]
    script: String,
}

/// Prints the table of hostile scripts, and what did not hold.
fn play_hostile(seeds: (u64, u64), script: &str) -> ExitCode {
    let table = Table::play(seeds, script);
    print!("{table}");
    let failures = table.failures();
    failures.iter().for_each(|failure| eprintln!("{failure}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    match text.split_once("..") {
        Some((from, to)) => Ok((number(from)?, number(to)?)),
        None => number(text).map(|seed| (seed, seed + 1)),
    }
}

fn main() -> ExitCode {
    let Arguments { seeds: (from, to), contested, lost, hostile, script } = Arguments::parse();
    if let Ok(filter) = EnvFilter::try_from_env("RHIZOME_LOG") {
        let lines = tracing_subscriber::fmt().with_env_filter(filter).without_time();
        lines.with_writer(std::io::stderr).init();
    }
    if hostile {
        return play_hostile((from, to), &script);
    }
    let (deciders, flag) = match (contested, lost) {
        (true, _) => (Deciders::All, " --contested"),
        (false, true) => (Deciders::Survivors, " --lost"),
        (false, false) => (Deciders::One, ""),
    };
    let since = Instant::now();
    let (mut all, mut failed) = (Counts::default(), Vec::new());
    for seed in from..to {
        match catch_unwind(|| rhizome_sim::run(seed, deciders)) {
            Ok((counts, _)) => all += counts,
            Err(_) => {
                eprintln!("seed {seed} did not hold; again:");
                eprintln!("  cargo run -p rhizome-sim -- --seeds {seed}{flag}");
                failed.push(seed);
            }
        }
    }
    let minutes = since.elapsed().as_secs_f64() / 60.0;
    println!("{all}");
    println!("faults injected {:>10}", all.faults());
    println!("seeds a minute  {:>10.0}", (to - from) as f64 / minutes.max(f64::EPSILON));
    println!("{} passed, {} failed", (to - from) - failed.len() as u64, failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! The table: each script over many seeds, and what came of it.

use super::script::{Entry, Must};
use super::{Verdict, run, scripts};
use crate::sweep;
use std::fmt;

/// One line.
struct Line {
    entry: Entry,
    refused: u64,
    detected: u64,
    undetected: Vec<(u64, String)>,
    panics: Vec<(u64, String)>,
}

/// All lines.
pub struct Table {
    from: u64,
    to: u64,
    lines: Vec<Line>,
}

impl Table {
    /// Plays the scripts whose name contains `only`, each in the worlds of all seeds.
    #[must_use]
    pub fn play((from, to): (u64, u64), only: &str, jobs: usize) -> Self {
        let chosen = scripts().into_iter().filter(|entry| entry.name.contains(only));
        let lines = chosen.map(|entry| play(entry, from, to, jobs)).collect();
        Self { from, to, lines }
    }

    /// What went wrong, a line each.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for line in &self.lines {
            let name = line.entry.name;
            let of = |what: &'static str, all: &[(u64, String)]| -> Vec<String> {
                let say =
                    |(seed, why): &(u64, String)| format!("{name} {what}, seed {seed}: {why}");
                all.iter().map(say).collect()
            };
            failures.extend(of("undetected", &line.undetected));
            failures.extend(of("panicked", &line.panics));
        }
        if self.lines.is_empty() {
            failures.push("no script has such a name".to_owned());
        }
        failures
    }
}

fn play(entry: Entry, from: u64, to: u64, jobs: usize) -> Line {
    let mut line =
        Line { entry, refused: 0, detected: 0, undetected: Vec::new(), panics: Vec::new() };
    let verdicts = sweep::all(from..to, jobs, |seed| (seed, run(&line.entry, seed)));
    for (seed, verdict) in verdicts {
        match verdict {
            Verdict::Refused => line.refused += 1,
            Verdict::Detected => line.detected += 1,
            Verdict::Undetected(why) => line.undetected.push((seed, why)),
            Verdict::Panicked(why) => line.panics.push((seed, why)),
        }
    }
    line
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Seeds {} to {} of each script.\n", self.from, self.to.saturating_sub(1))?;
        writeln!(
            f,
            "| script | what the actor does | owed | detected | refused | undetected | panics |"
        )?;
        writeln!(f, "| --- | --- | --- | ---: | ---: | ---: | ---: |")?;
        for Line { entry, refused, detected, undetected, panics } in &self.lines {
            let owed = match entry.must {
                Must::Refuse => "refused",
                Must::Detect => "detected",
            };
            let (undetected, panics) = (undetected.len(), panics.len());
            let (name, line) = (entry.name, entry.line);
            write!(f, "| {name} | {line} | {owed} | {detected} | {refused} ")?;
            writeln!(f, "| {undetected} | {panics} |")?;
        }
        Ok(())
    }
}

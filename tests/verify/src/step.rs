//! One command of a check: run to its end, its output kept for the case that it fails.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// Most bytes of a failed check's output that are shown; the cause stands at the end.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Variables that would make a test write or a compiler behave differently from a fresh clone.
const CLEARED: &[&str] = &["UPDATE_FIXTURES", "UPDATE_EXPECT", "RUSTFLAGS", "RHIZOME_LONG"];

/// How a check ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// With an error.
    Failed {
        /// What the commands said.
        output: String,
    },
    /// This machine lacks what the check needs.
    Skipped {
        /// What it lacks.
        why: String,
    },
}

/// One command.
#[derive(Clone, Debug)]
pub struct Step {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
}

impl Step {
    /// The cargo that runs this program.
    #[must_use]
    pub fn cargo(arguments: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self::program(cargo).with(arguments)
    }

    /// Another program.
    #[must_use]
    pub fn program(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), variables: Vec::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn set(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs it in `root`; `long` asks tests for their long variants.
    #[must_use]
    pub fn run(&self, root: &Path, long: bool) -> Outcome {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(root).stdin(Stdio::null());
        for name in CLEARED {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if long {
            command.env("RHIZOME_LONG", "1");
        }
        match command.output() {
            Ok(done) if done.status.success() => Outcome::Passed,
            Ok(done) => {
                let said = [done.stdout, done.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                Outcome::Failed { output: format!("{self}: {}\n{said}", done.status) }
            }
            Err(error) => Outcome::Failed { output: format!("{self}: {error}") },
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Path::new(&self.program).file_name().unwrap_or_default().display())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

/// Runs `steps` until one does not pass.
#[must_use]
pub fn all(steps: &[Step], root: &Path, long: bool) -> Outcome {
    let outcomes = steps.iter().map(|step| step.run(root, long));
    outcomes.into_iter().find(|outcome| *outcome != Outcome::Passed).unwrap_or(Outcome::Passed)
}

/// The end of an output, beginning with a whole line.
#[must_use]
pub fn tail(output: &str) -> &str {
    let Some(cut) = output.len().checked_sub(OUTPUT_BYTES_MAX) else { return output };
    let cut = output.ceil_char_boundary(cut);
    let rest = &output[cut..];
    rest.split_once('\n').map_or(rest, |(_, whole)| whole)
}

//! Speed, printed with a floor from the same run.
//!
//! `cargo bench-all [NAME…] [--quick]` runs benchmarks of the real thing: pods with segments,
//! index and QUIC endpoint, in folders of their own. Each table shows rates, percentiles and the
//! ratio to what the machine itself can do (the floor, measured just before), because the machine
//! is often busy with something else. Results of a whole run are in `docs/benchmarks.md`.
#![expect(clippy::disallowed_methods, reason = "measures time, starts children, reads /proc")]

mod catchup;
mod child;
mod commit;
mod documents;
mod floor;
mod idle;
mod import;
mod library;
mod measure;
mod open;
mod reconnect;
mod socket;
mod table;
mod world;
mod write;

use clap::Parser;
use std::error::Error;
use std::path::PathBuf;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Anything can fail here, and all of it is told and ends the run.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures, and compares with what the machine can do.
#[derive(Parser)]
#[command(name = "cargo bench-all")]
struct Arguments {
    /// Which benchmarks (all unless named): write, commit, catchup, reconnect, idle, open, import.
    names: Vec<String>,
    /// Small sizes, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// Where the folders of pods are made; its disk is what is measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Plays the other process of a benchmark.
    #[arg(long, hide = true, num_args = 2, value_names = ["ROLE", "DIR"])]
    child: Option<Vec<String>>,
}

/// What every benchmark is told.
struct Run {
    quick: bool,
    dir: PathBuf,
    library: library::Library,
}

impl Run {
    /// A number of things, smaller in a quick run.
    fn size(&self, whole: u64, quick: u64) -> u64 {
        if self.quick { quick } else { whole }
    }

    /// A folder that nothing else uses.
    fn folder(&self) -> Outcome<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(&self.dir)?)
    }
}

const NAMES: &[&str] = &["write", "commit", "catchup", "reconnect", "idle", "open", "import"];

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    if let Some([role, dir]) = arguments.child.as_deref() {
        return child::play(role, dir.as_ref()).await;
    }
    let home = match arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let library = library::Library::default();
    let run = Run { quick: arguments.quick, dir: home.path().to_owned(), library };
    if let Some(name) = arguments.names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("no benchmark `{name}`; there are {}", NAMES.join(", ")).into());
    }
    floor::print(&run).await?;
    let wanted =
        |name: &&&str| arguments.names.is_empty() || arguments.names.iter().any(|n| n == **name);
    for name in NAMES.iter().filter(wanted) {
        match *name {
            "write" => write::run(&run).await?,
            "commit" => commit::run(&run).await?,
            "catchup" => catchup::run(&run).await?,
            "reconnect" => reconnect::run(&run).await?,
            "idle" => idle::run(&run).await?,
            "open" => open::run(&run).await?,
            _ => import::run(&run).await?,
        }
    }
    run.library.close().await;
    Ok(())
}

//! The command line: nouns, verbs, flags, and the help that explains them.
//!
//! What a verb takes stands in the module of its noun, below `commands`.

use crate::commands::{
    cluster, data, device, doctor, identity, import, init, log, meta, peer, recovery, run, snapshot,
};
use crate::demo;
use clap::{
    Arg, ArgAction, Args, Command as ClapCommand, CommandFactory, FromArgMatches, Parser,
    Subcommand,
};
use std::ffi::OsString;
use std::path::PathBuf;

/// What every help page looks like: what it is, how it is used, then everything else.
const HELP_TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

/// The command line as a whole.
#[derive(Debug, Parser)]
#[command(
    name = "rhizome",
    version,
    about = "Your data, on your devices.",
    before_help = "Examples:
  rhizome init --name Ana
  rhizome import markdown ~/notes
  rhizome device link
  rhizome status
",
    after_help = "Exit codes: 0 ok, 1 error, 2 usage, 3 pod not reachable, 4 not permitted or
locked, 5 not found, 6 conflict or precondition, 7 saved here but not confirmed in time,
8 integrity check failed, 9 partly done, 10 quota or disk, 11 incompatible version,
130 interrupted.",
    arg_required_else_help = true,
    infer_subcommands = false,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Flags of every command")]
pub(crate) struct Global {
    /// The folder of the pod [env: RHIZOME_DIR].
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// Answers as JSON, streams as one JSON object per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tables as rows of tabs, without a head.
    #[arg(long, global = true, conflicts_with = "json")]
    pub(crate) plain: bool,
    /// No colours [env: NO_COLOR].
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Never ask; fail where an answer is needed.
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Answer yes to questions that can be answered so.
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// Do not start a pod if none runs.
    #[arg(long, global = true)]
    pub(crate) no_start: bool,
    /// Only data, warnings and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an identity on this computer.
    Init(init::InitArgs),
    /// Is my data safe, where is it, who is waiting for whom.
    #[command(before_help = "Examples:\n  rhizome status\n  rhizome status --json\n")]
    Status,
    /// Run the pod in the foreground.
    Run(run::RunArgs),
    /// Stop the pod that runs in the background.
    #[command(before_help = "Examples:\n  rhizome stop\n")]
    Stop,
    /// See, link, rename and lose devices.
    #[command(subcommand, arg_required_else_help = true, before_help = device::EXAMPLES)]
    Device(device::DeviceCommand),
    /// Who orders, and going on without those that are lost.
    #[command(subcommand, arg_required_else_help = true, before_help = cluster::EXAMPLES)]
    Cluster(cluster::ClusterCommand),
    /// Add, list and test cloud peers.
    #[command(subcommand, arg_required_else_help = true, before_help = peer::EXAMPLES)]
    Peer(peer::PeerCommand),
    /// Create, list and choose identities.
    #[command(subcommand, arg_required_else_help = true, before_help = identity::EXAMPLES)]
    Identity(identity::IdentityCommand),
    /// Read, write, find and watch documents.
    #[command(subcommand, arg_required_else_help = true, before_help = data::EXAMPLES)]
    Data(data::DataCommand),
    /// Look at events and check what is stored.
    #[command(subcommand, arg_required_else_help = true, before_help = log::EXAMPLES)]
    Log(log::LogCommand),
    /// Cut, list, check and export checkpoints.
    #[command(subcommand, arg_required_else_help = true, before_help = snapshot::EXAMPLES)]
    Snapshot(snapshot::SnapshotCommand),
    /// The recovery kit: write down, rehearse, use.
    #[command(subcommand, arg_required_else_help = true, before_help = recovery::EXAMPLES)]
    Recovery(recovery::RecoveryCommand),
    /// Bring in notes and tables, or take an import back.
    #[command(subcommand, arg_required_else_help = true, before_help = import::EXAMPLES)]
    Import(import::ImportCommand),
    /// See it at work: three devices, a cut network, a lost laptop.
    Demo(demo::DemoArgs),
    /// Check this pod, and rebuild what can be rebuilt.
    Doctor(doctor::DoctorArgs),
    /// Print completions for a shell.
    Completions(meta::CompletionsArgs),
    /// Print the manual, or write its pages into a folder.
    Man(meta::ManArgs),
}

impl Command {
    /// The method whose envelope `--json` prints, also when it fails.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::Init(_) => "identity.create",
            Self::Status => "status",
            Self::Run(_) => "pod.run",
            Self::Stop => "pod.stop",
            Self::Device(command) => command.method(),
            Self::Cluster(command) => command.method(),
            Self::Peer(command) => command.method(),
            Self::Identity(command) => command.method(),
            Self::Data(command) => command.method(),
            Self::Log(command) => command.method(),
            Self::Snapshot(command) => command.method(),
            Self::Recovery(command) => command.method(),
            Self::Import(command) => command.method(),
            Self::Demo(_) => demo::NAME,
            Self::Doctor(_) => "doctor",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

/// Reads a command line, the name of the program first.
pub(crate) fn read(words: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

/// The description of the whole command line, for help, completions and manual.
pub(crate) fn command() -> ClapCommand {
    dress(Cli::command())
}

fn dress(command: ClapCommand) -> ClapCommand {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::HelpShort);
    command
        .help_template(HELP_TEMPLATE)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .arg(help.help("Print help"))
        .mut_subcommands(dress)
}

#[cfg(test)]
mod tests;

//! `rhizome completions` and `rhizome man`: the command line about itself.

use crate::arguments;
use crate::context::Context;
use clap::Args;
use clap_complete::Shell;
use rhizome_api::{ApiError, Exit, Problem};
use std::path::PathBuf;

/// Flags of `completions`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome completions bash > ~/.local/share/bash-completion/completions/rhizome
  rhizome completions zsh > ~/.zfunc/_rhizome
")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Flags of `man`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome man | man -l -
  rhizome man --to ~/.local/share/man/man1
")]
pub(crate) struct ManArgs {
    /// Write a page per command into this folder.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Prints completions for a shell.
pub(super) fn completions(args: &CompletionsArgs, context: &Context) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut arguments::command(), "rhizome", &mut script);
    context.print(&String::from_utf8_lossy(&script));
    Exit::Ok
}

/// Prints the manual, or writes its pages.
pub(super) fn man(args: &ManArgs, context: &Context) -> Result<Exit, ApiError> {
    let failed = |source: std::io::Error| {
        ApiError::new(Problem::LOCAL_FILE, "manual cannot be written").caused_by(&source)
    };
    if let Some(folder) = &args.to {
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(arguments::command(), folder).map_err(failed)?;
        context.say(&format!("Wrote the manual to {}", folder.display()));
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(arguments::command()).render(&mut page).map_err(failed)?;
        context.print(&String::from_utf8_lossy(&page));
    }
    Ok(Exit::Ok)
}

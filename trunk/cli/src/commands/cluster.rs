//! `rhizome cluster`: who orders, and beginning anew without those that are lost.

use crate::context::Context;
use crate::{prompt, render};
use clap::{Args, Subcommand};
use rhizome_api::cluster::ReformRequest;
use rhizome_api::{ApiError, ClusterReform, Exit, Method};
use std::path::PathBuf;

/// Shown first in its help.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome cluster reform --dry-run
  rhizome cluster reform --revoke cloud
";

/// What to do about who orders.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Go on without the devices that order, when they are lost for good.
    Reform(ReformArgs),
}

/// Flags of `cluster reform`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome cluster reform --dry-run
  rhizome cluster reform --revoke cloud --confirm laptop
  rhizome cluster reform --voter desktop --words-file kit.txt
")]
pub(crate) struct ReformArgs {
    /// The device that orders from now on; this one if left out.
    #[arg(long, value_name = "DEVICE")]
    voter: Option<String>,
    /// A device that is lost with the order and is removed; may be given several times.
    #[arg(long, value_name = "DEVICE")]
    revoke: Vec<String>,
    /// The name of the device that orders from now on, instead of typing it when asked.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// A file with the words of the recovery kit, or - for standard input; asked for if needed.
    #[arg(long, value_name = "FILE")]
    words_file: Option<PathBuf>,
    /// Do it although the devices that order can be reached.
    #[arg(long)]
    anyway: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

impl ClusterCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Reform(_) => ClusterReform::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: ClusterCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        ClusterCommand::Reform(args) => reform(args, context).await,
    }
}

/// Says what will happen, has the name typed, and the words where they are needed; then does it.
async fn reform(args: ReformArgs, context: &Context) -> Result<Exit, ApiError> {
    let ReformArgs { voter, revoke, confirm, words_file, anyway, dry_run } = args;
    let plan = ReformRequest { voter, revoke, anyway, dry_run: true, ..ReformRequest::default() };
    if dry_run {
        context.answer::<ClusterReform>(&plan, render::cluster::reform).await?;
        return Ok(Exit::Ok);
    }
    let (planned, _) = context.client().await?.call::<ClusterReform>(&plan).await?;
    let confirm = match confirm {
        Some(name) => name,
        None if context.yes => planned.voter.name.clone(),
        None => {
            context.say(&render::cluster::reform(&planned, &context.errors));
            let question = "Type the name of the device that orders from now on:";
            prompt::line(context, question, "--confirm=NAME").await?
        }
    };
    // Without a terminal the pod says what is missing.
    let asks = planned.needs_kit.is_some() && context.may_ask();
    let words = match words_file.as_deref() {
        None if !asks => None,
        file => {
            Some(prompt::secret(context, file, prompt::KIT_QUESTION, "--words-file FILE").await?)
        }
    };
    let request = ReformRequest { confirm: Some(confirm), words, dry_run: false, ..plan };
    let answer = context.answer::<ClusterReform>(&request, render::cluster::reform).await?;
    context.next_steps(&[
        ("rhizome status", "see who follows already"),
        ("rhizome peer add", "add a cloud peer in place of a lost one"),
    ]);
    Ok(if answer.committed { Exit::Ok } else { Exit::Unconfirmed })
}

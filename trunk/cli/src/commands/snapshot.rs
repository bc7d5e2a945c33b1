//! `rhizome snapshot`: checkpoints, from which a device that lost everything starts again.

use crate::context::Context;
use crate::render;
use clap::{Args, Subcommand};
use rhizome_api::snapshot::{ExportRequest, VerifyRequest};
use rhizome_api::{
    ApiError, Empty, Exit, Method, Problem, SnapshotCreate, SnapshotExport, SnapshotList,
    SnapshotVerify,
};
use std::path::{Path, PathBuf};

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome snapshot create
  rhizome snapshot list
  rhizome snapshot verify
  rhizome snapshot export checkpoint.car
";

/// The verbs of `snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Cut a checkpoint and hand it to those who keep copies.
    Create,
    /// List the checkpoints.
    List,
    /// Derive a checkpoint again and compare; ask its holders for blocks.
    Verify(VerifyArgs),
    /// Write a checkpoint as a CAR file, encrypted as it is.
    Export(ExportArgs),
}

/// Flags of `snapshot verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Its id or the start of it [default: the newest].
    id: Option<String>,
}

/// Flags of `snapshot export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The file to write.
    to: PathBuf,
    /// Its id or the start of it [default: the newest].
    #[arg(long)]
    id: Option<String>,
}

impl SnapshotCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Create => SnapshotCreate::NAME,
            Self::List => SnapshotList::NAME,
            Self::Verify(_) => SnapshotVerify::NAME,
            Self::Export(_) => SnapshotExport::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: SnapshotCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        SnapshotCommand::Create => {
            context.answer::<SnapshotCreate>(&Empty {}, render::snapshot::created).await?;
            context.next_steps(&[("rhizome snapshot verify", "check it, and who holds it")]);
        }
        SnapshotCommand::List => {
            let list = context.answer::<SnapshotList>(&Empty {}, render::snapshot::list).await?;
            if list.snapshots.is_empty() {
                context.say("No checkpoint is known here.");
                context.next_steps(&[("rhizome snapshot create", "cut one")]);
            }
        }
        SnapshotCommand::Verify(args) => {
            let request = VerifyRequest { id: args.id };
            let answer =
                context.answer::<SnapshotVerify>(&request, render::snapshot::verified).await?;
            if !answer.root_matches || !answer.missing.is_empty() {
                return Ok(Exit::Damaged);
            }
            if answer.holders.iter().any(|holder| holder.had < holder.asked) {
                return Ok(Exit::Partial);
            }
        }
        SnapshotCommand::Export(args) => {
            let request = ExportRequest { to: absolute(&args.to)?, id: args.id };
            context.answer::<SnapshotExport>(&request, render::snapshot::exported).await?;
        }
    }
    Ok(Exit::Ok)
}

/// A path as the pod, which runs elsewhere, understands it.
pub(super) fn absolute(path: &Path) -> Result<String, ApiError> {
    let wrong = || format!("path {} cannot be used", path.display());
    let absolute = std::path::absolute(path)
        .map_err(|source| ApiError::new(Problem::LOCAL_FILE, wrong()).caused_by(&source))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|_| ApiError::new(Problem::USAGE, format!("{}: not UTF-8", wrong())))
}

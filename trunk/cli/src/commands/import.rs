//! `rhizome import`: plan, apply, report, undo.

use crate::client::Next;
use crate::commands::snapshot::absolute;
use crate::context::Context;
use crate::progress::Progress;
use crate::{prompt, render};
use clap::{Args, Subcommand};
use rhizome_api::import::{ApplyEvent, ApplyRequest, ImportKind, PlanRequest, UndoRequest};
use rhizome_api::{ApiError, Empty, Exit, ImportApply, ImportList, ImportPlan, ImportUndo, Method};
use std::path::PathBuf;

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome import markdown ~/notes --dry-run
  rhizome import markdown ~/notes
  rhizome import keep ~/Takeout/Keep
  rhizome import csv books.csv --collection books
  rhizome import undo BATCH
";

/// The verbs of `import`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// A folder of Markdown notes, such as a vault.
    Markdown(SourceArgs),
    /// Google Keep from a Takeout archive.
    Keep(SourceArgs),
    /// A table with a header line.
    Csv(SourceArgs),
    /// Take an import back, as far as nothing was built on it.
    Undo(UndoArgs),
    /// List the imports so far.
    List,
}

/// Flags of an import.
#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// The folder or file.
    path: PathBuf,
    /// Only say what would happen: counts, sizes, samples, losses.
    #[arg(long)]
    dry_run: bool,
    /// Where the documents go [default: the kind's own collection].
    #[arg(long, value_name = "COLLECTION")]
    collection: Option<String>,
    /// The name of the batch, to go on with one that was interrupted.
    #[arg(long, value_name = "BATCH", conflicts_with = "dry_run")]
    batch: Option<String>,
}

/// Flags of `import undo`.
#[derive(Args, Debug)]
pub(crate) struct UndoArgs {
    /// The name of the batch, from its report or from `import list`.
    batch: String,
}

impl ImportCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Markdown(args) | Self::Keep(args) | Self::Csv(args) if args.dry_run => {
                ImportPlan::NAME
            }
            Self::Markdown(_) | Self::Keep(_) | Self::Csv(_) => ImportApply::NAME,
            Self::Undo(_) => ImportUndo::NAME,
            Self::List => ImportList::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: ImportCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        ImportCommand::Markdown(args) => bring(ImportKind::Markdown, args, context).await,
        ImportCommand::Keep(args) => bring(ImportKind::Keep, args, context).await,
        ImportCommand::Csv(args) => bring(ImportKind::Csv, args, context).await,
        ImportCommand::Undo(args) => undo(args, context).await,
        ImportCommand::List => {
            context.answer::<ImportList>(&Empty {}, render::import::list).await?;
            Ok(Exit::Ok)
        }
    }
}

async fn bring(kind: ImportKind, args: SourceArgs, context: &Context) -> Result<Exit, ApiError> {
    let (path, collection) = (absolute(&args.path)?, args.collection);
    if args.dry_run {
        let request = PlanRequest { kind, path, collection };
        context.answer::<ImportPlan>(&request, render::import::plan).await?;
        context.say("Nothing was changed. Leave out --dry-run to import.");
        return Ok(Exit::Ok);
    }
    let request = ApplyRequest { kind, path, collection, batch: args.batch };
    let mut events = context.client().await?.stream::<ImportApply>(&request).await?;
    let progress = Progress::new(context, "items");
    let answer = loop {
        match context.next(&mut events).await? {
            Next::Event(ApplyEvent::Started { batch }) => {
                let note = format!("Batch {batch}; Ctrl-C stops it, the same command goes on.");
                progress.aside(|| context.say(&note));
            }
            Next::Event(ApplyEvent::Progress { done, total, bytes, .. }) => {
                progress.set(done, Some(total), bytes);
            }
            Next::Done(answer) => break answer,
        }
    };
    progress.finish();
    if !context.json {
        context.print(&render::import::report(&answer, &context.data));
    }
    let list = format!("rhizome data ls {}", answer.collection);
    let undo = format!("rhizome import undo {}", answer.batch);
    context.next_steps(&[(&list, "see them"), (&undo, "take it back")]);
    Ok(if answer.failed.is_empty() { Exit::Ok } else { Exit::Partial })
}

async fn undo(args: UndoArgs, context: &Context) -> Result<Exit, ApiError> {
    prompt::confirm(context, &format!("Take back import {}?", args.batch)).await?;
    let request = UndoRequest { batch: args.batch };
    let answer = context.answer::<ImportUndo>(&request, render::import::undone).await?;
    Ok(if answer.kept.is_empty() { Exit::Ok } else { Exit::Partial })
}

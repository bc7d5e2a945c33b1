//! `rhizome log`: events and segments as they are.

use crate::client::Next;
use crate::context::Context;
use crate::render;
use clap::{Args, Subcommand};
use rhizome_api::log::{TailEvent, TailRequest};
use rhizome_api::{ApiError, Empty, Exit, LogTail, LogVerify, Method};

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome log tail
  rhizome log tail --follow --json
  rhizome log verify
";

/// The verbs of `log`.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show the newest events.
    Tail(TailArgs),
    /// Read everything again and check every hash and signature.
    Verify,
}

/// Flags of `log tail`.
#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    /// Go on with those that follow.
    #[arg(short, long)]
    follow: bool,
    /// How many to begin with.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: u64,
}

impl LogCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Tail(_) => LogTail::NAME,
            Self::Verify => LogVerify::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: LogCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        LogCommand::Tail(args) => {
            let request = TailRequest { follow: args.follow, limit: Some(args.limit) };
            let mut events = context.client().await?.stream::<LogTail>(&request).await?;
            while let Next::Event(TailEvent::Entry(entry)) = context.next(&mut events).await? {
                if !context.json {
                    context.print(&render::log::entry(&entry, &context.data));
                }
            }
            Ok(Exit::Ok)
        }
        LogCommand::Verify => {
            let answer = context.answer::<LogVerify>(&Empty {}, render::log::verify).await?;
            if answer.damage.iter().any(|damage| !damage.repaired) {
                context.next_steps(&[("rhizome doctor", "see what can be repaired")]);
                return Ok(Exit::Damaged);
            }
            Ok(Exit::Ok)
        }
    }
}

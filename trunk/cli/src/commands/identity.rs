//! `rhizome identity`: several identities on one computer, which share nothing.

use crate::context::Context;
use crate::render;
use clap::{Args, Subcommand, ValueEnum};
use rhizome_api::identity::{CreateRequest, UseRequest};
use rhizome_api::{
    ApiError, DeviceKind, Empty, Exit, IdentityCreate, IdentityList, IdentityUse, Method,
};

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome identity list
  rhizome identity create Work --device-name laptop
  rhizome identity use Work
";

/// The verbs of `identity`.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Create another identity.
    Create(CreateArgs),
    /// List the identities on this computer.
    List,
    /// Choose the identity that every other command speaks about.
    Use(UseArgs),
}

/// Flags of `identity create`.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// What it is called.
    name: String,
    /// What this device is called in it [default: the computer's name].
    #[arg(long, value_name = "NAME")]
    device_name: Option<String>,
    /// What this device is [default: guessed].
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
}

/// Flags of `identity use`.
#[derive(Args, Debug)]
pub(crate) struct UseArgs {
    /// Its name, its id, or the start of its id.
    identity: String,
}

/// What a device is, as it is typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum KindArg {
    /// Stands on a desk, mostly on.
    Desktop,
    /// Sleeps in a bag.
    Laptop,
    /// Sleeps in a pocket.
    Phone,
    /// A server or storage box at home, always on.
    HomeServer,
}

impl From<KindArg> for DeviceKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Desktop => Self::Desktop,
            KindArg::Laptop => Self::Laptop,
            KindArg::Phone => Self::Phone,
            KindArg::HomeServer => Self::HomeServer,
        }
    }
}

impl IdentityCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Create(_) => IdentityCreate::NAME,
            Self::List => IdentityList::NAME,
            Self::Use(_) => IdentityUse::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: IdentityCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        IdentityCommand::Create(args) => {
            let request = CreateRequest {
                name: args.name,
                device_name: args.device_name,
                kind: args.kind.map(Into::into),
            };
            let dir = context.dir.display().to_string();
            let render = |answer: &_, look: &_| render::identity::created(answer, &dir, look);
            let answer = context.answer::<IdentityCreate>(&request, render).await?;
            let switch = format!("rhizome identity use {}", answer.identity.name);
            context.next_steps(&[(&switch, "speak about it from now on")]);
        }
        IdentityCommand::List => {
            context.answer::<IdentityList>(&Empty {}, render::identity::list).await?;
        }
        IdentityCommand::Use(args) => {
            let request = UseRequest { id: args.identity };
            context.answer::<IdentityUse>(&request, render::identity::chosen).await?;
            context.next_steps(&[("rhizome status", "see how it is")]);
        }
    }
    Ok(Exit::Ok)
}

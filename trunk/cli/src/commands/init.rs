//! `rhizome init`: an identity with this computer as its first device.

use crate::commands::identity::KindArg;
use crate::context::Context;
use crate::{prompt, render};
use clap::Args;
use rhizome_api::identity::{CreateAnswer, CreateRequest};
use rhizome_api::{ApiError, Empty, Exit, IdentityCreate, Problem, Status};

/// Flags of `init`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome init --name Ana
  rhizome init --name Ana --device-name laptop --kind laptop
")]
pub(crate) struct InitArgs {
    /// What the identity is called; asked for if not given.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What this device is called [default: the computer's name].
    #[arg(long, value_name = "NAME")]
    device_name: Option<String>,
    /// What this device is [default: guessed].
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
}

/// Creates the identity. Running it again changes nothing and says what is there.
pub(super) async fn perform(args: InitArgs, context: &Context) -> Result<Exit, ApiError> {
    let client = context.client().await?;
    let (status, _) = client.call::<Status>(&Empty {}).await?;
    if let Some(identity) = status.identity {
        if args.name.as_ref().is_some_and(|name| *name != identity.name) {
            let message = format!("there is an identity here already, called {}", identity.name);
            return Err(ApiError::new(Problem::EXISTS, message).hint("rhizome identity create"));
        }
        let device = status.devices.into_iter().find(|device| device.this).unwrap_or_default();
        let answer = CreateAnswer { identity, device };
        context.show::<IdentityCreate>(&answer, &[], render::identity::already);
        return Ok(Exit::Ok);
    }
    let name = match args.name {
        Some(name) => name,
        None => {
            let question = "What should we call this identity? (your name, for example)";
            prompt::line(context, question, "--name NAME").await?
        }
    };
    let request =
        CreateRequest { name, device_name: args.device_name, kind: args.kind.map(Into::into) };
    let (answer, warnings) = client.call::<IdentityCreate>(&request).await?;
    let dir = context.dir.display().to_string();
    context.show::<IdentityCreate>(&answer, &warnings, |answer, look| {
        render::identity::created(answer, &dir, look)
    });
    context.next_steps(&[
        ("rhizome import markdown FOLDER", "bring your notes"),
        ("rhizome device link", "link your other devices"),
        ("rhizome recovery kit", "write down your recovery kit, once there is something to lose"),
    ]);
    Ok(Exit::Ok)
}

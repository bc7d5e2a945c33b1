//! `rhizome device`: seeing, linking, naming and losing devices.

use crate::client::{Client, Next};
use crate::commands::identity::KindArg;
use crate::context::Context;
use crate::progress::Progress;
use crate::{prompt, render};
use clap::{Args, Subcommand};
use rhizome_api::device::{
    AwayRequest, JoinEvent, JoinRequest, LinkConfirmRequest, LinkEvent, LinkRequest, LostRequest,
    RenameRequest,
};
use rhizome_api::{
    ApiError, DeviceAway, DeviceJoin, DeviceLink, DeviceLinkCancel, DeviceLinkConfirm, DeviceList,
    DeviceLost, DeviceRename, Empty, Exit, Method,
};
use std::path::PathBuf;

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome device list
  rhizome device link                     on a device you have
  rhizome device join                     on the new device
  rhizome device lost \"Ana's phone\" --dry-run
";

/// The verbs of `device`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the devices.
    List,
    /// Show a code for a new device, and admit it.
    Link(LinkArgs),
    /// Join the identity of the device that shows a code.
    Join(JoinArgs),
    /// Give a device another name.
    Rename(RenameArgs),
    /// Count a device as away for long, so that nobody waits for it.
    Away(AwayArgs),
    /// Remove a device that is lost, and change the keys.
    Lost(LostArgs),
}

/// Flags of `device link`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome device link
  rhizome device link --session ID --digits 273118     answer from another terminal
")]
pub(crate) struct LinkArgs {
    /// The six digits the new device shows, for the linking that waits already.
    #[arg(long, requires = "session", value_name = "DIGITS")]
    digits: Option<String>,
    /// Which linking the digits are for.
    #[arg(long, requires = "digits", value_name = "ID")]
    session: Option<String>,
    /// Burn the code that is being shown.
    #[arg(long, conflicts_with_all = ["digits", "session"])]
    cancel: bool,
}

/// Flags of `device join`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome device join
  rhizome device join --at 192.0.2.7:7733
  printf 7-crossover-clockwork | rhizome device join --code-file - --name phone --kind phone
")]
pub(crate) struct JoinArgs {
    /// A file with the code, or - for standard input; asked for if not given.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// What this device will be called [default: the computer's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What this device is [default: guessed].
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// Where to look besides the local network; may be given again.
    #[arg(long, value_name = "HOST:PORT")]
    at: Vec<String>,
}

/// Flags of `device rename`.
#[derive(Args, Debug)]
pub(crate) struct RenameArgs {
    /// Its name, its id, or the start of its id.
    device: String,
    /// The new name.
    name: String,
}

/// Flags of `device away`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome device away \"old phone\"          it lies in a drawer
  rhizome device away \"old phone\" --back   it says so itself when it connects
")]
pub(crate) struct AwayArgs {
    /// Its name, its id, or the start of its id.
    device: String,
    /// It is back.
    #[arg(long)]
    back: bool,
}

/// Flags of `device lost`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome device lost \"Ana's phone\" --dry-run
  rhizome device lost laptop --confirm laptop --words-file kit.txt
")]
pub(crate) struct LostArgs {
    /// Its name, its id, or the start of its id.
    device: String,
    /// Its name once more, instead of typing it when asked.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// A file with the words of the recovery kit, or - for standard input; asked for if needed.
    #[arg(long, value_name = "FILE")]
    words_file: Option<PathBuf>,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

impl DeviceCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::List => DeviceList::NAME,
            Self::Link(LinkArgs { cancel: true, .. }) => DeviceLinkCancel::NAME,
            Self::Link(LinkArgs { digits: Some(_), .. }) => DeviceLinkConfirm::NAME,
            Self::Link(_) => DeviceLink::NAME,
            Self::Join(_) => DeviceJoin::NAME,
            Self::Rename(_) => DeviceRename::NAME,
            Self::Away(_) => DeviceAway::NAME,
            Self::Lost(_) => DeviceLost::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: DeviceCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        DeviceCommand::List => {
            context.answer::<DeviceList>(&Empty {}, render::device::list).await?;
        }
        DeviceCommand::Link(args) => link_or_answer(args, context).await?,
        DeviceCommand::Join(args) => join(args, context).await?,
        DeviceCommand::Rename(args) => {
            let request = RenameRequest { device: args.device, name: args.name };
            context.answer::<DeviceRename>(&request, render::device::renamed).await?;
        }
        DeviceCommand::Away(args) => {
            let request = AwayRequest { device: args.device, back: args.back };
            context.answer::<DeviceAway>(&request, render::device::away).await?;
        }
        DeviceCommand::Lost(args) => lost(args, context).await?,
    }
    Ok(Exit::Ok)
}

async fn link_or_answer(args: LinkArgs, context: &Context) -> Result<(), ApiError> {
    if args.cancel {
        context.answer::<DeviceLinkCancel>(&Empty {}, |_, _| String::new()).await?;
        context.say("The code is burned.");
        return Ok(());
    }
    if let (Some(session), Some(digits)) = (args.session, args.digits) {
        let request = LinkConfirmRequest { session, digits: only_digits(&digits) };
        context.answer::<DeviceLinkConfirm>(&request, |_, _| String::new()).await?;
        return Ok(());
    }
    link(context).await
}

/// Shows the code, takes the digits from the person, and waits for the newcomer.
async fn link(context: &Context) -> Result<(), ApiError> {
    let client = context.client().await?;
    let mut events = client.stream::<DeviceLink>(&LinkRequest {}).await?;
    let mut asking = None;
    loop {
        // The stream goes on while the person types: the code may expire meanwhile.
        let next = match asking.take() {
            None => context.next(&mut events).await?,
            Some(session) => tokio::select! {
                next = context.next(&mut events) => next?,
                answered = confirm(context, &client, session) => {
                    answered?;
                    continue;
                }
            },
        };
        match next {
            Next::Event(event @ LinkEvent::Code { .. }) => {
                context.say(&render::device::code(&event, &context.errors));
            }
            Next::Event(LinkEvent::Asking { session, name, kind, address }) => {
                let asks = render::device::asking(&name, kind, &address, &context.errors);
                context.say(&asks);
                if context.may_ask() {
                    asking = Some(session);
                } else {
                    let answer = format!("rhizome device link --session {session} --digits DIGITS");
                    context.next_steps(&[(&answer, "with the digits it shows")]);
                }
            }
            Next::Event(LinkEvent::Linked { .. }) => {}
            Next::Done(answer) => {
                if !context.json {
                    context.print(&render::device::linked(&answer.device, &context.data));
                }
                context.next_steps(&[
                    ("rhizome device list", "see how far it is"),
                    ("rhizome recovery kit", "write down your recovery kit"),
                ]);
                return Ok(());
            }
        }
    }
}

async fn confirm(context: &Context, client: &Client, session: String) -> Result<(), ApiError> {
    let question = "Type the 6 digits shown on the new device:";
    let typed = prompt::line(context, question, "--session ID --digits DIGITS").await?;
    let request = LinkConfirmRequest { session, digits: only_digits(&typed) };
    client.call::<DeviceLinkConfirm>(&request).await?;
    Ok(())
}

/// Digits as people type them, with spaces or a dash between.
fn only_digits(typed: &str) -> String {
    typed.chars().filter(|character| !character.is_whitespace() && *character != '-').collect()
}

async fn join(args: JoinArgs, context: &Context) -> Result<(), ApiError> {
    let question = "Type the code that the other device shows:";
    let code =
        prompt::secret(context, args.code_file.as_deref(), question, "--code-file FILE").await?;
    let request =
        JoinRequest { code, name: args.name, kind: args.kind.map(Into::into), at: args.at };
    let client = context.client().await?;
    let mut events = client.stream::<DeviceJoin>(&request).await?;
    let progress = Progress::new(context, "documents");
    loop {
        match context.next(&mut events).await? {
            Next::Event(JoinEvent::Digits { digits }) => {
                let shown = render::device::digits(&digits, &context.errors);
                progress.aside(|| context.say(&shown));
            }
            Next::Event(JoinEvent::Progress { documents, bytes, total }) => {
                progress.set(documents, total, bytes);
            }
            Next::Event(JoinEvent::Joined { identity, adopted }) => {
                let shown = render::device::joined(&identity, adopted, &context.errors);
                progress.aside(|| context.say(&shown));
            }
            Next::Done(answer) => {
                progress.finish();
                if !context.json {
                    context.print(&render::device::join_done(&answer, &context.data));
                }
                context.next_steps(&[("rhizome status", "see how it is")]);
                return Ok(());
            }
        }
    }
}

/// Says what will happen, has the name typed, and the words where they are needed; then does it.
async fn lost(args: LostArgs, context: &Context) -> Result<(), ApiError> {
    let device = args.device;
    let plan = LostRequest { device: device.clone(), dry_run: true, ..LostRequest::default() };
    if args.dry_run {
        context.answer::<DeviceLost>(&plan, render::device::lost).await?;
        return Ok(());
    }
    let (planned, _) = context.client().await?.call::<DeviceLost>(&plan).await?;
    let confirm = match args.confirm {
        Some(name) => name,
        None => {
            context.say(&render::device::lost(&planned, &context.errors));
            prompt::line(context, "Type the device name to confirm:", "--confirm=NAME").await?
        }
    };
    // Without a terminal the pod says what is missing.
    let asks = planned.needs_kit.is_some() && context.may_ask();
    let words = match args.words_file.as_deref() {
        None if !asks => None,
        file => {
            Some(prompt::secret(context, file, prompt::KIT_QUESTION, "--words-file FILE").await?)
        }
    };
    let request = LostRequest { device, confirm: Some(confirm), words, dry_run: false };
    context.answer::<DeviceLost>(&request, render::device::lost).await?;
    context.next_steps(&[
        ("rhizome status", "see who knows it already"),
        ("rhizome device link", "link a new device in its place"),
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_may_be_typed_in_groups() {
        assert_eq!(only_digits(" 273 118 "), "273118");
        assert_eq!(only_digits("273-118"), "273118");
        assert_eq!(only_digits("27311x"), "27311x");
    }
}

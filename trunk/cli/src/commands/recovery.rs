//! `rhizome recovery`: the kit, its rehearsal, and the day it is needed.
//!
//! Words never come from flags: they are read from a file, from standard input, or typed.

use crate::client::{Client, Next};
use crate::commands::identity::KindArg;
use crate::context::Context;
use crate::progress::Progress;
use crate::{parse, prompt, render};
use clap::{Args, Subcommand};
use rhizome_api::recovery::{
    ConfirmRequest, KitAnswer, KitWord, RestoreAnswer, RestoreEvent, RestoreRequest, TestAnswer,
    TestEvent, TestRequest,
};
use rhizome_api::{
    ApiError, Empty, Exit, Method, Problem, RecoveryConfirm, RecoveryKit, RecoveryRestore,
    RecoveryTest, Secret,
};
use std::path::PathBuf;

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome recovery kit
  rhizome recovery test
  rhizome recovery restore --peer pods.example.org:7733
";

/// The verbs of `recovery`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecoveryCommand {
    /// Show the recovery kit, and confirm that it was written down.
    Kit(KitArgs),
    /// Rehearse a recovery into a temporary folder.
    Test(TestArgs),
    /// Bring everything back from the words and a peer's encrypted copy.
    Restore(RestoreArgs),
}

/// Flags of `recovery kit`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome recovery kit
  rhizome recovery kit --answers-file answers.txt     lines such as: 3 crossover
")]
pub(crate) struct KitArgs {
    /// Confirm with the words in this file, or - for standard input; nothing is shown then.
    #[arg(long, value_name = "FILE")]
    answers_file: Option<PathBuf>,
}

/// Flags of `recovery test`.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// A file with the words, or - for standard input; asked for if they are needed.
    #[arg(long, value_name = "FILE")]
    words_file: Option<PathBuf>,
}

/// Flags of `recovery restore`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome recovery restore --peer pods.example.org:7733
  rhizome recovery restore --peer pods.example.org:7733 --words-file kit.txt --retire laptop
  rhizome recovery restore --peer pods.example.org:7733 --dry-run
")]
pub(crate) struct RestoreArgs {
    /// Who has the encrypted copy: its invitation, or HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    peer: String,
    /// A file with the words, or - for standard input; asked for if not given.
    #[arg(long, value_name = "FILE")]
    words_file: Option<PathBuf>,
    /// What this device will be called [default: the computer's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What this device is [default: guessed].
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// A device that is gone; may be given again.
    #[arg(long, value_name = "DEVICE")]
    retire: Vec<String>,
    /// Only look what is there.
    #[arg(long)]
    dry_run: bool,
}

impl RecoveryCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Kit(KitArgs { answers_file: Some(_) }) => RecoveryConfirm::NAME,
            Self::Kit(_) => RecoveryKit::NAME,
            Self::Test(_) => RecoveryTest::NAME,
            Self::Restore(_) => RecoveryRestore::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: RecoveryCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        RecoveryCommand::Kit(args) => kit(args, context).await,
        RecoveryCommand::Test(args) => rehearse(args, context).await,
        RecoveryCommand::Restore(args) => restore(args, context).await,
    }
}

async fn kit(args: KitArgs, context: &Context) -> Result<Exit, ApiError> {
    if let Some(file) = args.answers_file {
        let typed = parse::kit_words(&prompt::read_text(&file)?)
            .map_err(|message| ApiError::new(Problem::USAGE, message))?;
        let words = typed.into_iter().map(|(at, word)| kit_word(at, word)).collect();
        let request = ConfirmRequest { answers: words };
        context.answer::<RecoveryConfirm>(&request, render::recovery::confirmed).await?;
        return Ok(Exit::Ok);
    }
    let shown = context.answer::<RecoveryKit>(&Empty {}, render::recovery::kit).await?;
    if !context.may_ask() {
        let confirm = "rhizome recovery kit --answers-file FILE";
        context.next_steps(&[(confirm, "confirm that it was written down")]);
        return Ok(Exit::Ok);
    }
    let request = ConfirmRequest { answers: ask_words(&shown, context).await? };
    let (answer, _) = context.client().await?.call::<RecoveryConfirm>(&request).await?;
    context.say(render::recovery::confirmed(&answer, &context.errors).trim_end());
    context.next_steps(&[("rhizome recovery test", "rehearse a recovery")]);
    Ok(Exit::Ok)
}

const fn kit_word(position: u64, word: String) -> KitWord {
    KitWord { position, word: Secret(word) }
}

async fn ask_words(kit: &KitAnswer, context: &Context) -> Result<Vec<KitWord>, ApiError> {
    let mut answers = Vec::new();
    for position in &kit.check_positions {
        let question = format!("Type word {position}, from what you wrote down:");
        let word = prompt::line(context, &question, "--answers-file FILE").await?;
        answers.push(kit_word(*position, word));
    }
    Ok(answers)
}

/// Rehearses with the seed that is still here, or with the words once it was wiped.
async fn rehearse(args: TestArgs, context: &Context) -> Result<Exit, ApiError> {
    let client = context.client().await?;
    let typed = |file: Option<PathBuf>| async move {
        prompt::secret(context, file.as_deref(), prompt::KIT_QUESTION, "--words-file FILE").await
    };
    let words = match args.words_file {
        Some(file) => Some(typed(Some(file)).await?),
        None => None,
    };
    let given = words.is_some();
    let answer = match run_test(&client, TestRequest { words }, context).await {
        Err(error) if error.id == Problem::KIT_WIPED.id && !given && context.may_ask() => {
            let words = Some(typed(None).await?);
            run_test(&client, TestRequest { words }, context).await?
        }
        other => other?,
    };
    if !context.json {
        context.print(&render::recovery::tested(&answer, &context.data));
    }
    Ok(if answer.complete { Exit::Ok } else { Exit::Damaged })
}

async fn run_test(
    client: &Client,
    request: TestRequest,
    context: &Context,
) -> Result<TestAnswer, ApiError> {
    let mut events = client.stream::<RecoveryTest>(&request).await?;
    let progress = Progress::new(context, "documents");
    loop {
        match context.next(&mut events).await? {
            Next::Event(TestEvent::Progress(now)) => {
                progress.set(now.documents, now.documents_total, now.bytes);
            }
            Next::Done(answer) => return Ok(answer),
        }
    }
}

/// Looks first and asks, where there is somebody to ask; then brings everything back.
async fn restore(args: RestoreArgs, context: &Context) -> Result<Exit, ApiError> {
    let file = args.words_file.as_deref();
    let words = prompt::secret(context, file, prompt::KIT_QUESTION, "--words-file FILE").await?;
    let mut request = RestoreRequest {
        words,
        peer: args.peer,
        name: args.name,
        kind: args.kind.map(Into::into),
        retire: args.retire,
        dry_run: args.dry_run,
    };
    let client = context.client().await?;
    if !request.dry_run && context.may_ask() && !context.yes {
        let look = RestoreRequest { dry_run: true, ..request.clone() };
        run_restore(&client, &look, context).await?;
        prompt::confirm(context, "Bring it back onto this computer?").await?;
        if request.retire.is_empty() {
            let question = "Which devices are gone? Names with commas between, or nothing:";
            request.retire = names(&prompt::line(context, question, "--retire DEVICE").await?);
        }
    }
    let answer = run_restore(&client, &request, context).await?;
    if !context.json {
        context.print(&render::recovery::restored(&answer, request.dry_run, &context.data));
    }
    if !request.dry_run {
        context.next_steps(&[
            ("rhizome status", "see how it is"),
            ("rhizome device list", "see who is still missing"),
        ]);
    }
    Ok(Exit::Ok)
}

fn names(typed: &str) -> Vec<String> {
    let parts = typed.split(',').map(str::trim);
    parts.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

async fn run_restore(
    client: &Client,
    request: &RestoreRequest,
    context: &Context,
) -> Result<RestoreAnswer, ApiError> {
    let mut events = client.stream::<RecoveryRestore>(request).await?;
    let progress = Progress::new(context, "documents");
    loop {
        match context.next(&mut events).await? {
            Next::Event(RestoreEvent::Found { name, devices, last_change_ms }) => {
                let found =
                    render::recovery::found(&name, &devices, last_change_ms, &context.errors);
                progress.aside(|| context.say(&found));
            }
            Next::Event(RestoreEvent::Progress(now)) => {
                progress.set(now.documents, now.documents_total, now.bytes);
            }
            Next::Done(answer) => return Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_separated_by_commas() {
        assert_eq!(names(" old laptop , phone,,"), ["old laptop", "phone"]);
        assert_eq!(names(""), Vec::<String>::new());
    }
}

//! `rhizome demo`: a laptop, a phone and a cloud peer as real processes on this computer.
//!
//! Each is a process of this very binary with a folder of its own. They talk over loopback through
//! cables that this process holds, cuts below QUIC, and counts the bytes of. Everything shown is
//! asked over their local API, as any other command would ask it; nothing is decided here. When
//! this process ends, whatever the reason, the three end with it.

mod figures;
mod floor;
mod network;
mod notes;
mod outage;
mod people;
mod places;
mod recovery;
mod sample;
mod source;
mod story;

use crate::context::Context;
use crate::platform;
use clap::Args;
use figures::Figures;
use places::Place;
use rhizome_api::recovery::KitAnswer;
use rhizome_api::{ApiError, Envelope, Exit, Problem, schema_name};
use std::path::{Path, PathBuf};
use std::time::Instant;
use story::Story;

/// What `--json` calls the answer.
pub(crate) const NAME: &str = "demo";

/// Flags of `demo`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome demo
  rhizome demo ~/notes
  rhizome demo ~/Takeout/Keep --dir ~/demo
")]
pub(crate) struct DemoArgs {
    /// Notes to bring in: a folder or zip of Markdown or Keep notes, or a CSV file [default: twelve
    /// sample notes].
    path: Option<PathBuf>,
    /// Keep the folder of the three pods afterwards; so it is unless --remove is given.
    #[arg(long, overrides_with = "remove")]
    keep: bool,
    /// Remove the folder of the three pods afterwards.
    #[arg(long, overrides_with = "keep")]
    remove: bool,
}

/// Everything on stage. Dropping it ends the processes.
struct Stage<'a> {
    story: Story<'a>,
    root: PathBuf,
    laptop: Place,
    phone: Place,
    cloud: Place,
    /// What `peer add` and `recovery restore` are given, through the cable.
    cloud_invite: String,
    kit: KitAnswer,
    figures: Figures,
}

/// Shows it all, prints what was measured, and leaves three stopped pods.
pub(crate) async fn perform(args: DemoArgs, context: &Context) -> Result<Exit, ApiError> {
    let since = Instant::now();
    let chosen = source::choose(args.path.as_deref())?;
    let root = folder(context)?;
    let mut stage = set_up(context, root.clone()).await?;
    stage.figures.started_ms = figures::ms(since.elapsed());
    stage.story.found("laptop, phone and cloud peer run, each a process", since.elapsed());
    stage.story.note("every packet between them goes through a cable that this demo holds");
    people::show(&mut stage).await?;
    notes::show(&mut stage, chosen).await?;
    network::show(&mut stage).await?;
    outage::show(&mut stage).await?;
    recovery::show(&mut stage).await?;
    stage.figures.wire = [&stage.laptop, &stage.phone, &stage.cloud]
        .into_iter()
        .map(Place::carried)
        .fold(figures::Wire::default(), figures::Wire::plus);
    for place in [&mut stage.laptop, &mut stage.phone, &mut stage.cloud] {
        place.stop().await?;
    }
    stage.figures.took_ms = figures::ms(since.elapsed());
    let figures = std::mem::take(&mut stage.figures);
    drop(stage);
    tell(&figures, context);
    leave(&args, &root, context)?;
    Ok(Exit::Ok)
}

/// A folder that is nobody's pod yet.
fn folder(context: &Context) -> Result<PathBuf, ApiError> {
    let root = match &context.named_dir {
        Some(dir) => std::path::absolute(dir).map_err(|error| unusable(dir, &error))?,
        None => {
            let mut name = [0; 6];
            getrandom::fill(&mut name).map_err(|error| {
                ApiError::new(Problem::INTERNAL, "no randomness for a name").caused_by(&error)
            })?;
            let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
            std::env::temp_dir().join(format!("rhizome-demo-{name}"))
        }
    };
    platform::create_private_dir(&root).map_err(|error| unusable(&root, &error))?;
    let mut held = std::fs::read_dir(&root).map_err(|error| unusable(&root, &error))?;
    if held.next().is_some() {
        let message = format!("folder {} is not empty", root.display());
        return Err(ApiError::new(Problem::EXISTS, message).hint("rhizome demo --dir NEW_FOLDER"));
    }
    Ok(root)
}

fn unusable(path: &Path, source: &std::io::Error) -> ApiError {
    let message = format!("folder {} cannot be used", path.display());
    ApiError::new(Problem::LOCAL_FILE, message).caused_by(source)
}

/// Lays the cables and starts the three processes behind them.
async fn set_up(context: &Context, root: PathBuf) -> Result<Stage<'_>, ApiError> {
    let mut story = Story::new(context);
    story.title(&format!("Three devices on this computer, in {}", root.display()));
    story.chapter("Start");
    let [mut laptop, mut phone, mut cloud] = Place::lay_all(&root).await?;
    tokio::try_join!(laptop.start(), phone.start(), cloud.start())?;
    Ok(Stage {
        story,
        cloud_invite: String::new(),
        kit: KitAnswer::default(),
        figures: Figures { dir: root.display().to_string(), ..Figures::default() },
        root,
        laptop,
        phone,
        cloud,
    })
}

/// Prints the figures: as a table, or as one object.
fn tell(figures: &Figures, context: &Context) {
    if context.json {
        context.print_json(&Envelope {
            schema: schema_name(NAME),
            ok: true,
            data: Some(figures),
            error: None,
            warnings: Vec::new(),
        });
    } else {
        context.say("");
        context.print(&figures.table(&context.data));
    }
}

/// Says where the pods are, or removes them.
fn leave(args: &DemoArgs, root: &Path, context: &Context) -> Result<(), ApiError> {
    context.say("");
    if args.remove && !args.keep {
        std::fs::remove_dir_all(root).map_err(|error| unusable(root, &error))?;
        context.say("All three pods have stopped and are removed.");
        return Ok(());
    }
    context.say(&format!("All three pods have stopped and stay in {}.", root.display()));
    let on = |place: &str, ask: &str| format!("rhizome --dir {} {ask}", root.join(place).display());
    let (status, notes) = (on("laptop", "status"), on("phone", "data ls notes"));
    context.next_steps(&[(&status, "look at the laptop"), (&notes, "read on the phone")]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = Context::for_tests();
        context.named_dir = Some(dir.path().join("new"));
        assert_eq!(folder(&context).unwrap(), dir.path().join("new"));
        context.named_dir = Some(dir.path().to_owned());
        let error = folder(&context).unwrap_err();
        assert_eq!((error.id.as_str(), error.exit), ("RZ-0106", 6));
    }

    #[test]
    fn without_a_name_each_demo_has_a_folder_of_its_own() {
        let context = Context::for_tests();
        let (one, other) = (folder(&context).unwrap(), folder(&context).unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with(std::env::temp_dir()));
        std::fs::remove_dir(one).unwrap();
        std::fs::remove_dir(other).unwrap();
    }

    #[test]
    fn the_later_of_keep_and_remove_counts() {
        let read = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(Into::into).collect();
            match crate::arguments::read(&words).unwrap().command {
                crate::arguments::Command::Demo(args) => args.remove && !args.keep,
                other => panic!("{other:?}"),
            }
        };
        assert!(!read(&["rhizome", "demo"]));
        assert!(read(&["rhizome", "demo", "--keep", "--remove"]));
        assert!(!read(&["rhizome", "demo", "--remove", "--keep"]));
    }
}

//! What every command needs: where the pod is, how to write, whether to ask.

use crate::arguments::Global;
use crate::client::{Client, Events, Next};
use crate::daemon;
use crate::look::{ColorFacts, Look, Tone};
use anstream::{AutoStream, ColorChoice};
use rhizome_api::{ApiError, Envelope, Method, Problem, StreamLine};
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything about this run of the command that does not depend on which command it is.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The folder of the pod, absolute.
    pub(crate) dir: PathBuf,
    /// The folder, if a flag named it.
    pub(crate) named_dir: Option<PathBuf>,
    /// Whether programs read along.
    pub(crate) json: bool,
    /// Whether to assume yes.
    pub(crate) yes: bool,
    /// How data looks, on standard output.
    pub(crate) data: Look,
    /// How messages look, on standard error.
    pub(crate) errors: Look,
    /// Whether a pod may be started.
    start: bool,
    quiet: bool,
    verbose: u8,
    ask: bool,
    animate: bool,
    sink: Sink,
}

/// Where data and messages go.
#[derive(Clone, Debug)]
enum Sink {
    /// To the standard streams.
    Standard,
    /// To a test: data and messages in the order they were written.
    #[cfg(test)]
    Kept(std::sync::Arc<std::sync::Mutex<String>>),
}

impl Context {
    /// Reads flags, then the environment, then what is usual on this system.
    pub(crate) fn new(global: &Global) -> Result<Self, ApiError> {
        let variable = |name: &str| std::env::var(name).ok();
        let (no_color, force_color) = (variable("NO_COLOR"), variable("FORCE_COLOR"));
        let term = variable("TERM");
        let look = |terminal: bool| Look {
            color: ColorFacts {
                forbidden: global.no_color,
                terminal,
                no_color: no_color.as_deref(),
                force_color: force_color.as_deref(),
                term: term.as_deref(),
            }
            .wanted(),
            plain: global.plain,
            now_ms: now_ms(),
        };
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Ok(Self {
            dir: pod_dir(global.dir.clone())?,
            named_dir: global.dir.clone(),
            json: global.json,
            yes: global.yes,
            data: look(out),
            errors: look(err),
            start: !global.no_start,
            quiet: global.quiet,
            verbose: global.verbose,
            ask: std::io::stdin().is_terminal() && err && !global.no_input && !global.json,
            sink: Sink::Standard,
            animate: err && !global.quiet && !global.json && term.as_deref() != Some("dumb"),
        })
    }

    /// A context without terminal, which keeps what is written.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            dir: PathBuf::from("/pod"),
            named_dir: None,
            json: false,
            yes: false,
            data: Look::bare(),
            errors: Look::bare(),
            start: false,
            quiet: false,
            verbose: 0,
            ask: false,
            animate: false,
            sink: Sink::Kept(std::sync::Arc::default()),
        }
    }

    /// What was written so far; messages begin with `2> `.
    #[cfg(test)]
    pub(crate) fn written(&self) -> String {
        match &self.sink {
            Sink::Standard => String::new(),
            Sink::Kept(text) => text.lock().unwrap().clone(),
        }
    }

    /// Whether the person can be asked.
    pub(crate) const fn may_ask(&self) -> bool {
        self.ask
    }

    /// Whether something may move on the screen.
    pub(crate) const fn may_animate(&self) -> bool {
        self.animate
    }

    /// How much a pod in this process should say.
    pub(crate) const fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// A client of the pod, which is started if need be.
    pub(crate) async fn client(&self) -> Result<Client, ApiError> {
        let (client, ping) = daemon::reach(&self.dir, self.start).await?;
        if self.verbose > 0 {
            self.say(&format!("pod {} of version {}", ping.pid, ping.version));
        }
        if !ping.version.is_empty() && ping.version != env!("CARGO_PKG_VERSION") {
            self.warn(&format!("the pod is of version {}; restart it: rhizome stop", ping.version));
        }
        Ok(client)
    }

    /// A client of the pod if one runs; none is started.
    pub(crate) async fn running_client(&self) -> Result<Client, ApiError> {
        Ok(daemon::reach(&self.dir, false).await?.0)
    }

    /// Asks `M` and prints the answer: as its envelope, or as `render` shows it.
    pub(crate) async fn answer<M: Method>(
        &self,
        request: &M::Request,
        render: impl FnOnce(&M::Answer, &Look) -> String,
    ) -> Result<M::Answer, ApiError>
    where
        M::Answer: Clone,
    {
        let (answer, warnings) = self.client().await?.call::<M>(request).await?;
        self.show::<M>(&answer, &warnings, render);
        Ok(answer)
    }

    /// Prints an answer that is here already.
    pub(crate) fn show<M: Method>(
        &self,
        answer: &M::Answer,
        warnings: &[String],
        render: impl FnOnce(&M::Answer, &Look) -> String,
    ) where
        M::Answer: Clone,
    {
        if self.json {
            let envelope = Envelope::answer::<M>(answer.clone(), warnings.to_vec());
            self.print_json(&envelope);
            return;
        }
        for warning in warnings {
            self.warn(warning);
        }
        self.print(&render(answer, &self.data));
    }

    /// Takes the next of a stream and, where programs read along, prints it as a line.
    pub(crate) async fn next<M: Method>(&self, events: &mut Events<M>) -> Result<Next<M>, ApiError>
    where
        M::Answer: Clone,
        M::Event: Clone,
    {
        let next = events.next().await?;
        if self.json {
            let line: StreamLine<M> = match &next {
                Next::Event(event) => StreamLine::Event(event.clone()),
                Next::Done(answer) => StreamLine::Done(answer.clone()),
            };
            let text =
                line.to_text().map_err(|error| ApiError::from_error(Problem::INTERNAL, &error))?;
            self.print(&(text + "\n"));
        }
        Ok(next)
    }

    /// Data, for standard output. When nobody reads on, there is nothing left to do.
    pub(crate) fn print(&self, text: &str) {
        #[cfg(test)]
        if let Sink::Kept(kept) = &self.sink {
            kept.lock().unwrap().push_str(text);
            return;
        }
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            let broken = error.kind() == ErrorKind::BrokenPipe;
            std::process::exit(i32::from(!broken));
        }
    }

    /// Data as one line of JSON.
    pub(crate) fn print_json(&self, value: &impl serde::Serialize) {
        let text = serde_json::to_string(value).expect("answers always become JSON");
        self.print(&(text + "\n"));
    }

    /// A message for the person.
    pub(crate) fn say(&self, message: &str) {
        if !self.quiet && !self.json {
            self.message(&format!("{message}\n"));
        }
    }

    /// A message that matters even to who wants silence.
    pub(crate) fn warn(&self, message: &str) {
        let mark = self.errors.paint(Tone::Attention, "warning:");
        self.message(&format!("{mark} {message}\n"));
    }

    fn message(&self, text: &str) {
        match &self.sink {
            Sink::Standard => write_error(&self.errors, text),
            #[cfg(test)]
            Sink::Kept(kept) => kept.lock().unwrap().push_str(&format!("2> {text}")),
        }
    }

    /// The start of a question, without a line break.
    pub(crate) fn ask(&self, question: &str) {
        self.message(&format!("{question} "));
    }

    /// What the person may want to do next.
    pub(crate) fn next_steps(&self, steps: &[(&str, &str)]) {
        let width = steps.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        for (at, (command, why)) in steps.iter().enumerate() {
            let lead = if at == 0 { "Next:" } else { "     " };
            let command = self.errors.paint(Tone::Strong, format!("{command:<width$}"));
            self.say(&format!("{lead} {command}  {why}"));
        }
    }
}

/// Writes to standard error. It may be closed; there is nobody to tell then.
pub(crate) fn write_error(look: &Look, text: &str) {
    let choice = if look.color { ColorChoice::Always } else { ColorChoice::Never };
    drop(AutoStream::new(std::io::stderr(), choice).write_all(text.as_bytes()));
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn pod_dir(flag: Option<PathBuf>) -> Result<PathBuf, ApiError> {
    let named = flag.or_else(|| {
        std::env::var_os("RHIZOME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from)
    });
    let usual = || {
        let dirs = directories::ProjectDirs::from("", "", "rhizome")?;
        Some(dirs.data_dir().to_owned())
    };
    let dir = named.or_else(usual).ok_or_else(|| {
        ApiError::new(Problem::USAGE, "no home folder to keep the pod in").hint("… --dir FOLDER")
    })?;
    std::path::absolute(&dir).map_err(|source| {
        let message = format!("folder {} cannot be used", dir.display());
        ApiError::new(Problem::LOCAL_FILE, message).caused_by(&source)
    })
}

//! `rhizome run` and `rhizome stop`: the pod as a process.

use crate::config::PodConfig;
use crate::context::Context;
use clap::Args;
use rhizome_api::{ApiError, Empty, Exit, PodStop, Problem};
use rhizome_pod::PodOptions;
use std::net::SocketAddr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Flags of `run`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  rhizome run
  rhizome run --listen 0.0.0.0:7733
  rhizome run --host --listen 0.0.0.0:7733 --advertise pods.example.org:7733
  rhizome run --metrics 127.0.0.1:9464
")]
pub(crate) struct RunArgs {
    /// Where other devices reach this pod [default: loopback, a free port].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Host encrypted copies for other identities.
    #[arg(long)]
    host: bool,
    /// Neither look for devices on the local network nor be found there.
    #[arg(long)]
    no_lan: bool,
    /// An address to tell other devices, where it differs from --listen; may be given again.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Vec<String>,
    /// Show figures for Prometheus here, under /metrics.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

impl RunArgs {
    /// What the flags set.
    fn config(self) -> PodConfig {
        PodConfig {
            listen: self.listen,
            advertise: Some(self.advertise).filter(|all| !all.is_empty()),
            host: self.host.then_some(true),
            lan: self.no_lan.then_some(false),
            metrics: self.metrics,
        }
    }
}

/// Runs the pod until it is asked to stop.
pub(super) async fn perform(args: RunArgs, context: &Context) -> Result<Exit, ApiError> {
    log_to_stderr(context);
    let config = args.config().or(PodConfig::of_surroundings(&context.dir)?);
    let options = PodOptions {
        dir: context.dir.clone(),
        listen: config.listen,
        advertise: config.advertise.unwrap_or_default(),
        host: config.host.unwrap_or(false),
        lan: config.lan.unwrap_or(true),
        metrics: config.metrics,
    };
    rhizome_pod::run(options).await?;
    Ok(Exit::Ok)
}

/// Asks the pod that runs to end. If none does, that is what was wanted.
pub(super) async fn stop(context: &Context) -> Result<Exit, ApiError> {
    let client = match context.running_client().await {
        Ok(client) => client,
        Err(error) if error.id == Problem::POD_UNREACHABLE.id => {
            context.say("No pod is running.");
            context.show::<PodStop>(&Empty {}, &[], |_, _| String::new());
            return Ok(Exit::Ok);
        }
        Err(error) => return Err(error),
    };
    let (answer, warnings) = client.call::<PodStop>(&Empty {}).await?;
    context.show::<PodStop>(&answer, &warnings, |_, _| String::new());
    context.say("The pod has stopped. The next command starts it again.");
    Ok(Exit::Ok)
}

/// Sends what the pod has to say to standard error. `RHIZOME_LOG` wins over `-v`.
fn log_to_stderr(context: &Context) {
    let usual = match context.verbosity() {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("RHIZOME_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter.add_directive(sled_from_info()))
        .with_writer(std::io::stderr)
        .with_ansi(context.errors.color);
    // Fails only if somebody set one before, which then is the one to keep.
    drop(if context.json { subscriber.json().try_init() } else { subscriber.try_init() });
}

/// What sled tells of its insides is never shown: it frees a closed database when some thread ends,
/// and a line written then panics, because the writer of lines keeps its memory with the thread.
fn sled_from_info() -> Directive {
    "sled=info".parse().expect("it is written as directives are")
}

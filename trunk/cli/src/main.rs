//! The `rhizome` binary: reads a command line, asks the pod, shows the answer.
//!
//! Nothing is decided here about identities, order or documents: the pod does that, in this same
//! binary as `rhizome run`. This crate owns words, exit codes, prompts and progress bars.
#![expect(clippy::disallowed_methods, reason = "IO shell: owns terminal, sockets and processes")]

mod arguments;
mod client;
mod commands;
mod config;
mod context;
mod daemon;
mod demo;
mod failure;
mod format;
mod look;
mod parse;
mod platform;
mod progress;
mod prompt;
mod qr;
mod render;
mod table;
mod verdict;

use rhizome_api::{ApiError, Exit, Problem};
use std::process::ExitCode;

/// An event takes some hundred allocations: with the system's allocator they are a fifth of its
/// cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let cli = match arguments::read(&words) {
        Ok(cli) => cli,
        Err(unread) => return failure::report_unread(&unread, &words),
    };
    let context = match context::Context::new(&cli.global) {
        Ok(context) => context,
        Err(error) => return failure::report(&error, &look::Look::bare(), None),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = ApiError::new(Problem::INTERNAL, "runtime cannot be started");
            return failure::report(&error.caused_by(&source), &context.errors, None);
        }
    };
    let name = cli.command.method();
    let outcome = runtime.block_on(until_interrupted(commands::perform(cli.command, &context)));
    // A thread may still wait for a line from the terminal; nobody will read it.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => ExitCode::from(exit.number()),
        Err(error) => failure::report(&error, &context.errors, context.json.then_some(name)),
    }
}

/// Ends `work` at once when the person presses Ctrl-C. The pod notices that nobody listens.
async fn until_interrupted(
    work: impl Future<Output = Result<Exit, ApiError>>,
) -> Result<Exit, ApiError> {
    tokio::select! {
        outcome = work => outcome,
        Ok(()) = tokio::signal::ctrl_c() => Err(ApiError::new(Problem::INTERRUPTED, "interrupted")),
    }
}

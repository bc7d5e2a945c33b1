//! What each command does: ask the pod, show the answer, say what may come next.

pub(crate) mod cluster;
pub(crate) mod data;
pub(crate) mod device;
pub(crate) mod doctor;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod peer;
pub(crate) mod recovery;
pub(crate) mod run;
pub(crate) mod snapshot;
mod status;

use crate::arguments::Command;
use crate::context::Context;
use crate::demo;
use rhizome_api::{ApiError, Exit};

/// Does what was asked for.
pub(crate) async fn perform(command: Command, context: &Context) -> Result<Exit, ApiError> {
    match command {
        Command::Init(args) => init::perform(args, context).await,
        Command::Status => status::perform(context).await,
        Command::Run(args) => run::perform(args, context).await,
        Command::Stop => run::stop(context).await,
        Command::Device(command) => device::perform(command, context).await,
        Command::Cluster(command) => cluster::perform(command, context).await,
        Command::Peer(command) => peer::perform(command, context).await,
        Command::Identity(command) => identity::perform(command, context).await,
        Command::Data(command) => data::perform(command, context).await,
        Command::Log(command) => log::perform(command, context).await,
        Command::Snapshot(command) => snapshot::perform(command, context).await,
        Command::Recovery(command) => recovery::perform(command, context).await,
        Command::Import(command) => import::perform(command, context).await,
        Command::Demo(args) => demo::perform(args, context).await,
        Command::Doctor(args) => doctor::perform(args, context).await,
        Command::Completions(args) => Ok(meta::completions(&args, context)),
        Command::Man(args) => meta::man(&args, context),
    }
}

#[cfg(test)]
mod tests;

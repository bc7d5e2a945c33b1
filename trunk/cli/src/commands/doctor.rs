//! `rhizome doctor`.

use crate::context::Context;
use crate::render;
use clap::Args;
use rhizome_api::status::{DoctorRequest, FindingLevel};
use rhizome_api::{ApiError, Doctor, Exit};

/// Flags of `doctor`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:\n  rhizome doctor\n  rhizome doctor --rebuild\n")]
pub(crate) struct DoctorArgs {
    /// Rebuild the index from the segments; nothing is lost by it.
    #[arg(long)]
    rebuild: bool,
}

/// Checks the pod. Problems end with 8, warnings do not.
pub(super) async fn perform(args: DoctorArgs, context: &Context) -> Result<Exit, ApiError> {
    let request = DoctorRequest { rebuild: args.rebuild };
    let answer = context.answer::<Doctor>(&request, render::status::doctor).await?;
    let worst = answer.findings.iter().map(|finding| finding.level).max();
    Ok(if worst == Some(FindingLevel::Problem) { Exit::Damaged } else { Exit::Ok })
}

//! `rhizome status`.

use crate::context::Context;
use crate::render;
use rhizome_api::{ApiError, Empty, Exit, Status};

/// Answers: is my data safe, where is it, who is waiting for whom since when.
pub(super) async fn perform(context: &Context) -> Result<Exit, ApiError> {
    let answer = context.answer::<Status>(&Empty {}, render::status::status).await?;
    if answer.identity.is_none() {
        context.next_steps(&[
            ("rhizome init", "start new"),
            ("rhizome device join", "link to your other device"),
            ("rhizome recovery restore", "bring everything back from your recovery kit"),
        ]);
    }
    Ok(Exit::Ok)
}

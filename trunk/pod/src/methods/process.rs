//! The process itself.

use crate::pod::Pod;
use rhizome_api::pod::{InviteAnswer, PingAnswer};
use rhizome_api::{ApiError, Empty, Problem};

/// The version of the pod.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Says that the pod is there.
pub async fn ping(pod: &Pod) -> Result<PingAnswer, ApiError> {
    Ok(PingAnswer {
        version: VERSION.to_owned(),
        pid: std::process::id(),
        dir: pod.dir().display().to_string(),
        started_ms: pod.inner.started_ms,
    })
}

/// Asks the pod to end; it does once this is answered.
pub async fn stop(pod: &Pod) -> Result<Empty, ApiError> {
    pod.ask_to_stop();
    Ok(Empty {})
}

/// Makes an invitation to be hosted here.
pub async fn invite(pod: &Pod) -> Result<InviteAnswer, ApiError> {
    if !pod.inner.options.host {
        return Err(ApiError::new(Problem::PRECONDITION, "this pod hosts nobody")
            .hint("rhizome run --host"));
    }
    Ok(InviteAnswer { url: pod.invite(), expires_ms: None })
}

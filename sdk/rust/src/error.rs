//! The one error of this library: a code applications compare with, a message for people, a cause.

use rhizome_doc::{AnswerError, BatchError, DocumentError, WriteError};
use rhizome_pod::{AskError, PodError};
use rhizome_replica::CommandError;
use rhizome_schema::json::JsonError;
use rhizome_schema::{Code, PathError};
use std::error::Error as StdError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: Code,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), source: None }
    }

    pub(crate) fn caused(
        code: Code,
        message: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self { code, message: message.into(), source: Some(Box::new(source)) }
    }

    /// One of the sixteen codes that every face of the document API speaks.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::caused(Code::InvalidArgument, "path cannot be used", error)
    }
}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        Self::caused(Code::InvalidArgument, "value cannot be stored", error)
    }
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        Self::caused(error.code(), "write breaks a rule", error)
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        Self::caused(error.code(), "write is refused", error)
    }
}

impl From<DocumentError> for Error {
    fn from(error: DocumentError) -> Self {
        Self::caused(error.code(), "documents cannot be read", error)
    }
}

impl From<AnswerError> for Error {
    fn from(error: AnswerError) -> Self {
        Self::caused(error.code(), "query has no answer", error)
    }
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        let code = match &error {
            AskError::Refused(CommandError::Event { .. }) => Code::ResourceExhausted,
            AskError::Refused(CommandError::NoKeys | CommandError::Removed) => {
                Code::PermissionDenied
            }
            AskError::Refused(_) => Code::FailedPrecondition,
            _ => Code::Unavailable,
        };
        Self::caused(code, "this replica did not do it", error)
    }
}

impl From<PodError> for Error {
    fn from(error: PodError) -> Self {
        let code = match &error {
            PodError::NoIdentity | PodError::UnknownIdentity { .. } => Code::FailedPrecondition,
            _ => Code::Unavailable,
        };
        Self::caused(code, "replica cannot be opened", error)
    }
}

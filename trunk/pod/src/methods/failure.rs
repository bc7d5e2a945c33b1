//! What went wrong, in the words of the local API.

use crate::handle::AskError;
use crate::home::HomeError;
use crate::identity::OpenIdentityError;
use crate::pod::PodError;
use rhizome_api::{ApiError, ErrorCode, Problem};
use rhizome_doc::{AnswerError, DocumentError, WriteError};
use rhizome_replica::CommandError;
use rhizome_store::FolderError;
use std::error::Error;

/// What rebuilds an index.
const REBUILD: &str = "rhizome doctor --rebuild";

impl From<PodError> for ApiError {
    fn from(error: PodError) -> Self {
        match error {
            PodError::NoIdentity => {
                Self::new(Problem::NO_IDENTITY, "there is no identity here yet")
                    .hint("rhizome init")
            }
            PodError::UnknownIdentity { .. } => Self::from_error(Problem::UNKNOWN_NAME, &error),
            PodError::Ask(ask) => ask.into(),
            PodError::Identity(open) => open.into(),
            PodError::Home(home) => home.into(),
            other => Self::from_error(Problem::INTERNAL, &other),
        }
    }
}

impl From<HomeError> for ApiError {
    fn from(error: HomeError) -> Self {
        match error {
            HomeError::File { .. } => Self::from_error(Problem::DISK, &error),
            HomeError::Version { .. } => Self::from_error(Problem::FORMAT, &error),
            _ => Self::from_error(Problem::DAMAGED, &error),
        }
    }
}

impl From<OpenIdentityError> for ApiError {
    fn from(error: OpenIdentityError) -> Self {
        let problem = match &error {
            OpenIdentityError::Folder(FolderError::Newer { .. } | FolderError::TooOld { .. }) => {
                Problem::FORMAT
            }
            OpenIdentityError::Folder(FolderError::Locked { .. }) => Problem::DIR_BUSY,
            OpenIdentityError::Folder(_)
            | OpenIdentityError::Disk(_)
            | OpenIdentityError::Segments(_) => Problem::DISK,
            _ => Problem::DAMAGED,
        };
        let rebuilds = problem == Problem::DAMAGED;
        let error = Self::from_error(problem, &error);
        if rebuilds { error.hint(REBUILD) } else { error }
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refused) => command(&refused),
            AskError::Closed { .. } | AskError::Disk { .. } => {
                Self::from_error(Problem::DISK, &error).hint("rhizome doctor")
            }
        }
    }
}

fn command(error: &CommandError) -> ApiError {
    let problem = match error {
        CommandError::NoKeys | CommandError::Removed | CommandError::NoAdmin => {
            Problem::NOT_PERMITTED
        }
        CommandError::OtherKit => Problem::KIT_OTHER,
        CommandError::Event { .. } | CommandError::TooManyBlocks { .. } => Problem::TOO_LARGE,
        _ => Problem::PRECONDITION,
    };
    let told = ApiError::from_error(problem, error);
    match error {
        CommandError::Removed => told.hint("rhizome status"),
        _ => told,
    }
}

/// Text or JSON that is not what it should be.
pub fn invalid(error: &(dyn Error + 'static)) -> ApiError {
    ApiError::from_error(Problem::INVALID, error)
}

/// Documents that cannot be read.
pub fn documents(error: &DocumentError) -> ApiError {
    match error {
        DocumentError::Damaged { .. } => {
            ApiError::from_error(Problem::DAMAGED, error).hint(REBUILD)
        }
        _ => ApiError::from_error(Problem::DISK, error),
    }
}

/// A query that has no answer.
pub fn query(error: &AnswerError) -> ApiError {
    match error {
        AnswerError::Document(error) => documents(error),
        error => {
            let code = error.code();
            ApiError { code, ..ApiError::from_error(Problem::INVALID, error) }
        }
    }
}

/// A batch that may not be written.
pub fn write(error: &WriteError) -> ApiError {
    let problem = match error.code() {
        ErrorCode::NotFound => Problem::NOT_FOUND,
        ErrorCode::AlreadyExists => Problem::EXISTS,
        ErrorCode::ResourceExhausted => Problem::TOO_LARGE,
        ErrorCode::InvalidArgument => Problem::INVALID,
        ErrorCode::DataLoss => Problem::DAMAGED,
        _ => Problem::DISK,
    };
    // What it breaks says more than that it breaks something.
    match error.source() {
        Some(cause) => ApiError::from_error(problem, cause),
        None => ApiError::from_error(problem, error),
    }
}

/// The index cannot be read.
pub fn index(error: &rhizome_log::IndexError) -> ApiError {
    ApiError::from_error(Problem::DISK, error).hint(REBUILD)
}

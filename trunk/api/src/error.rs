//! What went wrong, in the one shape that applications, scripts and people read.

use crate::{ErrorCode, Problem};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::error::Error;
use std::fmt;

/// How a command ends. The numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed.
    Error = 1,
    /// The command or its arguments are wrong.
    Usage = 2,
    /// The pod cannot be reached.
    Unreachable = 3,
    /// Not permitted, or locked.
    NotPermitted = 4,
    /// Not found.
    NotFound = 5,
    /// A conflict, or a precondition that does not hold.
    Conflict = 6,
    /// Saved on this device, not confirmed in time.
    Unconfirmed = 7,
    /// Integrity check failed.
    Damaged = 8,
    /// Partly done; see the report.
    Partial = 9,
    /// Quota or disk.
    Quota = 10,
    /// Incompatible version.
    Incompatible = 11,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// All of them, in order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Error,
        Self::Usage,
        Self::Unreachable,
        Self::NotPermitted,
        Self::NotFound,
        Self::Conflict,
        Self::Unconfirmed,
        Self::Damaged,
        Self::Partial,
        Self::Quota,
        Self::Incompatible,
        Self::Interrupted,
    ];

    /// What a process ends with.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What a number means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Usage => "usage",
            Self::Unreachable => "pod not reachable",
            Self::NotPermitted => "not permitted or locked",
            Self::NotFound => "not found",
            Self::Conflict => "conflict or precondition",
            Self::Unconfirmed => "saved on this device, not confirmed in time",
            Self::Damaged => "integrity check failed",
            Self::Partial => "partly done, see the report",
            Self::Quota => "quota or disk",
            Self::Incompatible => "incompatible version",
            Self::Interrupted => "interrupted",
        }
    }

    /// How a command ends whose error carries `code` and nothing more precise.
    #[must_use]
    pub const fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Cancelled => Self::Interrupted,
            ErrorCode::InvalidArgument | ErrorCode::OutOfRange => Self::Usage,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::PermissionDenied | ErrorCode::Unauthenticated => Self::NotPermitted,
            ErrorCode::AlreadyExists | ErrorCode::FailedPrecondition | ErrorCode::Aborted => {
                Self::Conflict
            }
            ErrorCode::ResourceExhausted => Self::Quota,
            ErrorCode::DataLoss => Self::Damaged,
            ErrorCode::Unimplemented => Self::Incompatible,
            ErrorCode::DeadlineExceeded
            | ErrorCode::Unavailable
            | ErrorCode::Internal
            | ErrorCode::Unknown => Self::Error,
        }
    }
}

/// An error as it travels. Its `Display` is the message; the whole picture is for the caller to
/// print.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApiError {
    /// What kind of error, in the sixteen words of the document API.
    #[serde(serialize_with = "code_out", deserialize_with = "code_in")]
    pub code: ErrorCode,
    /// Which problem, as in the list of problems: `RZ-0105`.
    pub id: String,
    /// What was attempted and failed, in lower case without a full stop.
    pub message: String,
    /// Why, from the nearest cause to the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Whether the change that was asked for is saved on this device nevertheless.
    #[serde(default)]
    pub saved: bool,
    /// A command that helps.
    #[serde(default, rename = "try", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the command line ends with.
    pub exit: u8,
}

impl ApiError {
    /// An error of a known problem.
    #[must_use]
    pub fn new(problem: Problem, message: impl Into<String>) -> Self {
        Self {
            code: problem.code,
            id: problem.id.to_owned(),
            message: message.into(),
            causes: Vec::new(),
            saved: false,
            hint: None,
            exit: problem.exit.number(),
        }
    }

    /// An error of a known problem with the message and the causes of `error`.
    #[must_use]
    pub fn from_error(problem: Problem, error: &(dyn Error + 'static)) -> Self {
        Self::new(problem, error.to_string()).caused_by_chain(error.source())
    }

    /// Adds `error` and everything below it as causes.
    #[must_use]
    pub fn caused_by(self, error: &(dyn Error + 'static)) -> Self {
        self.caused_by_chain(Some(error))
    }

    /// Says that the change is saved on this device nevertheless.
    #[must_use]
    pub fn saved(mut self) -> Self {
        self.saved = true;
        self
    }

    /// Names a command that helps.
    #[must_use]
    pub fn hint(mut self, command: impl Into<String>) -> Self {
        self.hint = Some(command.into());
        self
    }

    fn caused_by_chain(mut self, mut error: Option<&(dyn Error + 'static)>) -> Self {
        while let Some(cause) = error {
            self.causes.push(cause.to_string());
            error = cause.source();
        }
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ApiError {}

/// Every code, so that a word can be read back.
const CODES: [ErrorCode; 16] = [
    ErrorCode::Cancelled,
    ErrorCode::Unknown,
    ErrorCode::InvalidArgument,
    ErrorCode::DeadlineExceeded,
    ErrorCode::NotFound,
    ErrorCode::AlreadyExists,
    ErrorCode::PermissionDenied,
    ErrorCode::ResourceExhausted,
    ErrorCode::FailedPrecondition,
    ErrorCode::Aborted,
    ErrorCode::OutOfRange,
    ErrorCode::Unimplemented,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
    ErrorCode::DataLoss,
    ErrorCode::Unauthenticated,
];

fn code_out<S: Serializer>(code: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

/// A word of a later version is read as `unknown`, so that its error still gets through.
fn code_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
    let word = String::deserialize(deserializer)?;
    Ok(CODES.into_iter().find(|code| code.as_str() == word).unwrap_or(ErrorCode::Unknown))
}

#[cfg(test)]
mod tests;

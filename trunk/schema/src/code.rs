//! The sixteen error codes that every face of the document API speaks.

use std::fmt;

/// What kind of error an application is told about, in Firestore's words.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Code {
    /// The operation was cancelled by its caller.
    Cancelled,
    /// Nobody knows what went wrong.
    Unknown,
    /// The arguments are wrong, whatever the state.
    InvalidArgument,
    /// The time given for it is over.
    DeadlineExceeded,
    /// The document does not exist.
    NotFound,
    /// The document exists already.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// A bound was reached.
    ResourceExhausted,
    /// The state does not allow it.
    FailedPrecondition,
    /// Somebody else was faster; trying again may help.
    Aborted,
    /// Beyond the end.
    OutOfRange,
    /// Not built.
    Unimplemented,
    /// We broke something.
    Internal,
    /// Cannot be reached now.
    Unavailable,
    /// Data is damaged or lost.
    DataLoss,
    /// Nobody said who is asking.
    Unauthenticated,
}

impl Code {
    /// The word applications compare with.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid-argument",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::PermissionDenied => "permission-denied",
            Self::ResourceExhausted => "resource-exhausted",
            Self::FailedPrecondition => "failed-precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out-of-range",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data-loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

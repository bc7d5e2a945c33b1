//! The list of everything that can go wrong by name. An id is never given to another problem.

use crate::ErrorCode;
use crate::error::Exit;

/// One thing that goes wrong: what applications, scripts and people are told about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The id people search for: `RZ-0105`.
    pub id: &'static str,
    /// What applications compare with.
    pub code: ErrorCode,
    /// What scripts compare with.
    pub exit: Exit,
    /// When it is used.
    pub meaning: &'static str,
}

macro_rules! problems {
    ($($name:ident = $id:literal, $code:ident, $exit:ident, $meaning:literal;)*) => {
        impl Problem {
            $(
                #[doc = $meaning]
                pub const $name: Self = Self {
                    id: $id,
                    code: ErrorCode::$code,
                    exit: Exit::$exit,
                    meaning: $meaning,
                };
            )*
        }

        /// All problems, by id.
        pub const PROBLEMS: &[Problem] = &[$(Problem::$name),*];
    };
}

problems! {
    INTERNAL = "RZ-0001", Internal, Error, "Something broke inside the pod.";
    USAGE = "RZ-0002", InvalidArgument, Usage, "The command or its arguments are wrong.";
    POD_UNREACHABLE = "RZ-0003", Unavailable, Unreachable,
        "The pod does not run, or does not answer.";
    INTERRUPTED = "RZ-0004", Cancelled, Interrupted, "The person or the caller stopped it.";
    POD_NOT_UNDERSTOOD = "RZ-0005", Unimplemented, Incompatible,
        "The pod and the command are of versions that do not understand each other.";
    NEEDS_ANSWER = "RZ-0006", FailedPrecondition, Usage,
        "A question must be answered, and there is no terminal to ask on.";
    PARTIAL = "RZ-0007", Unknown, Partial, "Part of it was done; the report says which.";
    LOCAL_FILE = "RZ-0008", Unavailable, Error, "A file of this computer cannot be used.";
    NO_IDENTITY = "RZ-0101", FailedPrecondition, Conflict, "There is no identity here yet.";
    NOT_PERMITTED = "RZ-0102", PermissionDenied, NotPermitted, "This device may not do that.";
    LOCKED = "RZ-0103", PermissionDenied, NotPermitted,
        "The identity is locked; its recovery kit opens it.";
    INVALID = "RZ-0104", InvalidArgument, Usage, "A path, a value or a query is not valid.";
    NOT_FOUND = "RZ-0105", NotFound, NotFound, "The document does not exist.";
    EXISTS = "RZ-0106", AlreadyExists, Conflict, "It exists already.";
    NOT_CONFIRMED = "RZ-0107", DeadlineExceeded, Unconfirmed,
        "Saved on this device, and not as far as asked within the time given.";
    PRECONDITION = "RZ-0108", FailedPrecondition, Conflict, "The state does not allow it.";
    ABORTED = "RZ-0109", Aborted, Conflict, "Somebody else was faster.";
    UNKNOWN_NAME = "RZ-0110", NotFound, NotFound,
        "No device, identity, peer, checkpoint or import of that name.";
    NAME_DIFFERS = "RZ-0111", FailedPrecondition, Conflict,
        "The name typed to confirm is not the name of what would be changed.";
    TOO_LARGE = "RZ-0112", ResourceExhausted, Quota, "A bound of size or number was reached.";
    PEER_UNREACHABLE = "RZ-0201", Unavailable, Error, "The other device or peer does not answer.";
    LINK_REFUSED = "RZ-0202", PermissionDenied, NotPermitted,
        "The linking code or its digits were wrong; the code is burned.";
    LINK_EXPIRED = "RZ-0203", DeadlineExceeded, Error, "The linking code is older than its time.";
    LINK_BUSY = "RZ-0204", FailedPrecondition, Conflict, "Another linking is under way.";
    KIT_WORDS = "RZ-0205", InvalidArgument, Usage, "The words are not a recovery kit.";
    KIT_OTHER = "RZ-0206", NotFound, NotFound, "The kit is of an identity that is not there.";
    KIT_ANSWERS = "RZ-0207", FailedPrecondition, Conflict,
        "The words typed to confirm the kit are not those of the kit.";
    KIT_WIPED = "RZ-0208", FailedPrecondition, Conflict,
        "The kit was confirmed, and is no longer on this device.";
    PEER_REFUSED = "RZ-0209", PermissionDenied, NotPermitted,
        "The peer does not know this device, or is not who it should be.";
    PEER_VERSION = "RZ-0210", Unimplemented, Incompatible,
        "The other device or peer runs a version that this one does not understand.";
    NEEDS_KIT = "RZ-0211", FailedPrecondition, NotPermitted,
        "This takes the words of the recovery kit.";
    DAMAGED = "RZ-0301", DataLoss, Damaged, "Data on this device is damaged.";
    DISK = "RZ-0302", ResourceExhausted, Quota,
        "The disk is full, read-only or failing; reading goes on.";
    QUOTA = "RZ-0303", ResourceExhausted, Quota, "The cloud peer takes no more.";
    FORMAT = "RZ-0304", FailedPrecondition, Incompatible,
        "The data was written by a newer version; it was left untouched.";
    DIR_BUSY = "RZ-0305", FailedPrecondition, Conflict, "Another pod uses this folder.";
    IMPORT_SOURCE = "RZ-0401", InvalidArgument, NotFound,
        "What should be imported is not there, or is something else.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_sorted() {
        assert!(PROBLEMS.windows(2).all(|pair| pair[0].id < pair[1].id));
    }

    #[test]
    fn a_problem_exits_as_its_code_does_unless_it_knows_better() {
        let better: Vec<&str> = PROBLEMS
            .iter()
            .filter(|problem| problem.exit != Exit::of(problem.code))
            .map(|problem| problem.id)
            .collect();
        expect_test::expect![[r#"
            [
                "RZ-0003",
                "RZ-0006",
                "RZ-0007",
                "RZ-0107",
                "RZ-0211",
                "RZ-0304",
                "RZ-0401",
            ]
        "#]]
        .assert_debug_eq(&better);
    }
}

//! The end of a command that failed: the shape people know, or an envelope for programs.

use crate::context::write_error;
use crate::look::{Look, Tone, clean};
use clap::error::ErrorKind;
use rhizome_api::{
    ApiError, Empty, Envelope, Exit, LogTail, Method, Problem, StreamLine, Visitor, visit_methods,
};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Where the problems are explained.
const HELP: &str = "docs/format/local-api.md";

/// Prints `error`, and says how to exit. `method` is given where programs read along.
pub(crate) fn report(error: &ApiError, look: &Look, method: Option<&str>) -> ExitCode {
    if let Some(method) = method {
        drop(writeln!(std::io::stdout(), "{}", json_text(method, error)));
    } else {
        write_error(look, &text(error, look));
    }
    ExitCode::from(error.exit)
}

/// The error as programs read it: the last line of a stream, or an envelope.
fn json_text(method: &str, error: &ApiError) -> String {
    let text = if streams(method) {
        StreamLine::<LogTail>::Failed(error.clone()).to_text().ok()
    } else {
        serde_json::to_string(&Envelope::<Empty>::refusal(method, error.clone())).ok()
    };
    text.expect("errors always become JSON")
}

/// Whether the method called `name` answers with a stream.
fn streams(name: &str) -> bool {
    struct Search<'a>(&'a str, bool);
    impl Visitor for Search<'_> {
        fn visit<M: Method>(&mut self) {
            self.1 |= M::STREAMS && M::NAME == self.0;
        }
    }
    let mut search = Search(name, false);
    visit_methods(&mut search);
    search.1
}

/// The error in up to three lines and one per cause.
fn text(error: &ApiError, look: &Look) -> String {
    let head = look.paint(Tone::Bad, format!("error[{}]", clean(&error.id)));
    let mut out = format!("{head} {}\n", clean(&error.message));
    for cause in &error.causes {
        out += &format!("  because: {}\n", clean(cause));
    }
    if error.saved {
        out += "your change is saved on this device\n";
    }
    let help = format!("help: {HELP}#{}", clean(&error.id).to_lowercase());
    match &error.hint {
        Some(hint) => out += &format!("try: {} · {help}\n", clean(hint)),
        None => out += &format!("{help}\n"),
    }
    out
}

/// Prints why a command line could not be read: help was asked for, or it is wrong.
pub(crate) fn report_unread(unread: &clap::Error, words: &[OsString]) -> ExitCode {
    let shown = matches!(unread.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !shown && words.iter().any(|word| word == "--json") {
        return report(&usage_error(unread), &Look::bare(), Some("usage"));
    }
    drop(unread.print());
    ExitCode::from(if shown { Exit::Ok.number() } else { Exit::Usage.number() })
}

fn usage_error(unread: &clap::Error) -> ApiError {
    let text = unread.to_string();
    let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: ").map(str::to_owned));
    let error = ApiError::new(Problem::USAGE, message);
    match tip {
        Some(tip) => error.hint(tip),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn an_error_says_what_is_saved_and_what_helps() {
        let message = "order not confirmed: cloud peer unreachable for 3 days";
        let error =
            ApiError::new(Problem::NOT_CONFIRMED, message).saved().hint("rhizome peer test cloud");
        expect![[r#"
            error[RZ-0107] order not confirmed: cloud peer unreachable for 3 days
            your change is saved on this device
            try: rhizome peer test cloud · help: docs/format/local-api.md#rz-0107
        "#]]
        .assert_eq(&text(&error, &Look::bare()));
    }

    #[test]
    fn an_error_shows_its_whole_chain_and_cannot_steer_the_terminal() {
        let disk = std::io::Error::other("no space\u{1b}[2J left");
        let error = ApiError::new(Problem::DISK, "segment cannot be written").caused_by(&disk);
        expect![[r#"
            error[RZ-0302] segment cannot be written
              because: no space\u{1b}[2J left
            help: docs/format/local-api.md#rz-0302
        "#]]
        .assert_eq(&text(&error, &Look::bare()));
    }

    /// JSON with a line per key, so that it can be read here.
    fn broken(text: &str) -> String {
        text.replace(",\"", ",\n\"")
    }

    #[test]
    fn a_stream_ends_with_the_line_of_its_error_and_the_rest_with_an_envelope() {
        let error = ApiError::new(Problem::INTERRUPTED, "interrupted");
        expect![[r#"
            {"event":"error",
            "error":{"code":"cancelled",
            "id":"RZ-0004",
            "message":"interrupted",
            "saved":false,
            "exit":130}}"#]]
        .assert_eq(&broken(&json_text("data.watch", &error)));
        expect![[r#"
            {"schema":"rhizome.data.get/1",
            "ok":false,
            "error":{"code":"cancelled",
            "id":"RZ-0004",
            "message":"interrupted",
            "saved":false,
            "exit":130},
            "warnings":[]}"#]]
        .assert_eq(&broken(&json_text("data.get", &error)));
    }

    #[test]
    fn programs_get_a_wrong_command_line_as_an_envelope() {
        let unread = crate::arguments::read(&["rhizome".into(), "stauts".into()]).unwrap_err();
        let error = usage_error(&unread);
        expect![[r#"
            {
              "code": "invalid-argument",
              "id": "RZ-0002",
              "message": "unrecognized subcommand 'stauts'",
              "saved": false,
              "try": "a similar subcommand exists: 'status'",
              "exit": 2
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&error).unwrap());
    }
}

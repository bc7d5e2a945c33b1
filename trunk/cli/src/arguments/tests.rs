//! Command lines as people type them, and the help they get.

use super::*;
use expect_test::{Expect, expect};

fn words(line: &[&str]) -> Vec<OsString> {
    ["rhizome"].iter().chain(line).map(Into::into).collect()
}

#[track_caller]
fn method(line: &[&str], expected: &str) {
    assert_eq!(read(&words(line)).unwrap().command.method(), expected, "{line:?}");
}

#[track_caller]
fn help(line: &[&str], expected: &Expect) {
    // A fixed width: that of the terminal in which the tests run must not matter.
    let shown = command().term_width(88).try_get_matches_from(words(line)).unwrap_err();
    let shown = shown.to_string();
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn the_description_is_sound() {
    command().debug_assert();
}

#[test]
fn every_verb_asks_for_its_method() {
    method(&["init", "--name", "Ana"], "identity.create");
    method(&["status", "--json"], "status");
    method(&["device", "list"], "device.list");
    method(&["device", "link"], "device.link");
    method(&["device", "link", "--cancel"], "device.link.cancel");
    method(&["device", "link", "--session", "s", "--digits", "1"], "device.link.confirm");
    method(&["device", "join", "--at", "[::1]:7"], "device.join");
    method(&["device", "rename", "a", "b"], "device.rename");
    method(&["device", "away", "a", "--back"], "device.away");
    method(&["device", "lost", "a", "--confirm=a"], "device.lost");
    method(&["cluster", "reform", "--confirm=a"], "cluster.reform");
    method(&["peer", "add", "h:1"], "peer.add");
    method(&["peer", "list"], "peer.list");
    method(&["peer", "test", "cloud"], "peer.test");
    method(&["peer", "invite"], "pod.invite");
    method(&["identity", "create", "Work"], "identity.create");
    method(&["identity", "list"], "identity.list");
    method(&["identity", "use", "Work"], "identity.use");
    method(&["data", "ls"], "data.ls");
    method(&["data", "get", "a/b"], "data.get");
    method(&["data", "set", "a/b", "n=1"], "data.set");
    method(&["data", "update", "a/b", "n=1"], "data.update");
    method(&["data", "delete", "a/b"], "data.delete");
    method(&["data", "query", "a", "--where", "n == 1"], "data.query");
    method(&["data", "watch", "a"], "data.watch");
    method(&["data", "history", "a/b"], "data.history");
    method(&["data", "export"], "data.export");
    method(&["data", "settle", "--level", "copied"], "data.settle");
    method(&["data", "hash"], "data.hash");
    method(&["log", "tail", "-f"], "log.tail");
    method(&["log", "verify"], "log.verify");
    method(&["snapshot", "create"], "snapshot.create");
    method(&["snapshot", "list"], "snapshot.list");
    method(&["snapshot", "verify"], "snapshot.verify");
    method(&["snapshot", "export", "x.car"], "snapshot.export");
    method(&["recovery", "kit"], "recovery.kit");
    method(&["recovery", "kit", "--answers-file", "-"], "recovery.confirm");
    method(&["recovery", "test"], "recovery.test");
    method(&["recovery", "restore", "--peer", "h:1"], "recovery.restore");
    method(&["import", "markdown", "notes"], "import.apply");
    method(&["import", "keep", "notes", "--dry-run"], "import.plan");
    method(&["import", "csv", "x.csv"], "import.apply");
    method(&["import", "undo", "b"], "import.undo");
    method(&["import", "list"], "import.list");
    method(&["doctor", "--rebuild"], "doctor");
    method(&["stop"], "pod.stop");
}

#[test]
fn flags_of_every_command_may_stand_anywhere() {
    for line in [["--dir", "/pod", "status", "-qvv"], ["status", "-qvv", "--dir", "/pod"]] {
        let global = read(&words(&line)).unwrap().global;
        assert_eq!(global.dir.as_deref(), Some(std::path::Path::new("/pod")));
        assert_eq!((global.quiet, global.verbose), (true, 2));
    }
}

#[test]
fn secrets_are_never_flags() {
    fn walk(command: &ClapCommand, found: &mut Vec<String>) {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            if ["word", "code", "secret", "password", "kit"].iter().any(|bad| id.contains(bad)) {
                found.push(format!("{} {id}", command.get_name()));
            }
        }
        command.get_subcommands().for_each(|below| walk(below, found));
    }
    let mut found = Vec::new();
    walk(&command(), &mut found);
    expect![[r#"
        [
            "join code_file",
            "lost words_file",
            "reform words_file",
            "test words_file",
            "restore words_file",
        ]
    "#]]
    .assert_debug_eq(&found);
}

#[test]
fn abbreviations_are_refused_and_slips_are_answered() {
    assert!(read(&words(&["stat"])).is_err());
    let slip = read(&words(&["stauts"])).unwrap_err().to_string();
    assert!(slip.contains("status"), "{slip}");
    let slip = read(&words(&["device", "lnik"])).unwrap_err().to_string();
    assert!(slip.contains("link"), "{slip}");
}

#[test]
fn every_noun_and_verb_begins_its_help_with_examples_or_belongs_to_a_noun_that_does() {
    for below in command().get_subcommands() {
        let text = below.get_before_help().map(ToString::to_string).unwrap_or_default();
        assert!(text.starts_with("Examples:"), "{}", below.get_name());
    }
}

#[test]
fn a_short_and_a_long_cry_for_help_are_answered_alike() {
    let short = read(&words(&["data", "set", "-h"])).unwrap_err().to_string();
    let long = read(&words(&["data", "set", "--help"])).unwrap_err().to_string();
    assert_eq!(short, long);
}

#[test]
fn help_of_the_whole() {
    help(
        &["--help"],
        &expect![[r#"
            Your data, on your devices.

            Examples:
              rhizome init --name Ana
              rhizome import markdown ~/notes
              rhizome device link
              rhizome status

            Usage: rhizome [OPTIONS] <COMMAND>

            Commands:
              init         Create an identity on this computer
              status       Is my data safe, where is it, who is waiting for whom
              run          Run the pod in the foreground
              stop         Stop the pod that runs in the background
              device       See, link, rename and lose devices
              cluster      Who orders, and going on without those that are lost
              peer         Add, list and test cloud peers
              identity     Create, list and choose identities
              data         Read, write, find and watch documents
              log          Look at events and check what is stored
              snapshot     Cut, list, check and export checkpoints
              recovery     The recovery kit: write down, rehearse, use
              import       Bring in notes and tables, or take an import back
              demo         See it at work: three devices, a cut network, a lost laptop
              doctor       Check this pod, and rebuild what can be rebuilt
              completions  Print completions for a shell
              man          Print the manual, or write its pages into a folder

            Options:
              -V, --version  Print version

            Flags of every command:
                  --dir <FOLDER>  The folder of the pod [env: RHIZOME_DIR]
                  --json          Answers as JSON, streams as one JSON object per line
                  --plain         Tables as rows of tabs, without a head
                  --no-color      No colours [env: NO_COLOR]
                  --no-input      Never ask; fail where an answer is needed
                  --yes           Answer yes to questions that can be answered so
                  --no-start      Do not start a pod if none runs
              -q, --quiet         Only data, warnings and errors
              -v, --verbose...    Say more; twice for everything
              -h, --help          Print help

            Exit codes: 0 ok, 1 error, 2 usage, 3 pod not reachable, 4 not permitted or
            locked, 5 not found, 6 conflict or precondition, 7 saved here but not confirmed in time,
            8 integrity check failed, 9 partly done, 10 quota or disk, 11 incompatible version,
            130 interrupted.
        "#]],
    );
}

#[test]
fn help_of_a_bare_noun() {
    help(
        &["device"],
        &expect![[r#"
            See, link, rename and lose devices

            Examples:
              rhizome device list
              rhizome device link                     on a device you have
              rhizome device join                     on the new device
              rhizome device lost "Ana's phone" --dry-run

            Usage: rhizome device [OPTIONS] <COMMAND>

            Commands:
              list    List the devices
              link    Show a code for a new device, and admit it
              join    Join the identity of the device that shows a code
              rename  Give a device another name
              away    Count a device as away for long, so that nobody waits for it
              lost    Remove a device that is lost, and change the keys

            Options:
              -h, --help  Print help

            Flags of every command:
                  --dir <FOLDER>  The folder of the pod [env: RHIZOME_DIR]
                  --json          Answers as JSON, streams as one JSON object per line
                  --plain         Tables as rows of tabs, without a head
                  --no-color      No colours [env: NO_COLOR]
                  --no-input      Never ask; fail where an answer is needed
                  --yes           Answer yes to questions that can be answered so
                  --no-start      Do not start a pod if none runs
              -q, --quiet         Only data, warnings and errors
              -v, --verbose...    Say more; twice for everything
        "#]],
    );
}

#[test]
fn help_of_a_verb() {
    help(
        &["data", "set", "--help"],
        &expect![[r#"
            Write a document whole, or merge into it

            Examples:
              rhizome data set todos/1 text=milk done=false
              rhizome data set todos/1 '{"text":"milk","tags":["shop"]}'
              rhizome data set todos/1 --from todo.json --merge --wait confirmed

            Usage: rhizome data set [OPTIONS] <PATH> [FIELD=VALUE]...

            Arguments:
              <PATH>            The path of the document
              [FIELD=VALUE]...  FIELD=VALUE, or one JSON object. A value is JSON if it can be read
                                as such, otherwise text

            Options:
                  --from <FILE>     A file with a JSON object, or - for standard input
                  --merge           Keep fields that are not named
                  --wait <LEVEL>    Wait until it is there, too; without, it is durable on this
                                    device [possible values: local, copied, confirmed, pinned]
                  --timeout <TIME>  How long to wait, such as 500ms, 30s or 2m [default: 10s]
                  --app <APP>       The app whose documents they are [default: the pod's own]
              -h, --help            Print help

            Flags of every command:
                  --dir <FOLDER>  The folder of the pod [env: RHIZOME_DIR]
                  --json          Answers as JSON, streams as one JSON object per line
                  --plain         Tables as rows of tabs, without a head
                  --no-color      No colours [env: NO_COLOR]
                  --no-input      Never ask; fail where an answer is needed
                  --yes           Answer yes to questions that can be answered so
                  --no-start      Do not start a pod if none runs
              -q, --quiet         Only data, warnings and errors
              -v, --verbose...    Say more; twice for everything
        "#]],
    );
}

//! Whole commands against a small server: what is printed where, and how they end.

use crate::arguments;
use crate::client::tests::{JSON, LINES, Served, serve};
use crate::context::Context;
use expect_test::{Expect, expect};

const PING: Served = (
    "pod.ping",
    JSON,
    &[r#"{"schema":"rhizome.pod.ping/1","ok":true,"data":{"version":"","pid":1}}"#],
);

/// Longer lines of JSON are broken at their keys, so that they can be read here.
const WIDTH: usize = 80;

/// Runs a command line, and compares how it ended and what it wrote; messages begin with `2> `.
async fn check(answers: &'static [Served], line: &[&str], expected: &Expect) {
    let (dir, _) = serve(answers).await;
    let words: Vec<_> = ["rhizome"].iter().chain(line).map(Into::into).collect();
    let cli = arguments::read(&words).unwrap();
    let mut context = Context::for_tests();
    context.dir = dir.path().to_owned();
    context.json = cli.global.json;
    context.yes = cli.global.yes;
    let end = match super::perform(cli.command, &context).await {
        Ok(exit) => format!("exit {}", exit.number()),
        Err(error) => format!("exit {}: {}", error.exit, error.message),
    };
    let written = context.written();
    let broken = |line: &str| match line.len() > WIDTH && line.starts_with('{') {
        true => line.replace(",\"", ",\n\""),
        false => line.trim_end().to_owned(),
    };
    let shown: Vec<String> = written.lines().map(broken).collect();
    expected.assert_eq(&format!("{}\n{end}\n", shown.join("\n")));
}

#[tokio::test]
async fn an_answer_is_data_and_what_may_come_next_a_message() {
    const USE: Served = (
        "identity.use",
        JSON,
        &[r#"{"schema":"rhizome.identity.use/1","ok":true,"data":{"identity":{"id":"b","name":
            "Work","current":true,"kit_key_id":"K","kit_confirmed":true}},"warnings":["slow"]}"#],
    );
    check(
        &[PING, USE],
        &["identity", "use", "Work"],
        &expect![[r#"
        2> warning: slow
        ✔ Every command speaks about Work now.
        2> Next: rhizome status  see how it is
        exit 0
    "#]],
    )
    .await;
    check(
        &[PING, USE],
        &["identity", "use", "Work", "--json"],
        &expect![[r#"
        {"schema":"rhizome.identity.use/1",
        "ok":true,
        "data":{"identity":{"id":"b",
        "name":"Work",
        "current":true,
        "kit_key_id":"K",
        "kit_confirmed":true,
        "locked":false}},
        "warnings":["slow"]}
        exit 0
    "#]],
    )
    .await;
}

#[tokio::test]
async fn hashes_that_differ_from_rebuilt_indexes_end_with_8() {
    const HASH: Served = (
        "data.hash",
        JSON,
        &[r#"{"schema":"rhizome.data.hash/1","ok":true,"data":{"documents":1,"export_hash":"a",
            "state_hash":"b","committed_hash":"c","indexes_ok":false}}"#],
    );
    check(
        &[PING, HASH],
        &["data", "hash"],
        &expect![[r#"
        documents  1
        export     a
        state      b
        confirmed  c
        indexes    differ from rebuilt ones
        2> Next: rhizome doctor --rebuild  rebuild the indexes
        exit 8
    "#]],
    )
    .await;
}

#[tokio::test]
async fn what_is_saved_but_not_confirmed_in_time_ends_with_7() {
    const SETTLE: Served = (
        "data.settle",
        JSON,
        &[r#"{"schema":"rhizome.data.settle/1","ok":false,"error":{"code":"deadline-exceeded",
            "id":"RZ-0107","message":"3 changes are not confirmed","saved":true,"exit":7}}"#],
    );
    check(
        &[PING, SETTLE],
        &["data", "settle", "--timeout", "1s"],
        &expect![[r#"

        exit 7: 3 changes are not confirmed
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_export_is_one_line_per_document_and_its_hash_a_message() {
    const EXPORT: Served = (
        "data.export",
        LINES,
        &[
            "{\"event\":\"document\",\"path\":\"n/1\",\"fields\":{\"b\":1.0,",
            "\"a\":2},\"app\":\"x\"}\n",
            "{\"event\":\"done\",\"data\":{\"documents\":1,\"hash\":\"00\"}}\n",
        ],
    );
    check(
        &[PING, EXPORT],
        &["data", "export"],
        &expect![[r#"
        {"app":"x","fields":{"a":2,"b":1.0},"path":"n/1"}
        2> 1 document, SHA-256 00
        exit 0
    "#]],
    )
    .await;
    check(
        &[PING, EXPORT],
        &["data", "export", "--json"],
        &expect![[r#"
        {"event":"document","app":"x","fields":{"a":2,"b":1.0},"path":"n/1"}
        {"event":"done","data":{"documents":1,"hash":"00"}}
        exit 0
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_import_that_failed_in_part_ends_with_9() {
    const APPLY: Served = (
        "import.apply",
        LINES,
        &[
            "{\"event\":\"started\",\"batch\":\"b1\"}\n",
            "{\"event\":\"progress\",\"done\":1,\"total\":2,\"bytes\":9,\"eta_ms\":null}\n",
            "{\"event\":\"done\",\"data\":{\"batch\":\"b1\",\"collection\":\"notes\",",
            "\"imported\":1,",
            "\"updated\":0,\"unchanged\":0,\"attachments\":0,\"skipped\":[],\"failed\":[{\"path\":",
            "\"x.md\",\"reason\":\"not UTF-8\"}],\"bytes\":9,\"took_ms\":5}}\n",
        ],
    );
    check(
        &[PING, APPLY],
        &["import", "markdown", "/notes"],
        &expect![[r#"
        2> Batch b1; Ctrl-C stops it, the same command goes on.
        ✔ 1 imported, 0 updated, 0 already there, 0 skipped, 1 failed, 0 attachments, 9 B in 5 ms
        failed: x.md: not UTF-8
        2> Next: rhizome data ls notes   see them
        2>       rhizome import undo b1  take it back
        exit 9
    "#]],
    )
    .await;
}

#[tokio::test]
async fn linking_without_a_terminal_says_how_to_answer_and_goes_on() {
    const LINK: Served = (
        "device.link",
        LINES,
        &[
            "{\"event\":\"asking\",\"session\":\"s1\",\"name\":\"phone\",\"kind\":\"phone\",",
            "\"address\":\"192.0.2.9\"}\n{\"event\":\"done\",\"data\":{\"device\":{\"id\":\"b\",",
            "\"name\":\"phone\",\"kind\":\"phone\",\"this\":false,\"trusted\":true,",
            "\"role\":\"follows\",\"connected\":true,\"holds_all\":false}}}\n",
        ],
    );
    check(
        &[PING, LINK],
        &["device", "link"],
        &expect![[r#"
        2> "phone" (phone) wants to join, from 192.0.2.9
        2> Next: rhizome device link --session s1 --digits DIGITS  with the digits it shows
        ✔ Linked: phone (phone); it does not hold up ordering.
        2> Next: rhizome device list   see how far it is
        2>       rhizome recovery kit  write down your recovery kit
        exit 0
    "#]],
    )
    .await;
}

#[tokio::test]
async fn losing_a_device_needs_its_name() {
    const PLAN: Served = (
        "device.lost",
        JSON,
        &[r#"{"schema":"rhizome.device.lost/1","ok":true,"data":{"device":{"id":"b",
            "name":"phone",
            "kind":"phone","this":false,"trusted":true,"role":"follows","connected":false,
            "holds_all":false},"done":false,"steps":["change the keys"],"may_hold_documents":2}}"#],
    );
    check(
        &[PING, PLAN],
        &["device", "lost", "phone"],
        &expect![[r#"
        2> Removing phone will:
          • change the keys
        It may still hold what it already had: 2 documents.
        It was last heard of: never.

        exit 2: no terminal to ask on: Type the device name to confirm:
    "#]],
    )
    .await;
    check(
        &[PING, PLAN],
        &["device", "lost", "phone", "--dry-run"],
        &expect![[r#"
        Removing phone will:
          • change the keys
        It may still hold what it already had: 2 documents.
        It was last heard of: never.
        exit 0
    "#]],
    )
    .await;
}

#[tokio::test]
async fn init_is_safe_to_repeat_and_refuses_another_name() {
    const STATUS: Served = (
        "status",
        JSON,
        &[r#"{"schema":"rhizome.status/1","ok":true,"data":{"version":"","dir":"","now_ms":0,
            "identity":{"id":"b","name":"Ana","current":true,"kit_key_id":"K",
            "kit_confirmed":false},
            "state":{"is":"up-to-date"},"devices":[],"order":{"generation":0,"index":0,"applied":0,
            "voters":[],"committed_all":true,"waiting":[]},"storage":{"segment_bytes":0,
            "index_bytes":0,"events":0,"documents":0,"attachments":0},"durability":{"local_only":0,
            "copied":0,"committed":0,"pinned":0,"full_copies":0}}}"#],
    );
    check(
        &[PING, STATUS],
        &["init"],
        &expect![[r#"
        ✔ Ana is here already; nothing was changed.
        exit 0
    "#]],
    )
    .await;
    check(
        &[PING, STATUS],
        &["init", "--name", "Work"],
        &expect![[r#"

        exit 6: there is an identity here already, called Ana
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_peer_that_cannot_be_reached_ends_with_1_and_undo_asks_first() {
    const TEST: Served = (
        "peer.test",
        JSON,
        &[r#"{"schema":"rhizome.peer.test/1","ok":true,"data":{"peer":"cloud","reachable":false,
            "steps":[{"what":"connection","ok":false,"detail":"timed out"}]}}"#],
    );
    check(
        &[PING, TEST],
        &["peer", "test", "cloud"],
        &expect![[r#"
        ✘ connection: timed out
        cloud cannot be reached; your changes stay saved here.
        exit 1
    "#]],
    )
    .await;
    check(
        &[PING],
        &["import", "undo", "b1"],
        &expect![[r#"

        exit 2: no terminal to ask on: Take back import b1? [y/N]
    "#]],
    )
    .await;
}

#[tokio::test]
async fn stopping_what_does_not_run_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let mut context = Context::for_tests();
    context.dir = dir.path().to_owned();
    let exit = super::run::stop(&context).await.unwrap();
    assert_eq!((exit.number(), context.written().as_str()), (0, "2> No pod is running.\n"));
}

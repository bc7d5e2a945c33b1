//! What is typed becomes what is asked.

use super::*;
use crate::arguments::{self, Command};
use expect_test::{Expect, expect};

fn update_args(words: &[&str]) -> UpdateArgs {
    let line = ["rhizome", "data", "update", "todos/1"].iter().chain(words);
    let cli = arguments::read(&line.map(Into::into).collect::<Vec<_>>()).unwrap();
    match cli.command {
        Command::Data(DataCommand::Update(args)) => args,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(words: &[&str], expected: &Expect) {
    let shown = match changes(&update_args(words)) {
        Ok(changes) => serde_json::to_string(&changes).unwrap().replace(",\"", ",\n\""),
        Err(message) => message,
    };
    expected.assert_eq(&shown);
}

#[test]
fn an_update_carries_values_and_operations() {
    check(
        &[
            "done=true",
            "a.b=text",
            "--increment",
            "n=2",
            "--union",
            "tags=shop",
            "--remove",
            "tags2=[1,2]",
            "--delete",
            "old",
            "--server-time",
            "seen",
        ],
        &expect![[r#"
            {"a.b":"text",
            "done":true,
            "n":{"$increment":2},
            "old":{"$delete":true},
            "seen":{"$serverTime":true},
            "tags":{"$arrayUnion":["shop"]},
            "tags2":{"$arrayRemove":[1,2]}}"#]],
    );
}

#[test]
fn an_update_touches_a_field_once_and_at_least_one() {
    check(&["n=1", "--increment", "n=2"], &expect!["field `n` is given twice"]);
    check(&[], &expect!["no field to change"]);
    check(&["--increment", "n=much"], &expect!["`n` can only be incremented by a number"]);
    check(&["n"], &expect!["`n` is not FIELD=VALUE"]);
}

#[test]
fn only_who_waits_has_a_time_limit() {
    assert_eq!(how_far(&update_args(&["n=1"]).write), (None, None));
    assert_eq!(
        how_far(&update_args(&["n=1", "--wait", "confirmed"]).write),
        (Some(Durability::Committed), Some(WAIT_MS))
    );
    assert_eq!(
        how_far(&update_args(&["n=1", "--wait", "copied", "--timeout", "2s"]).write),
        (Some(Durability::Copied), Some(2_000))
    );
}

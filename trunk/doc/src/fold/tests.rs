//! The rules of concurrent edits, one transcript each.

use crate::fixture::*;
use crate::{FieldOp, Mutation};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use rhizome_log::OpenEvent;
use rhizome_schema::{Number, Value};

/// Author, sequence number, hour, what the author knew, mutation.
type Edit<'a> = (u8, u64, u64, &'a [(u8, u64)], Mutation);

fn fold(edits: &[&OpenEvent]) -> String {
    let mut replica = Replica::default();
    edits.iter().for_each(|edit| replica.commit(edit));
    replica.show("n/a")
}

/// Commits the edits in the order given.
#[track_caller]
fn check(edits: &[Edit<'_>], expected: &Expect) {
    let events: Vec<_> = edits
        .iter()
        .map(|(author, seq, ms, knows, op)| {
            event(*author, *seq, *ms, knows, body(std::slice::from_ref(op)))
        })
        .collect();
    expected.assert_eq(&fold(&events.iter().collect::<Vec<_>>()));
}

#[test]
fn the_later_edit_wins_and_the_earlier_one_is_kept() {
    let base = || (1, 1, 10, &[][..], set("n/a", "{\"t\":0,\"u\":0}"));
    let early = || (2, 1, 20, &[(1, 1)][..], assign("n/a", "t", "2"));
    let late = || (3, 1, 30, &[(1, 1)][..], assign("n/a", "t", "3"));
    check(
        &[base(), early(), late()],
        &expect![[r#"
            {"t":3,"u":0}
              [t] 2 by 2 Overwritten
        "#]],
    );
    check(
        &[base(), late(), early()],
        &expect![[r#"
            {"t":3,"u":0}
              [t] 2 by 2 Yielded
        "#]],
    );
}

#[test]
fn who_knew_both_settles_the_conflict() {
    check(
        &[
            (1, 1, 10, &[], set("n/a", "{\"t\":0}")),
            (2, 1, 20, &[(1, 1)], assign("n/a", "t", "2")),
            (3, 1, 30, &[(1, 1)], assign("n/a", "t", "3")),
            (2, 2, 40, &[(1, 1), (3, 1)], assign("n/a", "t", "4")),
        ],
        &expect![[r#"
            {"t":4}
        "#]],
    );
}

#[test]
fn edits_of_different_fields_both_stay() {
    check(
        &[
            (1, 1, 10, &[], set("n/a", "{\"m\":{\"x\":0,\"y\":0}}")),
            (3, 1, 30, &[(1, 1)], assign("n/a", "m.x", "3")),
            (2, 1, 20, &[(1, 1)], assign("n/a", "m.y", "2")),
        ],
        &expect![[r#"
            {"m":{"x":3,"y":2}}
        "#]],
    );
}

#[test]
fn a_parent_never_erases_later_children() {
    check(
        &[
            (1, 1, 10, &[], set("n/a", "{\"m\":{\"x\":0,\"y\":0}}")),
            (3, 1, 30, &[(1, 1)], assign("n/a", "m.x", "3")),
            (2, 1, 20, &[(1, 1)], set("n/a", "{\"m\":{\"x\":2,\"z\":2}}")),
        ],
        &expect![[r#"
            {"m":{"x":3,"z":2}}
              [m.x] 2 by 2 Yielded
        "#]],
    );
    check(
        &[
            (1, 1, 10, &[], set("n/a", "{\"m\":{\"x\":0}}")),
            (3, 1, 30, &[(1, 1)], assign("n/a", "m.x", "3")),
            (2, 1, 20, &[(1, 1)], assign("n/a", "m", "7")),
        ],
        &expect![[r#"
            {"m":{"x":3}}
              [m] 7 by 2 Yielded
        "#]],
    );
}

#[test]
fn equal_writes_are_no_conflict() {
    check(
        &[
            (1, 1, 10, &[], set("n/a", "{\"t\":1,\"u\":1}")),
            (2, 1, 20, &[], set("n/a", "{\"t\":1,\"u\":2}")),
        ],
        &expect![[r#"
            {"t":1,"u":2}
              [u] 1 by 1 Overwritten
        "#]],
    );
}

#[test]
fn a_later_update_that_did_not_know_the_delete_revives() {
    let base = || (1, 1, 10, &[][..], set("n/a", "{\"t\":0,\"u\":0}"));
    let gone = || (2, 1, 20, &[(1, 1)][..], delete("n/a"));
    let update = || (3, 1, 30, &[(1, 1)][..], assign("n/a", "t", "3"));
    let expected = expect![[r#"
        {"t":3}
          [] removal by 2 Overwritten
    "#]];
    check(&[base(), gone(), update()], &expected);
    check(
        &[base(), update(), gone()],
        &expect![[r#"
            {"t":3}
              [] removal by 2 Yielded
        "#]],
    );
}

#[test]
fn an_earlier_update_that_did_not_know_the_delete_is_kept_as_conflict() {
    let base = || (1, 1, 10, &[][..], set("n/a", "{\"t\":0}"));
    let update = || (2, 1, 20, &[(1, 1)][..], assign("n/a", "t", "2"));
    let gone = || (3, 1, 30, &[(1, 1)][..], delete("n/a"));
    check(
        &[base(), gone(), update()],
        &expect![[r#"
            gone
              [t] 2 by 2 Yielded
        "#]],
    );
    check(
        &[base(), update(), gone()],
        &expect![[r#"
            gone
              [t] 2 by 2 Overwritten
        "#]],
    );
}

#[test]
fn increments_of_all_devices_count() {
    let add = |by| update("n/a", &[("t", FieldOp::Increment(Number::Int(by)))]);
    check(
        &[
            (1, 1, 10, &[], set("n/a", "{\"t\":100}")),
            (3, 1, 30, &[(1, 1)], add(1)),
            (2, 1, 20, &[(1, 1)], add(10)),
        ],
        &expect![[r#"
            {"t":111}
        "#]],
    );
}

#[test]
fn field_operations_do_what_firestores_do() {
    let one = |start: &str, op: FieldOp| {
        let events = [
            event(1, 1, 10, &[], body(&[set("n/a", &format!("{{\"t\":{start}}}"))])),
            event(1, 2, 1_500, &[], body(&[update("n/a", &[("t", op)])])),
        ];
        fold(&events.iter().collect::<Vec<_>>())
    };
    let int = Number::Int;
    let list = |items: &[i64]| items.iter().copied().map(Value::Int).collect::<Vec<_>>();
    let out = [
        one("9223372036854775807", FieldOp::Increment(int(1))),
        one("1", FieldOp::Increment(Number::Double(0.5))),
        one("\"x\"", FieldOp::Increment(int(1))),
        one("5", FieldOp::Minimum(int(3))),
        one("5", FieldOp::Maximum(int(3))),
        one("5", FieldOp::Maximum(Number::Double(f64::NAN))),
        one("[1,2]", FieldOp::ArrayUnion(list(&[2, 3, 3]))),
        one("[1,2,1]", FieldOp::ArrayRemove(list(&[1]))),
        one("7", FieldOp::ArrayRemove(list(&[1]))),
        one("1", FieldOp::ServerTime),
        one("1", FieldOp::DeleteField),
    ];
    expect![[r#"
        {"t":9223372036854775807}
        {"t":1.5}
        {"t":1}
        {"t":3}
        {"t":5}
        {"t":{"$double":"NaN"}}
        {"t":[1,2,3]}
        {"t":[2]}
        {"t":[]}
        {"t":{"$timestamp":"1970-01-01T00:00:01.5Z"}}
        {}
    "#]]
    .assert_eq(&out.concat());
}

#[test]
fn a_merge_keeps_what_it_does_not_name() {
    check(
        &[
            (1, 1, 10, &[], set("n/a", "{\"l\":[1],\"m\":{\"x\":1,\"y\":1},\"e\":1}")),
            (1, 2, 20, &[], merge("n/a", "{\"l\":[2],\"m\":{\"x\":2},\"e\":{}}")),
        ],
        &expect![[r#"
            {"e":{},"l":[2],"m":{"x":2,"y":1}}
        "#]],
    );
}

#[test]
fn conflicts_are_bounded() {
    let mut replica = Replica::default();
    for author in 0..200 {
        let json = format!("{{\"t\":{author}}}");
        replica.commit(&event(author, 1, u64::from(author), &[], body(&[set("n/a", &json)])));
    }
    let record = documents().record(&replica.index, &path("n/a")).unwrap().unwrap();
    assert_eq!(record.conflicts.len(), super::CONFLICTS_MAX);
    assert_eq!(record.conflicts.last().unwrap().lost, Some(Value::Int(198)));
}

proptest! {
    #[test]
    fn assignments_of_existing_fields_commute(
        edits in prop::collection::vec((0_usize..5, 0_i64..3), 1..7),
        order in Just((1_usize..8).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        // Each by another device that knew the base alone; values are maps and numbers.
        let fields = ["t", "m.x", "m.y", "u.x", "u"];
        let mut events = vec![event(
            0, 1, 1, &[], body(&[set("n/a", "{\"t\":0,\"m\":{\"x\":0,\"y\":0},\"u\":{\"x\":0}}")]),
        )];
        for (i, (field, value)) in edits.iter().enumerate() {
            let author = i as u8 + 1;
            let map = fields[*field] == "u";
            let json = if map { format!("{{\"y\":{value}}}") } else { value.to_string() };
            let op = assign("n/a", fields[*field], &json);
            events.push(event(author, 1, 10 + i as u64, &[(0, 1)], body(&[op])));
        }
        let value = |events: &[&OpenEvent]| fold(events).lines().next().map(str::to_owned);
        let mut shuffled = vec![&events[0]];
        shuffled.extend(order.iter().filter_map(|i| events.get(*i)));
        prop_assert_eq!(value(&shuffled), value(&events.iter().collect::<Vec<_>>()));
    }
}

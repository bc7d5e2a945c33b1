//! Snapshots follow from changes alone, and their steps lead from one to the next.

use super::*;
use crate::fixture::*;
use crate::{Direction, Operator};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use rhizome_log::Delivery;
use rhizome_schema::{CollectionPath, Value, json};

fn query(limit: Option<usize>) -> Query {
    let query = Query::of(CollectionPath::parse("n").unwrap());
    let query = query.filter("a".parse().unwrap(), Operator::Greater, Value::Int(0));
    Query { limit, ..query.order_by("a".parse().unwrap(), Direction::Descending) }
}

fn show(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for doc in &snapshot.docs {
        out += &format!("{}={} ", doc.path.id(), json::fields_to_json(&doc.fields));
    }
    out += if snapshot.has_pending_writes { "pending:" } else { "settled:" };
    for change in &snapshot.changes {
        let place = |at: Option<usize>| at.map_or("-".to_owned(), |at| at.to_string());
        let (old, new) = (place(change.old_index), place(change.new_index));
        out += &format!(" {:?} {} {old}>{new}", change.kind, change.doc.path.id());
    }
    out + "\n"
}

#[track_caller]
fn check(limit: Option<usize>, news: &[&[crate::Mutation]], expected: &Expect) {
    let replica = Replica::default();
    let target = Target::Query(query(limit));
    let (mut listener, first) = Listener::open(&documents(), &replica.index, target).unwrap();
    let mut out = show(&first);
    for (seq, ops) in (1..).zip(news) {
        let changes = replica.deliver(&[Delivery::Pending(event(1, seq, seq, &[], body(ops)))]);
        match listener.update(&documents(), &replica.index, &changes).unwrap() {
            Some(snapshot) => out += &show(&snapshot),
            None => out += "nothing\n",
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn changes_come_in_query_order_with_places_at_each_step() {
    check(
        None,
        &[
            &[set("n/x", "{\"a\":1}"), set("n/y", "{\"a\":3}"), set("n/z", "{\"a\":2}")],
            &[assign("n/x", "a", "9")],
            &[assign("n/x", "a", "1"), set("n/w", "{\"a\":2}"), delete("n/y")],
            &[set("m/x", "{\"a\":1}")],
            &[assign("n/x", "a", "0")],
        ],
        &expect![[r#"
            settled:
            y={"a":3} z={"a":2} x={"a":1} pending: Added y ->0 Added z ->1 Added x ->2
            x={"a":9} y={"a":3} z={"a":2} pending: Modified x 2>0
            z={"a":2} w={"a":2} x={"a":1} pending: Removed y 1>- Added w ->2 Modified x 0>2
            nothing
            z={"a":2} w={"a":2} pending: Removed x 2>-
        "#]],
    );
}

#[test]
fn a_full_window_is_filled_from_behind() {
    check(
        Some(2),
        &[
            &[set("n/x", "{\"a\":1}"), set("n/y", "{\"a\":3}"), set("n/z", "{\"a\":2}")],
            &[delete("n/y")],
            &[set("n/v", "{\"a\":5}")],
        ],
        &expect![[r#"
            settled:
            y={"a":3} z={"a":2} pending: Added y ->0 Added z ->1
            z={"a":2} x={"a":1} pending: Removed y 0>- Added x ->1
            v={"a":5} z={"a":2} pending: Removed x 1>- Added v ->0
        "#]],
    );
}

#[test]
fn settling_is_metadata_only() {
    let mut replica = Replica::default();
    let target = Target::Document(path("n/a"));
    let (mut listener, _) = Listener::open(&documents(), &replica.index, target).unwrap();
    let event = event(1, 1, 5, &[], body(&[set("n/a", "{}")]));
    let mut hear = |news: Delivery| {
        let changes = replica.deliver(&[news]);
        listener.update(&documents(), &replica.index, &changes).unwrap().unwrap()
    };
    let seen = hear(Delivery::Pending(event.clone()));
    assert!(seen.has_pending_writes && !seen.is_metadata_only());
    let at = rhizome_log::Position { g: 1, i: 1 };
    let settled = hear(Delivery::Settled { log: event.log, seq: 1, at });
    assert!(!settled.has_pending_writes && settled.is_metadata_only());
    assert_eq!(replica.next().i, 1);
}

proptest! {
    #[test]
    fn a_listener_always_holds_what_asking_again_gives(
        limit in prop::option::of(1_usize..4),
        writes in prop::collection::vec(
            prop::collection::vec((0_u8..6, prop::option::of(0_i64..5)), 1..4), 1..12),
    ) {
        let replica = Replica::default();
        let target = Target::Query(query(limit));
        let (mut listener, mut old) =
            Listener::open(&documents(), &replica.index, target).unwrap();
        for (seq, write) in (1..).zip(&writes) {
            let ops: Vec<_> = write.iter().map(|(id, a)| match a {
                Some(a) => set(&format!("n/{id}"), &format!("{{\"a\":{a}}}")),
                None => delete(&format!("n/{id}")),
            }).collect();
            let event = event(1, seq, seq, &[], body(&ops));
            let changes = replica.deliver(&[Delivery::Pending(event)]);
            let new = listener.update(&documents(), &replica.index, &changes).unwrap();
            let asked = documents().query(&replica.index, &query(limit)).unwrap();
            prop_assert_eq!(listener.docs(), &asked[..]);
            let Some(new) = new else { continue };
            let mut stepped = old.docs.clone();
            for change in &new.changes {
                if let Some(at) = change.old_index {
                    prop_assert_eq!(&stepped.remove(at).path, &change.doc.path);
                }
                if let Some(at) = change.new_index {
                    stepped.insert(at, Arc::clone(&change.doc));
                }
            }
            prop_assert_eq!(&stepped, &new.docs);
            old = new;
        }
    }
}

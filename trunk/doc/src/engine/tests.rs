//! The state is a function of the committed prefix and the pending events, in any order of arrival.

use super::*;
use crate::fixture::*;
use crate::{FieldOp, Mutation};
use expect_test::expect;
use proptest::prelude::*;
use rhizome_schema::{Number, Value};

/// What a device does in a generated world: who writes, at what hour, knowing whom, and what.
#[derive(Clone, Debug)]
struct Deed {
    author: u8,
    late_ms: u64,
    hears: Vec<u8>,
    body: Result<Vec<Mutation>, Vec<u8>>,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_i64..4).prop_map(Value::Int),
        Just(Value::Array(vec![Value::Int(1)])),
        Just(Value::Map(fields("{\"x\":1}"))),
        Just(Value::Map(fields("{\"x\":{\"y\":2},\"z\":3}"))),
        Just(Value::Map(fields("{}"))),
    ]
}

fn field_ops() -> impl Strategy<Value = Vec<(rhizome_schema::FieldPath, FieldOp)>> {
    let op = prop_oneof![
        3 => value().prop_map(FieldOp::Assign),
        1 => Just(FieldOp::DeleteField),
        1 => Just(FieldOp::ServerTime),
        2 => (1_i64..9).prop_map(|by| FieldOp::Increment(Number::Int(by))),
        1 => (1_i64..9).prop_map(|by| FieldOp::Maximum(Number::Int(by))),
        1 => (1_i64..4).prop_map(|item| FieldOp::ArrayUnion(vec![Value::Int(item)])),
        1 => (1_i64..4).prop_map(|item| FieldOp::ArrayRemove(vec![Value::Int(item)])),
    ];
    let field = prop::sample::select(vec!["a", "b", "a.x", "a.x.y", "a.z"]);
    (field, op).prop_map(|(field, op)| vec![(field.parse().unwrap(), op)])
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = prop::sample::select(vec!["n/1", "n/2", "n/1/c/1"]);
    let map = || prop::collection::btree_map("[ab]", value(), 0..3);
    let exists = prop_oneof![8 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let op = prop_oneof![
        (map(), field_ops()).prop_map(|(value, ops)| {
            let merge = crate::Merge::All;
            crate::Op::Set { value, merge, ops }
        }),
        map().prop_map(|value| {
            crate::Op::Set { value, merge: crate::Merge::None, ops: Vec::new() }
        }),
        field_ops().prop_map(crate::Op::Update),
        field_ops().prop_map(crate::Op::Update),
        Just(crate::Op::Delete),
    ];
    (at, exists, op).prop_map(|(at, exists, op)| Mutation { path: path(at), exists, op })
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let body = prop_oneof![
        12 => prop::collection::vec(mutation(), 1..3).prop_map(Ok),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Err),
    ];
    let deed = (0_u8..3, 0_u64..40, prop::collection::vec(0_u8..3, 0..3), body)
        .prop_map(|(author, late_ms, hears, body)| Deed { author, late_ms, hears, body });
    prop::collection::vec(deed, 1..14)
}

/// Turns deeds into events whose clocks and knowledge fit together: an author knows what those it
/// heard of had written and known by then.
fn events(deeds: &[Deed]) -> Vec<OpenEvent> {
    let mut known = [[0_u64; 3]; 3];
    let mut clocks = [0_u64; 3];
    let mut events = Vec::new();
    for (at, deed) in deeds.iter().enumerate() {
        let me = usize::from(deed.author);
        for other in deed.hears.iter().map(|other| usize::from(*other)) {
            let theirs = known[other];
            known[me].iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = theirs.max(*mine));
            clocks[me] = clocks[me].max(clocks[other]);
        }
        known[me][me] += 1;
        clocks[me] = (clocks[me] + 1).max(at as u64 * 10 + deed.late_ms);
        let heads: Vec<(u8, u64)> = (0..3).map(|a| (a, known[me][usize::from(a)])).collect();
        let body = match &deed.body {
            Ok(ops) => Batch::new(ops.clone()).to_body().unwrap_or_default(),
            Err(bytes) => bytes.clone(),
        };
        events.push(event(deed.author, known[me][me], clocks[me], &heads, body));
    }
    events
}

/// Delivers `events` so that the first `committed` of them settle in their order (which respects
/// what their authors knew), pending or not before, in calls of one or more, by the numbers in
/// `how`.
fn replay(events: &[OpenEvent], committed: usize, how: &[u8]) -> Replica {
    let mut replica = Replica::default();
    let mut news = Vec::new();
    let pick = |i: usize| how[i % how.len()];
    let mut waiting: Vec<usize> = (0..events.len()).collect();
    waiting.sort_by_key(|i| (pick(*i), *i));
    waiting.retain(|i| *i >= committed || pick(*i) % 3 != 0);
    let mut done = vec![false; events.len()];
    let mut pend = |news: &mut Vec<Delivery>, done: &mut Vec<bool>, count: usize| {
        for other in waiting.drain(..count.min(waiting.len())) {
            if !std::mem::replace(&mut done[other], true) {
                news.push(Delivery::Pending(events[other].clone()));
            }
        }
    };
    for (i, event) in events.iter().enumerate().take(committed) {
        pend(&mut news, &mut done, usize::from(pick(i + 1) % 4));
        let at = replica.next();
        news.push(if std::mem::replace(&mut done[i], true) {
            Delivery::Settled { log: event.log, seq: event.seq, at }
        } else {
            Delivery::Effective { event: event.clone(), at }
        });
    }
    pend(&mut news, &mut done, events.len());
    for call in news.chunks(1 + usize::from(pick(0) % 5)) {
        replica.deliver(call);
    }
    replica
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn state_depends_on_events_and_committed_prefix_only(
        deeds in deeds(),
        share in 0_usize..=14,
        how in prop::collection::vec(prop::collection::vec(any::<u8>(), 4..20), 3),
    ) {
        let events = events(&deeds);
        let committed = share.min(events.len());
        let replicas: Vec<Replica> =
            how.iter().map(|how| replay(&events, committed, how)).collect();
        for replica in &replicas[1..] {
            prop_assert_eq!(replica.dump(), replicas[0].dump());
        }
        // A replica that hears of the committed prefix as one piece, then of the rest.
        let mut late = Replica::default();
        events[..committed].iter().for_each(|event| late.commit(event));
        let bare = late.dump();
        events[committed..].iter().for_each(|event| late.pend(event));
        prop_assert_eq!(late.dump(), replicas[0].dump());
        // Whatever is retracted leaves no trace.
        for event in events[committed..].iter().rev() {
            late.deliver(&[Delivery::Retracted { log: event.log, seq: event.seq }]);
        }
        prop_assert_eq!(late.dump(), bare);
    }

    #[test]
    fn a_snapshot_carries_everything_later_events_need(
        deeds in deeds(),
        share in 0_usize..=14,
    ) {
        let events = events(&deeds);
        let committed = share.min(events.len());
        let mut old = Replica::default();
        events[..committed].iter().for_each(|event| old.commit(event));
        let mut young = Replica::default();
        let mut overlay = Overlay::new(&young.index);
        documents().export_committed(&old.index, &mut |key, bytes, _| {
            documents().import_committed(&mut overlay, key, bytes).unwrap();
            ControlFlow::Continue(())
        }).unwrap();
        let batch = overlay.into_batch();
        young.index.write(batch).unwrap();
        (0..committed).for_each(|_| { young.next(); });
        let hash = |replica: &Replica| documents().state_hash(&replica.index).unwrap();
        prop_assert_eq!(hash(&young), hash(&old));
        let rest = &events[committed..];
        rest.iter().for_each(|event| { old.pend(event); young.pend(event); });
        prop_assert_eq!(hash(&young), hash(&old));
        rest.iter().for_each(|event| { old.settle(event); young.settle(event); });
        prop_assert_eq!(hash(&young), hash(&old));
        let hash = |replica: &Replica| documents().committed_hash(&replica.index).unwrap();
        prop_assert_eq!(hash(&young), hash(&old));
    }

    #[test]
    fn any_body_is_taken_without_a_panic(
        mut bytes in mutation().prop_map(|op| Batch::new(vec![op]).to_body().unwrap_or_default()),
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        for (at, flip) in flips {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= flip;
            }
        }
        let event = event(1, 1, 5, &[], bytes);
        let mut replica = Replica::default();
        replica.pend(&event);
        replica.settle(&event);
        let mut other = Replica::default();
        other.commit(&event);
        prop_assert_eq!(replica.dump(), other.dump());
    }
}

#[test]
fn an_own_write_is_seen_at_once_and_settles_silently() {
    let mut replica = Replica::default();
    let event = event(1, 1, 5, &[], body(&[set("notes/a", "{\"t\":1}")]));
    let seen = replica.deliver(&[Delivery::Pending(event.clone())]);
    assert!(seen[0].before.is_none() && seen[0].after.as_ref().unwrap().pending);
    let at = replica.next();
    let settled = replica.deliver(&[Delivery::Settled { log: event.log, seq: 1, at }]);
    let after = settled[0].after.as_ref().unwrap();
    assert!(!after.pending && after.at == Some(at));
    assert!(after.same_contents(seen[0].after.as_ref().unwrap()));
}

#[test]
fn a_batch_applies_whole_or_not_at_all() {
    let mut replica = Replica::default();
    let first = event(1, 1, 5, &[], body(&[set("n/a", "{\"t\":1}")]));
    replica.commit(&first);
    let batch = [set("n/b", "{}"), set("n/a", "{}").if_exists(false)];
    let second = event(1, 2, 6, &[], body(&batch));
    replica.pend(&second);
    assert!(replica.doc("n/b").is_none());
    replica.settle(&second);
    expect!["never\n"].assert_eq(&replica.show("n/b"));
    let outcome = documents().outcome(&replica.index, &second.log, 2).unwrap().unwrap();
    expect!["document n/a exists already"].assert_eq(&outcome.reason);
    assert!(!outcome.unreadable && outcome.at.is_some());
}

#[test]
fn the_verdict_on_a_pending_batch_follows_what_commits_before_it() {
    let mut replica = Replica::default();
    let create = [set("n/a", "{\"by\":1}").if_exists(false), set("n/b", "{}")];
    let mine = event(1, 1, 9, &[], body(&create));
    let theirs = event(2, 1, 5, &[], body(&[set("n/a", "{\"by\":2}").if_exists(false)]));
    replica.pend(&mine);
    assert!(replica.doc("n/b").is_some());
    replica.commit(&theirs);
    assert!(replica.doc("n/b").is_none(), "refused as a whole");
    expect![[r#"
        {"by":2} (1 pending)
    "#]]
    .assert_eq(&replica.show("n/a"));
    replica.settle(&mine);
    assert_eq!(documents().outcomes(&replica.index).unwrap().len(), 1);
}

#[test]
fn an_unreadable_body_is_kept_with_its_reason_everywhere() {
    let mut pended = Replica::default();
    let mut committed = Replica::default();
    let bad = event(1, 1, 5, &[], b"not a batch".to_vec());
    pended.pend(&bad);
    pended.settle(&bad);
    committed.commit(&bad);
    assert_eq!(pended.dump(), committed.dump());
    let outcome = documents().outcome(&pended.index, &bad.log, 1).unwrap().unwrap();
    expect!["bytes are not a batch of mutations"].assert_eq(&outcome.reason);
    assert!(outcome.unreadable);
}

#[test]
fn history_lists_committed_and_pending_changes() {
    let mut replica = Replica::default();
    replica.commit(&event(1, 1, 5, &[], body(&[set("n/a", "{\"t\":1}")])));
    replica.commit(&event(2, 1, 7, &[(1, 1)], body(&[merge("n/a", "{\"u\":1}")])));
    replica.pend(&event(1, 2, 9, &[(2, 1)], body(&[delete("n/a")])));
    let line = |entry: HistoryEntry| {
        let at = entry.at.map_or("pending".to_owned(), |at| at.i.to_string());
        format!("{at} by {} {}\n", entry.log.author.0[0], entry.summary.as_str())
    };
    let history = documents().history(&replica.index, &path("n/a")).unwrap();
    expect![[r#"
        1 by 1 set
        2 by 2 merge
        pending by 1 delete
    "#]]
    .assert_eq(&history.into_iter().map(line).collect::<String>());
}

#[test]
fn history_begins_where_a_snapshot_ended() {
    let mut replica = Replica::default();
    replica.commit(&event(1, 1, 5, &[], body(&[set("n/a", "{\"t\":1}"), set("n/b", "{}")])));
    let record = documents().record(&replica.index, &path("n/a")).unwrap().unwrap();
    let mut restored = Replica::default();
    let view = documents().keys.view(&path("n/a"));
    let mut rows = rhizome_log::Batch::default();
    rows.put(view, record.to_bytes());
    restored.index.write(rows).unwrap();
    let change = event(2, 1, 7, &[(1, 1)], body(&[merge("n/a", "{\"u\":1}")]));
    let count =
        |replica: &Replica, at| documents().history(&replica.index, &path(at)).unwrap().len();
    for replica in [&mut replica, &mut restored] {
        replica.commit(&change);
    }
    assert_eq!((count(&replica, "n/a"), count(&replica, "n/b")), (2, 1));
    assert_eq!(count(&restored, "n/a"), 1);
}

#[test]
fn news_of_other_apps_is_passed_over() {
    let replica = Replica::default();
    let mut other = event(1, 1, 5, &[], body(&[set("n/a", "{}")]));
    other.app = "org.example.other".into();
    let (log, seq, at) = (other.log, 1, Position { g: 1, i: 1 });
    let news = [Delivery::Pending(other), Delivery::Settled { log, seq, at }];
    assert!(replica.deliver(&news).is_empty() && replica.dump().is_empty());
}

#[test]
fn a_write_is_checked_against_what_is_seen_here() {
    let mut replica = Replica::default();
    replica.commit(&event(1, 1, 5, &[], body(&[set("n/a", "{}"), set("n/gone", "{}")])));
    replica.commit(&event(1, 2, 6, &[], body(&[delete("n/gone")])));
    let check = |op: Mutation| {
        let overlay = Overlay::new(&replica.index);
        let checked = documents().check(&overlay, &Batch::new(vec![op]));
        checked.map_or_else(|error| error.code().as_str(), |()| "ok")
    };
    assert_eq!(check(assign("n/a", "t", "1")), "ok");
    assert_eq!(check(assign("n/none", "t", "1")), "not-found");
    assert_eq!(check(assign("n/gone", "t", "1")), "not-found");
    assert_eq!(check(set("n/a", "{}").if_exists(false)), "already-exists");
    assert_eq!(check(set("n/a", "{\"__x__\":1}")), "invalid-argument");
}

#[test]
fn version_2_of_every_space_is_as_its_fixture_says() {
    let mut replica = Replica::default();
    replica.commit(&event(1, 1, 5, &[], body(&[set("n/a", "{\"t\":1}")])));
    replica.commit(&event(1, 2, 6, &[], b"bad".to_vec()));
    let mut overlay = Overlay::new(&replica.index);
    let parts = [crate::Part { field: "t".parse().unwrap(), kind: crate::PartKind::Ascending }];
    let scope = Scope::Collection(rhizome_schema::CollectionPath::parse("n").unwrap());
    documents().build_index(&mut overlay, &scope, &parts, 9).unwrap();
    let batch = overlay.into_batch();
    replica.index.write(batch).unwrap();
    let ops = [merge("n/a", "{\"u\":2}"), set("n/a", "{}").if_exists(false)];
    replica.pend(&event(2, 1, 7, &[(1, 1)], body(&ops)));
    replica.pend(&event(2, 2, 8, &[(1, 1)], body(&[assign("n/a", "t", "2")])));
    let mut bytes = Vec::new();
    for (key, value) in replica.dump() {
        rhizome_schema::binary::put_bytes(&mut bytes, &key);
        rhizome_schema::binary::put_bytes(&mut bytes, &value);
    }
    let spaces: BTreeSet<u8> = replica.dump().iter().map(|(key, _)| key[0]).collect();
    assert_eq!(spaces.into_iter().collect::<Vec<_>>(), (0x10..=0x17).collect::<Vec<u8>>());
    let at = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/index-v2.bin");
    assert_eq!(stored(at, || bytes.clone()), bytes);
}

/// `RHIZOME_LONG=1 cargo test --release -p rhizome-doc -- --nocapture measure` prints what a write
/// costs.
#[test]
#[expect(clippy::disallowed_methods, reason = "test")]
fn measure_writes() {
    let writes: u64 = if std::env::var_os("RHIZOME_LONG").is_some() { 20_000 } else { 200 };
    let json = r#"{"title":"Shopping","body":"bread, butter and a book","done":false,"n":12}"#;
    let events: Vec<OpenEvent> = (1..=writes)
        .map(|seq| event(1, seq, seq, &[(2, 1)], body(&[set(&format!("notes/{seq}"), json)])))
        .collect();
    let per_write = |name: &str, start: std::time::Instant| {
        println!("{name}: {:.2} us", start.elapsed().as_secs_f64() * 1e6 / writes as f64);
    };
    let start = std::time::Instant::now();
    events.iter().for_each(|event| drop(Batch::from_body(&event.body).unwrap()));
    per_write("reading the body", start);
    let mut replica = Replica::default();
    let news = |replica: &mut Replica, event: &OpenEvent| {
        let at = replica.next();
        Delivery::Effective { event: event.clone(), at }
    };
    let all: Vec<Delivery> = events.iter().map(|event| news(&mut replica, event)).collect();
    let start = std::time::Instant::now();
    all.chunks(1_000).for_each(|call| drop(replica.deliver(call)));
    per_write("effective, 1,000 a call", start);
    let mut replica = Replica::default();
    let start = std::time::Instant::now();
    events.iter().for_each(|event| replica.pend(event));
    per_write("pending, one a call", start);
    let start = std::time::Instant::now();
    events.iter().for_each(|event| replica.settle(event));
    per_write("settled, one a call", start);
    let start = std::time::Instant::now();
    assert!((1..=writes).all(|seq| replica.doc(&format!("notes/{seq}")).is_some()));
    per_write("get", start);
    let mut replica = Replica::default();
    let add = || body(&[update("n/a", &[("t", FieldOp::Increment(Number::Int(1)))])]);
    replica.commit(&event(1, 1, 1, &[], body(&[set("n/a", "{\"t\":0}")])));
    let adds: Vec<OpenEvent> = (2..=writes).map(|seq| event(1, seq, seq, &[], add())).collect();
    let start = std::time::Instant::now();
    adds.iter().for_each(|event| replica.pend(event));
    per_write("pending on one document", start);
    let start = std::time::Instant::now();
    let settled: Vec<Delivery> = adds
        .iter()
        .map(|event| Delivery::Settled { log: event.log, seq: event.seq, at: replica.next() })
        .collect();
    settled.chunks(1_000).for_each(|call| drop(replica.deliver(call)));
    per_write("settled on one document, 1,000 a call", start);
    assert_eq!(replica.show("n/a"), format!("{{\"t\":{}}}\n", writes - 1));
}

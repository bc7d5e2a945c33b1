//! An index gives what a scan gives, and stays right.

use super::*;
use crate::fixture::*;
use crate::query::Cursor;
use expect_test::expect;
use proptest::prelude::*;
use rhizome_log::Delivery;
use rhizome_schema::FieldPath;

fn collection() -> CollectionPath {
    CollectionPath::parse("n").unwrap()
}

fn name(field: &str) -> FieldPath {
    field.parse().unwrap()
}

fn ids(docs: &[Arc<Doc>]) -> Vec<String> {
    docs.iter().map(|doc| doc.path.id().to_owned()).collect()
}

/// Builds what the query wants, two documents at a time.
fn build(replica: &Replica, query: &Query) {
    while let Plan::Scan { wanted } = documents().plan(&replica.index, query).unwrap() {
        let mut overlay = Overlay::new(&replica.index);
        documents().build_index(&mut overlay, &query.collection, &wanted, 2).unwrap();
        let batch = overlay.into_batch();
        replica.index.write(batch).unwrap();
    }
}

fn write(replica: &Replica, seq: u64, ops: &[crate::Mutation]) {
    replica.deliver(&[Delivery::Pending(event(1, seq, seq, &[], body(ops)))]);
}

#[test]
fn a_query_reads_one_range_once_its_index_is_built() {
    let replica = Replica::default();
    for (seq, (a, b)) in (1..).zip([(1, 1), (2, 5), (1, 9), (1, 4), (3, 3)]) {
        write(&replica, seq, &[set(&format!("n/{seq}"), &format!("{{\"a\":{a},\"b\":{b}}}"))]);
    }
    let query = Query::of(collection())
        .filter(name("a"), Operator::Equal, Value::Int(1))
        .filter(name("b"), Operator::Greater, Value::Int(1))
        .order_by(name("b"), Direction::Descending);
    let plan = |query: &Query| documents().plan(&replica.index, query).unwrap().explain();
    expect!["looks at every document; an index on a, b is not built yet"].assert_eq(&plan(&query));
    assert_eq!(ids(&documents().query(&replica.index, &query).unwrap()), ["3", "4"]);
    build(&replica, &query);
    expect!["reads one range of the index on a, b"].assert_eq(&plan(&query));
    assert_eq!(ids(&documents().query(&replica.index, &query).unwrap()), ["3", "4"]);
    write(&replica, 9, &[set("n/9", "{\"a\":1,\"b\":5}"), delete("n/3")]);
    assert_eq!(ids(&documents().query(&replica.index, &query).unwrap()), ["9", "4"]);
    assert_eq!(ids(&documents().query(&replica.index, &query.limit(1)).unwrap()), ["9"]);
}

#[test]
fn a_damaged_index_is_noticed() {
    let replica = Replica::default();
    write(&replica, 1, &[set("n/1", "{\"a\":1}"), set("n/2", "{\"a\":2}")]);
    build(&replica, &Query::of(collection()).order_by(name("a"), Direction::Ascending));
    let check = || documents().check_indexes(&replica.index).unwrap();
    assert!(check().is_right() && check().right == 2);
    let entry = replica.dump().into_iter().find(|(key, _)| key[0] == keys::ENTRY).unwrap();
    let mut batch = rhizome_log::Batch::default();
    batch.remove(entry.0);
    replica.index.write(batch).unwrap();
    assert_eq!(check().missing, 1);
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_code() {
    let replica = Replica::default();
    let code = |query: &Query| {
        let answer = documents().query(&replica.index, query);
        answer.map_or_else(|error| error.code().as_str(), |_| "ok")
    };
    let all = Query::of(collection());
    let one = Cursor { values: vec![Value::Null], inclusive: true };
    assert_eq!(code(&all), "ok");
    assert_eq!(code(&all.clone().limit(0)), "invalid-argument");
    assert_eq!(code(&Query { start: Some(one), ..all.clone() }), "invalid-argument");
    assert_eq!(code(&all.filter(name("a"), Operator::In, Value::Int(1))), "invalid-argument");
    assert_eq!(Operator::parse("!=").unwrap_err().code().as_str(), "unimplemented");
    assert_eq!(Operator::parse("=").unwrap_err().code().as_str(), "invalid-argument");
}

#[test]
fn null_and_nan_satisfy_no_inequality_and_no_in() {
    let replica = Replica::default();
    let docs = ["null", "{\"$double\":\"NaN\"}", "1", "1.5", "\"1\"", "[1]"];
    for (seq, a) in (1..).zip(docs) {
        write(&replica, seq, &[set(&format!("n/{seq}"), &format!("{{\"a\":{a}}}"))]);
    }
    let ask = |operator, json: &str| {
        let value = rhizome_schema::json::from_json(json).unwrap();
        let query = Query::of(collection()).filter(name("a"), operator, value);
        let scanned = ids(&documents().query(&replica.index, &query).unwrap());
        build(&replica, &query);
        assert_eq!(ids(&documents().query(&replica.index, &query).unwrap()), scanned);
        scanned.join(" ")
    };
    assert_eq!(ask(Operator::LessOrEqual, "5"), "3 4");
    assert_eq!(ask(Operator::GreaterOrEqual, "{\"$double\":\"NaN\"}"), "");
    assert_eq!(ask(Operator::Equal, "{\"$double\":\"NaN\"}"), "2");
    assert_eq!(ask(Operator::Equal, "null"), "1");
    assert_eq!(ask(Operator::In, "[null,1.0,{\"$double\":\"NaN\"}]"), "3");
    assert_eq!(ask(Operator::ArrayContains, "1"), "6");
    assert_eq!(ask(Operator::Greater, "\"0\""), "5");
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (0_i64..4).prop_map(Value::Int),
        1 => Just(Value::Double(1.5)),
        1 => Just(Value::Null),
        1 => Just(Value::Text("x".to_owned())),
        1 => (0_i64..3).prop_map(|i| Value::Array(vec![Value::Int(i), Value::Int(1)])),
    ]
}

fn queries() -> impl Strategy<Value = Query> {
    let operator = prop::sample::select(vec![
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Equal,
        Operator::Equal,
        Operator::GreaterOrEqual,
        Operator::Greater,
        Operator::ArrayContains,
    ]);
    let field = || prop::sample::select(vec!["a", "b", "c"]).prop_map(name);
    let direction = prop::sample::select(vec![Direction::Ascending, Direction::Descending]);
    let filter = (field(), operator, values());
    let cursor = || prop::option::of((values(), any::<bool>()));
    let parts = (
        prop::collection::vec(filter, 0..3),
        prop::collection::vec((field(), direction), 0..3),
        cursor(),
        cursor(),
        prop::option::of(1_usize..4),
    );
    parts.prop_map(|(filters, order, start, end, limit)| {
        let mut query = Query { limit, ..Query::of(collection()) };
        for (field, operator, value) in filters {
            query = query.filter(field, operator, value);
        }
        for (field, direction) in order {
            if query.order.iter().all(|(other, _)| *other != field) {
                query = query.order_by(field, direction);
            }
        }
        if !query.order.is_empty() {
            let cursor = |(value, inclusive)| Cursor { values: vec![value], inclusive };
            (query.start, query.end) = (start.map(cursor), end.map(cursor));
        }
        query
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn an_index_gives_what_a_scan_gives_before_and_after_writes(
        query in queries(),
        docs in prop::collection::vec(
            (0_u8..12, prop::option::of(prop::collection::btree_map("[abc]", values(), 0..4))),
            1..24,
        ),
        half in 0_usize..24,
    ) {
        let (indexed, plain) = (Replica::default(), Replica::default());
        for (seq, (id, fields)) in (1..).zip(&docs) {
            let at = path(&format!("n/{id}"));
            let op = match fields {
                Some(fields) => crate::Mutation::set(at, fields.clone()),
                None => crate::Mutation::delete(at),
            };
            write(&indexed, seq, std::slice::from_ref(&op));
            write(&plain, seq, &[op]);
            if seq as usize == half {
                build(&indexed, &query);
            }
        }
        build(&indexed, &query);
        let answer = |replica: &Replica| documents().query(&replica.index, &query).unwrap();
        let (by_index, by_scan) = (answer(&indexed), answer(&plain));
        prop_assert_eq!(&by_index, &by_scan);
        let mut all: Vec<_> = (0..12)
            .filter_map(|id| plain.doc(&format!("n/{id}")))
            .filter(|doc| query.matches(&doc.fields))
            .collect();
        all.sort_by(|a, b| query.compare(a, b));
        all.truncate(query.limit.unwrap_or(usize::MAX));
        prop_assert_eq!(by_scan, all);
        prop_assert!(documents().check_indexes(&indexed.index).unwrap().is_right());
    }
}

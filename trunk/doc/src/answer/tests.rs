//! An index gives what a scan gives, and stays right.

use super::*;
use crate::fixture::*;
use crate::query::Cursor;
use crate::{Condition, Filter, Operator};
use expect_test::expect;
use proptest::prelude::*;
use rhizome_log::Delivery;
use rhizome_schema::{CollectionPath, FieldPath, Value};
use std::sync::atomic::{AtomicUsize, Ordering};

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
        documents().build_index(&mut overlay, &query.scope, &wanted, 2).unwrap();
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
fn a_range_of_a_field_that_an_index_turns_over_is_found() {
    let replica = Replica::default();
    for (seq, (a, b)) in (1..).zip([(1, 1), (2, 5), (2, 9), (4, 4), (3, 3)]) {
        write(&replica, seq, &[set(&format!("n/{seq}"), &format!("{{\"a\":{a},\"b\":{b}}}"))]);
    }
    let query = Query::of(collection())
        .filter(name("a"), Operator::GreaterOrEqual, Value::Int(2))
        .filter(name("a"), Operator::Less, Value::Int(4))
        .order_by(name("a"), Direction::Descending)
        .order_by(name("b"), Direction::Ascending);
    build(&replica, &query);
    let plan = documents().plan(&replica.index, &query).unwrap().explain();
    expect!["reads one range of the index on a descending, b"].assert_eq(&plan);
    assert_eq!(ids(&documents().query(&replica.index, &query).unwrap()), ["5", "2", "3"]);
}

/// How many rows of the index a query reads once what it wants is built.
fn rows_read(replica: &Replica, query: &Query) -> usize {
    struct Counted<'a>(&'a dyn Index, AtomicUsize);
    impl Index for Counted<'_> {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, rhizome_log::IndexError> {
            self.0.get(key)
        }
        fn scan(
            &self,
            from: Bound<&[u8]>,
            to: Bound<&[u8]>,
            reverse: bool,
            visit: &mut rhizome_log::Visit<'_>,
        ) -> Result<(), rhizome_log::IndexError> {
            self.0.scan(from, to, reverse, &mut |key, value| {
                self.1.fetch_add(1, Ordering::Relaxed);
                visit(key, value)
            })
        }
        fn write(&self, batch: rhizome_log::Batch) -> Result<(), rhizome_log::IndexError> {
            self.0.write(batch)
        }
    }
    build(replica, query);
    let counted = Counted(&replica.index, AtomicUsize::new(0));
    documents().query(&counted, query).unwrap();
    counted.1.into_inner()
}

#[test]
fn a_query_reads_no_more_than_its_result() {
    let replica = Replica::default();
    for at in 0..400_u64 {
        let state = if at % 100 == 7 { "open" } else { "done" };
        let fields = format!("{{\"n\":{at},\"state\":\"{state}\",\"tags\":[{at},\"all\"]}}");
        write(&replica, at + 1, &[set(&format!("n/{at}"), &fields)]);
    }
    let (all, by_n) = (Query::of(collection()), |direction| {
        Query::of(collection()).order_by(name("n"), direction)
    });
    let is = |field: &str, operator, value: Value| {
        Condition::Is(Filter { field: name(field), operator, value })
    };
    let int = |n: i64| Value::Int(n);
    let cursor = |n| Some(Cursor { values: vec![int(n)], inclusive: false });
    let either = Condition::Any(vec![
        is("n", Operator::Equal, int(5)),
        is("state", Operator::Equal, Value::from("open")),
    ]);
    let some = Value::Array(vec![int(3), int(9), int(900)]);
    let cases = [
        (Query { start: cursor(300), ..by_n(Direction::Ascending) }.limit(5), 5),
        (Query { start: cursor(300), ..by_n(Direction::Descending) }.limit(5), 5),
        (Query { end: cursor(300), ..by_n(Direction::Ascending) }.limit_to_last(5), 5),
        (all.clone().filter(name("state"), Operator::NotEqual, Value::from("done")), 4),
        (all.clone().filter(name("n"), Operator::In, some.clone()), 2),
        (all.clone().filter(name("tags"), Operator::ArrayContainsAny, some), 2),
        (all.clone().and(either), 5),
        (all.filter(name("n"), Operator::GreaterOrEqual, int(398)), 2),
        (Query::of(Scope::Group("n".to_owned())).limit(3), 3),
    ];
    for (query, found) in cases {
        assert_eq!(documents().query(&replica.index, &query).unwrap().len(), found, "{query:?}");
        assert_eq!(rows_read(&replica, &query), found, "{query:?}");
    }
}

#[test]
fn a_cursor_at_a_document_goes_on_behind_it() {
    let replica = Replica::default();
    let ops: Vec<_> = (0..6).map(|n| set(&format!("n/{n}"), "{\"a\":1}")).collect();
    write(&replica, 1, &ops);
    let mut query = Query::of(collection()).order_by(name("a"), Direction::Descending);
    let doc = replica.doc("n/3").unwrap();
    query.start = query.cursor_at(&doc, false);
    assert_eq!(ids(&documents().query(&replica.index, &query).unwrap()), ["2", "1", "0"]);
    write(&replica, 2, &[set("n/bare", "{}")]);
    let bare = replica.doc("n/bare").unwrap();
    assert_eq!(query.cursor_at(&bare, true), None);
}

#[test]
fn sums_and_averages_are_of_numbers() {
    use crate::Aggregate::{Average, Count, Sum};
    let replica = Replica::default();
    let docs = ["{\"a\":1,\"b\":2}", "{\"a\":2.5}", "{\"a\":\"x\",\"b\":4}", "{\"c\":1}"];
    for (seq, fields) in (1..).zip(docs) {
        write(&replica, seq, &[set(&format!("n/{seq}"), fields)]);
    }
    let all = Query::of(collection());
    let ask =
        |asked: &[crate::Aggregate]| documents().aggregate(&replica.index, &all, asked).unwrap();
    assert_eq!(ask(&[Count]), [Value::Int(4)]);
    assert_eq!(ask(&[Count, Sum(name("a"))]), [Value::Int(3), Value::Double(3.5)]);
    assert_eq!(ask(&[Average(name("a")), Sum(name("b"))]), [Value::Double(1.0), Value::Int(6)]);
    assert_eq!(ask(&[Average(name("d")), Sum(name("d"))]), [Value::Null, Value::Int(0)]);
    write(&replica, 9, &[set("n/9", "{\"b\":9223372036854775807}")]);
    assert_eq!(ask(&[Sum(name("b"))]), [Value::Double(9_223_372_036_854_775_813.0)]);
}

#[test]
fn what_firestore_refuses_is_refused() {
    let is = |field: &str, sign: &str, value: Value| {
        let operator = Operator::parse(sign).unwrap();
        Condition::Is(Filter { field: name(field), operator, value })
    };
    let list = |n: usize| Value::Array((0..n as i64).map(Value::Int).collect());
    let one = || Value::Int(1);
    let of = |conditions: Vec<Condition>| {
        let query = Query { conditions, ..Query::of(collection()) };
        query.validate().map_or_else(|error| error.to_string(), |()| "asked".to_owned())
    };
    let any = |conditions| vec![Condition::Any(conditions)];
    let by_name = |value| {
        let (field, operator) = (FieldPath::document_id(), Operator::Equal);
        vec![Condition::Is(Filter { field, operator, value })]
    };
    let said = [
        of(vec![is("a", "!=", one()), is("b", "!=", one())]),
        of(vec![is("a", "!=", one()), is("b", "not-in", list(1))]),
        of(vec![is("a", "not-in", list(1)), is("b", "in", list(1))]),
        of(vec![is("a", "not-in", list(1)), is("b", "array-contains-any", list(1))]),
        of(vec![is("a", "not-in", list(1)), is("b", "not-in", list(1))]),
        of([
            any(vec![is("a", "==", one()), is("b", "==", one())]),
            vec![is("c", "not-in", list(1))],
        ]
        .concat()),
        of(vec![is("a", "in", list(0))]),
        of(vec![is("a", "not-in", list(11))]),
        of(vec![is("a", "in", list(6)), is("b", "array-contains-any", list(6))]),
        of(any(vec![])),
        of(by_name(one())),
        of(by_name(Value::Reference(path("m/1")))),
        of(vec![is("a", "in", list(30))]),
        of(by_name(Value::Reference(path("n/1")))),
    ];
    expect![[r#"
        `!=` cannot be used with another `!=`
        `not-in` cannot be used with `!=`
        `not-in` cannot be used with `in`
        `not-in` cannot be used with `array-contains-any`
        `not-in` cannot be used with another `not-in`
        `not-in` cannot be used with or()
        `in` needs an array of 1 to 30 values
        `not-in` needs an array of 1 to 10 values
        36 alternatives of or() and lists are more than 30
        and() and or() need a condition
        the document's name must be compared with a document of the collection
        the document's name must be compared with a document of the collection
        asked
        asked
    "#]]
    .assert_eq(&said.map(|line| line + "\n").concat());
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
        1 => Just(Value::Double(f64::NAN)),
        1 => Just(Value::Null),
        1 => Just(Value::Text("x".to_owned())),
        1 => (0_i64..3).prop_map(|i| Value::Array(vec![Value::Int(i), Value::Int(1)])),
    ]
}

/// Documents of a collection, of its namesake below a document, and of another.
const PLACES: [&str; 3] = ["n", "n/1/n", "m"];

fn place(at: u8) -> DocPath {
    path(&format!("{}/{}", PLACES[usize::from(at) % 3], at / 3))
}

fn scopes() -> impl Strategy<Value = Scope> {
    let group = Just(Scope::Group("n".to_owned()));
    prop_oneof![2 => Just(Scope::Collection(collection())), 1 => group]
}

fn filters() -> impl Strategy<Value = Filter> {
    let operator = prop::sample::select(vec!["<", "<=", "==", "==", "!=", ">=", ">"]);
    let lists = prop::sample::select(vec!["in", "not-in", "array-contains-any"]);
    let field = || prop::sample::select(vec!["a", "b", "c"]).prop_map(name);
    let filter =
        |field, sign, value| Filter { field, operator: Operator::parse(sign).unwrap(), value };
    let list = prop::collection::vec(values(), 1..3).prop_map(Value::Array);
    let named = prop::sample::select(vec!["<", "==", "!=", ">="]);
    prop_oneof![
        4 => (field(), operator, values()).prop_map(move |(f, o, v)| filter(f, o, v)),
        1 => (field(), values()).prop_map(move |(f, v)| filter(f, "array-contains", v)),
        2 => (field(), lists, list).prop_map(move |(f, o, v)| filter(f, o, v)),
        1 => (named, 0_u8..36).prop_map(move |(o, at)| {
            filter(FieldPath::document_id(), o, Value::Reference(place(at)))
        }),
    ]
}

fn conditions() -> impl Strategy<Value = Condition> {
    let is = filters().prop_map(Condition::Is);
    is.prop_recursive(2, 6, 3, |inner| {
        let some = prop::collection::vec(inner, 1..3);
        prop_oneof![some.clone().prop_map(Condition::Any), some.prop_map(Condition::All)]
    })
}

fn queries() -> impl Strategy<Value = Query> {
    let direction = || prop::sample::select(vec![Direction::Ascending, Direction::Descending]);
    let field = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c"]).prop_map(name),
        1 => Just(FieldPath::document_id()),
    ];
    let cursor =
        || prop::option::of((prop::collection::vec(values(), 1..3), 0_u8..36, any::<bool>()));
    let parts = (
        scopes(),
        prop::collection::vec(conditions(), 0..3),
        prop::collection::vec((field, direction()), 0..3),
        cursor(),
        cursor(),
        prop::option::of(1_usize..4),
        any::<bool>(),
    );
    let query = parts.prop_map(|(scope, conditions, order, start, end, limit, last)| {
        let mut query = Query { limit, conditions, ..Query::of(scope) };
        for (field, direction) in order {
            query = query.order_by(field, direction);
        }
        query.last = last && limit.is_some() && !query.order.is_empty();
        let cursor = |(values, at, inclusive): (Vec<Value>, u8, bool)| {
            let one = |((field, _), value): (&(FieldPath, Direction), Value)| {
                if field.is_document_id() { Value::Reference(place(at)) } else { value }
            };
            Cursor { values: query.order.iter().zip(values).map(one).collect(), inclusive }
        };
        let (start, end) = (start.map(cursor), end.map(cursor));
        Query { start, end, ..query }
    });
    query.prop_filter("it can be asked", |query| query.validate().is_ok())
}

/// What a query must give, by its meaning alone.
fn meant(replica: &Replica, query: &Query) -> Vec<Arc<Doc>> {
    let all = (0..36).filter_map(|at| replica.doc(place(at).as_str()));
    let mut all: Vec<_> = all.filter(|doc| query.matches(doc)).collect();
    all.sort_by(|a, b| query.compare(a, b));
    let limit = query.limit.unwrap_or(usize::MAX);
    if query.last {
        all.drain(..all.len().saturating_sub(limit));
    }
    all.truncate(limit);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_index_gives_what_a_scan_gives_before_and_after_writes(
        query in queries(),
        docs in prop::collection::vec(
            (0_u8..36, prop::option::of(prop::collection::btree_map("[abc]", values(), 0..4))),
            1..40,
        ),
        half in 0_usize..40,
    ) {
        let (indexed, plain) = (Replica::default(), Replica::default());
        let target = crate::Target::Query(query.clone());
        let (mut listener, _) =
            crate::Listener::open(&documents(), &indexed.index, target).unwrap();
        for (seq, (at, fields)) in (1..).zip(&docs) {
            let op = match fields {
                Some(fields) => crate::Mutation::set(place(*at), fields.clone()),
                None => crate::Mutation::delete(place(*at)),
            };
            let news = event(1, seq, seq, &[], body(std::slice::from_ref(&op)));
            let changes = indexed.deliver(&[Delivery::Pending(news)]);
            listener.update(&documents(), &indexed.index, &changes).unwrap();
            write(&plain, seq, &[op]);
            if seq as usize == half {
                build(&indexed, &query);
            }
        }
        build(&indexed, &query);
        let answer = |replica: &Replica| documents().query(&replica.index, &query).unwrap();
        let meant = meant(&plain, &query);
        prop_assert_eq!(&answer(&plain), &meant);
        prop_assert_eq!(&answer(&indexed), &meant);
        prop_assert_eq!(listener.docs(), &meant);
        prop_assert!(documents().check_indexes(&indexed.index).unwrap().is_right());
    }
}

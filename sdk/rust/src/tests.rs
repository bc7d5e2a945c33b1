//! The library as an application uses it, over a real replica in a folder of its own.

use super::*;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long anything may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Todo {
    text: String,
    done: bool,
    rank: i64,
    weight: f64,
    tags: Vec<String>,
    note: Option<String>,
}

fn todo(text: &str, rank: i64) -> Todo {
    let tags = vec!["home".to_owned()];
    Todo { text: text.to_owned(), done: false, rank, weight: 1.0, tags, note: None }
}

fn app() -> App {
    App::new("org.example.todo").read_write("todos").read("friends")
}

async fn open(dir: &tempfile::TempDir) -> (Rhizome, Database) {
    let rhizome = Rhizome::open(dir.path()).await.unwrap();
    let db = rhizome.connect(app()).unwrap();
    (rhizome, db)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_typed_also_after_opening_again() {
    let dir = folder();
    let (rhizome, db) = open(&dir).await;
    let todos = db.collection::<Todo>("todos").unwrap();
    let milk = todos.doc("milk").unwrap();
    let written = milk.set(&todo("buy milk", 1)).await.unwrap();
    written.committed(TIMEOUT).await.unwrap();
    let (bread, _) = todos.add(&todo("buy bread", 2)).await.unwrap();
    assert_eq!(bread.id().len(), 20);
    rhizome.close().await;
    let gone = milk.set(&todo("too late", 0)).await.err().unwrap();
    assert_eq!(gone.code(), Code::Unavailable);
    drop((rhizome, db, todos, milk, bread, written));

    let (rhizome, db) = open(&dir).await;
    let todos = db.collection::<Todo>("todos").unwrap();
    let milk = todos.doc("milk").unwrap().get().await.unwrap().unwrap();
    assert_eq!((milk.data, milk.path.as_str()), (todo("buy milk", 1), "todos/milk"));
    assert_eq!(todos.get().await.unwrap().len(), 2);
    rhizome.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_change_by_operations_and_batches_apply_whole_or_not_at_all() {
    let dir = folder();
    let (rhizome, db) = open(&dir).await;
    let todos = db.collection::<Todo>("todos").unwrap();
    let (a, b) = (todos.doc("a").unwrap(), todos.doc("b").unwrap());
    a.create(&todo("a", 1)).await.unwrap();
    let update = Update::new()
        .set("note", "soon")
        .increment("rank", 4)
        .maximum("weight", 2.5)
        .array_union("tags", ["work"])
        .array_remove("tags", ["home"]);
    let twice = a.update(update).await.err().unwrap();
    assert_eq!(twice.code(), Code::InvalidArgument, "one field, two operations");
    let update = Update::new().set("note", "soon").increment("rank", 4).maximum("weight", 2.5);
    a.update(update.array_union("tags", ["work"])).await.unwrap();
    let seen = a.get().await.unwrap().unwrap().data;
    assert_eq!((seen.rank, seen.weight, seen.note.as_deref()), (5, 2.5, Some("soon")));
    assert_eq!(seen.tags, ["home", "work"]);

    let missing = db.batch().delete(&a).update(&b, Update::new().set("done", true));
    assert_eq!(missing.commit().await.err().unwrap().code(), Code::NotFound);
    assert!(a.get().await.unwrap().is_some(), "the other half was not applied");
    db.batch().delete(&a).set(&b, &todo("b", 2)).commit().await.unwrap();
    assert!(a.get().await.unwrap().is_none());
    b.merge(&serde_json::json!({ "done": true })).await.unwrap();
    assert!(b.get().await.unwrap().unwrap().data.done);
    rhizome.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_filter_order_and_limit() {
    let dir = folder();
    let (rhizome, db) = open(&dir).await;
    let todos = db.collection::<Todo>("todos").unwrap();
    for rank in 0..10 {
        let id = format!("t{rank}");
        todos.doc(&id).unwrap().set(&todo(&id, rank)).await.unwrap();
    }
    todos.doc("t7").unwrap().update(Update::new().set("done", true)).await.unwrap();
    let open = || todos.query().filter("done", Operator::Equal, false);
    let few = open().filter("rank", Operator::Greater, 5).order_by("rank", Direction::Descending);
    let ids = |found: Vec<Document<Todo>>| found.into_iter().map(|doc| doc.id).collect::<Vec<_>>();
    assert_eq!(ids(few.limit(2).get().await.unwrap()), ["t9", "t8"]);
    assert_eq!(open().get().await.unwrap().len(), 9);
    let wrong = open().limit(0).get().await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    rhizome.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_the_result_and_then_each_change_of_it() {
    let dir = folder();
    let (rhizome, db) = open(&dir).await;
    let todos = db.collection::<Todo>("todos").unwrap();
    let first = todos.doc("first").unwrap();
    first.set(&todo("first", 1)).await.unwrap().committed(TIMEOUT).await.unwrap();
    let query = todos.query().order_by("rank", Direction::Ascending);
    let mut all = Box::pin(query.watch().await.unwrap().into_stream());
    let mut one = first.watch().await.unwrap();
    assert_eq!(all.next().await.unwrap().unwrap().docs.len(), 1);
    assert_eq!(one.next().await.unwrap().unwrap().data.rank, 1);

    todos.doc("second").unwrap().set(&todo("second", 0)).await.unwrap();
    let told = all.next().await.unwrap().unwrap();
    assert_eq!(
        told.docs.iter().map(|doc| doc.id.as_str()).collect::<Vec<_>>(),
        ["second", "first"]
    );
    assert_eq!((told.changes[0].kind, told.changes[0].new_index), (Kind::Added, Some(0)));

    first.delete().await.unwrap();
    assert!(one.next().await.unwrap().is_none());
    assert_eq!(all.next().await.unwrap().unwrap().changes[0].kind, Kind::Removed);
    rhizome.close().await;
    assert_eq!(one.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_app_did_not_ask_for_is_denied() {
    let dir = folder();
    let (rhizome, db) = open(&dir).await;
    let denied = |error: Error| assert_eq!(error.code(), Code::PermissionDenied);
    denied(db.collection::<Todo>("secrets").err().unwrap());
    denied(db.collection::<Todo>("todosandmore").err().unwrap());
    let friends = db.collection::<Todo>("friends").unwrap();
    assert_eq!(friends.get().await.unwrap(), Vec::new());
    denied(friends.add(&todo("ana", 1)).await.err().unwrap());
    let milk = db.collection::<Todo>("todos").unwrap().doc("milk").unwrap();
    let below = milk.collection::<Todo>("comments").unwrap();
    below.add(&todo("fine", 1)).await.unwrap();
    assert_eq!(rhizome.connect(App::new("")).err().unwrap().code(), Code::InvalidArgument);
    rhizome.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_another_form_is_an_error_and_no_panic() {
    let dir = folder();
    let (rhizome, db) = open(&dir).await;
    let odd = db.collection::<serde_json::Value>("todos").unwrap().doc("odd").unwrap();
    odd.set(&serde_json::json!({ "text": 7 })).await.unwrap();
    let typed = db.collection::<Todo>("todos").unwrap();
    let error = typed.doc("odd").unwrap().get().await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    let huge = serde_json::json!({ "n": u64::MAX });
    assert_eq!(odd.set(&huge).await.err().unwrap().code(), Code::InvalidArgument);
    rhizome.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_say_all_that_firestore_can() {
    let dir = folder();
    let (rhizome, db) = open(&dir).await;
    let todos = db.collection::<Todo>("todos").unwrap();
    for rank in 0..8 {
        let one = todo(if rank % 2 == 0 { "even" } else { "odd" }, rank);
        todos.doc(&format!("t{rank}")).unwrap().set(&one).await.unwrap();
    }
    let ranks = |found: Vec<Document<Todo>>| -> Vec<i64> {
        found.iter().map(|one| one.data.rank).collect()
    };
    let high = where_field("rank", Operator::GreaterOrEqual, 6);
    let first =
        all([where_field("text", Operator::Equal, "odd"), where_field("rank", Operator::Less, 3)]);
    let found = todos.query().and(any([high, first])).get().await.unwrap();
    assert_eq!(ranks(found), [1, 6, 7]);
    let not = todos.query().filter("rank", Operator::NotIn, [0, 1, 2, 3]).get().await.unwrap();
    assert_eq!(ranks(not), [4, 5, 6, 7]);
    let by_rank = || todos.query().order_by("rank", Direction::Ascending);
    let page = by_rank().start_after(2).end_before([6]).limit(2).get().await.unwrap();
    assert_eq!(ranks(page), [3, 4]);
    let last = by_rank().end_at(5).limit_to_last(2).get().await.unwrap();
    assert_eq!(ranks(last), [4, 5]);
    let named = todos.query().filter("__name__", Operator::In, ["t7", "t1", "none"]);
    assert_eq!(ranks(named.get().await.unwrap()), [1, 7]);
    let odd = || todos.query().filter("text", Operator::Equal, "odd");
    assert_eq!(odd().count().await.unwrap(), 4);
    assert_eq!(odd().sum("rank").await.unwrap(), Value::Int(16));
    assert_eq!(odd().average("rank").await.unwrap(), Value::Double(4.0));
    let refused =
        by_rank().filter("text", Operator::NotEqual, "x").filter("done", Operator::NotEqual, true);
    assert_eq!(refused.get().await.err().unwrap().code(), Code::InvalidArgument);

    let narrow = db.collection_group::<Todo>("todos").err().unwrap();
    assert_eq!(narrow.code(), Code::PermissionDenied);
    let whole = rhizome.connect(App::new("org.example.todo")).unwrap();
    let below = whole.collection::<Todo>("friends/ana/todos").unwrap();
    below.doc("t9").unwrap().set(&todo("below", 9)).await.unwrap();
    let everywhere = whole.collection_group::<Todo>("todos").unwrap();
    let found = everywhere.order_by("rank", Direction::Descending).limit(2).get().await.unwrap();
    assert_eq!(ranks(found), [9, 7]);
    rhizome.close().await;
}

//! Documents through the socket.

use crate::client::TestPod;
use rhizome_api::data::{
    AggregateRequest, BatchRequest, ChangeKind, DeleteRequest, Document, ExportEvent,
    ExportRequest, GetRequest, HistoryRequest, LsRequest, QueryRequest, SetRequest, SettleRequest,
    UpdateRequest, WatchEvent, WatchRequest, Write,
};
use rhizome_api::{
    DataAggregate, DataBatch, DataDelete, DataExport, DataGet, DataHash, DataHistory, DataLs,
    DataQuery, DataSet, DataSettle, DataUpdate, DataWatch, Durability, Empty,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

async fn get(pod: &TestPod, path: &str) -> Value {
    let request = GetRequest { path: path.into(), ..GetRequest::default() };
    pod.call::<DataGet>(&request).await.unwrap().document.fields
}

fn query(pod_query: Value) -> QueryRequest {
    serde_json::from_value(pod_query).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_written_changed_read_and_deleted() {
    let pod = TestPod::new().await;
    let written = pod
        .set("notes/a", json!({"title": "A", "n": 1, "at": {"$timestamp": "2026-01-02T03:04:05Z"}}))
        .await;
    assert_eq!(written.paths, ["notes/a"]);
    // A device that is alone orders alone, and nobody else holds a copy.
    assert_eq!((written.durability, written.copies), (Durability::Committed, 0));
    let update = json!({"path": "notes/a", "fields": {
        "n": {"$increment": 2}, "tags": {"$arrayUnion": ["x"]}, "title": {"$delete": true}}});
    let update: UpdateRequest = serde_json::from_value(update).unwrap();
    pod.call::<DataUpdate>(&update).await.unwrap();
    let expected = json!({"n": 3, "tags": ["x"], "at": {"$timestamp": "2026-01-02T03:04:05Z"}});
    assert_eq!(get(&pod, "notes/a").await, expected);
    let merge = SetRequest {
        path: "notes/a".into(),
        fields: json!({"title": "B"}),
        merge: true,
        ..SetRequest::default()
    };
    pod.call::<DataSet>(&merge).await.unwrap();
    assert_eq!(get(&pod, "notes/a").await["title"], "B");

    let request = HistoryRequest { path: "notes/a".into(), ..HistoryRequest::default() };
    let history = pod.call::<DataHistory>(&request).await.unwrap().entries;
    let kinds: Vec<&str> = history.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["merge", "update", "set"]);
    assert_eq!(history[1].fields["n"], json!({"$increment": 2}));
    assert!(history.iter().all(|entry| entry.device == "laptop" && entry.position.is_some()));

    let request = DeleteRequest { path: "notes/a".into(), ..DeleteRequest::default() };
    pod.call::<DataDelete>(&request).await.unwrap();
    let request = GetRequest { path: "notes/a".into(), ..GetRequest::default() };
    let error = pod.call::<DataGet>(&request).await.unwrap_err();
    assert_eq!((error.id.as_str(), error.exit), ("RZ-0105", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documents_do_not_allow_is_refused_and_changes_nothing() {
    let pod = TestPod::new().await;
    let update: UpdateRequest =
        serde_json::from_value(json!({"path": "notes/none", "fields": {"a": 1}})).unwrap();
    assert_eq!(pod.call::<DataUpdate>(&update).await.unwrap_err().id, "RZ-0105");
    for (path, fields) in [
        ("notes", json!({})),
        ("notes/a", json!([])),
        ("notes/a", json!({"__blob__": 1})),
        ("notes/a", json!({"x": {"$fly": 1}})),
        ("notes/a", json!({"x": [[1]]})),
    ] {
        let request = SetRequest { path: path.into(), fields, ..SetRequest::default() };
        assert_eq!(pod.call::<DataSet>(&request).await.unwrap_err().id, "RZ-0104");
    }
    let large = json!({"text": "a".repeat(300 << 10)});
    let request = SetRequest { path: "notes/a".into(), fields: large, ..SetRequest::default() };
    assert_eq!(pod.call::<DataSet>(&request).await.unwrap_err().id, "RZ-0112");
    let half = BatchRequest {
        ops: vec![
            Write::Set { path: "notes/b".into(), fields: json!({}), merge: false },
            Write::Update { path: "notes/none".into(), fields: [("a".into(), json!(1))].into() },
        ],
        ..BatchRequest::default()
    };
    assert_eq!(pod.call::<DataBatch>(&half).await.unwrap_err().id, "RZ-0105");
    let hash = pod.call::<DataHash>(&Empty {}).await.unwrap();
    assert_eq!(hash.documents, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_listed_and_found_page_by_page() {
    let pod = TestPod::new().await;
    let ops = (0..600).map(|n| Write::Set {
        path: format!("notes/{n:03}"),
        fields: json!({"n": n, "even": n % 2 == 0}),
        merge: false,
    });
    let batch = BatchRequest { ops: ops.collect(), ..BatchRequest::default() };
    assert_eq!(pod.call::<DataBatch>(&batch).await.unwrap().paths.len(), 600);
    pod.set("notes/000/comments/x", json!({})).await;
    let all = pod.call::<DataLs>(&LsRequest::default()).await.unwrap().collections;
    let all: Vec<_> = all.iter().map(|one| (one.path.as_str(), one.documents)).collect();
    assert_eq!(all, [("notes", 600), ("notes/000/comments", 1)]);
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let request = LsRequest {
            collection: Some("notes".into()),
            limit: Some(250),
            after,
            ..LsRequest::default()
        };
        let page = pod.call::<DataLs>(&request).await.unwrap();
        seen.extend(page.documents.into_iter().map(|document| document.path));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 600);
    assert!(seen.is_sorted());
    let found = query(json!({"collection": "notes", "explain": true, "limit": 3,
        "where": [{"field": "even", "op": "==", "value": true},
            {"field": "n", "op": ">", "value": 9}],
        "order": [{"field": "n", "dir": "desc"}]}));
    let request = found;
    let found = pod.call::<DataQuery>(&request).await.unwrap();
    let numbers: Vec<&Value> = found.documents.iter().map(|one| &one.fields["n"]).collect();
    assert_eq!(numbers, [598, 596, 594]);
    let explain = found.explain.unwrap();
    assert_eq!((explain.index, explain.scanned, explain.matched), (None, 600, 3));
    // The first query had an index built, a stretch at a time; soon it is read instead.
    let since = std::time::Instant::now();
    let by_index = loop {
        assert!(since.elapsed().as_secs() < 60, "no index was built");
        let found = pod.call::<DataQuery>(&request).await.unwrap();
        if found.explain.as_ref().unwrap().index.is_some() {
            break found;
        }
    };
    let explain = by_index.explain.unwrap();
    assert_eq!((explain.scanned, explain.matched), (3, 3));
    assert_eq!(by_index.documents, found.documents);
    let odd = query(json!({"collection": "notes",
        "where": [{"field": "n", "op": "!=", "value": 1},
            {"field": "even", "op": "!=", "value": true}]}));
    let error = pod.call::<DataQuery>(&odd).await.err().map(|error| error.code);
    assert_eq!(error.map(rhizome_api::ErrorCode::as_str), Some("invalid-argument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_cursors_groups_and_numbers_are_understood() {
    let pod = TestPod::new().await;
    for n in 0..6 {
        pod.set(&format!("lists/a/items/i{n}"), json!({"n": n, "even": n % 2 == 0})).await;
    }
    pod.set("items/i9", json!({"n": 9, "even": false})).await;
    let paths = async |request: Value| {
        let found = pod.call::<DataQuery>(&query(request)).await.unwrap();
        let id = |one: Document| one.path.rsplit('/').next().unwrap_or_default().to_owned();
        found.documents.into_iter().map(id).collect::<Vec<_>>().join(" ")
    };
    let either = json!({"any": [{"field": "n", "op": "<", "value": 1}, {"all": [
        {"field": "even", "op": "==", "value": false}, {"field": "n", "op": ">", "value": 3}]}]});
    let order = json!([{"field": "n", "dir": "desc"}]);
    let one = json!({"collection": "lists/a/items", "where": [either.clone()]});
    assert_eq!(paths(one).await, "i0 i5");
    let group =
        json!({"collection": "items", "group": true, "where": [either.clone()], "order": order});
    assert_eq!(paths(group).await, "i9 i5 i0");
    let last = json!({"collection": "items", "group": true, "order": order,
        "limit": 2, "last": true,
        "start": {"values": [5]}, "end": {"values": [1], "inclusive": true}});
    assert_eq!(paths(last).await, "i2 i1");
    let named = json!({"collection": "lists/a/items",
        "where": [{"field": "__name__", "op": "in", "value": ["i4", "lists/a/items/i2"]}]});
    assert_eq!(paths(named).await, "i2 i4");
    let request = json!({"collection": "items", "group": true, "where": [either],
        "numbers": ["count", {"sum": "n"}, {"average": "n"}]});
    let request: AggregateRequest = serde_json::from_value(request).unwrap();
    let answer = pod.call::<DataAggregate>(&request).await.unwrap();
    assert_eq!(answer.values.len(), 3);
    assert_eq!((&answer.values[0], &answer.values[1]), (&json!(3), &json!(14)));
    let elsewhere = query(json!({"collection": "lists/a/items", "group": true}));
    let error = pod.call::<DataQuery>(&elsewhere).await.err().map(|error| error.code);
    assert_eq!(error.map(rhizome_api::ErrorCode::as_str), Some("invalid-argument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_in_order_and_its_hash_is_that_of_its_lines() {
    let pod = TestPod::new().await;
    for path in ["b/1", "a/2", "a/1"] {
        pod.set(path, json!({"z": 1, "a": {"$bytes": "AAE="}})).await;
    }
    let other = SetRequest {
        app: Some("org.example.todo".into()),
        path: "todos/1".into(),
        fields: json!({"x": 1.0}),
        ..SetRequest::default()
    };
    pod.call::<DataSet>(&other).await.unwrap();
    let stream = pod.stream::<DataExport>(&ExportRequest::default()).await;
    let (events, done) = stream.all().await.unwrap();
    let lines: Vec<String> =
        events.iter().map(|ExportEvent::Document(document)| document.line() + "\n").collect();
    expect_test::expect![[r#"
        {"app":"org.example.todo","fields":{"x":1.0},"path":"todos/1"}
        {"app":"org.rhizome.pod","fields":{"a":{"$bytes":"AAE="},"z":1},"path":"a/1"}
        {"app":"org.rhizome.pod","fields":{"a":{"$bytes":"AAE="},"z":1},"path":"a/2"}
        {"app":"org.rhizome.pod","fields":{"a":{"$bytes":"AAE="},"z":1},"path":"b/1"}
    "#]]
    .assert_eq(&lines.concat());
    let digest = Sha256::digest(lines.concat().as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((done.documents, &done.hash), (4, &digest));
    let hash = pod.call::<DataHash>(&Empty {}).await.unwrap();
    assert_eq!((hash.documents, hash.export_hash, hash.indexes_ok), (4, digest, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_what_nobody_acknowledges_says_that_the_write_is_saved() {
    let pod = TestPod::new().await;
    let request = |wait| SetRequest {
        path: "notes/a".into(),
        fields: json!({"a": 1}),
        wait: Some(wait),
        timeout_ms: Some(50),
        ..SetRequest::default()
    };
    let committed = pod.call::<DataSet>(&request(Durability::Committed)).await.unwrap();
    assert_eq!(committed.durability, Durability::Committed);
    for level in [Durability::Copied, Durability::Pinned] {
        let error = pod.call::<DataSet>(&request(level)).await.unwrap_err();
        assert_eq!((error.id.as_str(), error.exit, error.saved), ("RZ-0107", 7, true));
        let settle = SettleRequest { level, timeout_ms: Some(20) };
        assert_eq!(pod.call::<DataSettle>(&settle).await.unwrap_err().id, "RZ-0107");
    }
    let settle = SettleRequest { level: Durability::Committed, timeout_ms: Some(5_000) };
    assert_eq!(pod.call::<DataSettle>(&settle).await.unwrap().events, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_everything_at_first_and_each_change_after() {
    let mut pod = TestPod::new().await;
    pod.set("notes/a", json!({"n": 1})).await;
    let request: WatchRequest = serde_json::from_value(json!({"path": "notes",
        "where": [{"field": "n", "op": ">", "value": 0}], "order": [{"field": "n"}]}))
    .unwrap();
    let mut stream = pod.stream::<DataWatch>(&request).await;
    let next = async |stream: &mut crate::client::Lines<DataWatch>| {
        let WatchEvent::Snapshot { changes, .. } = stream.event().await;
        let one = |change: &rhizome_api::data::Change| {
            (change.kind, change.path.clone(), change.old_index, change.new_index)
        };
        changes.iter().map(one).collect::<Vec<_>>()
    };
    let path = |id: &str| format!("notes/{id}");
    assert_eq!(next(&mut stream).await, [(ChangeKind::Added, path("a"), None, Some(0))]);
    pod.set("notes/b", json!({"n": 0})).await;
    pod.set("notes/c", json!({"n": 2})).await;
    assert_eq!(next(&mut stream).await, [(ChangeKind::Added, path("c"), None, Some(1))]);
    pod.set("notes/a", json!({"n": 3})).await;
    assert_eq!(next(&mut stream).await, [(ChangeKind::Modified, path("a"), Some(0), Some(1))]);
    pod.set("notes/c", json!({"n": -1})).await;
    assert_eq!(next(&mut stream).await, [(ChangeKind::Removed, path("c"), Some(0), None)]);
    // An open listener does not keep the pod from ending.
    pod.stop().await;
    assert!(stream.all().await.is_err());
}

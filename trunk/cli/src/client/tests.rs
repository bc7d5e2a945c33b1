//! The client against a small server on a real socket.

use super::*;
use axum::Router;
use axum::body::Body;
use axum::extract::Path as Segment;
use axum::http::{Response as HttpResponse, header};
use axum::routing::post;
use rhizome_api::data::{ExportEvent, ExportRequest, GetAnswer, GetRequest};
use rhizome_api::pod::PingAnswer;
use rhizome_api::{DataExport, DataGet, DataWatch, Empty, PodPing, PodStop};

/// A method, the content type of its answer, and the parts of the body as they are sent.
pub(crate) type Served = (&'static str, &'static str, &'static [&'static str]);

/// Serves `answers` from a socket in a folder of its own.
pub(crate) async fn serve(answers: &'static [Served]) -> (tempfile::TempDir, Client) {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(dir.path());
    std::fs::create_dir(dir.path().join("run")).unwrap();
    let listener = tokio::net::UnixListener::bind(socket_path(dir.path())).unwrap();
    let handler = move |Segment(method): Segment<String>, body: String| async move {
        let (_, kind, parts) =
            answers.iter().find(|(name, ..)| *name == method).expect("the test asks for no other");
        assert!(body.starts_with('{'), "requests are JSON objects");
        let parts = parts.iter().map(|part| Ok::<_, io::Error>(Bytes::from(*part)));
        HttpResponse::builder()
            .header(header::CONTENT_TYPE, *kind)
            .body(Body::from_stream(futures_util::stream::iter(parts)))
            .unwrap()
    };
    let app = Router::new().route("/v1/{method}", post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (dir, client)
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const LINES: &str = "application/x-ndjson";

#[tokio::test]
async fn a_call_brings_the_answer_and_its_warnings() {
    let (_dir, client) = serve(&[(
        "pod.ping",
        JSON,
        &[
            r#"{"schema":"rhizome.pod.ping/1","ok":true,"#,
            r#""data":{"version":"0.1.0","pid":7,"later":true},"warnings":["old"]}"#,
        ],
    )])
    .await;
    let (ping, warnings) = client.call::<PodPing>(&Empty {}).await.unwrap();
    assert_eq!(ping, PingAnswer { version: "0.1.0".into(), pid: 7, ..PingAnswer::default() });
    assert_eq!(warnings, ["old"]);
}

#[tokio::test]
async fn a_refusal_arrives_as_the_error_that_was_sent() {
    let (_dir, client) = serve(&[(
        "data.get",
        JSON,
        &[r#"{"schema":"rhizome.data.get/1","ok":false,"error":{"code":"not-found",
            "id":"RZ-0105","message":"no document `a/b`","saved":false,"exit":5}}"#],
    )])
    .await;
    let request = GetRequest { path: "a/b".into(), ..GetRequest::default() };
    let refused: Result<(GetAnswer, _), ApiError> = client.call::<DataGet>(&request).await;
    let error = refused.unwrap_err();
    assert_eq!((error.id.as_str(), error.exit), ("RZ-0105", 5));
}

#[tokio::test]
async fn an_answer_of_another_kind_is_a_version_problem() {
    let (_dir, client) = serve(&[
        ("pod.ping", JSON, &["<html>"]),
        ("pod.stop", JSON, &[r#"{"schema":"rhizome.pod.stop/2","ok":true,"data":{}}"#]),
    ])
    .await;
    assert_eq!(client.call::<PodPing>(&Empty {}).await.unwrap_err().exit, 11);
    assert_eq!(client.call::<PodStop>(&Empty {}).await.unwrap_err().exit, 11);
}

#[tokio::test]
async fn a_stream_is_read_line_by_line_however_it_is_cut() {
    let (_dir, client) = serve(&[(
        "data.export",
        LINES,
        &[
            r#"{"event":"document","app":"x","path":"n/1","fie"#,
            "lds\":{}}\n\n{\"event\":\"weather\"}\n{\"event\":\"document\",\"app\":\"x\",",
            "\"path\":\"n/2\",\"fields\":{}}\n{\"event\":\"done\",\"data\":",
            "{\"documents\":2,\"hash\":\"00\"}}\n",
        ],
    )])
    .await;
    let mut events = client.stream::<DataExport>(&ExportRequest::default()).await.unwrap();
    let mut paths = Vec::new();
    let done = loop {
        match events.next().await.unwrap() {
            Next::Event(ExportEvent::Document(document)) => paths.push(document.path),
            Next::Done(done) => break done,
        }
    };
    assert_eq!((paths, done.documents), (vec!["n/1".to_owned(), "n/2".to_owned()], 2));
}

#[tokio::test]
async fn a_stream_that_fails_or_is_cut_off_says_so() {
    let (_dir, client) = serve(&[
        (
            "data.export",
            LINES,
            &[
                "{\"event\":\"error\",\"error\":{\"code\":\"data-loss\",\"id\":\"RZ-0301\",",
                "\"message\":\"m\",\"exit\":8}}\n",
            ],
        ),
        ("data.watch", LINES, &["{\"event\":\"snapshot\",\"changes\":[],"]),
    ])
    .await;
    let mut events = client.stream::<DataExport>(&ExportRequest::default()).await.unwrap();
    assert_eq!(events.next().await.unwrap_err().exit, 8);
    let mut events = client.stream::<DataWatch>(&Default::default()).await.unwrap();
    assert_eq!(events.next().await.unwrap_err().id, "RZ-0003");
}

#[tokio::test]
async fn a_stream_that_is_refused_at_once_gives_the_error_of_the_envelope() {
    let (_dir, client) = serve(&[(
        "data.watch",
        JSON,
        &[r#"{"schema":"rhizome.data.watch/1","ok":false,"error":{"code":"invalid-argument",
            "id":"RZ-0104","message":"m","exit":2}}"#],
    )])
    .await;
    let error = client.stream::<DataWatch>(&Default::default()).await.unwrap_err();
    assert_eq!((error.id.as_str(), error.exit), ("RZ-0104", 2));
}

#[tokio::test]
async fn a_socket_that_nobody_serves_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("run")).unwrap();
    drop(tokio::net::UnixListener::bind(socket_path(dir.path())).unwrap());
    let error = Client::new(dir.path()).call::<PodPing>(&Empty {}).await.unwrap_err();
    assert_eq!((error.id.as_str(), error.exit), ("RZ-0003", 3));
}

#[tokio::test]
async fn a_socket_folder_that_others_may_write_to_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let open = root.path().join("open");
    std::fs::create_dir(&open).unwrap();
    let listener = tokio::net::UnixListener::bind(open.join("s")).unwrap();
    let dir = root.path().join("dir");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(platform::connect(&open.join("s"), &dir).await.is_err());
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(platform::connect(&open.join("s"), &dir).await.is_ok());
    drop(listener);
}

#[test]
fn a_line_without_end_is_refused() {
    let mut lines = Lines::default();
    let part = vec![b'x'; 1 << 20];
    let refused = (0..=LINE_BYTES_MAX >> 20).any(|_| lines.push(&part).is_err());
    assert!(refused);
}

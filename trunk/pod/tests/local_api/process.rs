//! The process, the socket, status, and what survives a restart.

use crate::client::{TestPod, send};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use rhizome_api::device::{LostRequest, RenameRequest};
use rhizome_api::identity::{CreateRequest, UseRequest};
use rhizome_api::log::{TailEvent, TailRequest};
use rhizome_api::peer::TestRequest;
use rhizome_api::status::{DoctorRequest, FindingLevel, StateWord};
use rhizome_api::{
    DataHash, DeviceList, DeviceLost, DeviceRename, Doctor, Empty, IdentityCreate, IdentityList,
    IdentityUse, LogTail, LogVerify, PeerList, PeerTest, PodInvite, Status, socket_path,
};
use rhizome_pod::{PodOptions, run};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// The status and the problem of a raw request.
async fn raw(pod: &TestPod, request: Request<Full<Bytes>>) -> (u16, String) {
    let response = send(pod.dir.path(), request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    (status, body["error"]["id"].as_str().unwrap_or_default().to_owned())
}

fn post(path: &str) -> hyper::http::request::Builder {
    Request::post(path).header("host", "rhizome")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_and_answers_what_it_does_not_know() {
    let pod = TestPod::empty().await;
    let socket = socket_path(pod.dir.path());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&socket) & 0o777, 0o600);
    assert_eq!(mode(socket.parent().unwrap()) & 0o777, 0o700);

    let full = |text: &str| Full::new(Bytes::from(text.to_owned()));
    let json = |path: &str| post(path).header("content-type", "application/json");
    let status = |pair: (u16, String), expected: (u16, &str)| {
        assert_eq!((pair.0, pair.1.as_str()), expected);
    };
    let unknown = json("/v1/data.fly").body(full("{}")).unwrap();
    status(raw(&pod, unknown).await, (404, "RZ-0005"));
    let elsewhere = json("/v2/pod.ping").body(full("{}")).unwrap();
    status(raw(&pod, elsewhere).await, (404, "RZ-0005"));
    let form = post("/v1/pod.ping").header("content-type", "text/plain").body(full("{}")).unwrap();
    status(raw(&pod, form).await, (400, "RZ-0002"));
    let page = json("/v1/pod.ping").header("origin", "https://example.org");
    status(raw(&pod, page.body(full("{}")).unwrap()).await, (403, "RZ-0102"));
    let wrong = json("/v1/data.get").body(full("{\"path\":1}")).unwrap();
    status(raw(&pod, wrong).await, (400, "RZ-0002"));
    // Whoever sends too much hears of it, however much is still under way.
    for size in [9, 30] {
        let long = full(&" ".repeat(size << 20));
        let of_no_type = post("/v1/pod.ping").body(long.clone()).unwrap();
        status(raw(&pod, json("/v1/pod.ping").body(long).unwrap()).await, (507, "RZ-0112"));
        status(raw(&pod, of_no_type).await, (400, "RZ-0002"));
    }
    let get = Request::get("/v1/pod.ping").header("host", "rhizome").body(full("")).unwrap();
    status(raw(&pod, get).await, (404, "RZ-0005"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_has_one_pod_and_a_socket_left_behind_is_replaced() {
    let mut pod = TestPod::empty().await;
    let options = PodOptions { dir: pod.dir.path().to_owned(), ..PodOptions::default() };
    assert!(run(options).await.is_err(), "a second pod of the folder does not start");
    pod.stop().await;
    let socket = socket_path(pod.dir.path());
    assert!(!socket.exists());
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    pod.start().await;
    pod.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_created_listed_and_chosen() {
    let pod = TestPod::empty().await;
    let error = pod.call::<DeviceList>(&Empty {}).await.unwrap_err();
    assert_eq!((error.id.as_str(), error.hint.as_deref()), ("RZ-0101", Some("rhizome init")));
    let state = pod.call::<Status>(&Empty {}).await.unwrap();
    assert_eq!((state.state.is, state.identity), (StateWord::NeedsAttention, None));
    for name in ["ana", "work"] {
        let request = CreateRequest { name: name.into(), ..CreateRequest::default() };
        let created = pod.call::<IdentityCreate>(&request).await.unwrap();
        assert!(created.device.this && !created.device.name.is_empty());
    }
    let again = CreateRequest { name: "ana".into(), ..CreateRequest::default() };
    assert_eq!(pod.call::<IdentityCreate>(&again).await.unwrap_err().id, "RZ-0106");
    let list = pod.call::<IdentityList>(&Empty {}).await.unwrap().identities;
    let names: Vec<_> = list.iter().map(|one| (one.name.as_str(), one.current)).collect();
    assert_eq!(names, [("ana", false), ("work", true)]);
    let by_id = UseRequest { id: list[0].id.clone() };
    assert!(pod.call::<IdentityUse>(&by_id).await.unwrap().identity.current);
    let nobody = UseRequest { id: "nobody".into() };
    assert_eq!(pod.call::<IdentityUse>(&nobody).await.unwrap_err().id, "RZ-0110");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_device_is_up_to_date_and_can_be_renamed_but_not_lost() {
    let pod = TestPod::new().await;
    pod.set("notes/a", json!({"n": 1})).await;
    let status = pod.call::<Status>(&Empty {}).await.unwrap();
    assert_eq!(status.state.is, StateWord::UpToDate, "{:?}", status.order);
    assert!(status.order.committed_all && status.order.waiting.is_empty());
    assert_eq!(status.order.voters, ["laptop"]);
    assert_eq!((status.storage.events, status.storage.documents), (1, 1));
    assert_eq!((status.durability.committed, status.durability.full_copies), (1, 0));
    assert!(status.storage.segment_bytes > 0);
    let rename = RenameRequest { device: "laptop".into(), name: "desk".into() };
    assert_eq!(pod.call::<DeviceRename>(&rename).await.unwrap().device.name, "desk");
    let lost = LostRequest { device: "desk".into(), ..LostRequest::default() };
    assert_eq!(pod.call::<DeviceLost>(&lost).await.unwrap_err().id, "RZ-0108");
    assert!(pod.call::<PeerList>(&Empty {}).await.unwrap().peers.is_empty());
    let nobody = TestRequest { peer: "127.0.0.1:1".into() };
    assert!(!pod.call::<PeerTest>(&nobody).await.unwrap().reachable);
    assert_eq!(pod.call::<PodInvite>(&Empty {}).await.unwrap_err().id, "RZ-0108");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_survive_a_restart_and_an_index_made_anew() {
    let mut pod = TestPod::new().await;
    for n in 0..50 {
        pod.set(&format!("notes/{n}"), json!({"n": n})).await;
    }
    let before = pod.call::<DataHash>(&Empty {}).await.unwrap();
    pod.stop().await;
    pod.start().await;
    assert_eq!(pod.call::<DataHash>(&Empty {}).await.unwrap(), before);
    let healthy = pod.call::<Doctor>(&DoctorRequest::default()).await.unwrap();
    let wrong = healthy.findings.iter().filter(|one| one.level == FindingLevel::Problem);
    assert_eq!(wrong.count(), 0, "{:?}", healthy.findings);
    let rebuilt = pod.call::<Doctor>(&DoctorRequest { rebuild: true }).await.unwrap();
    assert!(rebuilt.rebuilt);
    assert_eq!(pod.call::<DataHash>(&Empty {}).await.unwrap(), before);
    pod.set("notes/50", json!({"n": 50})).await;
    assert_eq!(pod.call::<DataHash>(&Empty {}).await.unwrap().documents, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_key_file_is_found() {
    let pod = TestPod::new().await;
    let key = pod.dir.path().join("transport.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = pod.call::<Doctor>(&DoctorRequest::default()).await.unwrap().findings;
    let keys = found.iter().find(|one| one.what == "key files").unwrap();
    assert_eq!(keys.level, FindingLevel::Problem);
    assert!(keys.detail.ends_with("transport.key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_the_newest_events_and_those_that_follow() {
    let pod = TestPod::new().await;
    for n in 0..5 {
        pod.set(&format!("notes/{n}"), json!({"n": n})).await;
    }
    let request = TailRequest { follow: true, limit: Some(2) };
    let mut stream = pod.stream::<LogTail>(&request).await;
    let mut next = async || {
        let TailEvent::Entry(entry) = stream.event().await;
        (entry.summary, entry.device, entry.position.is_some(), entry.at_ms > 0)
    };
    let expected = |n: i32| (format!("set notes/{n}"), "laptop".to_owned(), true, true);
    assert_eq!(next().await, expected(3));
    assert_eq!(next().await, expected(4));
    pod.set("notes/5", json!({"n": 5})).await;
    assert_eq!(next().await, expected(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_found_where_it_is() {
    let mut pod = TestPod::new().await;
    for n in 0..20 {
        pod.set(&format!("notes/{n}"), json!({"text": "x".repeat(1000)})).await;
    }
    let whole = pod.call::<LogVerify>(&Empty {}).await.unwrap();
    assert_eq!((whole.events, whole.damage.len()), (20, 0));
    assert!(whole.signatures > 0 && whole.blocks > 40);
    pod.stop().await;
    let identity = std::fs::read_dir(pod.dir.path().join("identities")).unwrap().next();
    let file = identity.unwrap().unwrap().path().join("store/segments/00000001.car");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    pod.start().await;
    let found = pod.call::<LogVerify>(&Empty {}).await.unwrap().damage;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].segment, "00000001.car");
    assert!(found[0].offset <= middle as u64 && !found[0].repaired);
}

//! Devices that are lost: who may remove them, and what they are told when they turn up again.

use crate::client::TestPod;
use crate::household::{ana, confirmed, has, invite, names, status, until};
use rhizome_api::data::{GetRequest, HistoryRequest, SetRequest};
use rhizome_api::device::{LostAnswer, LostRequest};
use rhizome_api::log::{TailEvent, TailRequest};
use rhizome_api::recovery::{RestoreAnswer, RestoreRequest};
use rhizome_api::status::StateWord;
use rhizome_api::{
    ApiError, DataGet, DataHistory, DataSet, DeviceKind, DeviceLost, LogTail, RecoveryRestore,
    Secret,
};
use serde_json::json;

async fn lose(
    pod: &TestPod,
    device: &str,
    words: Option<&Secret>,
    dry_run: bool,
) -> Result<LostAnswer, ApiError> {
    let (device, confirm) = (device.to_owned(), Some(device.to_owned()));
    pod.call::<DeviceLost>(&LostRequest { device, confirm, words: words.cloned(), dry_run }).await
}

async fn restore(
    pod: &TestPod,
    cloud: &TestPod,
    words: &Secret,
    retire: &[&str],
) -> Result<RestoreAnswer, ApiError> {
    let request = RestoreRequest {
        words: words.clone(),
        peer: invite(cloud).await,
        name: Some("new laptop".to_owned()),
        kind: Some(DeviceKind::Laptop),
        retire: retire.iter().map(ToString::to_string).collect(),
        dry_run: false,
    };
    pod.stream::<RecoveryRestore>(&request).await.all().await.map(|(_, answer)| answer)
}

/// What a removed device shows: it has seen the record, writes nothing and hears nothing.
async fn knows_that_it_is_out(pod: &TestPod, by: &str) {
    let told = until("it is told why", || async {
        let status = status(pod).await;
        let reason = status.state.reason.clone().unwrap_or_default();
        reason.contains("was removed from the identity").then_some(status)
    })
    .await;
    assert_eq!(told.state.is, StateWord::NeedsAttention);
    let reason = told.state.reason.unwrap();
    assert_eq!(reason, format!("this device was removed from the identity as lost, by {by}"));
    assert!(told.state.since_ms.is_some() && told.state.action.is_some());
    until("nobody keeps a connection with it", || async {
        let status = status(pod).await;
        status.devices.iter().all(|device| !device.connected).then_some(())
    })
    .await;
    let (path, fields) = ("notes/late".to_owned(), json!({ "text": "late" }));
    let request = SetRequest { path, fields, ..SetRequest::default() };
    let refused = pod.call::<DataSet>(&request).await.unwrap_err();
    assert_eq!((refused.id.as_str(), refused.exit), ("RZ-0102", 4), "{refused:?}");
    assert!(refused.message.contains("was removed"), "{refused:?}");
    has(pod, "notes/one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_laptop_is_retired_by_the_recovery_that_follows_and_told_when_it_turns_up() {
    let (mut laptop, phone, cloud, words) = ana().await;
    laptop.stop().await;
    let other = TestPod::reachable(false).await;
    let wrong = restore(&other, &cloud, &words, &["lapptop"]).await.unwrap_err();
    assert_eq!(wrong.id, "RZ-0110", "{wrong:?}");
    assert!(status(&other).await.identity.is_none(), "nothing was begun");

    // There are three admin devices then: without the kit, removing one takes two of them.
    let answer = restore(&other, &cloud, &words, &["laptop"]).await.unwrap();
    assert_eq!(answer.retired, ["laptop"]);
    confirmed(&other).await;
    assert_eq!(names(&other).await, ["cloud", "new laptop", "phone"]);
    other.set("notes/two", json!({ "text": "after" })).await;
    has(&phone, "notes/two").await;
    until("the phone knows that the laptop is out", || async {
        let names = names(&phone).await;
        (names == ["cloud", "new laptop", "phone"]).then_some(())
    })
    .await;
    confirmed(&other).await;

    // The old one turns up again, and wrote something meanwhile.
    laptop.start().await;
    knows_that_it_is_out(&laptop, "the recovery kit").await;
    let two = GetRequest { path: "notes/two".to_owned(), ..GetRequest::default() };
    assert!(laptop.call::<DataGet>(&two).await.is_err(), "it reads nothing new");
    laptop.stop().await;
    laptop.start().await;
    knows_that_it_is_out(&laptop, "the recovery kit").await;
    assert_eq!(status(&other).await.order.voters, ["cloud"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_an_admin_device_asks_for_the_words_when_one_signature_is_too_few() {
    let (laptop, phone, cloud, words) = ana().await;
    let other = TestPod::reachable(false).await;
    restore(&other, &cloud, &words, &[]).await.unwrap();
    confirmed(&other).await;

    let planned = lose(&other, "laptop", None, true).await.unwrap();
    let why = planned.needs_kit.unwrap();
    assert!(why.contains("takes two of them") && why.contains("recovery kit"), "{why}");
    let refused = lose(&other, "laptop", None, false).await.unwrap_err();
    assert_eq!((refused.id.as_str(), refused.exit), ("RZ-0211", 4), "{refused:?}");
    assert!(refused.hint.unwrap().contains("--words-file"));
    let stranger = Secret(rhizome_identity::RecoveryKit::from_entropy([7; 32]).words().join(" "));
    let refused = lose(&other, "laptop", Some(&stranger), false).await.unwrap_err();
    assert_eq!(refused.id, "RZ-0206", "{refused:?}");
    assert!(names(&other).await.contains(&"laptop".to_owned()), "nothing was changed");

    let answer = lose(&other, "laptop", Some(&words), false).await.unwrap();
    assert!(answer.done && answer.committed, "{answer:?}");
    assert_ne!(answer.key_before, answer.key_after, "the keys are others");
    // It was connected, and is told at once.
    knows_that_it_is_out(&laptop, "the recovery kit").await;
    other.set("notes/two", json!({ "text": "after" })).await;
    has(&phone, "notes/two").await;

    // Of the two that are left each may remove the other without the words.
    assert_eq!(lose(&other, "phone", None, true).await.unwrap().needs_kit, None);
    lose(&other, "phone", None, false).await.unwrap();
    knows_that_it_is_out(&phone, "new laptop").await;
}

/// What its history says was assigned at each change of a document, newest first.
async fn history(pod: &TestPod, path: &str) -> Vec<serde_json::Value> {
    let request = HistoryRequest { path: path.to_owned(), ..HistoryRequest::default() };
    let entries = pod.call::<DataHistory>(&request).await.unwrap().entries;
    entries.into_iter().map(|entry| entry.fields).collect()
}

/// The newest events in a few words, oldest first, without control records.
async fn tail(pod: &TestPod) -> Vec<String> {
    let request = TailRequest { follow: false, limit: Some(100) };
    let (events, _) = pod.stream::<LogTail>(&request).await.all().await.unwrap();
    let told = events.into_iter().map(|TailEvent::Entry(entry)| entry);
    told.filter(|entry| entry.app.is_some()).map(|entry| entry.summary).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_the_keys_changed_stays_readable() {
    let (mut laptop, phone, _cloud, words) = ana().await;
    lose(&laptop, "phone", Some(&words), false).await.unwrap();
    laptop.set("notes/one", json!({ "text": "between" })).await;
    confirmed(&laptop).await;
    let changes = [json!({ "text": "between" }), json!({ "text": "before" })];
    let summaries = ["set notes/one", "set notes/one"];
    assert_eq!(history(&laptop, "notes/one").await, changes);
    assert_eq!(tail(&laptop).await, summaries);
    laptop.stop().await;
    laptop.start().await;
    assert_eq!(history(&laptop, "notes/one").await, changes);
    assert_eq!(tail(&laptop).await, summaries);
    // The removed device has the old keys only.
    assert_eq!(tail(&phone).await, ["set notes/one"]);
}

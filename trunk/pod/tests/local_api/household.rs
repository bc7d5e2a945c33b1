//! Several pods of one person, and what the tests about them wait for.

use crate::client::{LIMIT, TestPod};
use rhizome_api::data::GetRequest;
use rhizome_api::device::{JoinEvent, JoinRequest, LinkConfirmRequest, LinkEvent, LinkRequest};
use rhizome_api::peer::AddRequest;
use rhizome_api::status::StatusAnswer;
use rhizome_api::{
    DataGet, DeviceJoin, DeviceKind, DeviceLink, DeviceLinkConfirm, DeviceList, Empty,
    IdentityCreate, PeerAdd, PodInvite, RecoveryKit, Secret, Status,
};
use serde_json::json;
use std::future::Future;

/// Looks every few milliseconds until `look` finds what it wants.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// Makes the identity of Ana.
pub async fn create(pod: &TestPod, device: &str) {
    let request = rhizome_api::identity::CreateRequest {
        name: "Ana".into(),
        device_name: Some(device.into()),
        kind: Some(DeviceKind::Laptop),
    };
    pod.call::<IdentityCreate>(&request).await.unwrap();
}

/// Links a new device.
pub async fn link(trusted: &TestPod, newcomer: &TestPod, name: &str, kind: DeviceKind) {
    let mut shown = trusted.stream::<DeviceLink>(&LinkRequest {}).await;
    let LinkEvent::Code { words, addresses, .. } = shown.event().await else { panic!("no code") };
    let (name, kind) = (Some(name.to_owned()), Some(kind));
    let request = JoinRequest { code: words, name, kind, at: addresses };
    let mut joining = newcomer.stream::<DeviceJoin>(&request).await;
    let JoinEvent::Digits { digits } = joining.event().await else { panic!("no digits") };
    let LinkEvent::Asking { session, .. } = shown.event().await else { panic!("nobody asks") };
    let request = LinkConfirmRequest { session, digits };
    trusted.call::<DeviceLinkConfirm>(&request).await.unwrap();
    joining.all().await.unwrap();
    shown.all().await.unwrap();
}

/// What a cloud peer hands out for others to add it.
pub async fn invite(cloud: &TestPod) -> String {
    cloud.call::<PodInvite>(&Empty {}).await.unwrap().url
}

/// Waits until a document is there.
pub async fn has(pod: &TestPod, path: &str) {
    until(&format!("{path} is here"), || async {
        let request = GetRequest { path: path.to_owned(), ..GetRequest::default() };
        pod.call::<DataGet>(&request).await.ok()
    })
    .await;
}

/// How everything is.
pub async fn status(pod: &TestPod) -> StatusAnswer {
    pod.call::<Status>(&Empty {}).await.unwrap()
}

/// Waits until everything here is confirmed.
pub async fn confirmed(pod: &TestPod) {
    until("everything is confirmed", || async {
        let status = status(pod).await;
        (status.order.committed_all && status.order.applied == status.order.index).then_some(())
    })
    .await;
}

/// What its devices are called there.
pub async fn names(pod: &TestPod) -> Vec<String> {
    let devices = pod.call::<DeviceList>(&Empty {}).await.unwrap().devices;
    let mut names: Vec<String> = devices.into_iter().map(|device| device.name).collect();
    names.sort();
    names
}

/// A laptop and a phone of Ana's, and her cloud peer.
pub async fn ana() -> (TestPod, TestPod, TestPod, Secret) {
    let laptop = TestPod::reachable(false).await;
    let phone = TestPod::reachable(false).await;
    let cloud = TestPod::reachable(true).await;
    create(&laptop, "laptop").await;
    laptop.call::<PeerAdd>(&AddRequest { address: invite(&cloud).await }).await.unwrap();
    link(&laptop, &phone, "phone", DeviceKind::Phone).await;
    laptop.set("notes/one", json!({ "text": "before" })).await;
    has(&phone, "notes/one").await;
    // The order is handed over a little later; what the laptop alone confirmed is only there.
    until("the cloud peer orders", || async {
        (status(&laptop).await.order.voters == ["cloud"]).then_some(())
    })
    .await;
    confirmed(&laptop).await;
    let words = laptop.call::<RecoveryKit>(&Empty {}).await.unwrap().words;
    (laptop, phone, cloud, words)
}

//! Names of devices: given on one device, shown on all.

use crate::client::TestPod;
use crate::household::{ana, confirmed, link, names, until};
use rhizome_api::device::RenameRequest;
use rhizome_api::log::{TailEvent, TailRequest};
use rhizome_api::{ApiError, DeviceKind, DeviceRename, LogTail};

async fn rename(pod: &TestPod, device: &str, name: &str) -> Result<String, ApiError> {
    let request = RenameRequest { device: device.into(), name: name.into() };
    pod.call::<DeviceRename>(&request).await.map(|answer| answer.device.name)
}

/// Waits until the devices are called this.
async fn are_called(pod: &TestPod, expected: &[&str]) {
    until(&format!("devices are called {expected:?}"), || async {
        (names(pod).await == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_given_on_one_device_is_shown_on_all() {
    let (laptop, mut phone, _cloud, _) = ana().await;
    assert_eq!(rename(&laptop, "phone", "Ana's phone").await.unwrap(), "Ana's phone");
    are_called(&laptop, &["Ana's phone", "cloud", "laptop"]).await;
    are_called(&phone, &["Ana's phone", "cloud", "laptop"]).await;

    // The other way round, of a device that cannot read its own name, and once more.
    assert_eq!(rename(&phone, "laptop", "desk").await.unwrap(), "desk");
    are_called(&laptop, &["Ana's phone", "cloud", "desk"]).await;
    rename(&laptop, "cloud", "attic").await.unwrap();
    rename(&laptop, "Ana's phone", "pocket").await.unwrap();
    are_called(&phone, &["attic", "desk", "pocket"]).await;
    assert_eq!(rename(&laptop, "pocket", "attic").await.unwrap_err().id, "RZ-0106");
    confirmed(&laptop).await;

    phone.stop().await;
    phone.start().await;
    are_called(&phone, &["attic", "desk", "pocket"]).await;
    let request = TailRequest { follow: false, limit: Some(100) };
    let (events, _) = laptop.stream::<LogTail>(&request).await.all().await.unwrap();
    let told = |TailEvent::Entry(entry): &TailEvent| entry.summary == "device pocket got its name";
    assert_eq!(events.iter().filter(|event| told(event)).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_not_administer_names_none_and_says_which_does() {
    let (laptop, _phone, _cloud, _) = ana().await;
    let tablet = TestPod::reachable(false).await;
    link(&laptop, &tablet, "tablet", DeviceKind::Phone).await;
    are_called(&tablet, &["cloud", "laptop", "phone", "tablet"]).await;
    let refused = rename(&tablet, "tablet", "slate").await.unwrap_err();
    assert_eq!((refused.id.as_str(), refused.exit), ("RZ-0102", 4), "{refused:?}");
    assert!(refused.hint.unwrap().starts_with("do it on "));
    rename(&laptop, "tablet", "slate").await.unwrap();
    are_called(&tablet, &["cloud", "laptop", "phone", "slate"]).await;
}

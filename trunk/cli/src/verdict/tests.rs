//! Never green without acknowledgements.

use super::*;
use rhizome_api::device::Device;
use rhizome_api::identity::Identity;
use rhizome_api::status::{DurabilitySummary, Order, Waiting};

/// A pod of which everything is confirmed and copied.
fn safe() -> StatusAnswer {
    StatusAnswer {
        now_ms: 100_000,
        identity: Some(Identity::default()),
        state: State { is: StateWord::UpToDate, ..State::default() },
        devices: vec![
            Device { this: true, holds_all: true, ..Device::default() },
            Device { name: "cloud".into(), holds_all: true, ..Device::default() },
        ],
        order: Order { committed_all: true, ..Order::default() },
        durability: DurabilitySummary { committed: 9, full_copies: 1, ..Default::default() },
        ..StatusAnswer::default()
    }
}

/// Changes one fact of the safe pod.
#[track_caller]
fn check(change: impl FnOnce(&mut StatusAnswer), level: Level, sentence: &str) {
    let mut status = safe();
    change(&mut status);
    let found = verdict(&status);
    assert_eq!((found.level, found.sentence.as_str()), (level, sentence));
}

#[test]
fn it_is_green_when_everything_is_confirmed_and_somebody_else_holds_all() {
    check(|_| {}, Level::Safe, "All changes confirmed. Everything is here and in 1 other place.");
}

#[test]
fn each_missing_acknowledgement_takes_the_green_away() {
    check(
        |status| status.order.committed_all = false,
        Level::Waiting,
        "Saved here; waiting for order.",
    );
    check(
        |status| status.durability.local_only = 3,
        Level::Waiting,
        "3 changes on this device only.",
    );
    check(
        |status| status.durability.full_copies = 0,
        Level::Waiting,
        "Saved here; nobody else acknowledged holding everything.",
    );
    check(
        |status| status.devices[1].holds_all = false,
        Level::Waiting,
        "Saved here; nobody else acknowledged holding everything.",
    );
    check(
        |status| drop(status.devices.pop()),
        Level::Waiting,
        "Saved on this device only; nobody else holds a copy.",
    );
    let wait = Waiting { what: "3 changes".into(), for_whom: "cloud".into(), ..Waiting::default() };
    check(
        |status| status.order.waiting.push(wait),
        Level::Waiting,
        "3 changes wait for cloud, 1 min ago.",
    );
    check(|status| status.identity = None, Level::Waiting, "There is no identity here yet.");
}

#[test]
fn every_other_state_is_a_sentence_with_who_and_since_when() {
    let state = |is, who: Option<&str>, reason: Option<&str>| State {
        is,
        who: who.map(Into::into),
        since_ms: Some(40_000),
        left: Some(1_200),
        reason: reason.map(Into::into),
        action: None,
    };
    let told = [
        (state(StateWord::SavingHere, None, None), "Saving here."),
        (
            state(StateWord::Copying, Some("phone"), None),
            "Copying: 1 200 left to phone, since 1 min ago.",
        ),
        (
            state(StateWord::WaitingForDevice, Some("phone"), None),
            "Saved here; waiting for phone, since 1 min ago.",
        ),
        (
            state(StateWord::OrderPending, Some("cloud"), None),
            "Saved here; waiting for order: cloud is unreachable, since 1 min ago.",
        ),
        (state(StateWord::Paused, None, None), "Paused, since 1 min ago."),
    ];
    for (state, sentence) in told {
        check(|status| status.state = state, Level::Waiting, sentence);
    }
    let alarms = [
        (
            state(StateWord::NeedsAttention, None, Some("two orders were seen")),
            "Needs attention: two orders were seen, since 1 min ago.",
        ),
        (
            state(StateWord::LowDisk, None, None),
            "Low disk: writing stops or has stopped; reading goes on.",
        ),
        (state(StateWord::Locked, None, Some("K-7F3A")), "Locked: recovery kit K-7F3A is needed."),
    ];
    for (state, sentence) in alarms {
        check(|status| status.state = state, Level::Alarm, sentence);
    }
}

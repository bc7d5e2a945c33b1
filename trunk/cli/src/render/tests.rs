//! Answers, made by hand, as people see them.

mod contents;

use crate::look::Look;
use crate::render;
use expect_test::{Expect, expect};
use rhizome_api::device::{Device, LinkEvent, LostAnswer, Role};
use rhizome_api::identity::{Identity, ListAnswer as Identities};
use rhizome_api::peer::{AddAnswer, Peer, TestAnswer, TestStep};
use rhizome_api::snapshot::Snapshot;
use rhizome_api::status::{
    DoctorAnswer, DurabilitySummary, Finding, FindingLevel, Order, State, StateWord, StatusAnswer,
    Storage, Waiting,
};
use rhizome_api::{DeviceKind, Secret};

const NOW: u64 = 1_772_373_731_000;

const LOOK: Look = Look { color: false, plain: false, now_ms: NOW };

#[track_caller]
fn check(text: &str, expected: &Expect) {
    assert!(!text.lines().any(|line| line.ends_with(' ')), "a line ends with a space:\n{text}");
    expected.assert_eq(text);
}

fn laptop() -> Device {
    Device {
        id: "bafyreia2x5mgcqwqwslcici".into(),
        name: "laptop".into(),
        this: true,
        trusted: true,
        role: Role::Orders,
        connected: true,
        holds_all: true,
        ..Device::default()
    }
}

fn phone() -> Device {
    Device {
        id: "bafyreia3jgnpn6wqwslcici".into(),
        name: "phone".into(),
        kind: DeviceKind::Phone,
        trusted: true,
        last_heard_ms: Some(NOW - 180_000),
        behind: Some(3),
        ..Device::default()
    }
}

fn cloud() -> Device {
    Device {
        id: "bafyreia4kjmr364qwslcici".into(),
        name: "cloud".into(),
        kind: DeviceKind::CloudPeer,
        role: Role::Votes,
        connected: true,
        holds_all: true,
        ..Device::default()
    }
}

fn ana() -> Identity {
    Identity {
        id: "bafyreiaalc4ruy2qwslcici".into(),
        name: "Ana".into(),
        current: true,
        kit_key_id: "K-7F3A".into(),
        ..Identity::default()
    }
}

fn checkpoint() -> Snapshot {
    Snapshot {
        id: "bafyreiacig7uemcqwslcici".into(),
        generation: 1,
        index: 1_200,
        created_ms: NOW - 3_600_000,
        documents: 1_284,
        bytes: 2_400_000,
        new_bytes: 81_000,
        sealed: true,
        pinned_by: vec!["cloud".into()],
    }
}

fn pod() -> StatusAnswer {
    StatusAnswer {
        version: "0.1.0".into(),
        dir: "/home/ana/.local/share/rhizome".into(),
        now_ms: NOW,
        identity: Some(ana()),
        state: State { is: StateWord::UpToDate, ..State::default() },
        devices: vec![laptop(), cloud()],
        order: Order {
            generation: 1,
            index: 1_284,
            applied: 1_284,
            voters: vec!["cloud".into()],
            leader: Some("cloud".into()),
            committed_all: true,
            waiting: Vec::new(),
        },
        storage: Storage {
            segment_bytes: 1_258_291,
            index_bytes: 640_000,
            events: 1_290,
            documents: 1_284,
            attachments: 12,
            free_bytes: Some(41 << 30),
        },
        durability: DurabilitySummary {
            committed: 84,
            pinned: 1_200,
            full_copies: 1,
            ..Default::default()
        },
        snapshot: Some(checkpoint()),
        listening: vec!["127.0.0.1:7733".into()],
        ..StatusAnswer::default()
    }
}

#[test]
fn status_of_a_pod_that_is_safe() {
    check(
        &render::status::status(&pod(), &LOOK),
        &expect![[r#"
        Ana on laptop  0.1.0 · /home/ana/.local/share/rhizome
        ● All changes confirmed. Everything is here and in 1 other place.

        Changes  84 confirmed · 1 200 in a kept checkpoint

        WHERE   WHAT            HOLDS       ORDER   LAST HEARD
        laptop  this device     everything  orders  now
        cloud   encrypted copy  everything  votes   now

        Order         generation 1, index 1 284 · cloud orders · cloud alone votes
        Storage       1 284 documents · 12 attachments · 1.1 MiB and 625 KiB of index
        Checkpoint    1 h ago · kept by cloud
        Recovery kit  K-7F3A not confirmed yet: rhizome recovery kit
        Listening     127.0.0.1:7733
    "#]],
    );
}

#[test]
fn status_of_a_pod_that_waits_says_for_whom_and_since_when() {
    let mut status = pod();
    status.devices.push(phone());
    status.state = State {
        is: StateWord::OrderPending,
        who: Some("cloud".into()),
        since_ms: Some(NOW - 7_200_000),
        action: Some("rhizome peer test cloud".into()),
        ..State::default()
    };
    status.order.waiting.push(Waiting {
        what: "3 changes".into(),
        for_whom: "cloud".into(),
        since_ms: NOW - 7_200_000,
        action: "rhizome peer test cloud".into(),
    });
    status.durability.local_only = 3;
    status.snapshot = None;
    check(
        &render::status::status(&status, &LOOK),
        &expect![[r#"
            Ana on laptop  0.1.0 · /home/ana/.local/share/rhizome
            ◐ Saved here; waiting for order: cloud is unreachable, since 2 h ago.
              rhizome peer test cloud

            Changes  3 on this device only · 84 confirmed · 1 200 in a kept checkpoint

            WHERE   WHAT            HOLDS       ORDER    LAST HEARD
            laptop  this device     everything  orders   now
            cloud   encrypted copy  everything  votes    now
            phone   phone           3 behind    follows  3 min ago (2026-03-01T13:59:11Z)

            Waiting  3 changes for cloud, since 2 h ago (2026-03-01T12:02:11Z)
                     rhizome peer test cloud

            Order         generation 1, index 1 284 · cloud orders · cloud alone votes
            Storage       1 284 documents · 12 attachments · 1.1 MiB and 625 KiB of index
            Checkpoint    none yet
            Recovery kit  K-7F3A not confirmed yet: rhizome recovery kit
            Listening     127.0.0.1:7733
        "#]],
    );
}

#[test]
fn status_before_there_is_an_identity() {
    let status =
        StatusAnswer { version: "0.1.0".into(), dir: "/pod".into(), ..StatusAnswer::default() };
    check(
        &render::status::status(&status, &LOOK),
        &expect![[r#"
        Rhizome  0.1.0 · /pod
        ◐ There is no identity here yet.
    "#]],
    );
}

#[test]
fn only_a_safe_pod_shows_green() {
    let look = Look { color: true, ..LOOK };
    let green = "\u{1b}[32m";
    assert!(render::status::status(&pod(), &look).contains(green));
    let mut status = pod();
    status.devices[1].holds_all = false;
    assert!(!render::status::status(&status, &look).contains(green));
}

#[test]
fn doctor_lists_what_it_checked() {
    let finding = |level, what: &str, detail: &str, action: Option<&str>| Finding {
        level,
        what: what.into(),
        detail: detail.into(),
        action: action.map(Into::into),
    };
    let answer = DoctorAnswer {
        findings: vec![
            finding(FindingLevel::Ok, "segments are whole", "", None),
            finding(FindingLevel::Warning, "disk", "1.2 GiB free", Some("free some space")),
            finding(FindingLevel::Problem, "index", "differs", Some("rhizome doctor --rebuild")),
        ],
        rebuilt: true,
        took_ms: 340,
    };
    check(
        &render::status::doctor(&answer, &LOOK),
        &expect![[r#"
        ✔ segments are whole
        ! disk: 1.2 GiB free
          free some space
        ✘ index: differs
          rhizome doctor --rebuild
        The index was rebuilt in 340 ms.
    "#]],
    );
}

#[test]
fn devices_as_a_table() {
    let unheard = Device { last_heard_ms: None, ..phone() };
    let answer = rhizome_api::device::ListAnswer { devices: vec![laptop(), unheard, cloud()] };
    check(
        &render::device::list(&answer, &LOOK),
        &expect![[r#"
            NAME    WHAT            HOLDS       ORDER    LAST HEARD  ID
            laptop  this device     everything  orders   now         bafyreia2x5m
            phone   phone           3 behind    follows  never       bafyreia3jgn
            cloud   encrypted copy  everything  votes    now         bafyreia4kjm
        "#]],
    );
    let plain = Look { plain: true, ..LOOK };
    check(
        &render::device::list(&answer, &plain),
        &expect![[r#"
            laptop	this device	everything	orders	now	bafyreia2x5mgcqwqwslcici
            phone	phone	3 behind	follows	never	bafyreia3jgnpn6wqwslcici
            cloud	encrypted copy	everything	votes	now	bafyreia4kjmr364qwslcici
        "#]],
    );
}

#[test]
fn linking_shows_a_code_then_who_asks() {
    let event = LinkEvent::Code {
        words: Secret("7-crossover-clockwork".into()),
        qr_text: Secret("RZ1:7-CROSSOVER-CLOCKWORK".into()),
        expires_ms: NOW + 120_000,
        addresses: vec!["192.0.2.7:7733".into()],
    };
    let code = render::device::code(&event, &LOOK);
    let texts: Vec<&str> =
        code.lines().filter(|line| line.is_ascii() && !line.trim().is_empty()).collect();
    check(
        &texts.join("\n"),
        &expect![[r#"
        Scan with the new device (one use, 2:00):
        or run  rhizome device join  there and type:  7-crossover-clockwork
        On another network add:  --at 192.0.2.7:7733"#]],
    );
    assert!(code.lines().count() < 24);
    let asks = render::device::asking("Zoë\u{1b}[2J", DeviceKind::Phone, "192.0.2.9", &LOOK);
    check(&asks, &expect![[r#""Zoë\u{1b}[2J" (phone) wants to join, from 192.0.2.9"#]]);
    check(
        &render::device::digits("273118", &LOOK),
        &expect!["Type these digits on the other device:  273 118"],
    );
    check(
        &render::device::linked(&phone(), &LOOK),
        &expect![[r#"
        ✔ Linked: phone (phone); it does not hold up ordering.
    "#]],
    );
}

#[test]
fn losing_a_device_is_told_before_and_after() {
    let mut answer = LostAnswer {
        device: phone(),
        steps: vec!["stop it from receiving anything new".into(), "change the keys".into()],
        may_hold_documents: 412,
        ..LostAnswer::default()
    };
    check(
        &render::device::lost(&answer, &LOOK),
        &expect![[r#"
        Removing phone will:
          • stop it from receiving anything new
          • change the keys
        It may still hold what it already had: 412 documents.
        It was last heard of: 3 min ago (2026-03-01T13:59:11Z).
    "#]],
    );
    answer.done = true;
    answer.key_before = Some("E-7F3A".into());
    answer.key_after = Some("E-8B10".into());
    check(
        &render::device::lost(&answer, &LOOK),
        &expect![[r#"
          ✔ stop it from receiving anything new
          ✔ change the keys
        It may still hold what it already had: 412 documents.
        It was last heard of: 3 min ago (2026-03-01T13:59:11Z).
        Keys changed (E-7F3A → E-8B10). Your recovery kit is still valid; nothing to reprint.
        Removed here; the others learn of it when they are reached.
    "#]],
    );
}

#[test]
fn identities_as_a_table() {
    let work = Identity { name: "Work".into(), kit_confirmed: true, ..Identity::default() };
    let answer = Identities { identities: vec![ana(), work] };
    check(
        &render::identity::list(&answer, &LOOK),
        &expect![[r#"
               NAME  RECOVERY KIT          ID
            *  Ana   K-7F3A not confirmed  bafyreiaalc4
               Work   written down
        "#]],
    );
}

#[test]
fn peers_say_what_they_see() {
    let peer = Peer {
        device: cloud(),
        addresses: vec!["pods.example.org:7733".into()],
        holds_bytes: Some(2_400_000),
        quota_bytes: Some(5 << 30),
        last_error: None,
    };
    let added = AddAnswer {
        peer: peer.clone(),
        sees: vec!["your IP".into(), "when you sync".into()],
        cannot_see: vec!["contents".into(), "names".into()],
    };
    check(
        &render::peer::added(&added, &LOOK),
        &expect![[r#"
        ✔ Added cloud. It stores encrypted data.
          It can see: your IP, when you sync.
          It cannot see: contents, names.
    "#]],
    );
    let answer = rhizome_api::peer::ListAnswer { peers: vec![peer] };
    check(
        &render::peer::list(&answer, &LOOK),
        &expect![[r#"
        NAME   WHAT            HOLDS       SIZE                LAST HEARD  ADDRESS
        cloud  encrypted copy  everything  2.2 MiB of 5.0 GiB  now         pods.example.org:7733
    "#]],
    );
    let step =
        |what: &str, ok, detail: &str| TestStep { what: what.into(), ok, detail: detail.into() };
    let test = TestAnswer {
        peer: "cloud".into(),
        steps: vec![step("name", true, "203.0.113.7"), step("connection", false, "timed out")],
        ..TestAnswer::default()
    };
    check(
        &render::peer::test(&test, &LOOK),
        &expect![[r#"
        ✔ name: 203.0.113.7
        ✘ connection: timed out
        cloud cannot be reached; your changes stay saved here.
    "#]],
    );
}

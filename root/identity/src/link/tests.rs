//! Linking, machine against machine: the whole conversation, every way to fail, every crash.

mod attack;
mod crash;
mod formats;
mod world;

use super::*;
use crate::*;
use expect_test::expect;
use world::*;

#[test]
fn the_newcomer_is_linked_after_the_digits_are_typed() {
    let mut world = World::new();
    world.run();
    expect![[r#"
        admitter: Persist
        admitter: ShowCode(until 1700000120000)
        newcomer: Persist
        newcomer: Send
        admitter: Persist
        admitter: Send
        newcomer: Persist
        newcomer: ShowDigits
        newcomer: Send
        newcomer: Send
        admitter: Persist
        admitter: AskPerson(Ana's phone, Phone)
        admitter: Persist
        admitter: Admit(DEVICE)
        admitter: Persist
        admitter: Send
        newcomer: Persist
        newcomer: Join(IDENTITY)
        newcomer: Send
        newcomer: Finish(Linked)
        admitter: Finish(Linked(DEVICE))
    "#]]
    .assert_eq(&world.transcript());
    assert_eq!(world.admissions, 1);
    let joined = world.joined.clone().unwrap();
    assert_eq!(joined.admission, ADMISSION);
    assert_eq!((joined.root, joined.admitter), (root(), admitter_id()));
}

#[test]
fn what_was_introduced_makes_a_certificate() {
    let mut world = World::new();
    world.run();
    let introduced = world.introduced.unwrap();
    let body = CertificateBody {
        root: root(),
        signing: introduced.signing,
        sealing: Some(introduced.sealing),
        name_sealed: b"sealed".to_vec(),
        kind: introduced.kind,
        capabilities: [Capability::Reader, Capability::Writer].into(),
        serial: 1,
        made_ms: START,
    };
    let keys = SigningKeys::from_secret([1; 32]);
    let by = Author::Device(keys.device_id());
    let certificate = DeviceCertificate::issue(body, introduced.acceptance, by, &keys).unwrap();
    certificate.verify(&root(), &keys.device_id().0).unwrap();
    assert_eq!(certificate.device(), newcomer_keys().device_id());
}

#[test]
fn a_wrong_code_burns_the_code_with_its_first_guess() {
    let mut admitter = admitter();
    let wrong = Code::from_random([0, 0, 1, 0, 2, 0, 3, 0]);
    let wrong = format!("{}-{}", code().number(), &wrong.to_string()[2..]).parse().unwrap();
    let mut newcomer = newcomer_with(wrong);
    open(&mut admitter);
    let hello = sent(newcomer.step(START, NewcomerInput::Opened));
    let reply = sent(admitter.step(START, AdmitterInput::Received(hello[0].clone())));
    let confirm = sent(newcomer.step(START, NewcomerInput::Received(reply[0].clone())));
    let effects = admitter.step(START, AdmitterInput::Received(confirm[0].clone()));
    assert_eq!(finished(&effects), Some(AdmitterOutcome::Refused(Refusal::WrongCode)));
    let refusal = sent(effects);
    let effects = newcomer.step(START, NewcomerInput::Received(refusal[0].clone()));
    assert_eq!(effects, [NewcomerEffect::Finish(NewcomerOutcome::Refused(Refusal::WrongCode))]);
    // The right code comes too late.
    let mut honest = newcomer_with(code());
    let hello = sent(honest.step(START, NewcomerInput::Opened));
    let answer = sent(admitter.step(START, AdmitterInput::Received(hello[0].clone())));
    let effects = honest.step(START, NewcomerInput::Received(answer[0].clone()));
    assert_eq!(effects, [NewcomerEffect::Finish(NewcomerOutcome::Refused(Refusal::NoSuchCode))]);
}

#[test]
fn wrong_digits_burn_the_code_and_admit_nobody() {
    let mut world = World::new();
    world.person = Person::TypesWrongDigits;
    world.run();
    assert_eq!(world.admissions, 0);
    assert_eq!(
        world.ends(),
        (
            Some(AdmitterOutcome::Refused(Refusal::WrongDigits)),
            Some(NewcomerOutcome::Refused(Refusal::WrongDigits)),
        )
    );
}

#[test]
fn a_person_who_declines_ends_it_on_both_sides() {
    let mut world = World::new();
    world.person = Person::Declines;
    world.run();
    assert_eq!(
        world.ends(),
        (
            Some(AdmitterOutcome::Refused(Refusal::Declined)),
            Some(NewcomerOutcome::Refused(Refusal::Declined)),
        )
    );
}

#[test]
fn an_identity_that_cannot_add_the_device_ends_it_on_both_sides() {
    let mut world = World::new();
    world.can_admit = false;
    world.run();
    assert_eq!(
        world.ends(),
        (
            Some(AdmitterOutcome::Refused(Refusal::NotAdmitted)),
            Some(NewcomerOutcome::Refused(Refusal::NotAdmitted)),
        )
    );
}

#[test]
fn a_code_expires_after_two_minutes() {
    let mut admitter = admitter();
    open(&mut admitter);
    assert_eq!(admitter.deadline(), Some(START + 120_000));
    let mut newcomer = newcomer_with(code());
    let hello = sent(newcomer.step(START, NewcomerInput::Opened));
    let late = START + CODE_LIFETIME_MS;
    let effects = admitter.step(late, AdmitterInput::Received(hello[0].clone()));
    assert_eq!(effects, [AdmitterEffect::Finish(AdmitterOutcome::Refused(Refusal::Expired))]);
    let effects = admitter.step(late, AdmitterInput::Received(hello[0].clone()));
    assert_eq!(sent(effects), [refusal(Refusal::NoSuchCode)]);
    let effects = newcomer.step(late, NewcomerInput::DeadlinePassed);
    assert_eq!(effects, [NewcomerEffect::Finish(NewcomerOutcome::Silence)]);
}

#[test]
fn a_person_who_never_answers_lets_it_expire() {
    let mut world = World::new();
    world.person = Person::Sleeps;
    world.run();
    assert_eq!(world.ends().0, Some(AdmitterOutcome::Refused(Refusal::Expired)));
    assert_eq!(world.ends().1, Some(NewcomerOutcome::Refused(Refusal::Expired)));
}

#[test]
fn a_second_newcomer_is_told_that_the_code_is_taken() {
    let mut admitter = admitter();
    open(&mut admitter);
    let first = sent(newcomer_with(code()).step(START, NewcomerInput::Opened));
    let mut other = Newcomer::new(
        START,
        code(),
        &DeviceKeys::from_bytes(&[77; 64]),
        "Eve",
        DeviceKind::Laptop,
        &[78; 64],
    )
    .unwrap();
    let second = sent(other.step(START, NewcomerInput::Opened));
    let answer = sent(admitter.step(START, AdmitterInput::Received(first[0].clone())));
    let busy = sent(admitter.step(START, AdmitterInput::Received(second[0].clone())));
    assert_eq!(busy, [refusal(Refusal::Busy)]);
    let again = sent(admitter.step(START, AdmitterInput::Received(first[0].clone())));
    assert_eq!(answer, again, "the first one may repeat itself");
}

#[test]
fn a_recorded_conversation_cannot_be_replayed() {
    let mut world = World::new();
    world.run();
    let recorded = world.wire_to_admitter.clone();
    let mut same_code = world.admitter.take().unwrap();
    for message in &recorded {
        let effects = same_code.step(START, AdmitterInput::Received(message.clone()));
        assert!(effects.iter().all(|one| matches!(one, AdmitterEffect::Send(_))), "{effects:?}");
    }
    // Even the same code again, with a new seed and nonce, as a new invitation would have.
    let mut fresh = Admitter::new(START, &Invite { random: [99; 64], ..invite() });
    open(&mut fresh);
    let mut outcome = None;
    for message in &recorded {
        let effects = fresh.step(START, AdmitterInput::Received(message.clone()));
        outcome = outcome.or(finished(&effects));
    }
    assert_eq!(outcome, Some(AdmitterOutcome::Refused(Refusal::WrongCode)));
}

#[test]
fn messages_find_their_machine_by_number_then_by_exchange() {
    let mut admitter = admitter();
    open(&mut admitter);
    assert!(admitter.is_showing(code().number()) && !admitter.is_showing(code().number() + 1));
    assert_eq!(admitter.session(), None);
    let mut newcomer = newcomer_with(code());
    let hello = sent(newcomer.step(START, NewcomerInput::Opened));
    assert_eq!(route(&hello[0]), Some(Route::Number(code().number())));
    let reply = sent(admitter.step(START, AdmitterInput::Received(hello[0].clone())));
    assert_eq!(route(&reply[0]), None);
    for message in sent(newcomer.step(START, NewcomerInput::Received(reply[0].clone()))) {
        assert_eq!(route(&message), admitter.session().map(Route::Session));
    }
    assert_eq!(newcomer.admitter(), Some(admitter_id()));
}

#[test]
fn a_stray_confirmation_of_an_older_exchange_burns_nothing() {
    let mut old = admitter();
    open(&mut old);
    let mut newcomer = newcomer_with(code());
    let hello = sent(newcomer.step(START, NewcomerInput::Opened));
    let reply = sent(old.step(START, AdmitterInput::Received(hello[0].clone())));
    let stray = sent(newcomer.step(START, NewcomerInput::Received(reply[0].clone())));
    let mut new = Admitter::new(START, &Invite { random: [99; 64], ..invite() });
    open(&mut new);
    let effects = new.step(START, AdmitterInput::Received(stray[0].clone()));
    assert_eq!(sent(effects), [refusal(Refusal::NoSuchCode)]);
    assert!(new.is_showing(code().number()));
}

#[test]
fn names_that_fool_people_and_cloud_peers_are_refused() {
    let try_name = |name: &str, kind| {
        Newcomer::new(START, code(), &newcomer_keys(), name, kind, &[5; 64]).map(|_| ())
    };
    assert_eq!(try_name("Ana's iPhone 📱", DeviceKind::Phone), Ok(()));
    for name in ["", " ", "a\nb", "\u{202e}enohp", "\u{200b}phone", &"x".repeat(65)] {
        assert_eq!(try_name(name, DeviceKind::Phone), Err(NewcomerError::Name), "{name:?}");
    }
    assert_eq!(try_name("cloud", DeviceKind::CloudPeer), Err(NewcomerError::CloudPeer));
}

#[test]
fn an_admission_that_nobody_confirms_is_told_after_a_day() {
    let mut world = World::new();
    world.newcomer_answers = false;
    world.run();
    let device = newcomer_keys().device_id();
    assert_eq!(world.ends().0, Some(AdmitterOutcome::Unclaimed(device)));
}

/// A conversation whose last message, that the admission came, was lost.
fn unconfirmed() -> Admitter {
    let (mut admitter, mut newcomer) = (admitter(), newcomer_with(code()));
    open(&mut admitter);
    let hello = sent(newcomer.step(START, NewcomerInput::Opened));
    let reply = sent(admitter.step(START, AdmitterInput::Received(hello[0].clone())));
    let answered = newcomer.step(START, NewcomerInput::Received(reply[0].clone()));
    let digits = answered.iter().find_map(|effect| match effect {
        NewcomerEffect::ShowDigits(digits) => Some(digits.clone()),
        _ => None,
    });
    let confirm = sent(answered);
    admitter.step(START, AdmitterInput::Received(confirm[0].clone()));
    for early in [AdmitterInput::Heard, AdmitterInput::Removed] {
        assert_eq!(admitter.step(START, early), [], "nobody is admitted yet");
    }
    admitter.step(START, AdmitterInput::Typed(digits.unwrap()));
    assert_eq!(admitter.admitted_device(), None);
    admitter.step(START, AdmitterInput::Admitted(ADMISSION.to_vec()));
    assert_eq!(admitter.admitted_device(), Some(newcomer_keys().device_id()));
    admitter
}

#[test]
fn a_device_that_is_heard_of_as_a_member_was_linked_whatever_got_lost() {
    let mut admitter = unconfirmed();
    let linked = AdmitterOutcome::Linked(newcomer_keys().device_id());
    assert_eq!(finished(&admitter.step(START, AdmitterInput::Heard)), Some(linked));
    assert_eq!((admitter.admitted_device(), admitter.deadline()), (None, None));
}

#[test]
fn a_device_that_is_removed_before_it_came_for_its_admission_gets_none() {
    let mut admitter = unconfirmed();
    let refused = AdmitterOutcome::Refused(Refusal::NotAdmitted);
    assert_eq!(finished(&admitter.step(START, AdmitterInput::Removed)), Some(refused));
}

#[test]
fn nothing_secret_is_printed() {
    let (admitter, newcomer) = (admitter(), newcomer_with(code()));
    let printed = format!("{admitter:?} {newcomer:?} {:?}", invite().code);
    assert!(!printed.contains(&code().to_string()[3..]), "{printed}");
}

//! Men in the middle, guessers, and liars.

use super::world::*;
use crate::link::message::{Confirm, Hello, LinkBody, Proof, Reply};
use crate::link::session::{self, DIGITS, Keys, Pake};
use crate::link::*;
use crate::*;
use proptest::prelude::*;

/// A man in the middle who even knows the code: plays the trusted device to the newcomer and a
/// newcomer of his own to the trusted device. Returns what each person would see.
fn man_in_the_middle(seed: u8) -> (String, String) {
    let mut victim = admitter();
    open(&mut victim);
    let mut newcomer = newcomer_with(code());
    let mut false_admitter = Admitter::new(START, &Invite { random: [seed; 64], ..invite() });
    open(&mut false_admitter);
    let keys = DeviceKeys::from_bytes(&[seed ^ 0x80; 64]);
    let mut false_newcomer =
        Newcomer::new(START, code(), &keys, "Ana's phone", DeviceKind::Phone, &[seed; 64]).unwrap();
    let shown = converse(&mut newcomer, &mut false_admitter);
    let own = converse(&mut false_newcomer, &mut victim);
    // The digits that the trusted device expects are those of its own conversation.
    (shown, own)
}

/// Lets a newcomer and an admitter speak until the person is asked; returns the digits shown.
fn converse(newcomer: &mut Newcomer, admitter: &mut Admitter) -> String {
    let hello = sent(newcomer.step(START, NewcomerInput::Opened));
    let reply = sent(admitter.step(START, AdmitterInput::Received(hello[0].clone())));
    let effects = newcomer.step(START, NewcomerInput::Received(reply[0].clone()));
    let digits = effects.iter().find_map(|one| match one {
        NewcomerEffect::ShowDigits(digits) => Some(digits.clone()),
        _ => None,
    });
    let asked = admitter.step(START, AdmitterInput::Received(sent(effects)[0].clone()));
    assert!(asked.iter().any(|one| matches!(one, AdmitterEffect::AskPerson { .. })));
    digits.unwrap()
}

#[test]
fn a_man_in_the_middle_who_knows_the_code_shows_other_digits() {
    let hits = (0..100).map(man_in_the_middle).filter(|(shown, own)| shown == own).count();
    assert_eq!(hits, 0);
}

#[test]
fn typing_the_newcomers_digits_stops_a_man_in_the_middle() {
    let mut victim = admitter();
    open(&mut victim);
    let keys = DeviceKeys::from_bytes(&[9; 64]);
    let mut false_newcomer =
        Newcomer::new(START, code(), &keys, "Ana's phone", DeviceKind::Phone, &[9; 64]).unwrap();
    converse(&mut false_newcomer, &mut victim);
    let (shown, _) = man_in_the_middle(10);
    let effects = victim.step(START, AdmitterInput::Typed(shown));
    assert_eq!(finished(&effects), Some(AdmitterOutcome::Refused(Refusal::WrongDigits)));
}

#[test]
fn a_million_pairs_of_conversations_agree_about_once() {
    // One agreed key, and a fresh nonce for each conversation: digits are uniform and independent.
    let hello = Hello { rendezvous: 1, pake: pake(session::Side::Newcomer), commitment: [0; 32] };
    let reply = Reply {
        pake: pake(session::Side::Admitter),
        nonce: [0; 32],
        identity: invite().identity,
        root: root(),
        device: admitter_id(),
    };
    let keys = Keys::agree(session::Side::Newcomer, &code(), &[1; 32], &hello, &reply).unwrap();
    let introduction = Introduction {
        name: "Eve".to_owned(),
        kind: DeviceKind::Phone,
        signing: newcomer_keys().device_id(),
        sealing: newcomer_keys().sealing_public(),
        acceptance: Signature([0; 64]),
    };
    let digits = |number: u64| {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        keys.digits(&nonce, &introduction)
    };
    let tries = DIGITS / 10;
    let hits = (0..tries).filter(|at| digits(2 * at) == digits(2 * at + 1)).count();
    assert!(hits <= 3, "{hits} of {tries}; a tenth of one was expected");
}

fn pake(side: session::Side) -> [u8; 33] {
    Pake::start(side, &code(), &[if side == session::Side::Newcomer { 1 } else { 2 }; 32]).message
}

/// The right conversation up to Confirm, and the machine that waits for it.
fn until_confirm() -> (Admitter, Confirm, Keys) {
    let mut admitter = admitter();
    open(&mut admitter);
    let mut newcomer = newcomer_with(code());
    let hello = sent(newcomer.step(START, NewcomerInput::Opened));
    let reply = sent(admitter.step(START, AdmitterInput::Received(hello[0].clone())));
    let confirm = sent(newcomer.step(START, NewcomerInput::Received(reply[0].clone())));
    let body = |bytes: &[u8]| LinkBody::from_bytes(bytes).unwrap();
    let (hello, reply, last) = match (body(&hello[0]), body(&reply[0]), body(&confirm[0])) {
        (LinkBody::Hello(one), LinkBody::Reply(two), LinkBody::Confirm(three)) => (one, two, three),
        other => panic!("{other:?}"),
    };
    let seed = std::array::from_fn(|at| at as u8 + 100);
    let keys = Keys::agree(session::Side::Newcomer, &code(), &seed, &hello, &reply).unwrap();
    (admitter, last, keys)
}

#[test]
fn a_liar_who_knows_the_code_is_caught_by_commitment_and_acceptance() {
    let introduce = |change: fn(&mut Introduction), nonce: Option<[u8; 32]>| {
        let (mut admitter, mut confirm, keys) = until_confirm();
        let opened = keys.open("introduction", &confirm.sealed).unwrap();
        let mut introduction: Introduction = rhizome_block::decode(&opened).unwrap();
        change(&mut introduction);
        let bytes = rhizome_block::encode(&introduction).unwrap();
        confirm.sealed = keys.seal("introduction", &bytes);
        confirm.nonce = nonce.unwrap_or(confirm.nonce);
        confirm.mac = keys.confirmation(&confirm.nonce, &confirm.sealed).into();
        let message = LinkBody::Confirm(confirm).to_bytes();
        admitter.step(START, AdmitterInput::Received(message))
    };
    let asked = introduce(|_| (), None);
    assert!(asked.iter().any(|one| matches!(one, AdmitterEffect::AskPerson { .. })));
    let burnt = Some(AdmitterOutcome::Refused(Refusal::WrongCode));
    let other_keys: fn(&mut Introduction) = |one| one.sealing = SealingPublic([1; 32]);
    assert_eq!(finished(&introduce(other_keys, None)), burnt, "keys were committed to");
    assert_eq!(finished(&introduce(|_| (), Some([1; 32]))), burnt, "the nonce was committed to");
    let forged: fn(&mut Introduction) = |one| one.acceptance = Signature([1; 64]);
    assert_eq!(finished(&introduce(forged, None)), burnt, "nobody joins without signing it");
    let odd: fn(&mut Introduction) = |one| one.name = "\u{202e}enohp".to_owned();
    assert_eq!(finished(&introduce(odd, None)), burnt);
    let cloud: fn(&mut Introduction) = |one| one.kind = DeviceKind::CloudPeer;
    assert_eq!(finished(&introduce(cloud, None)), burnt);
}

#[test]
fn an_answer_bent_on_its_way_burns_the_code() {
    let bends: [fn(&mut Reply); 5] = [
        |reply| reply.nonce[0] ^= 1,
        |reply| reply.root.0[0] ^= 1,
        |reply| reply.device.0[0] ^= 1,
        |reply| reply.identity = IdentityId(rhizome_block::Block::raw(Vec::new()).cid),
        |reply| reply.pake = pake(session::Side::Admitter),
    ];
    for bend in bends {
        let (mut admitter, mut newcomer) = (admitter(), newcomer_with(code()));
        open(&mut admitter);
        let hello = sent(newcomer.step(START, NewcomerInput::Opened));
        let reply = sent(admitter.step(START, AdmitterInput::Received(hello[0].clone())));
        let Some(LinkBody::Reply(mut reply)) = LinkBody::from_bytes(&reply[0]) else {
            panic!("a hello is answered")
        };
        bend(&mut reply);
        let reply = LinkBody::Reply(reply).to_bytes();
        let confirm = sent(newcomer.step(START, NewcomerInput::Received(reply)));
        let effects = admitter.step(START, AdmitterInput::Received(confirm[0].clone()));
        assert_eq!(finished(&effects), Some(AdmitterOutcome::Refused(Refusal::WrongCode)));
    }
}

#[test]
fn no_admission_is_handed_to_whom_cannot_prove_the_exchange() {
    let mut admitter = admitter();
    open(&mut admitter);
    let digits = converse(&mut newcomer_with(code()), &mut admitter);
    let effects = admitter.step(START, AdmitterInput::Typed(digits));
    assert!(matches!(effects[1], AdmitterEffect::Admit(_)));
    admitter.step(START, AdmitterInput::Admitted(ADMISSION.to_vec()));
    let session = admitter.session().unwrap();
    let device = newcomer_keys().device_id();
    let proof = Proof { session, device, mac: [0; 32] };
    for body in [LinkBody::Resume(proof.clone()), LinkBody::Received(proof)] {
        let effects = admitter.step(START, AdmitterInput::Received(body.to_bytes()));
        assert_eq!(effects, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_bent_confirmation_burns_the_code_or_is_no_message(
        at: prop::sample::Index, with: u8,
    ) {
        let (mut admitter, confirm, _) = until_confirm();
        let mut bytes = LinkBody::Confirm(confirm).to_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != with);
        bytes[at] = with;
        let effects = admitter.step(START, AdmitterInput::Received(bytes));
        let asked = effects.iter().any(|one| matches!(one, AdmitterEffect::AskPerson { .. }));
        prop_assert!(!asked);
    }

    #[test]
    fn noise_moves_neither_machine(noise: Vec<u8>) {
        let mut admitter = admitter();
        open(&mut admitter);
        let before = admitter.clone();
        prop_assert_eq!(admitter.step(START, AdmitterInput::Received(noise.clone())), vec![]);
        prop_assert!(admitter == before);
        let mut newcomer = newcomer_with(code());
        newcomer.step(START, NewcomerInput::Opened);
        prop_assert_eq!(newcomer.step(START, NewcomerInput::Received(noise)), vec![]);
    }
}

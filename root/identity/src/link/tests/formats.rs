//! Bytes of messages and of stored machines: fixtures of version 1, hostile bytes.

use super::world::*;
use crate::link::message::LinkBody;
use crate::link::*;
use proptest::prelude::*;

/// Every message and every stored state of one linking, by name.
fn everything() -> Vec<(String, Vec<u8>)> {
    let mut admitter = admitter();
    let mut newcomer = newcomer_with(code());
    let mut found = Vec::new();
    let mut to_admitter = vec![AdmitterInput::Opened];
    let mut to_newcomer = vec![NewcomerInput::Opened];
    let mut digits = String::new();
    while !(to_admitter.is_empty() && to_newcomer.is_empty()) {
        for input in std::mem::take(&mut to_admitter) {
            for effect in admitter.step(START, input) {
                match effect {
                    AdmitterEffect::Persist(bytes) => found.push(("admitter".to_owned(), bytes)),
                    AdmitterEffect::Send(bytes) => {
                        found.push((name(&bytes), bytes.clone()));
                        to_newcomer.push(NewcomerInput::Received(bytes));
                    }
                    AdmitterEffect::AskPerson { .. } => {
                        to_admitter.push(AdmitterInput::Typed(digits.clone()));
                    }
                    AdmitterEffect::Admit(_) => {
                        to_admitter.push(AdmitterInput::Admitted(ADMISSION.to_vec()));
                    }
                    AdmitterEffect::ShowCode { .. } | AdmitterEffect::Finish(_) => {}
                }
            }
        }
        for input in std::mem::take(&mut to_newcomer) {
            for effect in newcomer.step(START, input) {
                match effect {
                    NewcomerEffect::Persist(bytes) => found.push(("newcomer".to_owned(), bytes)),
                    NewcomerEffect::Send(bytes) => {
                        found.push((name(&bytes), bytes.clone()));
                        to_admitter.push(AdmitterInput::Received(bytes));
                    }
                    NewcomerEffect::ShowDigits(shown) => digits = shown,
                    NewcomerEffect::Join(_) => to_newcomer.push(NewcomerInput::Stored),
                    NewcomerEffect::Finish(_) => {}
                }
            }
        }
    }
    found.push(("refused".to_owned(), refusal(Refusal::Busy)));
    for (at, one) in found.iter_mut().enumerate() {
        one.0 = format!("link-{at:02}-{}.v1.cbor", one.0);
    }
    found
}

fn name(bytes: &[u8]) -> String {
    let body = LinkBody::from_bytes(bytes).unwrap();
    let words = format!("{body:?}");
    words.split('(').next().unwrap().to_lowercase()
}

#[test]
fn version_1_of_every_message_and_stored_machine_still_reads() {
    let all = everything();
    assert_eq!(all.len(), 15, "{:?}", all.iter().map(|one| &one.0).collect::<Vec<_>>());
    for (file, bytes) in all {
        let stored = crate::fixture::check(&file, &bytes);
        match rhizome_block::peek_kind(&stored) {
            Some("link") => {
                let read = LinkBody::from_bytes(&stored).unwrap();
                assert_eq!(read.to_bytes(), stored);
            }
            Some("link-admitter") => {
                assert_eq!(Admitter::from_bytes(&stored).unwrap().to_bytes(), stored);
            }
            Some("link-newcomer") => {
                assert_eq!(Newcomer::from_bytes(&stored).unwrap().to_bytes(), stored);
            }
            other => panic!("{file}: {other:?}"),
        }
    }
}

/// Found by the fuzzer: the fifth stored admitter with one byte of the Hello's point changed.
#[test]
fn an_admitter_past_the_guess_without_keys_is_not_restored() {
    let good = include_bytes!("../../../fixtures/link-09-admitter.v1.cbor");
    let at = good.windows(5).position(|five| five == b"dpake").unwrap() + 8;
    let points = (0..=u8::MAX).map(|byte| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        Admitter::from_bytes(&bytes)
    });
    let restored: Vec<Admitter> = points.flatten().collect();
    assert!((1..=255).contains(&restored.len()), "about half of all bytes make a point");
    for mut machine in restored {
        machine.step(START, AdmitterInput::Admitted(ADMISSION.to_vec()));
    }
}

#[test]
fn a_message_beyond_its_bound_is_not_even_read() {
    assert!(LinkBody::from_bytes(&vec![0xa3; LINK_MESSAGE_BYTES_MAX + 1]).is_none());
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_without_a_panic(
        which in 0..15usize, at: prop::sample::Index, with: u8, noise: Vec<u8>,
    ) {
        let mut bytes = everything().swap_remove(which).1;
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = (route(&noise), route(&bytes), route(&bytes[..at]));
        let inputs = |bytes: &[u8]| bytes.to_vec();
        if let Ok(mut machine) = Admitter::from_bytes(&bytes) {
            machine.step(START, AdmitterInput::Opened);
            for (_, message) in everything() {
                machine.step(START, AdmitterInput::Received(inputs(&message)));
            }
        }
        if let Ok(mut machine) = Newcomer::from_bytes(&bytes) {
            machine.step(START, NewcomerInput::Opened);
            for (_, message) in everything() {
                machine.step(START, NewcomerInput::Received(inputs(&message)));
            }
        }
        let mut machine = admitter();
        machine.step(START, AdmitterInput::Opened);
        machine.step(START, AdmitterInput::Received(bytes.clone()));
        let mut machine = newcomer_with(code());
        machine.step(START, NewcomerInput::Opened);
        machine.step(START, NewcomerInput::Received(bytes));
        prop_assert!(Admitter::from_bytes(&noise).is_err());
        prop_assert!(Newcomer::from_bytes(&noise).is_err());
    }
}

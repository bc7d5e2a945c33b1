//! Linking: messages for both machines at every stage, codes and invitations as they are typed, and
//! the stored state of the machines.
//!
//! Mended (`rhizome_identity::link::fuzz`): bytes arrive as the introduction of a newcomer that had
//! the code, and as the admission by the device that answered.

use crate::family;
use ipld_core::ipld::Ipld;
use rhizome_block::{Cid, Codec, decode};
use rhizome_identity::link::{
    Admitter, AdmitterEffect, AdmitterInput, Code, Invitation, Invite, Newcomer, NewcomerEffect,
    NewcomerInput, fuzz, route,
};
use rhizome_identity::{DeviceKind, IdentityId};
use std::sync::OnceLock;

const NOW_MS: u64 = family::START_MS;

/// The machines after each step of an undisturbed linking, as they were stored.
struct Stages {
    admitters: Vec<Admitter>,
    newcomers: Vec<Newcomer>,
}

/// How many doors the bytes pass.
pub fn run(bytes: &[u8]) -> u32 {
    let message = message(bytes);
    let sealed = if message == 0 { sealed(bytes) } else { 0 };
    message + sealed + restored(bytes) + typed(bytes)
}

/// A message for every stage. Nothing else than a message moves a machine.
fn message(bytes: &[u8]) -> u32 {
    let again = fuzz::again(bytes);
    assert!(again.as_ref().is_none_or(|again| again == bytes), "a message has one form");
    let is_message = again.is_some();
    assert!(is_message || route(bytes).is_none(), "only messages find a machine");
    if !is_message {
        // One stage of each machine is enough to see that it does not listen.
        let (mut admitter, mut newcomer) = (asked(), answered());
        assert_eq!(admitter.step(NOW_MS, AdmitterInput::Received(bytes.to_vec())), []);
        assert_eq!(newcomer.step(NOW_MS, NewcomerInput::Received(bytes.to_vec())), []);
        return 0;
    }
    let mut moved = 0;
    for stored in &stages().admitters {
        let mut admitter = stored.clone();
        let effects = admitter.step(NOW_MS, AdmitterInput::Received(bytes.to_vec()));
        moved += u32::from(!effects.is_empty());
        keeps_admitter(&admitter, &effects);
    }
    for stored in &stages().newcomers {
        let mut newcomer = stored.clone();
        let effects = newcomer.step(NOW_MS, NewcomerInput::Received(bytes.to_vec()));
        moved += u32::from(!effects.is_empty());
        keeps_newcomer(&effects);
    }
    1 + moved
}

/// Bytes as what is sealed inside a confirmation and an admission. Agreeing on keys takes most of
/// the time here, so what is no CBOR at all goes this way only now and then.
fn sealed(bytes: &[u8]) -> u32 {
    let now_and_then = bytes.first().is_some_and(|first| first % 16 == 0);
    let mut passed = 0;
    if now_and_then || decode::<Ipld>(bytes).is_ok() {
        let mut admitter = greeted();
        let confirm = fuzz::confirm(&admitter, NONCE, bytes).expect("it was greeted");
        let effects = admitter.step(NOW_MS, AdmitterInput::Received(confirm));
        passed += u32::from(effects.iter().any(|one| matches!(one, AdmitterEffect::Persist(_))));
        keeps_admitter(&admitter, &effects);
    }
    if now_and_then {
        let mut newcomer = answered();
        let admission = fuzz::admission(&newcomer, bytes).expect("it was answered");
        let effects = newcomer.step(NOW_MS, NewcomerInput::Received(admission));
        let joins = |one: &NewcomerEffect| match one {
            NewcomerEffect::Join(joining) => joining.admission == bytes,
            _ => false,
        };
        assert!(effects.iter().any(joins), "what its admitter sealed is what it joins with");
    }
    passed
}

/// Any bytes as the stored state of a machine, which goes on with whatever may come.
fn restored(bytes: &[u8]) -> u32 {
    let mut passed = 0;
    if let Ok(admitter) = Admitter::from_bytes(bytes) {
        assert_eq!(admitter.to_bytes(), bytes, "a machine has one form");
        let inputs = [
            AdmitterInput::Opened,
            AdmitterInput::Typed("123 456".to_owned()),
            AdmitterInput::Declined,
            AdmitterInput::Admitted(vec![1; 9]),
            AdmitterInput::NotAdmitted,
            AdmitterInput::Heard,
            AdmitterInput::Removed,
            AdmitterInput::DeadlinePassed,
        ];
        for input in inputs {
            admitter.clone().step(NOW_MS, input);
        }
        passed += 1;
    }
    if let Ok(newcomer) = Newcomer::from_bytes(bytes) {
        assert_eq!(newcomer.to_bytes(), bytes, "a machine has one form");
        let inputs = [
            NewcomerInput::Opened,
            NewcomerInput::Stored,
            NewcomerInput::Cancelled,
            NewcomerInput::DeadlinePassed,
        ];
        for input in inputs {
            let mut machine = newcomer.clone();
            machine.step(NOW_MS, input);
            let _ = (machine.deadline(), machine.admitter());
        }
        passed += 1;
    }
    passed
}

fn typed(bytes: &[u8]) -> u32 {
    let Ok(text) = std::str::from_utf8(bytes) else { return 0 };
    let code = text.parse::<Code>().ok();
    if let Some(code) = &code {
        assert_eq!(code.to_string().parse().as_ref(), Ok(code), "a code survives being said");
    }
    let invitation = text.parse::<Invitation>().ok();
    if let Some(one) = &invitation {
        assert_eq!(one.to_string().parse().as_ref(), Ok(one), "an invitation survives being shown");
    }
    u32::from(code.is_some()) + u32::from(invitation.is_some())
}

/// Nobody is admitted before the person typed the digits, and what is stored reads back.
fn keeps_admitter(admitter: &Admitter, effects: &[AdmitterEffect]) {
    for effect in effects {
        match effect {
            AdmitterEffect::Admit(_) => panic!("a message admits nobody"),
            AdmitterEffect::Persist(bytes) => {
                let read = Admitter::from_bytes(bytes).expect("what is stored reads back");
                assert!(read == *admitter, "and is the machine");
            }
            _ => {}
        }
    }
}

fn keeps_newcomer(effects: &[NewcomerEffect]) {
    for effect in effects {
        if let NewcomerEffect::Persist(bytes) = effect {
            Newcomer::from_bytes(bytes).expect("what is stored reads back");
        }
    }
}

const NONCE: [u8; 32] = [6; 32];

fn greeted() -> Admitter {
    stages().admitters[1].clone()
}

fn asked() -> Admitter {
    stages().admitters[2].clone()
}

fn answered() -> Newcomer {
    stages().newcomers[1].clone()
}

/// Both machines, stored whenever they asked for it.
fn stages() -> &'static Stages {
    static STAGES: OnceLock<Stages> = OnceLock::new();
    STAGES.get_or_init(|| {
        let code = Code::from_random(*b"example!");
        let invite = Invite {
            identity: IdentityId(Cid::of(Codec::DagCbor, b"an identity")),
            root: family::genesis().root(),
            device: family::id(1),
            code,
            random: std::array::from_fn(|at| at as u8),
        };
        let mut random = [9; 64];
        random[32..].copy_from_slice(&NONCE);
        let (name, kind) = ("a phone", DeviceKind::Phone);
        let newcomer = Newcomer::new(NOW_MS, code, family::keys(5), name, kind, &random);
        link(Admitter::new(NOW_MS, &invite), newcomer.expect("the name is fit"))
    })
}

fn link(mut admitter: Admitter, mut newcomer: Newcomer) -> Stages {
    let mut stages = Stages { admitters: Vec::new(), newcomers: Vec::new() };
    let mut to_admitter = vec![AdmitterInput::Opened];
    let mut to_newcomer = vec![NewcomerInput::Opened];
    let mut digits = String::new();
    while !to_admitter.is_empty() || !to_newcomer.is_empty() {
        for input in std::mem::take(&mut to_admitter) {
            for effect in admitter.step(NOW_MS, input) {
                match effect {
                    AdmitterEffect::Persist(bytes) => {
                        let stored = Admitter::from_bytes(&bytes);
                        stages.admitters.push(stored.expect("what is stored reads back"));
                    }
                    AdmitterEffect::Send(bytes) => to_newcomer.push(NewcomerInput::Received(bytes)),
                    AdmitterEffect::AskPerson { .. } => {
                        to_admitter.push(AdmitterInput::Typed(digits.clone()));
                    }
                    AdmitterEffect::Admit(_) => {
                        to_admitter.push(AdmitterInput::Admitted(b"an admission".to_vec()));
                    }
                    AdmitterEffect::ShowCode { .. } | AdmitterEffect::Finish(_) => {}
                }
            }
        }
        for input in std::mem::take(&mut to_newcomer) {
            for effect in newcomer.step(NOW_MS, input) {
                match effect {
                    NewcomerEffect::Persist(bytes) => {
                        let stored = Newcomer::from_bytes(&bytes);
                        stages.newcomers.push(stored.expect("what is stored reads back"));
                    }
                    NewcomerEffect::Send(bytes) => to_admitter.push(AdmitterInput::Received(bytes)),
                    NewcomerEffect::ShowDigits(shown) => digits = shown,
                    NewcomerEffect::Join(_) => to_newcomer.push(NewcomerInput::Stored),
                    NewcomerEffect::Finish(_) => {}
                }
            }
        }
    }
    stages
}

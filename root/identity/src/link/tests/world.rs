//! Two machines, a wire, a person, and two disks, one effect at a time.

use crate::link::*;
use crate::*;
use rhizome_block::{Cid, Codec};
use std::collections::VecDeque;

pub(super) const START: u64 = 1_700_000_000_000;
pub(super) const ADMISSION: &[u8] = b"certificate, heads and wrapped keys";

pub(super) fn code() -> Code {
    Code::from_random(*b"example!")
}

pub(super) fn root() -> SigningPublic {
    RecoveryKit::from_entropy([7; 32]).root().public()
}

pub(super) fn admitter_id() -> DeviceId {
    SigningKeys::from_secret([1; 32]).device_id()
}

pub(super) fn newcomer_keys() -> DeviceKeys {
    DeviceKeys::from_bytes(&[42; 64])
}

pub(super) fn invite() -> Invite {
    Invite {
        identity: IdentityId(Cid::of(Codec::DagCbor, b"an identity")),
        root: root(),
        device: admitter_id(),
        code: code(),
        random: std::array::from_fn(|at| at as u8),
    }
}

pub(super) fn admitter() -> Admitter {
    Admitter::new(START, &invite())
}

pub(super) fn newcomer_with(code: Code) -> Newcomer {
    let random = std::array::from_fn(|at| at as u8 + 100);
    Newcomer::new(START, code, &newcomer_keys(), "Ana's phone", DeviceKind::Phone, &random).unwrap()
}

pub(super) fn open(admitter: &mut Admitter) {
    admitter.step(START, AdmitterInput::Opened);
}

/// The messages among the effects.
pub(super) fn sent<E: Sends>(effects: Vec<E>) -> Vec<Vec<u8>> {
    effects.into_iter().filter_map(Sends::message).collect()
}

pub(super) trait Sends {
    fn message(self) -> Option<Vec<u8>>;
}

impl Sends for AdmitterEffect {
    fn message(self) -> Option<Vec<u8>> {
        if let Self::Send(bytes) = self { Some(bytes) } else { None }
    }
}

impl Sends for NewcomerEffect {
    fn message(self) -> Option<Vec<u8>> {
        if let Self::Send(bytes) = self { Some(bytes) } else { None }
    }
}

pub(super) fn finished(effects: &[AdmitterEffect]) -> Option<AdmitterOutcome> {
    effects.iter().find_map(|one| match one {
        AdmitterEffect::Finish(outcome) => Some(*outcome),
        _ => None,
    })
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Person {
    TypesDigits,
    TypesWrongDigits,
    Declines,
    Sleeps,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Admitter,
    Newcomer,
}

/// When one side is killed: instead of, or right after, the effect with this number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    pub(super) at: usize,
    pub(super) side: Side,
    pub(super) after: bool,
    /// How long it stays dead.
    pub(super) dead_ms: u64,
}

/// A whole linking. Time passes only when nothing else happens.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) admitter: Option<Admitter>,
    pub(super) newcomer: Option<Newcomer>,
    pub(super) person: Person,
    pub(super) can_admit: bool,
    pub(super) newcomer_answers: bool,
    pub(super) kills: Vec<Kill>,
    pub(super) admitter_disk: Option<Vec<u8>>,
    pub(super) newcomer_disk: Option<Vec<u8>>,
    pub(super) wire_to_admitter: Vec<Vec<u8>>,
    pub(super) admissions: usize,
    pub(super) introduced: Option<Introduction>,
    pub(super) joined: Option<Joining>,
    pub(super) log: Vec<String>,
    digits: Option<String>,
    admitter_end: Option<AdmitterOutcome>,
    newcomer_end: Option<NewcomerOutcome>,
    to_admitter: VecDeque<AdmitterInput>,
    to_newcomer: VecDeque<NewcomerInput>,
    admitter_back_ms: u64,
    newcomer_back_ms: u64,
    executed: usize,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: START,
            admitter: Some(admitter()),
            newcomer: Some(newcomer_with(code())),
            person: Person::TypesDigits,
            can_admit: true,
            newcomer_answers: true,
            kills: Vec::new(),
            admitter_disk: None,
            newcomer_disk: None,
            wire_to_admitter: Vec::new(),
            admissions: 0,
            introduced: None,
            joined: None,
            log: Vec::new(),
            digits: None,
            admitter_end: None,
            newcomer_end: None,
            to_admitter: VecDeque::from([AdmitterInput::Opened]),
            to_newcomer: VecDeque::from([NewcomerInput::Opened]),
            admitter_back_ms: 0,
            newcomer_back_ms: 0,
            executed: 0,
        }
    }

    pub(super) fn ends(&self) -> (Option<AdmitterOutcome>, Option<NewcomerOutcome>) {
        (self.admitter_end, self.newcomer_end)
    }

    pub(super) fn effects(&self) -> usize {
        self.executed
    }

    /// The effects so far, with names in place of keys.
    pub(super) fn transcript(&self) -> String {
        let device = format!("{:?}", newcomer_keys().device_id());
        let identity = invite().identity.to_string();
        self.log
            .iter()
            .map(|line| line.replace(&device, "DEVICE").replace(&identity, "IDENTITY") + "\n")
            .collect()
    }

    /// Runs until both sides are over, or nothing more can happen.
    pub(super) fn run(&mut self) {
        for _ in 0..100_000 {
            self.revive();
            if let Some(input) = self.to_admitter.pop_front() {
                self.step_admitter(input);
            } else if let Some(input) = self.to_newcomer.pop_front() {
                self.step_newcomer(input);
            } else if !self.pass_time() {
                return;
            }
        }
        panic!("the world never rests: {:?}", &self.log[self.log.len() - 20..]);
    }

    fn step_admitter(&mut self, input: AdmitterInput) {
        if let AdmitterInput::Received(bytes) = &input {
            self.wire_to_admitter.push(bytes.clone());
        }
        let Some(machine) = &mut self.admitter else {
            // The caller answers for a machine that is no more.
            if matches!(input, AdmitterInput::Received(_)) && self.admitter_end.is_some() {
                self.send_newcomer(refusal(Refusal::NoSuchCode));
            }
            return;
        };
        for effect in machine.step(self.now, input) {
            if self.dies(Side::Admitter, false) {
                return;
            }
            self.log.push(format!("admitter: {effect:?}"));
            self.do_admitter(effect);
            if self.dies(Side::Admitter, true) {
                return;
            }
        }
    }

    fn do_admitter(&mut self, effect: AdmitterEffect) {
        match effect {
            AdmitterEffect::Persist(bytes) => self.admitter_disk = Some(bytes),
            AdmitterEffect::ShowCode { .. } => {}
            AdmitterEffect::Send(bytes) => self.send_newcomer(bytes),
            AdmitterEffect::AskPerson { .. } => {
                let digits = self.digits.clone().unwrap_or_default();
                match self.person {
                    Person::TypesDigits => {
                        let spaced = format!("{} {}", &digits[..3], &digits[3..]);
                        self.to_admitter.push_back(AdmitterInput::Typed(spaced));
                    }
                    Person::TypesWrongDigits => {
                        let wrong = digits.replace(['0', '1', '2', '3'], "9") + "0";
                        self.to_admitter.push_back(AdmitterInput::Typed(wrong));
                    }
                    Person::Declines => self.to_admitter.push_back(AdmitterInput::Declined),
                    Person::Sleeps => {}
                }
            }
            AdmitterEffect::Admit(introduction) => {
                // One control record, however often it is asked for.
                self.admissions = usize::from(self.can_admit);
                self.introduced = Some(*introduction);
                self.to_admitter.push_back(match self.can_admit {
                    true => AdmitterInput::Admitted(ADMISSION.to_vec()),
                    false => AdmitterInput::NotAdmitted,
                });
            }
            AdmitterEffect::Finish(outcome) => {
                self.admitter_disk = None;
                self.admitter_end = Some(outcome);
            }
        }
    }

    fn step_newcomer(&mut self, input: NewcomerInput) {
        let Some(machine) = &mut self.newcomer else { return };
        for effect in machine.step(self.now, input) {
            if self.dies(Side::Newcomer, false) {
                return;
            }
            self.log.push(format!("newcomer: {effect:?}"));
            self.do_newcomer(effect);
            if self.dies(Side::Newcomer, true) {
                return;
            }
        }
    }

    fn do_newcomer(&mut self, effect: NewcomerEffect) {
        match effect {
            NewcomerEffect::Persist(bytes) => self.newcomer_disk = Some(bytes),
            NewcomerEffect::Send(bytes) => {
                self.to_admitter.push_back(AdmitterInput::Received(bytes));
            }
            NewcomerEffect::ShowDigits(digits) => {
                if let Some(before) = self.digits.replace(digits.clone()) {
                    assert_eq!(before, digits, "the digits stay the same");
                }
            }
            NewcomerEffect::Join(joining) => {
                self.joined = Some(*joining);
                if self.newcomer_answers {
                    self.to_newcomer.push_back(NewcomerInput::Stored);
                }
            }
            NewcomerEffect::Finish(outcome) => {
                self.newcomer_disk = None;
                self.newcomer_end = Some(outcome);
            }
        }
    }

    fn send_newcomer(&mut self, bytes: Vec<u8>) {
        self.to_newcomer.push_back(NewcomerInput::Received(bytes));
    }

    /// Kills whoever is to die at this point, and tells whether that is `acting`. What was on its
    /// way to a killed side is lost, and so is whatever it was about to do.
    fn dies(&mut self, acting: Side, after: bool) -> bool {
        let at = self.executed;
        self.executed += usize::from(after);
        let due = |kill: &Kill| kill.at == at && kill.after == after;
        let Some(place) = self.kills.iter().position(due) else { return false };
        let kill = self.kills.remove(place);
        self.log.push(format!("{:?} is killed", kill.side));
        match kill.side {
            Side::Admitter => {
                self.admitter = None;
                self.to_admitter.clear();
                self.admitter_back_ms = self.now + kill.dead_ms;
            }
            Side::Newcomer => {
                self.newcomer = None;
                self.to_newcomer.clear();
                self.newcomer_back_ms = self.now + kill.dead_ms;
            }
        }
        kill.side == acting
    }

    /// Restores what is due from its disk. A side whose disk is empty is clean.
    fn revive(&mut self) {
        if self.admitter.is_none() && self.now >= self.admitter_back_ms {
            if let Some(bytes) = &self.admitter_disk {
                self.admitter = Some(Admitter::from_bytes(bytes).unwrap());
                self.to_admitter.push_front(AdmitterInput::Opened);
            } else if self.admitter_end.is_none() {
                self.admitter_end = Some(AdmitterOutcome::Refused(Refusal::NoSuchCode));
            }
        }
        if self.newcomer.is_none() && self.now >= self.newcomer_back_ms {
            if let Some(bytes) = &self.newcomer_disk {
                self.newcomer = Some(Newcomer::from_bytes(bytes).unwrap());
                self.to_newcomer.push_front(NewcomerInput::Opened);
            } else if self.newcomer_end.is_none() {
                self.newcomer_end = Some(NewcomerOutcome::Silence);
            }
        }
    }

    /// Moves on to the next deadline; false if there is none.
    fn pass_time(&mut self) -> bool {
        let admitter = self.admitter.as_ref().and_then(Admitter::deadline);
        let newcomer = self.newcomer.as_ref().and_then(Newcomer::deadline);
        let admitter_back = self.admitter.is_none() && self.admitter_end.is_none();
        let newcomer_back = self.newcomer.is_none() && self.newcomer_end.is_none();
        let next = [
            admitter,
            newcomer,
            admitter_back.then_some(self.admitter_back_ms),
            newcomer_back.then_some(self.newcomer_back_ms),
        ];
        let Some(next) = next.into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        if admitter.is_some_and(|at| self.now >= at) {
            self.to_admitter.push_back(AdmitterInput::DeadlinePassed);
        }
        if newcomer.is_some_and(|at| self.now >= at) {
            self.to_newcomer.push_back(NewcomerInput::DeadlinePassed);
        }
        true
    }
}

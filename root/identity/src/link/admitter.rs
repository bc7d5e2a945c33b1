//! The trusted device's side of linking: shows a code, checks the one guess, asks the person,
//! admits.
//!
//! It admits nobody before the person has typed the digits that the newcomer shows, and hands the
//! same admission out again for a day if the newcomer was interrupted. Making the control record
//! and the contents of the admission are left to the caller.

use super::LinkStateError;
use super::code::Code;
use super::message::{
    ADMISSION_BYTES_MAX, Confirm, Hello, INTRODUCTION_BYTES_MAX, Introduction, LinkBody, Proof,
    Refusal, Reply, Sealed,
};
use super::session::{Keys, Pake, Side, commitment};
use crate::format::V1;
use crate::{DeviceId, DeviceKind, IdentityId, SigningPublic};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// How long a code can be used: long enough to walk to the other device.
pub const CODE_LIFETIME_MS: u64 = 120_000;

/// How long the person has to type the digits, from when the newcomer has used the code.
pub const ANSWER_MS: u64 = 120_000;

/// How long an admission is kept for a newcomer that was interrupted; newcomers give up earlier.
pub const ADMISSION_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// What an admitter is made of.
#[derive(Clone, Debug)]
pub struct Invite {
    /// The identity to join.
    pub identity: IdentityId,
    /// Its root key.
    pub root: SigningPublic,
    /// This device.
    pub device: DeviceId,
    /// The code to show.
    pub code: Code,
    /// 64 random bytes: a seed and a nonce.
    pub random: [u8; 64],
}

/// What the outside world tells the admitter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdmitterInput {
    /// The machine was just made or restored.
    Opened,
    /// A message of the newcomer.
    Received(Vec<u8>),
    /// The person typed the digits that the newcomer shows; spaces do not matter.
    Typed(String),
    /// The person said no, or closed the window.
    Declined,
    /// The control record is stored; these bytes are what the newcomer needs.
    Admitted(Vec<u8>),
    /// The control record cannot be made.
    NotAdmitted,
    /// The admitted device was heard of as a member, by any other way: it has its admission.
    Heard,
    /// The admitted device was removed again.
    Removed,
    /// The deadline returned by [`Admitter::deadline`] has passed.
    DeadlinePassed,
}

/// What must happen, in this order.
#[derive(Clone, Eq, PartialEq)]
pub enum AdmitterEffect {
    /// Store these secret bytes durably in place of earlier ones, before going on.
    Persist(Vec<u8>),
    /// Show the code to the person until then.
    ShowCode {
        /// The code.
        code: Code,
        /// When it ends.
        expires_ms: u64,
    },
    /// Send a message to the newcomer.
    Send(Vec<u8>),
    /// Ask the person whether this device is theirs, and for the digits that it shows.
    AskPerson {
        /// What it calls itself.
        name: String,
        /// What it says it is.
        kind: DeviceKind,
    },
    /// Add the device by a control record, store that, and answer [`AdmitterInput::Admitted`]. This
    /// comes again after a crash: a device that was added already is answered for as it is.
    Admit(Box<Introduction>),
    /// Forget the stored bytes and close.
    Finish(AdmitterOutcome),
}

impl fmt::Debug for AdmitterEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persist(_) => write!(f, "Persist"),
            Self::ShowCode { expires_ms, .. } => write!(f, "ShowCode(until {expires_ms})"),
            Self::Send(_) => write!(f, "Send"),
            Self::AskPerson { name, kind } => write!(f, "AskPerson({name}, {kind:?})"),
            Self::Admit(introduction) => write!(f, "Admit({:?})", introduction.signing),
            Self::Finish(outcome) => write!(f, "Finish({outcome:?})"),
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AdmitterOutcome {
    /// The newcomer has its admission.
    Linked(DeviceId),
    /// The device was admitted and never confirmed. Unless it was heard of since, by any
    /// other way, it should be removed again.
    Unclaimed(DeviceId),
    /// Nobody was admitted.
    Refused(Refusal),
}

rhizome_block::kind!(
    /// The kind text of a stored admitter.
    pub(crate) AdmitterKind = "link-admitter"
);

/// The trusted device's side of linking one device.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Admitter {
    k: AdmitterKind,
    v: V1,
    code: String,
    #[serde(with = "serde_bytes")]
    seed: [u8; 32],
    #[serde(with = "serde_bytes")]
    nonce: [u8; 32],
    identity: IdentityId,
    root: SigningPublic,
    device: DeviceId,
    expires_ms: u64,
    hello: Option<Hello>,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    /// The code is shown; if there is a Hello, it was answered.
    Showing,
    /// The guess was right; the person is asked.
    Asking { introduction: Introduction, digits: String, until_ms: u64 },
    /// The digits were right; the caller makes the record.
    Admitting { introduction: Introduction },
    /// The record is made.
    Admitted { device: DeviceId, admission: Sealed, until_ms: u64 },
    /// Over.
    Finished,
}

impl Admitter {
    /// A machine that will show the code; feed it [`AdmitterInput::Opened`] next.
    #[must_use]
    pub fn new(now_ms: u64, invite: &Invite) -> Self {
        let (seed, nonce) = invite.random.split_at(32);
        Self {
            k: AdmitterKind,
            v: V1,
            code: invite.code.to_string(),
            seed: seed.try_into().expect("half of 64 bytes"),
            nonce: nonce.try_into().expect("half of 64 bytes"),
            identity: invite.identity,
            root: invite.root,
            device: invite.device,
            expires_ms: now_ms.saturating_add(CODE_LIFETIME_MS),
            hello: None,
            stage: Stage::Showing,
        }
    }

    /// Restores a machine from the last [`AdmitterEffect::Persist`]; feed it
    /// [`AdmitterInput::Opened`] next.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LinkStateError> {
        let machine: Self = rhizome_block::decode(bytes)?;
        let readable = machine.code.parse::<Code>().is_ok();
        // Whoever got past the guess agreed on keys; they follow from code, seed and Hello.
        let greeted = matches!(machine.stage, Stage::Showing | Stage::Finished);
        if readable && (greeted || machine.keys().is_some()) {
            return Ok(machine);
        }
        let what = "parts do not belong together".to_owned();
        Err(LinkStateError { source: rhizome_block::CborError::Decode { what } })
    }

    /// The bytes of [`AdmitterEffect::Persist`]. They are secret.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rhizome_block::encode(self).expect("a machine has a DAG-CBOR form")
    }

    /// Takes one input and returns what must happen because of it, in this order.
    pub fn step(&mut self, now_ms: u64, input: AdmitterInput) -> Vec<AdmitterEffect> {
        if self.deadline().is_some_and(|deadline| now_ms >= deadline) {
            return self.expire();
        }
        match input {
            AdmitterInput::Opened => self.open(),
            AdmitterInput::Received(bytes) => self.receive(now_ms, &bytes),
            AdmitterInput::Typed(typed) => self.typed(&typed),
            AdmitterInput::Declined => match self.stage {
                Stage::Showing | Stage::Asking { .. } => self.refuse(Refusal::Declined),
                _ => Vec::new(),
            },
            AdmitterInput::Admitted(bytes) => self.admitted(now_ms, &bytes),
            AdmitterInput::NotAdmitted => match self.stage {
                Stage::Admitting { .. } => self.refuse(Refusal::NotAdmitted),
                _ => Vec::new(),
            },
            AdmitterInput::Heard => match self.stage {
                Stage::Admitted { device, .. } => self.finish(AdmitterOutcome::Linked(device)),
                _ => Vec::new(),
            },
            AdmitterInput::Removed => match self.stage {
                Stage::Admitted { .. } => self.refuse(Refusal::NotAdmitted),
                _ => Vec::new(),
            },
            AdmitterInput::DeadlinePassed => Vec::new(),
        }
    }

    /// When to call [`Admitter::step`] with [`AdmitterInput::DeadlinePassed`].
    #[must_use]
    pub const fn deadline(&self) -> Option<u64> {
        match &self.stage {
            Stage::Showing => Some(self.expires_ms),
            Stage::Asking { until_ms, .. } | Stage::Admitted { until_ms, .. } => Some(*until_ms),
            Stage::Admitting { .. } | Stage::Finished => None,
        }
    }

    /// The device that was admitted and has not confirmed yet, for [`AdmitterInput::Heard`].
    #[must_use]
    pub const fn admitted_device(&self) -> Option<DeviceId> {
        match &self.stage {
            Stage::Admitted { device, .. } => Some(*device),
            _ => None,
        }
    }

    /// The exchange that a newcomer opened, for [`super::Route::Session`].
    #[must_use]
    pub fn session(&self) -> Option<[u8; 32]> {
        self.hello.as_ref().map(|hello| hello.commitment)
    }

    /// Whether its code can still be used, for [`super::Route::Number`].
    #[must_use]
    pub fn is_showing(&self, number: u8) -> bool {
        self.stage == Stage::Showing && self.code().number() == number
    }

    fn open(&mut self) -> Vec<AdmitterEffect> {
        match &self.stage {
            Stage::Showing => vec![
                self.persist(),
                AdmitterEffect::ShowCode { code: self.code(), expires_ms: self.expires_ms },
            ],
            Stage::Asking { introduction, .. } => vec![ask(introduction)],
            Stage::Admitting { introduction } => {
                vec![AdmitterEffect::Admit(Box::new(introduction.clone()))]
            }
            Stage::Admitted { .. } | Stage::Finished => Vec::new(),
        }
    }

    fn receive(&mut self, now_ms: u64, bytes: &[u8]) -> Vec<AdmitterEffect> {
        match LinkBody::from_bytes(bytes) {
            Some(LinkBody::Hello(hello)) => self.greeted(hello),
            Some(LinkBody::Confirm(confirm)) => self.confirmed(now_ms, &confirm),
            Some(LinkBody::Resume(proof)) => self.resumed(&proof),
            Some(LinkBody::Received(proof)) => self.received(&proof),
            // Our own side of the conversation, or no message at all: not from a newcomer of ours.
            Some(LinkBody::Reply(_) | LinkBody::Admission(_) | LinkBody::Refused(_)) | None => {
                Vec::new()
            }
        }
    }

    /// The first Hello takes the code; the same one again is answered again.
    fn greeted(&mut self, hello: Hello) -> Vec<AdmitterEffect> {
        if self.stage != Stage::Showing || hello.rendezvous != self.code().number() {
            return vec![send_refusal(Refusal::NoSuchCode)];
        }
        match &self.hello {
            Some(first) if *first != hello => vec![send_refusal(Refusal::Busy)],
            Some(_) => vec![self.reply()],
            None => {
                self.hello = Some(hello);
                vec![self.persist(), self.reply()]
            }
        }
    }

    /// The one guess. Whatever is wrong with it, the code is gone.
    fn confirmed(&mut self, now_ms: u64, confirm: &Confirm) -> Vec<AdmitterEffect> {
        let Some(hello) = self.hello.as_ref().filter(|one| one.commitment == confirm.session)
        else {
            return vec![send_refusal(Refusal::NoSuchCode)];
        };
        if self.stage != Stage::Showing {
            return Vec::new();
        }
        let Some((introduction, digits)) = self.check(hello, confirm) else {
            return self.refuse(Refusal::WrongCode);
        };
        let effect = ask(&introduction);
        let until_ms = now_ms.saturating_add(ANSWER_MS);
        self.stage = Stage::Asking { introduction, digits, until_ms };
        vec![self.persist(), effect]
    }

    fn check(&self, hello: &Hello, confirm: &Confirm) -> Option<(Introduction, String)> {
        let keys = self.keys()?;
        if confirm.sealed.len() > INTRODUCTION_BYTES_MAX
            || keys.confirmation(&confirm.nonce, &confirm.sealed) != confirm.mac
        {
            return None;
        }
        let opened = keys.open("introduction", &confirm.sealed)?;
        let introduction: Introduction = rhizome_block::decode(&opened).ok()?;
        let committed = commitment(&confirm.nonce, &introduction.signing, &introduction.sealing);
        if committed != hello.commitment || !introduction.holds(self.root) {
            return None;
        }
        let digits = keys.digits(&confirm.nonce, &introduction);
        Some((introduction, digits))
    }

    /// The digits, in one try.
    fn typed(&mut self, typed: &str) -> Vec<AdmitterEffect> {
        let Stage::Asking { introduction, digits, .. } = &self.stage else { return Vec::new() };
        let given = typed.chars().filter(|one| !one.is_whitespace());
        if !given.eq(digits.chars()) {
            return self.refuse(Refusal::WrongDigits);
        }
        let introduction = introduction.clone();
        self.stage = Stage::Admitting { introduction: introduction.clone() };
        vec![self.persist(), AdmitterEffect::Admit(Box::new(introduction))]
    }

    fn admitted(&mut self, now_ms: u64, bytes: &[u8]) -> Vec<AdmitterEffect> {
        assert!(bytes.len() <= ADMISSION_BYTES_MAX, "the caller keeps admissions within bounds");
        let Stage::Admitting { introduction } = &self.stage else { return Vec::new() };
        let device = introduction.signing;
        let keys = self.keys().expect("the guess was checked with these keys");
        let admission = Sealed { sealed: keys.seal("admission", bytes) };
        let until_ms = now_ms.saturating_add(ADMISSION_KEPT_MS);
        let send = AdmitterEffect::Send(LinkBody::Admission(admission.clone()).to_bytes());
        self.stage = Stage::Admitted { device, admission, until_ms };
        vec![self.persist(), send]
    }

    /// A newcomer that was interrupted asks for its admission again.
    fn resumed(&self, proof: &Proof) -> Vec<AdmitterEffect> {
        match &self.stage {
            Stage::Admitted { admission, .. } if self.proves("resume", proof) => {
                vec![AdmitterEffect::Send(LinkBody::Admission(admission.clone()).to_bytes())]
            }
            _ => Vec::new(),
        }
    }

    fn received(&mut self, proof: &Proof) -> Vec<AdmitterEffect> {
        match self.stage {
            Stage::Admitted { device, .. } if self.proves("received", proof) => {
                self.finish(AdmitterOutcome::Linked(device))
            }
            _ => Vec::new(),
        }
    }

    fn proves(&self, what: &'static str, proof: &Proof) -> bool {
        let Stage::Admitted { device, .. } = &self.stage else { return false };
        let same = self.session() == Some(proof.session) && *device == proof.device;
        same && self.keys().is_some_and(|keys| keys.proof(what, device) == proof.mac)
    }

    fn expire(&mut self) -> Vec<AdmitterEffect> {
        match self.stage {
            Stage::Admitted { device, .. } => self.finish(AdmitterOutcome::Unclaimed(device)),
            _ => self.refuse(Refusal::Expired),
        }
    }

    fn refuse(&mut self, why: Refusal) -> Vec<AdmitterEffect> {
        let mut effects = Vec::new();
        if self.hello.is_some() {
            effects.push(send_refusal(why));
        }
        effects.extend(self.finish(AdmitterOutcome::Refused(why)));
        effects
    }

    fn finish(&mut self, outcome: AdmitterOutcome) -> Vec<AdmitterEffect> {
        self.stage = Stage::Finished;
        vec![AdmitterEffect::Finish(outcome)]
    }

    fn answer(&self) -> Reply {
        Reply {
            pake: Pake::start(Side::Admitter, &self.code(), &self.seed).message,
            nonce: self.nonce,
            identity: self.identity,
            root: self.root,
            device: self.device,
        }
    }

    fn reply(&self) -> AdmitterEffect {
        AdmitterEffect::Send(LinkBody::Reply(self.answer()).to_bytes())
    }

    pub(super) fn keys(&self) -> Option<Keys> {
        let hello = self.hello.as_ref()?;
        Keys::agree(Side::Admitter, &self.code(), &self.seed, hello, &self.answer())
    }

    fn persist(&self) -> AdmitterEffect {
        AdmitterEffect::Persist(self.to_bytes())
    }

    fn code(&self) -> Code {
        let code = Zeroizing::new(self.code.clone());
        code.parse().expect("it was written from a code, and checked when restored")
    }
}

impl fmt::Debug for Admitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Showing => "showing",
            Stage::Asking { .. } => "asking",
            Stage::Admitting { .. } => "admitting",
            Stage::Admitted { .. } => "admitted",
            Stage::Finished => "finished",
        };
        write!(f, "Admitter({stage}, secret)")
    }
}

impl Drop for Admitter {
    fn drop(&mut self) {
        self.seed.zeroize();
        self.code.zeroize();
    }
}

fn ask(introduction: &Introduction) -> AdmitterEffect {
    AdmitterEffect::AskPerson { name: introduction.name.clone(), kind: introduction.kind }
}

fn send_refusal(why: Refusal) -> AdmitterEffect {
    AdmitterEffect::Send(LinkBody::Refused(why).to_bytes())
}

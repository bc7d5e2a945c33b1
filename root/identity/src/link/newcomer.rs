//! The new device's side of linking: uses the code once, shows six digits, waits to be admitted.
//!
//! It repeats what it said last until it is answered, also after a crash, over whatever connection
//! the caller has at the time. Once the trusted device has answered, the caller should hold every
//! further connection to the key of that device ([`Newcomer::admitter`]). What an admission
//! contains is left to the caller.

use super::LinkStateError;
use super::admitter::ADMISSION_KEPT_MS;
use super::code::Code;
use super::message::{
    ADMISSION_BYTES_MAX, Confirm, Hello, Introduction, LinkBody, Proof, Refusal, Reply, Sealed,
    name_is_fit,
};
use super::session::{Keys, Pake, Side, commitment};
use crate::format::V1;
use crate::{Acceptance, DeviceId, DeviceKeys, DeviceKind, IdentityId, SigningPublic};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// How long the newcomer looks for the waiting device: as long as a code can be used.
pub const GREETING_MS: u64 = super::admitter::CODE_LIFETIME_MS;

/// After how long it first says again what was not answered; then after twice as long each time.
pub const RETRY_MS: u64 = 3_000;

/// The longest pause before it says something again: nobody waits much longer for a device that
/// has come back.
pub const RETRY_MAX_MS: u64 = 60_000;

/// Why a newcomer cannot begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NewcomerError {
    /// The name cannot be shown to a person.
    #[error("the name of a device is 1 to 64 visible characters")]
    Name,
    /// Cloud peers are not linked by a code.
    #[error("a cloud peer is asked for by its owner, not linked by a code")]
    CloudPeer,
}

/// What the outside world tells the newcomer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NewcomerInput {
    /// The machine was just made or restored.
    Opened,
    /// A message of the trusted device.
    Received(Vec<u8>),
    /// What [`NewcomerEffect::Join`] asked for is stored durably.
    Stored,
    /// The person gave up.
    Cancelled,
    /// The deadline returned by [`Newcomer::deadline`] has passed.
    DeadlinePassed,
}

/// What a newcomer was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Joining {
    /// The identity that it joins.
    pub identity: IdentityId,
    /// The root key that it has accepted.
    pub root: SigningPublic,
    /// The device that admitted it.
    pub admitter: DeviceId,
    /// What the caller of the admitter handed over.
    pub admission: Vec<u8>,
}

/// What must happen, in this order.
#[derive(Clone, Eq, PartialEq)]
pub enum NewcomerEffect {
    /// Store these secret bytes durably in place of earlier ones, before going on.
    Persist(Vec<u8>),
    /// Send a message to the trusted device.
    Send(Vec<u8>),
    /// Show these six digits until the end.
    ShowDigits(String),
    /// Store the identity with the keys of this machine, and answer [`NewcomerInput::Stored`]. This
    /// comes again after a crash: what is stored already stays.
    Join(Box<Joining>),
    /// Forget the stored bytes and close.
    Finish(NewcomerOutcome),
}

impl fmt::Debug for NewcomerEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persist(_) => write!(f, "Persist"),
            Self::Send(_) => write!(f, "Send"),
            Self::ShowDigits(_) => write!(f, "ShowDigits"),
            Self::Join(joining) => write!(f, "Join({})", joining.identity),
            Self::Finish(outcome) => write!(f, "Finish({outcome:?})"),
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NewcomerOutcome {
    /// This device belongs to the identity.
    Linked,
    /// The trusted device said no.
    Refused(Refusal),
    /// Nobody answered in time.
    Silence,
    /// The person gave up.
    Cancelled,
}

rhizome_block::kind!(
    /// The kind text of a stored newcomer.
    pub(crate) NewcomerKind = "link-newcomer"
);

/// The new device's side of linking.
#[derive(Clone, Eq, PartialEq)]
pub struct Newcomer {
    saved: Saved,
    /// What it says until it is answered, and when it says it again.
    speech: Option<Speech>,
}

/// Messages that are not answered yet.
#[derive(Clone, Eq, PartialEq)]
struct Speech {
    messages: Vec<Vec<u8>>,
    pause_ms: u64,
    again_ms: u64,
}

/// What is stored of a newcomer.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
struct Saved {
    k: NewcomerKind,
    v: V1,
    code: String,
    #[serde(with = "serde_bytes")]
    keys: [u8; 64],
    name: String,
    kind: DeviceKind,
    #[serde(with = "serde_bytes")]
    seed: [u8; 32],
    #[serde(with = "serde_bytes")]
    nonce: [u8; 32],
    until_ms: u64,
    reply: Option<Reply>,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    /// Says Hello.
    Greeting,
    /// Was answered; shows the digits and waits to be admitted.
    Confirming,
    /// Was admitted; the caller stores the identity.
    Joining { admission: Sealed },
    /// Over.
    Finished,
}

impl Newcomer {
    /// A machine that will use `code` with these new keys, from 64 random bytes: a seed and a
    /// nonce. Feed it [`NewcomerInput::Opened`] next.
    pub fn new(
        now_ms: u64,
        code: Code,
        keys: &DeviceKeys,
        name: &str,
        kind: DeviceKind,
        random: &[u8; 64],
    ) -> Result<Self, NewcomerError> {
        if !name_is_fit(name) {
            return Err(NewcomerError::Name);
        }
        if kind == DeviceKind::CloudPeer {
            return Err(NewcomerError::CloudPeer);
        }
        let (seed, nonce) = random.split_at(32);
        let saved = Saved {
            k: NewcomerKind,
            v: V1,
            code: code.to_string(),
            keys: *keys.to_bytes(),
            name: name.to_owned(),
            kind,
            seed: seed.try_into().expect("half of 64 bytes"),
            nonce: nonce.try_into().expect("half of 64 bytes"),
            until_ms: now_ms.saturating_add(GREETING_MS),
            reply: None,
            stage: Stage::Greeting,
        };
        Ok(Self { saved, speech: None })
    }

    /// Restores a machine from the last [`NewcomerEffect::Persist`]; feed it
    /// [`NewcomerInput::Opened`] next.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LinkStateError> {
        let saved: Saved = rhizome_block::decode(bytes)?;
        let answered = saved.reply.is_some() == (saved.stage != Stage::Greeting);
        let whole =
            saved.code.parse::<Code>().is_ok() && (answered || saved.stage == Stage::Finished);
        let machine = Self { saved, speech: None };
        let agrees = || machine.saved.reply.is_none() || machine.agreed().is_some();
        let joins =
            || !matches!(machine.saved.stage, Stage::Joining { .. }) || !machine.join().is_empty();
        if whole && agrees() && joins() {
            return Ok(machine);
        }
        let what = "parts do not belong together".to_owned();
        Err(LinkStateError { source: rhizome_block::CborError::Decode { what } })
    }

    /// The bytes of [`NewcomerEffect::Persist`]. They are secret.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rhizome_block::encode(&self.saved).expect("a machine has a DAG-CBOR form")
    }

    /// Takes one input and returns what must happen because of it, in this order.
    pub fn step(&mut self, now_ms: u64, input: NewcomerInput) -> Vec<NewcomerEffect> {
        if self.patience().is_some_and(|until| now_ms >= until) {
            return self.finish(NewcomerOutcome::Silence);
        }
        match input {
            NewcomerInput::Opened => {
                let mut effects = match self.saved.stage {
                    Stage::Greeting => vec![self.persist()],
                    Stage::Confirming => vec![self.show_digits()],
                    Stage::Joining { .. } => self.join(),
                    Stage::Finished => Vec::new(),
                };
                effects.extend(self.speak(now_ms));
                effects
            }
            NewcomerInput::Received(bytes) => self.receive(now_ms, &bytes),
            NewcomerInput::Stored => self.stored(),
            NewcomerInput::Cancelled => match self.saved.stage {
                Stage::Greeting | Stage::Confirming => self.finish(NewcomerOutcome::Cancelled),
                Stage::Joining { .. } | Stage::Finished => Vec::new(),
            },
            NewcomerInput::DeadlinePassed => self.repeat(now_ms),
        }
    }

    /// When to call [`Newcomer::step`] with [`NewcomerInput::DeadlinePassed`].
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let patience = self.patience()?;
        Some(self.speech.as_ref().map_or(patience, |speech| speech.again_ms.min(patience)))
    }

    /// The keys of this device, for the caller's key store.
    #[must_use]
    pub fn keys(&self) -> DeviceKeys {
        DeviceKeys::from_bytes(&self.saved.keys)
    }

    /// The device that answered, once one has.
    #[must_use]
    pub fn admitter(&self) -> Option<DeviceId> {
        self.saved.reply.as_ref().map(|reply| reply.device)
    }

    /// Until when it waits for the other side; storing an admission has no end.
    const fn patience(&self) -> Option<u64> {
        match self.saved.stage {
            Stage::Greeting | Stage::Confirming => Some(self.saved.until_ms),
            Stage::Joining { .. } | Stage::Finished => None,
        }
    }

    fn receive(&mut self, now_ms: u64, bytes: &[u8]) -> Vec<NewcomerEffect> {
        let waiting = matches!(self.saved.stage, Stage::Greeting | Stage::Confirming);
        match LinkBody::from_bytes(bytes) {
            Some(LinkBody::Reply(reply)) => self.answered(now_ms, reply),
            Some(LinkBody::Admission(sealed)) => self.admitted(sealed),
            Some(LinkBody::Refused(why)) if waiting => self.finish(NewcomerOutcome::Refused(why)),
            _ => Vec::new(),
        }
    }

    /// The first answer counts. From here on the trusted device may have admitted us, so that
    /// giving up early would leave it with a device that does not exist.
    fn answered(&mut self, now_ms: u64, reply: Reply) -> Vec<NewcomerEffect> {
        if self.saved.stage != Stage::Greeting {
            return Vec::new();
        }
        self.saved.reply = Some(reply);
        if self.agreed().is_none() {
            return self.finish(NewcomerOutcome::Refused(Refusal::WrongCode));
        }
        self.saved.stage = Stage::Confirming;
        self.saved.until_ms = now_ms.saturating_add(ADMISSION_KEPT_MS);
        let mut effects = vec![self.persist(), self.show_digits()];
        effects.extend(self.speak(now_ms));
        effects
    }

    fn admitted(&mut self, sealed: Sealed) -> Vec<NewcomerEffect> {
        let fits = sealed.sealed.len() <= ADMISSION_BYTES_MAX + 64;
        let opens = |keys: Keys| keys.open("admission", &sealed.sealed).is_some();
        if self.saved.stage != Stage::Confirming || !fits || !self.agreed().is_some_and(opens) {
            return Vec::new();
        }
        self.saved.stage = Stage::Joining { admission: sealed };
        self.speech = None;
        let mut effects = vec![self.persist()];
        effects.extend(self.join());
        effects
    }

    fn join(&self) -> Vec<NewcomerEffect> {
        let Stage::Joining { admission } = &self.saved.stage else { return Vec::new() };
        let reply = self.saved.reply.as_ref().expect("nobody is admitted without an answer");
        let opened = self.agreed().and_then(|keys| keys.open("admission", &admission.sealed));
        // It was opened before it was stored; other bytes cannot be joined with.
        let Some(opened) = opened else { return Vec::new() };
        vec![NewcomerEffect::Join(Box::new(Joining {
            identity: reply.identity,
            root: reply.root,
            admitter: reply.device,
            admission: opened.to_vec(),
        }))]
    }

    fn stored(&mut self) -> Vec<NewcomerEffect> {
        if !matches!(self.saved.stage, Stage::Joining { .. }) {
            return Vec::new();
        }
        let received = LinkBody::Received(self.proof("received"));
        let mut effects = vec![NewcomerEffect::Send(received.to_bytes())];
        effects.extend(self.finish(NewcomerOutcome::Linked));
        effects
    }

    /// Says what this stage has to say, and remembers to say it again.
    fn speak(&mut self, now_ms: u64) -> Vec<NewcomerEffect> {
        let bodies = match self.saved.stage {
            Stage::Greeting => vec![LinkBody::Hello(self.hello())],
            Stage::Confirming => {
                vec![LinkBody::Confirm(self.confirm()), LinkBody::Resume(self.proof("resume"))]
            }
            Stage::Joining { .. } | Stage::Finished => return Vec::new(),
        };
        self.speech = Some(Speech {
            messages: bodies.iter().map(LinkBody::to_bytes).collect(),
            pause_ms: RETRY_MS / 2,
            again_ms: now_ms,
        });
        self.repeat(now_ms)
    }

    /// Says again what was not answered, if it is time.
    fn repeat(&mut self, now_ms: u64) -> Vec<NewcomerEffect> {
        let Some(speech) = self.speech.as_mut().filter(|speech| now_ms >= speech.again_ms) else {
            return Vec::new();
        };
        speech.pause_ms = (speech.pause_ms * 2).min(RETRY_MAX_MS);
        speech.again_ms = now_ms.saturating_add(speech.pause_ms);
        speech.messages.iter().cloned().map(NewcomerEffect::Send).collect()
    }

    fn finish(&mut self, outcome: NewcomerOutcome) -> Vec<NewcomerEffect> {
        self.saved.stage = Stage::Finished;
        self.speech = None;
        vec![NewcomerEffect::Finish(outcome)]
    }

    fn hello(&self) -> Hello {
        let (code, keys) = (self.code(), self.keys());
        Hello {
            rendezvous: code.number(),
            pake: Pake::start(Side::Newcomer, &code, &self.saved.seed).message,
            commitment: commitment(&self.saved.nonce, &keys.device_id(), &keys.sealing_public()),
        }
    }

    fn introduction(&self) -> Introduction {
        let reply = self.saved.reply.as_ref().expect("it introduces itself after an answer");
        let keys = self.keys();
        let accepted = Acceptance::of(&keys, reply.root, self.saved.kind);
        Introduction {
            name: self.saved.name.clone(),
            kind: self.saved.kind,
            signing: keys.device_id(),
            sealing: keys.sealing_public(),
            acceptance: accepted.sign(&keys.signing),
        }
    }

    fn confirm(&self) -> Confirm {
        let keys = self.agreed().expect("the answer was checked when it came");
        let introduction = rhizome_block::encode(&self.introduction())
            .expect("an introduction has a DAG-CBOR form");
        let sealed = keys.seal("introduction", &introduction);
        let nonce = self.saved.nonce;
        let mac = keys.confirmation(&nonce, &sealed).into();
        Confirm { session: self.hello().commitment, mac, nonce, sealed }
    }

    fn proof(&self, what: &'static str) -> Proof {
        let keys = self.agreed().expect("the answer was checked when it came");
        let device = self.keys().device_id();
        Proof { session: self.hello().commitment, device, mac: keys.proof(what, &device).into() }
    }

    fn show_digits(&self) -> NewcomerEffect {
        let keys = self.agreed().expect("the answer was checked when it came");
        NewcomerEffect::ShowDigits(keys.digits(&self.saved.nonce, &self.introduction()))
    }

    pub(super) fn agreed(&self) -> Option<Keys> {
        let reply = self.saved.reply.as_ref()?;
        Keys::agree(Side::Newcomer, &self.code(), &self.saved.seed, &self.hello(), reply)
    }

    fn persist(&self) -> NewcomerEffect {
        NewcomerEffect::Persist(self.to_bytes())
    }

    fn code(&self) -> Code {
        let code = Zeroizing::new(self.saved.code.clone());
        code.parse().expect("it was written from a code, and checked when restored")
    }
}

impl fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.saved.stage {
            Stage::Greeting => "greeting",
            Stage::Confirming => "confirming",
            Stage::Joining { .. } => "joining",
            Stage::Finished => "finished",
        };
        write!(f, "Newcomer({stage}, secret)")
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.keys.zeroize();
        self.seed.zeroize();
        self.code.zeroize();
    }
}

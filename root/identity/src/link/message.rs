//! What the two devices say to each other while linking.
//!
//! Every message is one DAG-CBOR map `{k: "link", v: 1, body}`. The newcomer opens with Hello and
//! names the exchange by its commitment in everything after that, so that it may go on over another
//! connection.

use crate::format::V1;
use crate::keys::Signature;
use crate::{Acceptance, DeviceId, DeviceKind, IdentityId, SealingPublic, SigningPublic};
use serde::{Deserialize, Serialize};

/// Most bytes of an admission: certificate, control chain, heads and wrapped keys. What is larger
/// follows by ordinary synchronisation.
pub const ADMISSION_BYTES_MAX: usize = 1 << 20;

/// Most bytes of one message of linking: an admission and what seals it.
pub const LINK_MESSAGE_BYTES_MAX: usize = ADMISSION_BYTES_MAX + 1024;

/// Most characters of a device's name.
pub const NAME_CHARACTERS_MAX: usize = 64;

/// Most bytes of what seals an introduction: a long name, keys, a signature.
pub(super) const INTRODUCTION_BYTES_MAX: usize = 1024;

/// Why the trusted device ends the exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// There is no such code here, or no longer.
    #[error("the code is not in use")]
    NoSuchCode,
    /// Another device is using the code.
    #[error("another device is using the code")]
    Busy,
    /// The two minutes are over.
    #[error("the code has expired")]
    Expired,
    /// The guess was wrong, and was the only one.
    #[error("the code was wrong and cannot be used again")]
    WrongCode,
    /// The digits typed were not those shown.
    #[error("the digits were wrong; the code cannot be used again")]
    WrongDigits,
    /// The person said no.
    #[error("the other device declined")]
    Declined,
    /// The identity could not admit the device.
    #[error("the other device could not add this one")]
    NotAdmitted,
}

/// Who wants to join: what the person is asked, and what a certificate needs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Introduction {
    /// What the newcomer calls itself.
    pub name: String,
    /// What it says it is.
    pub kind: DeviceKind,
    /// Its signing key.
    pub signing: DeviceId,
    /// Its sealing key.
    pub sealing: SealingPublic,
    /// Its signature that it joins, for [`crate::DeviceCertificate::issue`].
    pub acceptance: Signature,
}

impl Introduction {
    /// Whether it is what an admitting device may show to the person: a readable name, no cloud
    /// peer, and keys that its owner holds and gives to this root.
    pub(super) fn holds(&self, root: SigningPublic) -> bool {
        let accepted = Acceptance {
            root,
            signing: self.signing,
            sealing: Some(self.sealing),
            kind: self.kind,
        };
        name_is_fit(&self.name)
            && self.kind != DeviceKind::CloudPeer
            && accepted.verify(&self.acceptance).is_ok()
    }
}

/// Whether a name can be shown to a person without fooling them: not empty, not long, no control
/// characters, and none that change the direction of writing or are invisible.
#[must_use]
pub fn name_is_fit(name: &str) -> bool {
    let hidden = |one: char| {
        one.is_control()
            || matches!(one, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let count = name.chars().take(NAME_CHARACTERS_MAX + 1).count();
    (1..=NAME_CHARACTERS_MAX).contains(&count) && name == name.trim() && !name.contains(hidden)
}

rhizome_block::kind!(
    /// The kind text of a linking message.
    pub(crate) LinkKind = "link"
);

/// One message.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct LinkMessage {
    k: LinkKind,
    v: V1,
    pub(super) body: LinkBody,
}

/// What a message says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LinkBody {
    Hello(Hello),
    Reply(Reply),
    Confirm(Confirm),
    Admission(Sealed),
    Resume(Proof),
    Received(Proof),
    Refused(Refusal),
}

/// The newcomer opens: half of SPAKE2, and a commitment to its nonce and keys.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) rendezvous: u8,
    #[serde(with = "serde_bytes")]
    pub(super) pake: [u8; 33],
    #[serde(with = "serde_bytes")]
    pub(super) commitment: [u8; 32],
}

/// The trusted device answers: the other half, its nonce, and who it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Reply {
    #[serde(with = "serde_bytes")]
    pub(super) pake: [u8; 33],
    #[serde(with = "serde_bytes")]
    pub(super) nonce: [u8; 32],
    pub(super) identity: IdentityId,
    pub(super) root: SigningPublic,
    pub(super) device: DeviceId,
}

/// The newcomer proves that it had the code, opens its commitment, and introduces itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Confirm {
    /// The commitment of its Hello, which names the exchange.
    #[serde(with = "serde_bytes")]
    pub(super) session: [u8; 32],
    #[serde(with = "serde_bytes")]
    pub(super) mac: [u8; 32],
    #[serde(with = "serde_bytes")]
    pub(super) nonce: [u8; 32],
    #[serde(with = "serde_bytes")]
    pub(super) sealed: Vec<u8>,
}

/// Bytes sealed under the shared key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Sealed {
    #[serde(with = "serde_bytes")]
    pub(super) sealed: Vec<u8>,
}

/// The newcomer asks again for its admission, or says that it has it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Proof {
    #[serde(with = "serde_bytes")]
    pub(super) session: [u8; 32],
    pub(super) device: DeviceId,
    #[serde(with = "serde_bytes")]
    pub(super) mac: [u8; 32],
}

impl LinkBody {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let message = LinkMessage { k: LinkKind, v: V1, body: self.clone() };
        rhizome_block::encode(&message).expect("a message has a DAG-CBOR form")
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LINK_MESSAGE_BYTES_MAX {
            return None;
        }
        rhizome_block::decode::<LinkMessage>(bytes).ok().map(|message| message.body)
    }
}

/// Which machine a message is for, so that the caller can keep several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// The [`crate::link::Admitter`] whose code has this number.
    Number(u8),
    /// The [`crate::link::Admitter`] with this [`crate::link::Admitter::session`].
    Session([u8; 32]),
}

/// Which admitter a message of a newcomer is for.
#[must_use]
pub fn route(bytes: &[u8]) -> Option<Route> {
    match LinkBody::from_bytes(bytes)? {
        LinkBody::Hello(hello) => Some(Route::Number(hello.rendezvous)),
        LinkBody::Confirm(confirm) => Some(Route::Session(confirm.session)),
        LinkBody::Resume(proof) | LinkBody::Received(proof) => Some(Route::Session(proof.session)),
        LinkBody::Reply(_) | LinkBody::Admission(_) | LinkBody::Refused(_) => None,
    }
}

/// The message that answers a newcomer for whom there is no machine.
#[must_use]
pub fn refusal(why: Refusal) -> Vec<u8> {
    LinkBody::Refused(why).to_bytes()
}

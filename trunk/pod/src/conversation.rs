//! What pods say to each other beside the session: hosting, recovery, addresses, admission.
//!
//! Every message is one frame and one DAG-CBOR map that opens with kind and version; what is behind
//! them differs. Who says what when is left to `host`, `recovery`, `peers` and `link`. Drawn in
//! `docs/format/conversations.md`.

use rhizome_api::{ApiError, Problem};
use rhizome_block::{CborError, Cid, Version, decode, encode, kind};
use rhizome_identity::{DeviceId, Signature, SigningPublic};
use rhizome_net::{FrameReceiver, FrameSender};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// Version of the formats here.
const VERSION: u8 = 1;

kind! {
    /// Kind of a message about hosting.
    pub HostKind = "host"
}

kind! {
    /// Kind of a message about recovery.
    pub RecoverKind = "recover"
}

kind! {
    /// Kind of the message that says where a device can be reached.
    pub AddressesKind = "addresses"
}

kind! {
    /// Kind of what an admitted device is handed.
    pub AdmissionKind = "admission"
}

kind! {
    /// Kind of what a newcomer remembers of a linking that is under way.
    pub JoiningKind = "joining"
}

/// A message of a conversation in turns.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
struct Envelope<K, B> {
    k: K,
    v: Version<VERSION>,
    body: B,
}

/// What is said in turns about one matter.
pub trait Turn: Clone + Serialize + DeserializeOwned {
    /// The kind of its messages.
    type Kind: Default + Serialize + DeserializeOwned;

    /// The frame to send.
    fn to_bytes(&self) -> Vec<u8> {
        let envelope = Envelope { k: Self::Kind::default(), v: Version, body: self.clone() };
        encode(&envelope).expect("a message has a DAG-CBOR form")
    }

    /// Reads a received frame.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        decode(bytes).map(|envelope: Envelope<Self::Kind, Self>| envelope.body)
    }
}

/// What is said about hosting.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum HostMessage {
    /// Please host this identity.
    Ask {
        /// Its first record.
        genesis: ByteBuf,
        /// Its control records.
        records: Vec<ByteBuf>,
    },
    /// With this key.
    Accept {
        /// A device made for this identity.
        device: DeviceId,
        /// Its acceptance.
        signature: Signature,
    },
    /// It is admitted by these records.
    Admitted {
        /// All control records.
        records: Vec<ByteBuf>,
    },
    /// Done.
    Hosted,
    /// No.
    Refused {
        /// The reason, for a person.
        why: String,
    },
}

impl Turn for HostMessage {
    type Kind = HostKind;
}

/// What is said about recovery.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum RecoverMessage {
    /// Whose kit is this?
    Ask {
        /// The kit's public key.
        recovery: SigningPublic,
    },
    /// Prove that it is yours.
    Challenge {
        /// To be signed.
        nonce: ByteBuf,
    },
    /// The kit's signature over the nonce and the host's key.
    Proof {
        /// It.
        signature: Signature,
    },
    /// This is the identity, and its checkpoints, newest last.
    Found {
        /// Its first record.
        genesis: ByteBuf,
        /// Its control records.
        records: Vec<ByteBuf>,
        /// The manifests of its checkpoints.
        manifests: Vec<ByteBuf>,
        /// The host, as a device of the identity.
        device: DeviceId,
    },
    /// Please send these blocks.
    Want {
        /// Their names.
        cids: Vec<Cid>,
    },
    /// These are here.
    Blocks {
        /// With their names.
        blocks: Vec<(Cid, ByteBuf)>,
    },
    /// The kit says this.
    Admit {
        /// A control record.
        record: ByteBuf,
    },
    /// Done.
    Admitted,
    /// No.
    Refused {
        /// The reason, for a person.
        why: String,
    },
}

impl Turn for RecoverMessage {
    type Kind = RecoverKind;
}

/// Where a device, and others that it knows, can be reached.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Addresses {
    k: AddressesKind,
    v: Version<VERSION>,
    /// Where the sender is reached.
    pub addresses: Vec<String>,
    /// Where it knows other devices of the identity; not told to cloud peers.
    pub others: BTreeMap<String, Vec<String>>,
}

impl Addresses {
    /// A message.
    #[must_use]
    pub fn new(addresses: Vec<String>, others: BTreeMap<String, Vec<String>>) -> Self {
        Self { addresses, others, ..Self::default() }
    }
}

/// What an admitted device is handed by the device that admits it, never by a host.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// Kind.
    pub k: AdmissionKind,
    /// Version.
    pub v: Version<VERSION>,
    /// The first record of the identity.
    pub genesis: ByteBuf,
    /// Its control records.
    pub records: Vec<ByteBuf>,
    /// What people call it.
    pub name: String,
    /// The short name of its recovery kit.
    pub kit_key_id: String,
    /// Where its devices are reached, by id.
    pub addresses: BTreeMap<String, Vec<String>>,
}

/// What a newcomer remembers of a linking that is under way.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct SavedJoining {
    k: JoiningKind,
    v: Version<VERSION>,
    /// Its machine.
    pub machine: ByteBuf,
    /// Where the trusted device was looked for.
    pub at: Vec<String>,
}

impl SavedJoining {
    /// What is stored.
    #[must_use]
    pub fn new(machine: Vec<u8>, at: Vec<String>) -> Self {
        Self { machine: ByteBuf::from(machine), at, ..Self::default() }
    }
}

/// Says something.
pub async fn say<T: Turn>(sender: &mut FrameSender, message: &T) -> Result<(), ApiError> {
    let gone = |error| ApiError::from_error(Problem::PEER_UNREACHABLE, &error);
    sender.send(&message.to_bytes()).await.map_err(gone)?;
    sender.flush().await.map_err(gone)
}

/// Hears what the other side says next.
pub async fn hear<T: Turn>(receiver: &mut FrameReceiver) -> Result<T, ApiError> {
    let frame = receiver.receive().await;
    let frame = frame.map_err(|error| ApiError::from_error(Problem::PEER_UNREACHABLE, &error))?;
    let ended = || ApiError::new(Problem::PEER_UNREACHABLE, "the host ended the conversation");
    T::from_bytes(&frame.ok_or_else(ended)?).map_err(|error| misunderstood(&error))
}

/// What the other side said cannot be read.
pub fn misunderstood(error: &CborError) -> ApiError {
    match error {
        CborError::Version { version } => {
            let message = format!("the other side speaks version {version}, which is not known");
            ApiError::new(Problem::PEER_VERSION, message)
        }
        error => ApiError::from_error(Problem::PEER_REFUSED, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{stored, version_2};
    use rhizome_block::{Codec, peek_kind};
    use rhizome_identity::{Acceptance, DeviceKeys, DeviceKind, SigningKeys};

    fn bytes(text: &[u8]) -> ByteBuf {
        ByteBuf::from(text.to_vec())
    }

    fn cid() -> Cid {
        Cid::of(Codec::DagCbor, b"block")
    }

    fn hosting() -> Vec<HostMessage> {
        let device = DeviceKeys::from_bytes(&[1; DeviceKeys::BYTES]);
        let root = SigningKeys::from_secret([2; 32]).public();
        let accepted = Acceptance::of(&device, root, DeviceKind::CloudPeer);
        vec![
            HostMessage::Ask { genesis: bytes(b"genesis"), records: vec![bytes(b"record")] },
            HostMessage::Accept {
                device: device.device_id(),
                signature: accepted.sign(&device.signing),
            },
            HostMessage::Admitted { records: vec![bytes(b"record")] },
            HostMessage::Hosted,
            HostMessage::Refused { why: "no room".to_owned() },
        ]
    }

    fn recovery() -> Vec<RecoverMessage> {
        let kit = SigningKeys::from_secret([3; 32]);
        vec![
            RecoverMessage::Ask { recovery: kit.public() },
            RecoverMessage::Challenge { nonce: bytes(&[4; 32]) },
            RecoverMessage::Proof { signature: kit.sign("recover", &[4; 32]) },
            RecoverMessage::Found {
                genesis: bytes(b"genesis"),
                records: vec![bytes(b"record")],
                manifests: vec![bytes(b"manifest")],
                device: kit.device_id(),
            },
            RecoverMessage::Want { cids: vec![cid()] },
            RecoverMessage::Blocks { blocks: vec![(cid(), bytes(b"block"))] },
            RecoverMessage::Admit { record: bytes(b"record") },
            RecoverMessage::Admitted,
            RecoverMessage::Refused { why: "no such kit".to_owned() },
        ]
    }

    /// Reads the stored frames of a conversation back: a list of one per message.
    #[track_caller]
    fn check<T: Turn + std::fmt::Debug + PartialEq>(name: &str, kind: &str, said: &[T]) {
        let frames: Vec<ByteBuf> = said.iter().map(|one| ByteBuf::from(one.to_bytes())).collect();
        let frames: Vec<ByteBuf> = decode(&stored(name, &encode(&frames).unwrap())).unwrap();
        assert_eq!(frames.len(), said.len());
        for (frame, message) in frames.iter().zip(said) {
            assert_eq!(peek_kind(frame), Some(kind));
            assert_eq!(T::from_bytes(frame).unwrap(), *message);
            let newer = T::from_bytes(&version_2(frame)).unwrap_err();
            assert!(matches!(newer, CborError::Version { version: 2 }), "{newer}");
        }
    }

    /// Reads one stored map back.
    #[track_caller]
    fn check_one<T>(name: &str, kind: &str, one: &T)
    where
        T: Serialize + DeserializeOwned + std::fmt::Debug + PartialEq,
    {
        let bytes = stored(name, &encode(one).unwrap());
        assert_eq!(peek_kind(&bytes), Some(kind));
        assert_eq!(decode::<T>(&bytes).unwrap(), *one);
        let newer = decode::<T>(&version_2(&bytes)).unwrap_err();
        assert!(matches!(newer, CborError::Version { version: 2 }), "{newer}");
    }

    #[test]
    fn conversations_of_version_1_read_back_and_other_versions_are_refused_by_their_number() {
        check("host-v1.cbor", "host", &hosting());
        check("recover-v1.cbor", "recover", &recovery());
        let at = vec!["192.0.2.7:7733".to_owned()];
        let devices = BTreeMap::from([("device".to_owned(), at.clone())]);
        let addresses = Addresses::new(at.clone(), devices.clone());
        check_one("addresses-v1.cbor", "addresses", &addresses);
        let admission = Admission {
            genesis: bytes(b"genesis"),
            records: vec![bytes(b"record")],
            name: "Ana".to_owned(),
            kit_key_id: "K-7F3A".to_owned(),
            addresses: devices,
            ..Admission::default()
        };
        check_one("admission-v1.cbor", "admission", &admission);
        check_one("joining-v1.cbor", "joining", &SavedJoining::new(b"machine".to_vec(), at));
    }

    #[test]
    fn a_newer_program_on_the_other_side_is_named_by_its_version() {
        let frame = version_2(&HostMessage::Hosted.to_bytes());
        let error = misunderstood(&HostMessage::from_bytes(&frame).unwrap_err());
        assert_eq!(error.id, Problem::PEER_VERSION.id);
        assert!(error.message.contains("version 2"), "{}", error.message);
        let other = HostMessage::from_bytes(&RecoverMessage::Admitted.to_bytes()).unwrap_err();
        assert_eq!(misunderstood(&other).id, Problem::PEER_REFUSED.id);
    }
}

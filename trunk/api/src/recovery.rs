//! The recovery kit: showing, confirming, rehearsing and using it.

use crate::device::{Device, DeviceKind};
use crate::identity::Identity;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};

/// The kit. Anyone who reads it can read everything.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct KitAnswer {
    /// The name of the identity, for the sheet.
    pub identity: String,
    /// 24 words with one space between.
    pub words: Secret,
    /// The same in 52 characters.
    pub code: Secret,
    /// The short name of the kit, such as `K-7F3A`.
    pub key_id: String,
    /// Which words to ask for, counted from one.
    pub check_positions: Vec<u64>,
    /// Where the cloud peers are, for the sheet.
    #[serde(default)]
    pub peers: Vec<String>,
}

/// Proves that the kit was written down.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConfirmRequest {
    /// The words that were asked for.
    pub answers: Vec<KitWord>,
}

/// One word of the kit.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct KitWord {
    /// Which one, counted from one.
    pub position: u64,
    /// The word.
    pub word: Secret,
}

/// The kit is confirmed and its seed wiped.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConfirmAnswer {
    /// The short name of the kit.
    pub key_id: String,
    /// When, in milliseconds since 1970.
    pub confirmed_ms: u64,
}

/// Rehearses a recovery.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestRequest {
    /// The words; needed once the kit was confirmed.
    #[serde(default)]
    pub words: Option<Secret>,
}

/// How the rehearsal goes on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum TestEvent {
    /// Documents arrive in the temporary folder.
    Progress(RestoreProgress),
}

/// What the rehearsal showed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TestAnswer {
    /// Whether everything that should be there came back, byte for byte.
    pub complete: bool,
    /// How many documents came back.
    pub documents: u64,
    /// How many there are here.
    pub documents_here: u64,
    /// Who gave them.
    pub from: String,
    /// How long it took.
    pub took_ms: u64,
    /// What was written here since, and would have been lost.
    #[serde(default)]
    pub newer_here: u64,
}

/// Brings everything back.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RestoreRequest {
    /// The 24 words or the code.
    pub words: Secret,
    /// Who has the ciphertext: `rhizome-peer://host:port#key` or `host:port`.
    pub peer: String,
    /// What this device will be called; the computer's name if not given.
    #[serde(default)]
    pub name: Option<String>,
    /// What this device is; guessed if not given.
    #[serde(default)]
    pub kind: Option<DeviceKind>,
    /// Names or ids of the devices that are gone.
    #[serde(default)]
    pub retire: Vec<String>,
    /// Only looks what is there.
    #[serde(default)]
    pub dry_run: bool,
}

/// How the recovery goes on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RestoreEvent {
    /// The peer has the identity.
    Found {
        /// Its name.
        name: String,
        /// Its devices.
        devices: Vec<Device>,
        /// When it was last changed, in milliseconds since 1970.
        #[serde(default)]
        last_change_ms: Option<u64>,
    },
    /// Documents arrive, newest first.
    Progress(RestoreProgress),
}

/// How far it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RestoreProgress {
    /// How many documents are here.
    pub documents: u64,
    /// How many there will be, once that is known.
    #[serde(default)]
    pub documents_total: Option<u64>,
    /// How many bytes came.
    pub bytes: u64,
    /// How many bytes there will be, once that is known.
    #[serde(default)]
    pub bytes_total: Option<u64>,
    /// The newest change that is here, in milliseconds since 1970.
    #[serde(default)]
    pub newest_ms: Option<u64>,
}

/// Everything is back.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RestoreAnswer {
    /// The identity.
    pub identity: Identity,
    /// This device in it; nothing after a dry run.
    #[serde(default)]
    pub device: Option<Device>,
    /// How many documents came back.
    pub documents: u64,
    /// How many bytes came.
    pub bytes: u64,
    /// The devices that were removed.
    pub retired: Vec<String>,
    /// The newest change that is here, in milliseconds since 1970.
    #[serde(default)]
    pub newest_ms: Option<u64>,
    /// How long it took.
    pub took_ms: u64,
}

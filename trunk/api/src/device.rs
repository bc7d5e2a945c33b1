//! Devices of an identity: seeing, linking, naming and losing them.

use crate::identity::Identity;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};

/// What a device is, which says how steady it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// Stands on a desk, mostly on.
    Desktop,
    /// Sleeps in a bag.
    #[default]
    Laptop,
    /// Sleeps in a pocket.
    Phone,
    /// A tab, whose storage the browser may delete.
    Browser,
    /// A server or storage box at home, always on.
    HomeServer,
    /// A hosted peer, always on, not trusted with contents.
    CloudPeer,
}

/// What a device does about the order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Leads: it places what the others write.
    Orders,
    /// Follows: it takes the order over.
    #[default]
    Follows,
    /// Votes: a change is confirmed by a majority of those.
    Votes,
}

/// One device as this one knows it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Device {
    /// Its public key.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Whether it is the one that answers.
    pub this: bool,
    /// Whether it holds keys; a cloud peer does not.
    pub trusted: bool,
    /// What it does about the order.
    pub role: Role,
    /// Whether there is a connection now.
    pub connected: bool,
    /// When it was last heard of, in milliseconds since 1970.
    #[serde(default)]
    pub last_heard_ms: Option<u64>,
    /// How many events it has not acknowledged; nothing if it never said.
    #[serde(default)]
    pub behind: Option<u64>,
    /// Whether it acknowledged everything this device holds.
    pub holds_all: bool,
    /// Whether it counts as away for long: nobody waits for what it has not seen.
    #[serde(default)]
    pub away: bool,
}

/// The devices of the identity.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListAnswer {
    /// This device first, then by name.
    pub devices: Vec<Device>,
}

/// Asks for a linking code.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinkRequest {}

/// How linking goes on, on the device that admits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LinkEvent {
    /// The code to type or to scan. Whoever has it may ask to be admitted.
    Code {
        /// For typing.
        words: Secret,
        /// For a QR code.
        qr_text: Secret,
        /// When it stops working, in milliseconds since 1970.
        expires_ms: u64,
        /// Where the newcomer finds this device, for `--at`.
        #[serde(default)]
        addresses: Vec<String>,
    },
    /// A device knows the code and wants to join; it shows six digits now.
    Asking {
        /// What `device.link.confirm` must name.
        session: String,
        /// What the newcomer calls itself.
        name: String,
        /// What the newcomer says it is.
        kind: DeviceKind,
        /// Where it speaks from.
        address: String,
    },
    /// The newcomer is a device of the identity.
    Linked {
        /// The new device.
        device: Device,
    },
}

/// Linking is finished.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinkAnswer {
    /// The new device.
    pub device: Device,
}

/// The digits the person reads on the newcomer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinkConfirmRequest {
    /// From the event `asking`.
    pub session: String,
    /// Six digits; spaces do not count.
    pub digits: String,
}

/// Joins the identity of another device.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct JoinRequest {
    /// The words or the text of the QR code.
    pub code: Secret,
    /// What this device will be called; the computer's name if not given.
    #[serde(default)]
    pub name: Option<String>,
    /// What this device is; guessed if not given.
    #[serde(default)]
    pub kind: Option<DeviceKind>,
    /// Where to look for the other device besides the local network: `host:port`.
    #[serde(default)]
    pub at: Vec<String>,
}

/// How joining goes on, on the newcomer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum JoinEvent {
    /// To be typed on the other device.
    Digits {
        /// Six digits.
        digits: String,
    },
    /// Documents arrive, newest first.
    Progress {
        /// How many are here.
        documents: u64,
        /// How many bytes came.
        bytes: u64,
        /// How many documents there will be, once that is known.
        #[serde(default)]
        total: Option<u64>,
    },
    /// This device belongs to the identity.
    Joined {
        /// The identity.
        identity: Identity,
        /// How many documents that were here before were adopted.
        adopted: u64,
    },
}

/// Joining is finished.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct JoinAnswer {
    /// The identity.
    pub identity: Identity,
    /// This device in it.
    pub device: Device,
    /// How many documents came.
    pub documents: u64,
    /// How many documents that were here before were adopted.
    pub adopted: u64,
}

/// Gives a device another name, on every device of the identity.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RenameRequest {
    /// Its name, its id, or the start of its id.
    pub device: String,
    /// The new name.
    pub name: String,
}

/// The device with its new name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RenameAnswer {
    /// The device.
    pub device: Device,
}

/// Counts a device as away for long, or as back.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AwayRequest {
    /// Its name, its id, or the start of its id.
    pub device: String,
    /// Whether it is back.
    #[serde(default)]
    pub back: bool,
}

/// The device as it counts now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AwayAnswer {
    /// The device.
    pub device: Device,
}

/// Removes a device that is lost.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LostRequest {
    /// Its name, its id, or the start of its id.
    pub device: String,
    /// Its name, typed by the person; not looked at with `dry_run`.
    #[serde(default)]
    pub confirm: Option<String>,
    /// The words or the code of the recovery kit, where this device may not do it alone.
    #[serde(default)]
    pub words: Option<Secret>,
    /// Only says what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What losing a device does.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LostAnswer {
    /// The device.
    pub device: Device,
    /// Whether it was done, or only planned.
    pub done: bool,
    /// What will happen, or happened, a sentence each.
    pub steps: Vec<String>,
    /// Why it takes the words of the recovery kit, if it does.
    #[serde(default)]
    pub needs_kit: Option<String>,
    /// How many documents it may still hold.
    pub may_hold_documents: u64,
    /// The short name of the keys in use before.
    #[serde(default)]
    pub key_before: Option<String>,
    /// The short name of the keys in use after, once done.
    #[serde(default)]
    pub key_after: Option<String>,
    /// Whether the removal has its place in the order yet.
    #[serde(default)]
    pub committed: bool,
}

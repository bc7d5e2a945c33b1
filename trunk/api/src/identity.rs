//! Identities of one installation. They share nothing a host could link.

use crate::device::{Device, DeviceKind};
use serde::{Deserialize, Serialize};

/// Creates an identity.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CreateRequest {
    /// What people call it.
    pub name: String,
    /// What this device is called in it; the computer's name if not given.
    #[serde(default)]
    pub device_name: Option<String>,
    /// What this device is; guessed if not given.
    #[serde(default)]
    pub kind: Option<DeviceKind>,
}

/// The identity is there.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CreateAnswer {
    /// The new identity.
    pub identity: Identity,
    /// This device in it.
    pub device: Device,
}

/// One identity.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Identity {
    /// The Cid of its genesis.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether it is the one in use.
    pub current: bool,
    /// The short name of its recovery kit, such as `K-7F3A`.
    pub kit_key_id: String,
    /// Whether somebody proved to have written the kit down.
    pub kit_confirmed: bool,
    /// Whether it waits for its kit before anything can be read.
    #[serde(default)]
    pub locked: bool,
}

/// The identities here.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListAnswer {
    /// In order of creation.
    pub identities: Vec<Identity>,
}

/// Chooses an identity.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UseRequest {
    /// Its id, the start of its id, or its name.
    pub id: String,
}

/// The identity in use.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UseAnswer {
    /// The identity that every other method speaks about from now on.
    pub identity: Identity,
}

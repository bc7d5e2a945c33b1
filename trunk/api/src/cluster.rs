//! Who orders: beginning anew when the devices that ordered are lost for good.

use crate::Secret;
use crate::device::Device;
use serde::{Deserialize, Serialize};

/// Begins the next generation without the devices that order now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReformRequest {
    /// The device that orders from now on: name, id, or the start of the id; this one if left out.
    #[serde(default)]
    pub voter: Option<String>,
    /// Devices that are lost with it and are removed.
    #[serde(default)]
    pub revoke: Vec<String>,
    /// The name of the device that orders from now on, typed by the person; not looked at with
    /// `dry_run`.
    #[serde(default)]
    pub confirm: Option<String>,
    /// The words or the code of the recovery kit, where this device may not do it alone.
    #[serde(default)]
    pub words: Option<Secret>,
    /// Goes on although the devices that order can be reached.
    #[serde(default)]
    pub anyway: bool,
    /// Only says what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a reform does.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReformAnswer {
    /// The device that orders from now on.
    pub voter: Device,
    /// The generation that begins.
    pub generation: u64,
    /// The last place of the order that is kept as it is.
    pub base: u64,
    /// The devices that ordered before.
    pub voters_before: Vec<String>,
    /// Those of them that cannot be reached.
    pub unreachable: Vec<String>,
    /// Devices that are removed.
    pub revoked: Vec<String>,
    /// Whether it was done, or only planned.
    pub done: bool,
    /// What will happen, or happened, a sentence each.
    pub steps: Vec<String>,
    /// Why it takes the words of the recovery kit, if it does.
    #[serde(default)]
    pub needs_kit: Option<String>,
    /// Whether the new generation confirms already.
    #[serde(default)]
    pub committed: bool,
}

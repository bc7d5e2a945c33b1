//! The epoch secrets a device holds: of its own identity, and of identities it adopted.

use crate::envelope::EventKey;
use crate::secret::EpochSecret;
use rhizome_block::{CborError, Version, decode, encode, kind};
use rhizome_identity::EpochId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::{Zeroize, Zeroizing};

/// Version of the stored form.
const VERSION: u8 = 1;

/// Most epochs of a keyring: one a day for eleven years, or one a month for three centuries.
pub const KEYRING_EPOCHS_MAX: usize = 4096;

kind! {
    /// Kind of a stored keyring.
    pub KeyringKind = "keyring"
}

/// Why a keyring could not be read, or does not take a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The bytes are no keyring.
    #[error("stored keyring is malformed")]
    Form {
        /// What the decoder said.
        source: CborError,
    },
    /// The keyring is of a newer version.
    #[error("keyring has version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u64,
    },
    /// The keyring would hold more than [`KEYRING_EPOCHS_MAX`] epochs.
    #[error("keyring holds {KEYRING_EPOCHS_MAX} epochs already")]
    Full,
    /// The keyring holds another secret for this epoch: one of the two is a forgery or a mistake.
    #[error("epoch {} already has another secret", .id.n)]
    Conflict {
        /// The epoch.
        id: EpochId,
    },
    /// The stored keyring names an epoch twice or out of order.
    #[error("stored keyring is not in order")]
    Order,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Held {
    secret: EpochSecret,
    adopted: bool,
}

/// Epoch secrets by epoch. Secrets of losing branches and of adopted identities stay for reading;
/// new events are sealed under the newest of the device's own identity.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keyring {
    epochs: BTreeMap<EpochId, Held>,
}

impl Keyring {
    /// A keyring without secrets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the secret of an epoch of the device's own identity.
    pub fn insert(&mut self, id: EpochId, secret: EpochSecret) -> Result<(), KeyringError> {
        self.hold(id, secret, false)
    }

    /// Adds the secret of an epoch of an adopted identity: opens what was sealed, seals nothing.
    pub fn adopt(&mut self, id: EpochId, secret: EpochSecret) -> Result<(), KeyringError> {
        self.hold(id, secret, true)
    }

    fn hold(
        &mut self,
        id: EpochId,
        secret: EpochSecret,
        adopted: bool,
    ) -> Result<(), KeyringError> {
        if let Some(held) = self.epochs.get(&id) {
            let same = held.secret == secret;
            return if same { Ok(()) } else { Err(KeyringError::Conflict { id }) };
        }
        if self.epochs.len() >= KEYRING_EPOCHS_MAX {
            return Err(KeyringError::Full);
        }
        self.epochs.insert(id, Held { secret, adopted });
        Ok(())
    }

    /// The secret of an epoch.
    #[must_use]
    pub fn get(&self, id: &EpochId) -> Option<&EpochSecret> {
        self.epochs.get(id).map(|held| &held.secret)
    }

    /// The newest epoch of the device's own identity: the highest number, and of two offline
    /// rotations the lower record. Which branch holds is the control log's to say; until it has,
    /// every device picks the same.
    #[must_use]
    pub fn newest(&self) -> Option<(EpochId, &EpochSecret)> {
        self.epochs
            .iter()
            .filter(|(_, held)| !held.adopted)
            .max_by_key(|(id, _)| (id.n, std::cmp::Reverse(id.record)))
            .map(|(id, held)| (*id, &held.secret))
    }

    /// Derives the key to an app's events in an epoch.
    #[must_use]
    pub fn event_key(&self, id: &EpochId, tag: &[u8; 16]) -> Option<EventKey> {
        self.get(id).map(|secret| EventKey::derive(secret, tag))
    }

    /// The epochs it holds, in order.
    pub fn epochs(&self) -> impl Iterator<Item = EpochId> + '_ {
        self.epochs.keys().copied()
    }

    /// How many epochs it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.epochs.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }

    /// The stored form, which is as secret as what is in it. Drawn in `docs/format/keyring.md`.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let epochs = self.epochs.iter().map(|(id, held)| Stored {
            id: *id,
            secret: *held.secret.as_bytes(),
            adopted: held.adopted,
        });
        let stored = StoredKeyring { k: KeyringKind, v: Version, epochs: epochs.collect() };
        Zeroizing::new(encode(&stored).expect("links, bytes and integers have a DAG-CBOR form"))
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyringError> {
        let stored: StoredKeyring = decode(bytes).map_err(|source| match source {
            CborError::Version { version } => KeyringError::Version { version },
            source => KeyringError::Form { source },
        })?;
        if !stored.epochs.is_sorted_by(|left, right| left.id < right.id) {
            return Err(KeyringError::Order);
        }
        let mut keyring = Self::new();
        for entry in &stored.epochs {
            keyring.hold(entry.id, EpochSecret::from_bytes(entry.secret), entry.adopted)?;
        }
        Ok(keyring)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredKeyring {
    k: KeyringKind,
    v: Version<VERSION>,
    epochs: Vec<Stored>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    id: EpochId,
    #[serde(with = "serde_bytes")]
    secret: [u8; 32],
    adopted: bool,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rhizome_block::{Cid, Codec};

    fn id(n: u32, record: u8) -> EpochId {
        EpochId { n, record: Cid::from_digest(Codec::DagCbor, [record; 32]) }
    }

    fn secret(byte: u8) -> EpochSecret {
        EpochSecret::from_bytes([byte; 32])
    }

    fn keyring() -> Keyring {
        let mut keyring = Keyring::new();
        keyring.insert(id(0, 1), secret(1)).unwrap();
        keyring.insert(id(1, 9), secret(2)).unwrap();
        keyring.insert(id(1, 5), secret(3)).unwrap();
        keyring.adopt(id(7, 2), secret(4)).unwrap();
        keyring
    }

    #[test]
    fn the_newest_epoch_is_our_own_and_every_device_picks_the_same() {
        assert_eq!(keyring().newest(), Some((id(1, 5), &secret(3))));
        assert_eq!(keyring().get(&id(7, 2)), Some(&secret(4)));
        assert_eq!(Keyring::new().newest(), None);
    }

    #[test]
    fn an_epoch_has_one_secret() {
        let mut keyring = keyring();
        assert!(keyring.insert(id(0, 1), secret(1)).is_ok());
        let conflict = keyring.insert(id(0, 1), secret(9));
        assert!(matches!(conflict, Err(KeyringError::Conflict { .. })));
        assert_eq!((keyring.len(), keyring.get(&id(0, 1))), (4, Some(&secret(1))));
    }

    #[test]
    fn a_keyring_is_bounded() {
        let mut keyring = Keyring::new();
        for n in 0..KEYRING_EPOCHS_MAX as u32 {
            keyring.insert(id(n, 0), secret(1)).unwrap();
        }
        assert!(matches!(keyring.insert(id(9, 9), secret(1)), Err(KeyringError::Full)));
        assert_eq!(Keyring::from_bytes(&keyring.to_bytes()).unwrap(), keyring);
    }

    #[test]
    fn the_event_key_is_the_one_of_the_epoch() {
        let body = crate::seal_event(&secret(3), &[8; 16], b"", [0; 24], b"text");
        let open = |id: EpochId| keyring().event_key(&id, &[8; 16]).map(|key| key.open(b"", &body));
        assert_eq!(open(id(1, 5)), Some(Ok(b"text".to_vec())));
        assert!(open(id(0, 1)).unwrap().is_err());
        assert!(open(id(3, 3)).is_none());
    }

    #[test]
    fn version_1_reads_as_it_was_written() {
        let stored = crate::fixture::check("keyring-v1.cbor", &keyring().to_bytes());
        assert_eq!(Keyring::from_bytes(&stored).unwrap(), keyring());
    }

    proptest! {
        #[test]
        fn a_changed_keyring_is_another_or_none(
            place: proptest::sample::Index,
            byte: u8,
        ) {
            let mut bytes = keyring().to_bytes();
            let place = place.index(bytes.len());
            if bytes[place] != byte {
                bytes[place] = byte;
                prop_assert!(Keyring::from_bytes(&bytes).ok() != Some(keyring()));
            }
        }
    }
}

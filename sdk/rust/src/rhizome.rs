//! The replica an application embeds.

use crate::app::App;
use crate::database::Database;
use crate::error::Error;
use rhizome_identity::DeviceKind;
use rhizome_pod::{Handle, Pod, PodError, PodOptions};
use std::path::Path;

/// An open replica: one folder, one identity. Cloning shares it.
#[derive(Clone)]
pub struct Rhizome {
    pod: Pod,
    handle: Handle,
}

impl Rhizome {
    /// Opens the replica in `dir`. An empty folder gets an identity of its own, with this device as
    /// its first. A folder that another process has open is `unavailable`.
    pub async fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let options = PodOptions { dir: dir.as_ref().to_owned(), ..PodOptions::default() };
        Self::over(Pod::start(options).await?)
    }

    /// Uses a pod that runs in this process already.
    pub fn over(pod: Pod) -> Result<Self, Error> {
        let identity = match pod.current() {
            Err(PodError::NoIdentity) => {
                pod.create_identity("me", "this device", DeviceKind::Laptop)?
            }
            known => known?,
        };
        let handle = identity.handle.clone();
        Ok(Self { pod, handle })
    }

    /// The documents of an app.
    pub fn connect(&self, app: App) -> Result<Database, Error> {
        app.validate()?;
        Ok(Database::new(self.handle.clone(), app))
    }

    /// The pod underneath, to link devices and to ask for its state.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// Writes what is queued, and ends. Whoever asks afterwards is told `unavailable`.
    pub async fn close(&self) {
        self.pod.stop().await;
    }
}

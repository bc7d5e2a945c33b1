//! A pod with many documents, made once and used by several benchmarks.

use crate::documents;
use crate::world::Node;
use crate::{Outcome, Run};
use rhizome_identity::DeviceKind;
use std::path::PathBuf;
use tokio::sync::{Mutex, MutexGuard};

/// The pod, once somebody needed it.
#[derive(Default)]
pub struct Library {
    made: Mutex<Option<Made>>,
}

/// It, with what it holds.
pub struct Made {
    /// Its folder.
    pub dir: PathBuf,
    /// How many documents it holds.
    pub documents: u64,
    /// The pod, unless somebody closed it.
    pub node: Option<Node>,
}

impl Made {
    /// The pod, opened again if need be.
    pub async fn node(&mut self) -> Outcome<&Node> {
        if self.node.is_none() {
            self.node = Some(Node::open(&self.dir).await?);
        }
        Ok(self.node.as_ref().expect("the line above opened it"))
    }

    /// Closes the pod, so that another process can open its folder.
    pub async fn close(&mut self) {
        if let Some(node) = self.node.take() {
            node.pod.stop().await;
        }
    }
}

impl Library {
    /// The library of a run.
    pub async fn of(run: &Run) -> Outcome<MutexGuard<'_, Option<Made>>> {
        let mut made = run.library.made.lock().await;
        if made.is_none() {
            let dir = run.dir.join("library");
            let node = Node::found(&dir, DeviceKind::Desktop).await?;
            let documents = run.size(100_000, 2_000);
            documents::write(&node.handle, 256, 0, documents, documents::set).await?;
            let (log, _) =
                documents::effective(&node.handle).await?.ok_or("nothing was written")?;
            documents::reach(&node.handle, log, documents).await?;
            *made = Some(Made { dir, documents, node: Some(node) });
        }
        Ok(made)
    }

    /// Closes it.
    pub async fn close(&self) {
        if let Some(made) = self.made.lock().await.as_mut() {
            made.close().await;
        }
    }
}

//! What the rest of the pod holds of an identity: a way to ask its actor, and its index to read.

use crate::actor::Ask;
use crate::indexing::UnderWay;
use rhizome_block::{Block, Cid};
use rhizome_doc::{Change, DocumentError, Documents};
use rhizome_engine::Edited;
use rhizome_identity::{DeviceId, IdentityId};
use rhizome_log::{EventId, Index, LogId, Overlay, Run};
use rhizome_replica::{
    Access, Base, Command, CommandError, Message, OrderNews, Outcome, PinSet, Replica, Write,
};
use rhizome_store::Store;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Changes of one batch, shared by all who watch.
pub type Changes = Arc<Vec<(Arc<str>, Change)>>;

/// A write that is durable here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WriteDone {
    /// Its log.
    pub log: LogId,
    /// Its place there.
    pub seq: u64,
    /// The event.
    pub id: EventId,
}

/// Why an actor gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The actor has ended.
    #[error("identity is closed: {why}")]
    Closed {
        /// Why.
        why: Arc<str>,
    },
    /// The replica refused.
    #[error("refused")]
    Refused(#[source] CommandError),
    /// The disk refuses writes; reading goes on.
    #[error("disk does not take the write: {what}")]
    Disk {
        /// What the store said.
        what: Arc<str>,
    },
}

/// Why rows were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The actor gave no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What is there already cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// What everybody may know about the actor without asking it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pulse {
    /// Counts batches, so that whoever waits for a state looks again.
    pub batches: u64,
    /// Why the actor ended, if it did.
    pub ended: Option<Arc<str>>,
}

/// Asks one identity's actor, and reads its index.
#[derive(Clone)]
pub struct Handle {
    pub(crate) identity: IdentityId,
    pub(crate) device: DeviceId,
    pub(crate) ask: mpsc::Sender<Ask>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) store: Store,
    pub(crate) changes: broadcast::Sender<Changes>,
    pub(crate) pulse: watch::Receiver<Pulse>,
    pub(crate) indexing: UnderWay,
}

impl Handle {
    /// The identity.
    #[must_use]
    pub fn identity(&self) -> IdentityId {
        self.identity
    }

    /// This device in it.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The index, to read documents from.
    #[must_use]
    pub fn index(&self) -> &dyn Index {
        &*self.index
    }

    /// The documents of an app.
    #[must_use]
    pub fn documents(&self, app: &str) -> Documents {
        Documents::new(app)
    }

    /// Hears every change from now on. A watcher that falls behind is told so and reads again.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changes> {
        self.changes.subscribe()
    }

    /// Ticks after every batch.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }

    /// Writes an event; resolves once it is durable here.
    pub async fn write(
        &self,
        app: &str,
        schema: Option<Cid>,
        body: Vec<u8>,
    ) -> Result<WriteDone, AskError> {
        let (reply, answer) = oneshot::channel();
        let ticket = rhizome_replica::Ticket(0);
        let write = Write { ticket, app: app.to_owned(), schema, body };
        let started = Instant::now();
        self.send(Ask::Write(write, reply)).await?;
        let done = answer.await.map_err(|_| self.closed())?;
        metrics::histogram!("rhizome_write_seconds").record(started.elapsed());
        done
    }

    /// Changes the identity; resolves once the change is durable here.
    pub async fn command(&self, command: Command) -> Result<Outcome, AskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Ask::Command(command, reply)).await?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Keeps a set of blocks; resolves with its manifest once all of it is durable here.
    pub async fn pin(&self, set: PinSet) -> Result<Outcome, AskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Ask::Pin(set, reply)).await?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Keeps blocks of somebody else's checkpoint; resolves once they are durable.
    pub async fn keep(&self, blocks: Vec<Block>) -> Result<Outcome, AskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Ask::Keep(blocks, reply)).await?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Begins at a checkpoint; only an empty replica can.
    pub async fn begin(&self, base: Base) -> Result<Outcome, AskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Ask::Begin(Box::new(base), reply)).await?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Waits until blocks are here, asking peers for those that are not.
    pub async fn want(&self, cids: Vec<Cid>) -> Result<(), AskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Ask::Want(cids, reply)).await?;
        answer.await.map_err(|_| self.closed())
    }

    /// Looks at the replica from inside its actor.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica, &Access<'_, '_>) -> T + Send + 'static,
    ) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |replica: &Replica, access: &Access<'_, '_>| {
            // Whoever asked may have given up; then nobody needs the answer.
            let _ = reply.send(look(replica, access));
        });
        self.send(Ask::Look(look)).await?;
        answer.await.map_err(|_| self.closed())
    }

    /// A block that is stored here.
    pub async fn block(&self, cid: Cid) -> Result<Option<Vec<u8>>, AskError> {
        let read = move |replica: &Replica, access: &Access<'_, '_>| replica.block(access, &cid);
        match self.look(read).await? {
            Ok(block) => Ok(block),
            Err(error) => Err(AskError::Disk { what: error.to_string().into() }),
        }
    }

    /// A peer connected; what is said to it goes into `sender`.
    pub async fn peer_up(
        &self,
        device: DeviceId,
        connection: u64,
        sender: mpsc::Sender<Message>,
    ) -> Result<(), AskError> {
        self.send(Ask::PeerUp { device, connection, sender }).await
    }

    /// A peer said something.
    pub async fn peer_said(
        &self,
        device: DeviceId,
        connection: u64,
        message: Message,
    ) -> Result<(), AskError> {
        self.send(Ask::PeerSaid { device, connection, message: Box::new(message) }).await
    }

    /// A peer is gone.
    pub async fn peer_down(&self, device: DeviceId, connection: u64) -> Result<(), AskError> {
        self.send(Ask::PeerDown { device, connection }).await
    }

    /// The group of voters said something.
    pub async fn order_news(&self, news: OrderNews) -> Result<(), AskError> {
        self.send(Ask::Order(news)).await
    }

    /// Takes events of an adopted log.
    pub async fn graft(&self, run: Run) -> Result<(), AskError> {
        self.send(Ask::Graft(Box::new(run))).await
    }

    /// Changes rows that no event stands for; resolves once they are written. What an edit puts
    /// before it fails is written, too, so each must be one that can be done again.
    pub async fn edit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut Overlay<'_>) -> Result<T, DocumentError> + Send + 'static,
    ) -> Result<T, EditError> {
        let (reply, answer) = oneshot::channel();
        let edit = Box::new(move |overlay: &mut Overlay<'_>| {
            let outcome = edit(overlay);
            // Whoever asked may have given up; then nobody needs the answer.
            Box::new(move || drop(reply.send(outcome))) as Edited
        });
        self.send(Ask::Edit(edit)).await?;
        Ok(answer.await.map_err(|_| self.closed())??)
    }

    /// Ends the actor: what is queued is written first.
    pub async fn close(&self) {
        if self.ask.send(Ask::Close).await.is_ok() {
            let mut pulse = self.pulse.clone();
            let ended = pulse.wait_for(|pulse| pulse.ended.is_some()).await;
            drop(ended);
        }
    }

    /// Waits until `done` holds of the replica, looking again after every batch.
    pub async fn until(
        &self,
        done: impl Fn(&Replica) -> bool + Send + Sync + Clone + 'static,
    ) -> Result<(), AskError> {
        let mut pulse = self.pulse();
        loop {
            pulse.borrow_and_update();
            let done = done.clone();
            if self.look(move |replica, _| done(replica)).await? {
                return Ok(());
            }
            if pulse.changed().await.is_err() {
                return Err(self.closed());
            }
        }
    }

    async fn send(&self, ask: Ask) -> Result<(), AskError> {
        self.ask.send(ask).await.map_err(|_| self.closed())
    }

    fn closed(&self) -> AskError {
        let why = self.pulse.borrow().ended.clone();
        AskError::Closed { why: why.unwrap_or_else(|| "the pod is closing".into()) }
    }
}

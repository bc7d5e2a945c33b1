//! One identity's actor: drains its queue, steps the replica, makes the batch durable, delivers.
//!
//! Whatever arrives while the disk is busy becomes the next batch, so one fdatasync serves all who
//! write at once. Index rows of the replica, documents and the mark of how far the segments are
//! folded are written as one batch, so that a crash never leaves one without the other.

use crate::clock;
use crate::handle::{AskError, Changes, Handle, Pulse, WriteDone};
use rhizome_block::{Block, Cid};
use rhizome_doc::{Change, Documents};
use rhizome_identity::{DeviceId, IdentityId};
use rhizome_log::{Delivery, Index, Overlay, Run};
use rhizome_replica::{
    Access, Alarm, Base, CloseReason, Command, Effect, Input, Message, OrderCommand, OrderNews,
    Outcome, PinSet, Replica, ReplicaError, Ticket, Write, space,
};
use rhizome_store::{Mark, Section, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Most asks that wait for the actor: beyond, callers wait, so a flood costs them and not memory.
pub const QUEUE_MAX: usize = 4096;

/// Most asks of one batch, so that a batch stays within the bounds of a run and of one write.
const BATCH_MAX: usize = 1024;

/// Batches of changes a slow watcher may fall behind before it must read again.
const CHANGES_BEHIND_MAX: usize = 1024;

type Reply<T> = oneshot::Sender<Result<T, AskError>>;

/// Looks at the replica from inside.
pub type Look = Box<dyn FnOnce(&Replica, &Access<'_, '_>) + Send>;

/// Changes rows that no event stands for (documents of a checkpoint, an index of fields), and
/// returns what to do once they are written.
pub type Edit = Box<dyn FnOnce(&mut Overlay<'_>) -> Edited + Send>;

/// Tells whoever asked for an [`Edit`].
pub type Edited = Box<dyn FnOnce() + Send>;

/// What an actor can be asked.
pub enum Ask {
    /// Write an event.
    Write(Write, Reply<WriteDone>),
    /// Change the identity.
    Command(Command, Reply<Outcome>),
    /// Keep a set of blocks.
    Pin(PinSet, Reply<Outcome>),
    /// Fetch blocks.
    Want(Vec<Cid>, oneshot::Sender<()>),
    /// Look at the replica.
    Look(Look),
    /// A peer connected.
    PeerUp {
        /// Which.
        device: DeviceId,
        /// Which of its connections.
        connection: u64,
        /// What is said to it goes here.
        sender: mpsc::Sender<Message>,
    },
    /// A peer said something.
    PeerSaid {
        /// Which.
        device: DeviceId,
        /// Over which connection.
        connection: u64,
        /// What.
        message: Box<Message>,
    },
    /// A connection is gone.
    PeerDown {
        /// Whose.
        device: DeviceId,
        /// Which.
        connection: u64,
    },
    /// The group of voters said something.
    Order(OrderNews),
    /// Take events of an adopted log.
    Graft(Box<Run>),
    /// Keep blocks of somebody else's checkpoint.
    Keep(Vec<Block>, Reply<Outcome>),
    /// Begin at a checkpoint.
    Begin(Box<Base>, Reply<Outcome>),
    /// Change rows that no event stands for.
    Edit(Edit),
    /// End, after what is queued.
    Close,
}

/// What an actor tells the pod.
#[derive(Debug)]
pub enum Notice {
    /// Devices, voters or epochs may be others now.
    ControlChanged,
    /// Run the group of voters.
    Order(OrderCommand),
    /// Tell the person.
    Alarm(Alarm),
    /// A connection must be closed.
    Close(DeviceId, CloseReason),
}

/// Everything an actor needs to run.
pub struct Parts {
    /// The identity.
    pub identity: IdentityId,
    /// The replica, folded up to the end of the segments.
    pub replica: Replica,
    /// The index.
    pub index: Arc<dyn Index>,
    /// The segments.
    pub store: Store,
    /// Keeps the mark behind what others append to the same store.
    pub fence: Fence,
    /// Opens the replica anew from the rows of the index, after an append failed.
    pub reopen: Reopen,
}

/// Opens a replica from the rows of its index.
pub type Reopen = Box<dyn Fn(&dyn Index) -> Result<Replica, ReplicaError> + Send>;

/// Holds the index's mark back while somebody else's rows are on their way: a mark must never pass
/// a block whose row is not written.
#[derive(Clone, Default)]
pub struct Fence {
    held: Arc<Mutex<Option<Mark>>>,
}

impl Fence {
    /// Keeps the mark at or before the present end of `store` until the guard is dropped.
    pub fn hold(&self, store: &Store) -> FenceGuard {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert(store.end());
        FenceGuard { fence: self.clone() }
    }

    fn mark(&self, store: &Store) -> Mark {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.unwrap_or_else(|| store.end())
    }
}

/// Releases a [`Fence`] when dropped.
pub struct FenceGuard {
    fence: Fence,
}

impl Drop for FenceGuard {
    fn drop(&mut self) {
        *self.fence.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

struct Actor {
    replica: Replica,
    index: Arc<dyn Index>,
    store: Store,
    fence: Fence,
    reopen: Reopen,
    documents: BTreeMap<Arc<str>, Documents>,
    peers: BTreeMap<DeviceId, (u64, mpsc::Sender<Message>)>,
    tickets: u64,
    writes: BTreeMap<Ticket, Reply<WriteDone>>,
    commands: BTreeMap<Ticket, Reply<Outcome>>,
    wanted: Vec<(BTreeSet<Cid>, oneshot::Sender<()>)>,
    changes: broadcast::Sender<Changes>,
    pulse: watch::Sender<Pulse>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// Starts an actor. Notices are few (they follow control records and elections) and must not be
/// lost, so their channel has no bound of its own.
pub fn start(parts: Parts) -> (Handle, mpsc::UnboundedReceiver<Notice>) {
    let (ask, asks) = mpsc::channel(QUEUE_MAX);
    let (changes, _) = broadcast::channel(CHANGES_BEHIND_MAX);
    let (pulse, pulses) = watch::channel(Pulse::default());
    let (notices, heard) = mpsc::unbounded_channel();
    let handle = Handle {
        identity: parts.identity,
        device: parts.replica.device(),
        ask,
        index: Arc::clone(&parts.index),
        store: parts.store.clone(),
        changes: changes.clone(),
        pulse: pulses,
        indexing: crate::indexing::UnderWay::default(),
    };
    let documents = documents_of(&parts.replica);
    let actor = Actor {
        replica: parts.replica,
        index: parts.index,
        store: parts.store,
        fence: parts.fence,
        reopen: parts.reopen,
        documents,
        peers: BTreeMap::new(),
        tickets: 0,
        writes: BTreeMap::new(),
        commands: BTreeMap::new(),
        wanted: Vec::new(),
        changes,
        pulse,
        notices,
    };
    tokio::spawn(actor.run(asks));
    (handle, heard)
}

/// Why a batch could not be finished.
#[derive(Debug, thiserror::Error)]
enum BatchError {
    #[error("replica failed")]
    Replica(#[from] ReplicaError),
    #[error("index failed")]
    Index(#[from] rhizome_log::IndexError),
    #[error("documents failed")]
    Documents(#[from] rhizome_doc::DocumentError),
    #[error(transparent)]
    Store(#[from] rhizome_store::StoreError),
    #[error("identity cannot go on")]
    Stopped,
}

impl Actor {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let opened = tokio::task::block_in_place(|| self.batch(Vec::new(), Some(Input::Opened)));
        if let Err(error) = opened {
            tracing::error!(error = &error as &dyn std::error::Error, "identity does not start");
        }
        let why: Arc<str> = loop {
            if asks.recv_many(&mut batch, BATCH_MAX).await == 0 {
                break "the pod is closing".into();
            }
            let closing = batch.iter().any(|ask| matches!(ask, Ask::Close));
            let moves = batch.iter().any(|ask| !matches!(ask, Ask::Look(_)));
            let asked = std::mem::take(&mut batch);
            let done = tokio::task::block_in_place(|| {
                self.batch(asked, None).or_else(|error| self.recover(&error))
            });
            if let Err(error) = done {
                tracing::error!(error = &error as &dyn std::error::Error, "identity stops");
                break self.fail(&error);
            }
            // Looking changes nothing; whoever waits for a change must not be woken by looks.
            if moves {
                self.pulse.send_modify(|pulse| pulse.batches += 1);
            }
            if closing {
                break "the pod is closing".into();
            }
        };
        // Senders learn that the queue is closed before they learn why.
        drop(asks);
        drop(self.store);
        drop(self.index);
        self.pulse.send_modify(|pulse| pulse.ended = Some(why));
    }

    /// After a failed append: answers the writers, and goes back to what is on the disk. Nothing of
    /// the failed batch left this device, and no sequence number of it is used again.
    fn recover(&mut self, error: &BatchError) -> Result<(), BatchError> {
        if !matches!(error, BatchError::Store(_)) {
            let _ = self.fail(error);
            return Err(BatchError::Stopped);
        }
        tracing::error!(error = error as &dyn std::error::Error, "disk refuses to be written");
        let _ = self.fail(error);
        self.replica = (self.reopen)(&*self.index)?;
        self.replica.start_new_incarnations();
        for (device, _) in std::mem::take(&mut self.peers) {
            self.notify(Notice::Close(device, CloseReason::Misbehaved));
        }
        Ok(())
    }

    /// Answers everybody who waits.
    fn fail(&mut self, error: &BatchError) -> Arc<str> {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        let why: Arc<str> = why.into();
        for (_, reply) in std::mem::take(&mut self.writes) {
            let _ = reply.send(Err(AskError::Disk { what: Arc::clone(&why) }));
        }
        for (_, reply) in std::mem::take(&mut self.commands) {
            let _ = reply.send(Err(AskError::Disk { what: Arc::clone(&why) }));
        }
        why
    }

    fn batch(&mut self, asks: Vec<Ask>, first: Option<Input>) -> Result<(), BatchError> {
        let index = Arc::clone(&self.index);
        let mut overlay = Overlay::new(&*index);
        let mut effects = Vec::new();
        let (mut looks, mut edited) = (Vec::new(), Vec::new());
        let first_is_news = first.is_some();
        if let Some(input) = first {
            self.step(&mut overlay, input, &mut effects)?;
        }
        let is_news = first_is_news || asks.iter().any(|ask| !matches!(ask, Ask::Look(_)));
        let failed = self.store.failed();
        for ask in asks {
            match ask {
                Ask::Write(_, reply) if failed.is_some() => refuse(reply, failed.as_ref()),
                Ask::Command(_, reply) | Ask::Pin(_, reply) if failed.is_some() => {
                    refuse(reply, failed.as_ref());
                }
                Ask::Look(look) => looks.push(look),
                Ask::Edit(edit) => edited.push(edit(&mut overlay)),
                Ask::Close => {}
                ask => {
                    if let Some(input) = self.input(ask) {
                        self.step(&mut overlay, input, &mut effects)?;
                    }
                }
            }
        }
        // Looking changes nothing, so there is nothing to make durable.
        if is_news {
            self.step(&mut overlay, Input::Flush, &mut effects)?;
            let effects = self.settle(&mut overlay, effects)?;
            let mut changed = Vec::new();
            self.deliver(&mut overlay, &effects, &mut changed)?;
            let batch = self.marked(overlay);
            if !batch.is_empty() {
                index.write(batch)?;
            }
            self.perform(effects, changed);
            edited.into_iter().for_each(|tell| tell());
        }
        let mut overlay = Overlay::new(&*index);
        let access = Access { index: &mut overlay, blocks: &self.store };
        looks.into_iter().for_each(|look| look(&self.replica, &access));
        Ok(())
    }

    /// The index is folded up to the end of what is durable.
    fn marked(&self, mut overlay: Overlay<'_>) -> rhizome_log::Batch {
        if overlay.is_empty() {
            return rhizome_log::Batch::default();
        }
        let Mark { segment, offset } = self.fence.mark(&self.store);
        overlay.put(vec![space::MARK], mark_bytes(segment, offset));
        overlay.into_batch()
    }

    fn step(
        &mut self,
        overlay: &mut Overlay<'_>,
        input: Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BatchError> {
        let mut access = Access { index: overlay, blocks: &self.store };
        effects.extend(self.replica.step(clock::tick(), &mut access, input)?);
        Ok(())
    }

    /// Makes appends durable until none is left; returns all other effects in their order.
    fn settle(
        &mut self,
        overlay: &mut Overlay<'_>,
        effects: Vec<Effect>,
    ) -> Result<Vec<Effect>, BatchError> {
        let mut settled = Vec::with_capacity(effects.len());
        let mut todo = effects;
        loop {
            let mut appended = None;
            for effect in todo {
                match effect {
                    Effect::Append(blocks) => appended = Some(blocks),
                    effect => settled.push(effect),
                }
            }
            let Some(blocks) = appended else { return Ok(settled) };
            let sections: Vec<Section<'_>> = blocks
                .iter()
                .map(|block| Section { cid: block.cid, bytes: &block.bytes })
                .collect();
            let places = self.store.append_durable(&sections)?;
            let mut more = Vec::new();
            self.step(overlay, Input::Durable(places), &mut more)?;
            self.step(overlay, Input::Flush, &mut more)?;
            todo = more;
        }
    }

    fn deliver(
        &mut self,
        overlay: &mut Overlay<'_>,
        effects: &[Effect],
        changed: &mut Vec<(Arc<str>, Change)>,
    ) -> Result<(), BatchError> {
        for effect in effects {
            if let Effect::Deliver(deliveries) = effect {
                deliver(&mut self.documents, overlay, deliveries, changed)?;
            }
        }
        Ok(())
    }

    /// Turns an ask into an input, and notes who waits for it.
    fn input(&mut self, ask: Ask) -> Option<Input> {
        match ask {
            Ask::Write(mut write, reply) => {
                write.ticket = self.ticket();
                self.writes.insert(write.ticket, reply);
                Some(Input::Write(write))
            }
            Ask::Command(command, reply) => {
                let ticket = self.ticket();
                self.commands.insert(ticket, reply);
                Some(Input::Command(ticket, command))
            }
            Ask::Pin(set, reply) => {
                let ticket = self.ticket();
                self.commands.insert(ticket, reply);
                Some(Input::Pin(ticket, set))
            }
            Ask::Keep(blocks, reply) => {
                let ticket = self.ticket();
                self.commands.insert(ticket, reply);
                Some(Input::Keep(ticket, blocks))
            }
            Ask::Begin(base, reply) => {
                let ticket = self.ticket();
                self.commands.insert(ticket, reply);
                Some(Input::Begin(ticket, base))
            }
            Ask::Want(cids, reply) => {
                self.wanted.push((cids.iter().copied().collect(), reply));
                Some(Input::Want(cids))
            }
            Ask::PeerUp { device, connection, sender } => {
                self.peers.insert(device, (connection, sender));
                Some(Input::PeerUp(device))
            }
            Ask::PeerSaid { device, connection, message } => {
                let said = Input::PeerSaid(device, *message);
                self.is_current(&device, connection).then_some(said)
            }
            Ask::PeerDown { device, connection } => {
                self.is_current(&device, connection).then(|| {
                    self.peers.remove(&device);
                    Input::PeerDown(device)
                })
            }
            Ask::Order(news) => Some(Input::Order(news)),
            Ask::Graft(run) => Some(Input::Graft(run)),
            Ask::Look(_) | Ask::Edit(_) | Ask::Close => None,
        }
    }

    fn is_current(&self, device: &DeviceId, connection: u64) -> bool {
        self.peers.get(device).is_some_and(|(current, _)| *current == connection)
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn perform(&mut self, effects: Vec<Effect>, changed: Vec<(Arc<str>, Change)>) {
        if !changed.is_empty() {
            // Nobody may be watching.
            let _ = self.changes.send(Arc::new(changed));
        }
        for effect in effects {
            match effect {
                Effect::Written { ticket, log, seq, id } => {
                    if let Some(reply) = self.writes.remove(&ticket) {
                        let _ = reply.send(Ok(WriteDone { log, seq, id }));
                    }
                }
                Effect::Done(ticket, outcome) => {
                    if let Some(reply) = self.commands.remove(&ticket) {
                        let _ = reply.send(Ok(outcome));
                    }
                }
                Effect::Rejected(ticket, error) => self.reject(ticket, error),
                Effect::Send(device, message) => self.send(device, message),
                Effect::Arrived(cids) => self.arrived(&cids),
                Effect::Close(device, reason) => {
                    self.peers.remove(&device);
                    self.notify(Notice::Close(device, reason));
                }
                Effect::Order(command) => self.notify(Notice::Order(command)),
                Effect::Alarm(alarm) => self.notify(Notice::Alarm(alarm)),
                Effect::ControlChanged => self.notify(Notice::ControlChanged),
                Effect::Append(_) | Effect::Deliver(_) => {}
            }
        }
    }

    fn reject(&mut self, ticket: Ticket, error: rhizome_replica::CommandError) {
        if let Some(reply) = self.writes.remove(&ticket) {
            let _ = reply.send(Err(AskError::Refused(error)));
        } else if let Some(reply) = self.commands.remove(&ticket) {
            let _ = reply.send(Err(AskError::Refused(error)));
        }
    }

    /// Hands a message to a connection. One whose queue is full does not take part any more: it is
    /// closed, and says hello again when it can keep up.
    fn send(&mut self, device: DeviceId, message: Message) {
        let Some((_, sender)) = self.peers.get(&device) else { return };
        if sender.try_send(message).is_err() {
            tracing::debug!(peer = %device.short(), "connection cannot keep up");
            self.peers.remove(&device);
            self.notify(Notice::Close(device, CloseReason::Misbehaved));
        }
    }

    fn arrived(&mut self, cids: &[Cid]) {
        for (missing, _) in &mut self.wanted {
            for cid in cids {
                missing.remove(cid);
            }
        }
        let (done, waiting) =
            std::mem::take(&mut self.wanted).into_iter().partition(|(m, _)| m.is_empty());
        self.wanted = waiting;
        let done: Vec<(BTreeSet<Cid>, oneshot::Sender<()>)> = done;
        for (_, reply) in done {
            let _ = reply.send(());
        }
    }

    fn notify(&self, notice: Notice) {
        // The pod may be closing already.
        let _ = self.notices.send(notice);
    }
}

/// Says no to a write while the store has failed; reading goes on.
fn refuse<T>(reply: Reply<T>, why: Option<&Arc<str>>) {
    let what = why.cloned().unwrap_or_else(|| "store has failed".into());
    let _ = reply.send(Err(AskError::Disk { what }));
}

/// The documents of every app the replica knows.
pub fn documents_of(replica: &Replica) -> BTreeMap<Arc<str>, Documents> {
    let apps: BTreeSet<String> =
        replica.status().logs.into_iter().filter_map(|log| log.app).collect();
    apps.iter().map(|app| (Arc::from(app.as_str()), Documents::new(app))).collect()
}

/// Hands deliveries to the documents of their apps.
pub fn deliver(
    documents: &mut BTreeMap<Arc<str>, Documents>,
    overlay: &mut Overlay<'_>,
    deliveries: &[Delivery],
    changed: &mut Vec<(Arc<str>, Change)>,
) -> Result<(), rhizome_doc::DocumentError> {
    for app in apps_in(deliveries) {
        documents.entry(Arc::clone(&app)).or_insert_with(|| Documents::new(&app));
    }
    for (app, documents) in documents.iter() {
        let changes = documents.deliver(overlay, deliveries)?;
        changed.extend(changes.into_iter().map(|change| (Arc::clone(app), change)));
    }
    Ok(())
}

fn apps_in(deliveries: &[Delivery]) -> BTreeSet<Arc<str>> {
    deliveries
        .iter()
        .filter_map(|delivery| match delivery {
            Delivery::Pending(event) | Delivery::Effective { event, .. } => {
                Some(Arc::clone(&event.app))
            }
            Delivery::Settled { .. } | Delivery::Retracted { .. } => None,
        })
        .collect()
}

/// A mark as it stands in the index.
pub fn mark_bytes(segment: u32, offset: u64) -> Vec<u8> {
    [segment.to_be_bytes().as_slice(), &offset.to_be_bytes()].concat()
}

/// Reads it.
pub fn mark_from(bytes: &[u8]) -> Option<(u32, u64)> {
    let (segment, offset) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*segment), u64::from_be_bytes(offset.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use crate::{Pod, PodOptions};
    use rhizome_identity::DeviceKind;

    #[tokio::test(flavor = "multi_thread")]
    async fn looking_wakes_nobody_who_waits_for_news() {
        let dir = tempfile::tempdir().unwrap();
        let options = PodOptions { dir: dir.path().to_owned(), ..PodOptions::default() };
        let pod = Pod::start(options).await.unwrap();
        let identity = pod.create_identity("me", "laptop", DeviceKind::Laptop).unwrap();
        let handle = &identity.handle;
        handle.write("app", None, vec![0xa0]).await.unwrap();
        handle.look(|_, _| ()).await.unwrap();
        let mut pulse = handle.pulse();
        pulse.borrow_and_update();
        // The answer to a look comes before its batch ends; the second one ends the first.
        for _ in 0..2 {
            handle.look(|_, _| ()).await.unwrap();
        }
        assert!(!pulse.has_changed().unwrap());
        handle.write("app", None, vec![0xa0]).await.unwrap();
        handle.look(|_, _| ()).await.unwrap();
        assert!(pulse.has_changed().unwrap());
        pod.stop().await;
    }
}

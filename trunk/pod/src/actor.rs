//! One identity's actor: drains its queue, has the engine do it as one batch, performs the effects.
//!
//! Whatever arrives while the disk is busy becomes the next batch, so one fdatasync serves all who
//! write at once. What a batch does to replica, segments, index and documents is the engine's.

use crate::clock;
use crate::handle::{AskError, Changes, Handle, Pulse, WriteDone};
use crate::journal::Segments;
use crate::lasting::{Gone, LastingIndex, Renewal};
use crate::wait;
use rhizome_block::{Block, Cid};
use rhizome_engine::{Done, Edit, Engine, EngineError, Work};
use rhizome_identity::{DeviceId, IdentityId};
use rhizome_log::{Index, Overlay, Run};
use rhizome_replica::{
    Access, Alarm, Base, CloseReason, Command, Effect, Input, Message, OrderCommand, OrderNews,
    Outcome, PinSet, Replica, Ticket, Write,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Most asks that wait for the actor: beyond, callers wait, so a flood costs them and not memory.
pub const QUEUE_MAX: usize = 4096;

/// Most asks of one batch, so that a batch stays within the bounds of a run and of one write.
const BATCH_MAX: usize = 1024;

/// Batches of changes a slow watcher may fall behind before it must read again.
const CHANGES_BEHIND_MAX: usize = 1024;

/// How long an actor keeps its thread without work: longer than a caller takes to hear an answer
/// and to ask again, so that one who writes and writes meets a thread that is awake.
const LINGER: Duration = Duration::from_millis(5);

/// Why an actor ended that was asked to.
const CLOSING: &str = "the pod is closing";

type Reply<T> = oneshot::Sender<Result<T, AskError>>;

/// Looks at the replica from inside.
pub type Look = Box<dyn FnOnce(&Replica, &Access<'_, '_>) + Send>;

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

/// The newest connection to a device.
struct Line {
    connection: u64,
    /// What is said goes here, until it is hung up.
    sender: Option<mpsc::Sender<Message>>,
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
    /// This connection to a device must be closed. What was said to it may still be on its way: its
    /// stream ends, and the other side hears so, when the sender is dropped.
    Close(DeviceId, u64, CloseReason, Option<mpsc::Sender<Message>>),
}

/// Everything an actor needs to run.
pub struct Parts {
    /// The identity.
    pub identity: IdentityId,
    /// The replica and its documents, folded up to the end of the segments.
    pub engine: Engine,
    /// The index.
    pub index: Arc<dyn Index>,
    /// How the index is opened again when it fails; one that others share is not.
    pub renewal: Option<Renewal>,
    /// The segments.
    pub journal: Segments,
    /// Opens the engine anew, after the disk failed.
    pub reopen: Reopen,
}

/// Opens an engine from the rows of its index and what the segments hold beyond it.
pub type Reopen = Box<dyn Fn(&dyn Index, &Segments) -> Result<Engine, EngineError> + Send>;

struct Actor {
    engine: Engine,
    index: Arc<dyn Index>,
    shown: Arc<LastingIndex>,
    renewal: Option<Renewal>,
    journal: Segments,
    reopen: Reopen,
    peers: BTreeMap<DeviceId, Line>,
    tickets: u64,
    writes: BTreeMap<Ticket, Reply<WriteDone>>,
    commands: BTreeMap<Ticket, Reply<Outcome>>,
    wanted: Vec<(BTreeSet<Cid>, oneshot::Sender<()>)>,
    changes: broadcast::Sender<Changes>,
    pulse: watch::Sender<Pulse>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// An actor with work to do. While there is any it keeps one thread, because handing each batch
/// over to another one would cost more than the batch.
struct Spell {
    actor: Actor,
    asks: mpsc::Receiver<Ask>,
    batch: Vec<Ask>,
}

impl Spell {
    fn open(mut self) -> Self {
        if let Err(error) = self.actor.batch(Vec::new(), Some(Input::Opened)) {
            tracing::error!(error = &error as &dyn std::error::Error, "identity does not start");
        }
        self
    }

    /// Does what is asked until nothing was for a while, or for good: then says why.
    fn work(mut self) -> (Self, Option<Arc<str>>) {
        loop {
            let closing = self.batch.iter().any(|ask| matches!(ask, Ask::Close));
            let moves = self.batch.iter().any(|ask| !matches!(ask, Ask::Look(_)));
            if let Err(error) = self.actor.turn(std::mem::take(&mut self.batch)) {
                tracing::error!(error = &error as &dyn std::error::Error, "identity stops");
                let why = self.actor.fail(&error);
                return (self, Some(why));
            }
            // Looking changes nothing; whoever waits for a change must not be woken by looks.
            if moves {
                self.actor.pulse.send_modify(|pulse| pulse.batches += 1);
            }
            if closing {
                return (self, Some(CLOSING.into()));
            }
            match wait::at_most(LINGER, self.asks.recv_many(&mut self.batch, BATCH_MAX)) {
                Some(0) => return (self, Some(CLOSING.into())),
                Some(_) => {}
                None => return (self, None),
            }
        }
    }
}

/// Runs `work` on a thread that may block; nothing comes of it if that panicked.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.inspect_err(|error| tracing::error!(%error, "identity stops")).ok()
}

/// Starts an actor. Notices are few (they follow control records and elections) and must not be
/// lost, so their channel has no bound of its own.
pub fn start(parts: Parts) -> (Handle, mpsc::UnboundedReceiver<Notice>) {
    let (ask, asks) = mpsc::channel(QUEUE_MAX);
    let (changes, _) = broadcast::channel(CHANGES_BEHIND_MAX);
    let (pulse, pulses) = watch::channel(Pulse::default());
    let (notices, heard) = mpsc::unbounded_channel();
    let shown = LastingIndex::new(Arc::clone(&parts.index), parts.renewal.is_some());
    let shown = Arc::new(shown);
    let handle = Handle {
        identity: parts.identity,
        device: parts.engine.replica().device(),
        ask,
        index: Arc::clone(&shown) as Arc<dyn Index>,
        store: parts.journal.store().clone(),
        changes: changes.clone(),
        pulse: pulses,
        indexing: crate::indexing::UnderWay::default(),
    };
    let actor = Actor {
        engine: parts.engine,
        index: parts.index,
        shown,
        renewal: parts.renewal,
        journal: parts.journal,
        reopen: parts.reopen,
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

impl Actor {
    async fn run(self, asks: mpsc::Receiver<Ask>) {
        let mut spell = Spell { actor: self, asks, batch: Vec::with_capacity(BATCH_MAX) };
        spell = match on_thread(move || spell.open()).await {
            Some(spell) => spell,
            None => return,
        };
        let why = loop {
            let asked = tokio::select! {
                asked = spell.asks.recv_many(&mut spell.batch, BATCH_MAX) => asked,
                () = spell.actor.shown.broken() => usize::MAX,
            };
            if asked == 0 {
                break CLOSING.into();
            }
            let Some((resting, ended)) = on_thread(move || spell.work()).await else { return };
            spell = resting;
            if let Some(why) = ended {
                break why;
            }
        };
        let Spell { actor, mut asks, .. } = spell;
        // Senders learn that the queue is closed before they learn why. What is being sent just now
        // would stay in a queue that is merely dropped, and whoever waits for its answer for ever.
        asks.close();
        while asks.recv().await.is_some() {}
        drop(asks);
        drop(actor.journal);
        drop(actor.index);
        actor.shown.end();
        drop(actor.shown);
        actor.pulse.send_modify(|pulse| pulse.ended = Some(why));
    }

    /// Does one batch, after whatever must be mended first.
    fn turn(&mut self, asks: Vec<Ask>) -> Result<(), EngineError> {
        self.mend_index()?;
        self.batch(asks, None).or_else(|error| self.recover(error))
    }

    /// After a failed append or a failed index: answers the writers, and goes back to what is on
    /// the disk. Nothing of the failed batch left this device. After a failed append no sequence
    /// number of it is used again.
    fn recover(&mut self, error: EngineError) -> Result<(), EngineError> {
        let is_journal = matches!(error, EngineError::Journal(_));
        let is_index = error.is_of_index() && self.renewal.is_some();
        if !is_journal && !is_index {
            return Err(error);
        }
        tracing::error!(error = &error as &dyn std::error::Error, "disk refuses to be written");
        let _ = self.fail(&error);
        if is_journal && !self.shown.is_broken() {
            match (self.reopen)(&*self.index, &self.journal) {
                Err(error) if error.is_of_index() => self.renew_index()?,
                opened => self.engine = opened?,
            }
        } else {
            self.renew_index()?;
        }
        if is_journal {
            self.engine.start_new_incarnations();
        }
        self.hang_up_all();
        Ok(())
    }

    /// Opens the index again if somebody could not read it, or if there is room for it now.
    fn mend_index(&mut self) -> Result<(), EngineError> {
        let may_go_back = self.renewal.as_ref().is_some_and(Renewal::may_go_back);
        if self.shown.is_broken() || may_go_back {
            self.renew_index()?;
            self.hang_up_all();
        }
        Ok(())
    }

    /// Opens the index again and folds into it what it lacks. One that fails at once is opened once
    /// more: the disk may have filled up just now.
    fn renew_index(&mut self) -> Result<(), EngineError> {
        self.open_index().or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "index failed again");
            self.open_index()
        })
    }

    fn open_index(&mut self) -> Result<(), EngineError> {
        let Some(renewal) = &mut self.renewal else { return Ok(()) };
        self.shown.hide();
        self.index = Arc::new(Gone);
        self.index = renewal.open()?;
        self.engine = (self.reopen)(&*self.index, &self.journal)?;
        self.shown.show(Arc::clone(&self.index));
        Ok(())
    }

    /// What was ordered here does not count any more: folds the segments into the emptied index.
    fn rewind(&mut self) -> Result<(), EngineError> {
        tracing::warn!("a reform counts: what was ordered behind it is ordered anew");
        self.shown.hide();
        let index = Arc::clone(&self.index);
        let folded =
            self.engine.rewind(&*index).and_then(|()| (self.reopen)(&*index, &self.journal));
        self.shown.show(index);
        self.engine = folded?;
        self.hang_up_all();
        self.batch(Vec::new(), Some(Input::Opened))
    }

    /// The engine is another one: it meets everybody anew.
    fn hang_up_all(&mut self) {
        for (device, line) in std::mem::take(&mut self.peers) {
            let reason = CloseReason::Misbehaved;
            self.notify(Notice::Close(device, line.connection, reason, line.sender));
        }
    }

    /// Answers everybody who waits.
    fn fail(&mut self, error: &EngineError) -> Arc<str> {
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

    fn batch(&mut self, asks: Vec<Ask>, first: Option<Input>) -> Result<(), EngineError> {
        let mut work: Vec<Work> = first.into_iter().map(Work::Input).collect();
        let mut looks = Vec::new();
        let failed = self.journal.store().failed();
        for ask in asks {
            match ask {
                Ask::Write(_, reply) if failed.is_some() => refuse(reply, failed.as_ref()),
                Ask::Command(_, reply) | Ask::Pin(_, reply) if failed.is_some() => {
                    refuse(reply, failed.as_ref());
                }
                Ask::Look(look) => looks.push(look),
                Ask::Edit(edit) => work.push(Work::Edit(edit)),
                Ask::Close => {}
                ask => work.extend(self.input(ask).map(Work::Input)),
            }
        }
        // Looking changes nothing, so there is nothing to make durable.
        if !work.is_empty() {
            let index = Arc::clone(&self.index);
            let done = self.engine.batch(&mut clock::tick, &*index, &self.journal, work)?;
            self.perform(done);
            if self.engine.rewinds() {
                self.rewind()?;
            }
        }
        let mut overlay = Overlay::new(&*self.index);
        let access = Access { index: &mut overlay, blocks: &self.journal };
        looks.into_iter().for_each(|look| look(self.engine.replica(), &access));
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
                // News of connections may overtake each other; the newer one counts.
                if self.peers.get(&device).is_some_and(|line| line.connection > connection) {
                    return None;
                }
                self.peers.insert(device, Line { connection, sender: Some(sender) });
                Some(Input::PeerUp(device))
            }
            Ask::PeerSaid { device, connection, message } => {
                let said = Input::PeerSaid(device, *message);
                let line = self.peers.get(&device).filter(|line| line.sender.is_some());
                line.is_some_and(|line| line.connection == connection).then_some(said)
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
        self.peers.get(device).is_some_and(|line| line.connection == connection)
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn perform(&mut self, done: Done) {
        if !done.changes.is_empty() {
            // Nobody may be watching.
            let _ = self.changes.send(Arc::new(done.changes));
        }
        for effect in done.effects {
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
                    self.hang_up(device, reason);
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
        let line = self.peers.get(&device);
        let Some(sender) = line.and_then(|line| line.sender.as_ref()) else { return };
        match sender.try_send(message) {
            // One that has just ended says so itself.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                tracing::debug!(peer = %device.short(), "connection cannot keep up");
                self.hang_up(device, CloseReason::Misbehaved);
            }
        }
    }

    /// Neither says nor hears anything more over a connection. The replica is told when it is gone.
    fn hang_up(&mut self, device: DeviceId, reason: CloseReason) {
        if let Some(line) = self.peers.get_mut(&device) {
            let (connection, sender) = (line.connection, line.sender.take());
            self.notify(Notice::Close(device, connection, reason, sender));
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

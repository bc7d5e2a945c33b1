//! Linking devices: drives the two machines of `root/identity` over a link and the key store.
//!
//! Every step a machine wants remembered is a file before anything is said, so a pod killed at any
//! moment goes on where it was: [`resume`] restores both sides when the pod starts.

use crate::clock;
use crate::conversation::{Admission, SavedJoining, misunderstood};
use crate::home::{IdentityMeta, KeyFile};
use crate::identity::Identity;
use crate::kind;
use crate::peers::plan_voters;
use crate::pod::{LINK_NAME, Pod};
use rhizome_api::device::{
    Device, JoinAnswer, JoinEvent, JoinRequest, LinkAnswer, LinkConfirmRequest, LinkEvent, Role,
};
use rhizome_api::{ApiError, Empty, Problem, Secret};
use rhizome_block::{CborError, decode, encode};
use rhizome_identity::link::{
    Admitter, AdmitterEffect, AdmitterInput, AdmitterOutcome, Code, Introduction, Invitation,
    Invite, Joining, Newcomer, NewcomerEffect, NewcomerInput, NewcomerOutcome, Refusal,
};
use rhizome_identity::{Acceptance, ControlRecord, DeviceId, DeviceKeys, Genesis};
use rhizome_net::{Expect, FrameSender, Incoming, Link, PeerAddress};
use rhizome_replica::{Command, Replica};
use serde_bytes::ByteBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Kind of the stream that carries linking messages.
const LINK_STREAM: u8 = 4;

/// File of an admitting machine, in the identity's folder.
const ADMITTER_NOTE: &str = "linking";

/// File of an admission that was stored and not taken in yet, in the identity's folder.
const ADMISSION_NOTE: &str = "admission";

/// File of a newcomer's machine, in the pod's folder.
const NEWCOMER_FILE: &str = "joining";

/// Most inputs that wait for a linking machine; people and one peer produce them.
const INPUTS_MAX: usize = 32;

/// How long a newcomer that was answered for the last time is given to hear it and hang up.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long a device that joined is given to fetch what there is before `join` answers.
const FIRST_SYNC: Duration = Duration::from_secs(60);

/// The one linking that this pod may have under way on either side.
#[derive(Default)]
pub struct Desk {
    session: Mutex<Option<mpsc::Sender<DeskInput>>>,
    newcomer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

enum DeskInput {
    /// A newcomer said something; answers go into the sender.
    Said(Vec<u8>, mpsc::Sender<Vec<u8>>),
    /// The person typed the digits.
    Typed(String, oneshot::Sender<Result<(), ApiError>>),
    /// The person gave up.
    Cancel,
}

impl Desk {
    fn current(&self) -> Option<mpsc::Sender<DeskInput>> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.clone().filter(|session| !session.is_closed())
    }

    fn open(&self) -> Option<mpsc::Receiver<DeskInput>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.as_ref().is_some_and(|session| !session.is_closed()) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(INPUTS_MAX);
        *session = Some(sender);
        Some(receiver)
    }
}

/// Goes on with linkings that a kill interrupted.
pub fn resume(pod: &Pod) {
    for identity in pod.identities() {
        if let Some(bytes) = identity.home.note(ADMISSION_NOTE) {
            let identity = Arc::clone(&identity);
            tokio::spawn(async move {
                if let Err(error) = take_admission(&identity, &bytes).await {
                    tracing::error!(%error, "cannot take a stored admission in");
                }
            });
        }
        let Some(bytes) = identity.home.note(ADMITTER_NOTE) else { continue };
        match (Admitter::from_bytes(&bytes), pod.inner.link.open()) {
            (Ok(machine), Some(inputs)) => {
                let (events, _) = mpsc::channel(INPUTS_MAX);
                let admitting = Admitting { pod: pod.clone(), identity, machine, events };
                tokio::spawn(admitting.run_until_stopped(inputs));
            }
            (Err(error), _) => tracing::error!(%error, "cannot go on with a linking"),
            (_, None) => {}
        }
    }
    if let Ok(bytes) = std::fs::read(pod.dir().join(NEWCOMER_FILE)) {
        let pod = pod.clone();
        tokio::spawn(async move {
            let (events, _) = mpsc::channel(INPUTS_MAX);
            if let Err(error) = resume_join(&pod, &bytes, events).await {
                tracing::warn!(%error, "an interrupted linking ended");
            }
        });
    }
}

/// Shows a code and waits until a device was linked or the code is burned.
pub async fn start_link(
    pod: &Pod,
    events: mpsc::Sender<LinkEvent>,
) -> Result<LinkAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let inputs = pod
        .inner
        .link
        .open()
        .ok_or_else(|| ApiError::new(Problem::LINK_BUSY, "another linking is under way"))?;
    let root = identity.handle.look(|replica, _| replica.control().state().root());
    let invite = Invite {
        identity: identity.id(),
        root: root.await.map_err(|error| failed(&error))?,
        device: identity.handle.device,
        code: Code::from_random(clock::random()),
        random: clock::random(),
    };
    let machine = Admitter::new(clock::now_ms(), &invite);
    let admitting =
        Admitting { pod: pod.clone(), identity: Arc::clone(&identity), machine, events };
    // On its own: whoever shows the code may go away while a device is being let in.
    let running = tokio::spawn(admitting.run_until_stopped(inputs));
    match running.await.map_err(|error| failed(&error))? {
        Some(AdmitterOutcome::Linked(device)) => {
            Ok(LinkAnswer { device: describe(&identity, device).await })
        }
        Some(AdmitterOutcome::Unclaimed(_)) => Err(ApiError::new(
            Problem::LINK_EXPIRED,
            "the device was let in and never came to fetch its keys",
        )
        .hint("rhizome device list")),
        Some(AdmitterOutcome::Refused(why)) => Err(refused(why)),
        None => Err(ApiError::new(Problem::INTERRUPTED, "linking was interrupted")),
    }
}

/// The person typed the digits that the newcomer shows.
pub async fn confirm(pod: &Pod, request: LinkConfirmRequest) -> Result<Empty, ApiError> {
    let none = || ApiError::new(Problem::LINK_EXPIRED, "no device is waiting to be linked");
    let session = pod.inner.link.current().ok_or_else(none)?;
    let (reply, answer) = oneshot::channel();
    session.send(DeskInput::Typed(request.digits, reply)).await.map_err(|_| none())?;
    answer.await.map_err(|_| none())??;
    Ok(Empty {})
}

/// Burns the code that is shown.
pub async fn cancel(pod: &Pod) -> Result<Empty, ApiError> {
    if let Some(session) = pod.inner.link.current() {
        // One that has just ended needs no cancelling.
        let _ = session.send(DeskInput::Cancel).await;
    }
    Ok(Empty {})
}

/// Answers a newcomer that dialled.
pub async fn answer(pod: Pod, incoming: Incoming) {
    let Ok((LINK_STREAM, mut sender, mut receiver)) = incoming.link.accept_stream().await else {
        return;
    };
    let (answers, mut queue) = mpsc::channel::<Vec<u8>>(INPUTS_MAX);
    let writing = tokio::spawn(async move {
        while let Some(bytes) = queue.recv().await {
            if sender.send(&bytes).await.is_err() || sender.flush().await.is_err() {
                return;
            }
        }
        let _ = sender.finish().await;
    });
    while let Ok(Some(bytes)) = receiver.receive().await {
        let Some(session) = pod.inner.link.current() else {
            let no = rhizome_identity::link::refusal(Refusal::NoSuchCode);
            let _ = answers.send(no).await;
            break;
        };
        if session.send(DeskInput::Said(bytes.to_vec(), answers.clone())).await.is_err() {
            break;
        }
    }
    drop(answers);
    // What was queued is sent before the link is dropped, and heard before it is closed.
    let _ = writing.await;
    let _ = tokio::time::timeout(GOODBYE, incoming.link.closed()).await;
}

/// Drives an admitting machine.
struct Admitting {
    pod: Pod,
    identity: Arc<Identity>,
    machine: Admitter,
    events: mpsc::Sender<LinkEvent>,
}

impl Admitting {
    /// Runs to its end, or until the pod ends; then it goes on when the pod starts again.
    async fn run_until_stopped(self, inputs: mpsc::Receiver<DeskInput>) -> Option<AdmitterOutcome> {
        let pod = self.pod.clone();
        tokio::select! {
            outcome = self.run(inputs) => outcome,
            () = pod.asked_to_stop() => None,
        }
    }

    async fn run(mut self, mut inputs: mpsc::Receiver<DeskInput>) -> Option<AdmitterOutcome> {
        let mut peer: Option<mpsc::Sender<Vec<u8>>> = None;
        let mut input = AdmitterInput::Opened;
        let mut watched = true;
        loop {
            let mut todo = self.machine.step(clock::now_ms(), input);
            while !todo.is_empty() {
                let mut more = Vec::new();
                for effect in std::mem::take(&mut todo) {
                    match effect {
                        AdmitterEffect::Finish(outcome) => {
                            self.finish(outcome).await;
                            return Some(outcome);
                        }
                        AdmitterEffect::Admit(introduction) => {
                            let next = self.admit(&introduction).await;
                            more.extend(self.machine.step(clock::now_ms(), next));
                        }
                        effect => self.perform(effect, peer.as_ref()).await,
                    }
                }
                todo = more;
            }
            input = tokio::select! {
                next = inputs.recv() => match next? {
                    DeskInput::Said(bytes, answers) => {
                        peer = Some(answers);
                        AdmitterInput::Received(bytes)
                    }
                    DeskInput::Typed(digits, reply) => {
                        let _ = reply.send(Ok(()));
                        AdmitterInput::Typed(digits)
                    }
                    DeskInput::Cancel => AdmitterInput::Declined,
                },
                () = until(self.machine.deadline()) => AdmitterInput::DeadlinePassed,
                news = news_of(&self.identity, self.machine.admitted_device()) => news,
                // A code that nobody looks at any more is burned; an admission goes on.
                () = self.events.closed(), if watched => {
                    watched = false;
                    AdmitterInput::Declined
                }
            };
        }
    }

    async fn perform(&self, effect: AdmitterEffect, peer: Option<&mpsc::Sender<Vec<u8>>>) {
        match effect {
            AdmitterEffect::Persist(bytes) => {
                if let Err(error) = self.identity.home.write_note(ADMITTER_NOTE, &bytes) {
                    tracing::error!(%error, "cannot remember a step of linking");
                }
            }
            AdmitterEffect::ShowCode { code, expires_ms } => self.show(&code, expires_ms).await,
            AdmitterEffect::Send(bytes) => {
                if let Some(peer) = peer {
                    let _ = peer.send(bytes).await;
                }
            }
            AdmitterEffect::AskPerson { name, kind } => {
                let session = self.machine.session().unwrap_or_default();
                let session = session[..8].iter().map(|byte| format!("{byte:02x}")).collect();
                let kind = kind::to_api(kind);
                let address = String::new();
                let asking = LinkEvent::Asking { session, name, kind, address };
                let _ = self.events.send(asking).await;
            }
            AdmitterEffect::Admit(_) | AdmitterEffect::Finish(_) => {}
        }
    }

    async fn show(&self, code: &Code, expires_ms: u64) {
        let addresses = self.pod.addresses();
        let qr_text = Invitation::new(addresses.clone(), *code)
            .map_or_else(|_| code.to_string(), |invitation| invitation.to_string());
        let words = Secret(code.to_string());
        let qr_text = Secret(qr_text);
        let shown = LinkEvent::Code { words, qr_text, expires_ms, addresses };
        let _ = self.events.send(shown).await;
    }

    /// Lets the newcomer in by a control record, unless that was done before a crash.
    async fn admit(&self, introduction: &Introduction) -> AdmitterInput {
        let device = introduction.signing;
        let handle = &self.identity.handle;
        let known = handle.look(move |replica, _| replica.control().state().is_live(&device));
        let root = handle.look(|replica, _| replica.control().state().root()).await;
        let (Ok(known), Ok(root)) = (known.await, root) else { return AdmitterInput::NotAdmitted };
        if !known {
            let acceptance = Acceptance {
                root,
                signing: device,
                sealing: Some(introduction.sealing),
                kind: introduction.kind,
            };
            let (signature, name) = (introduction.acceptance, introduction.name.clone());
            let command = Command::Admit { acceptance, signature, name };
            if let Err(error) = handle.command(command).await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot admit a device");
                return AdmitterInput::NotAdmitted;
            }
        }
        match self.admission().await {
            Some(bytes) => AdmitterInput::Admitted(bytes),
            None => AdmitterInput::NotAdmitted,
        }
    }

    async fn admission(&self) -> Option<Vec<u8>> {
        let meta = self.identity.home.meta().ok()?;
        let (genesis, records) = control_log(&self.identity).await?;
        let me = self.identity.handle.device.to_string();
        let mut addresses = meta.addresses;
        addresses.insert(me, self.pod.addresses());
        let (name, kit_key_id) = (meta.name, meta.kit_key_id);
        let rest = Admission::default();
        encode(&Admission { genesis, records, name, kit_key_id, addresses, ..rest }).ok()
    }

    async fn finish(&self, outcome: AdmitterOutcome) {
        self.identity.home.remove_note(ADMITTER_NOTE);
        if let AdmitterOutcome::Linked(device) = outcome {
            let device = describe(&self.identity, device).await;
            let _ = self.events.send(LinkEvent::Linked { device }).await;
            self.identity.wake.notify_one();
        }
    }
}

/// What becomes of an admitted device, heard by any other way than linking: what it says last may
/// get lost with a process, and nobody says it again.
async fn news_of(identity: &Identity, admitted: Option<DeviceId>) -> AdmitterInput {
    let Some(device) = admitted else { return std::future::pending().await };
    let is_live = move |replica: &Replica| replica.control().state().is_live(&device);
    let is_here = move |replica: &Replica| {
        replica.status().peers.iter().any(|peer| peer.device == device && peer.greeted)
    };
    let heard = identity.handle.until(move |replica| is_here(replica) || !is_live(replica)).await;
    match (heard, identity.handle.look(move |replica, _| is_live(replica)).await) {
        (Ok(()), Ok(true)) => AdmitterInput::Heard,
        (Ok(()), Ok(false)) => AdmitterInput::Removed,
        // The identity is closing; linking goes on when it is opened again.
        _ => std::future::pending().await,
    }
}

/// The genesis and all control records of an identity.
pub async fn control_log(identity: &Identity) -> Option<(ByteBuf, Vec<ByteBuf>)> {
    let look = identity.handle.look(|replica, _| {
        let control = replica.control();
        let genesis = ByteBuf::from(control.genesis().to_bytes());
        let chain = control.chain_from(1).into_iter();
        (genesis, chain.map(|record| ByteBuf::from(record.to_bytes())).collect())
    });
    look.await.ok()
}

/// Joins the identity of the device that shows a code.
pub async fn join(
    pod: &Pod,
    request: JoinRequest,
    events: mpsc::Sender<JoinEvent>,
) -> Result<JoinAnswer, ApiError> {
    let (code, mut at) = parse_code(request.code.expose())?;
    at.extend(request.at);
    at.extend(crate::lan::linking_addresses(pod, !at.is_empty()).await);
    if at.is_empty() {
        return Err(ApiError::new(
            Problem::PEER_UNREACHABLE,
            "no address of the other device is known",
        )
        .hint("rhizome device join CODE --at HOST:PORT"));
    }
    let keys = DeviceKeys::from_bytes(&clock::random());
    let name = request.name.unwrap_or_else(|| "new device".to_owned());
    let kind = request.kind.map_or(rhizome_identity::DeviceKind::Laptop, kind::from_api);
    let machine = Newcomer::new(clock::now_ms(), code, &keys, &name, kind, &clock::random())
        .map_err(|error| ApiError::from_error(Problem::INVALID, &error))?;
    run_newcomer(pod, machine, at, events).await
}

/// A code as typed, or the text of a QR code, which brings addresses along.
fn parse_code(text: &str) -> Result<(Code, Vec<String>), ApiError> {
    let text = text.trim();
    if let Ok(invitation) = text.parse::<Invitation>() {
        return Ok((*invitation.code(), invitation.addresses().to_vec()));
    }
    let code = text.parse::<Code>();
    let code = code.map_err(|error| ApiError::from_error(Problem::INVALID, &error))?;
    Ok((code, Vec::new()))
}

async fn resume_join(
    pod: &Pod,
    bytes: &[u8],
    events: mpsc::Sender<JoinEvent>,
) -> Result<JoinAnswer, ApiError> {
    let saved: SavedJoining = decode(bytes).map_err(|error| unreadable(&error))?;
    let machine = Newcomer::from_bytes(&saved.machine)
        .map_err(|error| ApiError::from_error(Problem::DAMAGED, &error))?;
    run_newcomer(pod, machine, saved.at, events).await
}

/// Drives a newcomer's machine on its own: whoever asked may go away, and the trusted device may be
/// letting it in by then. A later attempt takes the place of one that still runs.
async fn run_newcomer(
    pod: &Pod,
    machine: Newcomer,
    at: Vec<String>,
    events: mpsc::Sender<JoinEvent>,
) -> Result<JoinAnswer, ApiError> {
    let mut running = pod.inner.link.newcomer.lock().await;
    if let Some(earlier) = running.take() {
        earlier.abort();
        // It has ended, one way or the other, before its file is written anew.
        let _ = earlier.await;
    }
    let (reply, answer) = oneshot::channel();
    let pod = pod.clone();
    *running = Some(tokio::spawn(async move {
        tokio::select! {
            joined = newcomer(&pod, machine, at, events) => {
                // Whoever asked may have gone away.
                let _ = reply.send(joined);
            }
            () = pod.asked_to_stop() => {}
        }
    }));
    drop(running);
    let interrupted = || ApiError::new(Problem::INTERRUPTED, "joining was interrupted");
    answer.await.map_err(|_| interrupted())?
}

async fn newcomer(
    pod: &Pod,
    machine: Newcomer,
    at: Vec<String>,
    events: mpsc::Sender<JoinEvent>,
) -> Result<JoinAnswer, ApiError> {
    let mut joining =
        JoiningTask { pod, machine, at, events, joined: None, line: None, dialled: String::new() };
    joining.run().await?;
    let identity = joining.joined.ok_or_else(|| {
        ApiError::new(Problem::INTERRUPTED, "linking ended before an identity was there")
    })?;
    let adopted = crate::adopt::adopt_earlier(pod, &identity).await?;
    identity.wake.notify_one();
    first_sync(&identity).await;
    plan_voters(&identity).await;
    let meta = identity.home.meta().map_err(|error| failed(&error))?;
    Ok(JoinAnswer {
        identity: rhizome_api::identity::Identity {
            id: identity.id().to_string(),
            name: meta.name,
            current: true,
            kit_key_id: meta.kit_key_id,
            kit_confirmed: true,
            locked: false,
        },
        device: describe(&identity, identity.handle.device).await,
        documents: count_documents(&identity).await,
        adopted,
    })
}

async fn count_documents(identity: &Identity) -> u64 {
    let documents = identity.handle.documents(crate::DEFAULT_APP);
    let mut count = 0;
    let index = identity.handle.index();
    let counted = documents.export_committed(index, &mut |_, _, _| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    });
    if counted.is_ok() { count } else { 0 }
}

/// Waits until everything a connected device offers is here, or the time is over.
async fn first_sync(identity: &Arc<Identity>) {
    let synced = identity.handle.until(|replica| {
        let status = replica.status();
        status.peers.iter().any(|peer| peer.greeted && peer.order_at <= status.applied.i)
            && status.applied == status.end
    });
    if tokio::time::timeout(FIRST_SYNC, synced).await.is_err() {
        tracing::info!("first synchronisation goes on in the background");
    }
}

type Line = (FrameSender, mpsc::Receiver<Vec<u8>>, Link);

/// Drives a newcomer's machine.
struct JoiningTask<'a> {
    pod: &'a Pod,
    machine: Newcomer,
    at: Vec<String>,
    events: mpsc::Sender<JoinEvent>,
    joined: Option<Arc<Identity>>,
    line: Option<Line>,
    /// The address at the other end of the line.
    dialled: String,
}

impl JoiningTask<'_> {
    async fn run(&mut self) -> Result<(), ApiError> {
        let mut input = NewcomerInput::Opened;
        loop {
            let mut todo = self.machine.step(clock::now_ms(), input);
            while !todo.is_empty() {
                let mut more = Vec::new();
                for effect in std::mem::take(&mut todo) {
                    match effect {
                        NewcomerEffect::Finish(outcome) => return self.finish(outcome),
                        NewcomerEffect::Join(joining) => {
                            self.joined = Some(self.store(*joining).await?);
                            let stored = NewcomerInput::Stored;
                            more.extend(self.machine.step(clock::now_ms(), stored));
                        }
                        effect => self.perform(effect).await?,
                    }
                }
                todo = more;
            }
            let deadline = self.machine.deadline();
            input = tokio::select! {
                said = hear(&mut self.line) => match said {
                    Some(bytes) if !self.is_stranger(&bytes) => NewcomerInput::Received(bytes),
                    _ => {
                        self.line = None;
                        until(deadline).await;
                        NewcomerInput::DeadlinePassed
                    }
                },
                () = until(deadline) => {
                    // What was not answered is said again over a new line: the trusted device may
                    // have started anew, and an old line would only be silent.
                    self.line = None;
                    NewcomerInput::DeadlinePassed
                }
            };
        }
    }

    async fn perform(&mut self, effect: NewcomerEffect) -> Result<(), ApiError> {
        match effect {
            NewcomerEffect::Persist(machine) => {
                let saved = SavedJoining::new(machine, self.at.clone());
                let bytes = encode(&saved).expect("bytes and text have a DAG-CBOR form");
                let path = self.pod.dir().join(NEWCOMER_FILE);
                rhizome_store::write_private(&path, &bytes)
                    .map_err(|error| ApiError::from_error(Problem::DISK, &error))
            }
            NewcomerEffect::Send(bytes) => {
                self.say(&bytes).await;
                Ok(())
            }
            NewcomerEffect::ShowDigits(digits) => {
                let _ = self.events.send(JoinEvent::Digits { digits }).await;
                Ok(())
            }
            NewcomerEffect::Join(_) | NewcomerEffect::Finish(_) => Ok(()),
        }
    }

    /// Whether this answer is a stranger's, who shows no code: other pods of the network were found
    /// as well. Then it is the turn of the next address, if there is one.
    fn is_stranger(&mut self, said: &[u8]) -> bool {
        let is = said == rhizome_identity::link::refusal(Refusal::NoSuchCode) && self.at.len() > 1;
        if is {
            self.at.retain(|address| *address != self.dialled);
        }
        is
    }

    /// Says something to the trusted device; what gets lost is said again by the machine.
    async fn say(&mut self, bytes: &[u8]) {
        if self.line.is_none() {
            let dialled = dial(self.pod, &self.at).await;
            self.line = dialled.map(|(line, address)| {
                self.dialled = address;
                line
            });
        }
        if let Some((sender, _, _)) = &mut self.line
            && (sender.send(bytes).await.is_err() || sender.flush().await.is_err())
        {
            self.line = None;
        }
    }

    /// Stores the identity that this device now belongs to.
    async fn store(&self, joining: Joining) -> Result<Arc<Identity>, ApiError> {
        let damaged = |error: &(dyn std::error::Error + 'static)| {
            ApiError::from_error(Problem::DAMAGED, error)
        };
        let admission: Admission =
            decode(&joining.admission).map_err(|error| misunderstood(&error))?;
        let genesis = Genesis::from_bytes(&admission.genesis).map_err(|error| damaged(&error))?;
        genesis.verify().map_err(|error| damaged(&error))?;
        if genesis.identity_id() != joining.identity {
            let message = "the other device handed over another identity than it named";
            return Err(ApiError::new(Problem::PEER_REFUSED, message));
        }
        let home = self.pod.inner.home.identity(&joining.identity);
        if home.genesis().is_err() {
            let meta = IdentityMeta {
                name: admission.name.clone(),
                kit_key_id: admission.kit_key_id.clone(),
                kit_confirmed_ms: Some(0),
                addresses: admission.addresses.clone(),
                ..IdentityMeta::default()
            };
            let keys = KeyFile { device: self.machine.keys(), kit: None };
            self.pod.inner.home.create(&genesis, &keys, &meta).map_err(|error| failed(&error))?;
        }
        home.write_note(ADMISSION_NOTE, &joining.admission).map_err(|error| failed(&error))?;
        self.pod.admit(&home).map_err(|error| failed(&error))?;
        let identity = self.pod.open(&home).map_err(|error| failed(&error))?;
        take_admission(&identity, &joining.admission).await?;
        Ok(identity)
    }

    fn finish(&self, outcome: NewcomerOutcome) -> Result<(), ApiError> {
        if let Err(error) = std::fs::remove_file(self.pod.dir().join(NEWCOMER_FILE)) {
            tracing::debug!(%error, "no file of the linking machine to remove");
        }
        match outcome {
            NewcomerOutcome::Linked => Ok(()),
            NewcomerOutcome::Refused(why) => Err(refused(why)),
            NewcomerOutcome::Silence => {
                Err(ApiError::new(Problem::LINK_EXPIRED, "the other device did not answer in time"))
            }
            NewcomerOutcome::Cancelled => {
                Err(ApiError::new(Problem::INTERRUPTED, "linking was cancelled"))
            }
        }
    }
}

/// Takes the control records of an admission in and chooses the identity.
async fn take_admission(identity: &Arc<Identity>, bytes: &[u8]) -> Result<(), ApiError> {
    let admission: Admission = decode(bytes).map_err(|error| unreadable(&error))?;
    for bytes in &admission.records {
        let record = ControlRecord::from_bytes(bytes)
            .map_err(|error| ApiError::from_error(Problem::DAMAGED, &error))?;
        let taken = identity.handle.command(Command::Take(Box::new(record))).await;
        if let Err(error) = taken {
            tracing::debug!(error = &error as &dyn std::error::Error, "a record is not taken");
        }
    }
    identity.home.remove_note(ADMISSION_NOTE);
    identity.wake.notify_one();
    Ok(())
}

async fn dial(pod: &Pod, at: &[String]) -> Option<(Line, String)> {
    for address in at {
        let Ok(parsed) = address.parse::<PeerAddress>() else { continue };
        for socket in parsed.resolve().await.unwrap_or_default() {
            let seed = *pod.inner.transport.secret();
            let dialled = pod.inner.endpoint.connect(socket, LINK_NAME, seed, Expect::Any);
            let link = match dialled.await {
                Ok(link) => link,
                Err(error) => {
                    tracing::debug!(%socket, %error, "cannot reach the other device");
                    continue;
                }
            };
            let Ok((sender, mut receiver)) = link.open(LINK_STREAM).await else { continue };
            let (said, queue) = mpsc::channel(INPUTS_MAX);
            tokio::spawn(async move {
                while let Ok(Some(bytes)) = receiver.receive().await {
                    if said.send(bytes.to_vec()).await.is_err() {
                        return;
                    }
                }
            });
            return Some(((sender, queue, link), address.clone()));
        }
    }
    None
}

async fn hear(line: &mut Option<Line>) -> Option<Vec<u8>> {
    match line {
        Some((_, queue, _)) => queue.recv().await,
        None => std::future::pending().await,
    }
}

/// Resolves at a deadline, or never.
async fn until(deadline_ms: Option<u64>) {
    match deadline_ms {
        Some(at) => {
            let left = at.saturating_sub(clock::now_ms());
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
        None => std::future::pending().await,
    }
}

/// What is known of a device without asking anybody.
pub async fn describe(identity: &Identity, device: DeviceId) -> Device {
    let look = identity.handle.look(move |replica, _| {
        let state = replica.control().state();
        let away = state.device(&device)?.dormant;
        let known = state.device(&device)?.certificate.body().clone();
        let name = replica.keys().open_name(&known.name_sealed).unwrap_or_default();
        let votes = state.voters().contains(&device);
        let votes = (votes, state.voters().len());
        Some((name, known.kind, known.sealing.is_some(), votes, away))
    });
    let known = look.await.ok().flatten();
    let meta = identity.home.meta().unwrap_or_default();
    let Some((name, device_kind, trusted, votes, away)) = known else {
        return Device { id: device.to_string(), ..Device::default() };
    };
    let id = device.to_string();
    let heard = meta.heard_ms.get(&id).copied();
    Device {
        name,
        kind: kind::to_api(device_kind),
        this: device == identity.handle.device,
        trusted,
        role: match votes {
            (true, 1) => Role::Orders,
            (true, _) => Role::Votes,
            (false, _) => Role::Follows,
        },
        connected: identity.links().contains_key(&device),
        last_heard_ms: heard,
        behind: None,
        holds_all: false,
        away,
        id,
    }
}

/// A file of this pod cannot be read.
fn unreadable(error: &CborError) -> ApiError {
    let newer = matches!(error, CborError::Version { .. });
    ApiError::from_error(if newer { Problem::FORMAT } else { Problem::DAMAGED }, error)
}

fn refused(why: Refusal) -> ApiError {
    ApiError::from_error(Problem::LINK_REFUSED, &why)
}

/// An error of the pod itself, for the API.
pub fn failed(error: &(dyn std::error::Error + 'static)) -> ApiError {
    ApiError::from_error(Problem::INTERNAL, error)
}

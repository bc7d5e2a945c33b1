//! The recovery kit: showing it, confirming it, rehearsing it, and bringing everything back.
//!
//! A machine with nothing but the words asks a cloud peer, proves that it holds the kit, and gets
//! the control log and the newest checkpoint as ciphertext. The kit opens the epochs' secrets and
//! admits this machine as a new device; documents come newest first; then the device synchronises
//! like any other. What was fetched is durable, so an interrupted restore goes on where it was.

use crate::clock;
use crate::conversation::{RecoverMessage, hear, say};
use crate::home::{IdentityHome, IdentityMeta, KeyFile};
use crate::identity::Identity;
use crate::kind;
use crate::link::{describe, failed};
use crate::methods::device::remove_by_kit;
use crate::methods::facts::meant;
use crate::peers::plan_voters;
use crate::pod::{Pod, RECOVER_NAME};
use crate::snapshot::{BLOCKS_AT_ONCE, Checkpoint, DOCUMENTS_MAX, open, supply};
use rhizome_api::identity::Identity as ApiIdentity;
use rhizome_api::recovery::{
    ConfirmAnswer, ConfirmRequest, KitAnswer, RestoreAnswer, RestoreEvent, RestoreProgress,
    RestoreRequest, TestAnswer, TestEvent, TestRequest,
};
use rhizome_api::{ApiError, Problem, Secret};
use rhizome_block::prolly::Reader;
use rhizome_block::{Block, Cid};
use rhizome_doc::Documents;
use rhizome_identity::{
    ControlLog, ControlRecord, DeviceId, DeviceKeys, DeviceKind, Genesis, RecoveryKit,
    SigningPublic, verify,
};
use rhizome_log::Overlay;
use rhizome_net::{Expect, FrameReceiver, FrameSender, Incoming, Link, PeerAddress, PeerInvite};
use rhizome_replica::{Command, Manifest, PinPurpose, ReplicaKeys, recovery_record};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Kind of the stream that carries this conversation.
const RECOVER_STREAM: u8 = 6;

const SIGN_DOMAIN: &str = "recover";

/// How long it waits for the place of the removals of lost devices before it answers without.
const PLACE_WAIT: Duration = Duration::from_secs(10);

/// Fewest characters that stand for a device's id: a name is rarely so long by chance.
const ID_START_MIN: usize = 8;

/// How long a restored device is given to fetch what came after the checkpoint.
const TAIL_WAIT: Duration = Duration::from_secs(300);

/// Shows the kit, while its seed is still here.
pub async fn kit(pod: &Pod) -> Result<KitAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let kit = identity.home.kit().map_err(|error| failed(&error))?;
    let wiped = || ApiError::new(Problem::KIT_WIPED, "the kit is no longer on this device");
    let kit = kit.ok_or_else(wiped)?;
    let meta = identity.home.meta().map_err(|error| failed(&error))?;
    let positions = RecoveryKit::check_positions(clock::random());
    let mut peers: Vec<String> = meta.addresses.into_values().flatten().collect();
    peers.sort();
    peers.dedup();
    Ok(KitAnswer {
        identity: meta.name,
        words: Secret(kit.words().join(" ")),
        code: Secret(kit.code().to_string()),
        key_id: kit.key_id().to_string(),
        check_positions: positions.iter().map(|position| *position as u64).collect(),
        peers,
    })
}

/// Checks words the person wrote down; then the seed is wiped from this device.
pub async fn confirm(pod: &Pod, request: ConfirmRequest) -> Result<ConfirmAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let mut keys = identity.home.keys().map_err(|error| failed(&error))?;
    let kit = keys
        .kit
        .map(RecoveryKit::from_entropy)
        .ok_or_else(|| ApiError::new(Problem::KIT_WIPED, "the kit was confirmed before"))?;
    let right = request.answers.len() >= rhizome_identity::KIT_CHECK_WORDS
        && request.answers.iter().all(|answer| {
            usize::try_from(answer.position)
                .is_ok_and(|position| kit.has_word(position, answer.word.expose()))
        });
    if !right {
        let message = "the words typed are not those of the kit";
        return Err(ApiError::new(Problem::KIT_ANSWERS, message).hint("rhizome recovery kit"));
    }
    let confirmed_ms = clock::now_ms();
    keys.kit = None;
    identity.home.write_keys(&keys).map_err(|error| failed(&error))?;
    let noted = identity.home.change_meta(|meta| meta.kit_confirmed_ms = Some(confirmed_ms));
    noted.map_err(|error| failed(&error))?;
    Ok(ConfirmAnswer { key_id: kit.key_id().to_string(), confirmed_ms })
}

/// A conversation with a cloud peer that knows the kit.
struct Conversation {
    sender: FrameSender,
    receiver: FrameReceiver,
    address: PeerAddress,
    _link: Link,
}

/// What a cloud peer knows of the kit's identity.
struct Found {
    control: ControlLog,
    records: Vec<ByteBuf>,
    manifests: Vec<(Cid, ByteBuf)>,
    device: DeviceId,
}

impl Conversation {
    async fn open(pod: &Pod, address: &str, kit: &RecoveryKit) -> Result<(Self, Found), ApiError> {
        let (address, expect) = parse(address)?;
        let unreachable =
            || ApiError::new(Problem::PEER_UNREACHABLE, format!("cannot reach {address}"));
        let sockets = address.resolve().await;
        let sockets = sockets.map_err(|error| unreachable().caused_by(&error))?;
        let mut last = None;
        for socket in sockets {
            let seed: [u8; 32] = clock::random();
            match pod.inner.endpoint.connect(socket, RECOVER_NAME, seed, expect).await {
                Ok(link) => return Self::begin(link, address, kit).await,
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(cause) => unreachable().caused_by(&cause),
            None => unreachable(),
        })
    }

    async fn begin(
        link: Link,
        address: PeerAddress,
        kit: &RecoveryKit,
    ) -> Result<(Self, Found), ApiError> {
        let host = link.peer();
        let opened = link.open(RECOVER_STREAM).await;
        let (sender, receiver) =
            opened.map_err(|error| ApiError::from_error(Problem::PEER_UNREACHABLE, &error))?;
        let mut one = Self { sender, receiver, address, _link: link };
        one.say(RecoverMessage::Ask { recovery: kit.recovery().public() }).await?;
        let RecoverMessage::Challenge { nonce } = one.hear().await? else {
            return Err(one.odd());
        };
        let signature = kit.recovery().sign(SIGN_DOMAIN, &proven(&nonce, &host));
        one.say(RecoverMessage::Proof { signature }).await?;
        let RecoverMessage::Found { genesis, records, manifests, device } = one.hear().await?
        else {
            return Err(one.odd());
        };
        let refused = |error: &(dyn std::error::Error + 'static)| {
            ApiError::from_error(Problem::PEER_REFUSED, error)
        };
        let genesis = Genesis::from_bytes(&genesis).map_err(|error| refused(&error))?;
        genesis.verify().map_err(|error| refused(&error))?;
        if genesis.root() != kit.root().public() {
            let message = "the host answered with another identity";
            return Err(ApiError::new(Problem::KIT_OTHER, message));
        }
        let mut control = ControlLog::new(genesis);
        for bytes in &records {
            let record = ControlRecord::from_bytes(bytes).map_err(|error| refused(&error))?;
            control.insert(record).map_err(|error| refused(&error))?;
        }
        let named = |bytes: ByteBuf| (Cid::of(rhizome_block::Codec::DagCbor, &bytes), bytes);
        let manifests = manifests.into_iter().map(named).collect();
        Ok((one, Found { control, records, manifests, device }))
    }

    fn odd(&self) -> ApiError {
        ApiError::new(Problem::PEER_REFUSED, format!("{} answered something odd", self.address))
    }

    async fn say(&mut self, m: RecoverMessage) -> Result<(), ApiError> {
        say(&mut self.sender, &m).await
    }

    async fn hear(&mut self) -> Result<RecoverMessage, ApiError> {
        match hear(&mut self.receiver).await? {
            RecoverMessage::Refused { why } => Err(ApiError::new(Problem::KIT_OTHER, why)),
            message => Ok(message),
        }
    }

    async fn blocks(&mut self, cids: Vec<Cid>) -> Result<Vec<Block>, ApiError> {
        self.say(RecoverMessage::Want { cids }).await?;
        let RecoverMessage::Blocks { blocks } = self.hear().await? else {
            return Err(self.odd());
        };
        let blocks: Vec<Block> =
            blocks.into_iter().map(|(cid, bytes)| Block { cid, bytes: bytes.into_vec() }).collect();
        if blocks.iter().all(Block::holds) {
            Ok(blocks)
        } else {
            Err(ApiError::new(Problem::PEER_REFUSED, "the host sent bytes under a wrong name"))
        }
    }
}

fn parse(address: &str) -> Result<(PeerAddress, Expect), ApiError> {
    if let Ok(invite) = address.parse::<PeerInvite>() {
        return Ok((invite.address, Expect::Key(invite.key)));
    }
    let parsed = address.parse::<PeerAddress>();
    Ok((parsed.map_err(|error| ApiError::from_error(Problem::INVALID, &error))?, Expect::Any))
}

/// What the kit signs: the nonce, and the key of the host that asked, so that the proof cannot be
/// carried to another.
fn proven(nonce: &[u8], host: &DeviceId) -> Vec<u8> {
    [nonce, &host.0].concat()
}

/// Reads the words or the code of a kit.
pub fn parse_kit(words: &Secret) -> Result<RecoveryKit, ApiError> {
    RecoveryKit::parse(words.expose())
        .map_err(|error| ApiError::from_error(Problem::KIT_WORDS, &error))
}

/// Keys that open what is wrapped to the kit; the signing half is of nobody.
fn kit_keys(kit: &RecoveryKit, control: &ControlLog) -> ReplicaKeys {
    let mut bytes = [0; DeviceKeys::BYTES];
    bytes[..32].copy_from_slice(&clock::random::<32>());
    bytes[32..].copy_from_slice(&*kit.sealing_secret());
    let root = control.genesis().root();
    let mut keys = ReplicaKeys::trusted(root, DeviceKeys::from_bytes(&bytes));
    keys.learn(control.state());
    keys
}

/// The newest checkpoint that opens with these keys.
fn newest(found: &Found, keys: &ReplicaKeys) -> Option<(Cid, Checkpoint)> {
    found.manifests.iter().rev().find_map(|(cid, bytes)| {
        let manifest = Manifest::read(bytes).ok()?;
        found.control.state().device(&manifest.author)?;
        Some((*cid, open(keys, &manifest).ok()?))
    })
}

/// Reads a checkpoint from the host, newest documents first.
async fn read_checkpoint(
    conversation: &mut Conversation,
    checkpoint: &Checkpoint,
    target: Option<&Identity>,
    progress: &mut (dyn FnMut(RestoreProgress) + Send),
) -> Result<(u64, u64), ApiError> {
    let (mut documents, mut bytes) = (0, 0);
    for (app, root) in &checkpoint.apps {
        let newest_ms = Some(root.newest);
        let mut reader = Reader::new(*root, DOCUMENTS_MAX).map_err(|error| failed(&error))?;
        while !reader.is_done() {
            let blocks = fetch(conversation, target, reader.wanted(BLOCKS_AT_ONCE)).await?;
            let mut records = Vec::new();
            for block in &blocks {
                bytes += block.bytes.len() as u64;
                let found = supply(&mut reader, &block.cid, &block.bytes)
                    .map_err(|error| ApiError::from_error(Problem::DAMAGED, &error))?;
                records.extend(found.into_iter().map(|found| (found.key, found.value)));
            }
            documents += records.len() as u64;
            if let Some(identity) = target {
                let app = app.clone();
                let take_in = move |overlay: &mut Overlay<'_>| {
                    let documents = Documents::new(&app);
                    let mut records = records.iter();
                    records.try_for_each(|(key, bytes)| {
                        documents.import_committed(overlay, key, bytes).map(drop)
                    })
                };
                identity.handle.edit(take_in).await.map_err(|error| failed(&error))?;
            }
            let documents_total = Some(checkpoint.documents);
            let bytes_total = None;
            progress(RestoreProgress { documents, documents_total, bytes, bytes_total, newest_ms });
        }
    }
    Ok((documents, bytes))
}

/// Blocks from this disk where an interrupted restore left them, else from the host.
async fn fetch(
    conversation: &mut Conversation,
    target: Option<&Identity>,
    wanted: Vec<Cid>,
) -> Result<Vec<Block>, ApiError> {
    let mut here = Vec::new();
    let mut missing = Vec::new();
    for cid in wanted {
        let block = match target {
            Some(identity) => identity.handle.block(cid).await.map_err(|error| failed(&error))?,
            None => None,
        };
        match block {
            Some(bytes) => here.push(Block { cid, bytes }),
            None => missing.push(cid),
        }
    }
    if missing.is_empty() {
        return Ok(here);
    }
    let count = missing.len();
    let blocks = conversation.blocks(missing).await?;
    if blocks.len() < count {
        return Err(ApiError::new(Problem::DAMAGED, "the host lacks blocks of the checkpoint"));
    }
    if let Some(identity) = target {
        identity.handle.keep(blocks.clone()).await.map_err(|error| failed(&error))?;
    }
    here.extend(blocks);
    Ok(here)
}

/// Rehearses a recovery: reads the newest checkpoint with the kit and compares, changing nothing.
pub async fn test(
    pod: &Pod,
    request: TestRequest,
    events: mpsc::Sender<TestEvent>,
) -> Result<TestAnswer, ApiError> {
    let started = Instant::now();
    let identity = pod.current().map_err(|error| failed(&error))?;
    let kit = match &request.words {
        Some(words) => parse_kit(words)?,
        None => identity.home.kit().map_err(|error| failed(&error))?.ok_or_else(|| {
            ApiError::new(Problem::KIT_WIPED, "the kit is no longer on this device: type its words")
                .hint("rhizome recovery test --words-file FILE")
        })?,
    };
    let meta = identity.home.meta().map_err(|error| failed(&error))?;
    let mut last = None;
    for address in meta.addresses.values().flatten() {
        match Conversation::open(pod, address, &kit).await {
            Ok((mut conversation, found)) => {
                let keys = kit_keys(&kit, &found.control);
                let Some((_, checkpoint)) = newest(&found, &keys) else {
                    let message = "the host holds no checkpoint yet";
                    let error = ApiError::new(Problem::NOT_FOUND, message);
                    return Err(error.hint("rhizome snapshot create"));
                };
                let mut tell = |progress| {
                    let _ = events.try_send(TestEvent::Progress(progress));
                };
                let read = read_checkpoint(&mut conversation, &checkpoint, None, &mut tell);
                let (documents, _) = read.await?;
                let here = identity.handle.look(|replica, _| replica.applied().i).await;
                let here = here.map_err(|error| failed(&error))?;
                return Ok(TestAnswer {
                    complete: documents == checkpoint.documents,
                    documents,
                    documents_here: checkpoint.documents,
                    from: address.clone(),
                    took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    newer_here: here.saturating_sub(checkpoint.base.seen.i),
                });
            }
            Err(error) => last = Some(error),
        }
    }
    let none = || ApiError::new(Problem::PEER_UNREACHABLE, "no cloud peer is known");
    Err(last.unwrap_or_else(|| none().hint("rhizome peer add ADDRESS")))
}

/// Brings everything back.
pub async fn restore(
    pod: &Pod,
    request: RestoreRequest,
    events: mpsc::Sender<RestoreEvent>,
) -> Result<RestoreAnswer, ApiError> {
    let started = Instant::now();
    let kit = parse_kit(&request.words)?;
    let (mut conversation, found) = Conversation::open(pod, &request.peer, &kit).await?;
    let keys = kit_keys(&kit, &found.control);
    let checkpoint = newest(&found, &keys);
    let called = checkpoint.as_ref().map(|(_, checkpoint)| checkpoint.name.clone());
    let called = called.unwrap_or_else(|| "recovered".to_owned());
    let told = RestoreEvent::Found {
        name: called.clone(),
        devices: devices(&found, &keys),
        last_change_ms: checkpoint.as_ref().map(|(_, checkpoint)| checkpoint.made_ms),
    };
    // A client that went away does not stop a restore.
    let _ = events.send(told).await;
    if request.dry_run {
        let identity = ApiIdentity {
            id: found.control.state().identity().to_string(),
            kit_key_id: kit.key_id().to_string(),
            ..ApiIdentity::default()
        };
        return Ok(RestoreAnswer { identity, ..RestoreAnswer::default() });
    }
    let gone = named(&found, &keys, &request.retire)?;
    let identity = prepare(pod, &kit, &found, &called).await?;
    admit(&identity, &kit, &request, &mut conversation).await?;
    let (mut documents, mut bytes) = (0, 0);
    let mut newest_ms = None;
    if let Some((manifest, checkpoint)) = &checkpoint {
        newest_ms = checkpoint.apps.iter().map(|(_, root)| root.newest).max();
        let mut tell = |progress| {
            let _ = events.try_send(RestoreEvent::Progress(progress));
        };
        let read = read_checkpoint(&mut conversation, checkpoint, Some(&identity), &mut tell);
        (documents, bytes) = read.await?;
        begin(&identity, &found, *manifest, checkpoint).await?;
    }
    follow(&identity, &found, &conversation).await?;
    let retired = retire(&identity, &kit, gone).await?;
    plan_voters(&identity).await;
    let done = identity.home.change_meta(|meta| meta.restoring = None);
    done.map_err(|error| failed(&error))?;
    let meta = identity.home.meta().map_err(|error| failed(&error))?;
    Ok(RestoreAnswer {
        identity: ApiIdentity {
            id: identity.id().to_string(),
            name: meta.name,
            current: true,
            kit_key_id: kit.key_id().to_string(),
            kit_confirmed: true,
            locked: false,
        },
        device: Some(describe(&identity, identity.handle.device).await),
        documents,
        bytes,
        retired,
        newest_ms,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The devices of the identity, with the names the kit can open.
fn devices(found: &Found, keys: &ReplicaKeys) -> Vec<rhizome_api::device::Device> {
    let state = found.control.state();
    let device = |(id, one): (DeviceId, &rhizome_identity::Device)| {
        let body = one.certificate.body();
        rhizome_api::device::Device {
            id: id.to_string(),
            name: keys.open_name(&body.name_sealed).unwrap_or_default(),
            kind: kind::to_api(body.kind),
            trusted: body.sealing.is_some(),
            ..rhizome_api::device::Device::default()
        }
    };
    state.devices().filter(|(_, one)| one.is_live()).map(device).collect()
}

/// The folder of the identity: a new one, or that of a restore that was interrupted.
async fn prepare(
    pod: &Pod,
    kit: &RecoveryKit,
    found: &Found,
    name: &str,
) -> Result<Arc<Identity>, ApiError> {
    let genesis = found.control.genesis();
    let home: IdentityHome = pod.inner.home.identity(&genesis.identity_id());
    if home.genesis().is_err() {
        let meta = IdentityMeta {
            name: name.to_owned(),
            kit_key_id: kit.key_id().to_string(),
            kit_confirmed_ms: Some(clock::now_ms()),
            restoring: Some("checkpoint".to_owned()),
            ..IdentityMeta::default()
        };
        let keys = KeyFile { device: DeviceKeys::from_bytes(&clock::random()), kit: None };
        pod.inner.home.create(genesis, &keys, &meta).map_err(|error| failed(&error))?;
    } else if home.meta().is_ok_and(|meta| meta.restoring.is_none()) {
        let message = "this identity is on this machine already";
        return Err(ApiError::new(Problem::EXISTS, message).hint("rhizome status"));
    }
    pod.choose(&genesis.identity_id()).map_err(|error| failed(&error))?;
    pod.admit(&home).map_err(|error| failed(&error))?;
    let identity = pod.open(&home).map_err(|error| failed(&error))?;
    for bytes in &found.records {
        let record = ControlRecord::from_bytes(bytes)
            .map_err(|error| ApiError::from_error(Problem::DAMAGED, &error))?;
        let taken = identity.handle.command(Command::Take(Box::new(record))).await;
        taken.map_err(|error| ApiError::from_error(Problem::DAMAGED, &error))?;
    }
    Ok(identity)
}

/// The kit lets this device in, here and at the host.
async fn admit(
    identity: &Identity,
    kit: &RecoveryKit,
    request: &RestoreRequest,
    conversation: &mut Conversation,
) -> Result<(), ApiError> {
    let me = identity.handle.device;
    let known = identity.handle.look(move |replica, _| {
        let known = replica.control().state().is_live(&me);
        (known, replica.control().clone())
    });
    let (known, control) = known.await.map_err(|error| failed(&error))?;
    if known {
        return Ok(());
    }
    let device = identity.home.keys().map_err(|error| failed(&error))?.device;
    let name = request.name.clone().unwrap_or_else(|| "recovered device".to_owned());
    let device_kind = request.kind.map_or(DeviceKind::Laptop, kind::from_api);
    let now = (clock::now_ms(), clock::random());
    let record = recovery_record(&control, kit, &device, &name, (device_kind, None), now)
        .map_err(|error| ApiError::from_error(Problem::KIT_OTHER, &error))?;
    let bytes = ByteBuf::from(record.to_bytes());
    conversation.say(RecoverMessage::Admit { record: bytes }).await?;
    let RecoverMessage::Admitted = conversation.hear().await? else {
        return Err(conversation.odd());
    };
    let taken = identity.handle.command(Command::Take(Box::new(record))).await;
    taken.map_err(|error| ApiError::from_error(Problem::NOT_PERMITTED, &error))?;
    Ok(())
}

/// Begins at the checkpoint whose documents are here now.
async fn begin(
    identity: &Identity,
    found: &Found,
    manifest: Cid,
    checkpoint: &Checkpoint,
) -> Result<(), ApiError> {
    let begun = identity.handle.look(|replica, _| replica.applied().i > 0).await;
    if begun.map_err(|error| failed(&error))? {
        return Ok(());
    }
    let bytes = found.manifests.iter().find(|(cid, _)| *cid == manifest);
    let Some((cid, bytes)) = bytes else { return Ok(()) };
    let block = Block { cid: *cid, bytes: bytes.clone().into_vec() };
    identity.handle.keep(vec![block]).await.map_err(|error| failed(&error))?;
    let mut base = checkpoint.base.clone();
    base.manifest = Some(manifest);
    identity.handle.begin(base).await.map_err(|error| failed(&error))?;
    Ok(())
}

/// Connects to the host as the new device and waits for what came after the checkpoint.
async fn follow(
    identity: &Arc<Identity>,
    found: &Found,
    conversation: &Conversation,
) -> Result<(), ApiError> {
    let (host, address) = (found.device.to_string(), conversation.address.to_string());
    let noted = identity.home.change_meta(|meta| {
        meta.addresses.insert(host, vec![address]);
    });
    noted.map_err(|error| failed(&error))?;
    identity.wake.notify_one();
    let synced = identity.handle.until(|replica| {
        let status = replica.status();
        let told = status.peers.iter().any(|peer| peer.greeted && peer.order_at <= status.end.i);
        told && status.applied == status.end && status.end.i > 0
    });
    match tokio::time::timeout(TAIL_WAIT, synced).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(_) => {
            let message = "the host does not send what came after the checkpoint";
            Err(ApiError::new(Problem::NOT_CONFIRMED, message).hint("rhizome status"))
        }
    }
}

/// The devices that are meant by names or ids, before anything is changed. Those that an earlier
/// attempt removed are among them.
fn named(
    found: &Found,
    keys: &ReplicaKeys,
    wanted: &[String],
) -> Result<Vec<(DeviceId, String)>, ApiError> {
    let known: Vec<(DeviceId, String)> = found
        .control
        .state()
        .devices()
        .map(|(id, one)| {
            (id, keys.open_name(&one.certificate.body().name_sealed).unwrap_or_default())
        })
        .collect();
    let mut named = Vec::new();
    for text in wanted {
        let found = meant(known.iter(), text, ID_START_MIN, |(id, name)| (id, name));
        match found.as_slice() {
            [one] => named.push((*one).clone()),
            several => {
                let count = several.len();
                let message = format!("{count} devices are called `{text}`; --dry-run lists them");
                return Err(ApiError::new(Problem::UNKNOWN_NAME, message));
            }
        }
    }
    Ok(named)
}

/// Removes the devices that are lost. The kit signs: an identity whose devices are lost may not
/// have the signatures that removing one of them takes.
async fn retire(
    identity: &Identity,
    kit: &RecoveryKit,
    gone: Vec<(DeviceId, String)>,
) -> Result<Vec<String>, ApiError> {
    let mut retired = Vec::new();
    for (device, name) in gone {
        let live = identity.handle.look(move |replica, _| {
            device != replica.device() && replica.control().state().is_live(&device)
        });
        if live.await.map_err(|error| failed(&error))? {
            remove_by_kit(identity, device, kit).await?;
        }
        retired.push(name);
    }
    let placed = identity.handle.until(|replica| replica.status().control_waiting == 0);
    if !matches!(tokio::time::timeout(PLACE_WAIT, placed).await, Ok(Ok(()))) {
        tracing::info!("the removal of devices has no place in the order yet");
    }
    Ok(retired)
}

/// Answers somebody who says they hold a kit.
pub async fn answer(pod: Pod, incoming: Incoming) {
    let Ok((RECOVER_STREAM, mut sender, mut receiver)) = incoming.link.accept_stream().await else {
        return;
    };
    if let Err(error) = converse(&pod, &mut sender, &mut receiver).await {
        tracing::info!(%error, "a recovery ended");
        let _ = say(&mut sender, &RecoverMessage::Refused { why: error.to_string() }).await;
    }
    let _ = sender.finish().await;
    incoming.link.closed().await;
}

async fn converse(
    pod: &Pod,
    sender: &mut FrameSender,
    receiver: &mut FrameReceiver,
) -> Result<(), ApiError> {
    let RecoverMessage::Ask { recovery } = hear(receiver).await? else {
        return Err(ApiError::new(Problem::PEER_REFUSED, "a recovery begins with a question"));
    };
    // Whether the kit is known here is not told before it is proven.
    let nonce: [u8; 32] = clock::random();
    say(sender, &RecoverMessage::Challenge { nonce: ByteBuf::from(nonce.to_vec()) }).await?;
    let RecoverMessage::Proof { signature } = hear(receiver).await? else {
        return Err(ApiError::new(Problem::PEER_REFUSED, "a proof was expected"));
    };
    let host = pod.inner.transport.device_id();
    verify(&recovery.0, SIGN_DOMAIN, &proven(&nonce, &host), &signature)
        .map_err(|error| ApiError::from_error(Problem::PEER_REFUSED, &error))?;
    let identity = hosted_by(pod, &recovery)?;
    say(sender, &found(&identity).await?).await?;
    while let Ok(message) = hear(receiver).await {
        match message {
            RecoverMessage::Want { cids } => {
                let mut blocks = Vec::new();
                for cid in cids.into_iter().take(BLOCKS_AT_ONCE) {
                    let block = identity.handle.block(cid).await.map_err(|e| failed(&e))?;
                    blocks.extend(block.map(|block| (cid, ByteBuf::from(block))));
                }
                say(sender, &RecoverMessage::Blocks { blocks }).await?;
            }
            RecoverMessage::Admit { record } => {
                let record = ControlRecord::from_bytes(&record)
                    .map_err(|error| ApiError::from_error(Problem::PEER_REFUSED, &error))?;
                let taken = identity.handle.command(Command::Take(Box::new(record))).await;
                taken.map_err(|error| ApiError::from_error(Problem::PEER_REFUSED, &error))?;
                say(sender, &RecoverMessage::Admitted).await?;
            }
            _ => return Err(ApiError::new(Problem::PEER_REFUSED, "that was not asked for")),
        }
    }
    Ok(())
}

fn hosted_by(pod: &Pod, recovery: &SigningPublic) -> Result<Arc<Identity>, ApiError> {
    let homes = pod.inner.home.identities().map_err(|error| failed(&error))?;
    let is_theirs = |home: &&IdentityHome| {
        home.genesis().is_ok_and(|genesis| genesis.recovery_sign() == *recovery)
    };
    let home = homes.iter().find(is_theirs).ok_or_else(|| {
        ApiError::new(Problem::KIT_OTHER, "no identity of this kit is hosted here")
    })?;
    pod.open(home).map_err(|error| failed(&error))
}

async fn found(identity: &Identity) -> Result<RecoverMessage, ApiError> {
    let closed = || ApiError::new(Problem::INTERNAL, "the identity is closed");
    let (genesis, records) = crate::link::control_log(identity).await.ok_or_else(closed)?;
    let look = identity.handle.look(rhizome_replica::Replica::pins);
    let pins = look.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let mut snapshots: Vec<(rhizome_log::Seen, Cid)> = pins
        .into_iter()
        .filter(|(_, (manifest, _))| manifest.purpose == PinPurpose::Snapshot)
        .map(|(cid, (manifest, _))| (manifest.seen, cid))
        .collect();
    snapshots.sort();
    let mut manifests = Vec::new();
    // The newest two: one may be of a device whose epoch the kit cannot open yet.
    for (_, cid) in snapshots.iter().rev().take(2).rev() {
        let block = identity.handle.block(*cid).await.map_err(|error| failed(&error))?;
        manifests.extend(block.map(ByteBuf::from));
    }
    let device = identity.handle.device;
    Ok(RecoverMessage::Found { genesis, records, manifests, device })
}

//! Becoming somebody's cloud peer, and asking to have one.
//!
//! The asking device shows the genesis and control log, which hold no contents; the host makes a
//! device key for this one identity and accepts with it; the asking device admits that key by a
//! control record. A host answers only if its pod was started for hosting.

use crate::clock;
use crate::conversation::{HostMessage, hear, say};
use crate::home::{IdentityMeta, KeyFile};
use crate::identity::Identity;
use crate::link::{control_log, describe, failed};
use crate::pod::{HOST_NAME, Pod, PodError};
use rhizome_api::peer::{AddAnswer, Peer};
use rhizome_api::{ApiError, Problem};
use rhizome_identity::{Acceptance, ControlRecord, DeviceId, DeviceKeys, DeviceKind, Genesis};
use rhizome_net::{Expect, FrameReceiver, FrameSender, Incoming, Link, PeerAddress, PeerInvite};
use rhizome_replica::Command;
use serde_bytes::ByteBuf;

/// Kind of the stream that carries this conversation.
const HOST_STREAM: u8 = 5;

/// What a host can see, for the person to know before it happens.
const SEES: &[&str] = &["your IP address", "when you sync", "how much you store"];

/// What it cannot.
const CANNOT_SEE: &[&str] = &["contents", "names of apps and devices", "which documents there are"];

/// Asks the pod at `address` to become a cloud peer of the current identity.
pub async fn add(pod: &Pod, address: &str) -> Result<AddAnswer, ApiError> {
    let identity = pod.current().map_err(|error| failed(&error))?;
    let (target, expect) = parse(address)?;
    let sockets = target.resolve().await;
    let sockets =
        sockets.map_err(|error| ApiError::from_error(Problem::PEER_UNREACHABLE, &error))?;
    let mut last = None;
    for socket in sockets {
        let seed = *pod.inner.transport.secret();
        match pod.inner.endpoint.connect(socket, HOST_NAME, seed, expect).await {
            Ok(link) => {
                let device = ask(&identity, &link).await?;
                note_address(&identity, device, &target)?;
                let peer = Peer {
                    device: describe(&identity, device).await,
                    addresses: vec![target.to_string()],
                    ..Peer::default()
                };
                let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
                return Ok(AddAnswer { peer, sees: words(SEES), cannot_see: words(CANNOT_SEE) });
            }
            Err(error) => last = Some(error),
        }
    }
    let error = ApiError::new(Problem::PEER_UNREACHABLE, format!("cannot reach {target}"));
    let error = error.hint("rhizome peer test");
    Err(match last {
        Some(cause) => error.caused_by(&cause),
        None => error,
    })
}

fn parse(address: &str) -> Result<(PeerAddress, Expect), ApiError> {
    if let Ok(invite) = address.parse::<PeerInvite>() {
        return Ok((invite.address, Expect::Key(invite.key)));
    }
    let parsed = address.parse::<PeerAddress>();
    let parsed = parsed.map_err(|error| ApiError::from_error(Problem::INVALID, &error))?;
    Ok((parsed, Expect::Any))
}

/// Notes where the new peer is and lets the pod dial it.
fn note_address(
    identity: &Identity,
    device: DeviceId,
    address: &PeerAddress,
) -> Result<(), ApiError> {
    let noted = identity.home.change_meta(|meta| {
        meta.addresses.insert(device.to_string(), vec![address.to_string()]);
    });
    noted.map_err(|error| failed(&error))?;
    identity.wake.notify_one();
    Ok(())
}

async fn ask(identity: &Identity, link: &Link) -> Result<DeviceId, ApiError> {
    let (mut sender, mut receiver) = link.open(HOST_STREAM).await.map_err(|e| failed(&e))?;
    let (genesis, records) = records(identity).await?;
    say(&mut sender, &HostMessage::Ask { genesis, records }).await?;
    let (device, signature) = match hear(&mut receiver).await? {
        HostMessage::Accept { device, signature } => (device, signature),
        other => return Err(unexpected(&other)),
    };
    let root = identity.handle.look(|replica, _| replica.control().state().root()).await;
    let root = root.map_err(|error| failed(&error))?;
    let known = identity.handle.look(move |replica, _| replica.control().state().is_live(&device));
    if !known.await.map_err(|error| failed(&error))? {
        let acceptance =
            Acceptance { root, signing: device, sealing: None, kind: DeviceKind::CloudPeer };
        let name = "cloud".to_owned();
        let command = Command::Admit { acceptance, signature, name };
        let admitted = identity.handle.command(command).await;
        admitted.map_err(|error| ApiError::from_error(Problem::NOT_PERMITTED, &error))?;
    }
    let (_, records) = self::records(identity).await?;
    say(&mut sender, &HostMessage::Admitted { records }).await?;
    match hear(&mut receiver).await? {
        HostMessage::Hosted => Ok(device),
        other => Err(unexpected(&other)),
    }
}

async fn records(identity: &Identity) -> Result<(ByteBuf, Vec<ByteBuf>), ApiError> {
    let closed = || ApiError::new(Problem::INTERNAL, "the identity is closed");
    control_log(identity).await.ok_or_else(closed)
}

fn unexpected(message: &HostMessage) -> ApiError {
    let why = match message {
        HostMessage::Refused { why } => why.clone(),
        _ => "it answered something else".to_owned(),
    };
    ApiError::new(Problem::PEER_REFUSED, format!("the host refused: {why}"))
}

/// Answers somebody who wants to be hosted.
pub async fn answer(pod: Pod, incoming: Incoming) {
    let Ok((HOST_STREAM, mut sender, mut receiver)) = incoming.link.accept_stream().await else {
        return;
    };
    if let Err(error) = converse(&pod, &mut sender, &mut receiver).await {
        tracing::info!(%error, "did not become a host");
        let _ = say(&mut sender, &HostMessage::Refused { why: error.to_string() }).await;
    }
    let _ = sender.finish().await;
    // The asking side closes once it has read the answer.
    incoming.link.closed().await;
}

async fn converse(
    pod: &Pod,
    sender: &mut FrameSender,
    receiver: &mut FrameReceiver,
) -> Result<(), ApiError> {
    let HostMessage::Ask { genesis, records } = hear(receiver).await? else {
        return Err(ApiError::new(
            Problem::PEER_REFUSED,
            "the conversation begins with a question",
        ));
    };
    let genesis = Genesis::from_bytes(&genesis)
        .map_err(|error| ApiError::from_error(Problem::PEER_REFUSED, &error))?;
    genesis.verify().map_err(|error| ApiError::from_error(Problem::PEER_REFUSED, &error))?;
    let home = pod.inner.home.identity(&genesis.identity_id());
    let known = home.genesis().is_ok();
    if known && !home.meta().map_err(|error| failed(&error))?.hosted {
        let message = "this pod holds that identity itself";
        return Err(ApiError::new(Problem::PEER_REFUSED, message));
    }
    let device = if known {
        home.keys().map_err(|error| failed(&error))?.device
    } else {
        DeviceKeys::from_bytes(&clock::random())
    };
    let acceptance = Acceptance::of(&device, genesis.root(), DeviceKind::CloudPeer);
    let signature = acceptance.sign(&device.signing);
    let accept = HostMessage::Accept { device: device.device_id(), signature };
    say(sender, &accept).await?;
    drop(records);
    let HostMessage::Admitted { records } = hear(receiver).await? else {
        return Err(ApiError::new(Problem::PEER_REFUSED, "the device was not admitted"));
    };
    if !known {
        let meta = IdentityMeta { hosted: true, ..IdentityMeta::default() };
        let keys = KeyFile { device, kit: None };
        pod.inner.home.create(&genesis, &keys, &meta).map_err(|error| failed(&error))?;
        pod.admit(&home).map_err(|error: PodError| failed(&error))?;
    }
    let identity = pod.open(&home).map_err(|error| failed(&error))?;
    for bytes in records {
        let record = ControlRecord::from_bytes(&bytes)
            .map_err(|error| ApiError::from_error(Problem::PEER_REFUSED, &error))?;
        let taken = identity.handle.command(Command::Take(Box::new(record))).await;
        taken.map_err(|error| ApiError::from_error(Problem::PEER_REFUSED, &error))?;
    }
    say(sender, &HostMessage::Hosted).await
}

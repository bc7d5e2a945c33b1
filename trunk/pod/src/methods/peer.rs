//! Cloud peers and other addresses: seeing and trying them. Adding one is `host`'s.

use crate::home::{addresses_of, server_name};
use crate::identity::Identity;
use crate::methods::facts::{Facts, Member};
use crate::methods::pins;
use crate::pod::{HOST_NAME, Pod};
use rhizome_api::peer::{
    AddAnswer, AddRequest, ListAnswer, Peer, TestAnswer, TestRequest, TestStep,
};
use rhizome_api::{ApiError, DeviceKind};
use rhizome_net::{Expect, PeerAddress, PeerInvite};
use std::fmt::Display;
use std::time::Duration;
use tokio::task::block_in_place;

/// Adds a cloud peer.
pub async fn add(pod: &Pod, request: AddRequest) -> Result<AddAnswer, ApiError> {
    crate::host::add(pod, &request.address).await
}

/// The cloud peers, and other devices whose address is known.
pub async fn list(pod: &Pod) -> Result<ListAnswer, ApiError> {
    let identity = pod.current()?;
    let facts = Facts::of(&identity).await?;
    let mut peers = Vec::new();
    for member in facts.others() {
        let addresses = addresses_of(&facts.meta, &member.id);
        if member.kind != DeviceKind::CloudPeer && addresses.is_empty() {
            continue;
        }
        let index = identity.handle.index();
        let holds_bytes = block_in_place(|| pins::held_bytes(index, &facts, &member.id))?;
        let device = facts.device(member);
        peers.push(Peer { device, addresses, holds_bytes, ..Peer::default() });
    }
    peers.sort_by(|a, b| (&a.device.name, &a.device.id).cmp(&(&b.device.name, &b.device.id)));
    Ok(ListAnswer { peers })
}

/// How a peer is dialled.
struct Dial {
    addresses: Vec<PeerAddress>,
    name: String,
    seed: [u8; 32],
    expect: Expect,
}

/// Tries to reach a peer, step by step.
pub async fn test(pod: &Pod, request: TestRequest) -> Result<TestAnswer, ApiError> {
    let identity = pod.current()?;
    let facts = Facts::of(&identity).await?;
    let text = request.peer.trim();
    let mut trial = Trial { answer: TestAnswer { peer: text.to_owned(), ..TestAnswer::default() } };
    let dial = match facts.find(text) {
        Ok(member) => match trial.live(&identity, member) {
            true => return Ok(trial.answer),
            false => trial.known(&identity, &facts, member)?,
        },
        Err(unknown) => stranger(pod, text).ok_or(unknown)?,
    };
    trial.dial(pod, dial).await;
    Ok(trial.answer)
}

/// Somebody who is no device of the identity: an invitation or an address.
fn stranger(pod: &Pod, text: &str) -> Option<Dial> {
    let (address, expect) = match text.parse::<PeerInvite>() {
        Ok(invite) => (invite.address, Expect::Key(invite.key)),
        Err(_) => (text.parse::<PeerAddress>().ok()?, Expect::Any),
    };
    let (name, seed) = (HOST_NAME.to_owned(), *pod.inner.transport.secret());
    Some(Dial { addresses: vec![address], name, seed, expect })
}

struct Trial {
    answer: TestAnswer,
}

impl Trial {
    fn step(&mut self, what: impl Into<String>, ok: bool, detail: impl Display) {
        self.answer.steps.push(TestStep { what: what.into(), ok, detail: detail.to_string() });
    }

    fn reached(&mut self, round_trip: Duration) {
        self.answer.reachable = true;
        self.answer.round_trip_ms = u64::try_from(round_trip.as_millis()).ok();
    }

    /// Uses the connection that is there: a second one would replace it.
    fn live(&mut self, identity: &Identity, member: &Member) -> bool {
        let Some(link) = identity.link(&member.id).filter(|link| link.ended().is_none()) else {
            return false;
        };
        self.step("connection", true, format!("open to {}", link.remote_addr()));
        self.reached(link.rtt());
        true
    }

    fn known(
        &mut self,
        identity: &Identity,
        facts: &Facts,
        member: &Member,
    ) -> Result<Dial, ApiError> {
        let texts = addresses_of(&facts.meta, &member.id);
        let addresses: Vec<PeerAddress> =
            texts.iter().filter_map(|text| text.parse().ok()).collect();
        match addresses.is_empty() {
            true => self.step("address", false, format!("none of {} is known", member.name)),
            false => self.step("address", true, texts.join(", ")),
        }
        Ok(Dial {
            addresses,
            name: server_name(&identity.id()),
            seed: *identity.home.keys()?.device.signing.secret(),
            expect: Expect::Key(member.id),
        })
    }

    async fn dial(&mut self, pod: &Pod, dial: Dial) {
        for address in dial.addresses {
            let sockets = match address.resolve().await {
                Ok(sockets) => sockets,
                Err(error) => {
                    self.step(format!("look up {}", address.host()), false, error);
                    continue;
                }
            };
            for socket in sockets {
                let expect = match &dial.expect {
                    Expect::Key(key) => Expect::Key(*key),
                    Expect::Any => Expect::Any,
                };
                let dialled = pod.inner.endpoint.connect(socket, &dial.name, dial.seed, expect);
                match dialled.await {
                    Ok(link) => {
                        self.step(format!("reach {socket}"), true, "it answers");
                        self.step("key", true, link.peer());
                        self.reached(link.rtt());
                        link.close(0, "only a test");
                        return;
                    }
                    Err(error) => self.step(format!("reach {socket}"), false, error),
                }
            }
        }
    }
}

//! What people do with pods: create an identity, link a device, add a host, write, compare.

use super::client::Events;
use super::world::{Node, PATIENCE, World, until};
use rhizome_api::data::{
    ExportAnswer, ExportEvent, ExportRequest, GetRequest, HashAnswer, SetRequest, SettleRequest,
    WriteAnswer,
};
use rhizome_api::device::{
    Device, JoinAnswer, JoinEvent, JoinRequest, LinkConfirmRequest, LinkEvent, LinkRequest,
    ListAnswer,
};
use rhizome_api::identity::{CreateAnswer, CreateRequest};
use rhizome_api::peer::{AddAnswer, AddRequest};
use rhizome_api::status::StatusAnswer;
use rhizome_api::{
    ApiError, DataExport, DataGet, DataHash, DataSet, DataSettle, DeviceJoin, DeviceKind,
    DeviceLink, DeviceLinkConfirm, DeviceList, Durability, Empty, IdentityCreate, PeerAdd,
    PodInvite, Status,
};
use serde_json::Value as Json;
use std::collections::BTreeMap;

impl Node {
    /// Creates an identity with this device as its first.
    pub async fn create(&self, name: &str, kind: DeviceKind) -> CreateAnswer {
        let device_name = Some(self.name.clone());
        let request = CreateRequest { name: name.to_owned(), device_name, kind: Some(kind) };
        self.ask::<IdentityCreate>(&request).await
    }

    /// Writes a document of the usual app.
    #[track_caller]
    pub fn set(&self, path: &str, fields: Json) -> impl Future<Output = WriteAnswer> {
        let request = SetRequest { path: path.to_owned(), fields, ..SetRequest::default() };
        let from = std::panic::Location::caller();
        async move {
            let answer = self.client.ask::<DataSet>(&request).await;
            answer.unwrap_or_else(|error| panic!("{from}: {}: {error:?}", self.name))
        }
    }

    /// Writes a document and waits until its place in the order is certified.
    pub async fn commit(&self, path: &str, fields: Json) {
        let (wait, timeout_ms) = (Some(Durability::Committed), Some(PATIENCE.as_millis() as u64));
        let path = path.to_owned();
        let request = SetRequest { path, fields, wait, timeout_ms, ..SetRequest::default() };
        let answer = self.ask::<DataSet>(&request).await;
        assert!(answer.durability >= Durability::Committed, "{answer:?}");
    }

    /// Reads a document of the usual app.
    pub async fn get(&self, path: &str) -> Result<Json, ApiError> {
        let request = GetRequest { path: path.to_owned(), ..GetRequest::default() };
        Ok(self.client.ask::<DataGet>(&request).await?.document.fields)
    }

    /// Waits until a document is here.
    pub async fn hears(&self, path: &str) -> Json {
        let what = format!("{} hears of {path}", self.name);
        let look = || async { self.get(path).await.map_err(|error| error.to_string()) };
        until(&what, PATIENCE, look).await
    }

    /// Waits until everything here has travelled that far.
    pub async fn settle(&self, level: Durability) {
        let timeout_ms = Some(PATIENCE.as_millis() as u64);
        self.ask::<DataSettle>(&SettleRequest { level, timeout_ms }).await;
    }

    /// Waits until the devices of those names order, and everything here has its place. Adding a
    /// steadier device hands the order over a little later, and what only this one has confirmed
    /// until then is on this one only.
    pub async fn ordered_by(&self, names: &[&str]) {
        let what = format!("{names:?} order for {}", self.name);
        let look = || async {
            let order = self.status().await.order;
            let settled = order.committed_all && order.applied == order.index;
            if settled && order.voters == names { Ok(()) } else { Err(format!("{order:?}")) }
        };
        until(&what, PATIENCE, look).await;
    }

    /// How it is.
    pub async fn status(&self) -> StatusAnswer {
        self.ask::<Status>(&Empty {}).await
    }

    /// Hashes of what is here.
    pub async fn hash(&self) -> Result<HashAnswer, ApiError> {
        self.client.ask::<DataHash>(&Empty {}).await
    }

    /// The devices it knows.
    pub async fn devices(&self) -> Vec<Device> {
        let ListAnswer { devices } = self.ask::<DeviceList>(&Empty {}).await;
        devices
    }

    /// Waits until it is connected to a device of that name.
    pub async fn meets(&self, name: &str) {
        let what = format!("{} is connected to {name}", self.name);
        let look = || async {
            let devices = self.devices().await;
            let met = devices.iter().any(|device| device.name == name && device.connected);
            if met { Ok(()) } else { Err(format!("{devices:?}")) }
        };
        until(&what, PATIENCE, look).await;
    }
}

/// A laptop with an identity, a phone without one, and a host.
pub async fn household(world: &World) -> (Node, Node, Node) {
    let (mut laptop, mut phone) = (world.node("laptop").await, world.node("phone").await);
    let mut cloud = world.host("cloud").await;
    laptop.start().await;
    phone.start().await;
    cloud.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    (laptop, phone, cloud)
}

/// Links `newcomer` to the identity of `trusted`, as two people with two screens would.
pub async fn link(trusted: &Node, newcomer: &Node, kind: DeviceKind) -> JoinAnswer {
    let (mut shown, code) = show_code(trusted).await.unwrap();
    let mut joining = begin_join(newcomer, code, kind).await.unwrap();
    let digits = loop {
        if let JoinEvent::Digits { digits } = joining.event().await.unwrap() {
            break digits;
        }
    };
    let session = loop {
        if let LinkEvent::Asking { session, .. } = shown.event().await.unwrap() {
            break session;
        }
    };
    trusted.ask::<DeviceLinkConfirm>(&LinkConfirmRequest { session, digits }).await;
    let joined = joining.finish(|_| {}).await.unwrap();
    shown.finish(|_| {}).await.unwrap();
    joined
}

/// A code and where to bring it.
pub struct Shown {
    pub words: String,
    pub addresses: Vec<String>,
}

/// The trusted device shows a code.
pub async fn show_code(trusted: &Node) -> Result<(Events<DeviceLink>, Shown), ApiError> {
    let mut events = trusted.client.stream::<DeviceLink>(&LinkRequest {}).await?;
    loop {
        if let LinkEvent::Code { words, addresses, .. } = events.event().await? {
            return Ok((events, Shown { words: words.0, addresses }));
        }
    }
}

/// The newcomer takes it.
pub async fn begin_join(
    newcomer: &Node,
    Shown { words, addresses }: Shown,
    kind: DeviceKind,
) -> Result<Events<DeviceJoin>, ApiError> {
    let request = JoinRequest {
        code: rhizome_api::Secret(words),
        name: Some(newcomer.name.clone()),
        kind: Some(kind),
        at: addresses,
    };
    newcomer.client.stream::<DeviceJoin>(&request).await
}

/// Makes `cloud` a cloud peer of the identity of `node`.
pub async fn add_peer(node: &Node, cloud: &Node) -> AddAnswer {
    let invite = cloud.ask::<PodInvite>(&Empty {}).await;
    node.ask::<PeerAdd>(&AddRequest { address: invite.url }).await
}

/// Waits until all hold the same, pending changes included, and says what.
#[track_caller]
pub fn agree(nodes: &[&Node]) -> impl Future<Output = HashAnswer> {
    let from = std::panic::Location::caller();
    async move {
        let look = || async {
            let mut hashes = Vec::new();
            for node in nodes {
                hashes.push(node.hash().await.map_err(|error| format!("{error:?}"))?);
            }
            let same = hashes.windows(2).all(|pair| pair[0] == pair[1]);
            if same { Ok(hashes.swap_remove(0)) } else { Err(format!("{hashes:#?}")) }
        };
        let found = until(&format!("{from}: they agree"), PATIENCE, look).await;
        assert!(found.indexes_ok, "{from}: an index differs from a rebuilt one");
        found
    }
}

/// Everything a person would get out: documents by app and path, and the hash at the end.
pub async fn export(node: &Node) -> (BTreeMap<(String, String), Json>, ExportAnswer) {
    let mut documents = BTreeMap::new();
    let stream = node.stream::<DataExport>(&ExportRequest::default()).await;
    let answer = stream.finish(|event| {
        let ExportEvent::Document(one) = event;
        documents.insert((one.app, one.path), one.fields);
    });
    let answer = answer.await.unwrap();
    (documents, answer)
}

//! A client of a pod's local API, as the command line is one: JSON over HTTP over a private socket.

use crate::Outcome;
use crate::child::Child;
use crate::world::until;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rhizome_api::identity::CreateRequest;
use rhizome_api::{Envelope, IdentityCreate, Method, StreamLine, path_of, socket_path};
use std::path::Path;
use tokio::net::UnixStream;

/// A pod in a process of its own, with an identity, and where it listens.
pub struct Served {
    child: Child,
    at: std::path::PathBuf,
}

impl Served {
    /// Starts one in an empty folder.
    pub async fn start(dir: &Path) -> Outcome<Self> {
        let child = Child::start("serve", dir)?;
        let served = Self { child, at: socket_path(&std::path::absolute(dir)?) };
        until("the pod answers", async || Ok(UnixStream::connect(&served.at).await.is_ok()))
            .await?;
        let request = CreateRequest { name: "bench".to_owned(), ..CreateRequest::default() };
        served.client().await?.call::<IdentityCreate>(&request).await?;
        Ok(served)
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Another connection.
    pub async fn client(&self) -> Outcome<Client> {
        let stream = UnixStream::connect(&self.at).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client { sender })
    }
}

/// One connection, which is kept.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Asks once.
    pub async fn call<M: Method>(&mut self, request: &M::Request) -> Outcome<M::Answer> {
        let text = self.send::<M>(request).await?;
        let envelope: Envelope<M::Answer> = serde_json::from_slice(&text)?;
        Ok(envelope.open::<M>()?.0)
    }

    /// Asks for a stream, and waits for its end.
    pub async fn finish<M: Method>(&mut self, request: &M::Request) -> Outcome<M::Answer> {
        let text = self.send::<M>(request).await?;
        for line in std::str::from_utf8(&text)?.lines() {
            match StreamLine::<M>::from_text(line)? {
                Some(StreamLine::Done(answer)) => return Ok(answer),
                Some(StreamLine::Failed(error)) => return Err(error.into()),
                Some(StreamLine::Event(_)) | None => {}
            }
        }
        Err("the stream was cut off".into())
    }

    async fn send<M: Method>(&mut self, request: &M::Request) -> Outcome<Bytes> {
        let request = Request::post(path_of::<M>())
            .header("host", "rhizome")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(request)?)))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

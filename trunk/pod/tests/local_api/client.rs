//! A pod in a folder of its own, and a client of its socket.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rhizome_api::data::{SetRequest, WriteAnswer};
use rhizome_api::identity::CreateRequest;
use rhizome_api::{
    ApiError, DataSet, Empty, Envelope, EnvelopeError, IdentityCreate, Method, PodPing, PodStop,
    StreamLine, path_of, socket_path,
};
use rhizome_pod::{PodOptions, run};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// How long anything in these tests may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A pod that runs in this process.
pub struct TestPod {
    /// Its folder.
    pub dir: TempDir,
    listen: Option<SocketAddr>,
    host: bool,
    running: Option<JoinHandle<Result<(), ApiError>>>,
}

impl TestPod {
    /// Starts a pod without an identity.
    pub async fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut pod = Self { dir, listen: None, host: false, running: None };
        pod.start().await;
        pod
    }

    /// Starts a pod without an identity that others reach where it was before a restart.
    pub async fn reachable(host: bool) -> Self {
        // Whoever asks next for a free port is not given this one so soon.
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut pod = Self { dir, listen: Some(free), host, running: None };
        pod.start().await;
        pod
    }

    /// Starts a pod with the identity `ana` on the device `laptop`.
    pub async fn new() -> Self {
        let pod = Self::empty().await;
        let request = CreateRequest {
            name: "ana".into(),
            device_name: Some("laptop".into()),
            ..CreateRequest::default()
        };
        pod.call::<IdentityCreate>(&request).await.unwrap();
        pod
    }

    /// Starts it again. A pod that ended in this process lets go of its files a moment later.
    pub async fn start(&mut self) {
        let answers = async {
            while self.ask("pod.ping", "{}").await.is_none() {
                if self.running.as_ref().is_none_or(JoinHandle::is_finished) {
                    let (dir, listen) = (self.dir.path().to_owned(), self.listen);
                    let host = self.host;
                    let options = PodOptions { dir, listen, host, ..PodOptions::default() };
                    self.running = Some(tokio::spawn(run(options)));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, answers).await.expect("the pod answers");
        self.call::<PodPing>(&Empty {}).await.unwrap();
    }

    /// Ends it as `rhizome stop` does.
    pub async fn stop(&mut self) {
        self.call::<PodStop>(&Empty {}).await.unwrap();
        self.ended().await;
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        let running = self.running.take().expect("it runs");
        let ended = tokio::time::timeout(LIMIT, running).await.expect("the pod ends");
        ended.unwrap().unwrap();
    }

    /// Asks with text, and takes the answer as text; `None` if nobody answers.
    pub async fn ask(&self, method: &str, body: &str) -> Option<String> {
        let request = Request::post(format!("/v1/{method}"))
            .header("host", "rhizome")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let response = send(self.dir.path(), request).await?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        String::from_utf8(body.to_vec()).ok()
    }

    /// Asks once.
    pub async fn call<M: Method>(&self, request: &M::Request) -> Result<M::Answer, ApiError> {
        let text = serde_json::to_string(request).unwrap();
        let answer = self.ask(M::NAME, &text).await.expect("the pod answers");
        let envelope: Envelope<M::Answer> = serde_json::from_str(&answer).expect(&answer);
        match envelope.open::<M>() {
            Ok((answer, _)) => Ok(answer),
            Err(EnvelopeError::Refused(error)) => Err(error),
            Err(error) => panic!("{error}: {answer}"),
        }
    }

    /// Asks for a stream.
    pub async fn stream<M: Method>(&self, request: &M::Request) -> Lines<M> {
        let text = serde_json::to_vec(request).unwrap();
        let request = Request::post(path_of::<M>())
            .header("host", "rhizome")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(text)))
            .unwrap();
        let response = send(self.dir.path(), request).await.expect("the pod answers");
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Lines { body: response.into_body(), rest: Vec::new(), of: std::marker::PhantomData }
    }

    /// Sets a document.
    pub async fn set(&self, path: &str, fields: serde_json::Value) -> WriteAnswer {
        let request = SetRequest { path: path.into(), fields, ..SetRequest::default() };
        self.call::<DataSet>(&request).await.unwrap()
    }
}

/// Sends a request over a connection of its own.
pub async fn send(dir: &Path, request: Request<Full<Bytes>>) -> Option<Response<Incoming>> {
    let stream = UnixStream::connect(socket_path(dir)).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    sender.send_request(request).await.ok()
}

/// The lines of a stream.
pub struct Lines<M> {
    body: Incoming,
    rest: Vec<u8>,
    of: std::marker::PhantomData<fn() -> M>,
}

impl<M: Method> Lines<M> {
    /// The next line, or nothing when the stream was cut.
    pub async fn next(&mut self) -> Option<StreamLine<M>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                return StreamLine::from_text(&line).unwrap();
            }
            let frame = tokio::time::timeout(LIMIT, self.body.frame()).await.expect("a line");
            self.rest.extend_from_slice(&frame?.ok()?.into_data().unwrap());
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> M::Event {
        match self.next().await {
            Some(StreamLine::Event(event)) => event,
            Some(StreamLine::Failed(error)) => panic!("{error:?}"),
            _ => panic!("the stream ended"),
        }
    }

    /// All events and the answer.
    pub async fn all(mut self) -> Result<(Vec<M::Event>, M::Answer), ApiError> {
        let mut events = Vec::new();
        loop {
            match self.next().await.expect("the stream has an end") {
                StreamLine::Event(event) => events.push(event),
                StreamLine::Done(answer) => return Ok((events, answer)),
                StreamLine::Failed(error) => return Err(error),
            }
        }
    }
}

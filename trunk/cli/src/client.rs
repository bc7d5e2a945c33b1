//! The client of the pod's local API: one connection per call, an envelope or a stream of lines.

use crate::platform;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use rhizome_api::{
    ApiError, Envelope, EnvelopeError, Method, Problem, StreamLine, path_of, socket_path,
};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// The largest answer that is read: a query of everything somebody may have, well below memory.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The longest line of a stream: a document of a mebibyte, escaped, with room.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Speaks to the pod of one folder.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    dir: PathBuf,
    socket: PathBuf,
}

/// Why there was no answer at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    /// Nobody listens.
    #[error("no pod listens at {}", .socket.display())]
    Nobody {
        /// Where one should.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is not to be trusted or cannot be used.
    #[error("socket {} cannot be used", .socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("connection to the pod broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<ReachError> for ApiError {
    fn from(error: ReachError) -> Self {
        Self::from_error(Problem::POD_UNREACHABLE, &error).hint("rhizome run")
    }
}

impl Client {
    /// A client of the pod whose folder is `dir`. Nothing is connected yet.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), socket: socket_path(dir) }
    }

    /// Asks once and takes the answer with its warnings.
    pub(crate) async fn call<M: Method>(
        &self,
        request: &M::Request,
    ) -> Result<(M::Answer, Vec<String>), ApiError> {
        let body = self.post::<M>(request).await?.into_body();
        let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let bytes = whole.map_err(ReachError::Broken)?.to_bytes();
        let envelope: Envelope<M::Answer> = serde_json::from_slice(&bytes).map_err(misread)?;
        envelope.open::<M>().map_err(|error| match error {
            EnvelopeError::Refused(refusal) => refusal,
            other => misread(other),
        })
    }

    /// Asks for a stream.
    pub(crate) async fn stream<M: Method>(
        &self,
        request: &M::Request,
    ) -> Result<Events<M>, ApiError> {
        let response = self.post::<M>(request).await?;
        let kind = response.headers().get(header::CONTENT_TYPE);
        let lines = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-ndjson"));
        let events = Events::new(response.into_body());
        if lines {
            return Ok(events);
        }
        Err(events.refusal().await)
    }

    async fn post<M: Method>(&self, request: &M::Request) -> Result<Response<Incoming>, ApiError> {
        let text = serde_json::to_vec(request)
            .map_err(|error| ApiError::from_error(Problem::USAGE, &error))?;
        let stream = platform::connect(&self.socket, &self.dir).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ReachError::Nobody { socket, source }
                }
                _ => ReachError::Socket { socket, source },
            }
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends by itself once the answer is read or dropped.
        tokio::spawn(connection);
        let request = Request::post(path_of::<M>())
            .header(header::HOST, "rhizome")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .expect("path and headers are fixed and valid");
        Ok(sender.send_request(request).await.map_err(broken)?)
    }
}

fn broken(error: hyper::Error) -> ReachError {
    ReachError::Broken(Box::new(error))
}

/// The pod said something that this version does not understand.
fn misread(error: impl std::error::Error + 'static) -> ApiError {
    ApiError::new(Problem::POD_NOT_UNDERSTOOD, "answer of the pod was not understood")
        .caused_by(&error)
        .hint("rhizome stop")
}

/// What a stream gives next.
#[derive(Debug)]
pub(crate) enum Next<M: Method> {
    /// Something happened.
    Event(M::Event),
    /// It is finished.
    Done(M::Answer),
}

/// A stream that is being read. Dropping it tells the pod that nobody listens.
#[derive(Debug)]
pub(crate) struct Events<M: Method> {
    body: Incoming,
    lines: Lines,
    of: std::marker::PhantomData<fn() -> M>,
}

impl<M: Method> Events<M> {
    fn new(body: Incoming) -> Self {
        Self { body, lines: Lines::default(), of: std::marker::PhantomData }
    }

    /// Waits for what comes next. After `Done` or an error nothing does.
    pub(crate) async fn next(&mut self) -> Result<Next<M>, ApiError> {
        loop {
            while let Some(line) = self.lines.take() {
                match StreamLine::<M>::from_text(&line).map_err(misread)? {
                    Some(StreamLine::Event(event)) => return Ok(Next::Event(event)),
                    Some(StreamLine::Done(answer)) => return Ok(Next::Done(answer)),
                    Some(StreamLine::Failed(error)) => return Err(error),
                    None => {}
                }
            }
            match self.body.frame().await {
                Some(frame) => {
                    let frame = frame.map_err(broken)?;
                    if let Ok(data) = frame.into_data() {
                        self.lines.push(&data).map_err(misread)?;
                    }
                }
                None => {
                    let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(ReachError::Broken(Box::new(cut)).into());
                }
            }
        }
    }

    /// Reads the envelope that came where a stream was asked for.
    async fn refusal(self) -> ApiError {
        let whole = match Limited::new(self.body, LINE_BYTES_MAX).collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(error) => return ReachError::Broken(error).into(),
        };
        match serde_json::from_slice::<Envelope<M::Answer>>(&whole) {
            Ok(Envelope { error: Some(error), .. }) => error,
            Ok(_) => misread(EnvelopeError::Hollow),
            Err(error) => misread(error),
        }
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<String>,
    rest: Vec<u8>,
}

/// Why bytes are not lines.
#[derive(Debug, thiserror::Error)]
enum LinesError {
    /// A line does not end.
    #[error("line is longer than {LINE_BYTES_MAX} bytes")]
    Endless,
    /// A line is not text.
    #[error("line is not UTF-8")]
    Text(#[from] std::string::FromUtf8Error),
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), LinesError> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(LinesError::Endless);
            }
            if self.rest.ends_with(b"\n") {
                let line = String::from_utf8(std::mem::take(&mut self.rest))?;
                if !line.trim().is_empty() {
                    self.whole.push_back(line);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<String> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
pub(crate) mod tests;

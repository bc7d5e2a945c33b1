//! Speaks to the private socket of a pod, as the command line does.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use rhizome_api::{ApiError, Envelope, EnvelopeError, Method, Problem, StreamLine, path_of};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::path::PathBuf;
use tokio::net::UnixStream;

/// Asks the pod behind one socket. One connection per question.
#[derive(Clone, Debug)]
pub struct Client {
    pub socket: PathBuf,
}

impl Client {
    /// Asks once.
    pub async fn ask<M: Method>(&self, request: &M::Request) -> Result<M::Answer, ApiError> {
        let body = self.post::<M>(request).await?.into_body();
        let bytes = body.collect().await.map_err(broken)?.to_bytes();
        let envelope: Envelope<M::Answer> = serde_json::from_slice(&bytes).map_err(broken)?;
        match envelope.open::<M>() {
            Ok((answer, _)) => Ok(answer),
            Err(EnvelopeError::Refused(refusal)) => Err(refusal),
            Err(other) => Err(broken(other)),
        }
    }

    /// Asks for a stream.
    pub async fn stream<M: Method>(&self, request: &M::Request) -> Result<Events<M>, ApiError> {
        let response = self.post::<M>(request).await?;
        let kind = response.headers().get(header::CONTENT_TYPE);
        let lines = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-ndjson"));
        let body = response.into_body();
        if lines {
            return Ok(Events { body, lines: VecDeque::new(), rest: Vec::new(), of: PhantomData });
        }
        let bytes = body.collect().await.map_err(broken)?.to_bytes();
        let envelope: Envelope<M::Answer> = serde_json::from_slice(&bytes).map_err(broken)?;
        Err(envelope.error.expect("what is no stream is a refusal"))
    }

    async fn post<M: Method>(&self, request: &M::Request) -> Result<Response<Incoming>, ApiError> {
        let text = serde_json::to_vec(request).map_err(broken)?;
        let stream = UnixStream::connect(&self.socket).await.map_err(broken)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends by itself once the answer is read or dropped.
        tokio::spawn(connection);
        let request = Request::post(path_of::<M>())
            .header(header::HOST, "rhizome")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .expect("path and headers are fixed and valid");
        sender.send_request(request).await.map_err(broken)
    }
}

/// The pod is not there, or went away in the middle of an answer.
fn broken(error: impl std::error::Error + 'static) -> ApiError {
    ApiError::from_error(Problem::POD_UNREACHABLE, &error)
}

/// What a stream gives next.
#[derive(Debug)]
pub enum Next<M: Method> {
    Event(M::Event),
    Done(M::Answer),
}

/// A stream that is being read. Dropping it tells the pod that nobody listens.
#[derive(Debug)]
pub struct Events<M: Method> {
    body: Incoming,
    lines: VecDeque<String>,
    rest: Vec<u8>,
    of: PhantomData<fn() -> M>,
}

impl<M: Method> Events<M> {
    /// Waits for what comes next. After `Done` or an error nothing does.
    pub async fn next(&mut self) -> Result<Next<M>, ApiError> {
        loop {
            while let Some(line) = self.lines.pop_front() {
                match StreamLine::<M>::from_text(&line).map_err(broken)? {
                    Some(StreamLine::Event(event)) => return Ok(Next::Event(event)),
                    Some(StreamLine::Done(answer)) => return Ok(Next::Done(answer)),
                    Some(StreamLine::Failed(error)) => return Err(error),
                    None => {}
                }
            }
            let Some(frame) = self.body.frame().await else {
                return Err(ApiError::new(Problem::POD_UNREACHABLE, "the stream was cut off"));
            };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                self.cut(&data);
            }
        }
    }

    /// Waits for an event, which must come before the end.
    pub async fn event(&mut self) -> Result<M::Event, ApiError> {
        match self.next().await? {
            Next::Event(event) => Ok(event),
            Next::Done(_) => Err(ApiError::new(Problem::INTERNAL, "it ended too early")),
        }
    }

    /// Reads to the end; `see` is shown what comes on the way.
    pub async fn finish(mut self, mut see: impl FnMut(M::Event)) -> Result<M::Answer, ApiError> {
        loop {
            match self.next().await? {
                Next::Event(event) => see(event),
                Next::Done(answer) => return Ok(answer),
            }
        }
    }

    fn cut(&mut self, data: &[u8]) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if self.rest.ends_with(b"\n") {
                let line = String::from_utf8(std::mem::take(&mut self.rest));
                let line = line.expect("answers are text");
                if !line.trim().is_empty() {
                    self.lines.push_back(line);
                }
            }
        }
    }
}

//! Answers that take their time: one JSON line per event, then the end.
//!
//! A caller that reads slowly slows the work down, and one that goes away ends it: the work is a
//! future that is dropped where it waits.

use crate::pod::Pod;
use axum::body::{Body, Bytes};
use axum::response::Response;
use rhizome_api::{ApiError, Method, Problem, StreamLine};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use tokio::sync::mpsc;

/// Most lines, and most events before them, that wait for a slow reader.
const LINES_MAX: usize = 64;

/// Starts the work of a stream and returns what its caller reads.
pub fn start<M, W>(pod: Pod, work: impl FnOnce(mpsc::Sender<M::Event>) -> W) -> Response
where
    M: Method + 'static,
    M::Event: Send + 'static,
    M::Answer: Send + 'static,
    W: Future<Output = Result<M::Answer, ApiError>> + Send + 'static,
{
    let (lines, read) = mpsc::channel(LINES_MAX);
    let (events, heard) = mpsc::channel(LINES_MAX);
    tokio::spawn(run::<M, W>(pod, work(events), heard, lines));
    let read = futures_util::stream::unfold(read, |mut read| async {
        let line: Bytes = read.recv().await?;
        Some((Ok::<_, Infallible>(line), read))
    });
    crate::serve::lines(Body::from_stream(read))
}

async fn run<M, W>(
    pod: Pod,
    work: W,
    mut heard: mpsc::Receiver<M::Event>,
    lines: mpsc::Sender<Bytes>,
) where
    M: Method,
    M::Event: Send,
    M::Answer: Send,
    W: Future<Output = Result<M::Answer, ApiError>> + Send,
{
    let mut work = pin!(work);
    let mut stopped = pin!(pod.asked_to_stop());
    let end = loop {
        tokio::select! {
            biased;
            () = lines.closed() => return,
            Some(event) = heard.recv() => {
                let text = text_of::<M>(&StreamLine::Event(event));
                if !say(&lines, text).await {
                    return;
                }
            }
            end = &mut work => break end,
            () = &mut stopped => {
                break Err(ApiError::new(Problem::INTERRUPTED, "the pod is closing"));
            }
        }
    };
    while let Ok(event) = heard.try_recv() {
        let text = text_of::<M>(&StreamLine::Event(event));
        if !say(&lines, text).await {
            return;
        }
    }
    let end = match end {
        Ok(answer) => text_of::<M>(&StreamLine::Done(answer)),
        Err(error) => text_of::<M>(&StreamLine::Failed(error)),
    };
    say(&lines, end).await;
}

/// Sends a line; `false` when nobody reads any more.
async fn say(lines: &mpsc::Sender<Bytes>, text: Option<String>) -> bool {
    match text {
        Some(text) => lines.send(Bytes::from(text)).await.is_ok(),
        None => false,
    }
}

/// A line with its break; a value without a JSON form ends the stream.
fn text_of<M: Method>(line: &StreamLine<M>) -> Option<String> {
    match line.to_text() {
        Ok(text) => Some(text + "\n"),
        Err(error) => {
            tracing::error!(%error, "a line of a stream cannot be written");
            None
        }
    }
}

//! The local API: HTTP over the pod's private socket, `POST /v1/<method>` with JSON.
//!
//! Here bytes become requests and refusals; which method does what is `methods`'s.

use crate::methods;
use crate::platform;
use crate::pod::Pod;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method as Verb, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use rhizome_api::{ApiError, Empty, Envelope, Exit, PATH_PREFIX, Problem};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The largest request: a batch of one event is 256 KiB, and JSON writes its bytes several times
/// longer; beyond that is a mistake.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;

/// How much of a refused request is read and thrown away. A caller that is still writing when we
/// close never reads why; one that writes on beyond this does not want to know.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

/// How long answers under way are waited for when the pod ends, so that a caller that does not
/// read cannot keep it.
const GRACE: Duration = Duration::from_secs(5);

/// What one line of a stream is.
pub const LINES_TYPE: HeaderValue = HeaderValue::from_static("application/x-ndjson");

const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Clone)]
struct Desk {
    pod: Pod,
    token: Option<Arc<str>>,
}

/// Serves the local API until the pod is asked to end.
pub async fn serve(pod: Pod) -> io::Result<()> {
    let dir = std::path::absolute(pod.dir())?;
    let platform::Door { listener, token, claim } = platform::open_door(&dir).await?;
    let desk = Desk { pod: pod.clone(), token: token.map(Arc::from) };
    let app = Router::new().fallback(answer).with_state(desk);
    let stopping = pod.clone();
    let served = axum::serve(listener, app)
        .with_graceful_shutdown(async move { stopping.asked_to_stop().await });
    let ended = tokio::select! {
        ended = served => ended,
        () = async {
            pod.asked_to_stop().await;
            tokio::time::sleep(GRACE).await;
        } => Ok(()),
    };
    drop(claim);
    // Whoever sleeps between two tries to reach a device ends with the pod.
    for identity in pod.identities() {
        identity.wake.notify_one();
    }
    ended
}

async fn answer(State(desk): State<Desk>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let Some(name) = path.strip_prefix(PATH_PREFIX).filter(|_| parts.method == Verb::POST) else {
        let message = format!("no `{} {path}` here; ask with POST {PATH_PREFIX}…", parts.method);
        read(body, 0).await;
        return refuse("", &ApiError::new(Problem::POD_NOT_UNDERSTOOD, message));
    };
    if let Err(error) = check(&parts.headers, desk.token.as_deref()) {
        read(body, 0).await;
        return refuse(name, &error);
    }
    match read(body, REQUEST_BYTES_MAX).await {
        Some(body) => methods::answer(desk.pod, name, body).await,
        None => {
            let message = format!("request is cut off or larger than {REQUEST_BYTES_MAX} bytes");
            refuse(name, &ApiError::new(Problem::TOO_LARGE, message))
        }
    }
}

/// Reads a body to its end and keeps it if it is whole and no longer than `bytes_max`.
async fn read(body: Body, bytes_max: usize) -> Option<Bytes> {
    let mut parts = body.into_data_stream();
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part.ok()?;
        length += part.len();
        match length {
            _ if length <= bytes_max => kept.extend_from_slice(&part),
            ..=DISCARDED_BYTES_MAX => kept = Vec::new(),
            _ => return None,
        }
    }
    (length <= bytes_max).then(|| kept.into())
}

/// Web pages send an origin, and forms send no JSON: neither speaks to this socket.
fn check(headers: &HeaderMap, token: Option<&str>) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = format!("request is of type `{kind}`, not application/json");
        return Err(ApiError::new(Problem::USAGE, message));
    }
    if headers.contains_key(header::ORIGIN) {
        let message = "web pages do not speak to the socket of a pod";
        return Err(ApiError::new(Problem::NOT_PERMITTED, message));
    }
    let shown = headers.get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
    let shown = shown.and_then(|shown| shown.strip_prefix("Bearer "));
    match token {
        Some(token) if !shown.is_some_and(|shown| is_equal(shown, token)) => {
            Err(ApiError::new(Problem::NOT_PERMITTED, "the secret of the pod was not shown"))
        }
        _ => Ok(()),
    }
}

/// Compares without telling by its time how much is right.
fn is_equal(a: &str, b: &str) -> bool {
    let wrong = a.bytes().zip(b.bytes()).fold(0, |wrong, (a, b)| wrong | (a ^ b));
    a.len() == b.len() && wrong == 0
}

/// An answer of one envelope.
pub fn envelope<A: serde::Serialize>(envelope: &Envelope<A>) -> Response {
    let status = envelope.error.as_ref().map_or(StatusCode::OK, status_of);
    let text = serde_json::to_vec(envelope).expect("answers have a JSON form");
    respond(status, JSON_TYPE, Body::from(text))
}

/// A refusal of the method called `name`.
pub fn refuse(name: &str, error: &ApiError) -> Response {
    envelope(&Envelope::<Empty>::refusal(name, error.clone()))
}

/// An answer of many lines.
pub fn lines(body: Body) -> Response {
    respond(StatusCode::OK, LINES_TYPE, body)
}

fn respond(status: StatusCode, kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The nearest word of HTTP; callers read the envelope.
fn status_of(error: &ApiError) -> StatusCode {
    let exit = Exit::ALL.into_iter().find(|exit| exit.number() == error.exit);
    match exit.unwrap_or(Exit::Error) {
        Exit::Ok => StatusCode::OK,
        Exit::Usage => StatusCode::BAD_REQUEST,
        Exit::NotPermitted => StatusCode::FORBIDDEN,
        Exit::NotFound | Exit::Incompatible => StatusCode::NOT_FOUND,
        Exit::Conflict => StatusCode::CONFLICT,
        Exit::Unconfirmed => StatusCode::GATEWAY_TIMEOUT,
        Exit::Quota => StatusCode::INSUFFICIENT_STORAGE,
        Exit::Unreachable | Exit::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        Exit::Error | Exit::Damaged | Exit::Partial => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Reads a request; nothing at all counts as `{}`.
pub fn request_of<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(Problem::USAGE, "request is not of the method's form").caused_by(&error)
    })
}

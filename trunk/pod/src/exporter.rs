//! What the pod counts, as text for Prometheus: `GET /metrics` on an address of its own.
//!
//! Every crate counts with the facade `metrics`, which costs next to nothing while nobody listens.
//! Here the listener is, and what is only looked up when somebody asks: who holds how much, who
//! lags behind. Labels name devices by id and never anything a person wrote.

use crate::methods::facts::Facts;
use crate::pod::Pod;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use tokio::net::TcpListener;

/// One per process: several pods in one process (as in tests) share what is counted.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The form of Prometheus' text.
const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From here on, what is counted is kept.
fn record() -> io::Result<&'static PrometheusHandle> {
    if let Some(handle) = RECORDER.get() {
        return Ok(handle);
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = RECORDER.get_or_init(|| recorder.handle());
    metrics::set_global_recorder(recorder).map_err(io::Error::other)?;
    describe();
    Ok(handle)
}

/// Serves the figures of `pod` at `address` until the pod ends. Returns where it listens.
pub async fn start(pod: &Pod, address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let listening = listener.local_addr()?;
    let handle = record()?;
    let app = Router::new().route("/metrics", get(scrape)).with_state((pod.clone(), handle));
    let stopping = pod.clone();
    let served = axum::serve(listener, app)
        .with_graceful_shutdown(async move { stopping.asked_to_stop().await });
    tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "figures are no longer served");
        }
    });
    tracing::info!(%listening, "figures are served");
    Ok(listening)
}

async fn scrape(State((pod, handle)): State<(Pod, &'static PrometheusHandle)>) -> Response {
    look_up(&pod).await;
    handle.run_upkeep();
    ([(header::CONTENT_TYPE, TEXT_TYPE)], handle.render()).into_response()
}

/// What nobody counts as it happens.
async fn look_up(pod: &Pod) {
    let identities = pod.identities();
    let (hosted, own): (Vec<_>, Vec<_>) = identities.iter().partition(|one| one.hosted);
    gauge!("rhizome_identities_open", "kind" => "own").set(own.len() as f64);
    gauge!("rhizome_identities_open", "kind" => "hosted").set(hosted.len() as f64);
    gauge!("rhizome_tenants").set(pod.tenants() as f64);
    if let Ok(free) = fs4::available_space(pod.dir()) {
        gauge!("rhizome_disk_free_bytes").set(free as f64);
    }
    for identity in own {
        let Ok(facts) = Facts::of(identity).await else { continue };
        for peer in facts.status.peers.iter().filter(|peer| peer.greeted) {
            let device = peer.device.to_string();
            gauge!("rhizome_replication_lag_entries", "device" => device).set(peer.lacking as f64);
        }
        let waiting = facts.status.control_waiting;
        gauge!("rhizome_control_waiting_records").set(waiting as f64);
    }
}

fn describe() {
    describe_gauge!("rhizome_identities_open", "identities open in this process, by kind");
    describe_gauge!("rhizome_tenants", "identities hosted here, open or not");
    describe_gauge!("rhizome_disk_free_bytes", Unit::Bytes, "free where the pod's folder is");
    describe_gauge!("rhizome_replication_lag_entries", "events here that a device lacks");
    describe_gauge!("rhizome_control_waiting_records", "control records without a place");
    describe_histogram!("rhizome_write_seconds", Unit::Seconds, "from a write to its fdatasync");
    describe_histogram!("rhizome_store_fsync_seconds", Unit::Seconds, "one fdatasync");
    describe_counter!("rhizome_store_append_bytes_total", Unit::Bytes, "appended to segments");
    describe_counter!("rhizome_store_damages_total", "damaged places found in segments");
    describe_counter!("rhizome_raft_committed_entries_total", "entries certified by voters");
    describe_counter!("rhizome_raft_leader_changes_total", "times that the lead passed on");
    describe_counter!("rhizome_raft_refused_total", "messages the guard refused");
    describe_counter!("rhizome_net_handshakes_total", "handshakes, by outcome");
    describe_counter!("rhizome_net_sent_bytes_total", Unit::Bytes, "sent in datagrams");
    describe_counter!("rhizome_net_received_bytes_total", Unit::Bytes, "received in datagrams");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::PodOptions;
    use rhizome_identity::DeviceKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn get(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// The value of the first line that begins with `name`.
    fn value(text: &str, name: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_written_is_counted_and_nothing_a_person_wrote_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let options = PodOptions { dir: dir.path().to_owned(), ..PodOptions::default() };
        let pod = Pod::start(options).await.unwrap();
        let address = start(&pod, SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let identity = pod.create_identity("Aurelia", "heron", DeviceKind::Laptop).unwrap();
        let before = value(&get(address).await, "rhizome_store_append_bytes_total").unwrap_or(0.0);
        identity.handle.write("org.example.app", None, vec![0xa0]).await.unwrap();
        let text = get(address).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(value(&text, "rhizome_store_append_bytes_total").unwrap() > before, "{text}");
        assert!(value(&text, "rhizome_identities_open{kind=\"own\"}").unwrap() >= 1.0, "{text}");
        assert!(value(&text, "rhizome_write_seconds_count").unwrap() >= 1.0, "{text}");
        assert!(value(&text, "rhizome_disk_free_bytes").unwrap() > 0.0, "{text}");
        for word in ["Aurelia", "heron", "org.example.app"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        drop(identity);
        pod.stop().await;
    }
}

//! Waiting for a future on this very thread, for a bounded time.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Wakes a thread that is parked.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What `future` comes to, if it does so within `limit`. It needs no timer of the runtime, which
/// would cost more than the wait.
pub fn at_most<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let end = Instant::now() + limit;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return None;
        }
        std::thread::park_timeout(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::at_most;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[test]
    fn what_arrives_ends_the_wait() {
        let (sender, mut receiver) = mpsc::channel(1);
        let far = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            sender.blocking_send(7).unwrap();
        });
        assert_eq!(at_most(Duration::from_secs(600), receiver.recv()), Some(Some(7)));
        far.join().unwrap();
    }

    #[test]
    fn nothing_that_arrives_late_is_lost() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut batch: Vec<u8> = Vec::new();
        assert_eq!(at_most(Duration::from_millis(1), receiver.recv_many(&mut batch, 8)), None);
        sender.blocking_send(7).unwrap();
        assert_eq!(at_most(Duration::ZERO, receiver.recv_many(&mut batch, 8)), Some(1));
        assert_eq!(batch, [7]);
    }
}

//! A buffer in front of a slow index, so that a hot writer pays the price of memory.
//!
//! Recent changes lie in layers, which are ordered maps: the top one takes batches and is closed
//! when it is large enough; a thread of its own writes the closed ones to the index below, oldest
//! first, each as one batch. Reads look at the layers from the top down, then at the index. A layer
//! is a union of whole batches, so that a crash loses a tail of whole batches.

use super::{FlushIndex, is_empty_range};
use rhizome_log::{Batch, Index, IndexError, Visit};
use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many bytes of changes may wait before writers do. 16 MiB take a burst of some ten thousand
/// events at the speed of memory and fit a phone.
pub const PENDING_BYTES_MAX: usize = 16 << 20;

/// From how many bytes on a layer is closed. A reader looks at each layer, so there should be few;
/// one that is being written is copied once more.
const LAYER_BYTES_MAX: usize = 512 << 10;

/// From how many bytes on the thread writes without waiting for more.
const DRAIN_BYTES_MIN: usize = 256 << 10;

/// How long the thread waits for more: keys that are written again and again (heads, counters)
/// then reach the index below once.
const DRAIN_DELAY: Duration = Duration::from_millis(100);

/// What a change costs in memory besides its bytes: two vectors and a share of a tree's node.
const CHANGE_BYTES: usize = 64;

type Map = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An [`Index`] in front of another one that takes changes at the speed of memory.
pub struct BufferedIndex {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    below: Arc<dyn FlushIndex>,
    layers: RwLock<Layers>,
    layer_bytes_max: usize,
    control: Mutex<Control>,
    /// Wakes the thread: there is something to write.
    changed: Condvar,
    /// Wakes writers: something was written.
    drained: Condvar,
}

/// A scan holds on to the layers it began with; a writer then copies the top one.
#[derive(Default)]
struct Layers {
    top: Arc<Map>,
    /// Oldest first, each with its size.
    closed: VecDeque<(Arc<Map>, usize)>,
}

impl Layers {
    fn close(&mut self, bytes: usize) {
        self.closed.push_back((std::mem::take(&mut self.top), bytes));
    }
}

#[derive(Default)]
struct Control {
    top_bytes: usize,
    closed_bytes: usize,
    /// How many callers wait until nothing is left.
    flushing: usize,
    closing: bool,
    failed: Option<String>,
}

impl Control {
    fn pending_bytes(&self) -> usize {
        self.top_bytes + self.closed_bytes
    }
}

impl BufferedIndex {
    /// Buffers `below`, with a thread that lives as long as the buffer.
    pub fn new(below: Arc<dyn FlushIndex>) -> Result<Self, IndexError> {
        Self::with_layers(below, LAYER_BYTES_MAX)
    }

    pub(super) fn with_layers(
        below: Arc<dyn FlushIndex>,
        layer_bytes_max: usize,
    ) -> Result<Self, IndexError> {
        let shared = Arc::new(Shared {
            below,
            layer_bytes_max,
            layers: RwLock::default(),
            control: Mutex::default(),
            changed: Condvar::new(),
            drained: Condvar::new(),
        });
        let drainer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("index-drain".to_owned())
            .spawn(move || drainer.drain())
            .map_err(|error| IndexError { what: format!("no thread to drain it: {error}") })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

#[cfg(test)]
impl BufferedIndex {
    pub(super) fn pending_bytes(&self) -> usize {
        self.shared.control().pending_bytes()
    }
}

impl Drop for BufferedIndex {
    fn drop(&mut self) {
        self.shared.control().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that drains the index panicked");
        }
    }
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn layers_mut(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layers as they are now, from the top down.
    fn snapshot(&self) -> Vec<Arc<Map>> {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let closed = layers.closed.iter().rev().map(|(map, _)| Arc::clone(map));
        std::iter::once(Arc::clone(&layers.top)).chain(closed).collect()
    }

    /// The thread: writes closed layers to the index below, again and again.
    fn drain(&self) {
        let mut control = self.control();
        loop {
            while control.pending_bytes() == 0 && !control.closing {
                control = self.changed.wait(control).unwrap_or_else(PoisonError::into_inner);
            }
            if control.pending_bytes() == 0 {
                return;
            }
            control = self.wait_for_more(control);
            if control.closed_bytes == 0 {
                control.closed_bytes = std::mem::take(&mut control.top_bytes);
                self.layers_mut().close(control.closed_bytes);
            }
            drop(control);
            let written = self.write_oldest();
            control = self.control();
            match written {
                Ok(bytes) => control.closed_bytes -= bytes,
                Err(error) => {
                    // The layers stay, so that reads stay right.
                    tracing::error!(%error, "index cannot be written");
                    control.failed = Some(error.what);
                }
            }
            metrics::gauge!("rhizome_index_pending_bytes").set(control.pending_bytes() as f64);
            self.drained.notify_all();
            if control.failed.is_some() {
                return;
            }
        }
    }

    /// Waits until there is enough to write, or somebody wants it written.
    fn wait_for_more<'a>(&self, mut control: MutexGuard<'a, Control>) -> MutexGuard<'a, Control> {
        let started = Instant::now();
        loop {
            let rest = DRAIN_DELAY.saturating_sub(started.elapsed());
            let enough = control.pending_bytes() >= DRAIN_BYTES_MIN || control.closed_bytes > 0;
            if enough || control.flushing > 0 || control.closing || rest.is_zero() {
                return control;
            }
            let waited = self.changed.wait_timeout(control, rest);
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes the oldest layer to the index below and drops it; returns its size.
    fn write_oldest(&self) -> Result<usize, IndexError> {
        let oldest = {
            let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
            layers.closed.front().map(|(map, bytes)| (Arc::clone(map), *bytes))
        };
        let (map, bytes) = oldest.expect("closed bytes lie in a closed layer");
        self.write_below(&map)?;
        self.layers_mut().closed.pop_front();
        Ok(bytes)
    }

    fn write_below(&self, map: &Map) -> Result<(), IndexError> {
        let started = Instant::now();
        let changes = map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        self.below.write_hidden(Batch { changes })?;
        metrics::histogram!("rhizome_index_drain_seconds").record(started.elapsed());
        metrics::counter!("rhizome_index_drained_keys_total").increment(map.len() as u64);
        Ok(())
    }
}

impl Index for BufferedIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        {
            let layers = self.shared.layers.read().unwrap_or_else(PoisonError::into_inner);
            let closed = layers.closed.iter().rev().map(|(map, _)| map);
            let mut maps = std::iter::once(&layers.top).chain(closed);
            if let Some(value) = maps.find_map(|map| map.get(key)) {
                return Ok(value.clone());
            }
        }
        self.shared.below.get(key)
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let maps = self.shared.snapshot();
        let range = (from, to);
        let below = &*self.shared.below;
        let maps = maps.iter().map(|map| map.range::<[u8], _>(range));
        if reverse {
            let ours = Ours { maps: maps.map(|map| map.rev().peekable()).collect() };
            merge(ours, below, range, true, visit)
        } else {
            let ours = Ours { maps: maps.map(Iterator::peekable).collect() };
            merge(ours, below, range, false, visit)
        }
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = &*self.shared;
        let mut control = shared.control();
        while control.pending_bytes() >= PENDING_BYTES_MAX && control.failed.is_none() {
            control = shared.drained.wait(control).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(what) = &control.failed {
            return Err(IndexError { what: what.clone() });
        }
        let before = control.pending_bytes();
        let mut layers = shared.layers_mut();
        let top = Arc::make_mut(&mut layers.top);
        for (key, value) in batch.changes {
            control.top_bytes += key.len() + value.as_ref().map_or(0, Vec::len) + CHANGE_BYTES;
            top.insert(key, value);
        }
        if control.top_bytes >= shared.layer_bytes_max {
            let bytes = std::mem::take(&mut control.top_bytes);
            layers.close(bytes);
            control.closed_bytes += bytes;
        }
        drop(layers);
        let wake =
            before == 0 || (before < DRAIN_BYTES_MIN && control.pending_bytes() >= DRAIN_BYTES_MIN);
        drop(control);
        if wake {
            shared.changed.notify_one();
        }
        Ok(())
    }
}

impl FlushIndex for BufferedIndex {
    fn flush(&self) -> Result<(), IndexError> {
        let shared = &*self.shared;
        let mut control = shared.control();
        control.flushing += 1;
        shared.changed.notify_one();
        while control.pending_bytes() > 0 && control.failed.is_none() {
            control = shared.drained.wait(control).unwrap_or_else(PoisonError::into_inner);
        }
        control.flushing -= 1;
        if let Some(what) = &control.failed {
            return Err(IndexError { what: what.clone() });
        }
        drop(control);
        shared.below.flush()
    }
}

/// A change, as a map yields it.
type Change<'a> = (&'a Vec<u8>, &'a Option<Vec<u8>>);

/// The changes of all layers in scanning order, the topmost where several have a key.
struct Ours<'a, T: Iterator<Item = Change<'a>>> {
    /// From the top down.
    maps: Vec<Peekable<T>>,
}

impl<'a, T: Iterator<Item = Change<'a>>> Ours<'a, T> {
    /// The next change, if `wanted` says so of its key.
    fn next_if(
        &mut self,
        reverse: bool,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let mut first: Option<(usize, &[u8])> = None;
        for (at, map) in self.maps.iter_mut().enumerate() {
            let Some((key, _)) = map.peek() else { continue };
            if first.is_none_or(|(_, first)| *key != first && (key.as_slice() < first) != reverse) {
                first = Some((at, key));
            }
        }
        let (at, _) = first.filter(|(_, key)| wanted(key))?;
        let (key, value) = self.maps[at].next()?;
        for below in &mut self.maps[at + 1..] {
            below.next_if(|(hidden, _)| *hidden == key);
        }
        Some((key, value.as_deref()))
    }
}

/// Visits what is below, changed by what is ours.
fn merge<'a, T: Iterator<Item = Change<'a>>>(
    mut ours: Ours<'a, T>,
    below: &dyn FlushIndex,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    reverse: bool,
    visit: &mut Visit<'_>,
) -> Result<(), IndexError> {
    let mut flow = ControlFlow::Continue(());
    below.scan(from, to, reverse, &mut |key, value| {
        let before = |ours: &[u8]| ours != key && (ours < key) != reverse;
        while let Some((key, value)) = ours.next_if(reverse, before) {
            if let Some(value) = value {
                flow = visit(key, value);
            }
            if flow.is_break() {
                return flow;
            }
        }
        flow = match ours.next_if(reverse, |ours| ours == key) {
            Some((key, Some(value))) => visit(key, value),
            Some((_, None)) => ControlFlow::Continue(()),
            None => visit(key, value),
        };
        flow
    })?;
    while flow.is_continue() {
        let Some((key, value)) = ours.next_if(reverse, |_| true) else { break };
        if let Some(value) = value {
            flow = visit(key, value);
        }
    }
    Ok(())
}

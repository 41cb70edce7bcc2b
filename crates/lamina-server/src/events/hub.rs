//! From those who publish to those who subscribe, in the order of publishing.
//!
//! Whoever publishes never waits: the store does so from the thread that commits. One task hands each
//! event to the subscribers that asked for it. A subscriber that does not read has a bound; over it, it
//! gets what is in its queue and then an error, so nothing is lost unnoticed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_core::Stream;
use futures_util::StreamExt as _;
use lamina_api::convert::event::{Subject, decode_envelope, encode_envelope};
use lamina_api::convert::field;
use lamina_api::proto::containerd::types::Envelope;
use lamina_core::{Error, EventSink, Filters, Result};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// How much a subscriber may leave unread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Events about tasks. Who misses an exit believes for ever that a container runs.
    pub(crate) tasks: usize,
    /// All others.
    pub(crate) others: usize,
    /// Bytes of messages, which can be as large as clients make them.
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { tasks: 65_536, others: 4096, bytes: 64 << 20 }
    }
}

/// Takes events and hands them out.
pub(crate) struct Hub {
    to: UnboundedSender<Message>,
    bounds: Bounds,
    counters: Arc<Counters>,
}

/// What went through a hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events that were handed out, whoever heard them.
    pub(crate) published: u64,
    /// Subscribers that are there.
    pub(crate) subscribers: u64,
    /// Subscribers that were too slow.
    pub(crate) dropped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    published: AtomicU64,
    subscribers: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    /// Of the store.
    Ours(lamina_core::Envelope),
    /// Of a client, who may have put in what we do not know.
    Theirs(Envelope),
    Subscribe(Subscriber),
}

/// The far end of the hub: [`run`](Self::run) is its work.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    from: UnboundedReceiver<Message>,
    subscribers: Vec<Subscriber>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Subscriber {
    filters: Filters,
    to: UnboundedSender<Result<Arc<Envelope>>>,
    pending: Arc<Pending>,
    bounds: Bounds,
}

/// What one subscriber has not read.
#[derive(Debug, Default)]
struct Pending {
    tasks: AtomicUsize,
    others: AtomicUsize,
    bytes: AtomicUsize,
}

impl Hub {
    /// A hub, and the work that somebody must do for it.
    pub(crate) fn new(bounds: Bounds) -> (Arc<Hub>, Dispatcher) {
        let (to, from) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let hub = Hub { to, bounds, counters: Arc::clone(&counters) };
        (Arc::new(hub), Dispatcher { from, subscribers: Vec::new(), counters })
    }

    /// What has gone through since it was made.
    pub(crate) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            published: get(&self.counters.published),
            subscribers: get(&self.counters.subscribers),
            dropped: get(&self.counters.dropped),
        }
    }

    /// Hands on what a client published, as it is.
    pub(crate) fn publish(&self, envelope: Envelope) {
        // Nobody can hear it once the daemon has stopped.
        let _ = self.to.send(Message::Theirs(envelope));
    }

    /// Hands on what a shim or another daemon publishes, whole.
    ///
    /// # Errors
    /// InvalidArgument for none, and for one without a namespace, topic or time.
    pub(crate) fn forward(&self, envelope: Option<Envelope>) -> Result<()> {
        let envelope = field::required("envelope", envelope)?;
        decode_envelope(envelope.clone())?;
        self.publish(envelope);
        Ok(())
    }

    /// Everything published from now on that one of the filters matches.
    ///
    /// The stream ends with Unavailable when its reader is too slow, and without an error when the
    /// hub is gone.
    pub(crate) fn subscribe(
        &self,
        filters: Filters,
    ) -> impl Stream<Item = Result<Arc<Envelope>>> + Send + use<> {
        let (to, from) = unbounded_channel();
        let pending = Arc::new(Pending::default());
        let subscriber =
            Subscriber { filters, to, pending: Arc::clone(&pending), bounds: self.bounds };
        // Through the same queue as the events, so that "from now on" is exact. Without a dispatcher
        // the sender is dropped here, and the stream ends.
        let _ = self.to.send(Message::Subscribe(subscriber));
        let here = Here::new(&self.counters);
        UnboundedReceiverStream::new(from).inspect(move |item| {
            let _ = &here;
            if let Ok(envelope) = item {
                pending.left(envelope);
            }
        })
    }
}

/// Counts a subscriber for as long as it has its stream.
struct Here(Arc<Counters>);

impl Here {
    fn new(counters: &Arc<Counters>) -> Here {
        counters.subscribers.fetch_add(1, Ordering::Relaxed);
        Here(Arc::clone(counters))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EventSink for Hub {
    fn send(&self, envelope: lamina_core::Envelope) {
        let _ = self.to.send(Message::Ours(envelope));
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Hands events out until the hub is gone.
    pub(crate) async fn run(mut self) {
        while let Some(message) = self.from.recv().await {
            match message {
                Message::Ours(envelope) => self.hand_out(encode_envelope(envelope)),
                Message::Theirs(envelope) => self.hand_out(envelope),
                Message::Subscribe(subscriber) => {
                    self.subscribers.retain(|one| !one.to.is_closed());
                    self.subscribers.push(subscriber);
                }
            }
        }
    }

    fn hand_out(&mut self, envelope: Envelope) {
        self.counters.published.fetch_add(1, Ordering::Relaxed);
        let envelope = Arc::new(envelope);
        let subject = Subject::new(&envelope);
        self.subscribers.retain(|one| match one.filters.matches(&subject) {
            true => one.take(&envelope, &self.counters),
            false => !one.to.is_closed(),
        });
    }
}

impl Subscriber {
    /// Queues the event. False when the subscriber has gone, or has to.
    fn take(&self, envelope: &Arc<Envelope>, counters: &Counters) -> bool {
        let next = match self.pending.entered(envelope, self.bounds) {
            true => Ok(Arc::clone(envelope)),
            false => {
                counters.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(filters = ?self.filters, "a subscriber of events is too slow");
                Err(Error::unavailable("the subscriber reads too slowly, and events were lost"))
            }
        };
        let goes_on = next.is_ok();
        self.to.send(next).is_ok() && goes_on
    }
}

impl Pending {
    /// Counts one more. False over a bound.
    fn entered(&self, envelope: &Envelope, bounds: Bounds) -> bool {
        let (count, bound) = match is_task(envelope) {
            true => (&self.tasks, bounds.tasks),
            false => (&self.others, bounds.others),
        };
        // Only the dispatcher adds, so nothing comes between a look and an addition.
        let bytes = self.bytes.load(Ordering::Relaxed) + size(envelope);
        if count.load(Ordering::Relaxed) >= bound || bytes > bounds.bytes {
            return false;
        }
        count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size(envelope), Ordering::Relaxed);
        true
    }

    fn left(&self, envelope: &Envelope) {
        let count = if is_task(envelope) { &self.tasks } else { &self.others };
        count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(size(envelope), Ordering::Relaxed);
    }
}

fn is_task(envelope: &Envelope) -> bool {
    envelope.topic.starts_with("/tasks/")
}

fn size(envelope: &Envelope) -> usize {
    envelope.event.as_ref().map_or(0, |event| event.value.len())
}

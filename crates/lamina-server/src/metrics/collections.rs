//! Collections that the daemon began by itself.

use std::time::Duration;

use lamina_store::Collected;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds. A collection of an idle host takes milliseconds, a large one minutes.
const BUCKETS: [f64; 9] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// How many collections there were, how long they took, and what went.
#[derive(Clone, Debug)]
pub(crate) struct Collections {
    runs: Family<Status, Counter>,
    seconds: Histogram,
    removed: Family<Kind, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Collections {
    pub(crate) fn new(registry: &mut Registry) -> Collections {
        let all = Collections {
            runs: Family::default(),
            seconds: Histogram::new(BUCKETS),
            removed: Family::default(),
        };
        registry.register("containerd_gc_collections", "Collections that ended", all.runs.clone());
        registry.register("containerd_gc_gc_seconds", "Time of collections", all.seconds.clone());
        registry.register("lamina_gc_removed", "What collections removed", all.removed.clone());
        all
    }

    /// Counts one that ended.
    pub(crate) fn ended(&self, took: Duration, collected: Option<&Collected>) {
        let status = if collected.is_some() { "success" } else { "fail" };
        self.runs.get_or_create(&Status { status }).inc();
        self.seconds.observe(took.as_secs_f64());
        let Some(collected) = collected else { return };
        for (kind, count) in [
            ("blob", collected.blobs),
            ("snapshot", collected.snapshots),
            ("image", collected.images),
            ("lease", collected.leases),
            ("ingest", collected.ingests),
            ("mount", collected.mounts),
        ] {
            self.removed.get_or_create(&Kind { kind }).inc_by(count as u64);
        }
    }
}

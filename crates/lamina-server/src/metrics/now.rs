//! What others count already, read when somebody asks.

use std::fmt;
use std::sync::{Arc, Weak};

use lamina_store::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::process;
use crate::events::Hub;

/// The store and the hub. The hub ends when nobody holds it, so this does not.
#[derive(Debug)]
pub(super) struct Now {
    store: Store,
    events: Weak<Hub>,
}

impl Now {
    pub(super) fn new(store: &Store, events: &Arc<Hub>) -> Now {
        Now { store: store.clone(), events: Arc::downgrade(events) }
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let database = self.store.database_stats();
        let events = self.events.upgrade().map(|hub| hub.counts()).unwrap_or_default();
        for (name, help, value) in [
            ("lamina_database_requests", "Writes that were committed", database.requests),
            ("lamina_database_commits", "Transactions that were committed", database.commits),
            (
                "lamina_database_replays",
                "Writes that were run again because another's error undid their transaction",
                database.replays,
            ),
            (
                "lamina_database_checkpoints",
                "Times that the log was moved into the file",
                database.checkpoints,
            ),
            ("lamina_database_deletions", "Things that clients let go of", database.deletions),
            ("lamina_events_published", "Events that were published", events.published),
            (
                "lamina_events_dropped_subscribers",
                "Subscribers that read too slowly and were sent away",
                events.dropped,
            ),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        gauge(
            &mut encoder,
            "lamina_database_waiting",
            "Writes that are queued or being run",
            database.waiting as f64,
        )?;
        gauge(
            &mut encoder,
            "lamina_events_subscribers",
            "Subscribers of events",
            events.subscribers as f64,
        )?;
        let process = process::read();
        let cpu = ConstCounter::new(process.cpu_seconds);
        let (name, help) = ("process_cpu_seconds", "Time on processors, of user and system");
        cpu.encode(encoder.encode_descriptor(name, help, None, cpu.metric_type())?)?;
        for (name, help, value) in [
            ("process_open_fds", "Open file descriptors", process.open_fds),
            ("process_max_fds", "File descriptors that may be open", process.max_fds),
            ("process_resident_memory_bytes", "Resident memory", process.resident_bytes),
            ("process_virtual_memory_bytes", "Virtual memory", process.virtual_bytes),
            ("process_threads", "Threads", process.threads),
        ] {
            // What the kernel did not tell is left out rather than zero.
            if let Some(value) = value {
                gauge(&mut encoder, name, help, value as f64)?;
            }
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

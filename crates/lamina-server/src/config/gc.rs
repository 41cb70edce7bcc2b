//! When garbage is collected.

use std::time::Duration;

/// The settings of the collector, with containerd's names, meanings and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gc {
    /// The share of time that collections may take, as an average; 0.5 at most.
    pub pause_threshold: f64,
    /// So many deletions bring a collection about; 0: deletions do not.
    pub deletion_threshold: u64,
    /// So many changes make the next collection due; 0: changes do not.
    pub mutation_threshold: u64,
    /// From the reason for a collection to its start.
    pub schedule_delay: Duration,
    /// From the start of the daemon to the first collection.
    pub startup_delay: Duration,
}

impl Default for Gc {
    fn default() -> Self {
        Gc {
            pause_threshold: 0.02,
            deletion_threshold: 0,
            mutation_threshold: 100,
            schedule_delay: Duration::ZERO,
            startup_delay: Duration::from_millis(100),
        }
    }
}

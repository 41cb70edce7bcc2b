//! Contract suites: one per trait, run over every implementor of it.

pub mod snapshots;

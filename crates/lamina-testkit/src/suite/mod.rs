//! Contract suites: one per trait, run over every implementor of it.

pub mod content;
pub mod sandboxes;
pub mod snapshots;

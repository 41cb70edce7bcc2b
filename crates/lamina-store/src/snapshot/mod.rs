//! Snapshots: the engine that every local back end shares, and the back ends.

pub mod driver;
pub mod drivers;

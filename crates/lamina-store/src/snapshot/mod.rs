//! Snapshots: the engine that every local back end shares, and the back ends.
//!
//! `engine` owns the rows and their order against files; `create`, `commit`, `remove`, `share` and
//! `query` are its verbs, one file each; `locks`, `barrier`, `ids` and `reaper` its parts. `driver`
//! is the seam to the back ends, which know nothing of names. `remote` is the one that is a
//! snapshotter itself, in another process.

mod barrier;
mod commit;
mod create;
pub mod driver;
pub mod drivers;
mod engine;
mod handle;
mod ids;
mod locks;
mod query;
mod reaper;
pub(crate) mod registry;
pub mod remote;
mod remove;
mod share;

pub use commit::Layer;
pub use engine::{Engine, Options};
pub use handle::Handle;
pub use reaper::Reaped;
pub use registry::{Opener, Source, State};

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;

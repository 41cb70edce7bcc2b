//! The state of one host: database, content, snapshots, mounts, garbage collection.
//!
//! Synchronous inside; the traits of `lamina-core` are implemented by one adapter that runs each
//! call to its end on a blocking thread.

mod blocking;
pub mod content;
pub mod db;
mod durability;
pub mod fault;
pub(crate) mod gc;
mod io;
pub mod mount;
mod rounds;
pub mod snapshot;

pub use durability::Durability;

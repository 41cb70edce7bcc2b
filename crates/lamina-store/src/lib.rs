//! The state of one host: database, content, snapshots, mounts, garbage collection.
//!
//! Synchronous inside; the traits of `lamina-core` are implemented by one adapter that runs each
//! call to its end on a blocking thread.

mod blocking;
pub mod content;
pub mod db;
pub mod diff;
pub mod disk;
mod durability;
pub mod erofs;
pub mod fault;
pub mod fsck;
pub(crate) mod gc;
mod io;
pub mod mount;
mod random;
mod records;
mod rounds;
pub mod snapshot;
mod store;
#[cfg(test)]
mod testing;
mod unpack;

pub use db::SCHEMA_VERSION;
pub use durability::Durability;
pub use gc::Collected;
pub use lamina_sys::memory::return_large_blocks;
pub use records::{Containers, Images, Leases, Namespaces, Sandboxes};
pub use store::{Options, Store};

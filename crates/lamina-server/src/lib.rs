//! The daemon: containerd's API over a store.
//!
//! Start reading at [`daemon`]: configuration, then the parts, then the socket, then the end. A call
//! comes in through `service/`, which has one file a gRPC service: it decodes, calls a trait of
//! `lamina-core`, and encodes. [`config`] is what a file says, [`plugin`] what clients are told the daemon
//! is made of.

pub mod config;
pub mod daemon;
mod differs;
mod events;
mod gc;
mod metrics;
mod notify;
mod parts;
pub mod plugin;
mod proxy;
mod restart;
mod runtime;
mod service;
mod socket;
pub mod standalone;
mod streams;
mod transfer;
mod ttrpc;
mod upkeep;

pub use config::Config;
pub use daemon::{Daemon, Running};

/// What clients are told: the version of containerd's API, by which they choose their ways, and ours.
pub const VERSION: &str = concat!("2.3.4+lamina.", env!("CARGO_PKG_VERSION"));

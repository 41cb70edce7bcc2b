//! The SDK: a connection to a daemon, and `lamina-core`'s traits over it.
//!
//! A [`Client`] is a [`Host`](lamina_core::Host): what is written against that trait works on a
//! daemon's stores as it does on a store of its own. Each trait has one file, which encodes, asks, and
//! decodes. Start reading at `link.rs`, through which every call goes.
//!
//! ```no_run
//! # async fn example() -> lamina_core::Result<()> {
//! use lamina_core::{Host, Namespace, Scope};
//!
//! let client = lamina_client::Client::connect("/run/lamina/lamina.sock").await?;
//! let scope = Scope::new(Namespace::new("default")?);
//! let mounts = client.snapshotter(&scope, "overlayfs")?.mounts("my-container").await?;
//! # Ok(())
//! # }
//! ```

#[macro_use]
mod link;

mod client;
mod containers;
mod content;
mod diff;
mod events;
mod images;
mod introspection;
mod layers;
mod leases;
mod mounts;
mod namespaces;
mod sandboxes;
mod snapshots;
mod streams;
mod tasks;
mod transfer;

pub use client::{Client, Version};
pub use events::{Events, decode_event};

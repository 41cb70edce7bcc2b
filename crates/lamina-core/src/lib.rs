//! The vocabulary of Lamina and the traits at its seams.
//!
//! This crate owns what all others talk in: names that were checked once ([`Digest`], [`Namespace`],
//! …), plain data ([`snapshot::Info`], [`Mount`], …), the one [`Error`], and the traits that the
//! store, the client and the server implement. It does no I/O and knows no executor, no protobuf and
//! no SQL.

pub mod container;
pub mod content;
pub mod credentials;
pub mod descriptor;
pub mod diff;
pub mod digest;
pub mod error;
pub mod event;
pub mod filter;
pub mod host;
pub mod image;
pub mod introspection;
mod json;
pub mod labels;
pub mod layer;
pub mod lease;
pub mod media_type;
pub mod mount;
pub mod namespace;
pub mod oci;
pub mod platform;
pub mod reference;
pub mod sandbox;
pub mod snapshot;
pub mod task;
pub mod transfer;

pub use container::{Any, Container, ContainerStore};
pub use content::{ContentReader, ContentStore, ContentWriter};
pub use descriptor::Descriptor;
pub use diff::Differ;
pub use digest::Digest;
pub use error::{Error, Kind, Result};
pub use event::{Envelope, Event, EventSink};
pub use filter::{Fields, Filters};
pub use host::Host;
pub use image::{Image, ImageStore};
pub use introspection::Introspection;
pub use labels::Labels;
pub use lease::{Lease, LeaseStore};
pub use mount::{Mount, MountManager};
pub use namespace::{Namespace, NamespaceStore, Scope};
pub use platform::Platform;
pub use reference::Reference;
pub use sandbox::{Sandbox, SandboxStore};
pub use snapshot::Snapshotter;
pub use task::TaskService;
pub use transfer::Transfer;

//! containerd's API as Lamina speaks it: what goes over the wire, and what it means here.
//!
//! [`proto`] is generated from the files in `proto/`, one a package. Their names, numbers and types
//! are the contract with every client; `tests/wire.rs` compares them with what others publish.
//! [`convert`] turns them into `lamina-core`'s types and back, [`status`] does so for errors.

pub mod convert;
pub mod proto;
pub mod status;

//! Messages of the API as `lamina-core`'s types, and back.
//!
//! `decode…` reads what came over the wire and checks it: what it takes is in the form the type
//! promises, and an error is InvalidArgument that names the field. Whether a thing may have that name
//! or those labels is the stores' to say. `encode…` cannot fail. Both take their argument by value,
//! and serve a server and a client alike.

pub mod any;
pub mod container;
pub mod content;
pub mod descriptor;
pub mod event;
pub mod field;
pub mod image;
pub mod introspection;
pub mod lease;
pub mod mount;
pub mod namespace;
pub mod platform;
pub mod sandbox;
pub mod snapshot;
pub mod task;
pub mod timestamp;
pub mod transfer;

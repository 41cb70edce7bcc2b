//! The vocabulary of Lamina and the traits at its seams.
//!
//! This crate owns what all others talk in: names that were checked once ([`Digest`], [`Namespace`],
//! …), plain data ([`snapshot::Info`], [`Mount`], …), the one [`Error`], and the traits that the
//! store, the client and the server implement. It does no I/O and knows no executor, no protobuf and
//! no SQL.

pub mod digest;
pub mod error;

pub use digest::Digest;
pub use error::{Error, Kind, Result};

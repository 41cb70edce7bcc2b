//! Remote images and image formats.
//!
//! This crate talks to registries and reads and writes image formats. It is written against the traits
//! of `lamina-core` and knows neither where state lies nor the wire between daemon and clients. What it
//! needs of its surroundings (credentials, proxies, directories) is passed in.

pub mod changes;
pub mod check;
pub mod commit;
pub mod compression;
pub mod contents;
pub mod convert;
pub mod export;
pub mod import;
mod pipe;
pub mod pull;
pub mod push;
pub mod record;
pub mod registry;
mod tar;
pub mod unpack;
pub mod usage;

//! Registries: from a reference to verified bytes.
//!
//! A [`Registry`] holds what a process shares (connections, TLS), a [`Repository`] is one name as one
//! user sees it, a [`Blob`] is a stream that survives broken connections. Who may be asked comes from
//! `hosts.toml`, who asks from the [`Credentials`] passed in.
//!
//! Invariants: nothing in an answer is believed that can be checked; every read has a cap and a time;
//! a secret goes to the (scheme, host, port) it belongs to and never over a redirect; no text from a
//! registry reaches a message unshortened. Protocol: OCI distribution specification 1.1, with Docker's
//! tokens.

mod answer;
mod auth;
mod blob;
mod challenge;
mod client;
mod clients;
mod config;
pub mod docker_config;
mod docker_credentials;
mod document;
mod helper;
mod host;
mod hosts;
pub mod hosts_toml;
mod origin;
mod range;
mod resolve;
mod token;
mod transport;
mod upload;

pub use blob::Blob;
pub use client::{Registry, Repository};
pub use config::{Config, Limits, Proxies, Ranges, Retry, Timeouts};
pub use docker_credentials::DockerCredentials;
pub use helper::run_helper;
pub use lamina_core::credentials::{
    Anonymous, Credential, CredentialRequest, Credentials, ForHost, Secret,
};
pub use upload::{Upload, Uploaded};

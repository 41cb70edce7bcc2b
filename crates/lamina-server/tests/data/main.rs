//! The services Content, Snapshots and Diff, over the socket: each status, streams, and clients that
//! vanish.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is all tests.

mod content;
mod diff;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
mod write;

use std::collections::BTreeMap;

use lamina_api::proto::containerd::services::leases::v1::CreateRequest;
use lamina_api::proto::containerd::services::leases::v1::leases_client::LeasesClient;
use support::Server;
use tonic::Request;

/// What holds whatever a test makes, as the collector runs beside it.
const LEASE: &str = "held";

/// A daemon with that lease in the namespaces of the tests.
async fn start() -> Server {
    let server = Server::start().await;
    for namespace in ["test", "other"] {
        let create = CreateRequest { id: LEASE.to_owned(), ..Default::default() };
        let mut leases = LeasesClient::new(server.channel());
        leases.create(support::call_in(namespace, create)).await.unwrap();
    }
    server
}

fn call<T>(message: T) -> Request<T> {
    call_in("test", message)
}

fn call_in<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = support::call_in(namespace, message);
    request.metadata_mut().insert("containerd-lease", LEASE.parse().unwrap());
    request
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

//! The contract of the content store, over a daemon's.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod support;

use std::sync::Arc;

use lamina_client::Client;
use lamina_core::{ContentStore, Host as _, Namespace, Scope};
use lamina_testkit::suite::content::{self, Facts};
use support::Server;

fn scoped(client: &Client) -> impl Fn(&Namespace) -> Arc<dyn ContentStore> + Sync {
    |namespace| client.content(&Scope::new(namespace.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case() {
    let server = Server::start().await;
    content::every_case(&scoped(&server.client), Facts::REMOTE).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing() {
    let server = Server::start().await;
    content::sharing(&scoped(&server.client), Facts::REMOTE).await;
    server.stop().await;
}

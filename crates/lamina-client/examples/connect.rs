//! Connects to a daemon, and shows what it is and its namespaces.
//!
//! `cargo run -p lamina-client --example connect -- /run/lamina/lamina.sock`

use lamina_client::Client;
use lamina_core::{Error, Host as _, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let socket = std::env::args_os().nth(1);
    let socket = socket.ok_or_else(|| Error::invalid_argument("usage: connect SOCKET"))?;
    let client = Client::connect(std::path::Path::new(&socket)).await?;
    client.health().await?;
    println!("version {}", client.version().await?.version);
    for (namespace, labels) in client.namespaces().list().await? {
        println!("namespace {namespace} {labels:?}");
    }
    Ok(())
}

//! Lists the snapshots of a namespace, page by page, each with the chain below it.
//!
//! `cargo run -p lamina-client --example snapshots -- /run/lamina/lamina.sock default overlayfs`

use futures_util::TryStreamExt as _;
use lamina_client::Client;
use lamina_core::{Error, Filters, Host as _, Namespace, Result, Scope};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, namespace, snapshotter] = args.as_slice() else {
        return Err(Error::invalid_argument("usage: snapshots SOCKET NAMESPACE SNAPSHOTTER"));
    };
    let client = Client::connect(socket).await?;
    let scope = Scope::new(Namespace::new(namespace)?);
    let snapshots = client.snapshotter(&scope, snapshotter)?;
    let mut pages = snapshots.walk(Filters::default());
    while let Some(page) = pages.try_next().await? {
        for found in page {
            let mut line = format!("{} {}", found.kind, found.name);
            let mut below = found.parent;
            while !below.is_empty() {
                line.push_str(&format!(" <- {below}"));
                below = snapshots.stat(&below).await?.parent;
            }
            println!("{line}");
        }
    }
    Ok(())
}

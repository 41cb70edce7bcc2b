//! Prepares a writable snapshot on a committed one (`-` for none), and prints how to mount it.
//!
//! `cargo run -p lamina-client --example prepare -- /run/lamina/lamina.sock default overlayfs my-key -`

use lamina_client::Client;
use lamina_core::{Error, Host as _, Labels, Namespace, Result, Scope};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, namespace, snapshotter, key, parent] = args.as_slice() else {
        let usage = "usage: prepare SOCKET NAMESPACE SNAPSHOTTER KEY PARENT";
        return Err(Error::invalid_argument(usage));
    };
    let client = Client::connect(socket).await?;
    let scope = Scope::new(Namespace::new(namespace)?);
    // Nothing refers to a snapshot that was just made: a root label keeps it from being collected.
    let labels = Labels::from([("containerd.io/gc.root".to_owned(), "example".to_owned())]);
    let parent = if parent == "-" { "" } else { parent };
    let mounts = client.snapshotter(&scope, snapshotter)?.prepare(key, parent, labels).await?;
    for mount in mounts {
        println!("mount {mount} TARGET");
    }
    Ok(())
}

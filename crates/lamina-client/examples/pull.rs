//! Pulls an image for this host's platform, and unpacks it into a chosen snapshotter.
//!
//! `cargo run -p lamina-client --example pull -- /run/lamina/lamina.sock default overlayfs redis:7`

use lamina_client::Client;
use lamina_core::transfer::{Destination, NewImages, RegistryEnd, Source, Unpack};
use lamina_core::{Error, Namespace, Platform, Reference, Result, Scope};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, namespace, snapshotter, image] = args.as_slice() else {
        return Err(Error::invalid_argument("usage: pull SOCKET NAMESPACE SNAPSHOTTER IMAGE"));
    };
    let name = Reference::parse(image)?.to_string();
    let transfer = Client::connect(socket).await?.transfer(&Scope::new(Namespace::new(namespace)?));
    let from = Source::Registry(RegistryEnd::new(&name));
    let unpacks = vec![Unpack { platform: None, snapshotter: snapshotter.clone() }];
    let platforms = vec![Platform::host()];
    let to = NewImages { name: name.clone(), platforms, unpacks, ..NewImages::default() };
    transfer.transfer(from, Destination::Images(to), Default::default()).await?;
    println!("pulled {name}");
    Ok(())
}

//! One image pulled over several connections at once.

use std::time::Instant;

use lamina_client::Client;
use lamina_core::transfer::{Destination, NewImages, RegistryEnd, Source, Unpack};
use lamina_core::{Namespace, Platform, Result, Scope};

pub(crate) async fn run(
    socket: &str,
    namespace: &str,
    image: &str,
    connections: u64,
) -> Result<()> {
    let scope = Scope::new(Namespace::new(namespace)?);
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::connect(socket).await?);
    }
    let began = Instant::now();
    crate::side_by_side(connections, |at| {
        let transfer = clients[at as usize].transfer(&scope);
        let image = image.to_owned();
        async move {
            let registry =
                RegistryEnd { default_scheme: "http".to_owned(), ..RegistryEnd::new(&image) };
            let unpack =
                Unpack { platform: Some(Platform::host()), snapshotter: "overlayfs".into() };
            let to = NewImages {
                name: image,
                platforms: vec![Platform::host()],
                unpacks: vec![unpack],
                ..NewImages::default()
            };
            let (from, to) = (Source::Registry(registry), Destination::Images(to));
            transfer.transfer(from, to, Default::default()).await
        }
    })
    .await?;
    println!("seconds={:.4}", began.elapsed().as_secs_f64());
    Ok(())
}

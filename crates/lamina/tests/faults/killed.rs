//! SIGKILL under load. What was answered is there, what was not is whole or not there.

use std::time::Duration;

use lamina_api::convert::any;
use lamina_api::proto::containerd::services::transfer::v1 as transfer;
use lamina_api::proto::containerd::types::Platform;
use lamina_api::proto::containerd::types::transfer as ends;
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::{Fault, On, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;
use transfer::transfer_client::TransferClient;

use crate::client::{call, connect};
use crate::daemon::Site;
use crate::process::no_mounts;
use crate::work;

const ROUNDS: usize = 3;
const CLIENTS: usize = 16;

/// What a client was told is done.
#[derive(Debug, Default)]
struct Done {
    lease: String,
    blobs: Vec<(String, Vec<u8>)>,
    snapshots: Vec<String>,
    images: Vec<String>,
    /// Leases that were made and kept.
    leases: Vec<String>,
}

/// Works until the daemon does not answer any more.
async fn client(channel: Channel, name: String) -> Done {
    let mut done = Done::default();
    let Ok(lease) = work::lease(&channel, &name).await else { return done };
    done.lease = lease;
    for n in 0.. {
        if step(&channel, &format!("{name}-{n}"), &mut done).await.is_err() {
            break;
        }
    }
    done
}

async fn step(channel: &Channel, name: &str, done: &mut Done) -> Result<(), Status> {
    let bytes = name.repeat(1 + name.len() * 300).into_bytes();
    let digest = work::write(channel, &done.lease, name, &bytes).await?;
    done.blobs.push((digest.clone(), bytes));
    work::image(channel, name, &digest).await?;
    done.images.push(name.to_owned());
    work::snapshot(channel, &done.lease, name).await?;
    done.snapshots.push(name.to_owned());
    done.leases.push(work::lease(channel, &format!("{name}-lease")).await?);
    Ok(())
}

/// Everything that was answered is there.
async fn check(channel: &Channel, done: &Done) {
    for (digest, bytes) in &done.blobs {
        assert!(work::read(channel, digest).await.unwrap() == *bytes, "{digest} is another");
    }
    for name in &done.images {
        work::image_is_there(channel, name).await.unwrap();
    }
    for name in &done.snapshots {
        work::snapshot_is_there(channel, name).await.unwrap();
    }
    let leases = work::leases(channel).await.unwrap();
    for id in done.leases.iter().chain([&done.lease]) {
        assert!(id.is_empty() || leases.contains(id), "{id} is gone");
    }
}

fn image() -> Image {
    ImageBuilder::new(Flavor::Oci)
        .platform(lamina_core::Platform::new("linux", "amd64"))
        .layer(TarBuilder::archive([Entry::file("one", vec![1; 400_000])]))
        .layer(TarBuilder::archive([Entry::file("two", vec![2; 300_000])]))
        .build()
}

async fn pull(channel: Channel, host: String) -> Result<(), Status> {
    let platform = Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        ..Platform::default()
    };
    let unpack = ends::UnpackConfiguration {
        platform: Some(platform.clone()),
        snapshotter: "native".to_owned(),
    };
    let resolver =
        ends::RegistryResolver { default_scheme: "http".to_owned(), ..Default::default() };
    let from = ends::OciRegistry { reference: format!("{host}/app:1"), resolver: Some(resolver) };
    let to = ends::ImageStore {
        name: "pulled".to_owned(),
        platforms: vec![platform],
        unpacks: vec![unpack],
        ..Default::default()
    };
    let request = transfer::TransferRequest {
        source: Some(any::pack(&from)),
        destination: Some(any::pack(&to)),
        options: None,
    };
    TransferClient::new(channel).transfer(call(request)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_under_load_takes_nothing_that_was_answered() {
    let site = Site::new();
    let registry = TestRegistry::start();
    registry.push("app", "1", &image());
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let daemon = site.start();
        registry.clear_faults();
        registry.fault(On::blobs(), Fault::Slow(8, Duration::from_millis(200)));
        let pulling = tokio::spawn(pull(connect(&site).await, registry.host()));
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            clients.spawn(client(connect(&site).await, format!("r{round}-c{n}")));
        }
        tokio::time::sleep(Duration::from_millis(700 + 400 * round as u64)).await;
        daemon.kill();
        assert!(pulling.await.unwrap().is_err(), "the pull was to be in progress");
        let done = clients.join_all().await;
        let blobs: usize = done.iter().map(|one| one.blobs.len()).sum();
        assert!(blobs > 0, "nothing was done before the kill");
        all.extend(done);

        let daemon = site.start();
        let channel = connect(&site).await;
        for done in &all {
            check(&channel, done).await;
        }
        daemon.stop();
        let found = site.command(&["fsck", "--verify"]).output().unwrap();
        assert!(found.status.success(), "{found:?}");
    }
    let daemon = site.start();
    go_on(&site, &registry).await;
    daemon.stop();
    no_mounts(&site);
}

/// The pull that was cut off, and the rest of a day; then nothing of all that is held any more.
async fn go_on(site: &Site, registry: &TestRegistry) {
    registry.clear_faults();
    let channel = connect(site).await;
    pull(channel.clone(), registry.host()).await.unwrap();
    work::image_is_there(&channel, "pulled").await.unwrap();
    let mut done = Done { lease: work::lease(&channel, "after").await.unwrap(), ..Done::default() };
    step(&channel, "after", &mut done).await.unwrap();
    check(&channel, &done).await;
    for id in work::leases(&channel).await.unwrap() {
        assert!(id.starts_with('r') || id.starts_with("after"), "a lease of nobody: {id}");
    }
}

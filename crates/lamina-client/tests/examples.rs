//! The examples do what they say, on a daemon.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod support;

use std::path::PathBuf;
use std::process::Command;

use lamina_core::{Host as _, Platform};
use lamina_testkit::image::{Flavor, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use support::{Server, scope, socket};

/// Runs an example, which cargo has built for the tests, and returns what it prints.
async fn example(name: &'static str, args: Vec<String>) -> String {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().with_file_name("examples").join(name);
    let ran = tokio::task::spawn_blocking(move || Command::new(program).args(args).output());
    let ran = ran.await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{name}: {errors}");
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path()).await;
    let address = socket(dir.path()).display().to_string();
    let args = |more: &[&str]| -> Vec<String> {
        [&[address.as_str()], more].concat().into_iter().map(str::to_owned).collect()
    };

    let mounts = example("prepare", args(&["shown", "native", "key", "-"])).await;
    let root = dir.path().join("root").display().to_string();
    assert!(mounts.starts_with("mount -t bind ") && mounts.contains(&root), "{mounts}");
    let listed = example("snapshots", args(&["shown", "native"])).await;
    assert_eq!(listed, "Active key\n");
    let connected = example("connect", args(&[])).await;
    let told = server.client.version().await.unwrap().version;
    assert!(connected.contains(&format!("version {told}")), "{connected}");
    assert!(connected.contains("namespace shown {}"), "{connected}");

    let registry = TestRegistry::start();
    let layer = TarBuilder::archive([Entry::file("hello", "hello")]);
    let image = ImageBuilder::new(Flavor::Oci).platform(Platform::host()).layer(layer).build();
    registry.push("app", "1", &image);
    let name = format!("{}/app:1", registry.host());
    let pulled = example("pull", args(&["shown", "native", &name])).await;
    assert_eq!(pulled, format!("pulled {name}\n"));
    let chain = image.diff_ids[0].to_string();
    let snapshots = server.client.snapshotter(&scope("shown"), "native").unwrap();
    snapshots.stat(&chain).await.unwrap();
    server.stop().await;
}

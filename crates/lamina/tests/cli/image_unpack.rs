//! `lamina image unpack` and `snapshot unpack`: from blobs that are here.

use lamina_core::Platform;
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

use crate::environment::{TestEnvironment, says};

/// An image of two layers, pulled and left packed.
fn packed(env: &TestEnvironment, registry: &TestRegistry) -> (Image, String) {
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer(TarBuilder::archive([Entry::file("base", "1")]))
        .layer(TarBuilder::archive([Entry::file("top", "2")]))
        .build();
    registry.push("app", "1", &image);
    let reference = format!("{}/app:1", registry.host());
    let args = ["pull", "-q", "--plain-http", "--platform", "linux/amd64", "--no-unpack"];
    env.ok(&[&args[..], &[&reference]].concat());
    (image, reference)
}

#[test]
fn packed_images_are_unpacked_later() {
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    let (image, reference) = packed(&env, &registry);
    drop(registry);
    let chain = env.ok(&["image", "unpack", &reference]);
    let snapshots = env.json(&["snapshot", "ls", "--format", "json"]);
    let top = snapshots.as_array().unwrap().iter().find(|s| s["Name"] == json!(chain.trim()));
    assert_eq!(top.unwrap()["Parent"], json!(image.diff_ids[0]));
    assert_eq!(env.ok(&["lease", "ls", "--format", "json"]), "[]\n");
    env.ok(&["prune"]);
    assert_eq!(env.json(&["snapshot", "ls", "--format", "json"]), snapshots);
    assert_eq!(env.ok(&["image", "check", "-q"]), format!("{reference}\n"));

    // What is unpacked needs no blob.
    env.ok(&["content", "rm", image.layers[0].digest.as_str()]);
    let again = ["snapshot", "unpack", "--platform", "linux/amd64", image.root.digest.as_str()];
    assert_eq!(env.ok(&again), chain);
}

#[test]
fn what_is_missing_is_named() {
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    let (image, reference) = packed(&env, &registry);
    let layer = image.layers[1].digest.to_string();
    env.ok(&["content", "rm", &layer]);
    let pull = format!("`lamina pull {reference}`");
    let missing = env.fails(&["image", "unpack", &reference]);
    says(&missing, &[&format!("layer {layer} is not here"), &pull, "into native"]);
    assert_eq!(env.ok(&["lease", "ls", "--format", "json"]), "[]\n");
    env.ok(&["prune"]);
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n", "the layer below is freed");

    let platform = ["image", "unpack", "--platform", "linux/s390x", &reference];
    says(&env.fails(&platform), &["manifest for the platform wanted", &pull]);
    env.ok(&["content", "rm", image.root.digest.as_str()]);
    let missing = env.fails(&["image", "unpack", &reference]);
    says(&missing, &[&format!("manifest {} is not here", image.root.digest), &pull]);
    says(&env.fails(&["snapshot", "unpack", &layer]), &["no image points at", &layer]);
    says(&env.fails(&["image", "unpack", "none"]), &["none", "not found"]);
    says(&env.misused(&["snapshot", "unpack", &reference]), &["<DIGEST>"]);
}

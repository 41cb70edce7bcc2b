//! `lamina pull` and `lamina image`, from a registry on loopback.

use std::time::Duration;

use lamina_core::Platform;
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::registry::{Fault, On, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

use crate::environment::{TestEnvironment, says};

/// A registry with one image of one file, and its reference.
fn registry() -> (TestRegistry, Image, String) {
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer(TarBuilder::archive([Entry::file("hello", "hello")]))
        .build();
    let registry = TestRegistry::start();
    registry.push("app", "1", &image);
    let reference = format!("{}/app:1", registry.host());
    (registry, image, reference)
}

fn pull<'a>(reference: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["pull", "--plain-http", "--platform", "linux/amd64"], more, &[reference]].concat()
}

#[test]
fn a_pull_tells_each_step_in_a_pipe() {
    let (env, (_registry, image, reference)) = (TestEnvironment::new(), registry());
    let run = env.run(&pull(&reference, &[]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout, format!("{reference} {}\n", image.root.digest));
    let (root, layer) = (&image.root.digest, &image.layers[0].digest);
    says(
        &run.stderr,
        &[
            &format!("manifest-{root} resolved\n"),
            &format!("manifest-{root} done\n"),
            &format!("layer-{layer} downloading\n"),
            &format!("layer-{layer} done\n"),
        ],
    );
    assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
    let snapshots = env.json(&["snapshot", "ls", "--format", "json"]);
    assert_eq!(snapshots[0]["Name"], json!(image.diff_ids[0]));
    let again = env.run(&pull(&reference, &[]));
    says(&again.stderr, &[&format!("layer-{layer} exists\n")]);
}

/// A layer whose bytes are here and that waits for the one below is not shown as downloading.
#[test]
fn what_waits_for_the_layer_below_says_so() {
    let layer = |size| TarBuilder::archive([Entry::file(format!("{size}"), vec![7; size])]);
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer_as(layer(400_000), Compression::None)
        .layer(layer(1))
        .build();
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    registry.push("app", "1", &image);
    let slow = Fault::Slow(100_000, Duration::from_millis(200));
    registry.fault(On::digest(&image.layers[0].digest), slow);
    let run = env.run(&pull(&format!("{}/app:1", registry.host()), &[]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let upper = format!("layer-{} ", image.layers[1].digest);
    let states: Vec<&str> = run.stderr.lines().filter_map(|l| l.strip_prefix(&*upper)).collect();
    assert_eq!(states, ["waiting", "downloading", "waiting", "extracting", "done"]);
}

#[test]
fn quiet_and_packed() {
    let (env, (_registry, _, reference)) = (TestEnvironment::new(), registry());
    let args = pull(&reference, &["-q", "--no-unpack", "--durability", "none"]);
    assert_eq!(env.ok(&args), format!("{reference}\n"));
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
    assert_eq!(env.ok(&["images", "ls", "-q"]), format!("{reference}\n"));
}

#[test]
fn what_is_wrong_with_a_pull_is_said() {
    let (env, (registry, _, reference)) = (TestEnvironment::new(), registry());
    says(&env.fails(&["pull", "Not/A/Ref"]), &["Not/A/Ref"]);
    says(&env.misused(&pull(&reference, &["--all-platforms"])), &["--all-platforms"]);
    let other = ["pull", "-q", "--plain-http", "--platform", "linux/s390x", &reference];
    says(&env.fails(&other), &["no manifest for the platform", "linux/amd64"]);
    let absent = format!("{}/app:none", registry.host());
    says(&env.fails(&pull(&absent, &["-q"])), &["app:none", "error: pull"]);
    assert_eq!(env.ok(&["image", "ls", "-q"]), "");
    let user = env.run(&pull(&reference, &["-q", "--user", "me"]));
    assert_eq!(user.code, 1);
    says(&user.stderr, &["no password on standard input"]);
}

#[test]
fn listing_and_inspecting() {
    let (env, (_registry, image, reference)) = (TestEnvironment::new(), registry());
    env.ok(&pull(&reference, &["-q"]));
    let size: usize = image.content.values().map(|content| content.bytes.len()).sum();
    let table = env.ok(&["image", "ls", "-b"]);
    let words: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    let digest = image.root.digest.to_string();
    let want =
        [&*reference, &image.root.media_type, &digest, &size.to_string(), "linux/amd64", "-"];
    assert_eq!(words, want);
    let list = env.json(&["i", "ls", "--format", "json", &format!("name=={reference}")]);
    assert_eq!(list[0]["Target"]["digest"], json!(digest));
    let inspected = env.json(&["image", "inspect", &reference]);
    assert_eq!(inspected["Name"], json!(reference));
    assert_eq!(
        inspected["Manifests"][0]["Config"]["rootfs"]["diff_ids"][0],
        json!(image.diff_ids[0])
    );
    assert_eq!(inspected["Missing"], json!([]));
    says(&env.fails(&["image", "inspect", "none"]), &["none", "hint: this looked in namespace"]);
}

#[test]
fn tags_labels_and_removal() {
    let (env, (_registry, _, reference)) = (TestEnvironment::new(), registry());
    env.ok(&pull(&reference, &["-q"]));
    assert_eq!(env.ok(&["tag", &reference, "mine"]), "docker.io/library/mine:latest\n");
    says(&env.fails(&["image", "tag", &reference, "mine"]), &["docker.io/library/mine:latest"]);
    env.ok(&["image", "tag", "--force", &reference, "mine"]);
    assert_eq!(env.ok(&["image", "label", "mine", "b=2", "a=1"]), "a=1,b=2\n");
    assert_eq!(env.ok(&["image", "label", "mine", "a="]), "b=2\n");
    assert_eq!(env.ok(&["rmi", &reference]), format!("{reference}\n"));
    assert_ne!(env.ok(&["content", "ls", "-q"]), "", "the other name holds it");
    assert_eq!(env.ok(&["image", "rm", "--sync", "mine"]), "docker.io/library/mine:latest\n");
    assert_eq!(env.ok(&["content", "ls", "-q"]), "");
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
    says(&env.fails(&["rmi", "mine"]), &["mine"]);
}

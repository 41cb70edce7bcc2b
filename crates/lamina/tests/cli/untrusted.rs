//! Input that nobody vouches for, through the binary: what it may take, and what it may say.
//! `docs/security.md` names these tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use lamina_core::media_type::OCI_INDEX;
use lamina_core::{Descriptor, Platform};
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

use crate::environment::{TestEnvironment, not_root, says};

fn builder() -> ImageBuilder {
    ImageBuilder::new(Flavor::Oci).platform(Platform::parse("linux/amd64").unwrap())
}

/// The command that pulls `image` from a registry, which ends with the first answer.
fn serve(image: &Image) -> (TestRegistry, [String; 6]) {
    let registry = TestRegistry::start();
    registry.push("app", "1", image);
    let reference = format!("{}/app:1", registry.host());
    let words = ["pull", "-q", "--plain-http", "--platform", "linux/amd64", &reference];
    (registry, words.map(str::to_owned))
}

/// CVE-2021-41103, CVE-2021-41091, CVE-2024-25621: what is in images must be out of reach for
/// whoever has an account on the host, whatever the umask, and after an update too.
#[test]
fn state_belongs_to_its_owner_alone() {
    let env = TestEnvironment::new();
    let (root, state) = (env.root().to_owned(), env.temp().join("state"));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut command = Command::new("sh");
    env.prepare(&mut command).args(["-c", "umask 0; exec \"$0\" namespace create a"]);
    let run = env.finish(command.arg(env!("CARGO_BIN_EXE_lamina")).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!((mode(&root), mode(&state)), (0o700, 0o711));
    for path in [&root, &state] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    env.ok(&["namespace", "ls"]);
    assert_eq!((mode(&root), mode(&state)), (0o700, 0o711));
}

/// Eighty megabytes of zeros in a few kilobytes.
fn bomb() -> Image {
    let zeros = TarBuilder::archive([Entry::file("zeros", vec![0; 80 << 20])]);
    builder().layer_as(zeros, Compression::Zstd).build()
}

#[test]
fn privileged_a_bomb_stops_at_the_reserve() {
    if not_root("privileged_a_bomb_stops_at_the_reserve") {
        return;
    }
    let env = TestEnvironment::new().on_tmpfs("size=120m");
    let (_registry, pull) = serve(&bomb());
    says(&env.fails(&pull), &["layer sha256:", "zeros", "bytes are free", "hint: `lamina df`"]);
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
    // There is room for it all when nothing is to stay free.
    env.file("config.toml", "[limits]\nfree_bytes = 0\n");
    env.ok(&pull);
}

#[test]
fn configured_limits_hold_for_pulls() {
    let (env, image) = (TestEnvironment::new(), bomb());
    let (_registry, pull) = serve(&image);
    for (setting, part) in [
        ("layer_ratio = 100", "more than 100 times its size"),
        ("layer_bytes = 1000000", "larger than the 1000000 bytes allowed"),
        ("document_bytes = 100", "the limit of 100 bytes"),
        ("manifest_bytes = 100", "at most 100"),
    ] {
        env.file("config.toml", format!("[limits]\n{setting}\n"));
        let error = env.fails(&pull);
        assert!(error.contains(part), "{setting}: {error}");
        says(&error, &["hint: what input may have is set under [limits]"]);
        assert_eq!(env.ok(&["image", "ls", "-q"]), "", "{setting}");
    }
    env.file("config.toml", "[limits]\nlayer_ratio = 1000000\n");
    env.ok(&pull);
}

/// Limits of documents can be raised, and count wherever documents are read.
#[test]
fn configured_limits_hold_for_what_is_stored() {
    let env = TestEnvironment::new();
    let long = "x".repeat(17 << 20);
    let config = json!({"Env": [format!("LONG={long}")]});
    let layer = TarBuilder::archive([Entry::file("a", "a")]);
    let (registry, pull) = serve(&builder().config(config).layer(layer).build());
    says(
        &env.fails(&pull),
        &["at most 16777216", "hint: what input may have is set under [limits]"],
    );
    env.file("config.toml", "[limits]\ndocument_bytes = 20000000\n");
    env.ok(&pull);
    let reference = format!("{}/app:1", registry.host());
    let reads: [&[&str]; 5] = [
        &["image", "ls"],
        &["image", "check"],
        &["image", "usage"],
        &["image", "inspect", &reference],
        &["image", "unpack", &reference],
    ];
    for read in reads {
        env.ok(read);
    }
    env.file("config.toml", "");
    for read in reads {
        let run = env.run(read);
        assert_eq!(run.code, 1, "{read:?}");
        says(&run.stderr, &["is longer than 16777216 bytes"]);
    }
}

/// Three indexes, each naming the one below two hundred times, are eight million ways to one
/// manifest.
#[test]
fn indexes_that_name_each_other_are_walked_once() {
    let env = TestEnvironment::new();
    let image = builder().layer(TarBuilder::archive([Entry::file("a", "a")])).build();
    let (registry, _) = serve(&image);
    let mut target: Descriptor = image.root;
    for _ in 0..3 {
        let entry = serde_json::to_value(&target).unwrap();
        let index = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": vec![entry; 200],
        });
        target = registry.push_manifest("app", "all", OCI_INDEX, index.to_string());
    }
    let reference = format!("{}/app:all", registry.host());
    env.ok(&["pull", "-q", "--plain-http", "--all-platforms", &reference]);
    let asked = registry.requests().iter().filter(|r| r.path.contains("/manifests/")).count();
    assert!(asked <= 6, "{asked} requests for four documents");
    assert_eq!(env.json(&["image", "inspect", &reference])["Missing"], json!([]));
}

/// CVE-2026-53488 kind: what an image says of itself must not become what the host goes by.
#[test]
fn what_an_image_says_of_itself_is_no_label() {
    let reserved = ["containerd.io/gc.root", "containerd.io/restart.loguri", "lamina.dev/pull"];
    let labels = reserved.map(|key| (key, "binary:///bin/sh"));
    let mut image = builder()
        .config(json!({"Labels": std::collections::BTreeMap::from(labels)}))
        .layer(TarBuilder::archive([Entry::file("a", "a")]));
    for (key, value) in labels {
        image = image.annotation(key, value);
    }
    let env = TestEnvironment::new();
    let (_registry, pull) = serve(&image.build());
    env.ok(&pull);
    for list in ["image", "content", "snapshot", "lease"] {
        let all = env.ok(&[list, "ls", "--format", "json"]);
        assert!(list == "lease" || all.contains("sha256:"), "{list}: {all}");
        for key in reserved {
            assert!(!all.contains(key), "{list} has {key}: {all}");
        }
    }
}

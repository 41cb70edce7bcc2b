//! `lamina push`, `save`, `load` and `image convert`: images on their way out and back.

use std::fs;

use lamina_core::{Digest, Platform};
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::{Access, Fault, On, Options, TestRegistry};
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

use crate::environment::{TestEnvironment, not_root, says};

/// An image of two layers, pulled.
fn pulled(env: &TestEnvironment, big: usize) -> (Image, String) {
    let registry = TestRegistry::start();
    let image = ImageBuilder::new(Flavor::Docker)
        .platform(Platform::host())
        .layer(TarBuilder::archive([Entry::file("base", "1")]))
        .layer(TarBuilder::archive([Entry::file("top", vec![b'2'; big])]))
        .build();
    registry.push("app", "1", &image);
    let reference = format!("{}/app:1", registry.host());
    env.ok(&["pull", "-q", "--plain-http", &reference]);
    env.ok(&["image", "tag", &reference, "localhost/app:1"]);
    (image, "localhost/app:1".to_owned())
}

fn pulled_small(env: &TestEnvironment) -> (Image, String) {
    pulled(env, 300_000)
}

#[test]
fn what_is_pushed_is_what_was_pulled() {
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    let (image, name) = pulled_small(&env);
    let to = format!("{}/mine:2", registry.host());
    let args = ["push", "--plain-http", &to, &name];
    let run = env.run(&args);
    assert_eq!((run.code, run.stdout), (0, format!("{to} {}\n", image.root.digest)));
    says(&run.stderr, &[&format!("manifest-{} done", image.root.digest)]);
    let (_, bytes) = registry.content("mine", "2").unwrap();
    assert_eq!(Digest::sha256(&bytes), image.root.digest);

    // Everything is there already.
    let before = registry.requests().len();
    let again = ["push", "-q", "--plain-http", &to, &name];
    assert_eq!(env.ok(&again), format!("{to}\n"));
    let uploads = registry.requests().into_iter().skip(before).filter(|r| r.method == "POST");
    assert_eq!(uploads.count(), 0);
}

#[test]
fn mistakes_with_pushes_are_told() {
    let password = Access::Basic("me".to_owned(), "right".to_owned());
    let closed = TestRegistry::with(Options { access: password, ..Options::default() });
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    let (image, name) = pulled_small(&env);
    let to = format!("{}/mine:2", closed.host());
    let push = |to: &str, more: &[&str]| {
        env.run(&[&["push", "-q", "--plain-http"], more, &[to, &name]].concat())
    };
    for (who, why) in [(&[][..], "no credential"), (&["--user", "me:wrong"], "401")] {
        let run = push(&to, who);
        assert_eq!(run.code, 1);
        says(&run.stderr, &[&format!("push {to}"), why]);
    }
    assert_eq!(push(&to, &["--user", "me:right"]).code, 0);

    says(&env.fails(&["push", "--plain-http", &to, "none"]), &["none", "not found"]);
    let by_digest = format!("{}/mine@{}", registry.host(), Digest::sha256(b"other"));
    let run = push(&by_digest, &[]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    says(&run.stderr, &["has another digest", image.root.digest.as_str()]);

    // A registry that stays broken: no tag is there, and with the fault gone the next push works.
    let to = format!("{}/mine:3", registry.host());
    let layer = &image.layers[1].digest;
    registry.fault(On::path("").method("PUT"), Fault::status(403));
    let run = push(&to, &[]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
    says(&run.stderr, &[&format!("push {to}"), "403"]);
    assert!(registry.content("mine", "3").is_none());
    registry.clear_faults();
    assert_eq!(push(&to, &[]).code, 0);
    assert!(registry.content("mine", layer.as_str()).is_some());

    // What is not here cannot go.
    env.ok(&["content", "rm", layer.as_str()]);
    let run = push(&format!("{}/fresh:1", registry.host()), &[]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    says(&run.stderr, &[layer.as_str(), "is not here"]);
    assert!(registry.content("fresh", "1").is_none());
}

#[test]
fn archives_go_through_files_and_pipes() {
    let env = TestEnvironment::new();
    let (image, name) = pulled_small(&env);
    let digest = &image.root.digest;
    let printed = format!("{name} {digest}\n");
    assert_eq!(env.ok(&["save", "-o", "app.tar", &name]), "");
    let archive = fs::read(env.temp().join("app.tar")).unwrap();
    let piped = env.run(&["save", &name]);
    assert!(piped.code == 0 && piped.bytes == archive, "{}", piped.stderr);

    for (namespace, input) in [("file", None), ("pipe", Some(&archive))] {
        let load = ["-n", namespace, "load"];
        let run = match input {
            None => env.run(&[&load[..], &["app.tar"]].concat()),
            Some(bytes) => env.run_with_input(&load, bytes),
        };
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, &*printed, ""));
        let snapshots = env.json(&["-n", namespace, "snapshot", "ls", "--format", "json"]);
        assert_eq!(snapshots.as_array().unwrap().len(), 2);
        assert_eq!(env.ok(&["-n", namespace, "lease", "ls", "--format", "json"]), "[]\n");
        env.ok(&["-n", namespace, "prune"]);
        assert_eq!(env.ok(&["-n", namespace, "image", "check", "-q"]), format!("{name}\n"));
        assert_eq!(env.run(&["-n", namespace, "save", &name]).bytes, archive, "not the same bytes");
    }
    env.shell("mkdir $TEMP/layout && tar -C $TEMP/layout -xf $TEMP/app.tar");
    assert_eq!(env.ok(&["-n", "folder", "load", "layout"]), printed);
    assert_eq!(env.run(&["-n", "folder", "save", &name]).bytes, archive, "not the same bytes");
    says(&env.fails(&["load", "."]), &["import .", "no OCI image layout"]);
    let packed = ["-n", "packed", "load", "--no-unpack", "--index-name", "whole:1", "app.tar"];
    says(&env.ok(&packed), &["docker.io/library/whole:1", &printed]);
    assert_eq!(env.ok(&["-n", "packed", "snapshot", "ls"]), "KEY PARENT KIND\n");
}

#[test]
fn broken_archives_leave_nothing() {
    let env = TestEnvironment::new();
    let (_, name) = pulled_small(&env);
    env.ok(&["save", "-o", "app.tar", &name]);
    let archive = fs::read(env.temp().join("app.tar")).unwrap();
    let wrong = {
        let mut bytes = archive.clone();
        // Within the largest blob.
        let at = bytes.windows(4).rposition(|window| window == [0x1f, 0x8b, 8, 0]).unwrap();
        bytes[at + 12] ^= 1;
        bytes
    };
    // Where none of it is known yet.
    let fresh = TestEnvironment::new();
    for (what, bytes) in [
        ("cut.tar", &archive[..archive.len() / 2]),
        ("text.tar", &[b'x'; 4096][..]),
        ("empty.tar", b""),
        ("wrong.tar", &wrong),
    ] {
        fresh.file(what, bytes);
        let error = fresh.fails(&["load", what]);
        says(&error, &[&format!("import {what}")]);
        assert_eq!(fresh.ok(&["images", "ls", "-q"]), "", "{what}");
        assert_eq!(fresh.ok(&["lease", "ls", "--format", "json"]), "[]\n", "{what}");
    }
    says(&env.fails(&["load", "none.tar"]), &["import none.tar", "no such file"]);
    // A writing that fails leaves the file that was there.
    says(&env.fails(&["save", "-o", "app.tar", "none"]), &["none", "not found"]);
    says(&env.fails(&["save", "-o", "no/such/folder", &name]), &["write no/such/folder"]);
    assert_eq!(fs::read(env.temp().join("app.tar")).unwrap(), archive);
    env.ok(&["prune"]);
    assert_eq!(env.ok(&["image", "check", "-q"]).lines().count(), 2, "the first two are whole");
}

#[test]
fn conversions_make_another_image_of_the_same_files() {
    let env = TestEnvironment::new();
    let (image, name) = pulled_small(&env);
    let convert = ["image", "convert", "--compression", "zstd", "--oci", &name, "localhost/z:1"];
    let printed = env.ok(&convert);
    let (made, digest) = printed.trim().split_once(' ').unwrap();
    assert_eq!(made, "localhost/z:1");
    let manifest: serde_json::Value =
        serde_json::from_str(&env.ok(&["content", "get", digest])).unwrap();
    assert_eq!(manifest["mediaType"], json!("application/vnd.oci.image.manifest.v1+json"));
    for layer in manifest["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], json!("application/vnd.oci.image.layer.v1.tar+zstd"));
    }
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config: serde_json::Value =
        serde_json::from_str(&env.ok(&["content", "get", config])).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"], json!(image.diff_ids));
    // The snapshots are those of the image it was made of.
    let before = env.json(&["snapshot", "ls", "--format", "json"]);
    env.ok(&["image", "unpack", "localhost/z:1"]);
    assert_eq!(env.json(&["snapshot", "ls", "--format", "json"]), before);
    env.ok(&["prune"]);
    says(&env.ok(&["image", "check", "-q"]), &["localhost/z:1", &name]);
    let none = ["image", "convert", "--platform", "linux/s390x", &name, "localhost/none:1"];
    says(&env.fails(&none), &["convert localhost/app:1", "platform"]);
    says(&env.fails(&["image", "convert", "nothing", "localhost/none:1"]), &["not found"]);
}

#[test]
fn privileged_full_disks_leave_no_half_images() {
    if not_root("privileged_full_disks_leave_no_half_images") {
        return;
    }
    let from = TestEnvironment::new();
    let zeros = TarBuilder::archive([Entry::file("big", vec![b'x'; 40 << 20])]);
    let image = ImageBuilder::new(Flavor::Oci).platform(Platform::host()).layer(zeros).build();
    let registry = TestRegistry::start();
    registry.push("big", "1", &image);
    let name = format!("{}/big:1", registry.host());
    from.ok(&["pull", "-q", "--plain-http", &name]);
    from.ok(&["save", "-o", "big.tar", &name]);
    let archive = from.temp().join("big.tar");

    let env = TestEnvironment::new().on_tmpfs("size=90m");
    let load = ["load", archive.to_str().unwrap()];
    let error = env.fails(&load);
    says(&error, &["import ", "hint: `lamina df`"]);
    assert_eq!(env.ok(&["images", "ls", "-q"]), "");
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
    env.shell("mount -o remount,size=256m $TEMP/fs");
    assert_eq!(env.ok(&load), format!("{name} {}\n", image.root.digest));

    // A file that does not fit is not there; the image stays.
    env.shell("mkdir $TEMP/small && mount -t tmpfs -o size=16k tmpfs $TEMP/small");
    let full = env.run(&["save", "-o", "small/app.tar", &name]);
    let left = fs::read_dir(env.temp().join("small")).unwrap().count();
    env.shell("umount $TEMP/small");
    assert_eq!((full.code, left), (1, 0), "{}", full.stderr);
    says(&full.stderr, &["write small/app.tar", "No space left"]);
    assert_eq!(env.ok(&["image", "check", "-q"]), format!("{name}\n"));
}

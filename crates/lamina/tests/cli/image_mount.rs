//! `lamina image mount` and `unmount`, and `image prune`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lamina_core::container::{Any, Container};
use lamina_core::{Host as _, Labels, Namespace, Platform, Scope};
use lamina_store::{Options, Store};
use lamina_testkit::image::{Flavor, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};

use crate::environment::{TestEnvironment, not_root, says};

/// Pulls an image of two layers without unpacking it.
fn packed(env: &TestEnvironment, tag: &str) -> String {
    let registry = TestRegistry::start();
    let image = ImageBuilder::new(Flavor::Oci)
        .platform(Platform::parse("linux/amd64").unwrap())
        .layer(TarBuilder::archive([Entry::file("base", "1")]))
        .layer(TarBuilder::archive([Entry::file("top", "2")]))
        .build();
    registry.push("app", tag, &image);
    let reference = format!("{}/app:{tag}", registry.host());
    let args = ["pull", "-q", "--plain-http", "--platform", "linux/amd64", "--no-unpack"];
    env.ok(&[&args[..], &[&reference]].concat());
    reference
}

/// A directory to mount at, unmounted when this is dropped, should a test fail.
struct MountPoint(PathBuf);

impl MountPoint {
    fn new(env: &TestEnvironment) -> Self {
        let at = env.temp().join("mnt");
        fs::create_dir(&at).unwrap();
        MountPoint(at)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = Command::new("umount").arg(&self.0).output();
        }
    }
}

fn mount<'a>(more: &[&'a str], reference: &'a str, at: &'a MountPoint) -> Vec<&'a str> {
    let args = ["image", "mount", "--platform", "linux/amd64"];
    [&args, more, &[reference, at.path()]].concat()
}

#[test]
fn privileged_images_are_mounted_and_kept() {
    if not_root("privileged_images_are_mounted_and_kept") {
        return;
    }
    for snapshotter in ["overlayfs", "native"] {
        let env = TestEnvironment::new().with_snapshotter(snapshotter).on_tmpfs("size=256m");
        let reference = packed(&env, "1");
        let at = MountPoint::new(&env);
        assert_eq!(env.ok(&mount(&[], &reference, &at)), "$TEMP/mnt\n");
        assert_eq!(fs::read_to_string(at.0.join("base")).unwrap(), "1");
        let error = fs::write(at.0.join("base"), "3").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        says(&env.fails(&mount(&[], &reference, &at)), &["mounted at $TEMP/mnt already"]);

        // Neither the image's removal nor a collection takes what is mounted.
        env.ok(&["rmi", &reference]);
        env.ok(&["prune"]);
        assert_eq!(fs::read_to_string(at.0.join("top")).unwrap(), "2");
        let unmount = ["image", "unmount", "--rm", "--snapshotter", "other", at.path()];
        assert_eq!(env.ok(&unmount), "$TEMP/mnt\n");
        assert!(!at.0.join("base").exists(), "{snapshotter}");
        env.ok(&["prune"]);
        assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
        says(&env.fails(&["image", "unmount", at.path()]), &["no image is mounted at $TEMP/mnt"]);
    }
}

#[test]
fn privileged_what_is_changed_stays_until_it_is_removed() {
    if not_root("privileged_what_is_changed_stays_until_it_is_removed") {
        return;
    }
    let env = TestEnvironment::new().with_snapshotter("overlayfs").on_tmpfs("size=256m");
    let reference = packed(&env, "1");
    let at = MountPoint::new(&env);
    env.ok(&mount(&["--rw"], &reference, &at));
    fs::write(at.0.join("base"), "changed").unwrap();
    env.ok(&["image", "unmount", at.path()]);
    assert!(!at.0.join("base").exists());
    says(&env.fails(&mount(&[], &reference, &at)), &["image unmount --rm $TEMP/mnt"]);
    env.ok(&mount(&["--rw"], &reference, &at));
    assert_eq!(fs::read_to_string(at.0.join("base")).unwrap(), "changed");

    // In use, it stays.
    let user = fs::File::open(at.0.join("base")).unwrap();
    says(&env.fails(&["image", "unmount", "--rm", at.path()]), &["$TEMP/mnt"]);
    assert_eq!(fs::read_to_string(at.0.join("base")).unwrap(), "changed");
    drop(user);
    env.ok(&["image", "unmount", "--rm", at.path()]);
    env.ok(&mount(&["--rw"], &reference, &at));
    assert_eq!(fs::read_to_string(at.0.join("base")).unwrap(), "1");
    env.ok(&["image", "umount", "--rm", at.path()]);
}

#[test]
fn what_cannot_be_mounted_leaves_no_snapshot() {
    let env = TestEnvironment::new();
    let reference = packed(&env, "1");
    let at = MountPoint::new(&env);
    let file = env.file("file", "");
    let args = ["image", "mount", &reference];
    says(&env.fails(&[&args[..], &["none"]].concat()), &["none is no directory"]);
    let file = file.to_str().unwrap();
    says(&env.fails(&[&args[..], &[file]].concat()), &["file is not a directory"]);
    says(&env.fails(&mount(&[], "absent", &at)), &["absent", "not found"]);
    let platform = ["image", "mount", "--platform", "linux/s390x", &reference, at.path()];
    says(&env.fails(&platform), &["manifest for the platform wanted"]);
    assert_eq!(env.ok(&["snapshot", "ls"]), "KEY PARENT KIND\n");
}

#[test]
fn prune_takes_nameless_images_and_with_all_every_one() {
    let env = TestEnvironment::new();
    let reference = packed(&env, "1");
    env.ok(&["tag", &reference, "pinned"]);
    let pinned = "docker.io/library/pinned:latest";
    env.ok(&["image", "label", pinned, "io.cri-containerd.pinned=pinned"]);
    assert_eq!(env.ok(&["image", "prune"]), "", "it has a name");
    assert_eq!(env.ok(&["image", "prune", "--all"]), format!("{reference}\n"));
    assert_ne!(env.ok(&["content", "ls", "-q"]), "", "the pinned one holds it");
    env.ok(&["image", "label", pinned, "io.cri-containerd.pinned="]);
    assert_eq!(env.ok(&["image", "prune", "--all"]), format!("{pinned}\n"));
    assert_eq!(env.ok(&["content", "ls", "-q"]), "", "what they held is freed");
    assert_eq!(env.ok(&["image", "prune", "--all"]), "");
}

#[test]
fn prune_leaves_what_containers_use() {
    let env = TestEnvironment::new();
    let reference = packed(&env, "1");
    let now = jiff::Timestamp::now();
    let container = Container {
        id: "c".to_owned(),
        labels: Labels::new(),
        image: reference.clone(),
        runtime: "io.containerd.runc.v2".to_owned(),
        runtime_options: None,
        spec: Any { type_url: "spec".to_owned(), value: b"{}".to_vec() },
        snapshotter: String::new(),
        snapshot_key: String::new(),
        sandbox: String::new(),
        extensions: [].into(),
        created: now,
        updated: now,
    };
    // What a client of Docker or nerdctl does and the command line has no words for.
    let store = Store::open(Options::new(env.root(), env.temp().join("state"))).unwrap();
    let scope = Scope::new(Namespace::new("default").unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        store.containers(&scope).create(container).await.unwrap();
        let images = store.images(&scope);
        let mut image = images.get(&reference).await.unwrap();
        image.name = format!("moby-dangling@{}", image.target.digest);
        images.create(image).await.unwrap();
    });
    store.close().unwrap();
    drop(store);
    let pruned = env.ok(&["image", "prune"]);
    assert!(pruned.starts_with("moby-dangling@sha256:") && pruned.lines().count() == 1, "{pruned}");
    assert_eq!(env.ok(&["image", "prune", "--all"]), "", "a container uses it");
    assert_eq!(env.ok(&["image", "ls", "-q"]), format!("{reference}\n"));
}

//! Layers that reach into those below, which builders do not write: where every layer is laid on its
//! own, as overlayfs allows, it is as with containerd there; elsewhere as with umoci.

use lamina_core::Kind;
use lamina_testkit::containerd::Containerd;
use lamina_testkit::honest::HonestRegistry;
use lamina_testkit::layers::Awkward;
use lamina_testkit::tar::{Entry, TarBuilder};
use lamina_testkit::tree::{NodeKind, Tree};
use lamina_testkit::{or_skip, umoci};

use crate::lab::{Lab, image};

/// An image whose upper layer has this one entry.
fn reaching(name: &'static str, about: &'static str, entry: Entry) -> Awkward {
    let base = TarBuilder::archive([
        Entry::dir("usr"),
        Entry::dir("usr/lib"),
        Entry::file("usr/lib/one", b"one"),
        Entry::symlink("lib", "usr/lib"),
    ]);
    Awkward { name, about, layers: vec![base, TarBuilder::archive([entry])] }
}

fn linked() -> Awkward {
    reaching("link-below", "a hard link to a file below", Entry::hard_link("two", "usr/lib/one"))
}

fn behind() -> Awkward {
    reaching("behind-below", "a file behind a link below", Entry::file("lib/two", b"two"))
}

/// What is left when directories tell no time, which each sets in its own way.
fn timeless(tree: Tree) -> Tree {
    let mut tree = tree.without_root();
    for node in tree.0.values_mut().filter(|node| node.kind == NodeKind::Dir) {
        node.mtime = (0, 0);
    }
    tree
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_reaching_below_is_as_with_containerd_on_overlayfs() {
    let test = "privileged_reaching_below_is_as_with_containerd_on_overlayfs";
    let lab = or_skip!(test, Lab::new("ext4"));
    let peer = or_skip!(test, Containerd::start(&lab.path("containerd")));
    let registry = or_skip!(test, HonestRegistry::start());
    let reference = |name: &str| format!("{}/app:{name}", registry.host());

    registry.push("app", "link-below", &image(&linked()));
    let ours = lab.pull(registry.host(), "link-below", Some("overlayfs"), 3).await.unwrap_err();
    assert_eq!(ours.kind(), Kind::InvalidArgument, "{}", ours.chain());
    let theirs = peer.tree(&reference("link-below")).unwrap_err();
    assert!(theirs.contains("no such file"), "{theirs}");

    registry.push("app", "behind-below", &image(&behind()));
    let ours = lab.pulled(registry.host(), "behind-below", "overlayfs").await;
    let theirs = peer.tree(&reference("behind-below")).unwrap();
    assert_eq!(ours.at("lib").kind, NodeKind::Dir, "the layer's own directory");
    timeless(theirs).assert_same(&timeless(ours), "behind-below");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_reaching_below_is_as_with_umoci_elsewhere() {
    let test = "privileged_reaching_below_is_as_with_umoci_elsewhere";
    or_skip!(test, umoci::require());
    let labs = [("ext4", "native"), ("btrfs", "btrfs")];
    let registry = or_skip!(test, HonestRegistry::start());
    for (fs_type, snapshotter) in labs {
        let lab = or_skip!(test, Lab::new(fs_type));
        for awkward in [linked(), behind()] {
            let (name, image) = (awkward.name, image(&awkward));
            registry.push("app", name, &image);
            let ours = lab.pulled(registry.host(), name, snapshotter).await;
            let theirs = umoci::tree(&image, &lab.path(name)).unwrap();
            timeless(theirs).assert_same(&timeless(ours), &format!("{name}, {snapshotter}"));
        }
    }
}

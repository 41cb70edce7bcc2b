//! One image, one tree: whatever the driver, and in whatever order its bytes came.

use std::time::Duration;

use lamina_core::Host as _;
use lamina_core::oci::Limits;
use lamina_image::unpack::unpack;
use lamina_testkit::image::Image;
use lamina_testkit::layers::Awkward;
use lamina_testkit::or_skip;
use lamina_testkit::registry::{Fault, On, TestRegistry};
use lamina_testkit::tree::Tree;

use crate::lab::{Lab, image, images, scope};

/// How an image gets from the registry into snapshots.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Layers side by side. The lowest comes last, so that those above, where the driver can, are
    /// laid before what they lie on.
    Parallel,
    /// One layer after the other.
    Serial,
    /// Every answer breaks off in the middle and is gone on with.
    Broken,
    /// The first pull fails in the middle of a layer; the second finds what that left.
    Resumed,
    /// Pulled without unpacking, and unpacked from the blobs afterwards.
    TwoPasses,
}

const WAYS: [Way; 5] = [Way::Parallel, Way::Serial, Way::Broken, Way::Resumed, Way::TwoPasses];

/// Where an image is pulled to, and from where.
struct Run<'a> {
    lab: &'a Lab,
    registry: &'a TestRegistry,
    snapshotter: &'a str,
}

impl Run<'_> {
    /// The tree of `image`, whose name is `tag`. Afterwards nothing of it is left.
    async fn tree(&self, tag: &str, image: &Image, way: Way) -> Tree {
        let what = format!("{tag}, {}, {way:?}", self.snapshotter);
        self.registry.forget();
        let into = Some(self.snapshotter);
        let pulled = match way {
            Way::Parallel => {
                let slow = Fault::Slow(1 << 20, Duration::from_millis(40));
                self.registry.fault(On::digest(&image.layers[0].digest), slow);
                self.pull(tag, into, 8).await
            }
            Way::Serial => self.pull(tag, into, 1).await,
            Way::Broken => {
                self.break_off(image);
                self.pull(tag, into, 3).await
            }
            Way::Resumed => {
                self.break_off(image);
                for layer in &image.layers {
                    self.registry.fault(On::digest(&layer.digest), Fault::status(503));
                }
                let failed = self.lab.pull(&self.registry.host(), tag, into, 1).await;
                assert!(failed.is_err(), "{what}: the registry was gone");
                self.registry.clear_faults();
                self.pull(tag, into, 3).await
            }
            Way::TwoPasses => self.pull(tag, None, 3).await,
        };
        self.registry.clear_faults();
        if matches!(way, Way::Broken | Way::Resumed) {
            let parts = |range: &str| !range.starts_with("bytes=0-");
            let requests = self.registry.requests();
            let gone_on = requests.iter().any(|request| request.header("range").is_some_and(parts));
            assert!(gone_on, "{what}: nothing was gone on with");
        }
        let top = match &pulled.unpacked[..] {
            [top] => top.clone(),
            _ => {
                let host = &self.lab.store;
                let limits = Limits::STANDARD;
                let tops =
                    unpack(host, &scope(), self.snapshotter, &pulled.image, None, limits).await;
                tops.unwrap_or_else(|error| panic!("{what}: {}", error.chain())).remove(0)
            }
        };
        let tree = self.lab.tree(self.snapshotter, &top).await;
        self.remove(&pulled.image.name, image, &what).await;
        tree.without_root()
    }

    async fn pull(
        &self,
        tag: &str,
        snapshotter: Option<&str>,
        downloads: usize,
    ) -> lamina_image::pull::Pulled {
        let pulled = self.lab.pull(&self.registry.host(), tag, snapshotter, downloads).await;
        pulled.unwrap_or_else(|error| panic!("{tag}, {snapshotter:?}: {}", error.chain()))
    }

    /// Has the first answer for every layer end in its middle.
    fn break_off(&self, image: &Image) {
        for layer in &image.layers {
            let half = Fault::DropAfter(layer.size / 2);
            self.registry.fault(On::digest(&layer.digest).once(), half);
        }
    }

    /// The next way must find nothing of this one.
    async fn remove(&self, name: &str, image: &Image, what: &str) {
        let store = &self.lab.store;
        store.images(&scope()).delete(name, Default::default()).await.unwrap();
        store.collect().unwrap();
        let content = store.content_now(&scope());
        for digest in image.content.keys() {
            assert!(content.info_now(digest).is_err(), "{what}: {digest} is left");
        }
        let snapshots = store.snapshots(&scope(), self.snapshotter).unwrap();
        let bottom = image.diff_ids[0].as_str();
        assert!(snapshots.stat_now(bottom).is_err(), "{what}: {bottom} is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_every_driver_gives_one_tree() {
    let test = "privileged_every_driver_gives_one_tree";
    let ext4 = or_skip!(test, Lab::new("ext4"));
    let btrfs = or_skip!(test, Lab::new("btrfs"));
    let registry = TestRegistry::start();
    for awkward in images() {
        let (name, image) = (awkward.name, image(&awkward));
        registry.push("app", name, &image);
        let overlayfs = ext4.pulled(&registry.host(), name, "overlayfs").await.without_root();
        let all = [(&ext4, "native"), (&btrfs, "btrfs"), (&btrfs, "blockfile"), (&ext4, "erofs")];
        for (lab, snapshotter) in all {
            if snapshotter == "erofs" && !lab.has_erofs() {
                println!("SKIP {test}: erofs, which this kernel does not have");
                continue;
            }
            let found = lab.pulled(&registry.host(), name, snapshotter).await.without_root();
            overlayfs.assert_same(&found, &format!("{name}, {snapshotter}"));
        }
    }
    if ext4.has_erofs() {
        or_skip!(test, ext4.check_erofs_images());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_every_order_gives_one_tree_on_overlayfs() {
    every_order("privileged_every_order_gives_one_tree_on_overlayfs", "ext4", "overlayfs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_every_order_gives_one_tree_on_native() {
    every_order("privileged_every_order_gives_one_tree_on_native", "ext4", "native").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_every_order_gives_one_tree_on_btrfs() {
    every_order("privileged_every_order_gives_one_tree_on_btrfs", "btrfs", "btrfs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_every_order_gives_one_tree_on_erofs() {
    every_order("privileged_every_order_gives_one_tree_on_erofs", "ext4", "erofs").await;
}

async fn every_order(test: &str, fs_type: &str, snapshotter: &str) {
    let lab = or_skip!(test, Lab::new(fs_type));
    if snapshotter == "erofs" && !lab.has_erofs() {
        return println!("SKIP {test}: this kernel has no erofs");
    }
    let registry = TestRegistry::start();
    let run = Run { lab: &lab, registry: &registry, snapshotter };
    let mut compared = 0;
    // The order says nothing where there is but one layer, unless it is large.
    let several = |image: &Awkward| image.layers.len() > 1 || image.name == "large-file";
    for awkward in images().into_iter().filter(several) {
        let (name, image) = (awkward.name, image(&awkward));
        registry.push("app", name, &image);
        let first = run.tree(name, &image, WAYS[0]).await;
        for way in &WAYS[1..] {
            let found = run.tree(name, &image, *way).await;
            first.assert_same(&found, &format!("{name}, {snapshotter}, {way:?}"));
        }
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} images compared");
}

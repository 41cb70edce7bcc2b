//! The same images unpacked by containerd and by umoci.

use lamina_testkit::containerd::Containerd;
use lamina_testkit::honest::HonestRegistry;
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::{or_skip, umoci};

use crate::differences::{Comparison, Peer};
use crate::lab::{Lab, image, images};

#[tokio::test(flavor = "multi_thread")]
async fn privileged_containerd_shows_the_same() {
    let test = "privileged_containerd_shows_the_same";
    let lab = or_skip!(test, Lab::new("ext4"));
    let peer = or_skip!(test, Containerd::start(&lab.path("containerd")));
    let registry = or_skip!(test, HonestRegistry::start());
    let mut comparison = Comparison::new(Peer::Containerd);
    for awkward in images() {
        let name = awkward.name;
        registry.push("app", name, &image(&awkward));
        let ours = lab.pulled(registry.host(), name, "overlayfs").await;
        let theirs = peer.tree(&format!("{}/app:{name}", registry.host()));
        comparison.compare(name, &ours, theirs);
    }
    comparison.finish(3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_umoci_shows_the_same() {
    let test = "privileged_umoci_shows_the_same";
    or_skip!(test, umoci::require());
    let lab = or_skip!(test, Lab::new("ext4"));
    let registry = TestRegistry::start();
    std::fs::create_dir(lab.path("umoci")).unwrap();
    let mut comparison = Comparison::new(Peer::Umoci);
    for awkward in images() {
        let (name, image) = (awkward.name, image(&awkward));
        registry.push("app", name, &image);
        let ours = lab.pulled(&registry.host(), name, "overlayfs").await;
        comparison.compare(name, &ours, umoci::tree(&image, &lab.path("umoci").join(name)));
    }
    comparison.finish(3_000);
}

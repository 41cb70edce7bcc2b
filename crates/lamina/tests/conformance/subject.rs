//! The daemons, and the image they are given.

use lamina_core::Digest;
use lamina_testkit::containers;
use lamina_testkit::daemon::Program;
use lamina_testkit::env::skip::require_root;
use lamina_testkit::honest::HonestRegistry;
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::peers;
use lamina_testkit::tar::{Entry, TarBuilder};

/// containerd 2.x. Daemons mount, so this needs root.
pub(crate) fn containerd2() -> Result<Program, String> {
    require_root()?;
    Ok(Program::Containerd(peers::containerd2()?.daemon))
}

/// containerd 1.6.
pub(crate) fn containerd16() -> Result<Program, String> {
    require_root()?;
    Ok(Program::Containerd(peers::containerd16()?.daemon))
}

/// `lamina serve`.
pub(crate) fn lamina() -> Result<Program, String> {
    require_root()?;
    Ok(Program::Lamina(env!("CARGO_BIN_EXE_lamina").into()))
}

/// A registry with an image of files, and one that can be run.
pub(crate) struct Shelf {
    registry: HonestRegistry,
    image: Image,
}

impl Shelf {
    pub(crate) fn open() -> Result<Shelf, String> {
        let busybox = containers::image(&containers::busybox()?);
        let shelf = Shelf { registry: HonestRegistry::start()?, image: image() };
        shelf.registry.push("library/small", "1", &shelf.image);
        shelf.registry.push("library/busybox", "1", &busybox);
        Ok(shelf)
    }

    pub(crate) fn registry(&self) -> &str {
        self.registry.host()
    }

    pub(crate) fn reference(&self) -> String {
        format!("{}/library/small:1", self.registry())
    }

    /// An image that can be run.
    pub(crate) fn busybox(&self) -> String {
        format!("{}/library/busybox:1", self.registry())
    }

    pub(crate) fn manifest(&self) -> &Digest {
        &self.image.root.digest
    }

    /// The lowest layer, as it is stored.
    pub(crate) fn layer(&self) -> &Digest {
        &self.image.layers[0].digest
    }

    /// The names of its snapshots, the lowest first.
    pub(crate) fn chain(&self) -> Vec<String> {
        let mut chain: Vec<String> = Vec::new();
        for diff in &self.image.diff_ids {
            chain.push(match chain.last() {
                None => diff.to_string(),
                Some(parent) => Digest::sha256(format!("{parent} {diff}").as_bytes()).to_string(),
            });
        }
        chain
    }
}

fn image() -> Image {
    let base = [
        Entry::dir("etc"),
        Entry::file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        Entry::file("etc/group", b"root:x:0:\n"),
        Entry::dir("var"),
        Entry::file("var/old", b"goes"),
    ];
    let upper = [Entry::dir("var"), Entry::whiteout("var/old"), Entry::file("var/new", b"comes")];
    ImageBuilder::new(Flavor::Oci)
        .layer(TarBuilder::archive(base))
        .layer(TarBuilder::archive(upper))
        .config(serde_json::json!({"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}))
        .build()
}

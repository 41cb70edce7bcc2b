//! A store of ours on a file system of its own, and what its snapshots show when they are mounted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{Digest, Host as _, Kind, Labels, Namespace, Platform, Reference, Result, Scope};
use lamina_image::pull::{Flights, Platforms, Pull, Pulled, Silent};
use lamina_image::registry::{Anonymous, Config, Registry, Retry};
use lamina_store::mount::{self, How};
use lamina_store::snapshot::drivers;
use lamina_store::{Durability, Options, Store};
use lamina_testkit::disk::{Disk, scratch_image};
use lamina_testkit::env::skip::require_tool;
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::layers::{self, Awkward};
use lamina_testkit::tree::Tree;

use crate::debian;

/// A store of ours. One pulls into it at a time.
pub struct Lab {
    pub store: Store,
    views: AtomicU32,
    // Last: it unmounts what is mounted in it.
    disk: Disk,
}

impl Lab {
    /// A store on a fresh file system.
    pub fn new(fs_type: &str) -> Result<Lab, String> {
        let disk = Disk::new(fs_type, 2 << 30, &[])?;
        let scratch = disk.path().join("empty.img");
        scratch_image(&scratch, 256 << 20)?;
        let mut config = drivers::Config::default();
        config.blockfile.scratch_file = Some(scratch);
        let options = Options {
            snapshotters: drivers::all(&config),
            // Trees are compared here, and no power is cut.
            durability: Durability::None,
            reserve: 0,
            ..Options::new(disk.path().join("root"), disk.path().join("state"))
        };
        let store = Store::open(options).unwrap_or_else(|error| panic!("{}", error.chain()));
        Ok(Lab { store, views: AtomicU32::new(0), disk })
    }

    /// Whether the kernel can mount what `erofs` makes.
    pub fn has_erofs(&self) -> bool {
        let missing = |error: lamina_core::Error| error.kind() == Kind::InvalidArgument;
        !self.store.snapshots(&scope(), "erofs").is_err_and(missing)
    }

    /// Has readers of EROFS that are not ours check every image there is.
    pub fn check_erofs_images(&self) -> Result<(), String> {
        require_tool("fsck.erofs")?;
        require_tool("dump.erofs")?;
        let snapshots = self.store.snapshotter_root("erofs").join("snapshots");
        let images = std::fs::read_dir(snapshots).unwrap();
        let images = images.map(|entry| entry.unwrap().path().join("layer.erofs"));
        let images: Vec<_> = images.filter(|image| image.exists()).collect();
        assert!(images.len() >= 20, "only {} images", images.len());
        for image in images {
            for tool in ["fsck.erofs", "dump.erofs -s"] {
                // It goes down a tree by recursion, and there are very deep ones.
                let script = format!("ulimit -s unlimited; {tool} '{}'", image.display());
                let told = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
                let text = String::from_utf8_lossy(&told.stderr);
                assert!(told.status.success(), "{script}: {} {text}", told.status);
            }
        }
        Ok(())
    }

    /// A place on the same file system.
    pub fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// Pulls `app:tag`, `downloads` layers at once.
    pub async fn pull(
        &self,
        host: &str,
        tag: &str,
        snapshotter: Option<&str>,
        downloads: usize,
    ) -> Result<Pulled> {
        let reference = Reference::parse(&format!("{host}/app:{tag}"))?;
        let retry = Retry { attempts: 2, pause: Duration::from_millis(1), ..Retry::default() };
        let client = Registry::new(Config { plain_http: true, retry, ..Config::default() })?;
        let pull = Pull {
            repository: client.repository(&reference, Arc::new(Anonymous)).await?,
            name: reference.to_string(),
            host: Arc::new(self.store.clone()),
            scope: scope(),
            platforms: Platforms::Best(Matcher::only(&Platform::host())),
            snapshotter: snapshotter.map(str::to_owned),
            labels: Labels::new(),
            downloads,
            limits: Limits::STANDARD,
            progress: Arc::new(Silent),
        };
        pull.run(&Flights::new()).await
    }

    /// What a view of a committed snapshot shows.
    pub async fn tree(&self, snapshotter: &str, top: &Digest) -> Tree {
        let number = self.views.fetch_add(1, Ordering::Relaxed);
        let (key, at) = (format!("view-{number}"), self.path(&format!("view-{number}")));
        let snapshots = self.store.snapshots(&scope(), snapshotter).unwrap();
        let mounts = snapshots.view_now(&key, top.as_str(), Labels::new()).unwrap();
        std::fs::create_dir(&at).unwrap();
        let manager = self.store.mounts(&scope());
        let (mounts, managed) = match manager.activate(&key, &mounts, Default::default()).await {
            Ok(activation) => (activation.system, true),
            Err(error) if error.kind() == Kind::Unimplemented => (mounts, false),
            Err(error) => panic!("{mounts:?}: {}", error.chain()),
        };
        mount::all(&mounts, &at).unwrap_or_else(|error| panic!("{mounts:?}: {}", error.chain()));
        let tree = Tree::read(&at);
        mount::unmount_all(&at, How::Plain).unwrap();
        if managed {
            manager.deactivate(&key).await.unwrap();
        }
        std::fs::remove_dir(&at).unwrap();
        snapshots.remove_now(&key).unwrap();
        tree
    }

    /// Pulls `app:tag` and reads its tree.
    pub async fn pulled(&self, host: &str, tag: &str, snapshotter: &str) -> Tree {
        let pulled = self.pull(host, tag, Some(snapshotter), 3).await;
        let pulled = pulled.unwrap_or_else(|e| panic!("{tag}, {snapshotter}: {}", e.chain()));
        self.tree(snapshotter, &pulled.unpacked[0]).await
    }
}

/// Whose images and snapshots they are.
pub fn scope() -> Scope {
    Scope::new(Namespace::new("default").unwrap())
}

/// The image of these layers.
pub fn image(awkward: &Awkward) -> Image {
    let none = ImageBuilder::new(Flavor::Oci);
    awkward.layers.iter().fold(none, |image, layer| image.layer(layer.clone())).build()
}

/// All awkward images, and the one of Debian's packages where there are any.
pub fn images() -> Vec<Awkward> {
    let mut all = layers::all();
    match debian::image() {
        Ok(image) => all.push(image),
        Err(reason) => eprintln!("SKIP debian: {reason}"),
    }
    all
}

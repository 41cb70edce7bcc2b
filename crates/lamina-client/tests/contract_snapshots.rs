//! The contract suite of snapshotters over a daemon's.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail by panicking.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lamina_core::{Host as _, Mount, Snapshotter};
use lamina_server::standalone;
use lamina_store::mount::{self, How};
use lamina_testkit::containers::until;
use lamina_testkit::disk::{Disk, Mounted};
use lamina_testkit::for_each_snapshot_case;
use lamina_testkit::suite::snapshots::{Facts, Harness, Lab};
use support::{Server, scope};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// Serves `overlayfs` for the proxy `served` of a daemon, until it is told to stop.
struct Behind {
    serving: std::thread::JoinHandle<lamina_core::Result<()>>,
    stop: Arc<Notify>,
}

impl Behind {
    fn start(top: &Path) -> Behind {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let root = top.join("behind");
        let options = standalone::Options {
            store: lamina_store::Options::new(&root, root.join("state")),
            snapshotter: "overlayfs".to_owned(),
            address: support::served(top),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        };
        let stop = Arc::new(Notify::new());
        let told = Arc::clone(&stop);
        let serving = std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(standalone::serve(options, async || told.notified().await))
        });
        until("it listens", || {
            std::os::unix::net::UnixStream::connect(support::served(top)).is_ok()
        });
        Behind { serving, stop }
    }
}

/// A daemon with nothing in it, one of whose snapshotters is under test.
struct Remote {
    server: Option<Server>,
    behind: Option<Behind>,
    runtime: Runtime,
    name: &'static str,
    facts: Facts,
    mount_points: AtomicU32,
    // Dropped in this order: mounts first, the file system last.
    mounted: Mounted,
    _dir: Option<TempDir>,
    _disk: Option<Disk>,
}

impl Remote {
    fn start(name: &'static str) -> Result<Remote, String> {
        if !lamina_sys::kernel::is_root() {
            return Err("needs root".to_owned());
        }
        let overlay = lamina_sys::fs::space::magic::OVERLAY;
        let nested = lamina_sys::fs::fs_info_of(std::env::temp_dir())
            .is_ok_and(|info| info.magic == overlay);
        let disk = match nested {
            true => Some(Disk::new("ext4", 512 << 20, &[])?),
            false => None,
        };
        let dir = disk.is_none().then(|| tempfile::tempdir().unwrap());
        let top = match (&disk, &dir) {
            (Some(disk), _) => disk.path(),
            (None, Some(dir)) => dir.path(),
            (None, None) => unreachable!("one of the two was made"),
        };
        let top = top.canonicalize().unwrap();
        let runtime = Runtime::new().unwrap();
        let server = Some(runtime.block_on(Server::start_in(&top)));
        std::fs::create_dir(top.join("mnt")).unwrap();
        let behind = (name == "served").then(|| Behind::start(&top));
        let overlay = name != "native";
        let facts = Facts {
            rebase: overlay,
            mounts: true,
            renames_directories: !overlay,
            usage_includes_parent: !overlay,
            images: false,
            packs: false,
            layers: 32,
        };
        let (mounted, mount_points) = (Mounted(top.join("mnt")), AtomicU32::new(0));
        Ok(Remote {
            server,
            behind,
            runtime,
            name,
            facts,
            mount_points,
            mounted,
            _dir: dir,
            _disk: disk,
        })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
        if let Some(behind) = self.behind.take() {
            behind.stop.notify_one();
            let served = behind.serving.join();
            if !std::thread::panicking() {
                served.unwrap().unwrap();
            }
        }
    }
}

impl Harness for Remote {
    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        let client = &self.server.as_ref().unwrap().client;
        client.snapshotter(&scope("testing"), self.name).unwrap()
    }

    fn facts(&self) -> Facts {
        self.facts
    }

    fn attach(&self, mounts: &[Mount]) -> PathBuf {
        let number = self.mount_points.fetch_add(1, Ordering::Relaxed);
        let at = self.mounted.0.join(number.to_string());
        std::fs::create_dir(&at).unwrap();
        mount::all(mounts, &at).unwrap_or_else(|error| panic!("{mounts:?}: {}", error.chain()));
        at
    }

    fn detach(&self, at: &Path) {
        mount::unmount_all(at, How::Plain).unwrap_or_else(|e| panic!("{}", e.chain()));
        // Not recursive: what is mounted still must not be deleted.
        std::fs::remove_dir(at).unwrap();
    }
}

/// Runs a case on a fresh daemon, or says why it cannot.
fn run(test: &str, name: &'static str, case: fn(&Lab<'_>)) {
    let remote = lamina_testkit::or_skip!(test, Remote::start(name));
    case(&Lab::new(&remote));
}

macro_rules! overlayfs {
    ($($case:ident $test:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            super::run(stringify!($test), "overlayfs", lamina_testkit::suite::snapshots::$case);
        })*
    };
}

macro_rules! native {
    ($($case:ident $test:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            super::run(stringify!($test), "native", lamina_testkit::suite::snapshots::$case);
        })*
    };
}

macro_rules! served {
    ($($case:ident $test:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            super::run(stringify!($test), "served", lamina_testkit::suite::snapshots::$case);
        })*
    };
}

/// `overlayfs` of another process, as the daemon's proxy.
mod proxied {
    use super::*;

    for_each_snapshot_case!(served);
}

mod overlay {
    use super::*;

    for_each_snapshot_case!(overlayfs);
}

mod copies {
    use super::*;

    for_each_snapshot_case!(native);
}

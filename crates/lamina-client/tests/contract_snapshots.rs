//! The contract suite of snapshotters over a daemon's.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail by panicking.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lamina_core::{Host as _, Mount, Snapshotter};
use lamina_store::mount::{self, How};
use lamina_testkit::disk::{Disk, Mounted};
use lamina_testkit::for_each_snapshot_case;
use lamina_testkit::suite::snapshots::{Facts, Harness, Lab};
use support::{Server, scope};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A daemon with nothing in it, one of whose snapshotters is under test.
struct Remote {
    server: Option<Server>,
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
        let overlay = name == "overlayfs";
        let facts = Facts {
            rebase: overlay,
            mounts: true,
            renames_directories: !overlay,
            usage_includes_parent: !overlay,
            layers: 32,
        };
        let (mounted, mount_points) = (Mounted(top.join("mnt")), AtomicU32::new(0));
        Ok(Remote { server, runtime, name, facts, mount_points, mounted, _dir: dir, _disk: disk })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
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

mod overlay {
    use super::*;

    for_each_snapshot_case!(overlayfs);
}

mod copies {
    use super::*;

    for_each_snapshot_case!(native);
}

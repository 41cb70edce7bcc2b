//! Pools of storage on loop devices and files, for the back ends that live in one: thin pools of
//! device-mapper, and zfs.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lamina_sys::Errno;
use lamina_sys::devmapper::{self, Control, Removal, Target};
use lamina_sys::loopdev::{LoopDevice, LoopOptions};
use tempfile::TempDir;

use crate::disk::{Mounted, run};
use crate::env::skip::require_vm;

static NUMBER: AtomicU32 = AtomicU32::new(0);

fn name(what: &str) -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("lamina-{what}-{}-{number}", std::process::id())
}

/// A thin pool. Dropped, it goes with all its devices.
#[derive(Debug)]
pub struct ThinPool {
    name: String,
    // Detached after the pool is gone.
    _devices: [LoopDevice; 2],
    _dir: TempDir,
}

impl ThinPool {
    /// With this many bytes for data; a write that finds none left is an error at once.
    ///
    /// # Errors
    /// What this machine lacks, for a line that says why a test was skipped.
    pub fn new(bytes: u64) -> Result<ThinPool, String> {
        require_vm()?;
        let text = |error: lamina_sys::SysError| error.to_string();
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let attach = |name: &str, bytes: u64| -> Result<LoopDevice, String> {
            let mut new = File::options();
            let file = new.read(true).write(true).create_new(true).open(dir.path().join(name));
            let file = file.map_err(|error| error.to_string())?;
            file.set_len(bytes).map_err(|error| error.to_string())?;
            let options = LoopOptions { read_only: false, autoclear: true, direct_io: false };
            LoopDevice::attach(&file, name, options).map_err(text)
        };
        let devices = [attach("meta", 16 << 20)?, attach("data", bytes)?];
        let [meta, data] = devices.each_ref().map(|device| device.path().display().to_string());
        let name = name("pool");
        let parameters = format!("{meta} {data} 128 0 1 error_if_no_space");
        let target = Target { sectors: bytes / 512, kind: "thin-pool".to_owned(), parameters };
        Control::open().and_then(|control| control.create(&name, &target)).map_err(text)?;
        Ok(ThinPool { name, _devices: devices, _dir: dir })
    }

    /// What it is called below `/dev/mapper`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    ///
    /// # Panics
    /// When it is not there.
    pub fn status(&self) -> String {
        let status = Control::open().and_then(|control| control.status(&self.name));
        let status = status.expect("ask the pool").expect("a pool");
        status.targets[0].parameters.clone()
    }

    /// Deletes the devices of snapshots, with low numbers, as those of a test are.
    ///
    /// # Panics
    /// When something is left.
    pub fn empty(&self) {
        self.unload();
        let control = Control::open().expect("device-mapper");
        for id in 1..200 {
            match control.message(&self.name, &format!("delete {id}")) {
                Err(error) if error.errno() != Errno::NODATA => panic!("delete {id}: {error}"),
                _ => {}
            }
        }
        let status = self.status();
        let used = status.split(' ').nth(2).and_then(|words| words.split('/').next());
        assert_eq!(used, Some("0"), "{status}");
    }

    /// Takes every device out that is not in use, as a boot does with all of them.
    pub fn unload(&self) {
        let prefix = format!("{}-snap-", self.name);
        let nodes = std::fs::read_dir(devmapper::DIRECTORY).into_iter().flatten().flatten();
        let Ok(control) = Control::open() else { return };
        for node in nodes {
            let name = node.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) {
                // Best effort: one that is in use keeps the pool, and the guest ends soon.
                let _ = control.remove(&name, Removal::Now);
            }
        }
    }
}

impl Drop for ThinPool {
    fn drop(&mut self) {
        self.unload();
        if let Ok(control) = Control::open() {
            let _ = control.remove(&self.name, Removal::Now);
        }
    }
}

/// A pool of zfs in a file, with its one dataset mounted in a directory of its own.
#[derive(Debug)]
pub struct Zpool {
    name: String,
    path: PathBuf,
    dir: TempDir,
}

impl Zpool {
    /// With this many bytes.
    ///
    /// # Errors
    /// What this machine lacks, for a line that says why a test was skipped.
    pub fn new(bytes: u64) -> Result<Zpool, String> {
        Zpool::there()?;
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (file, path) = (dir.path().join("file"), dir.path().join("mnt"));
        let made = File::create_new(&file).and_then(|file| file.set_len(bytes));
        made.map_err(|error| error.to_string())?;
        let name = name("zpool");
        let mount_point = format!("mountpoint={}", path.display());
        let args = ["create", "-o", "cachefile=none", "-O", &mount_point, &name];
        run("zpool", args.iter().map(OsStr::new).chain([file.as_os_str()]))?;
        Ok(Zpool { name, path, dir })
    }

    /// Whether there is zfs.
    ///
    /// # Errors
    /// The reason for a skip.
    pub fn there() -> Result<(), String> {
        require_vm()?;
        let there = Path::new("/sys/module/zfs").exists();
        if there { Ok(()) } else { Err("there is no zfs module for the guest".to_owned()) }
    }

    /// Its name, and that of its dataset.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its dataset is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Zpool {
    fn drop(&mut self) {
        drop(Mounted(self.dir.path().to_owned()));
        // Best effort, as the guest ends soon.
        let _ = run("zpool", ["destroy", "-f", &self.name].iter().map(OsStr::new));
    }
}

/// A dataset of a pool that others use as well. Dropped, it goes with all that is in it.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    path: PathBuf,
    // Its folder goes after it.
    _dir: TempDir,
    _pool: Arc<Zpool>,
}

impl Dataset {
    /// Mounted in a folder of its own.
    ///
    /// # Errors
    /// What the command says.
    pub fn new(pool: &Arc<Zpool>) -> Result<Dataset, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let dir_path = dir.path().canonicalize().map_err(|error| error.to_string())?;
        let (name, path) = (format!("{}/{}", pool.name, name("data")), dir_path.join("mnt"));
        let mount_point = format!("mountpoint={}", path.display());
        run("zfs", ["create", "-o", &mount_point, &name].iter().map(OsStr::new))?;
        Ok(Dataset { name, path, _dir: dir, _pool: Arc::clone(pool) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        drop(Mounted(self.path.clone()));
        // Best effort, as the guest ends soon.
        let _ = run("zfs", ["destroy", "-R", "-f", &self.name].iter().map(OsStr::new));
    }
}

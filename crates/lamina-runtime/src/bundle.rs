//! A bundle: the directory a shim works in, in containerd's format. What lies there is all that a
//! later process needs to reach the shim.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_core::{Error, Namespace, Result};
use lamina_sys::{mount, mountinfo};
use rustix::fs::{CWD, FileType, Mode};
use serde::Deserialize;

use crate::runtime::Config;
use crate::shim::answer::Endpoint;

/// Where bundles are, below the state and the root directory.
const FOLDER: &str = "io.containerd.runtime.v2.task";

/// The bundle of one container, which may or may not exist.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    namespace: Namespace,
    id: String,
    path: PathBuf,
    work: PathBuf,
}

/// The directory of all bundles, by namespace.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

/// A directory for what is on its way.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn remove(self) -> Result<()> {
        remove_tree(&self.0).map_err(|error| {
            Error::internal(format!("remove {}", self.0.display())).with_source(error)
        })
    }
}

impl Bundle {
    /// The bundle of the container `id`, an identifier that was checked.
    pub(crate) fn of(config: &Config, namespace: &Namespace, id: &str) -> Bundle {
        let place = |base: &Path| base.join(FOLDER).join(namespace.as_str()).join(id);
        Bundle {
            namespace: namespace.clone(),
            id: id.to_owned(),
            path: place(&config.state),
            work: place(&config.root),
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The FIFO that the shim writes its log to.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the bundle with everything a shim wants to find when it starts. `spec` is the OCI spec as
    /// JSON, written as it is.
    ///
    /// # Errors
    /// AlreadyExists when there is one, which is left as it is. After any other failure nothing is
    /// left.
    pub(crate) fn create(&self, spec: &[u8]) -> Result<()> {
        let failed = |error| self.error("create", error);
        for parent in [self.path.parent(), self.work.parent()].into_iter().flatten() {
            DirBuilder::new().recursive(true).mode(0o711).create(parent).map_err(failed)?;
        }
        DirBuilder::new().mode(0o700).create(&self.path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::already_exists(format!("task {:?}", self.id)),
            _ => self.error("create", error),
        })?;
        self.fill(spec).map_err(|error| match self.remove() {
            Ok(()) => failed(error),
            Err(rest) => failed(error).context(rest.chain()),
        })
    }

    fn fill(&self, spec: &[u8]) -> std::io::Result<()> {
        // Modes of their own, whatever the umask.
        let dir = |path: &Path, mode| {
            DirBuilder::new().mode(mode).create(path)?;
            fs::set_permissions(path, Permissions::from_mode(mode))
        };
        fs::set_permissions(&self.path, Permissions::from_mode(0o700))?;
        if let Some(gid) = mapped_root_group(spec) {
            chown(&self.path, None, Some(gid))?;
            fs::set_permissions(&self.path, Permissions::from_mode(0o710))?;
        }
        dir(&self.path.join("rootfs"), 0o711)?;
        // Of a container that was lost with a boot.
        remove_tree(&self.work)?;
        dir(&self.work, 0o711)?;
        symlink(&self.work, self.path.join("work"))?;
        self.write("config.json", spec)?;
        rustix::fs::mknodat(CWD, self.log(), FileType::Fifo, Mode::from_raw_mode(0o700), 0)?;
        Ok(())
    }

    /// Remembers the shim's program, for `delete`.
    pub(crate) fn write_shim(&self, shim: &Path) -> Result<()> {
        self.write("shim-binary-path", shim.as_os_str().as_encoded_bytes())
            .map_err(|error| self.error("write shim-binary-path into", error))
    }

    /// The shim's program.
    ///
    /// # Errors
    /// NotFound when the bundle does not tell.
    pub(crate) fn shim(&self) -> Result<PathBuf> {
        let text = self.read("shim-binary-path")?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        if Path::new(&text).is_absolute() {
            Ok(text.into())
        } else {
            Err(Error::data_loss(format!("shim-binary-path {text:?} of task {:?}", self.id)))
        }
    }

    /// Remembers where the task's service is.
    pub(crate) fn write_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        let json = serde_json::to_vec(endpoint)
            .map_err(|error| Error::internal("encode bootstrap.json").with_source(error))?;
        self.write("bootstrap.json", &json)
            .map_err(|error| self.error("write bootstrap.json into", error))
    }

    /// Where the task's service is: `bootstrap.json`, or `address` in bundles of older daemons.
    ///
    /// # Errors
    /// NotFound when the bundle has neither; DataLoss for broken ones.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let broken =
            |what: &str| Error::data_loss(format!("{what} of task {:?} is broken", self.id));
        match self.read("bootstrap.json") {
            Ok(json) => serde_json::from_slice::<Endpoint>(&json)
                .map_err(|error| broken("bootstrap.json").with_source(error))?
                .checked(),
            Err(error) if error.is_not_found() => {
                let address = self.read("address")?;
                let address = String::from_utf8(address).map_err(|_| broken("address"))?;
                Endpoint::plain(address.trim()).checked()
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers the sandbox.
    pub(crate) fn write_sandbox(&self, sandbox: &str) -> Result<()> {
        self.write("sandbox", sandbox.as_bytes())
            .map_err(|error| self.error("write sandbox into", error))
    }

    /// The sandbox it belongs to, if any.
    pub(crate) fn sandbox(&self) -> Option<String> {
        let text = self.read("sandbox").ok()?;
        String::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// A new directory on disk, which goes with the bundle if not before.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.work.join(format!("checkpoint-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                // Of a daemon before this one.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.error("make room for a checkpoint of", error)),
            }
        }
    }

    /// Unmounts what lies in it, then removes it. One that is not there is removed already.
    ///
    /// # Errors
    /// Unavailable while something stays mounted there: nothing is deleted through a mount.
    pub(crate) fn remove(&self) -> Result<()> {
        let failed = |error| self.error("remove", error);
        self.unmount()?;
        self.remove_hidden()?;
        // Hidden by the dot, it is no task any more, even if the rest fails.
        match fs::rename(&self.path, self.hidden()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        self.remove_hidden()?;
        remove_tree(&self.work).map_err(failed)
    }

    /// Removes what an earlier [`remove`](Self::remove) left.
    pub(crate) fn remove_hidden(&self) -> Result<()> {
        remove_tree(&self.hidden()).map_err(|error| self.error("remove the rest of", error))
    }

    fn hidden(&self) -> PathBuf {
        self.path.with_file_name(format!(".{}", self.id))
    }

    fn unmount(&self) -> Result<()> {
        let mounts = || {
            mountinfo::read().map_err(|error| {
                Error::internal(format!("see mounts of bundle {:?}", self.id)).with_source(error)
            })
        };
        let entries = mounts()?;
        let mut points: Vec<&Path> = mountinfo::below(&entries, &self.path)
            .into_iter()
            .map(|entry| entry.mount_point.as_path())
            .collect();
        // The newest first.
        points.reverse();
        for point in points {
            // Taken off with the next, it is not there any more; what stays is seen below.
            let _ = mount::unmount(point, mount::UnmountFlags::DETACH);
        }
        match mountinfo::below(&mounts()?, &self.path).first() {
            None => Ok(()),
            Some(entry) => Err(Error::unavailable(format!(
                "{} is still mounted; the bundle stays",
                entry.mount_point.display()
            ))),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        // Whole or not at all: the shim's program may be read while a daemon dies.
        let draft = self.path.join(format!(".{name}"));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        fs::rename(draft, self.path.join(name))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.path.join(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::not_found(format!("{name} of task {:?}", self.id)),
            _ => self.error(&format!("read {name} of"), error),
        })
    }

    fn error(&self, what: &str, error: std::io::Error) -> Error {
        let message = format!("{what} bundle {}", self.path.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::resource_exhausted(message),
            _ => Error::internal(message),
        }
        .with_source(error)
    }
}

fn remove_tree(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The host's group that root's group of a container is mapped to, with a user namespace: the shim's
/// runtime goes through the bundle as that group.
fn mapped_root_group(spec: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Spec {
        linux: Option<Linux>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Linux {
        #[serde(default)]
        namespaces: Vec<Space>,
        #[serde(default)]
        gid_mappings: Vec<Mapping>,
    }
    #[derive(Deserialize)]
    struct Space {
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Deserialize)]
    struct Mapping {
        #[serde(rename = "containerID")]
        container: u32,
        #[serde(rename = "hostID")]
        host: u32,
        size: u32,
    }
    let linux = serde_json::from_slice::<Spec>(spec).ok()?.linux?;
    linux.namespaces.iter().find(|space| space.kind == "user")?;
    let root = linux.gid_mappings.iter().find(|map| map.container == 0 && map.size > 0)?;
    Some(root.host)
}

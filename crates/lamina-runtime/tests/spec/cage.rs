//! A bundle that runc runs, taken away with all that runc made of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lamina_runtime::spec::user;
use lamina_runtime::spec::{Options, User};
use lamina_sys::rootdir::RootDir;
use lamina_sys::{mount, mountinfo};
use lamina_testkit::env::skip::{require_root, require_tool};
use tempfile::TempDir;

use crate::{shell, spec, strings};

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether control groups are those of version 2 only.
pub(crate) fn unified() -> bool {
    Path::new(CGROUPS).join("cgroup.controllers").exists()
}

pub(crate) struct Cage {
    dir: TempDir,
    name: String,
    busybox: PathBuf,
}

/// What a container said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

impl Said {
    /// What follows `key` in a line of its own.
    pub(crate) fn value(&self, key: &str) -> &str {
        let value = self.out.lines().find_map(|line| line.strip_prefix(key));
        value.unwrap_or_else(|| panic!("no {key} in {self:?}")).trim()
    }
}

impl Cage {
    /// # Errors
    /// The reason for a skip.
    pub(crate) fn new() -> Result<Cage, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        require_root()?;
        require_tool("runc")?;
        let busybox = require_tool("busybox")?;
        if !Path::new(CGROUPS).read_dir().is_ok_and(|mut dir| dir.next().is_some()) {
            return Err("needs control groups".to_owned());
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lamina-spec-{}-{number}", std::process::id());
        Ok(Cage { dir: tempfile::tempdir().unwrap(), name, busybox })
    }

    /// Runs a script of busybox's shell as `options` say, in a root file system of its own.
    pub(crate) fn run(&self, script: &str, mut options: Options) -> Said {
        let bundle = self.dir.path();
        // Others than root go through it.
        fs::set_permissions(bundle, fs::Permissions::from_mode(0o755)).unwrap();
        let root = bundle.join("rootfs");
        if !root.exists() {
            for dir in ["bin", "etc", "home", "tmp"] {
                fs::create_dir_all(root.join(dir)).unwrap();
            }
            fs::copy(&self.busybox, root.join("bin/busybox")).unwrap();
            let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1234:1234::/home:/bin/sh\n";
            fs::write(root.join("etc/passwd"), passwd).unwrap();
            fs::write(root.join("etc/group"), "app:x:1234:\nextra:x:77:app\n").unwrap();
        }
        options.args = strings(&["/bin/busybox", "sh", "-c", script]);
        options.cgroup = Some(format!("/{}", self.name));
        let user = options.user.clone().unwrap_or_default();
        let user: User = user::find(&RootDir::open(&root).unwrap(), &user).unwrap();
        let spec = spec(&shell(), &user, &options, unified());
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        let run =
            self.runc().args(["run", "--bundle"]).arg(bundle).arg(&self.name).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { out: text(&run.stdout), err: text(&run.stderr), code: run.status.code() }
    }

    fn runc(&self) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.dir.path().join("runc"));
        runc
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // runc does this itself after a container that ran and ended.
        let _ = self.runc().args(["delete", "--force", &self.name]).output();
        let groups = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
        for hierarchy in groups.map(|entry| entry.path()).chain([PathBuf::from(CGROUPS)]) {
            let _ = fs::remove_dir(hierarchy.join(&self.name));
        }
        for entry in mountinfo::below(&mountinfo::read().unwrap(), self.dir.path()).iter().rev() {
            let _ = mount::unmount(&entry.mount_point, mount::UnmountFlags::DETACH);
        }
    }
}

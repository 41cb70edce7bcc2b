//! Sets a bare Debian or Ubuntu machine up: installs the packages whose programs are missing.
//!
//! [`PACKAGES`] is the one list of what the tests use. Whoever writes a test that runs a program
//! adds its package here, with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// A Debian package that the repository's commands use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// The programs that are run; the package is installed when one of them is missing.
    pub(crate) programs: &'static [&'static str],
    /// What it is for.
    pub(crate) why: &'static str,
}

/// What `cargo xtask test` uses. `tidy` checks that every program a test runs is named here.
pub(crate) const PACKAGES: &[Package] = &[
    Package { name: "gcc", programs: &["cc"], why: "links; compiles SQLite and zstd" },
    Package { name: "git", programs: &["git"], why: "tells tidy which files are ours" },
    Package {
        name: "util-linux",
        programs: &["losetup", "unshare"],
        why: "loop devices and namespaces, in tests and to clean up after them",
    },
    Package {
        name: "docker-registry",
        programs: &["docker-registry"],
        why: "a registry that is not ours, as the peer of the registry client",
    },
    Package { name: "bsdutils", programs: &["script"], why: "a terminal for tests of progress" },
    Package { name: "dpkg", programs: &["dpkg-deb"], why: "unpacks Debian's containerd, a peer" },
    Package {
        name: "golang-go",
        programs: &["go"],
        why: "compiles containerd, and its client and suites, as peers",
    },
    Package { name: "mount", programs: &["mount", "umount"], why: "privileged tests" },
    Package {
        name: "e2fsprogs",
        programs: &["mkfs.ext4"],
        why: "privileged tests: ext4 on a loop device",
    },
    Package {
        name: "fuse2fs",
        programs: &["fuse2fs"],
        why: "privileged tests: a FUSE file system that does not tell what its entries are",
    },
    Package {
        name: "xfsprogs",
        programs: &["mkfs.xfs"],
        why: "privileged tests: xfs on a loop device",
    },
    Package {
        name: "btrfs-progs",
        programs: &["mkfs.btrfs", "btrfs"],
        why: "privileged tests: the btrfs driver on a loop device",
    },
    Package {
        name: "erofs-utils",
        programs: &["fsck.erofs"],
        why: "tests: a reader of EROFS images that is not ours",
    },
    Package {
        name: "containerd",
        programs: &["containerd", "ctr", "containerd-shim-runc-v2"],
        why: "privileged tests: the trees that it unpacks, to compare with; its shim",
    },
    Package {
        name: "systemd",
        programs: &["systemd-analyze"],
        why: "checks the unit file that is shipped",
    },
    Package { name: "runc", programs: &["runc"], why: "privileged tests: what the shim runs" },
    Package {
        name: "skopeo",
        programs: &["skopeo"],
        why: "reads and writes archives of images, as a peer",
    },
    Package {
        name: "podman",
        programs: &["podman"],
        why: "loads, saves and pulls images, as a peer",
    },
    Package {
        name: "umoci",
        programs: &["umoci"],
        why: "privileged tests: the trees that it unpacks, to compare with",
    },
    Package {
        name: "redis-server",
        programs: &["redis-server", "redis-cli"],
        why: "privileged tests: a real program, run from each snapshotter",
    },
    Package {
        name: "busybox-static",
        programs: &["busybox"],
        why: "privileged tests: the top layer of an image made of Debian's packages; vm tests",
    },
    Package {
        name: "qemu-system-x86",
        programs: &["qemu-system-x86_64"],
        why: "vm tests: runs a kernel with device-mapper and zfs",
    },
    Package { name: "make", programs: &["make"], why: "vm tests: compiles the module of zfs" },
    Package {
        name: "dmsetup",
        programs: &["dmsetup"],
        why: "vm tests: the pool of docs/snapshotters/devmapper.md; not used by the driver",
    },
    Package {
        name: "thin-provisioning-tools",
        programs: &["thin_check"],
        why: "vm tests: the judge of a pool",
    },
];

/// Programs of packages that Debian calls essential: they are on every machine.
pub(crate) const ESSENTIAL: &[&str] = &[
    "cat",
    "chmod",
    "chown",
    "cp",
    "dd",
    "dpkg-query",
    "echo",
    "false",
    "find",
    "grep",
    "id",
    "ldd",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mv",
    "printf",
    "rm",
    "sed",
    "sh",
    "sleep",
    "stat",
    "stty",
    "sync",
    "tar",
    "timeout",
    "touch",
    "true",
    "truncate",
    "uname",
    "gzip",
    "sha256sum",
    "yes",
    "bash",
    "env",
    "test",
];

/// Installs those of `packages` that are missing, as root and with apt; otherwise says what to
/// install. What cannot be had is no error here: the test that needs it says so when it skips.
///
/// # Errors
/// Only when a program that is there cannot be started.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        println!("every package is there");
        return Ok(());
    }
    for package in &missing {
        println!("missing: {} ({})", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if process::which("apt-get").is_none() {
        println!(
            "this is neither Debian nor Ubuntu; install what gives you these: {}",
            names.join(" ")
        );
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        println!("as root, run: apt-get install {}", names.join(" "));
        return Ok(());
    }
    let _guard = NoServices::new()?;
    // The lists may be there and fresh, or absent, as on a container image.
    if !apt(&names)? {
        process::status_quietly(apt_get().arg("update"))?;
        if !apt(&names)? {
            // One package that this release does not have must not keep the others away.
            for name in &names {
                apt(&[name])?;
            }
        }
    }
    Ok(())
}

/// Those of `packages` of which a program is not there.
fn missing(packages: &[Package]) -> Vec<Package> {
    let absent = |package: &&Package| {
        package.programs.iter().any(|program| process::which(program).is_none())
    };
    packages.iter().filter(absent).copied().collect()
}

fn apt(names: &[&str]) -> Result<bool> {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]).args(names);
    process::status_quietly(&mut command)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet=2");
    command
}

/// Keeps packages from starting their daemons: the tests start programs themselves.
///
/// Debian's packages ask `/usr/sbin/policy-rc.d`, and 101 forbids. A file that is there already
/// is the administrator's and stays.
struct NoServices(Option<PathBuf>);

impl NoServices {
    fn new() -> Result<NoServices> {
        use std::os::unix::fs::PermissionsExt;
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(NoServices(None));
        }
        std::fs::write(path, "#!/bin/sh\nexit 101\n")
            .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(NoServices(Some(path.to_owned())))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_missing() {
        let package = |name, programs| Package { name, programs, why: "a test" };
        let found = missing(&[
            package("all", &["sh", "cat"]),
            package("some", &["sh", "no-such-program-at-all"]),
        ]);
        let names: Vec<&str> = found.iter().map(|package| package.name).collect();
        assert_eq!(names, ["some"]);
    }

    #[test]
    fn a_package_is_listed_once() {
        let mut names: Vec<&str> = PACKAGES.iter().map(|package| package.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PACKAGES.len());
    }
}

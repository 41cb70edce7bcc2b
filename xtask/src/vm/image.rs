//! The disk that the guest boots from, made for one run: an ext4 image filled by `mkfs.ext4 -d`, and
//! the few files that the kernel needs to find it (`initramfs`).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Job;
use super::kernel::Kernel;
use crate::{cache, peers, process};

/// What goes into it.
pub(super) struct Parts<'a> {
    pub(super) jobs: &'a [Job<'a>],
    pub(super) kernel: &'a Kernel,
    pub(super) zfs: Option<&'a Path>,
    pub(super) peers: &'a Path,
}

pub(super) struct Image {
    pub(super) disk: PathBuf,
    pub(super) initramfs: PathBuf,
}

impl Image {
    pub(super) fn files(&self) -> [PathBuf; 2] {
        [self.disk.clone(), self.initramfs.clone()]
    }
}

/// Programs of the machine that the guest gets, with their libraries. What is missing here is missing
/// there, and the tests that need it say so.
const PROGRAMS: &[&str] = &[
    "busybox",
    "mkfs.ext4",
    "mkfs.ext2",
    "mkfs.xfs",
    "mkfs.btrfs",
    "btrfs",
    "dmsetup",
    "thin_check",
    "runc",
    "containerd-shim-runc-v2",
    "mount",
    "umount",
    "losetup",
    "env",
    "bash",
];

/// Files that those read.
const FILES: &[&str] = &["/etc/mke2fs.conf", "/etc/group"];

/// What finds the disk, in the order in which one needs the other.
const DISK_MODULES: &[&str] = &[
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
];

const SIZE: &str = "6G";

pub(super) fn make(parts: &Parts<'_>, temp: &Path) -> Result<Image> {
    let root = temp.join("root");
    for folder in
        ["proc", "sys", "dev", "run", "tmp", "root", "etc", "bin", "sbin", "usr/bin", "var/tmp"]
    {
        fs::create_dir_all(root.join(folder)).context("cannot make the guest's folders")?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    let mut tree = Tree { root: root.clone(), libraries: BTreeSet::new() };
    for program in PROGRAMS {
        if let Some(path) = process::which(program) {
            tree.program(&path, None)?;
        }
    }
    for file in FILES {
        if Path::new(file).is_file() {
            tree.copy(Path::new(file), Path::new(file))?;
        }
    }
    modules(parts, &root)?;
    if let Some(zfs) = parts.zfs {
        tree.zfs(&zfs.join("files"))?;
    }
    for job in parts.jobs {
        tree.stripped(job.executable.path())?;
        for (_, program) in job.executable.programs() {
            tree.stripped(program)?;
        }
    }
    for peer in ["conformance", "containerd-2", "shim-2"] {
        let folder = parts.peers.join(peer);
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            // Without their own daemon, which is not asked here.
            if !path.ends_with("containerd") {
                tree.copy(&path, &path)?;
            }
        }
    }
    let run = script(parts)?;
    fs::write(root.join("sbin/guest"), format!("{}{run}poweroff -f\n", include_str!("guest.sh")))?;
    fs::set_permissions(root.join("sbin/guest"), fs::Permissions::from_mode(0o755))?;
    links(&root)?;

    let disk = temp.join("disk.img");
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-m0", "-O", "^has_journal", "-d"]).arg(&root).arg(&disk).arg(SIZE);
    process::ask(&mut mkfs)?;
    cache::remove(&root)?;
    let initramfs = temp.join("initramfs");
    fs::write(&initramfs, archive(parts.kernel)?).context("cannot write the initramfs")?;
    Ok(Image { disk, initramfs })
}

/// One line an executable, which says when it begins and how it ended.
fn script(parts: &Parts<'_>) -> Result<String> {
    let mut text = String::new();
    let (name, folder) = peers::environment(parts.peers);
    text.push_str(&format!("export {}={}\n", name.to_string_lossy(), folder.to_string_lossy()));
    for (index, job) in parts.jobs.iter().enumerate() {
        for (name, path) in job.executable.programs() {
            text.push_str(&format!("export {name}={}\n", path.display()));
        }
        let path = job.executable.path().display();
        text.push_str(&format!("job {index} {path} {}\n", job.tests.join(" ")));
    }
    Ok(text)
}

/// busybox under the names that nothing else has. As a shell it would take its own programs for any
/// others, so that is another one.
fn links(root: &Path) -> Result<()> {
    if root.join("bin/bash").exists() {
        symlink("bash", root.join("bin/sh")).context("cannot link the shell")?;
    }
    let busybox = process::which("busybox").context("there is no busybox")?;
    for applet in process::ask(Command::new(busybox).arg("--list"))?.lines() {
        let places =
            ["bin", "sbin", "usr/bin", "usr/sbin"].map(|folder| root.join(folder).join(applet));
        if places.iter().all(|place| place.symlink_metadata().is_err()) {
            symlink("/bin/busybox", &places[0]).context("cannot link an applet")?;
        }
    }
    Ok(())
}

fn modules(parts: &Parts<'_>, root: &Path) -> Result<()> {
    let version = &parts.kernel.version;
    let to = root.join("lib/modules").join(version);
    fs::create_dir_all(root.join("lib/modules"))?;
    process::ask(Command::new("cp").arg("-r").arg(parts.kernel.folder.join("modules")).arg(&to))?;
    if let Some(zfs) = parts.zfs {
        fs::create_dir_all(to.join("extra"))?;
        for entry in fs::read_dir(zfs)? {
            let path = entry?.path();
            if let (Some("ko"), Some(name)) =
                (path.extension().and_then(|e| e.to_str()), path.file_name())
            {
                fs::copy(&path, to.join("extra").join(name))?;
            }
        }
    }
    let busybox = process::which("busybox").context("there is no busybox")?;
    process::ask(Command::new(busybox).arg("depmod").arg("-b").arg(root).arg(version)).map(drop)
}

struct Tree {
    root: PathBuf,
    libraries: BTreeSet<PathBuf>,
}

impl Tree {
    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let to = self.root.join(to.strip_prefix("/").unwrap_or(to));
        let folder = to.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// A program at the place where it is looked for, and its libraries.
    fn program(&mut self, path: &Path, search: Option<&Path>) -> Result<()> {
        let name = path.file_name().context("a program has a name")?;
        self.copy(path, &Path::new("/bin").join(name))?;
        self.libraries_of(path, search)
    }

    fn libraries_of(&mut self, path: &Path, search: Option<&Path>) -> Result<()> {
        let mut ldd = Command::new("ldd");
        ldd.arg(path).envs(search.map(|search| ("LD_LIBRARY_PATH", search)));
        // What has no libraries is an error for it.
        let Ok(listing) = process::ask(&mut ldd) else { return Ok(()) };
        for line in listing.lines() {
            if line.contains("not found") {
                bail!("{} lacks a library: {}", path.display(), line.trim());
            }
            let found = line.split_whitespace().find(|word| word.starts_with('/'));
            let Some(library) = found.map(PathBuf::from) else { continue };
            if self.libraries.insert(library.clone()) {
                let name = library.file_name().context("a library has a name")?;
                let to = match search {
                    Some(search) if library.starts_with(search) => Path::new("/usr/lib").join(name),
                    _ => library.clone(),
                };
                self.copy(&library, &to)?;
            }
        }
        Ok(())
    }

    /// A program of ours, at its own place, without what only a debugger needs.
    fn stripped(&mut self, path: &Path) -> Result<()> {
        let to = self.root.join(path.strip_prefix("/").unwrap_or(path));
        if to.exists() {
            return Ok(());
        }
        fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        process::ask(Command::new("strip").arg("-o").arg(&to).arg(path))?;
        self.libraries_of(path, None)
    }

    fn zfs(&mut self, files: &Path) -> Result<()> {
        // Some are in /lib, some in /usr/lib; one folder to search is enough.
        let search = files.join("search");
        if !search.is_dir() {
            fs::create_dir(&search)?;
            let listing =
                process::ask(Command::new("find").arg(files).args(["-name", "lib*.so*"]))?;
            for library in listing.lines().map(Path::new).filter(|path| !path.starts_with(&search))
            {
                symlink(library, search.join(library.file_name().context("a library")?))?;
            }
        }
        for program in ["zfs", "zpool"] {
            let found = ["sbin", "usr/sbin"].map(|folder| files.join(folder).join(program));
            let path = found.into_iter().find(|path| path.is_file()).context("zfsutils")?;
            self.program(&path, Some(&search))?;
        }
        Ok(())
    }
}

/// The initramfs: a cpio archive of busybox, what finds the disk, and a script.
fn archive(kernel: &Kernel) -> Result<Vec<u8>> {
    let busybox = process::which("busybox").context("there is no busybox")?;
    let mut script = String::from("#!/bin/busybox sh\n");
    let mut archive = Vec::new();
    for folder in ["bin", "dev", "root"] {
        entry(&mut archive, folder, 0o040_755, &[]);
    }
    entry(&mut archive, "bin/busybox", 0o100_755, &fs::read(busybox)?);
    for module in DISK_MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        let path = kernel.folder.join(format!("modules/kernel/{module}.ko"));
        // Some of them are part of the kernel itself.
        if let Ok(bytes) = fs::read(path) {
            entry(&mut archive, &format!("{name}.ko"), 0o100_644, &bytes);
            script.push_str(&format!("busybox insmod /{name}.ko\n"));
        }
    }
    script.push_str(
        "busybox mount -t devtmpfs dev /dev\n\
         tries=0\n\
         while ! busybox test -b /dev/vda && busybox test $tries -lt 300; do\n\
         tries=$((tries + 1)); busybox sleep 0.1; done\n\
         # Without a disk this ends, and the kernel with it.\n\
         busybox mount -t ext4 /dev/vda /root || exit 1\n\
         busybox umount /dev\n\
         exec busybox switch_root /root /sbin/guest\n",
    );
    entry(&mut archive, "init", 0o100_755, script.as_bytes());
    entry(&mut archive, "TRAILER!!!", 0, &[]);
    Ok(archive)
}

/// One entry of a cpio archive, in the form that the kernel reads (`newc`).
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) {
    let inode = archive.len();
    let mut header = String::from("070701");
    let numbers = [inode, mode as usize, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name.len() + 1, 0];
    for number in numbers {
        header.push_str(&format!("{number:08X}"));
    }
    archive.extend(header.bytes().chain(name.bytes()).chain([0]));
    let pad = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
    pad(archive);
    archive.extend(bytes);
    pad(archive);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_aligned_as_the_kernel_reads_it() {
        let mut archive = Vec::new();
        entry(&mut archive, "init", 0o100_755, b"abc");
        assert_eq!(&archive[..14], b"07070100000000");
        assert_eq!(&archive[54..62], b"00000003", "the size");
        assert_eq!(&archive[110..115], b"init\0");
        assert_eq!(&archive[116..], b"abc\0");
    }
}

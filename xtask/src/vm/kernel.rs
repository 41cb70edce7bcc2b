//! The guest's kernel, and the zfs module for it: Debian's packages, unpacked and not installed.
//!
//! They are made once, in the cache. zfs is in Debian's `contrib`, which few machines have switched on:
//! a copy of the machine's own list of sources, with that added, is given to apt for these calls alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, process};

/// A kernel: `vmlinuz`, and `modules` beside it, which is a tree as `/lib/modules/<version>`.
pub(crate) struct Kernel {
    pub(crate) folder: PathBuf,
    pub(crate) version: String,
}

const META: &str = "linux-image-cloud-amd64";

/// zfs: the release of it, in which the module and the programs fit together.
const ZFS: &str = "2.1";

pub(crate) fn kernel() -> Result<Kernel> {
    let folder = cache::tool("vm-kernel", |draft| {
        let apt = Apt::new(draft)?;
        let package = apt.depends(META)?;
        let version = package.strip_prefix("linux-image-").context("a kernel's name")?.to_owned();
        let files = apt.unpack(&[&package])?;
        move_to(&files.join(format!("boot/vmlinuz-{version}")), &draft.join("vmlinuz"))?;
        move_to(&files.join("lib/modules").join(&version), &draft.join("modules"))?;
        fs::write(draft.join("version"), &version).context("cannot write the version")?;
        apt.clear()
    })?;
    let version = fs::read_to_string(folder.join("version")).context("the cached kernel")?;
    Ok(Kernel { folder, version })
}

/// The modules (`*.ko`) and, in `files`, the programs and libraries of zfs.
pub(crate) fn zfs(kernel: &Kernel) -> Result<PathBuf> {
    cache::tool(&format!("vm-zfs-{}-{ZFS}", kernel.version), |draft| {
        let apt = Apt::new(draft)?;
        let files = apt.unpack(&[
            "zfsutils-linux",
            "libzfs4linux",
            "libzpool5linux",
            "libnvpair3linux",
            "libuutil3linux",
        ])?;
        move_to(&files, &draft.join("files"))?;
        let version = &kernel.version;
        let headers = format!("linux-headers-{version}");
        let series: Vec<&str> = version.split('.').take(2).collect();
        let abi = version.split("-cloud").next().context("a kernel's version")?;
        let common = format!("linux-headers-{abi}-common");
        let kbuild = format!("linux-kbuild-{}", series.join("."));
        let source = apt.unpack(&[&headers, &common, &kbuild, "libelf1", "zfs-dkms"])?;
        compile(&source, &headers, &common, draft)?;
        apt.clear()
    })
}

fn compile(files: &Path, headers: &str, common: &str, draft: &Path) -> Result<()> {
    let sources = files.join("usr/src");
    let (headers, common) = (sources.join(headers), sources.join(common));
    // They say where they would be installed.
    let makefile = headers.join("Makefile");
    let text = fs::read_to_string(&makefile).context("the headers have no Makefile")?;
    fs::write(&makefile, text.replace("/usr/src", &sources.to_string_lossy()))
        .context("cannot write the headers' Makefile")?;
    let zfs = fs::read_dir(&sources)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("zfs-"))
        })
        .context("the package zfs-dkms has no source")?;
    let libraries = files.join("usr/lib/x86_64-linux-gnu");
    let quiet = |command: &mut Command| -> Result<()> {
        command.current_dir(&zfs).env("LD_LIBRARY_PATH", &libraries);
        process::echo(command);
        process::ask(command).map(drop)
    };
    quiet(
        Command::new("nice")
            .args(["sh", "./configure", "--with-config=kernel"])
            .arg(format!("--with-linux={}", common.display()))
            .arg(format!("--with-linux-obj={}", headers.display())),
    )?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    quiet(Command::new("nice").args(["make", &format!("-j{processors}"), "-C", "module"]))?;
    let listing = process::ask(Command::new("find").arg(&zfs).args(["-name", "*.ko"]))?;
    let modules: Vec<&str> = listing.lines().collect();
    if !modules.iter().any(|module| module.ends_with("/zfs.ko")) {
        bail!("zfs was compiled, and there is no zfs.ko");
    }
    for module in modules {
        let name = Path::new(module).file_name().context("a module's name")?;
        let mut strip = Command::new("strip");
        strip.args(["--strip-debug", "-o"]).arg(draft.join(name)).arg(module);
        process::ask(&mut strip)?;
    }
    Ok(())
}

/// apt with lists and a cache of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(draft: &Path) -> Result<Apt> {
        if process::which("apt-get").is_none() {
            bail!("the kernel is a Debian package, and this is another system");
        }
        let apt = Apt { folder: draft.join("apt") };
        for folder in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.folder.join(folder)).context("cannot make a folder for apt")?;
        }
        sources(&apt.folder.join("sources"))?;
        let mut update = apt.command("apt-get");
        process::echo(update.arg("update"));
        process::ask(&mut update)?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--quiet=2");
        for (option, place) in [
            ("Dir::Etc::SourceParts", "sources"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("-o").arg(format!("{option}={}", self.folder.join(place).display()));
        }
        command.args(["-o", "Dir::Etc::SourceList=/dev/null", "-o", "APT::Sandbox::User=root"]);
        command
    }

    /// The one package that a package without content stands for.
    fn depends(&self, package: &str) -> Result<String> {
        let shown = process::ask(self.command("apt-cache").args(["show", package]))?;
        let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: "));
        let name = depends.and_then(|depends| depends.split([' ', ',']).next());
        name.map(str::to_owned).with_context(|| format!("{package} depends on nothing"))
    }

    /// Downloads and unpacks packages into one tree.
    fn unpack(&self, packages: &[&str]) -> Result<PathBuf> {
        let (debs, files) = (self.folder.join("debs"), self.folder.join("files"));
        fs::create_dir_all(&debs).context("cannot make a folder to download into")?;
        let mut download = self.command("apt-get");
        download.arg("download").args(packages).current_dir(&debs);
        process::echo(&download);
        process::ask(&mut download)?;
        for deb in fs::read_dir(&debs)? {
            process::ask(Command::new("dpkg-deb").arg("--extract").arg(deb?.path()).arg(&files))?;
        }
        cache::remove(&debs)?;
        Ok(files)
    }

    fn clear(self) -> Result<()> {
        cache::remove(&self.folder)
    }
}

/// Debian's own of the machine's sources, with contrib.
fn sources(to: &Path) -> Result<()> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(parts) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(parts.filter_map(|entry| Some(entry.ok()?.path())));
    }
    for file in files {
        let (Ok(text), Some(name)) = (fs::read_to_string(&file), file.file_name()) else {
            continue;
        };
        let text = if name.to_string_lossy().ends_with(".sources") {
            text.split("\n\n").filter_map(stanza).collect::<Vec<_>>().join("\n\n")
        } else {
            text.lines().filter_map(line).collect::<Vec<_>>().join("\n")
        };
        fs::write(to.join(name), text + "\n").context("cannot write a list of sources")?;
    }
    Ok(())
}

fn is_debian(text: &str) -> bool {
    text.contains("/debian")
}

fn stanza(text: &str) -> Option<String> {
    let uris = text.lines().find(|line| line.starts_with("URIs:"))?;
    is_debian(uris).then(|| text.replace("Components: main", "Components: main contrib"))
}

fn line(text: &str) -> Option<String> {
    let wanted = text.starts_with("deb ") && is_debian(text) && text.contains(" main");
    wanted.then(|| text.replacen(" main", " main contrib", 1))
}

fn move_to(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("there is no {}", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrib_is_added_to_debians_sources_only() {
        let debian = "Types: deb\nURIs: http://mirror.test/debian\nComponents: main";
        assert!(stanza(debian).unwrap().ends_with("Components: main contrib"));
        assert_eq!(stanza("Types: deb\nURIs: https://other.test/x\nComponents: main"), None);
        assert_eq!(
            line("deb http://mirror.test/debian bookworm main").unwrap(),
            "deb http://mirror.test/debian bookworm main contrib"
        );
        assert_eq!(line("deb https://other.test/apt x main"), None);
        assert_eq!(line("# deb http://mirror.test/debian bookworm main"), None);
    }
}

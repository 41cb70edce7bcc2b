//! What the conformance tier runs Lamina against, and did not write: containerd, two of them, and
//! containerd's own Go client and suites (`tests/conformance`).
//!
//! They are made once, in the cache, keyed by version or content. What cannot be had (no network, no
//! Go, another release of Debian) leaves its reason instead, and the tests that need it skip with it.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::repo::Repo;
use crate::{cache, process};

/// Tells the tests where the peers are. `lamina_testkit::peers` reads it.
pub(crate) const VARIABLE: &str = "LAMINA_PEERS";

/// The containerd that Lamina is compared with; `tests/conformance/go.mod` names the same.
const CONTAINERD: &str = "2.3.4";

/// The oldest containerd that is still on many machines: Debian 12's.
const OLD_CONTAINERD: &str = "1.6";

/// The nerdctl that Lamina is driven with: the newest whose `go.mod` replaces nothing, as others cannot be
/// made from what is published of them.
const NERDCTL: &str = "2.0.3";

/// The Go that compiles them: what their `go.mod` asks for.
const GO: &str = "1.26.3";

/// One peer: what it is called in the folder of peers, and how it is had.
struct Peer {
    name: &'static str,
    make: fn(&Repo) -> Result<PathBuf>,
}

const PEERS: &[Peer] = &[
    Peer { name: "containerd-2", make: containerd },
    Peer { name: "containerd-1.6", make: old_containerd },
    Peer { name: "shim-2", make: shim },
    Peer { name: "nerdctl", make: nerdctl },
    Peer { name: "conformance", make: conformance },
];

/// `cargo xtask peers`.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("cannot make sense of {arg}; try cargo xtask help");
    }
    println!("export {VARIABLE}={}", ensure(repo)?.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the peers that are not there, and answers the folder of them.
///
/// # Errors
/// Only when the cache itself cannot be used.
pub(crate) fn ensure(repo: &Repo) -> Result<PathBuf> {
    let folder = cache::folder()?.join(format!("peers/{}", key(repo)?));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for peer in PEERS {
        let (there, absent) =
            (folder.join(peer.name), folder.join(format!("{}.absent", peer.name)));
        if there.exists() {
            continue;
        }
        match (peer.make)(repo) {
            Ok(tool) => {
                if absent.exists() {
                    fs::remove_file(&absent).context("cannot delete an old reason")?;
                }
                if let Err(error) = symlink(tool, &there)
                    && !there.exists()
                {
                    return Err(error).with_context(|| format!("cannot link {}", there.display()));
                }
            }
            Err(error) => {
                println!("there is no {}: {error:#}", peer.name);
                // One line, as a reason for a skip is.
                let reason = format!("{error:#}").lines().collect::<Vec<_>>().join(" ");
                fs::write(&absent, reason).context("cannot write down why")?;
            }
        }
    }
    Ok(folder)
}

/// Checkouts with other versions, or another module, have other peers.
fn key(repo: &Repo) -> Result<String> {
    Ok(format!("{CONTAINERD}-{OLD_CONTAINERD}-{}", module_hash(&module(repo))?))
}

fn module(repo: &Repo) -> PathBuf {
    repo.root().join("tests/conformance")
}

fn containerd(_: &Repo) -> Result<PathBuf> {
    cache::tool(&format!("containerd-{CONTAINERD}"), |draft| {
        let mut install = go()?;
        install.args(["install", "-trimpath", "-ldflags=-s -w"]);
        // What would need C libraries, and what is no part of images and snapshots.
        install.args(["-tags", "no_btrfs,no_cri"]).env("CGO_ENABLED", "0").env("GOBIN", draft);
        for program in ["containerd", "ctr"] {
            let package = "github.com/containerd/containerd/v2/cmd";
            install.arg(format!("{package}/{program}@v{CONTAINERD}"));
        }
        make(&mut install)
    })
}

/// The shim of the same containerd, for runc.
fn shim(_: &Repo) -> Result<PathBuf> {
    cache::tool(&format!("containerd-shim-runc-v2-{CONTAINERD}"), |draft| {
        let mut install = go()?;
        install.args(["install", "-trimpath", "-ldflags=-s -w"]);
        install.env("CGO_ENABLED", "0").env("GOBIN", draft);
        let package = "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2";
        make(install.arg(format!("{package}@v{CONTAINERD}")))
    })
}

/// nerdctl, out of a module that wants it: `go install` asks for a list of its versions, and for its entry
/// in the database of checksums, and not every proxy has both.
fn nerdctl(_: &Repo) -> Result<PathBuf> {
    const MODULE: &str = "github.com/containerd/nerdctl/v2";
    cache::tool(&format!("nerdctl-{NERDCTL}"), |draft| {
        let module = draft.join("module");
        fs::create_dir(&module).context("cannot create a folder for a module")?;
        let text = format!("module peers\n\ngo 1.23.0\n\nrequire {MODULE} v{NERDCTL}\n");
        fs::write(module.join("go.mod"), text).context("cannot write go.mod")?;
        let mut build = go()?;
        build.args(["build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o"]);
        build.arg(draft.join("nerdctl")).arg(format!("{MODULE}/cmd/nerdctl"));
        build.current_dir(&module).env("CGO_ENABLED", "0").env("GONOSUMDB", MODULE);
        make(&mut build)?;
        cache::remove(&module)
    })
}

/// Debian's package, unpacked and not installed: nothing of it starts.
fn old_containerd(_: &Repo) -> Result<PathBuf> {
    cache::tool(&format!("containerd-{OLD_CONTAINERD}"), |draft| {
        if process::which("apt-get").is_none() {
            bail!("it comes as a package of Debian 12, and this is another system");
        }
        let download = draft.join("download");
        fs::create_dir(&download).context("cannot create a folder to download into")?;
        let apt = |what: &[&str]| {
            make(Command::new("apt-get").arg("--quiet=2").args(what).current_dir(&download))
        };
        // The lists of packages may not be there yet, or be old.
        apt(&["download", "containerd"])
            .or_else(|_| apt(&["update"]).and_then(|()| apt(&["download", "containerd"])))?;
        let package = fs::read_dir(&download)?.next().context("apt-get brought nothing")??;
        let files = draft.join("files");
        make(Command::new("dpkg-deb").arg("--extract").arg(package.path()).arg(&files))?;
        for program in ["containerd", "ctr"] {
            fs::rename(files.join("usr/bin").join(program), draft.join(program))
                .with_context(|| format!("the package has no {program}"))?;
        }
        cache::remove(&download)?;
        cache::remove(&files)?;
        let version = process::ask(Command::new(draft.join("containerd")).arg("--version"))?;
        if !version.contains(&format!(" {OLD_CONTAINERD}.")) {
            bail!("this release's package is another version: {}", version.trim());
        }
        Ok(())
    })
}

/// The module of this repository, compiled as one program.
fn conformance(repo: &Repo) -> Result<PathBuf> {
    let module = module(repo);
    cache::tool(&format!("conformance-{}", module_hash(&module)?), |draft| {
        let mut compile = go()?;
        compile.args(["test", "-c", "-trimpath", "-ldflags=-s -w", "-o"]);
        compile.arg(draft.join("conformance.test")).arg(".");
        make(compile.current_dir(module).env("CGO_ENABLED", "0"))
    })
}

/// A hash of the module's files; the same for the same files as long as Rust's hasher is.
fn module_hash(module: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let mut files: Vec<PathBuf> = fs::read_dir(module)
        .with_context(|| format!("cannot list {}", module.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    for file in files {
        file.file_name().hash(&mut hasher);
        fs::read(&file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Runs something that takes a while and may fail without a network.
fn make(command: &mut Command) -> Result<()> {
    process::echo(command);
    process::ask(command).map(|_| ())
}

/// `go`, of a version that will do.
///
/// From 1.21 on, Go fetches the version that a module asks for by itself. An older one, as Debian
/// 12's, is made to fetch it as the module that it is published as.
fn go() -> Result<Command> {
    let program = process::which("go")
        .or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|path| path.is_file()))
        .context("there is no Go; as root, run: apt-get install golang-go")?;
    let version = process::ask(Command::new(&program).args(["env", "GOVERSION"]))?;
    if minor(&version).is_some_and(|minor| minor >= 21) {
        let mut command = Command::new(program);
        command.env("GOTOOLCHAIN", "auto");
        return Ok(command);
    }
    let go = toolchain(&program)?;
    let mut command = Command::new(&go);
    // It starts its tools and itself from where it lies, whatever the older one has set.
    command.env_remove("GOROOT").env("GOTOOLCHAIN", "local");
    Ok(command)
}

/// `go1.26.8` is 26.
fn minor(version: &str) -> Option<u32> {
    version.trim().strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Go itself out of the module proxy, in the cache.
fn toolchain(old: &Path) -> Result<PathBuf> {
    let system = process::ask(Command::new(old).args(["env", "GOOS", "GOARCH"]))?;
    let system: Vec<&str> = system.split_whitespace().collect();
    let name = format!("go{GO}.{}", system.join("-"));
    let root = cache::tool(&name, |draft| {
        let modules = draft.join("modules");
        let mut download = Command::new(old);
        download.args(["mod", "download", &format!("golang.org/toolchain@v0.0.1-{name}")]);
        // Without this, what is downloaded cannot be renamed or deleted.
        download.env("GOMODCACHE", &modules).env("GOFLAGS", "-modcacherw");
        make(download.current_dir(draft))?;
        let fetched = modules.join(format!("golang.org/toolchain@v0.0.1-{name}"));
        // Files of a module are never executable.
        for folder in ["bin".to_owned(), format!("pkg/tool/{}", system.join("_"))] {
            for entry in fs::read_dir(fetched.join(&folder)).with_context(|| folder.clone())? {
                fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
            }
        }
        fs::rename(&fetched, draft.join("go")).context("cannot move what was downloaded")?;
        cache::remove(&modules)
    })?;
    Ok(root.join("go/bin/go"))
}

/// The variable and its value, for the environment of the tests.
pub(crate) fn environment(folder: &Path) -> (OsString, OsString) {
    (VARIABLE.into(), folder.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_read() {
        for (version, expected) in [
            ("go1.19.8\n", Some(19)),
            ("go1.26rc1", Some(26)),
            ("go1.21", Some(21)),
            ("devel", None),
        ] {
            assert_eq!(minor(version), expected, "{version}");
        }
    }

    #[test]
    fn the_module_names_the_containerd_that_is_made() {
        let repo = Repo::find().unwrap();
        let manifest = fs::read_to_string(module(&repo).join("go.mod")).unwrap();
        assert!(manifest.contains(&format!("containerd/v2 v{CONTAINERD}\n")), "{manifest}");
        assert!(manifest.contains(&format!("\ngo {GO}\n")), "{manifest}");
    }

    #[test]
    fn a_module_that_changed_has_another_hash() {
        let folder = std::env::temp_dir().join(format!("module-hash-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let hash = |text: &str| {
            fs::write(folder.join("a.go"), text).unwrap();
            module_hash(&folder).unwrap()
        };
        let (one, two, again) = (hash("one"), hash("two"), hash("one"));
        fs::remove_dir_all(&folder).unwrap();
        assert_ne!(one, two);
        assert_eq!(one, again);
    }
}

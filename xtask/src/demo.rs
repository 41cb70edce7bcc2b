//! `cargo xtask demo`: the main job on real input, narrated.
//!
//! An image is made of Debian's packages, served on loopback, pulled, and looked at; then a container's
//! file tree is made on it, changed, committed, and looked at again; and in the end its redis runs. Everything lies in one temporary
//! directory, which goes at the end, as do the mounts in it.

mod image;
mod registry;
mod run;
mod walk;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::process;
use crate::repo::Repo;
use crate::setup::{self, Package};
use crate::ui;

/// What the demo runs beside the programs of every Debian machine.
const PACKAGES: &[Package] = &[
    Package { name: "gcc", programs: &["cc"], why: "links; compiles SQLite and zstd" },
    Package { name: "docker-registry", programs: &["docker-registry"], why: "serves the image" },
    Package {
        name: "containerd",
        programs: &["containerd-shim-runc-v2"],
        why: "its shim runs the container",
    },
    Package { name: "runc", programs: &["runc"], why: "what the shim runs" },
    Package { name: "mount", programs: &["mount", "umount"], why: "mounts the snapshots" },
];

/// Runs the demo.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<ExitCode> {
    if !args.is_empty() {
        bail!("usage: cargo xtask demo");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the demo mounts snapshots, which only root can do here: run it as root");
    }
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        if process::which(program).is_none() {
            bail!("{program} is missing: the demo makes its image of Debian's packages");
        }
    }
    ui::heading("set-up");
    setup::ensure(PACKAGES)?;
    process::run(Command::new("cargo").args(["build", "--quiet", "--package", "lamina"]))?;
    process::run(Command::new("cargo").args([
        "build",
        "--quiet",
        "--package",
        "lamina-testkit",
        "--example",
        "serve_image",
    ]))?;
    let built = repo.root().join("target/debug");
    let place = Place::new()?;
    let layers = image::layers(&place.join("image"))?;
    let registry = registry::Registry::start(&built.join("examples/serve_image"), &layers)?;
    walk::walk(&place, &built.join("lamina"), registry.host())?;
    drop(registry);
    place.remove()?;
    println!("\nThat was all. Nothing of it is left on this machine.");
    Ok(ExitCode::SUCCESS)
}

/// A temporary directory, with what is mounted in it.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Place> {
        let made = process::ask(Command::new("mktemp").args(["-d", "-t", "lamina-demo.XXXXXX"]))?;
        Ok(Place(PathBuf::from(made.trim())))
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn remove(self) -> Result<()> {
        self.clear()?;
        std::mem::forget(self);
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let inside = |line: &&str| {
            line.split(' ').nth(1).is_some_and(|at| Path::new(at).starts_with(&self.0))
        };
        // The last first: it may lie on another.
        for line in mounts.lines().filter(inside).rev() {
            let at = line.split(' ').nth(1).unwrap_or_default();
            process::ask(Command::new("umount").arg(at))?;
        }
        std::fs::remove_dir_all(&self.0)?;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("{} stays: {error:#}", self.0.display());
        }
    }
}

//! The programs a run needs, and what is asked of those that are ours.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::options::Options;
use crate::repo::Repo;
use crate::{peers, process, ui};

pub(crate) struct Tools {
    pub(crate) lamina: PathBuf,
    /// Folders that the peer's programs are looked up in.
    pub(crate) containerd: PathBuf,
    pub(crate) ctr: PathBuf,
    pub(crate) shim: Option<PathBuf>,
    data: PathBuf,
    load: PathBuf,
}

impl Tools {
    pub(crate) fn make(repo: &Repo, options: &Options) -> Result<Tools> {
        let (programs, examples) = match &options.programs {
            Some(folder) => (folder.clone(), folder.clone()),
            None => build(repo, options)?,
        };
        let peers = peers::ensure(repo)?;
        let two = peers.join("containerd-2");
        // The distribution's, when no newer one could be made.
        let program = |name: &str| {
            let made = two.join(name);
            let found = if made.is_file() { Some(made) } else { process::which(name) };
            found.with_context(|| format!("there is no {name}; run cargo xtask test to set up"))
        };
        let shim = peers.join("shim-2/containerd-shim-runc-v2");
        Ok(Tools {
            lamina: options.lamina.clone().unwrap_or_else(|| programs.join("lamina")),
            containerd: program("containerd")?,
            ctr: program("ctr")?,
            shim: shim.is_file().then_some(shim),
            data: examples.join("bench_data"),
            load: examples.join("bench_load"),
        })
    }

    /// Asks our client for load, and answers the figures it prints.
    pub(crate) fn load(&self, args: &[&str]) -> Result<HashMap<String, f64>> {
        figures(bounded(&self.load).args(args))
    }

    /// A limit of the hardware, in seconds.
    pub(crate) fn limit(&self, what: &str, dir: &Path, amount: u64) -> Result<f64> {
        let mut command = Command::new(&self.data);
        command.args(["limit", what]).arg(dir).arg(amount.to_string());
        figures(&mut command)?.remove("seconds").context("no figure")
    }

    /// Makes an image in `dir`.
    pub(crate) fn image(&self, dir: &Path, name: &str, percent: u64) -> Result<()> {
        let mut command = Command::new(&self.data);
        process::run(command.arg("image").arg(dir).arg(name).arg(percent.to_string()))
    }

    /// Serves the images in `dir`.
    pub(crate) fn registry(&self, dir: &Path) -> Result<Registry> {
        let mut child = Command::new(&self.data)
            .arg("serve")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the registry")?;
        let stdout = child.stdout.take().context("no pipe")?;
        let mut registry = Registry { child, host: String::new() };
        BufReader::new(stdout).read_line(&mut registry.host)?;
        registry.host = registry.host.trim().to_owned();
        if registry.host.is_empty() {
            bail!("the registry did not start");
        }
        Ok(registry)
    }
}

/// Builds what is ours; answers the folders of programs and of examples.
fn build(repo: &Repo, options: &Options) -> Result<(PathBuf, PathBuf)> {
    ui::heading("build");
    // In one go: asked for one by one, what they share would be compiled for each.
    let mut build = repo.cargo();
    build.args(["build", "--release", "--package", "lamina-testkit"]);
    build.args(["--package", "lamina-client", "--package", "lamina"]);
    build.args(["--example", "bench_data", "--example", "bench_load"]);
    if options.lamina.is_none() {
        build.args(["--bin", "lamina"]);
    }
    process::run(&mut build)?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repo.root().join("target"), PathBuf::from)
        .join("release");
    Ok((target.clone(), target.join("examples")))
}

/// A registry that ends with this value.
pub(crate) struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    pub(crate) fn reference(&self, image: &str) -> String {
        format!("{}/{image}:latest", self.host)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the registry did not end: {error}");
        }
    }
}

/// A program that is asked for something that ends: a side that hangs must not hang the bench.
pub(crate) fn bounded(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--kill-after=10", "1200"]).arg(program);
    command
}

fn figures(command: &mut Command) -> Result<HashMap<String, f64>> {
    let said = process::ask(command)?;
    said.split_whitespace()
        .map(|pair| {
            let (name, value) = pair.split_once('=').with_context(|| format!("{pair}?"))?;
            Ok((name.to_owned(), value.parse().with_context(|| format!("{pair}?"))?))
        })
        .collect()
}

//! The registry on loopback, with the image in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{process, ui};

/// A registry that ends with this value.
pub(super) struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    pub(super) fn start(program: &Path, layers: &[PathBuf]) -> Result<Registry> {
        ui::heading("a registry on loopback serves it");
        let mut command = Command::new(program);
        command.args(["demo/redis", "latest"]).args(layers);
        process::echo(&command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut host = String::new();
        let stdout = child.stdout.take().context("no pipe")?;
        BufReader::new(stdout).read_line(&mut host)?;
        let host = host.trim().to_owned();
        let registry = Registry { child, host };
        if registry.host.is_empty() {
            bail!("the registry did not start");
        }
        println!("{}/demo/redis:latest", registry.host);
        Ok(registry)
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The end of its input ends it, and the registry it started.
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the registry did not end: {error}");
        }
    }
}

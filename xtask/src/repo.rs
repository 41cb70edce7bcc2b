//! The checkout: where it is, and which files belong to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The root folder of the checkout that this xtask was built from.
#[derive(Debug)]
pub(crate) struct Repo {
    root: PathBuf,
}

impl Repo {
    /// Finds the checkout, from whatever folder inside it the command was called.
    pub(crate) fn find() -> Result<Repo> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().context("xtask lies in the root of the filesystem")?;
        Ok(Repo { root: root.to_owned() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `cargo`, the one that runs us, started in the root of the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Every file of the working tree that git tracks or would offer to track, relative to the
    /// root and sorted. Files deleted but not yet committed are left out.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        // A CI's clone may belong to another user than runs it; git refuses to look then.
        let trust = format!("safe.directory={}", self.root.display());
        let listing = process::ask(Command::new("git").current_dir(&self.root).args([
            "-c",
            &trust,
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files: Vec<String> = listing
            .split('\0')
            .filter(|path| !path.is_empty() && self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }
}

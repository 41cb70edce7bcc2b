//! The folder for temporary files of one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Where it may be. Overlay upper directories, xattrs and reflinks do not work on every
/// filesystem, so the first place on a real one is taken.
const PLACES: &[&str] = &["/tmp", "/var/tmp"];

/// Filesystems that are no disk: an overlay cannot be the upper layer of another, and memory is
/// too small for images.
const UNFIT: &[&str] = &["overlayfs", "tmpfs", "ramfs", "aufs", "fuseblk", "nfs"];

/// Makes `/tmp/lt<pid>`: short, as a shim's socket lies deep in it and a socket's path has 107 bytes.
pub(crate) fn create() -> Result<PathBuf> {
    let mut place = PLACES[0];
    let mut fit = false;
    for candidate in PLACES {
        let kind = filesystem(candidate)?;
        if !UNFIT.contains(&kind.as_str()) {
            (place, fit) = (candidate, true);
            break;
        }
    }
    if !fit {
        println!("{} are on no real disk; tests that need one will skip", PLACES.join(" and "));
    }
    let path = Path::new(place).join(format!("lt{}", std::process::id()));
    fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// The name of the filesystem at `path`, as coreutils call it.
fn filesystem(path: &str) -> Result<String> {
    let name = process::ask(Command::new("stat").args(["--file-system", "--format=%T", path]))?;
    Ok(name.trim().to_owned())
}

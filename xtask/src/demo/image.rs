//! The image: layers made of Debian's packages, as a build would make them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{process, ui};

/// The base: a shell, set-user-id programs (`passwd`), hard links (`perl-base`).
const BASE: &[&str] = &["base-files", "busybox-static", "passwd", "perl-base"];
/// What is put on top.
const PROGRAM: &[&str] = &["redis-server"];

/// Makes the layer tars in `dir`, lowest first.
pub(super) fn layers(dir: &Path) -> Result<Vec<PathBuf>> {
    ui::heading("an image of three layers, made of Debian's packages");
    std::fs::create_dir(dir)?;
    let base = closure(BASE)?;
    let program: Vec<String> =
        closure(PROGRAM)?.into_iter().filter(|name| !base.contains(name)).collect();
    println!("layer 1, the base:      {}", base.iter().cloned().collect::<Vec<_>>().join(" "));
    println!("layer 2, the program:   {}", program.join(" "));
    println!("layer 3, what was done: documentation removed, which is recorded as whiteouts");
    Ok(vec![
        unpacked(&dir.join("base"), base.iter())?,
        unpacked(&dir.join("program"), program.iter())?,
        cleaned(&dir.join("clean"))?,
    ])
}

/// The packages and all they depend on.
fn closure(names: &[&str]) -> Result<BTreeSet<String>> {
    let mut ask = Command::new("apt-cache");
    ask.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"]);
    ask.args(["--no-breaks", "--no-replaces", "--no-enhances"]).args(names);
    let listing = process::ask(&mut ask)?;
    // Packages stand at the beginning of a line; `<name>` is one that others provide.
    let lines = listing.lines().filter(|line| !line.starts_with([' ', '<', '|']));
    Ok(lines.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Fetches packages, puts their files under `dir`, and archives those.
fn unpacked<'a>(dir: &Path, names: impl Iterator<Item = &'a String>) -> Result<PathBuf> {
    let (debs, root) = (dir.join("debs"), dir.join("root"));
    std::fs::create_dir_all(&debs)?;
    std::fs::create_dir_all(&root)?;
    let names: Vec<&String> = names.collect();
    // As root, apt gives a note that it cannot drop its rights here; it is no error.
    let mut fetch = Command::new("apt-get");
    fetch.args(["--quiet=2", "-o", "APT::Sandbox::User=root", "download"]).args(&names);
    process::ask(fetch.current_dir(&debs))?;
    for deb in std::fs::read_dir(&debs)? {
        process::ask(Command::new("dpkg-deb").arg("--extract").arg(deb?.path()).arg(&root))?;
    }
    archive(dir, &root)
}

/// Whiteouts, as the image specification has them: one for a directory, one that hides all that lies
/// below another.
fn cleaned(dir: &Path) -> Result<PathBuf> {
    let root = dir.join("root");
    std::fs::create_dir_all(root.join("usr/share/man"))?;
    std::fs::write(root.join("usr/share/.wh.doc"), "")?;
    std::fs::write(root.join("usr/share/man/.wh..wh..opq"), "")?;
    archive(dir, &root)
}

fn archive(dir: &Path, root: &Path) -> Result<PathBuf> {
    let tar = dir.join("layer.tar");
    let mut pack = Command::new("tar");
    pack.args(["--create", "--numeric-owner", "--xattrs", "--file"]).arg(&tar);
    process::ask(pack.arg("--directory").arg(root).arg("."))?;
    Ok(tar)
}

//! umoci, which unpacks an OCI layout without any snapshots, as the peer to compare with.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::env::skip::{require_root, require_tool};
use crate::image::Image;
use crate::tree::Tree;

/// Whether there is one, and it may set owners.
///
/// # Errors
/// The reason for a skip.
pub fn require() -> Result<(), String> {
    require_root()?;
    require_tool("umoci").map(drop)
}

/// The tree that `umoci unpack` makes of an OCI image. Its files are in `dir`, which it makes.
///
/// # Errors
/// What umoci says when it fails.
///
/// # Panics
/// When `dir` cannot be made.
pub fn tree(image: &Image, dir: &Path) -> Result<Tree, String> {
    std::fs::create_dir(dir).expect("make a directory");
    image.write_layout(&dir.join("layout"), "it");
    let mut layout = dir.join("layout").into_os_string();
    layout.push(":it");
    let output = Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(layout)
        .arg(dir.join("bundle"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("umoci cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(Tree::read(dir.join("bundle/rootfs"))),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

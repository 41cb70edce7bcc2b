//! Programs of others that Lamina is compared with: `cargo xtask peers` makes them, and
//! `cargo xtask test` does so by itself before the conformance tier.

use std::path::PathBuf;

/// Where the peers are: the last line of `cargo xtask peers` sets it.
pub const VARIABLE: &str = "LAMINA_PEERS";

/// containerd 2.x with its `ctr`: what Lamina has to be like.
///
/// # Errors
/// The reason for a skip.
pub fn containerd2() -> Result<Containerd, String> {
    Containerd::find("containerd-2")
}

/// containerd 1.6 with its `ctr`, as Debian 12 has it.
///
/// # Errors
/// The reason for a skip.
pub fn containerd16() -> Result<Containerd, String> {
    Containerd::find("containerd-1.6")
}

/// containerd 2.x's shim for runc.
///
/// # Errors
/// The reason for a skip.
pub fn shim2() -> Result<PathBuf, String> {
    folder("shim-2").map(|folder| folder.join("containerd-shim-runc-v2"))
}

/// nerdctl.
///
/// # Errors
/// The reason for a skip.
pub fn nerdctl() -> Result<PathBuf, String> {
    folder("nerdctl").map(|folder| folder.join("nerdctl"))
}

/// The program out of `tests/conformance`: containerd's Go client and suites.
///
/// # Errors
/// The reason for a skip.
pub fn conformance() -> Result<PathBuf, String> {
    folder("conformance").map(|folder| folder.join("conformance.test"))
}

/// One containerd.
#[derive(Clone, Debug)]
pub struct Containerd {
    /// The daemon.
    pub daemon: PathBuf,
    /// Its command line.
    pub ctr: PathBuf,
}

impl Containerd {
    fn find(name: &str) -> Result<Containerd, String> {
        let folder = folder(name)?;
        Ok(Containerd { daemon: folder.join("containerd"), ctr: folder.join("ctr") })
    }
}

fn folder(name: &str) -> Result<PathBuf, String> {
    let Some(peers) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return Err(format!("{VARIABLE} is not set; run: cargo xtask peers"));
    };
    let folder = peers.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let reason = std::fs::read_to_string(peers.join(format!("{name}.absent")));
    let reason = reason.unwrap_or_else(|_| format!("{} is no folder", folder.display()));
    Err(format!("there is no {name}: {reason}"))
}

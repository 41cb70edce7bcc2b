//! Debian's containerd with everything of its own in one directory, as the peer to compare with.
//!
//! It has no more than its stores: nothing outside its directory, no port, no CRI. It is killed when
//! dropped, and what it mounted is unmounted.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::disk::Mounted;
use crate::env::skip::{require_root, require_tool};
use crate::tree::Tree;

/// A running `containerd`.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    // Its path is short: a socket's has 107 bytes at most.
    sockets: TempDir,
    view: PathBuf,
    _mounted: Mounted,
}

/// Plugins that reach outside the directory, or look for what no test needs.
const DISABLED: &[&str] = &[
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.monitor.v1.cgroups",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
];

impl Containerd {
    /// One that keeps its files in `dir`, which must not be on overlayfs for its `overlayfs`.
    ///
    /// # Errors
    /// The reason why there is none here, for a skip.
    ///
    /// # Panics
    /// When `dir` cannot be written.
    pub fn start(dir: &Path) -> Result<Containerd, String> {
        require_root()?;
        require_tool("containerd")?;
        require_tool("ctr")?;
        let sockets = tempfile::Builder::new().prefix("ctrd-").tempdir().expect("a directory");
        let view = dir.join("view");
        std::fs::create_dir_all(&view).expect("make a directory");
        let config = dir.join("config.toml");
        std::fs::write(&config, configuration(dir, sockets.path())).expect("write a configuration");
        let log = File::create(dir.join("log")).expect("make a log");
        let child = Command::new("containerd")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("containerd cannot be run: {error}"))?;
        let mut peer = Containerd { child, sockets, view, _mounted: Mounted(dir.to_owned()) };
        let deadline = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(peer.socket()).is_err() {
            let ended = peer.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                return Err(format!("containerd does not listen: {}", last.join("; ")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("c")
    }

    /// Runs `ctr` and answers what it prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn ctr(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("ctr")
            .arg("--address")
            .arg(self.socket())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("ctr cannot be run: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }

    /// Pulls `reference` over plain HTTP into overlayfs, and reads what `ctr images mount` shows of it.
    ///
    /// # Errors
    /// What `ctr` says when it fails.
    pub fn tree(&self, reference: &str) -> Result<Tree, String> {
        self.ctr(&["images", "pull", "--plain-http", reference])?;
        let view = self.view.to_str().expect("a temporary directory's name is text");
        self.ctr(&["images", "mount", reference, view])?;
        let tree = Tree::read(&self.view);
        self.ctr(&["images", "unmount", "--rm", view])?;
        Ok(tree)
    }
}

fn configuration(dir: &Path, sockets: &Path) -> String {
    let disabled: Vec<String> = DISABLED.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{}]\n\
         [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
        dir.join("root"),
        dir.join("state"),
        disabled.join(", "),
        sockets.join("c"),
        sockets.join("t"),
    )
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

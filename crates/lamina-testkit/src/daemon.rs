//! Daemons that speak containerd's API, each with a root, a state and a socket of its own.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::disk::Mounted;
use crate::peers;

/// A program that can be a daemon.
#[derive(Clone, Debug)]
pub enum Program {
    /// containerd, whatever its version.
    Containerd(PathBuf),
    /// `lamina serve`.
    Lamina(PathBuf),
}

impl Program {
    /// Where the shim of containerd 2.x is, for those that the host's, an older one, is not for.
    fn shims(&self) -> Option<PathBuf> {
        let old = match self {
            Program::Containerd(path) => path.to_string_lossy().contains("containerd-1."),
            Program::Lamina(_) => false,
        };
        let shim = peers::shim2().ok().filter(|_| !old)?;
        shim.parent().map(Path::to_owned)
    }
}

/// A running daemon. Dropped, it is told to end, and what is mounted in its folder is unmounted.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    // Before the folder that they are in.
    _mounted: Mounted,
    dir: TempDir,
}

/// How long a daemon may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much of its log is shown when a test fails.
const SHOWN: usize = 60;

impl Daemon {
    /// Starts one on an empty root, and waits for its socket.
    ///
    /// # Panics
    /// When it does not start; its log is in the message.
    pub fn start(program: &Program) -> Daemon {
        Daemon::start_in(program, &std::env::temp_dir())
    }

    /// Starts one whose root lies in a folder of `parent`, such as a file system of some kind.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_in(program: &Program, parent: &Path) -> Daemon {
        Daemon::start_with(program, parent, "")
    }

    /// [`start_in`](Self::start_in) with more of a configuration.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(program: &Program, parent: &Path, more: &str) -> Daemon {
        let folder = tempfile::Builder::new().prefix("d").tempdir_in(parent);
        let dir = folder.expect("a folder");
        let at = dir.path();
        std::fs::write(at.join("config.toml"), config(at) + more).expect("write a configuration");
        let log = File::create(at.join("log")).expect("create a log");
        let mut command = match program {
            Program::Containerd(path) => Command::new(path),
            Program::Lamina(path) => {
                let mut command = Command::new(path);
                command.arg("--root").arg(at.join("root")).arg("--state").arg(at.join("s"));
                command.arg("--address").arg(at.join("sock")).arg("serve");
                command
            }
        };
        command.arg("--config").arg(at.join("config.toml"));
        if let Some(folder) = program.shims() {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = [folder].into_iter().chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(folders).expect("a path"));
        }
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let mounted = Mounted(at.canonicalize().expect("an absolute path"));
        let mut daemon = Daemon { child, _mounted: mounted, dir };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(daemon.address()).is_err() {
            let ended = daemon.child.try_wait().expect("wait for a child");
            assert!(ended.is_none(), "{program:?} ended: {ended:?}");
            assert!(Instant::now() < deadline, "{program:?} has no socket yet");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// Its socket.
    pub fn address(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Where it looks for the proxy snapshotter `remote`. Nobody listens there yet.
    pub fn remote(&self) -> PathBuf {
        self.dir.path().join("remote.sock")
    }

    /// A folder for the files of its clients, which goes with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A child that was not waited for keeps its number.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                eprintln!("the daemon does not end; it is killed");
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if std::thread::panicking() {
            let log = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN)..];
            eprintln!("the end of the daemon's log:\n{}", shown.join("\n"));
        }
    }
}

/// A configuration that both generations of containerd understand: nothing outside of `at`, and
/// nothing that concerns Kubernetes.
fn config(at: &Path) -> String {
    let at = at.display();
    format!(
        "version = 2\n\
         root = \"{at}/root\"\n\
         state = \"{at}/s\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.nri.v1.nri\", \
         \"io.containerd.internal.v1.tracing\", \"io.containerd.tracing.processor.v1.otlp\"]\n\
         [grpc]\n\
         address = \"{at}/sock\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n\
         path = \"{at}/opt\"\n\
         [proxy_plugins.remote]\n\
         type = \"snapshot\"\n\
         address = \"{at}/remote.sock\"\n"
    )
}

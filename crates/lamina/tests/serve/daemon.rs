//! A daemon in a process of its own.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Everything that should happen soon happens within this, on a busy machine too.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A root, a state directory and a configuration of their own.
pub(crate) struct Site(TempDir);

impl Site {
    pub(crate) fn new() -> Site {
        Site::with_config("")
    }

    pub(crate) fn with_config(text: &str) -> Site {
        let site = Site(TempDir::new().unwrap());
        std::fs::write(site.path("config.toml"), text).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("state/lamina.sock")
    }

    /// The binary over this site.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamina"));
        command.env_clear().current_dir(self.0.path()).stdin(Stdio::null()).args(args);
        for (name, file) in
            [("LAMINA_ROOT", "root"), ("LAMINA_STATE", "state"), ("LAMINA_CONFIG", "config.toml")]
        {
            command.env(name, self.path(file));
        }
        // Leftover processes are found by it.
        if let Some(folder) = std::env::var_os("TMPDIR") {
            command.env("TMPDIR", folder);
        }
        command
    }

    /// Starts a daemon and waits until it answers.
    pub(crate) fn start(&self) -> Daemon {
        let daemon = self.spawn(|_| ());
        daemon.wait_until_it_serves();
        daemon
    }

    /// Starts a daemon.
    pub(crate) fn spawn(&self, change: impl FnOnce(&mut Command)) -> Daemon {
        let log = self.path("log");
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command(&["serve"]);
        command.stderr(stderr);
        change(&mut command);
        let begin = usize::try_from(log.metadata().unwrap().len()).unwrap();
        Daemon { child: command.spawn().unwrap(), log, begin }
    }
}

/// A process that is killed when this is dropped. It must not have panicked.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where its part of the log begins.
    begin: usize,
}

impl Daemon {
    /// What has been logged since it was started.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap();
        String::from_utf8_lossy(&log[self.begin..]).into_owned()
    }

    /// Waits until it answers and heeds signals, which is said a moment after the socket is there.
    #[track_caller]
    pub(crate) fn wait_until_it_serves(&self) {
        self.wait_until("serving", || self.log().contains("serving"));
    }

    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, happens: impl FnMut() -> bool) {
        assert!(soon(happens), "{what} did not happen; the log:\n{}", self.log());
    }

    #[allow(dead_code, reason = "asked for by those who look into the process")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = soon(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "it goes on; the log:\n{}", self.log());
        status.unwrap()
    }

    /// SIGTERM, and an end in order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.wait_until_it_serves();
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}; the log:\n{}", self.log());
    }

    /// SIGKILL.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ended().signal(), Some(Signal::KILL.as_raw()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let log = self.log();
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

/// Whether something happens soon.
pub(crate) fn soon(mut happens: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !happens() {
        if began.elapsed() > SOON {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Whether anything lies at a path.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

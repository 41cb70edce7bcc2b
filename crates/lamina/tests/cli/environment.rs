//! Runs the binary with a store, an environment and a configuration of its own.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A store of its own, gone when this is dropped.
pub(crate) struct TestEnvironment {
    /// Unmounted before the folder it is in is deleted.
    /// Ends before its file system goes.
    daemon: RefCell<Option<Daemon>>,
    tmpfs: Option<Tmpfs>,
    temp: TempDir,
    /// Why this test has no daemon.
    embedded: Option<&'static str>,
    snapshotter: &'static str,
    root: PathBuf,
}

impl TestEnvironment {
    /// With the snapshotter `native`, which works everywhere.
    pub(crate) fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let root = temp.path().join("root");
        let (daemon, tmpfs, embedded) = (RefCell::default(), None, embedded());
        let env = TestEnvironment { daemon, tmpfs, temp, embedded, snapshotter: "native", root };
        env.file("config.toml", "");
        env
    }

    pub(crate) fn with_snapshotter(mut self, name: &'static str) -> Self {
        self.snapshotter = name;
        self
    }

    /// With the store elsewhere.
    pub(crate) fn with_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// With the store on a file system of its own, in memory. Needs root.
    pub(crate) fn on_tmpfs(self, options: &str) -> Self {
        let at = self.temp.path().join("fs");
        let root = at.join("root");
        TestEnvironment { tmpfs: Some(Tmpfs::mount(at, options)), ..self }.with_root(root)
    }

    /// Runs a command line that `lamina` printed.
    pub(crate) fn shell(&self, line: &str) {
        let line = line.replace("$TEMP", &self.temp.path().display().to_string());
        succeed(Command::new("sh").args(["-e", "-c", &line]));
    }

    /// Takes away the right to write from the file system of [`on_tmpfs`](Self::on_tmpfs).
    pub(crate) fn make_read_only(&self) {
        let at = &self.tmpfs.as_ref().unwrap().0;
        succeed(Command::new("mount").args(["-o", "remount,ro"]).arg(at));
    }

    pub(crate) fn temp(&self) -> &Path {
        self.temp.path()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("io.containerd.metadata.v1.sqlite/meta.db")
    }

    /// Writes a file that is gone with the environment.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.temp.path().join(name);
        let mut content = content.as_ref().to_vec();
        if self.has_daemon() && name == "config.toml" {
            // The next command starts another, which reads it.
            self.end_daemon();
            content.extend(NO_GC.as_bytes());
        }
        std::fs::write(&path, content).unwrap();
        path
    }

    fn has_daemon(&self) -> bool {
        crate::DAEMON && self.embedded.is_none()
    }

    /// Ends the daemon; the next command starts another.
    pub(crate) fn end_daemon(&self) {
        self.daemon.take();
    }

    /// Starts the daemon unless it runs.
    fn start_daemon(&self) {
        if !self.has_daemon() || self.daemon.borrow().is_some() {
            return;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamina"));
        self.surround(&mut command).arg("serve");
        let state = self.temp.path().join("state");
        *self.daemon.borrow_mut() = Some(Daemon::start(command, self.temp.path(), &state));
    }

    /// The binary with nothing in its environment but where the store is.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamina"));
        self.prepare(&mut command).args(args);
        command
    }

    pub(crate) fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        self.start_daemon();
        self.surround(command)
    }

    fn surround<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env_clear().current_dir(self.temp.path()).stdin(Stdio::null());
        for (name, value) in [
            ("LAMINA_ROOT", self.root.as_path()),
            ("LAMINA_STATE", &self.temp.path().join("state")),
            ("LAMINA_CONFIG", &self.temp.path().join("config.toml")),
            ("LAMINA_SNAPSHOTTER", Path::new(self.snapshotter)),
        ] {
            command.env(name, value);
        }
        // Leftover processes are found by it.
        if let Some(folder) = std::env::var_os("TMPDIR") {
            command.env("TMPDIR", folder);
        }
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Run {
        self.finish(self.command(args).output().unwrap())
    }

    /// With bytes on standard input.
    pub(crate) fn run_with_input<A: AsRef<OsStr>>(&self, args: &[A], input: &[u8]) -> Run {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read to the end closes the pipe.
        let _ = stdin.write_all(input);
        drop(stdin);
        self.finish(child.wait_with_output().unwrap())
    }

    /// What a command prints that succeeds without a word on stderr.
    #[track_caller]
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        let run = self.run(args);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "stdout: {}", run.stdout);
        run.stdout
    }

    /// What a command says on stderr that fails and prints nothing.
    #[track_caller]
    pub(crate) fn fails<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        self.fails_with(1, args)
    }

    /// As [`fails`](Self::fails), with another exit code.
    #[track_caller]
    pub(crate) fn fails_with<A: AsRef<OsStr>>(&self, code: i32, args: &[A]) -> String {
        let run = self.run(args);
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "stderr: {}", run.stderr);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
        run.stderr
    }

    /// What a command says on stderr whose arguments are wrong.
    #[track_caller]
    pub(crate) fn misused<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        let run = self.run(args);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "stderr: {}", run.stderr);
        run.stderr
    }

    /// What a listing prints in JSON.
    #[track_caller]
    pub(crate) fn json<A: AsRef<OsStr>>(&self, args: &[A]) -> serde_json::Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    pub(crate) fn finish(&self, output: Output) -> Run {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let temp = self.temp.path().display().to_string();
        Run {
            code: output.status.code().unwrap_or(-1),
            bytes: output.stdout.clone(),
            stdout: text(output.stdout).replace(&temp, "$TEMP"),
            stderr: text(output.stderr).replace(&temp, "$TEMP"),
        }
    }
}

/// Tests keep things that nothing refers to; they collect when they say so.
const NO_GC: &str = "\n[plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"1h\"\n";

/// Tests that have no daemon in the target `cli_daemon` either, and why.
const EMBEDDED: &[(&str, &str)] = &[
    ("config::", "it is about what commands read themselves"),
    ("docs::", "it asks for help only"),
    ("faults::", "it is about the lock, and faults of a store that a daemon would not open"),
    ("general::", "it is about files, sockets and stores that are not there"),
    ("host::", "df and fsck are the owner's, and prune counts what it owns"),
    ("untrusted::state_belongs", "it is about who makes the folders"),
    ("pull_access::proxies", "proxies are those of the daemon's environment"),
    ("pull_access::https_goes", "proxies are those of the daemon's environment"),
    ("pull_access::hosts_files", "warnings about hosts.toml go to the daemon's log"),
    ("image::quiet_and_packed", "it asks for another durability than the daemon's"),
    ("image::what_waits", "a daemon says once that a layer waits"),
    ("image_mount::prune_leaves", "it opens the store beside the command"),
    ("run_faults::privileged_who_is_not_root", "nobody is asked"),
    ("run_faults::privileged_a_shim_that_stands", "a daemon's shims are ended by hand"),
    ("run_host::privileged_containers_run_where", "a daemon would have other control groups"),
    ("pull_terminal::ctrl_c", "it looks with fsck, which is the owner's"),
    ("pull_terminal::a_pull_that_a_signal", "it looks with fsck, which is the owner's"),
    ("pull_terminal::a_second_signal", "it looks with fsck, which is the owner's"),
];

/// Why the test of this thread has no daemon.
fn embedded() -> Option<&'static str> {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    let (_, why) = EMBEDDED.iter().find(|(test, _)| crate::DAEMON && name.starts_with(test))?;
    eprintln!("WITHOUT A DAEMON {name}: {why}");
    Some(why)
}

/// A daemon of one test, ended when this is dropped.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(mut command: Command, temp: &Path, state: &Path) -> Daemon {
        let log = temp.join("daemon.log");
        let stderr = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stderr(stderr).stdout(Stdio::null()).spawn().unwrap();
        let mut daemon = Daemon { child, log };
        let (socket, begun) = (state.join("lamina.sock"), std::time::Instant::now());
        while UnixStream::connect(&socket).is_err() {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed().as_secs() < 60, "no daemon: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let begun = std::time::Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed().as_secs() > 20 {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if std::thread::panicking() {
            let log = std::fs::read(&self.log).unwrap_or_default();
            eprintln!("the daemon's log:\n{}", String::from_utf8_lossy(&log));
        }
    }
}

/// A file system in memory, unmounted when this is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf, options: &str) -> Tmpfs {
        std::fs::create_dir(&at).unwrap();
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at));
        Tmpfs(at)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        succeed(Command::new("umount").arg(&self.0));
    }
}

fn succeed(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// A run of the binary. In texts, the environment's folder is `$TEMP`.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; -1 for a signal.
    pub(crate) code: i32,
    /// Standard output as it came.
    pub(crate) bytes: Vec<u8>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Checks that a text has all of these in it.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Checks that a JSON text is a time of the last minutes, and takes it out of the value.
#[track_caller]
pub(crate) fn take_time(value: &mut serde_json::Value, field: &str) {
    let taken = value.as_object_mut().unwrap().remove(field).unwrap();
    let time: jiff::Timestamp = taken.as_str().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(time).as_secs();
    assert!((-5..600).contains(&age), "{field}: {taken}");
}

/// Whether a test that needs root cannot run, and says so.
pub(crate) fn not_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: not root");
    }
    !root
}

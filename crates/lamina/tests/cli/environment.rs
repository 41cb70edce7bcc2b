//! Runs the binary with a store, an environment and a configuration of its own.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A store of its own, gone when this is dropped.
pub(crate) struct TestEnvironment {
    /// Unmounted before the folder it is in is deleted.
    tmpfs: Option<Tmpfs>,
    temp: TempDir,
    snapshotter: &'static str,
    root: PathBuf,
}

impl TestEnvironment {
    /// With the snapshotter `native`, which works everywhere.
    pub(crate) fn new() -> Self {
        let temp = TempDir::new().unwrap();
        std::fs::write(temp.path().join("config.toml"), "").unwrap();
        let root = temp.path().join("root");
        TestEnvironment { tmpfs: None, temp, snapshotter: "native", root }
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
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The binary with nothing in its environment but where the store is.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamina"));
        self.prepare(&mut command).args(args);
        command
    }

    pub(crate) fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
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
        let run = self.run(args);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "stderr: {}", run.stderr);
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

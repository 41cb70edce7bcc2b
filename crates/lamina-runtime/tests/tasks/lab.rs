//! A runtime with directories of its own, and what it leaves when a test fails taken away.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lamina_core::{Any, Container, Namespace, Scope, TaskService};
use lamina_runtime::{Config, Runtime, Timeouts};
use lamina_sys::{mount, mountinfo};
use lamina_testkit::shim;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::host::Memory;

pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) memory: Memory,
    pub(crate) runtime: Runtime,
    pub(crate) tasks: Arc<dyn TaskService>,
    pub(crate) namespace: String,
}

impl Lab {
    pub(crate) fn new(timeouts: Timeouts) -> Lab {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        let (runtime, tasks) = open(dir.path(), &memory, &namespace, timeouts);
        Lab { dir, memory, runtime, tasks, namespace }
    }

    /// As after a restart of the daemon: another runtime on the same directories.
    pub(crate) async fn restart(&mut self) {
        self.runtime.close().await;
        let timeouts = Timeouts::default();
        (self.runtime, self.tasks) = open(self.dir.path(), &self.memory, &self.namespace, timeouts);
    }

    /// A container record.
    pub(crate) fn container(&self, id: &str, runtime: &str, spec: String) {
        self.container_by(id, runtime, spec, "");
    }

    /// A container record, whose shim is to run `program` as runc.
    pub(crate) fn container_by(&self, id: &str, runtime: &str, spec: String, program: &str) {
        let value = self.runc_options(program);
        let runc = Any { type_url: "containerd.runc.v1.Options".to_owned(), value };
        self.memory.add(Container {
            id: id.to_owned(),
            labels: Default::default(),
            image: String::new(),
            runtime: runtime.to_owned(),
            runtime_options: Some(runc),
            spec: Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
                value: spec.into_bytes(),
            },
            snapshotter: String::new(),
            snapshot_key: String::new(),
            sandbox: String::new(),
            extensions: Default::default(),
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        });
    }

    /// runc keeps its state here, not where the host's runc does.
    fn runc_options(&self, program: &str) -> Vec<u8> {
        use lamina_api::proto::containerd::runc::v1::Options;
        let root = self.runc_root().display().to_string();
        let binary_name = program.to_owned();
        prost::Message::encode_to_vec(&Options { root, binary_name, ..Default::default() })
    }

    fn runc_root(&self) -> PathBuf {
        self.dir.path().join("runc")
    }

    /// A program that pretends to be a shim.
    pub(crate) fn script(&self, text: &str) -> String {
        shim::script(self.dir.path(), text).to_str().unwrap().to_owned()
    }

    pub(crate) fn bundles(&self) -> PathBuf {
        self.dir.path().join("state/io.containerd.runtime.v2.task").join(&self.namespace)
    }

    pub(crate) fn bundle(&self, id: &str) -> PathBuf {
        self.bundles().join(id)
    }

    /// Nothing is left of any task: no bundle, mount, activation, process.
    pub(crate) fn assert_clean(&self) {
        let names = |dir: &Path| match fs::read_dir(dir) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name()).collect(),
            Err(_) => Vec::<OsString>::new(),
        };
        assert_eq!(names(&self.bundles()), Vec::<OsString>::new());
        let work = self.dir.path().join("root/io.containerd.runtime.v2.task");
        assert_eq!(names(&work.join(&self.namespace)), Vec::<OsString>::new());
        assert_eq!(self.memory.active(), Vec::<String>::new());
        let mounts = mountinfo::read().unwrap();
        assert!(mountinfo::below(&mounts, self.dir.path()).is_empty());
        // A shim goes on for a moment after it has closed its socket: it tries to send its events.
        let start = Instant::now();
        while !self.shims().is_empty() && start.elapsed() < Duration::from_secs(90) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.shims(), Vec::<i32>::new());
    }

    /// Processes that were started for this lab's namespace.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let wanted = self.namespace.as_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // It may have ended since.
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.split(|byte| *byte == 0).any(|word| word == wanted) {
                found.push(pid);
            }
        }
        found
    }

    pub(crate) fn kill_shims(&self) {
        self.signal_shims(Signal::KILL);
    }

    pub(crate) fn signal_shims(&self, signal: Signal) {
        for pid in self.shims() {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
        }
    }

    /// Stops the shims, and returns when they stand still: the signal reaches each thread by and by,
    /// and one that still runs may answer.
    pub(crate) fn stop_shims(&self) {
        let pids = self.shims();
        self.signal_shims(Signal::STOP);
        let start = Instant::now();
        while !pids.iter().all(|pid| stands_still(*pid)) {
            assert!(start.elapsed() < Duration::from_secs(60), "the shims {pids:?} do not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A FIFO for a stream of a process.
    pub(crate) fn fifo(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o700);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Whether every thread of a process is stopped (`T` in `/proc/<pid>/task/<tid>/stat`); so is one that
/// has ended.
fn stands_still(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it is in parentheses and may hold anything.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.kill_shims();
        // After a test that passed there is none.
        for id in fs::read_dir(self.runc_root().join(&self.namespace)).into_iter().flatten() {
            let mut runc = Command::new("runc");
            runc.arg("--root").arg(self.runc_root().join(&self.namespace));
            let _ = runc.args(["delete", "--force"]).arg(id.unwrap().file_name()).status();
        }
        for entry in mountinfo::below(&mountinfo::read().unwrap(), self.dir.path()).iter().rev() {
            let _ = mount::unmount(&entry.mount_point, mount::UnmountFlags::DETACH);
        }
    }
}

fn open(
    dir: &Path,
    memory: &Memory,
    namespace: &str,
    timeouts: Timeouts,
) -> (Runtime, Arc<dyn TaskService>) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let config = Config {
        path: path.clone(),
        beside: None,
        root: dir.join("root"),
        state: dir.join("state"),
        // Nobody listens there.
        address: dir.join("lamina.sock").display().to_string(),
        ttrpc_address: dir.join("lamina.sock.ttrpc").display().to_string(),
        publish_binary: "/bin/false".into(),
        socket_dir: Some(dir.join("s")),
        env: vec![("PATH".into(), path)],
        version: "0.1.0".to_owned(),
        debug: false,
        timeouts,
    };
    let runtime = Runtime::new(config, Arc::new(memory.clone()), Arc::new(memory.clone())).unwrap();
    let tasks = runtime.tasks(&Scope::new(Namespace::new(namespace).unwrap()));
    (runtime, tasks)
}

/// Fails a test that hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect_or_hang()
}

trait Hang<T> {
    fn expect_or_hang(self) -> T;
}

impl<T> Hang<T> for Result<T, tokio::time::error::Elapsed> {
    fn expect_or_hang(self) -> T {
        self.unwrap_or_else(|_| panic!("it hangs"))
    }
}

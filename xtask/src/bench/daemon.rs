//! The two sides: daemons on roots of their own, and what they cost.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::options::Options;
use super::tools::Tools;
use super::work::{self, Work};
use crate::process;

/// How long a daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// One side of a comparison.
pub(crate) enum Side {
    Lamina(PathBuf),
    Containerd {
        program: PathBuf,
        shim: Option<PathBuf>,
    },
    /// A containerd that runs already.
    Running(PathBuf),
}

/// A daemon, or where one runs already.
pub(crate) struct Daemon {
    child: Option<Child>,
    pub(crate) address: PathBuf,
    /// Its root, where we know it.
    pub(crate) folder: Option<PathBuf>,
}

impl Side {
    pub(crate) fn lamina(tools: &Tools) -> Side {
        Side::Lamina(tools.lamina.clone())
    }

    pub(crate) fn peer(tools: &Tools, options: &Options) -> Result<Side> {
        Ok(match &options.peer {
            Some(socket) => Side::Running(socket.clone()),
            None => {
                if process::which("unpigz").is_none() {
                    bail!("containerd unpacks faster with unpigz: apt-get install pigz");
                }
                let (program, shim) = (tools.containerd.clone(), tools.shim.clone());
                Side::Containerd { program, shim }
            }
        })
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Side::Lamina(_))
    }

    pub(crate) fn version(&self) -> Result<String> {
        Ok(match self {
            Side::Lamina(program) | Side::Containerd { program, .. } => {
                process::ask(Command::new(program).arg("--version"))?.trim().to_owned()
            }
            Side::Running(socket) => format!("containerd at {}", socket.display()),
        })
    }

    /// Starts it on an empty root, and waits until it answers. `durability` is for Lamina.
    pub(crate) fn start(&self, tools: &Tools, work: &Work, durability: &str) -> Result<Daemon> {
        let folder = work.fresh();
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        self.start_in(tools, &folder, durability)
    }

    /// Starts it on whatever is in `folder`.
    pub(crate) fn start_in(
        &self,
        tools: &Tools,
        folder: &Path,
        durability: &str,
    ) -> Result<Daemon> {
        let daemon = self.spawn(folder, durability)?;
        tools.load(&["answers", &daemon.socket()])?;
        Ok(daemon)
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&self, folder: &Path, durability: &str) -> Result<Daemon> {
        let (program, shim, text) = match self {
            Side::Lamina(program) => {
                (program, None, format!("durability = \"{durability}\"\n{}", places(folder)))
            }
            Side::Containerd { program, shim } => (program, shim.as_deref(), places(folder)),
            Side::Running(socket) => {
                return Ok(Daemon { child: None, address: socket.clone(), folder: None });
            }
        };
        let config = folder.join("config.toml");
        fs::write(&config, text).context("cannot write a configuration")?;
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&config);
        if self.is_ours() {
            command.arg("serve");
        }
        if let Some(bin) = shim.and_then(Path::parent) {
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", bin.display()));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let address = folder.join("sock");
        Ok(Daemon { child: Some(child), address, folder: Some(folder.to_owned()) })
    }
}

/// What both understand: the best settings of containerd for pulls on few processors.
fn places(folder: &Path) -> String {
    let at = folder.display();
    format!(
        "version = 3\n\
         root = \"{at}/root\"\n\
         state = \"{at}/state\"\n\
         disabled_plugins = [\"io.containerd.nri.v1.nri\", \
         \"io.containerd.internal.v1.tracing\", \"io.containerd.tracing.processor.v1.otlp\"]\n\
         [grpc]\n\
         address = \"{at}/sock\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n\
         path = \"{at}/opt\"\n\
         [plugins.\"io.containerd.transfer.v1.local\"]\n\
         max_concurrent_downloads = 4\n\
         max_concurrent_unpacks = 4\n"
    )
}

impl Daemon {
    pub(crate) fn socket(&self) -> String {
        self.address.display().to_string()
    }

    fn proc(&self, file: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.as_ref()?.id())).ok()
    }

    /// Seconds of processor time, of its ended children too.
    pub(crate) fn cpu(&self) -> Option<f64> {
        let stat = self.proc("stat")?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok());
        Some(ticks.sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// `VmRSS` or `VmHWM`, in MB.
    pub(crate) fn memory(&self, what: &str) -> Option<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find(|line| line.starts_with(what))?;
        Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1000.0)
    }

    /// What it stores, in bytes.
    pub(crate) fn stored(&self) -> Option<u64> {
        let mut du = Command::new("du");
        du.args(["-s", "--block-size=1"]).arg(self.folder.as_ref()?.join("root"));
        process::ask(&mut du).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// Goes on with another process on the same root.
    pub(crate) fn take_over(&mut self, mut other: Daemon) {
        self.child = other.child.take();
        other.folder = None;
    }

    /// Ends it, and keeps its root.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself, which its log says.
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while child.try_wait().context("cannot wait for a daemon")?.is_none() {
            if began.elapsed() > PATIENCE {
                child.kill().context("cannot kill a daemon")?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let stopped = self.stop();
        let removed = self.folder.as_deref().map_or(Ok(()), work::remove);
        if let Err(error) = stopped.and(removed) {
            eprintln!("{error:#}");
        }
    }
}

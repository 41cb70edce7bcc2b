//! The folder that a run works in, and its end: a process of our own waits for this one to end,
//! however it ends, then ends whatever was started in the folder, unmounts, and deletes it.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The argument that makes a process the one that cleans up.
pub(crate) const CLEANER: &str = "--clean-at-end-of";

/// How long what was started may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Work {
    folder: PathBuf,
    cleaner: Child,
    next: AtomicU64,
}

impl Work {
    pub(crate) fn new() -> Result<Work> {
        let folder = std::env::temp_dir().join(format!("lamina-bench-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let cleaner = Command::new(std::env::current_exe()?)
            .args(["bench", CLEANER])
            .arg(&folder)
            .stdin(Stdio::piped())
            // A Ctrl-C is for us; it goes on.
            .process_group(0)
            .spawn()
            .context("cannot start what cleans up")?;
        Ok(Work { folder, cleaner, next: AtomicU64::new(0) })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fails if fewer bytes are free, instead of filling the disk.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<()> {
        let info = rustix::fs::statvfs(&self.folder).context("look at the space that is free")?;
        let free = info.f_bavail * info.f_frsize;
        if free < bytes {
            let at = self.folder.display();
            bail!("{at} has {free} bytes free of {bytes} that are needed; see TMPDIR and --quick");
        }
        Ok(())
    }

    /// A name for a folder in it that is not there yet.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        if let Err(error) = self.cleaner.wait() {
            eprintln!("{} is left behind: {error}", self.folder.display());
        }
    }
}

/// Waits until standard input ends, which it does with whoever started us.
pub(crate) fn clean_at_end(folder: &Path) -> Result<ExitCode> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let began = Instant::now();
    let mut signal = Signal::TERM;
    loop {
        let left = processes(folder);
        if left.is_empty() || began.elapsed() > 2 * PATIENCE {
            break;
        }
        for pid in left {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
        if began.elapsed() > PATIENCE {
            signal = Signal::KILL;
        }
        sleep(Duration::from_millis(100));
    }
    remove(folder)?;
    Ok(ExitCode::SUCCESS)
}

/// Processes with a path below `folder` on their command line, which all that a run starts have.
fn processes(folder: &Path) -> Vec<Pid> {
    let needle = format!("{}/", folder.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let ours = String::from_utf8_lossy(&line).contains(&needle);
            Pid::from_raw(pid).filter(|_| ours)
        })
        .collect()
}

/// Deletes a folder of a daemon, with what is mounted in it unmounted before.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<&Path> =
        points.map(Path::new).filter(|point| point.starts_with(folder)).collect();
    points.reverse();
    for point in points {
        // What stays mounted makes the removal fail, which says so.
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", folder.display()))
        }
        _ => Ok(()),
    }
}

//! Ending a shim that does not answer, by its process: there is nobody to ask.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::bundle::Bundle;

/// How long processes may take to go, once they were killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills the shim of a bundle, and the programs that it runs: those that work in the bundle's directory and
/// have the container's identifier as an argument. The container's own programs do not.
pub(crate) async fn all_of(bundle: &Bundle) {
    let begun = Instant::now();
    loop {
        let found = processes(bundle.path(), bundle.id());
        if found.is_empty() {
            return;
        }
        if begun.elapsed() > PATIENCE {
            return tracing::error!(task = bundle.id(), ?found, "these go on after SIGKILL");
        }
        for pid in found {
            kill(pid, bundle);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A number can be another process's by now, but what it was opened as stays.
fn kill(pid: Pid, bundle: &Bundle) {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if is_of(pid, bundle.path(), bundle.id()) {
        tracing::warn!(
            task = bundle.id(),
            pid = pid.as_raw_nonzero(),
            "killed, as it does not answer"
        );
        // It may have ended by now.
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

fn processes(folder: &Path, id: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw).filter(|pid| is_of(*pid, folder, id)).collect()
}

fn is_of(pid: Pid, folder: &Path, id: &str) -> bool {
    let process = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    // Of what has ended, or of a zombie, neither can be read.
    if !fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder) {
        return false;
    }
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|argument| argument == id.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_what_works_there_for_it_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let start = |cwd: &Path, id: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", "read x", id]).stdin(std::process::Stdio::piped());
            command.current_dir(cwd).spawn().unwrap()
        };
        let mut all = [start(&folder, "c"), start(&folder, "d"), start(Path::new("/"), "c")];
        assert_eq!(processes(&folder, "c"), [Pid::from_child(&all[0])]);
        for child in &mut all {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert_eq!(processes(&folder, "c"), []);
    }
}

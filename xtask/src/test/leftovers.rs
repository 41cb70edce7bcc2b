//! What tests left behind: mounts, loop devices, processes and files under the folder that was
//! theirs for temporary files. Tests clean up also when they fail, so each leftover is a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process;

/// Something that should be gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leftover {
    /// A process that still has the folder as its `TMPDIR`.
    Process {
        pid: u32,
        command: String,
    },
    Mount(PathBuf),
    Loop {
        device: String,
        file: String,
    },
    File(PathBuf),
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Leftover::Process { pid, command } => write!(f, "process {pid}: {command}"),
            Leftover::Mount(at) => write!(f, "mount at {}", at.display()),
            Leftover::Loop { device, file } => write!(f, "/dev/{device} of {file}"),
            Leftover::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How long letting go may take: a loop device of a lazily unmounted filesystem goes when its last
/// user is gone, and a shim tries to send its events for some seconds after its task.
const PATIENCE: Duration = Duration::from_secs(45);

/// What is left of the tests that had `temp` to themselves.
pub(crate) fn find(temp: &Path) -> Result<Vec<Leftover>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = scan(temp)?;
        if found.is_empty() || Instant::now() > deadline {
            return Ok(found);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Ends, unmounts and detaches `leftovers`, and deletes `temp`.
pub(crate) fn clear(temp: &Path, leftovers: &[Leftover]) -> Result<()> {
    for leftover in leftovers {
        match leftover {
            Leftover::Process { pid, .. } => {
                let pid = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw);
                if let Some(pid) = pid {
                    // It may have ended meanwhile, which is as good.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            Leftover::Mount(at) => _ = process::status(Command::new("umount").arg("-l").arg(at))?,
            Leftover::Loop { device, .. } => {
                process::status(Command::new("losetup").args(["-d", &format!("/dev/{device}")]))?;
            }
            Leftover::File(_) => {}
        }
    }
    let mounted = mounts(temp)?;
    if let Some(at) = mounted.first() {
        anyhow::bail!("{} stays mounted, so {} is not deleted", at.display(), temp.display());
    }
    fs::remove_dir_all(temp).with_context(|| format!("cannot delete {}", temp.display()))
}

fn scan(temp: &Path) -> Result<Vec<Leftover>> {
    let mut found: Vec<Leftover> = processes(temp)?;
    // The innermost mount goes first.
    found.extend(mounts(temp)?.into_iter().rev().map(Leftover::Mount));
    found.extend(loops(temp)?);
    let entries = fs::read_dir(temp).with_context(|| format!("cannot list {}", temp.display()))?;
    for entry in entries {
        found.push(Leftover::File(entry.context("cannot list temporary files")?.path()));
    }
    Ok(found)
}

/// Mount points under `temp`, and mounts of things under it, in the order of mounting.
fn mounts(temp: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read mountinfo")?;
    Ok(mounts_in(&table, temp))
}

/// Fields as in proc_pid_mountinfo(5): the fifth is the mount point; after a lone hyphen come the
/// type and the source.
fn mounts_in(table: &str, temp: &Path) -> Vec<PathBuf> {
    let concerns = |line: &str| {
        let at = PathBuf::from(unescape(line.split(' ').nth(4)?));
        let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
        let ours = at.starts_with(temp) || Path::new(&unescape(source)).starts_with(temp);
        ours.then_some(at)
    };
    table.lines().filter_map(concerns).collect()
}

/// Undoes the octal escapes of the kernel's mount tables.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, sign)| text.replace(escape, sign))
}

/// Loop devices whose file is, or was, under `temp`.
fn loops(temp: &Path) -> Result<Vec<Leftover>> {
    let mut found = Vec::new();
    let Ok(devices) = fs::read_dir("/sys/block") else { return Ok(found) };
    for device in devices {
        let device = device.context("cannot list /sys/block")?;
        // A device that is free has no such file.
        let Ok(file) = fs::read_to_string(device.path().join("loop/backing_file")) else {
            continue;
        };
        if Path::new(file.trim_end()).starts_with(temp) {
            let device = device.file_name().to_string_lossy().into_owned();
            found.push(Leftover::Loop { device, file: file.trim_end().to_owned() });
        }
    }
    Ok(found)
}

/// Processes that inherited `TMPDIR` from a test.
fn processes(temp: &Path) -> Result<Vec<Leftover>> {
    let mut found = Vec::new();
    let marker = format!("TMPDIR={}", temp.display()).into_bytes();
    for entry in fs::read_dir("/proc").context("cannot list /proc")? {
        let entry = entry.context("cannot list /proc")?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        // Another user's process, or one that ended just now: not one of ours.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|&byte| byte == 0).any(|variable| variable == marker) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            found.push(Leftover::Process { pid, command });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_on_and_of_the_folder_are_found() {
        let table = "\
            20 1 8:1 / / rw - ext4 /dev/vda rw\n\
            30 20 0:40 / /tmp/t/a rw shared:1 - overlay overlay rw\n\
            31 20 0:41 / /tmp/t/with\\040blank rw - tmpfs tmpfs rw\n\
            32 20 0:42 / /mnt rw - fuse /tmp/t/image rw\n\
            33 20 0:43 / /tmp/tt rw - tmpfs tmpfs rw\n";
        let found = mounts_in(table, Path::new("/tmp/t"));
        assert_eq!(found, ["/tmp/t/a", "/tmp/t/with blank", "/mnt"].map(PathBuf::from));
    }

    /// A folder that is gone when this is dropped, whatever became of the test.
    struct Deleted(PathBuf);

    impl Drop for Deleted {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_and_processes_are_found_and_cleared() {
        let temp = std::env::temp_dir().join(format!("leftovers-{}", std::process::id()));
        fs::create_dir(&temp).unwrap();
        let _held = Deleted(temp.clone());
        assert_eq!(scan(&temp).unwrap(), []);
        fs::write(temp.join("file"), "").unwrap();
        let mut child = Command::new("sleep").arg("60").env("TMPDIR", &temp).spawn().unwrap();
        // A program's variables are not there yet at the very start of it.
        let begun = Instant::now();
        let mut found = scan(&temp).unwrap();
        while found.len() < 2 && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(10));
            found = scan(&temp).unwrap();
        }
        assert!(
            matches!(&found[..], [Leftover::Process { pid, .. }, Leftover::File(_)] if *pid == child.id()),
            "{found:?}"
        );
        clear(&temp, &found).unwrap();
        assert!(!child.wait().unwrap().success(), "it was killed");
        assert!(!temp.exists());
    }

    #[test]
    fn privileged_mounts_and_loop_devices_are_found_and_cleared() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP privileged_mounts_and_loop_devices_are_found_and_cleared: not root");
            return;
        }
        let temp = std::env::temp_dir().join(format!("leftover-mounts-{}", std::process::id()));
        let (outer, image) = (temp.join("outer"), temp.join("image"));
        fs::create_dir_all(&outer).unwrap();
        let mount = |at: &Path| {
            let done = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at).status();
            assert!(done.unwrap().success(), "mount {}", at.display());
        };
        mount(&outer);
        fs::create_dir(outer.join("inner")).unwrap();
        mount(&outer.join("inner"));
        fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
        let device = process::ask(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        let found = scan(&temp).unwrap();
        clear(&temp, &found).unwrap();
        if let Err(error) = device {
            eprintln!("SKIP privileged_mounts_and_loop_devices_are_found_and_cleared: {error}");
            return;
        }
        let mounts = [Leftover::Mount(outer.join("inner")), Leftover::Mount(outer)];
        assert_eq!(found[..2], mounts, "the innermost goes first");
        assert!(matches!(&found[2], Leftover::Loop { .. }), "{found:?}");
        assert!(!temp.exists());
        assert_eq!(mounts_in(&fs::read_to_string("/proc/self/mountinfo").unwrap(), &temp).len(), 0);
        assert_eq!(loops(&temp).unwrap(), []);
    }
}

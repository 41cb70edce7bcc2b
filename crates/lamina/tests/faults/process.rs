//! What a daemon's process holds.

use std::fs;

use crate::daemon::{Daemon, Site, soon};

/// Of one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) files: usize,
    pub(crate) threads: u64,
    /// Bytes of memory.
    pub(crate) resident: u64,
}

pub(crate) fn held(daemon: &Daemon) -> Held {
    let proc = format!("/proc/{}", daemon.pid());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    Held {
        files: fs::read_dir(format!("{proc}/fd")).unwrap().count(),
        threads: field("Threads:"),
        resident: field("VmRSS:") * 1024,
    }
}

/// The database has at most 8 connections to read with, made when needed and kept, of two files each.
const READERS: usize = 8 * 2;

/// Waits until the daemon holds as much as before. Threads of its pool live on for a while; memory
/// that was freed is given back in part.
#[track_caller]
pub(crate) fn back_to(daemon: &Daemon, before: Held, memory: u64) {
    let mut now = before;
    let back = soon(|| {
        now = held(daemon);
        now.files <= before.files + READERS
            && now.threads <= before.threads + 4
            && now.resident <= before.resident + memory
    });
    assert!(back, "{now:?} is held, and was {before:?}; the log:\n{}", daemon.log());
}

/// No mount of the daemon is left.
#[track_caller]
pub(crate) fn no_mounts(site: &Site) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = site.path("").display().to_string();
    let ours: Vec<&str> = mounts.lines().filter(|line| line.contains(&root)).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

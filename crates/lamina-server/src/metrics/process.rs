//! What the kernel tells of this process (`proc(5)`).

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Numbers of this moment; `None` for what cannot be read.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    /// Of user and system.
    pub(super) cpu_seconds: f64,
}

pub(super) fn read() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let kib = |name| field(name).map(|kib| kib * 1024);
    Process {
        // Less the one that reads the folder.
        open_fds: fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| (entries.count() as u64).saturating_sub(1)),
        max_fds: getrlimit(Resource::Nofile).current,
        resident_bytes: kib("VmRSS"),
        virtual_bytes: kib("VmSize"),
        threads: field("Threads"),
        cpu_seconds: cpu_seconds(&fs::read_to_string("/proc/self/stat").unwrap_or_default()),
    }
}

/// Fields 14 and 15 of `stat`, counted after the name, which can have spaces and brackets in it.
fn cpu_seconds(stat: &str) -> f64 {
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0.0 };
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|text| text.parse::<u64>().ok())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read() {
        let process = read();
        assert!(process.open_fds.unwrap() >= 3, "{process:?}");
        assert!(process.max_fds.unwrap() >= process.open_fds.unwrap(), "{process:?}");
        assert!(process.resident_bytes.unwrap() > 1 << 20, "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes, "{process:?}");
        assert!(process.threads.unwrap() >= 1, "{process:?}");
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = "1 (a ) b) S 1 1 1 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0";
        assert_eq!(cpu_seconds(stat), 42.0 / ticks);
        assert_eq!(cpu_seconds(""), 0.0);
    }
}

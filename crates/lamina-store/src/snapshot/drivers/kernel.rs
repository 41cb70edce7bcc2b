//! What the kernel has.

use std::process::{Command, Stdio};

/// Whether it has a file system; its module is asked for where it is not loaded.
pub(super) fn has_filesystem(name: &str) -> bool {
    let known = || {
        let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_whitespace().next_back() == Some(name))
    };
    if known() {
        return true;
    }
    let mut modprobe = Command::new("modprobe");
    modprobe.args(["-q", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    modprobe.status().is_ok_and(|status| status.success()) && known()
}

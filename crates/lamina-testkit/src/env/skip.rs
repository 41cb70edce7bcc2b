//! What a test needs of the machine, and how it says that it does not get it.

use std::path::PathBuf;

use lamina_sys::kernel;
use lamina_sys::mount::FsContext;

/// Ends a test with the line that `cargo xtask test` counts as skipped, unless there is a value.
///
/// ```text
/// or_skip!("privileged_btrfs_is_used", require_fs("btrfs"));
/// ```
#[macro_export]
macro_rules! or_skip {
    ($test:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => {
                eprintln!("SKIP {}: {reason}", $test);
                return;
            }
        }
    };
}

/// Root: may mount, own, and make devices.
///
/// # Errors
/// The reason for a skip.
pub fn require_root() -> Result<(), String> {
    if kernel::is_root() { Ok(()) } else { Err("needs root".to_owned()) }
}

/// The guest of `cargo xtask vm`: a kernel with device-mapper and zfs, and nobody else on it.
///
/// # Errors
/// The reason for a skip.
pub fn require_vm() -> Result<(), String> {
    let there = std::env::var_os("LAMINA_VM").is_some();
    if there { Ok(()) } else { Err("runs in the guest of cargo xtask vm".to_owned()) }
}

/// A program, looked for where [`Command`](std::process::Command) looks. Answers its path.
///
/// # Errors
/// The reason for a skip.
pub fn require_tool(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| format!("needs {name}, which is not installed"))
}

/// A file system type of the kernel. Root is needed to load the module of one that is not there yet.
///
/// # Errors
/// The reason for a skip.
pub fn require_fs(fs_type: &str) -> Result<(), String> {
    // Opening a context loads the module, and fails without root also for a type that is there.
    let opened = FsContext::open(fs_type).is_ok();
    let listed = kernel::has_filesystem(fs_type).map_err(|error| error.to_string())?;
    if opened || listed { Ok(()) } else { Err(format!("needs {fs_type}, which the kernel lacks")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert!(require_tool("sh").unwrap().ends_with("sh"));
        assert_eq!(
            require_tool("mkfs.nosuch").unwrap_err(),
            "needs mkfs.nosuch, which is not installed"
        );
        require_fs("proc").unwrap();
        assert_eq!(require_fs("nosuchfs").unwrap_err(), "needs nosuchfs, which the kernel lacks");
        assert_eq!(require_root().is_ok(), kernel::is_root());
    }
}

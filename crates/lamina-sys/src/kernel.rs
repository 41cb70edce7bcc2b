//! Facts about the kernel this runs on.

use rustix::io::Errno;

use crate::error::{Result, SysError, from_io};

/// Major and minor version, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The 6 of 6.18.
    pub major: u32,
    /// The 18 of 6.18.
    pub minor: u32,
}

/// The version of the running kernel. Prefer to try a call and look at its outcome: vendors
/// backport features. This is for what cannot be tried.
pub fn version() -> Result<KernelVersion> {
    let release = release();
    parse_version(&release).ok_or_else(|| SysError::new("uname", Errno::INVAL).on(release))
}

/// What `uname -r` says.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether the kernel has a filesystem type now. One that lies in a module not yet loaded is not
/// listed; mounting it loads the module.
pub fn has_filesystem(name: &str) -> Result<bool> {
    let text = read_text("/proc/filesystems")?;
    Ok(text.lines().any(|line| line.split('\t').next_back() == Some(name)))
}

/// The random id of this boot: tells what was written before the last one.
pub fn boot_id() -> Result<String> {
    Ok(read_text("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Bytes in a page; the limit of `mount(2)` options hangs on it.
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// Whether this process acts as root in its user namespace.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn parse_version(release: &str) -> Option<KernelVersion> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some(KernelVersion { major, minor })
}

fn read_text(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| from_io("read", &error).on(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_parse() {
        for (release, expected) in [
            ("6.18.44-fc-v669", Some((6, 18))),
            ("5.14.0-427.el9.x86_64", Some((5, 14))),
            ("6.1", Some((6, 1))),
            ("4.19+", Some((4, 19))),
            ("linux", None),
            ("6", None),
        ] {
            let expected = expected.map(|(major, minor)| KernelVersion { major, minor });
            assert_eq!(parse_version(release), expected, "{release}");
        }
        let (old, new) =
            (KernelVersion { major: 5, minor: 19 }, KernelVersion { major: 6, minor: 1 });
        assert!(old < new);
    }

    #[test]
    fn this_kernel() {
        assert!(version().unwrap() >= KernelVersion { major: 3, minor: 0 });
        assert!(has_filesystem("proc").unwrap());
        assert!(!has_filesystem("nodev").unwrap());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}

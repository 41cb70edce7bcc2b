//! Opening: by name in a directory, inside a root, without leaving a mount, again.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

pub use rustix::fs::OFlags;
use rustix::fs::{Mode, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Result};

/// Opens the directory an operator named. Links in the path are followed.
pub fn open_dir(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).call_on("open", path)
}

/// An `O_PATH` handle on what an operator named. Links in the path are followed.
pub fn open_handle(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call_on("open", path)
}

/// `openat` of one name, which is not followed (`ELOOP` if it is a link and `flags` lack `PATH`).
/// `mode` counts only for a file that `flags` create, and is subject to the umask.
pub fn open_at(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    flags: OFlags,
    mode: u32,
) -> Result<OwnedFd> {
    let name = name.as_ref();
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode)).call_on("openat", name)
}

/// A readable descriptor of a subdirectory; `ENOTDIR` for anything else, also a link to one.
pub fn open_dir_at(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<OwnedFd> {
    open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// An `O_PATH` handle on any kind of entry, also on a symbolic link itself.
pub fn open_handle_at(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<OwnedFd> {
    open_at(dir, name, OFlags::PATH, 0)
}

/// A new file for writing, `EEXIST` if the name is taken in any way.
pub fn create_file(dir: impl AsFd, name: impl AsRef<OsStr>, mode: u32) -> Result<OwnedFd> {
    open_at(dir, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)
}

/// A nameless file in the filesystem of `dir`, to be given a name with [`link_fd`](super::link_fd).
pub fn make_tmpfile(dir: impl AsFd, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::from_raw_mode(mode)).call("openat(O_TMPFILE)")
}

/// Opens `path`, whose every component nobody vouches for, as if `root` were `/`: absolute links
/// and `..` stay inside, magic links (`/proc/*/fd`) are refused. Links are followed, the last one
/// too unless `flags` contain `NOFOLLOW`.
pub fn open_in_root(
    root: impl AsFd,
    path: impl AsRef<OsStr>,
    flags: OFlags,
    mode: u32,
) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    open_resolved(root, path.as_ref(), flags, mode, resolve)
}

/// Opens one name below `dir` only if that stays on the same mount: `EXDEV` for a mount point
/// (of another filesystem or a bind), `ELOOP` for a link.
pub fn open_same_mount(dir: impl AsFd, name: impl AsRef<OsStr>, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    open_resolved(dir, name.as_ref(), flags, 0, resolve)
}

/// A new open file description of what `fd` stands for, with other flags: turns an `O_PATH`
/// handle into a readable descriptor. Does not work on handles of symbolic links.
pub fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
    // Borrowed: the descriptor must live until it is open again.
    let path = fd_path(&fd);
    rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()).call_on("open", &path)
}

/// The path by which calls that know no descriptors reach one, while it is open.
pub fn fd_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

fn open_resolved(
    dir: impl AsFd,
    path: &OsStr,
    flags: OFlags,
    mode: u32,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    // openat2 refuses a mode where nothing is created.
    let creates = flags.intersects(OFlags::CREATE) || flags.contains(OFlags::TMPFILE);
    let mode = if creates { Mode::from_raw_mode(mode) } else { Mode::empty() };
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir.as_fd(), path, flags, mode, resolve) {
            // A rename or mount elsewhere on the host raced with a `..`: the kernel asks for
            // another try (openat2(2), EAGAIN).
            Err(Errno::AGAIN | Errno::INTR) if tries < RACE_TRIES => tries += 1,
            result => return result.call_on("openat2", path),
        }
    }
}

/// Bounds the retries; a host would have to rename without pause to use them up.
const RACE_TRIES: u32 = 256;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::Outcome;
    use crate::testing::TempDir;

    #[test]
    fn names_are_not_followed() {
        let temp = TempDir::new();
        temp.write("file", b"x");
        std::os::unix::fs::symlink("file", temp.path().join("link")).unwrap();
        let error = open_at(temp.fd(), "link", OFlags::RDONLY, 0).unwrap_err();
        assert_eq!(error.outcome(), Outcome::SymlinkLoop);
        let error = open_dir_at(temp.fd(), "file").unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotADirectory);
        open_handle_at(temp.fd(), "link").unwrap();
    }

    #[test]
    fn in_root_absolute_links_stay_inside() {
        let temp = TempDir::new();
        temp.mkdir("etc");
        temp.write("etc/passwd", b"inside");
        std::os::unix::fs::symlink("/etc/passwd", temp.path().join("link")).unwrap();
        std::os::unix::fs::symlink("../../../etc/passwd", temp.path().join("up")).unwrap();
        for name in ["link", "up", "/etc/passwd", "../../etc/passwd"] {
            let fd = open_in_root(temp.fd(), name, OFlags::RDONLY, 0).unwrap();
            let mut text = String::new();
            std::fs::File::from(fd).read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside", "{name}");
        }
    }

    #[test]
    fn reopen_makes_a_handle_readable() {
        let temp = TempDir::new();
        temp.write("file", b"hello");
        let handle = open_handle_at(temp.fd(), "file").unwrap();
        let fd = reopen(&handle, OFlags::RDONLY).unwrap();
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn nul_in_a_name_is_refused() {
        let temp = TempDir::new();
        let error = create_file(temp.fd(), "a\0b", 0o600).unwrap_err();
        assert_eq!(error.outcome(), Outcome::InvalidArgument);
    }
}

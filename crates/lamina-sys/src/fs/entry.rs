//! Directory entries: make, link, rename, remove.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{AtFlags, CWD, Dev, FileType, Mode, RenameFlags};
use rustix::io::Errno;

use super::attr::FileKind;
use super::open::fd_path;
use crate::error::{Call, Result, SysError};

/// `mkdirat`; the mode is subject to the umask, so [`set_mode`](super::set_mode) what matters.
pub fn make_dir(dir: impl AsFd, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
    let name = name.as_ref();
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode)).call_on("mkdirat", name)
}

/// `mknodat` for devices, fifos, sockets and empty files. `device` is a pair of major and minor
/// numbers and counts for devices only; a kind that `mknod` cannot make is `EINVAL`.
/// The mode is subject to the umask.
pub fn make_node(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    kind: FileKind,
    mode: u32,
    device: (u32, u32),
) -> Result<()> {
    let name = name.as_ref();
    let file_type = match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::CharDevice => FileType::CharacterDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::Fifo,
        FileKind::Socket => FileType::Socket,
        FileKind::Dir | FileKind::Symlink | FileKind::Unknown => {
            return Err(SysError::new("mknodat", Errno::INVAL).on(name));
        }
    };
    let device = device_number(device).call_on("mknodat", name)?;
    rustix::fs::mknodat(dir, name, file_type, Mode::from_raw_mode(mode), device)
        .call_on("mknodat", name)
}

/// `symlinkat`: `dir/name` will point to `target`, which is stored as it is.
pub fn make_symlink(
    target: impl AsRef<OsStr>,
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
) -> Result<()> {
    let name = name.as_ref();
    rustix::fs::symlinkat(target.as_ref(), dir, name).call_on("symlinkat", name)
}

/// The target a symbolic link stores. With an empty name, of the link `dir` is a handle on.
pub fn read_link(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<OsString> {
    let name = name.as_ref();
    let target = rustix::fs::readlinkat(dir, name, Vec::new()).call_on("readlinkat", name)?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// A hard link `new_dir/new` to the entry `dir/name` itself, also if that is a symbolic link.
pub fn link(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    new_dir: impl AsFd,
    new: impl AsRef<OsStr>,
) -> Result<()> {
    let new = new.as_ref();
    rustix::fs::linkat(dir, name.as_ref(), new_dir, new, AtFlags::empty()).call_on("linkat", new)
}

/// Gives what `fd` stands for a (further) name: publishes an `O_TMPFILE`, or links an `O_PATH`
/// handle.
pub fn link_fd(fd: impl AsFd, dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    match rustix::fs::linkat(fd.as_fd(), "", dir.as_fd(), name, AtFlags::EMPTY_PATH) {
        // AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH and answers ENOENT without it; the way through
        // /proc does not (open(2), O_TMPFILE).
        Err(Errno::NOENT) => {
            let path = fd_path(fd);
            rustix::fs::linkat(CWD, &path, dir, name, AtFlags::SYMLINK_FOLLOW)
                .call_on("linkat", name)
        }
        result => result.call_on("linkat", name),
    }
}

/// `renameat`: replaces what has the new name.
pub fn rename(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    new_dir: impl AsFd,
    new: impl AsRef<OsStr>,
) -> Result<()> {
    rename_with(dir, name.as_ref(), new_dir, new.as_ref(), RenameFlags::empty())
}

/// `renameat2(RENAME_NOREPLACE)`: `EEXIST` if the new name is taken. A file system that cannot tell
/// (`EINVAL`: FUSE servers of libfuse 2, some network ones) is asked whether the name is free and
/// then renames; there, nobody else may make that name meanwhile.
pub fn rename_noreplace(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    new_dir: impl AsFd,
    new: impl AsRef<OsStr>,
) -> Result<()> {
    let (name, new) = (name.as_ref(), new.as_ref());
    match rename_with(&dir, name, &new_dir, new, RenameFlags::NOREPLACE) {
        Err(error) if error.errno() == Errno::INVAL => {
            match rustix::fs::statat(&new_dir, new, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(SysError::new("renameat", Errno::EXIST).on(new)),
                Err(Errno::NOENT) => rename(dir, name, new_dir, new),
                Err(errno) => Err(SysError::new("fstatat", errno).on(new)),
            }
        }
        result => result,
    }
}

/// `renameat2(RENAME_EXCHANGE)`: two existing entries change places at once.
pub fn exchange(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    other_dir: impl AsFd,
    other: impl AsRef<OsStr>,
) -> Result<()> {
    rename_with(dir, name.as_ref(), other_dir, other.as_ref(), RenameFlags::EXCHANGE)
}

/// Removes a name that is not a directory (`EISDIR` if it is one).
pub fn remove_file(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    rustix::fs::unlinkat(dir, name, AtFlags::empty()).call_on("unlinkat", name)
}

/// Removes an empty directory; `EBUSY` if it is a mount point.
pub fn remove_dir(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).call_on("rmdir", name)
}

fn rename_with(
    dir: impl AsFd,
    name: &OsStr,
    new_dir: impl AsFd,
    new: &OsStr,
    flags: RenameFlags,
) -> Result<()> {
    rustix::fs::renameat_with(dir, name, new_dir, new, flags).map_err(|errno| {
        SysError::new("renameat2", errno).on(name).because(format!("to {}", new.display()))
    })
}

/// Linux keeps 12 bits of major and 20 of minor number; a larger one would silently be another
/// device.
fn device_number((major, minor): (u32, u32)) -> rustix::io::Result<Dev> {
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(Errno::INVAL);
    }
    Ok(rustix::fs::makedev(major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::fs;
    use crate::testing::TempDir;

    #[test]
    fn noreplace_and_exchange() {
        let temp = TempDir::new();
        temp.write("a", b"a");
        temp.write("b", b"b");
        let error = rename_noreplace(temp.fd(), "a", temp.fd(), "b").unwrap_err();
        assert!(error.is_exists(), "{error}");
        exchange(temp.fd(), "a", temp.fd(), "b").unwrap();
        assert_eq!(temp.read("a"), b"b");
        rename(temp.fd(), "a", temp.fd(), "b").unwrap();
        assert_eq!(temp.read("b"), b"b");
        assert!(rename(temp.fd(), "a", temp.fd(), "c").unwrap_err().is_not_found());
    }

    #[test]
    fn a_link_to_a_symlink_is_the_symlink() {
        let temp = TempDir::new();
        make_symlink("nowhere", temp.fd(), "s").unwrap();
        link(temp.fd(), "s", temp.fd(), "t").unwrap();
        assert_eq!(read_link(temp.fd(), "t").unwrap(), "nowhere");
        let handle = fs::open_handle_at(temp.fd(), "s").unwrap();
        assert_eq!(read_link(&handle, "").unwrap(), "nowhere");
    }

    #[test]
    fn a_nameless_file_gets_a_name() {
        let temp = TempDir::new();
        let fd = match fs::make_tmpfile(temp.fd(), 0o600) {
            Ok(fd) => fd,
            Err(error) => return eprintln!("SKIP a_nameless_file_gets_a_name: {error}"),
        };
        rustix::io::write(&fd, b"data").unwrap();
        link_fd(&fd, temp.fd(), "named").unwrap();
        assert_eq!(temp.read("named"), b"data");
        assert!(link_fd(&fd, temp.fd(), "named").unwrap_err().is_exists());
    }

    #[test]
    fn kinds_that_cannot_be_made_and_large_devices_are_refused() {
        let temp = TempDir::new();
        let error = make_node(temp.fd(), "d", FileKind::Dir, 0o700, (0, 0)).unwrap_err();
        assert_eq!(error.outcome(), Outcome::InvalidArgument);
        for device in [(1 << 12, 0), (0, 1 << 20)] {
            let error = make_node(temp.fd(), "d", FileKind::CharDevice, 0o600, device).unwrap_err();
            assert_eq!(error.outcome(), Outcome::InvalidArgument);
        }
        make_node(temp.fd(), "fifo", FileKind::Fifo, 0o600, (0, 0)).unwrap();
        assert_eq!(fs::stat_at(temp.fd(), "fifo").unwrap().kind, FileKind::Fifo);
        let error = remove_dir(temp.fd(), "fifo").unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotADirectory);
        remove_file(temp.fd(), "fifo").unwrap();
    }
}

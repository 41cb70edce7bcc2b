//! Attributes of an inode: kind, mode, owner, times. Nothing here follows a link.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, StatxAttributes, StatxFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use super::open::{fd_path, open_handle_at};
use crate::error::{Call, Result, check};

/// What an inode or directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device; with number 0:0 an overlayfs whiteout.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Not told: a directory entry of a filesystem that answers `DT_UNKNOWN`. Ask [`stat_at`].
    Unknown,
}

/// A point in time as the kernel keeps it. Negative seconds are before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC.
    pub sec: i64,
    /// Nanoseconds after `sec`, below 1 000 000 000.
    pub nsec: u32,
}

/// The times to set; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Time of last access.
    pub accessed: Option<Time>,
    /// Time of last modification.
    pub modified: Option<Time>,
}

/// What `statx` says about an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky (`07777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Device of the filesystem, major and minor. With [`ino`](Self::ino) the inode's identity.
    pub dev: (u32, u32),
    /// Inode number.
    pub ino: u64,
    /// Number of hard links.
    pub nlink: u32,
    /// Device number of a device node, major and minor.
    pub rdev: (u32, u32),
    /// Last access.
    pub accessed: Time,
    /// Last modification of the content.
    pub modified: Time,
    /// Last change of the inode.
    pub changed: Time,
    /// Whether it is the root of a mount.
    pub mount_root: bool,
}

impl Stat {
    /// What tells this inode from every other one on the host.
    pub fn identity(&self) -> ((u32, u32), u64) {
        (self.dev, self.ino)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Dir
    }

    /// Access and modification time, ready for [`set_times`].
    pub fn times(&self) -> Times {
        Times { accessed: Some(self.accessed), modified: Some(self.modified) }
    }
}

/// What `fd` stands for.
pub fn stat(fd: impl AsFd) -> Result<Stat> {
    statx(fd, OsStr::new(""), AtFlags::EMPTY_PATH)
}

/// An entry of `dir`, itself if it is a link.
pub fn stat_at(dir: impl AsFd, name: impl AsRef<OsStr>) -> Result<Stat> {
    statx(dir, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets the permission bits. `EOPNOTSUPP` on a handle of a symbolic link, which has none.
pub fn set_mode(fd: impl AsFd, mode: u32) -> Result<()> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    match rustix::fs::fchmod(fd.as_fd(), mode) {
        Err(Errno::BADF) => chmod_handle(fd.as_fd(), mode).call("fchmodat2"),
        result => result.call("fchmod"),
    }
}

/// Sets the permission bits of an entry; `EOPNOTSUPP` on a symbolic link.
pub fn set_mode_at(dir: impl AsFd, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
    let (dir, name) = (dir.as_fd(), name.as_ref());
    let mode = Mode::from_raw_mode(mode & 0o7777);
    let path = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL);
    let changed = path.and_then(|path| fchmodat2(dir, &path, mode, libc::AT_SYMLINK_NOFOLLOW));
    match changed {
        // Before Linux 6.6. The path of a handle is good as long as it is open.
        Err(Errno::NOSYS) => {
            let handle = open_handle_at(dir, name)?;
            rustix::fs::chmod(fd_path(&handle), mode)
        }
        result => result,
    }
    .call_on("fchmodat2", name)
}

/// Sets owner and group of what `fd` stands for, also of a symbolic link by its handle.
/// Clears setuid, setgid and file capabilities: set mode and xattrs after it.
pub fn set_owner(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    chown(fd, OsStr::new(""), uid, gid, AtFlags::EMPTY_PATH)
}

/// Sets owner and group of an entry, of the link itself if it is one.
pub fn set_owner_at(dir: impl AsFd, name: impl AsRef<OsStr>, uid: u32, gid: u32) -> Result<()> {
    chown(dir, name.as_ref(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets the times of what `fd` stands for, also of a symbolic link by its handle.
pub fn set_times(fd: impl AsFd, times: &Times) -> Result<()> {
    let times = timestamps(times).call("utimensat")?;
    match rustix::fs::utimensat(fd.as_fd(), "", &times, AtFlags::EMPTY_PATH) {
        // Before Linux 5.8 utimensat had no AT_EMPTY_PATH. The magic link ends at the inode
        // itself, so a link's handle is not followed further.
        Err(Errno::INVAL) => {
            rustix::fs::utimensat(rustix::fs::CWD, fd_path(fd), &times, AtFlags::empty())
                .call("utimensat")
        }
        result => result.call("utimensat"),
    }
}

/// Sets the times of an entry, of the link itself if it is one.
pub fn set_times_at(dir: impl AsFd, name: impl AsRef<OsStr>, times: &Times) -> Result<()> {
    let name = name.as_ref();
    let times = timestamps(times).call_on("utimensat", name)?;
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).call_on("utimensat", name)
}

fn statx(dir: impl AsFd, name: &OsStr, flags: AtFlags) -> Result<Stat> {
    let flags = flags | AtFlags::NO_AUTOMOUNT;
    let found =
        rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS).call_on("statx", name)?;
    let mode = u32::from(found.stx_mode);
    let time = |at: rustix::fs::StatxTimestamp| Time { sec: at.tv_sec, nsec: at.tv_nsec };
    Ok(Stat {
        kind: FileKind::from(FileType::from_raw_mode(mode)),
        mode: mode & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        blocks: found.stx_blocks,
        dev: (found.stx_dev_major, found.stx_dev_minor),
        ino: found.stx_ino,
        nlink: found.stx_nlink,
        rdev: (found.stx_rdev_major, found.stx_rdev_minor),
        accessed: time(found.stx_atime),
        modified: time(found.stx_mtime),
        changed: time(found.stx_ctime),
        mount_root: found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    })
}

fn chown(dir: impl AsFd, name: &OsStr, uid: u32, gid: u32, flags: AtFlags) -> Result<()> {
    // The kernel reads -1 as "leave it"; as an id it is never valid.
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL).call_on("fchownat", name);
    }
    rustix::fs::chownat(dir, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)
        .call_on("fchownat", name)
}

/// `fchmod` refuses `O_PATH` handles. Linux 6.6 has fchmodat2; before, the magic link leads to
/// the inode and no further (a symbolic link's own mode answers `EOPNOTSUPP` both ways).
fn chmod_handle(fd: BorrowedFd<'_>, mode: Mode) -> rustix::io::Result<()> {
    match fchmodat2(fd, c"", mode, libc::AT_EMPTY_PATH) {
        Err(Errno::NOSYS) => rustix::fs::chmod(fd_path(fd), mode),
        result => result,
    }
}

fn fchmodat2(
    dir: BorrowedFd<'_>,
    path: &CStr,
    mode: Mode,
    flags: libc::c_int,
) -> rustix::io::Result<()> {
    // SAFETY: the descriptor and the C string are borrowed for the call; the kernel only reads.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            mode.as_raw_mode(),
            flags,
        )
    };
    check(answer).map(drop)
}

/// Above the range of nanoseconds lie the kernel's own marks "now" and "leave it", which no file
/// time may turn into.
fn timestamps(times: &Times) -> rustix::io::Result<Timestamps> {
    let spec = |time: Option<Time>| match time {
        Some(time) if time.nsec >= 1_000_000_000 => Err(Errno::INVAL),
        Some(time) => Ok(Timespec { tv_sec: time.sec, tv_nsec: time.nsec.into() }),
        None => Ok(Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT }),
    };
    Ok(Timestamps { last_access: spec(times.accessed)?, last_modification: spec(times.modified)? })
}

impl From<FileType> for FileKind {
    fn from(file_type: FileType) -> FileKind {
        match file_type {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Dir,
            FileType::Symlink => FileKind::Symlink,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::Unknown => FileKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::fs;
    use crate::testing::TempDir;

    #[test]
    fn mode_and_times_work_on_descriptors_handles_and_names() {
        let temp = TempDir::new();
        temp.write("file", b"");
        let file = fs::open_at(temp.fd(), "file", fs::OFlags::RDONLY, 0).unwrap();
        let handle = fs::open_handle_at(temp.fd(), "file").unwrap();
        set_mode(&file, 0o6711).unwrap();
        assert_eq!(stat(&handle).unwrap().mode, 0o6711);
        set_mode(&handle, 0o1640).unwrap();
        assert_eq!(stat(&file).unwrap().mode, 0o1640);
        set_mode_at(temp.fd(), "file", 0o604).unwrap();
        assert_eq!(stat_at(temp.fd(), "file").unwrap().mode, 0o604);

        let old = Time { sec: -5, nsec: 999_999_999 };
        set_times(&handle, &Times { accessed: None, modified: Some(old) }).unwrap();
        let found = stat(&file).unwrap();
        assert_eq!(found.modified, old);
        assert_ne!(found.accessed, old);
    }

    #[test]
    fn nanoseconds_are_no_marks() {
        let temp = TempDir::new();
        for nsec in [1_000_000_000, 0x3FFF_FFFF, 0x3FFF_FFFE] {
            let times = Times { accessed: None, modified: Some(Time { sec: 1, nsec }) };
            let error = set_times(temp.fd(), &times).unwrap_err();
            assert_eq!(error.outcome(), Outcome::InvalidArgument);
        }
    }

    #[test]
    fn links_are_changed_themselves() {
        let temp = TempDir::new();
        temp.write("file", b"");
        fs::make_symlink("file", temp.fd(), "link").unwrap();
        let before = stat_at(temp.fd(), "file").unwrap();
        let at = |sec| Times { accessed: None, modified: Some(Time { sec, nsec: 7 }) };
        set_times_at(temp.fd(), "link", &at(1)).unwrap();
        assert_eq!(stat_at(temp.fd(), "link").unwrap().modified.sec, 1);
        let handle = fs::open_handle_at(temp.fd(), "link").unwrap();
        set_times(&handle, &at(2)).unwrap();
        assert_eq!(stat(&handle).unwrap().modified, Time { sec: 2, nsec: 7 });
        let error = set_mode(&handle, 0o777).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSupported);
        let error = set_mode_at(temp.fd(), "link", 0o777).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSupported);
        assert_eq!(stat_at(temp.fd(), "file").unwrap(), before);
    }

    /// Debian 12's kernel has no fchmodat2, and no store opened on it once.
    #[test]
    fn vm_modes_are_set_on_an_older_kernel() {
        crate::testing::need_vm!("vm_modes_are_set_on_an_older_kernel");
        mode_and_times_work_on_descriptors_handles_and_names();
        links_are_changed_themselves();
    }

    #[test]
    fn minus_one_is_no_owner() {
        let temp = TempDir::new();
        let error = set_owner(temp.fd(), u32::MAX, 0).unwrap_err();
        assert_eq!(error.outcome(), Outcome::InvalidArgument);
    }

    #[test]
    fn privileged_owner_of_a_link_is_its_own() {
        crate::testing::need_root!("privileged_owner_of_a_link_is_its_own");
        let temp = TempDir::new();
        temp.write("file", b"");
        fs::make_symlink("file", temp.fd(), "link").unwrap();
        let handle = fs::open_handle_at(temp.fd(), "link").unwrap();
        set_owner(&handle, 11, 22).unwrap();
        let link = stat_at(temp.fd(), "link").unwrap();
        assert_eq!((link.uid, link.gid), (11, 22));
        set_owner_at(temp.fd(), "link", 33, 44).unwrap();
        assert_eq!(stat(&handle).unwrap().uid, 33);
        assert_eq!(stat_at(temp.fd(), "file").unwrap().uid, 0);
    }
}

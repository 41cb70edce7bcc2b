//! Subvolumes and snapshots of btrfs (`linux/btrfs.h`, `btrfs-ioctl(2)`).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, Updater, opcode};

use crate::error::{Call, Result};
use crate::fs::{self, space::magic};

/// Whether a new snapshot can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It can.
    ReadWrite,
    /// It cannot, until [`set_read_only`] says otherwise.
    ReadOnly,
}

/// Whether `fd` lies on btrfs.
pub fn is_btrfs(fd: impl AsFd) -> Result<bool> {
    Ok(fs::fs_info(fd)?.magic == magic::BTRFS)
}

/// Whether a directory is the root of a subvolume: on btrfs exactly those have inode 256.
pub fn is_subvolume(dir: impl AsFd) -> Result<bool> {
    let stat = fs::stat(dir.as_fd())?;
    Ok(stat.is_dir() && stat.ino == SUBVOLUME_ROOT_INODE && is_btrfs(dir)?)
}

/// Makes an empty subvolume `parent/name`, mode 0755 less the umask.
pub fn create_subvolume(parent: impl AsFd, name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    let args = VolArgsV2::named(0, 0, name).call_on("ioctl(SUBVOL_CREATE)", name)?;
    // SAFETY: the opcode takes `struct btrfs_ioctl_vol_args_v2`, which VolArgsV2 is.
    let result = unsafe { rustix::ioctl::ioctl(parent, Setter::<SUBVOL_CREATE_V2, _>::new(args)) };
    result.call_on("ioctl(SUBVOL_CREATE)", name)
}

/// Makes `parent/name` a snapshot of the subvolume `source` is the root of.
pub fn create_snapshot(
    source: impl AsFd,
    parent: impl AsFd,
    name: impl AsRef<OsStr>,
    access: Access,
) -> Result<()> {
    let name = name.as_ref();
    let flags = if access == Access::ReadOnly { SUBVOL_RDONLY } else { 0 };
    let source = i64::from(source.as_fd().as_raw_fd());
    let args = VolArgsV2::named(source, flags, name).call_on("ioctl(SNAP_CREATE)", name)?;
    // SAFETY: the opcode takes `struct btrfs_ioctl_vol_args_v2`, which VolArgsV2 is; the source
    // descriptor in it is borrowed by the caller for the call.
    let result = unsafe { rustix::ioctl::ioctl(parent, Setter::<SNAP_CREATE_V2, _>::new(args)) };
    result.call_on("ioctl(SNAP_CREATE)", name)
}

/// Deletes the subvolume `parent/name` with all it holds, read-only or not. `ENOTEMPTY` if other
/// subvolumes lie in it. Its space comes back in the background.
pub fn destroy_subvolume(parent: impl AsFd, name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    let args = VolArgs::named(name).call_on("ioctl(SNAP_DESTROY)", name)?;
    // SAFETY: the opcode takes `struct btrfs_ioctl_vol_args`, which VolArgs is.
    let result = unsafe { rustix::ioctl::ioctl(parent, Setter::<SNAP_DESTROY, _>::new(args)) };
    result.call_on("ioctl(SNAP_DESTROY)", name)
}

/// Deletes a subvolume by id, wherever below `mount` (any descriptor of the filesystem) it lies.
/// Linux 5.7.
pub fn destroy_subvolume_by_id(mount: impl AsFd, id: u64) -> Result<()> {
    let args = VolArgsV2::by_id(id);
    // SAFETY: the opcode takes `struct btrfs_ioctl_vol_args_v2`, which VolArgsV2 is.
    let result = unsafe { rustix::ioctl::ioctl(mount, Setter::<SNAP_DESTROY_V2, _>::new(args)) };
    result.call_on("ioctl(SNAP_DESTROY_V2)", id.to_string())
}

/// The id of the subvolume `fd` lies in: what the mount option `subvolid` takes.
pub fn subvolume_id(fd: impl AsFd) -> Result<u64> {
    let mut args = InoLookup { tree: 0, object: FIRST_FREE_OBJECT, name: [0; 4080] };
    // SAFETY: the opcode reads and writes `struct btrfs_ioctl_ino_lookup_args`, which InoLookup is.
    unsafe { rustix::ioctl::ioctl(fd, Updater::<INO_LOOKUP, _>::new(&mut args)) }
        .call("ioctl(INO_LOOKUP)")?;
    Ok(args.tree)
}

/// Whether a subvolume is read-only.
pub fn is_read_only(subvolume: impl AsFd) -> Result<bool> {
    subvolume_flags(subvolume).map(|flags| flags & SUBVOL_RDONLY != 0)
}

/// Makes a subvolume read-only or writable.
pub fn set_read_only(subvolume: impl AsFd, read_only: bool) -> Result<()> {
    let fd = subvolume.as_fd();
    let old = subvolume_flags(fd)?;
    let new = if read_only { old | SUBVOL_RDONLY } else { old & !SUBVOL_RDONLY };
    // SAFETY: the opcode takes a u64.
    unsafe { rustix::ioctl::ioctl(fd, Setter::<SUBVOL_SETFLAGS, u64>::new(new)) }
        .call("ioctl(SUBVOL_SETFLAGS)")
}

/// Starts to commit the current transaction and answers its id, for [`wait_sync`].
pub fn start_sync(fd: impl AsFd) -> Result<u64> {
    // SAFETY: the opcode writes a u64.
    unsafe { rustix::ioctl::ioctl(fd, Getter::<START_SYNC, u64>::new()) }.call("ioctl(START_SYNC)")
}

/// Waits until a transaction is on the medium; 0 is the current one.
pub fn wait_sync(fd: impl AsFd, transaction: u64) -> Result<()> {
    // SAFETY: the opcode reads a u64.
    unsafe { rustix::ioctl::ioctl(fd, Setter::<WAIT_SYNC, u64>::new(transaction)) }
        .call("ioctl(WAIT_SYNC)")
}

fn subvolume_flags(fd: impl AsFd) -> Result<u64> {
    // SAFETY: the opcode writes a u64.
    unsafe { rustix::ioctl::ioctl(fd, Getter::<SUBVOL_GETFLAGS, u64>::new()) }
        .call("ioctl(SUBVOL_GETFLAGS)")
}

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

impl VolArgs {
    fn named(name: &OsStr) -> rustix::io::Result<VolArgs> {
        let mut args = VolArgs { fd: 0, name: [0; 4088] };
        copy_name(name, &mut args.name)?;
        Ok(args)
    }
}

/// `struct btrfs_ioctl_vol_args_v2`. The second union is a name or, in its first 8 bytes, an id.
#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

impl VolArgsV2 {
    fn named(fd: i64, flags: u64, name: &OsStr) -> rustix::io::Result<VolArgsV2> {
        let mut args = VolArgsV2 { fd, transaction: 0, flags, unused: [0; 4], name: [0; 4040] };
        copy_name(name, &mut args.name)?;
        Ok(args)
    }

    fn by_id(id: u64) -> VolArgsV2 {
        let mut name = [0; 4040];
        for (to, from) in name.iter_mut().zip(id.to_ne_bytes()) {
            *to = from;
        }
        VolArgsV2 { fd: 0, transaction: 0, flags: SUBVOL_SPEC_BY_ID, unused: [0; 4], name }
    }
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct InoLookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// One component; btrfs would take a `/` and fail late.
fn copy_name(name: &OsStr, field: &mut [u8]) -> rustix::io::Result<()> {
    let name = name.as_bytes();
    if name.len() > NAME_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    if name.is_empty()
        || name == b"."
        || name == b".."
        || name.iter().any(|b| matches!(b, b'/' | 0))
    {
        return Err(Errno::INVAL);
    }
    for (to, from) in field.iter_mut().zip(name) {
        *to = *from;
    }
    Ok(())
}

/// `BTRFS_VOL_NAME_MAX`.
const NAME_MAX: usize = 255;
/// `BTRFS_FIRST_FREE_OBJECTID`: the inode of every subvolume's root.
const FIRST_FREE_OBJECT: u64 = 256;
const SUBVOLUME_ROOT_INODE: u64 = FIRST_FREE_OBJECT;
const SUBVOL_RDONLY: u64 = 1 << 1;
const SUBVOL_SPEC_BY_ID: u64 = 1 << 4;

const MAGIC: u8 = 0x94;
const SNAP_DESTROY: Opcode = opcode::write::<VolArgs>(MAGIC, 15);
const INO_LOOKUP: Opcode = opcode::read_write::<InoLookup>(MAGIC, 18);
const WAIT_SYNC: Opcode = opcode::write::<u64>(MAGIC, 22);
const SNAP_CREATE_V2: Opcode = opcode::write::<VolArgsV2>(MAGIC, 23);
const START_SYNC: Opcode = opcode::read::<u64>(MAGIC, 24);
const SUBVOL_CREATE_V2: Opcode = opcode::write::<VolArgsV2>(MAGIC, 24);
const SUBVOL_GETFLAGS: Opcode = opcode::read::<u64>(MAGIC, 25);
const SUBVOL_SETFLAGS: Opcode = opcode::write::<u64>(MAGIC, 26);
const SNAP_DESTROY_V2: Opcode = opcode::write::<VolArgsV2>(MAGIC, 63);

// The kernel encodes the size of each struct in its opcode: a wrong layout would not compile.
const _: () = assert!(size_of::<VolArgs>() == 4096);
const _: () = assert!(size_of::<VolArgsV2>() == 4096);
const _: () = assert!(size_of::<InoLookup>() == 4096);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Disk, TempDir, need_root, or_skip};
    use crate::{Outcome, tree};

    fn btrfs() -> Result<Disk, String> {
        Disk::new("btrfs", 128 << 20, &[])
    }

    #[test]
    fn privileged_subvolumes_and_snapshots() {
        need_root!("privileged_subvolumes_and_snapshots");
        let btrfs = or_skip!("privileged_subvolumes_and_snapshots", btrfs());
        let top = &btrfs.fd;
        assert!(is_btrfs(top).unwrap() && is_subvolume(top).unwrap());
        assert_eq!(subvolume_id(top).unwrap(), 5);

        create_subvolume(top, "base").unwrap();
        assert!(create_subvolume(top, "base").unwrap_err().is_exists());
        let base = fs::open_dir_at(top, "base").unwrap();
        fs::create_file(&base, "f", 0o600).unwrap();
        fs::make_dir(&base, "plain", 0o755).unwrap();
        assert!(!is_subvolume(fs::open_dir_at(&base, "plain").unwrap()).unwrap());

        create_snapshot(&base, top, "ro", Access::ReadOnly).unwrap();
        create_snapshot(&base, top, "rw", Access::ReadWrite).unwrap();
        let read_only = fs::open_dir_at(top, "ro").unwrap();
        let writable = fs::open_dir_at(top, "rw").unwrap();
        assert!(is_read_only(&read_only).unwrap() && !is_read_only(&writable).unwrap());
        let error = fs::create_file(&read_only, "g", 0o600).unwrap_err();
        assert_eq!(error.outcome(), Outcome::ReadOnly);
        fs::create_file(&writable, "g", 0o600).unwrap();
        fs::stat_at(&writable, "f").unwrap();
        set_read_only(&read_only, false).unwrap();
        fs::create_file(&read_only, "g", 0o600).unwrap();
        set_read_only(&read_only, true).unwrap();
        let (id, other) = (subvolume_id(&read_only).unwrap(), subvolume_id(&writable).unwrap());
        assert!(id > 5 && other > 5 && id != other);

        let transaction = start_sync(top).unwrap();
        wait_sync(top, transaction).unwrap();
        drop((base, read_only, writable));
        destroy_subvolume(top, "ro").unwrap();
        destroy_subvolume_by_id(top, other).unwrap();
        assert!(destroy_subvolume(top, "rw").unwrap_err().is_not_found());
        destroy_subvolume(top, "base").unwrap();
        assert_eq!(fs::read_dir(top).unwrap().count(), 0);
    }

    #[test]
    fn privileged_nested_subvolumes_keep_the_outer_one() {
        need_root!("privileged_nested_subvolumes_keep_the_outer_one");
        let btrfs = or_skip!("privileged_nested_subvolumes_keep_the_outer_one", btrfs());
        create_subvolume(&btrfs.fd, "outer").unwrap();
        let outer = fs::open_dir_at(&btrfs.fd, "outer").unwrap();
        create_subvolume(&outer, "inner").unwrap();
        let error = destroy_subvolume(&btrfs.fd, "outer").unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotEmpty);
        destroy_subvolume(&outer, "inner").unwrap();
        destroy_subvolume(&btrfs.fd, "outer").unwrap();
    }

    #[test]
    fn privileged_trees_are_copied_by_reflink() {
        need_root!("privileged_trees_are_copied_by_reflink");
        let btrfs = or_skip!("privileged_trees_are_copied_by_reflink", btrfs());
        for name in ["src", "dst"] {
            fs::make_dir(&btrfs.fd, name, 0o755).unwrap();
        }
        let src = fs::open_dir_at(&btrfs.fd, "src").unwrap();
        let dst = fs::open_dir_at(&btrfs.fd, "dst").unwrap();
        let file = fs::create_file(&src, "f", 0o600).unwrap();
        rustix::io::write(&file, &[3; 50_000]).unwrap();
        tree::copy_tree(&src, &dst, tree::XattrErrors::Fail, &mut || false).unwrap();
        assert_eq!(fs::stat_at(&dst, "f").unwrap().size, 50_000);
    }

    #[test]
    fn other_filesystems_have_no_subvolumes() {
        let proc = fs::open_dir("/proc").unwrap();
        assert!(!is_btrfs(&proc).unwrap() && !is_subvolume(&proc).unwrap());
        let error = create_subvolume(&proc, "x").unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSupported);
    }

    #[test]
    fn names_are_one_component() {
        let temp = TempDir::new();
        let long = "x".repeat(256);
        for (name, outcome) in [
            ("a/b", Outcome::InvalidArgument),
            ("..", Outcome::InvalidArgument),
            ("", Outcome::InvalidArgument),
            (long.as_str(), Outcome::NameTooLong),
        ] {
            assert_eq!(create_subvolume(temp.fd(), name).unwrap_err().outcome(), outcome);
            assert_eq!(destroy_subvolume(temp.fd(), name).unwrap_err().outcome(), outcome);
        }
    }
}

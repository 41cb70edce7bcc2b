//! Facts about the filesystem something lies on.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::StatFs;
use rustix::mount::MountFlags;

use crate::error::{Call, Result};

/// Magic numbers of filesystems we treat specially (`linux/magic.h`, and `CEPH_SUPER_MAGIC`-like
/// constants of the filesystems themselves).
pub mod magic {
    /// ext2, ext3 and ext4 share one.
    pub const EXT4: u64 = 0xEF53;
    /// XFS.
    pub const XFS: u64 = 0x5846_5342;
    /// btrfs.
    pub const BTRFS: u64 = 0x9123_683E;
    /// tmpfs.
    pub const TMPFS: u64 = 0x0102_1994;
    /// overlayfs.
    pub const OVERLAY: u64 = 0x794C_7630;
    /// EROFS.
    pub const EROFS: u64 = 0xE0F5_E1E2;
    /// Any FUSE filesystem.
    pub const FUSE: u64 = 0x6573_5546;
    /// NFS.
    pub const NFS: u64 = 0x6969;
    /// OpenZFS.
    pub const ZFS: u64 = 0x2FC1_2FC1;
}

/// What `statfs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsInfo {
    /// Which filesystem, see [`magic`].
    pub magic: u64,
    /// Preferred block size in bytes.
    pub block_size: u64,
    /// Size in bytes.
    pub total_bytes: u64,
    /// Free bytes, with those reserved for root.
    pub free_bytes: u64,
    /// Free bytes for everybody.
    pub available_bytes: u64,
    /// Number of inodes; 0 where they are made on demand (btrfs).
    pub total_inodes: u64,
    /// Number of free inodes.
    pub free_inodes: u64,
    /// Longest file name in bytes.
    pub name_max: u64,
    /// The flags of the mount.
    pub flags: MountFlags,
}

/// About the filesystem `fd` lies on.
pub fn fs_info(fd: impl AsFd) -> Result<FsInfo> {
    Ok(convert(&rustix::fs::fstatfs(fd).call("fstatfs")?))
}

/// About the filesystem a path the operator chose lies on; links are followed.
pub fn fs_info_of(path: impl AsRef<Path>) -> Result<FsInfo> {
    let path = path.as_ref();
    Ok(convert(&rustix::fs::statfs(path).call_on("statfs", path)?))
}

impl FsInfo {
    /// The mount flags that a remount in a user namespace must repeat, because the kernel locks
    /// them there (`mount_namespaces(7)`).
    pub fn locked_flags(&self) -> MountFlags {
        const LOCKED: MountFlags = MountFlags::RDONLY
            .union(MountFlags::NODEV)
            .union(MountFlags::NOEXEC)
            .union(MountFlags::NOSUID)
            .union(MountFlags::NOATIME)
            .union(MountFlags::RELATIME)
            .union(MountFlags::NODIRATIME);
        self.flags.intersection(LOCKED)
    }
}

// The fields are signed words on some architectures; none of the values is negative.
#[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
fn convert(found: &StatFs) -> FsInfo {
    let unit = if found.f_frsize > 0 { found.f_frsize } else { found.f_bsize } as u64;
    FsInfo {
        // Magic numbers are 32 bits; some arrive sign-extended.
        magic: found.f_type as u64 & 0xFFFF_FFFF,
        block_size: found.f_bsize as u64,
        total_bytes: found.f_blocks.saturating_mul(unit),
        free_bytes: found.f_bfree.saturating_mul(unit),
        available_bytes: found.f_bavail.saturating_mul(unit),
        total_inodes: found.f_files,
        free_inodes: found.f_ffree,
        name_max: found.f_namelen as u64,
        flags: mount_flags(found.f_flags as u64),
    }
}

/// `ST_*` as `MS_*`: equal but for relatime (`include/linux/statfs.h`).
fn mount_flags(st: u64) -> MountFlags {
    [
        (0x0001, MountFlags::RDONLY),
        (0x0002, MountFlags::NOSUID),
        (0x0004, MountFlags::NODEV),
        (0x0008, MountFlags::NOEXEC),
        (0x0010, MountFlags::SYNCHRONOUS),
        (0x0400, MountFlags::NOATIME),
        (0x0800, MountFlags::NODIRATIME),
        (0x1000, MountFlags::RELATIME),
        (0x2000, MountFlags::NOSYMFOLLOW),
    ]
    .into_iter()
    .filter(|(bit, _)| st & bit != 0)
    .fold(MountFlags::empty(), |flags, (_, flag)| flags | flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_recognised_and_has_its_flags() {
        let info = fs_info_of("/proc").unwrap();
        assert_eq!(info.magic, 0x9FA0);
        assert_eq!(info.name_max, 255);
    }

    #[test]
    fn sizes_are_consistent() {
        let temp = crate::testing::TempDir::new();
        let info = fs_info(temp.fd()).unwrap();
        assert!(info.total_bytes >= info.free_bytes && info.free_bytes >= info.available_bytes);
        assert!(info.total_bytes > 0 && info.block_size >= 512, "{info:?}");
    }

    #[test]
    fn flags_are_translated() {
        let flags = mount_flags(0x1 | 0x20 | 0x1000);
        assert_eq!(flags, MountFlags::RDONLY | MountFlags::RELATIME);
    }
}

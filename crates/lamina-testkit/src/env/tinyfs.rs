//! Small file systems that can be filled to the last block, and emptied again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lamina_sys::fs;
use lamina_sys::mount::{self, MountFlags};
use tempfile::TempDir;

use super::skip::require_root;
use crate::disk::{Disk, Mounted};

/// A small file system with a directory to work in. Dropped, it is gone.
///
/// ```text
/// <mount point>/work      what path() answers
///               ballast   what fill() makes
/// ```
#[derive(Debug)]
pub struct TinyFs {
    root: PathBuf,
    work: PathBuf,
    _fs: Fs,
}

#[derive(Debug)]
enum Fs {
    // Fields are dropped in order: unmounted, then removed.
    Tmpfs { _mounted: Mounted, _dir: TempDir },
    Disk { _disk: Disk },
}

impl TinyFs {
    /// A tmpfs of `size` bytes. Nothing in it is ever durable, and its space is exact to the page.
    ///
    /// # Errors
    /// The reason for a skip.
    pub fn tmpfs(size: u64) -> Result<TinyFs, String> {
        require_root()?;
        let dir = tempfile::Builder::new()
            .prefix("lamina-tiny-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let root = dir.path().canonicalize().map_err(|error| error.to_string())?;
        let options = format!("size={size},mode=0755");
        mount::mount("tmpfs", &root, "tmpfs", MountFlags::empty(), options)
            .map_err(|error| format!("tmpfs: {error}"))?;
        let fs = Fs::Tmpfs { _mounted: Mounted(root.clone()), _dir: dir };
        TinyFs::over(root, fs)
    }

    /// A file system of `size` bytes on a loop device, made with `mkfs.<fs_type>`, which has a
    /// smallest size: ext4 a few MiB, btrfs 110, xfs 300.
    ///
    /// # Errors
    /// The reason for a skip.
    pub fn disk(fs_type: &str, size: u64) -> Result<TinyFs, String> {
        let disk = Disk::new(fs_type, size, &[])?;
        TinyFs::over(disk.path().to_owned(), Fs::Disk { _disk: disk })
    }

    fn over(root: PathBuf, fs: Fs) -> Result<TinyFs, String> {
        let work = root.join("work");
        std::fs::create_dir(&work).map_err(|error| error.to_string())?;
        Ok(TinyFs { root, work, _fs: fs })
    }

    /// The directory to work in, empty at first.
    pub fn path(&self) -> &Path {
        &self.work
    }

    /// Takes all space but `leaving` bytes, rounded up to whole blocks: what a test writes beyond
    /// that fails with `ENOSPC`. One that was filled before is freed first. On btrfs files of less
    /// than 2 KiB may still be made, since they lie among the metadata.
    ///
    /// # Panics
    /// When it cannot be filled, or has less than `leaving` left.
    pub fn fill(&self, leaving: u64) {
        self.free();
        // A file that is removed gives back what it has; one that is cut does not on btrfs, which
        // keeps an extent whole while a part of it is in use.
        let spare = self.root.join("spare");
        allocate(&spare, leaving.next_multiple_of(BLOCK)).unwrap_or_else(|error| {
            panic!("{} has no {leaving} bytes left: {error}", self.root.display());
        });
        let ballast = self.ballast();
        let (mut len, mut step) = (0, LARGEST_STEP);
        while step >= BLOCK {
            match allocate(&ballast, len + step) {
                Ok(()) => len += step,
                Err(error) if error.is_no_space() => step /= 2,
                Err(error) => panic!("fill {}: {error}", self.root.display()),
            }
        }
        std::fs::remove_file(&spare).unwrap();
        self.settle();
    }

    /// Gives back all that was taken. Nothing to do for one that was not filled.
    ///
    /// # Panics
    /// When that fails.
    pub fn free(&self) {
        match std::fs::remove_file(self.ballast()) {
            Ok(()) => self.settle(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => panic!("free {}: {error}", self.root.display()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// Makes what was freed usable: ext4 and btrfs want that durable first.
    fn settle(&self) {
        fs::sync_filesystem(File::open(&self.root).unwrap()).unwrap();
    }
}

/// Makes a file of `len` bytes, or an existing one that long, with all its space.
fn allocate(path: &Path, len: u64) -> lamina_sys::Result<()> {
    let file = File::options().create(true).append(true).open(path).unwrap();
    let have = file.metadata().unwrap().len();
    if len > have { fs::allocate(&file, have, len - have) } else { Ok(()) }
}

/// The smallest unit in which space is taken: a block of all these file systems by default.
const BLOCK: u64 = 4096;
/// The largest: few calls for what tests use.
const LARGEST_STEP: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use lamina_sys::mountinfo;

    use super::*;
    use crate::or_skip;

    /// Writes a durable file of `len` bytes; removes it when that fails.
    fn write(dir: &Path, name: &str, len: usize) -> Result<(), io::ErrorKind> {
        let path = dir.join(name);
        let written = File::create(&path)
            .and_then(|mut file| file.write_all(&vec![b'x'; len]).and_then(|()| file.sync_all()));
        if written.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        written.map_err(|error| error.kind())
    }

    fn fills_and_frees(disk: &TinyFs) {
        assert_eq!(write(disk.path(), "before", 1 << 20), Ok(()));
        disk.free(); // Nothing to do.
        disk.fill(512 << 10);
        assert_eq!(write(disk.path(), "small", 64 << 10), Ok(()), "space was left");
        assert_eq!(write(disk.path(), "large", 2 << 20), Err(io::ErrorKind::StorageFull));
        disk.fill(0);
        assert_eq!(write(disk.path(), "small2", 64 << 10), Err(io::ErrorKind::StorageFull));
        disk.free();
        assert_eq!(write(disk.path(), "large", 2 << 20), Ok(()));
    }

    #[test]
    fn privileged_tmpfs_is_filled_to_the_page() {
        let test = "privileged_tmpfs_is_filled_to_the_page";
        let disk = or_skip!(test, TinyFs::tmpfs(8 << 20));
        assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0);
        fills_and_frees(&disk);
        for leaving in [0, 1, 4096, 300_000] {
            disk.fill(leaving);
            let free = fs::fs_info_of(disk.path()).unwrap().free_bytes;
            assert_eq!(free, leaving.next_multiple_of(BLOCK));
        }
    }

    #[test]
    fn privileged_ext4_is_filled_and_freed() {
        let test = "privileged_ext4_is_filled_and_freed";
        fills_and_frees(&or_skip!(test, TinyFs::disk("ext4", 32 << 20)));
    }

    #[test]
    fn privileged_xfs_is_filled_and_freed() {
        let test = "privileged_xfs_is_filled_and_freed";
        fills_and_frees(&or_skip!(test, TinyFs::disk("xfs", 320 << 20)));
    }

    #[test]
    fn privileged_btrfs_is_filled_and_freed() {
        let test = "privileged_btrfs_is_filled_and_freed";
        fills_and_frees(&or_skip!(test, TinyFs::disk("btrfs", 160 << 20)));
    }

    #[test]
    fn privileged_a_panic_leaves_no_tmpfs() {
        let test = "privileged_a_panic_leaves_no_tmpfs";
        or_skip!(test, require_root());
        let mut root = None;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let disk = TinyFs::tmpfs(1 << 20).unwrap();
            disk.fill(0);
            root = Some(disk.root.clone());
            panic!("as a test that fails");
        }));
        let root = root.unwrap();
        assert!(panicked.is_err() && !root.exists());
        assert!(!mountinfo::is_mount_point(&mountinfo::read().unwrap(), &root));
    }
}

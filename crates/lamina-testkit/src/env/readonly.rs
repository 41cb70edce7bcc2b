//! Directories that cannot be written.

use std::path::{Path, PathBuf};

use lamina_sys::fs;
use lamina_sys::mount::{self, MountAttr, MountAttrFlags, Recursive, UnmountFlags};
use tempfile::TempDir;

use super::skip::require_root;

/// A read-only bind mount of a directory: writing fails with `EROFS`, for root too. Dropped, it is
/// unmounted.
#[derive(Debug)]
pub struct ReadOnly {
    // Dropped in this order.
    mounted: Top,
    _dir: Option<TempDir>,
}

impl ReadOnly {
    /// Makes `dir` itself read-only, until dropped. Files that are open for writing stay so.
    ///
    /// # Errors
    /// The reason for a skip.
    pub fn over(dir: &Path) -> Result<ReadOnly, String> {
        let mounted = Top::bind(dir, dir)?;
        Ok(ReadOnly { mounted, _dir: None })
    }

    /// Shows `dir` read-only at a place of its own; `dir` can be written as before.
    ///
    /// # Errors
    /// The reason for a skip.
    pub fn view(dir: &Path) -> Result<ReadOnly, String> {
        let place = tempfile::Builder::new()
            .prefix("lamina-readonly-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let mounted = Top::bind(dir, place.path())?;
        Ok(ReadOnly { mounted, _dir: Some(place) })
    }

    /// The directory that cannot be written.
    pub fn path(&self) -> &Path {
        &self.mounted.0
    }
}

/// The topmost mount at a path; what it covers may be a mount of somebody else.
#[derive(Debug)]
struct Top(PathBuf);

impl Top {
    fn bind(source: &Path, target: &Path) -> Result<Top, String> {
        require_root()?;
        let failed =
            |error: lamina_sys::SysError| format!("read-only {}: {error}", target.display());
        let target = target.canonicalize().map_err(|error| error.to_string())?;
        // Read-only before it is attached: there is no moment at which it can be written.
        let tree = mount::clone_tree(fs::open_dir(source).map_err(failed)?, Recursive::No);
        let tree = tree.map_err(failed)?;
        let read_only = MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..MountAttr::NONE };
        tree.set_attributes(&read_only, Recursive::No).map_err(failed)?;
        tree.attach_at(&target).map_err(failed)?;
        Ok(Top(target))
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        if mount::unmount(&self.0, UnmountFlags::empty()).is_err() {
            // Something in it is in use; it is gone when that ends.
            let _ = mount::unmount(&self.0, UnmountFlags::DETACH);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use lamina_sys::mountinfo;

    use super::*;
    use crate::disk::Disk;
    use crate::or_skip;

    fn write(dir: &Path) -> Result<(), ErrorKind> {
        std::fs::write(dir.join("file"), b"x").map_err(|error| error.kind())
    }

    #[test]
    fn privileged_over_a_directory_and_over_a_mount() {
        let test = "privileged_over_a_directory_and_over_a_mount";
        or_skip!(test, require_root());
        let dir = tempfile::tempdir().unwrap();
        let disk = or_skip!(test, Disk::new("ext4", 16 << 20, &[]));
        for dir in [dir.path(), disk.path()] {
            let guard = ReadOnly::over(dir).unwrap();
            assert_eq!(guard.path(), dir.canonicalize().unwrap());
            assert_eq!(write(dir), Err(ErrorKind::ReadOnlyFilesystem));
            drop(guard);
            assert_eq!(write(dir), Ok(()));
        }
        let table = mountinfo::read().unwrap();
        assert!(mountinfo::is_mount_point(&table, disk.path()), "what was covered stays");
    }

    #[test]
    fn privileged_a_view_leaves_the_directory_as_it_was() {
        let test = "privileged_a_view_leaves_the_directory_as_it_was";
        let dir = tempfile::tempdir().unwrap();
        let view = or_skip!(test, ReadOnly::view(dir.path()));
        assert_eq!(write(dir.path()), Ok(()));
        assert_eq!(std::fs::read(view.path().join("file")).unwrap(), b"x");
        assert_eq!(write(view.path()), Err(ErrorKind::ReadOnlyFilesystem));
        let place = view.path().to_owned();
        drop(view);
        assert!(!place.exists());
        assert!(dir.path().join("file").exists());
    }

    #[test]
    fn privileged_a_panic_and_an_open_file_leave_nothing_mounted() {
        let test = "privileged_a_panic_and_an_open_file_leave_nothing_mounted";
        or_skip!(test, require_root());
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let mut open = None;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let guard = ReadOnly::over(dir.path()).unwrap();
            open = Some(std::fs::File::open(guard.path().join("file")).unwrap());
            panic!("as a test that fails");
        }));
        assert!(panicked.is_err() && open.is_some());
        let table = mountinfo::read().unwrap();
        assert!(!mountinfo::is_mount_point(&table, &dir.path().canonicalize().unwrap()));
        assert_eq!(write(dir.path()), Ok(()));
    }
}

//! Extended attributes of whatever a descriptor stands for: files, directories, and by `O_PATH`
//! handle also devices, fifos and symbolic links.
//!
//! `f*xattr` refuses `O_PATH` handles with `EBADF`; then the way leads through
//! `/proc/self/fd/N`, which ends at the inode itself: a link's handle is not followed further.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::open::fd_path;
use crate::error::{Call, Result};

/// The value of an attribute; `None` if it has none of that name, or can have none.
pub fn get(fd: impl AsFd, name: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>> {
    let name = name.as_ref();
    let fd = fd.as_fd();
    let value = grow(|buf| match rustix::fs::fgetxattr(fd, name, &mut *buf) {
        Err(Errno::BADF) => rustix::fs::getxattr(fd_path(fd), name, buf),
        result => result,
    });
    match value {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        result => result.map(Some).call_on("getxattr", name),
    }
}

/// The names of all attributes; none on a filesystem without attributes.
pub fn list(fd: impl AsFd) -> Result<Vec<OsString>> {
    let fd = fd.as_fd();
    let names = grow(|buf| match rustix::fs::flistxattr(fd, &mut *buf) {
        Err(Errno::BADF) => rustix::fs::listxattr(fd_path(fd), buf),
        result => result,
    });
    let names = match names {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        result => result.call("listxattr")?,
    };
    Ok(split_names(&names))
}

/// [`get`] for an entry of `dir`, of the link itself if it is one.
pub fn get_at(
    dir: impl AsFd,
    entry: impl AsRef<OsStr>,
    name: impl AsRef<OsStr>,
) -> Result<Option<Vec<u8>>> {
    // Borrowed: the descriptor must live until the path was used.
    let (path, name) = (entry_path(&dir, entry.as_ref()), name.as_ref());
    match grow(|buf| rustix::fs::lgetxattr(&path, name, buf)) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        result => result.map(Some).call_on("lgetxattr", entry),
    }
}

/// [`list`] for an entry of `dir`, of the link itself if it is one.
pub fn list_at(dir: impl AsFd, entry: impl AsRef<OsStr>) -> Result<Vec<OsString>> {
    let path = entry_path(&dir, entry.as_ref());
    match grow(|buf| rustix::fs::llistxattr(&path, buf)) {
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        result => result.map(|names| split_names(&names)).call_on("llistxattr", entry),
    }
}

/// Sets an attribute, whether it was there or not.
pub fn set(fd: impl AsFd, name: impl AsRef<OsStr>, value: &[u8]) -> Result<()> {
    let name = name.as_ref();
    let fd = fd.as_fd();
    let none = XattrFlags::empty();
    match rustix::fs::fsetxattr(fd, name, value, none) {
        Err(Errno::BADF) => rustix::fs::setxattr(fd_path(fd), name, value, none),
        result => result,
    }
    .call_on("setxattr", name)
}

/// Removes an attribute; `Ok(false)` if there was none.
pub fn remove(fd: impl AsFd, name: impl AsRef<OsStr>) -> Result<bool> {
    let name = name.as_ref();
    let fd = fd.as_fd();
    let result = match rustix::fs::fremovexattr(fd, name) {
        Err(Errno::BADF) => rustix::fs::removexattr(fd_path(fd), name),
        result => result,
    };
    match result {
        Ok(()) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(errno) => Err(errno).call_on("removexattr", name),
    }
}

/// Whether the name belongs to one of the namespaces the kernel knows.
pub fn is_known_namespace(name: &OsStr) -> bool {
    [&b"user."[..], b"trusted.", b"security.", b"system."]
        .iter()
        .any(|prefix| name.as_bytes().starts_with(prefix))
}

/// There are no `*xattrat` calls before Linux 6.13; the directory's magic link does for one name.
fn entry_path(dir: impl AsFd, entry: &OsStr) -> PathBuf {
    fd_path(dir).join(entry)
}

fn split_names(names: &[u8]) -> Vec<OsString> {
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| OsString::from_vec(name.to_vec())).collect()
}

/// Calls with a buffer that usually fits, then with the largest the kernel allows
/// (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`: both 64 KiB).
fn grow(
    mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buf = vec![0; 1024];
    let len = match call(&mut buf) {
        Err(Errno::RANGE) => {
            buf.resize(64 * 1024, 0);
            call(&mut buf)?
        }
        result => result?,
    };
    buf.truncate(len);
    Ok(buf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs;
    use crate::testing::{TempDir, need_root};

    #[test]
    fn set_get_list_remove_by_descriptor_and_handle() {
        let temp = TempDir::new();
        temp.write("file", b"");
        let file = fs::open_at(temp.fd(), "file", fs::OFlags::RDONLY, 0).unwrap();
        let handle = fs::open_handle_at(temp.fd(), "file").unwrap();
        if let Err(error) = set(&file, "user.one", b"1") {
            assert!(error.is_not_supported(), "{error}");
            return eprintln!("SKIP set_get_list_remove_by_descriptor_and_handle: {error}");
        }
        let long = vec![7; 2000];
        set(&handle, "user.two", &long).unwrap();
        assert_eq!(get(&handle, "user.one").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(get(&file, "user.two").unwrap(), Some(long));
        assert_eq!(get(&file, "user.none").unwrap(), None);
        let mut names = list(&handle).unwrap();
        names.retain(|name| name.as_bytes().starts_with(b"user."));
        names.sort();
        assert_eq!(names, ["user.one", "user.two"]);
        assert!(remove(&handle, "user.one").unwrap());
        assert!(!remove(&file, "user.one").unwrap());
    }

    #[test]
    fn privileged_a_link_has_attributes_of_its_own() {
        need_root!("privileged_a_link_has_attributes_of_its_own");
        let temp = TempDir::new();
        temp.write("file", b"");
        fs::make_symlink("file", temp.fd(), "link").unwrap();
        let link = fs::open_handle_at(temp.fd(), "link").unwrap();
        if let Err(error) = set(&link, "trusted.lamina", b"x") {
            return eprintln!("SKIP privileged_a_link_has_attributes_of_its_own: {error}");
        }
        let file = fs::open_handle_at(temp.fd(), "file").unwrap();
        assert_eq!(get(&file, "trusted.lamina").unwrap(), None);
        assert_eq!(list(&link).unwrap(), ["trusted.lamina"]);
        assert_eq!(list_at(temp.fd(), "link").unwrap(), ["trusted.lamina"]);
        assert_eq!(
            get_at(temp.fd(), "link", "trusted.lamina").unwrap().as_deref(),
            Some(&b"x"[..])
        );
        assert_eq!(get_at(temp.fd(), "file", "trusted.lamina").unwrap(), None);
        let missing = list_at(temp.fd(), "none").unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
    }
}

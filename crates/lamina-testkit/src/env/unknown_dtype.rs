//! File systems that do not tell what their entries are (`DT_UNKNOWN`), as some FUSE and old network
//! ones.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lamina_sys::fs::{self, FileKind};
use lamina_sys::mountinfo;
use tempfile::TempDir;

use super::skip::require_root;
use crate::disk::{Disk, Mounted, run};

/// A disk of 32 MiB whose directories answer `DT_UNKNOWN` for every entry: ext4 that was made without
/// the feature `filetype`. Checked; it is not given away otherwise.
///
/// # Errors
/// The reason for a skip.
pub fn unknown_dtype() -> Result<Disk, String> {
    let disk = Disk::new("ext4", 32 << 20, &["-O", "^filetype"])?;
    check(disk.path())?;
    Ok(disk)
}

/// A FUSE file system of 32 MiB whose directories answer `DT_UNKNOWN` for every entry, served by
/// `fuse2fs`, which lists names only. Dropped, it is unmounted and its server has ended.
#[derive(Debug)]
pub struct UnknownFuse {
    // Dropped in this order: the server ends by itself once nothing is mounted.
    _mounted: Mounted,
    _server: Server,
    _dir: TempDir,
    path: PathBuf,
}

impl UnknownFuse {
    /// Makes and mounts it. That entries are not told is checked; it is not given away otherwise.
    ///
    /// # Errors
    /// The reason for a skip.
    pub fn new() -> Result<UnknownFuse, String> {
        require_root()?;
        let text = |error: std::io::Error| error.to_string();
        let dir = tempfile::Builder::new().prefix("lamina-fuse-").tempdir().map_err(text)?;
        let at = |name: &str| dir.path().join(name);
        let image = at("image");
        File::create_new(&image).and_then(|file| file.set_len(32 << 20)).map_err(text)?;
        let options = ["-q", "-O", "^has_journal"].map(OsStr::new);
        run("mkfs.ext4", options.into_iter().chain([image.as_os_str()]))?;
        std::fs::create_dir(at("mnt")).map_err(text)?;
        let path = at("mnt").canonicalize().map_err(text)?;

        let log = File::create_new(at("log")).map_err(text)?;
        let child = Command::new("fuse2fs")
            .args(["-f", "-o", "fakeroot,allow_other,dev,suid"])
            .args([&image, &path])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("fuse2fs: {error}"))?;
        let mut server = Server(child);
        let mounted = Mounted(path.clone());
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_fuse(&path)? {
            if server.has_ended() || Instant::now() > deadline {
                let said = std::fs::read_to_string(at("log")).unwrap_or_default();
                return Err(format!("fuse2fs does not mount: {}", said.trim()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        check(&path)?;
        Ok(UnknownFuse { _mounted: mounted, _server: server, _dir: dir, path })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A process that ends, at the latest, when this is dropped.
#[derive(Debug)]
struct Server(Child);

impl Server {
    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Best effort: the harness of the tests looks for what is left.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_fuse(path: &Path) -> Result<bool, String> {
    let table = mountinfo::read().map_err(|error| error.to_string())?;
    Ok(mountinfo::find(&table, path).is_some_and(|found| {
        found.mount_point == path && found.fs_type.as_encoded_bytes().starts_with(b"fuse")
    }))
}

/// Whether entries are not told, by the one that mkfs made: lost+found.
fn check(path: &Path) -> Result<(), String> {
    let dir = fs::open_dir(path).map_err(|error| error.to_string())?;
    let mut entries = 0;
    for entry in fs::read_dir(dir).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.kind != FileKind::Unknown {
            return Err("this machine's tells what its entries are".to_owned());
        }
        entries += 1;
    }
    if entries == 0 {
        return Err("an ext4 just made has no lost+found to look at".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::or_skip;

    fn tells_nothing(root: &Path) {
        let dir = root.join("dir");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("file"), b"").unwrap();
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        let entries = fs::read_dir(fs::open_dir(&dir).unwrap()).unwrap();
        let kinds: Vec<FileKind> = entries.map(|entry| entry.unwrap().kind).collect();
        assert_eq!(kinds, [FileKind::Unknown; 3]);
        // Whoever asks for each is told.
        let found = fs::stat_at(fs::open_dir(&dir).unwrap(), "sub").unwrap();
        assert!(found.is_dir());
    }

    #[test]
    fn privileged_no_entry_tells_what_it_is() {
        let disk = or_skip!("privileged_no_entry_tells_what_it_is", unknown_dtype());
        tells_nothing(disk.path());
    }

    #[test]
    fn privileged_no_entry_of_fuse_tells_what_it_is() {
        let fuse = or_skip!("privileged_no_entry_of_fuse_tells_what_it_is", UnknownFuse::new());
        tells_nothing(fuse.path());
    }

    #[test]
    fn privileged_fuse_is_gone_after_a_panic() {
        let fuse = or_skip!("privileged_fuse_is_gone_after_a_panic", UnknownFuse::new());
        let (dir, id) = (fuse.path().parent().unwrap().to_owned(), fuse._server.0.id());
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            // What is in use cannot be unmounted, only detached.
            let _open = File::create(fuse.path().join("open")).unwrap();
            let _fuse = fuse;
            panic!("as a test that fails");
        }));
        assert!(panicked.is_err());
        assert!(mountinfo::below(&mountinfo::read().unwrap(), &dir).is_empty());
        assert!(!dir.exists() && !Path::new(&format!("/proc/{id}")).exists());
    }
}

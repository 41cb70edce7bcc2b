//! A thread with a working directory of its own.
//!
//! `mount(2)` takes overlay's lowerdirs only as paths in one page of options; relative ones are
//! short. The current directory belongs to the process, so a throw-away thread first stops
//! sharing it (`unshare(CLONE_FS)`). Never do that to a thread of a pool: it would keep it.

use std::os::fd::AsFd;

use crate::error::{Call, Result, from_io};

/// Runs `work` on a new OS thread whose current directory (and root, and umask) is its own, set
/// to `dir`, and waits for it. Panics of `work` go on in the caller.
pub fn in_dir<T: Send>(dir: impl AsFd, work: impl FnOnce() -> T + Send) -> Result<T> {
    let dir = dir.as_fd();
    std::thread::scope(|scope| {
        // joined: at the end of this scope.
        let thread = std::thread::Builder::new()
            .name("own-cwd".to_owned())
            .spawn_scoped(scope, move || {
                unshare_fs()?;
                rustix::process::fchdir(dir).call("fchdir")?;
                Ok(work())
            })
            .map_err(|error| from_io("clone(thread)", &error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn unshare_fs() -> Result<()> {
    // SAFETY: CLONE_FS only ends the sharing of cwd, root and umask with other threads; no memory
    // or descriptor is touched, and this thread ends before anybody else can use it.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }
        .call("unshare(CLONE_FS)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn only_the_thread_changes_directory() {
        let before = std::env::current_dir().unwrap();
        let temp = TempDir::new();
        let inside = in_dir(temp.fd(), || std::env::current_dir().unwrap()).unwrap();
        assert_eq!(inside, temp.path().canonicalize().unwrap());
        assert_eq!(std::env::current_dir().unwrap(), before);
    }

    #[test]
    fn a_file_is_no_directory() {
        let temp = TempDir::new();
        let file = std::fs::File::open(temp.write("f", b"")).unwrap();
        let error = in_dir(&file, || panic!("must not run")).unwrap_err();
        assert_eq!(error.call(), "fchdir");
    }
}

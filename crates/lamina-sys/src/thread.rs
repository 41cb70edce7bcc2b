//! What belongs to a thread: a working directory of its own, and how what it makes comes out.
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

/// Whose a file is that this thread makes, and which permissions it does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Its owner.
    pub uid: u32,
    /// Its group, where its directory has no say in that.
    pub gid: u32,
    /// Permission bits that are taken away.
    pub umask: u32,
}

/// How files come out that this thread makes. `None` when `/proc` does not tell.
pub fn maker() -> Option<Maker> {
    // umask(2) tells only by changing it, for all threads.
    parse_maker(&std::fs::read_to_string("/proc/thread-self/status").ok()?)
}

fn parse_maker(status: &str) -> Option<Maker> {
    let field = |name: &str, at: usize| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(at)
    };
    // Real, effective, saved, and that of file systems.
    Some(Maker {
        uid: field("Uid:", 3)?.parse().ok()?,
        gid: field("Gid:", 3)?.parse().ok()?,
        umask: u32::from_str_radix(field("Umask:", 0)?, 8).ok()?,
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
    fn a_maker_is_read_from_the_status() {
        let status = "Name:\tx\nUmask:\t0027\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        assert_eq!(parse_maker(status), Some(Maker { uid: 4, gid: 8, umask: 0o27 }));
        assert_eq!(parse_maker("Uid:\t1\t2\t3\t4\n"), None);
        let uid = rustix::process::geteuid().as_raw();
        assert!(maker().is_none_or(|maker| maker.uid == uid));
    }

    #[test]
    fn a_file_is_no_directory() {
        let temp = TempDir::new();
        let file = std::fs::File::open(temp.write("f", b"")).unwrap();
        let error = in_dir(&file, || panic!("must not run")).unwrap_err();
        assert_eq!(error.call(), "fchdir");
    }
}

//! User namespaces as what id-mapped mounts need: a descriptor that stands for two id maps.
//!
//! A user namespace is made by a process that enters it. That child shares our descriptors
//! (`CLONE_FILES`) and does nothing but sleep until it is killed, so no lock or allocator state of
//! this multithreaded process matters in it. It has no exit signal: no other `wait` in this
//! process reaps it, and its pid stays ours until we do.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Result, SysError, check, from_io};

/// A range of ids: `size` ids from `inside` on (as a container sees them) are `outside` and the
/// following (as the host sees them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// A descriptor of a new user namespace with these maps, for
/// [`MountAttr::id_map`](crate::mount::MountAttr). The kernel refuses overlapping ranges, more
/// than 340 of them and none (`EINVAL`), and without `CAP_SETUID` and `CAP_SETGID` all but the
/// caller's own id (`EPERM`).
pub fn create(uids: &[IdMap], gids: &[IdMap]) -> Result<OwnedFd> {
    let child = Sleeper::spawn()?;
    child.write("uid_map", &map_text(uids))?;
    match child.write("gid_map", &map_text(gids)) {
        // An unprivileged writer must first give up setgroups(2) (user_namespaces(7)).
        Err(error) if error.errno() == Errno::PERM => {
            child.write("setgroups", "deny")?;
            child.write("gid_map", &map_text(gids))?;
        }
        result => result?,
    }
    let path = child.proc_file("ns/user");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call_on("open", &path)
}

/// Whether this process runs in a user namespace other than the first one of the host.
pub fn is_inside() -> Result<bool> {
    match namespace_inode() {
        Ok(inode) => Ok(inode != INITIAL_INODE),
        // Older kernels and stripped /proc: by the map.
        Err(_) => {
            let path = "/proc/self/uid_map";
            let text =
                std::fs::read_to_string(path).map_err(|error| from_io("read", &error).on(path))?;
            Ok(!is_full_map(&text))
        }
    }
}

fn namespace_inode() -> Result<u64> {
    let path = "/proc/self/ns/user";
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call_on("open", path)?;
    Ok(crate::fs::stat(fd)?.ino)
}

/// The map of the first namespace: every id is itself.
fn is_full_map(text: &str) -> bool {
    text.split_whitespace().eq(["0", "0", "4294967295"])
}

fn map_text(maps: &[IdMap]) -> String {
    maps.iter().fold(String::new(), |mut text, map| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", map.inside, map.outside, map.size);
        text
    })
}

/// The child. Killed and reaped when dropped.
struct Sleeper {
    pid: libc::pid_t,
    pidfd: OwnedFd,
}

impl Sleeper {
    fn spawn() -> Result<Sleeper> {
        let parent = rustix::process::getpid().as_raw_nonzero().get();
        let mut pidfd: libc::c_int = -1;
        let flags = libc::CLONE_NEWUSER | libc::CLONE_PIDFD | libc::CLONE_FILES;
        // The raw syscall takes whole words: an int would leave half of one undefined.
        let (flags, none) = (libc::c_long::from(flags), 0 as libc::c_long);
        let blocked = SignalsBlocked::new()?;
        // SAFETY: without CLONE_VM the child runs on a copy of this stack and memory. It calls
        // only `sleep_until_killed`, which makes raw syscalls and never returns. The kernel writes
        // the pidfd through the pointer, which lives on, before the parent continues. Argument
        // order (flags, stack, parent_tid, …) holds on every architecture we build for.
        let pid = unsafe {
            let pid = libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none);
            if pid == 0 {
                sleep_until_killed(parent);
            }
            check(pid).call("clone(CLONE_NEWUSER)")?
        };
        drop(blocked);
        // SAFETY: clone succeeded, so the kernel stored a descriptor nobody else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        // A pid always fits; the kernel answers an int in a long.
        #[allow(clippy::cast_possible_truncation)]
        Ok(Sleeper { pid: pid as libc::pid_t, pidfd })
    }

    fn proc_file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// The maps must be written with one `write`.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.proc_file(name);
        let fd = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .call_on("open", &path)?;
        let written = rustix::io::write(&fd, text.as_bytes()).map_err(|errno| {
            SysError::new("write", errno)
                .on(OsStr::new(name))
                .because(text.trim().replace('\n', ", "))
        })?;
        if written < text.len() {
            return Err(SysError::new("write", Errno::IO).on(name).because("only in part"));
        }
        Ok(())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // The pid cannot be another process: a child without exit signal stays until it is waited
        // for with __WALL. Neither call can fail in a way that leaves something to do.
        let _ =
            rustix::process::pidfd_send_signal(self.pidfd.as_fd(), rustix::process::Signal::KILL);
        // SAFETY: plain integers, and a null status pointer is allowed.
        while unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), libc::__WALL) } == -1
            && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
        {}
    }
}

/// All the child ever does. If the parent is gone or goes, the kernel kills it.
fn sleep_until_killed(parent: libc::pid_t) -> ! {
    let (kill, none) = (libc::SIGKILL as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: raw syscalls on plain integers; the child has one thread and touches no shared state.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, kill, none, none, none);
        if libc::syscall(libc::SYS_getppid) != libc::c_long::from(parent) {
            libc::syscall(libc::SYS_exit_group, 1);
        }
        loop {
            // Signals are blocked, so this sleeps until SIGKILL.
            libc::syscall(
                libc::SYS_ppoll,
                std::ptr::null_mut::<libc::pollfd>(),
                0,
                std::ptr::null::<libc::timespec>(),
                std::ptr::null::<libc::sigset_t>(),
                none,
            );
        }
    }
}

/// Blocks all signals of this thread, so that the child, which inherits the mask, never runs a
/// handler of ours; puts the old mask back when dropped.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn new() -> Result<SignalsBlocked> {
        // SAFETY: sigset_t is plain data that sigfillset fills before it is read; both pointers
        // are to live locals.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut old: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old) {
                0 => Ok(SignalsBlocked(old)),
                code => Err(SysError::new("sigmask", Errno::from_raw_os_error(code))),
            }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the mask was filled by pthread_sigmask; a null old mask is allowed.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}

/// Inode of the first user namespace (`PROC_USER_INIT_INO`, `linux/nsfs.h`).
const INITIAL_INODE: u64 = 0xEFFF_FFFD;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::need_root;

    const MAP: [IdMap; 2] = [
        IdMap { inside: 0, outside: 100_000, size: 10 },
        IdMap { inside: 10, outside: 200_000, size: 65_526 },
    ];

    #[test]
    fn map_text_is_one_range_a_line() {
        assert_eq!(map_text(&MAP), "0 100000 10\n10 200000 65526\n");
        assert!(is_full_map("         0          0 4294967295\n"));
        assert!(!is_full_map("0 100000 65536\n"));
    }

    #[test]
    fn privileged_namespaces_differ_and_leave_no_child() {
        need_root!("privileged_namespaces_differ_and_leave_no_child");
        let own = namespace_inode().unwrap();
        let first = create(&MAP, &MAP).unwrap();
        let second = create(&MAP[..1], &MAP).unwrap();
        let inodes = [&first, &second].map(|fd| crate::fs::stat(fd).unwrap().ino);
        assert!(inodes[0] != inodes[1] && !inodes.contains(&own), "{inodes:?} {own}");
    }

    #[test]
    fn privileged_the_child_is_gone_after_its_drop() {
        need_root!("privileged_the_child_is_gone_after_its_drop");
        let child = Sleeper::spawn().unwrap();
        let status = child.proc_file("status");
        assert!(std::fs::read_to_string(&status).unwrap().contains("SigBlk:\tfffffff"));
        drop(child);
        assert!(!status.exists());
    }

    #[test]
    fn privileged_bad_maps_are_refused() {
        need_root!("privileged_bad_maps_are_refused");
        let overlapping = [MAP[0], IdMap { inside: 5, outside: 300_000, size: 10 }];
        for maps in [&overlapping[..], &[]] {
            let error = create(maps, &MAP).unwrap_err();
            assert_eq!(error.outcome(), Outcome::InvalidArgument, "{error}");
        }
    }

    #[test]
    fn privileged_many_threads_at_once() {
        need_root!("privileged_many_threads_at_once");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        create(&MAP, &MAP).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn inside_agrees_with_the_map() {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        assert_eq!(is_inside().unwrap(), !is_full_map(&map));
    }
}

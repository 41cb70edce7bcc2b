//! `flock`: a lock that belongs to the open file description and ends with it, also when the
//! process is killed.

use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Call, Result};

/// Waits until nobody else holds the lock, then holds it.
pub fn lock_exclusive(fd: impl AsFd) -> Result<()> {
    apply(fd, FlockOperation::LockExclusive)
}

/// Waits until nobody holds it exclusively, then shares it.
pub fn lock_shared(fd: impl AsFd) -> Result<()> {
    apply(fd, FlockOperation::LockShared)
}

/// `Ok(false)` if another holds it.
pub fn try_lock_exclusive(fd: impl AsFd) -> Result<bool> {
    attempt(fd, FlockOperation::NonBlockingLockExclusive)
}

/// `Ok(false)` if another holds it exclusively.
pub fn try_lock_shared(fd: impl AsFd) -> Result<bool> {
    attempt(fd, FlockOperation::NonBlockingLockShared)
}

/// Gives the lock back before the descriptor is closed.
pub fn unlock(fd: impl AsFd) -> Result<()> {
    apply(fd, FlockOperation::Unlock)
}

fn apply(fd: impl AsFd, operation: FlockOperation) -> Result<()> {
    let fd = fd.as_fd();
    retry_on_intr(|| flock(fd, operation)).call("flock")
}

fn attempt(fd: impl AsFd, operation: FlockOperation) -> Result<bool> {
    let fd = fd.as_fd();
    match retry_on_intr(|| flock(fd, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(errno) => Err(errno).call("flock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{OFlags, open_at};
    use crate::testing::TempDir;

    #[test]
    fn one_description_at_a_time() {
        let temp = TempDir::new();
        let open = || open_at(temp.fd(), "lock", OFlags::RDWR | OFlags::CREATE, 0o600).unwrap();
        let (first, second) = (open(), open());
        assert!(try_lock_exclusive(&first).unwrap());
        assert!(!try_lock_exclusive(&second).unwrap());
        assert!(!try_lock_shared(&second).unwrap());
        unlock(&first).unwrap();
        assert!(try_lock_shared(&second).unwrap());
        assert!(try_lock_shared(&first).unwrap());
        assert!(!try_lock_exclusive(&first).unwrap());
        drop(second);
        lock_exclusive(&first).unwrap();
    }
}

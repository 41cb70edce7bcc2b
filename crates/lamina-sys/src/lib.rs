//! Every syscall Lamina makes that no safe library offers, and the descriptor idioms built on them.
//!
//! This is the only crate that contains `unsafe`, and it uses none of our crates. It is
//! synchronous: one syscall a function, named by what it does. What goes in is a descriptor
//! (`impl AsFd`) and a name relative to it, what comes out is an [`OwnedFd`](std::os::fd::OwnedFd);
//! a path appears only where the kernel takes nothing else (mount options, `mount(2)`) or the
//! operator chose it.
//!
//! Failures are [`SysError`]s: the call, its subject, and an [`Outcome`] the caller can match.
//! What an outcome *means* (a user's missing blob or our own broken directory) is decided by
//! the caller, the only one who knows.
//!
//! | module | owns |
//! |---|---|
//! | [`fs`] | files, directories, attributes, xattrs, durability, space, locks |
//! | [`rootdir`] | paths nobody vouches for, resolved inside one directory |
//! | [`tree`] | whole trees by descriptors: remove, measure, copy |
//! | [`mount`], [`mountinfo`] | the new and the classic mount API; the mount table |
//! | [`userns`], [`thread`] | id maps for id-mapped mounts; a thread with its own directory |
//! | [`loopdev`], [`btrfs`], [`devmapper`], [`inode_flags`] | ioctl families |
//! | [`memory`] | what becomes of memory that was freed |
//! | [`kernel`] | facts about the running kernel |

pub mod btrfs;
pub mod devmapper;
mod error;
pub mod fs;
pub mod inode_flags;
pub mod kernel;
pub mod loopdev;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod rootdir;
pub mod thread;
pub mod tree;
pub mod userns;

pub use error::{Outcome, Result, SysError};
pub use rootdir::RootDir;
/// The raw error number, for the rare caller to whom an [`Outcome`] says too little.
pub use rustix::io::Errno;

#[cfg(test)]
mod testing;

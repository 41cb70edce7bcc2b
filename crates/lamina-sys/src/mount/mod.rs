//! Mounting.
//!
//! [`context`] and [`detached`] are the new mount API (Linux 5.2 and later): a mount is
//! configured option by option, so there is no page limit; it exists as a descriptor first,
//! attached nowhere and gone when the descriptor is closed, until it is moved to its place.
//! [`classic`] is `mount(2)` and `umount2(2)`.
//!
//! Limits of the new API worth knowing: the kernel takes at most 255 bytes as the string value of
//! one option; a longer path must be given as a descriptor ([`FsContext::set_fd`]) or relative to
//! the directory of the calling thread ([`crate::thread::in_dir`]).

pub mod classic;
pub mod context;
pub mod detached;

pub use classic::{mount, remount, set_propagation, unmount};
pub use context::FsContext;
pub use detached::{
    MountAttr, Recursive, Tree, clone_tree, clone_tree_with, open_mount, set_attributes,
};
/// Attributes of one mount in the new API.
pub use rustix::mount::MountAttrFlags;
/// Flags of `mount(2)`.
pub use rustix::mount::MountFlags;
/// How mount events pass between copies of a mount.
pub use rustix::mount::MountPropagationFlags as Propagation;
/// Flags of `umount2(2)`.
pub use rustix::mount::UnmountFlags;

#[cfg(test)]
mod tests;

//! Whole trees by descriptors: remove, measure, copy; and [`DirStack`] for walks of other kinds.
//!
//! What holds for all of them:
//! - No path is resolved: every step is one name relative to a descriptor, links are never
//!   followed, and no mount point is crossed, not even one of the same filesystem.
//! - Depth is bounded by memory only. At most 64 descriptors are open; those of
//!   directories further up are closed and opened again through `..`, checked to be the same.
//! - The kind of an entry is asked from the inode where the directory does not tell
//!   (`DT_UNKNOWN`).

pub mod changed;
pub mod copy;
mod data;
pub mod remove;
mod stack;
pub mod subvolume;
pub mod usage;

pub use changed::usage_since;
pub use copy::{Copied, XattrErrors, copy_tree};
pub use data::copy_file;
pub use remove::remove_tree;
pub use stack::DirStack;
pub use subvolume::remove_subvolume;
pub use usage::{TreeUsage, usage, usage_at};

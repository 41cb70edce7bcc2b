//! Laying a layer down: a tar stream becomes files under one directory.
//!
//! [`apply_layer`] takes the blob as it was fetched, [`apply`] the tar inside it. What they do is
//! containerd's archive apply (OCI image spec, "Image Layer Filesystem Changeset"), with these
//! rules of our own:
//!
//! - The [`Target`] is a descriptor. Parents resolve inside it (`openat2(RESOLVE_IN_ROOT |
//!   RESOLVE_NO_MAGICLINKS)`), an entry's own name is never followed, and what was made is
//!   changed through its descriptor. So no link, `..` or rename in or beside the tree leads out.
//! - An entry that names the root itself must be a directory, and changes nothing.
//! - Times are kept as they are, before 1970 too (containerd sets those to 0). Directories get
//!   theirs last. A directory no entry speaks of keeps the time it had; one that had to be made
//!   takes owner, mode, times and xattrs from the trees below, or is `0755` of 1970.
//! - A hard link changes nothing about what it links to: setting an owner again would clear
//!   setuid bits and capabilities.
//! - Deletions are carried out ([`Whiteouts::Delete`](crate::snapshot::driver::Whiteouts)) or
//!   written as overlayfs reads them; both give the same tree. So a directory that replaces a
//!   deletion of its own layer is made opaque.
//! - Sparse files stay sparse. PAX global headers count nothing, as for containerd.
//!
//! An error leaves a part of the layer behind; whoever made the directory drops it.

mod content;
mod create;
mod error;
mod extract;
mod header;
mod inherit;
mod layer;
mod meta;
mod name;
mod numbers;
mod opaque;
mod options;
mod pipe;
mod plain;
mod reader;
mod space;
mod stray;
mod tree;

pub use inherit::inherit;
pub use layer::{Applied, apply, apply_layer};
pub use options::{ApplyOptions, Devices, Limits, Owners, Target};
pub(crate) use space::Space;

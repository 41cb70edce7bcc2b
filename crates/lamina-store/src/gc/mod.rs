//! The collector: drops what nothing refers to (containerd's garbage collection).

pub(crate) mod mark;
pub(crate) mod node;

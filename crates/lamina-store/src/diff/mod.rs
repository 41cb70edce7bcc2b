//! Layers as tar archives: laying one down in a directory, and making one of two trees.
//!
//! What comes in was made by somebody nobody vouches for. So the tar path has rules of its own:
//! everything is done relative to descriptors, never by a path that is looked at twice; every
//! count and size has a cap; and where tar readers disagree about an archive, it is read as
//! containerd reads it (Go's `archive/tar`), or refused.

pub mod apply;
mod compare;
pub mod compression;
pub mod create;
pub mod encode;
mod local;
mod reach;

pub(crate) use local::LocalDiffer;

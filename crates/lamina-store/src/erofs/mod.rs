//! Images of the EROFS file system, written in one pass.
//!
//! [`Writer`] takes files as they come: their data goes straight into the image, behind the block
//! of the superblock, and is not read again. Inodes and directories are kept in memory until
//! [`Writer::finish`], which writes them behind the data. So memory grows with the number of
//! entries, not with their bytes. Data may come before its names are known ([`Writer::loose`]).
//!
//! What is written is the uncompressed part of the format, which every kernel since 5.4 reads
//! (Documentation/filesystems/erofs.rst): extended inodes, file data in whole blocks, links and
//! the rest of directories beside their inodes, xattrs beside the inodes as well. Nothing but the
//! calls decides what is written: the same calls give the same bytes.

mod dir;
mod format;
mod read;
mod tree;
mod writer;

pub use dir::{Deletions, Places, image_of};
pub use read::{Root, root_of};
pub use tree::{Meta, Node};
pub use writer::{Made, Placed, Writer};

#[cfg(test)]
mod tests;

//! Tar archives of images: flat, of files with short names. Layers are read elsewhere, by the store;
//! here nothing of an archive becomes a file.

mod read;
mod write;

pub(crate) use read::{Archive, Entry, What};
pub(crate) use write::{end, head, padding};

/// Everything in a tar comes in blocks.
const BLOCK: usize = 512;

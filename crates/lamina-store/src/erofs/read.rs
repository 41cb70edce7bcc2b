//! What an image says of itself and of its root, read without mounting it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format;

/// User and group of an image's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Looks at an image that a [`Writer`](super::Writer) made; none when it is not one, or not whole.
pub fn root_of(image: &File) -> io::Result<Option<Root>> {
    let length = image.metadata()?.len();
    let mut block = [0; format::BLOCK];
    if length < format::BLOCK_U64 {
        return Ok(None);
    }
    image.read_exact_at(&mut block, 0)?;
    let Some((root, blocks)) = format::read_superblock(&block) else { return Ok(None) };
    let whole = u64::from(blocks) * format::BLOCK_U64;
    if length < whole || root + format::INODE as u64 > whole {
        return Ok(None);
    }
    let mut inode = [0; format::INODE];
    image.read_exact_at(&mut inode, root)?;
    let (uid, gid) = format::owner(&inode);
    Ok(Some(Root { uid, gid }))
}

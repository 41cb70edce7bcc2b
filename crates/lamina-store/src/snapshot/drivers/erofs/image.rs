//! The image of a layer: written beside what it is made of, and taken a look at.

use std::fs::File;
use std::os::fd::OwnedFd;

use lamina_core::{Error, Result};
use lamina_sys::fs::{self, OFlags};
use lamina_sys::tree;

use super::super::super::driver::{Snapshot, SnapshotId};
use super::super::dirs::make_file;
use super::super::error::failed;
use super::LAYER;
use crate::erofs::{Deletions, Meta, Places, Writer, image_of, root_of};
use crate::random;

/// An image that is being written.
pub(super) const UNFINISHED: &str = "layer.erofs.new";

/// Makes the image of what is in `fs`; takes the place of one that an earlier attempt made.
pub(super) fn write(dir: &OwnedFd, snapshot: &Snapshot) -> Result<()> {
    let what = || format!("write the image of snapshot {}", snapshot.id);
    tree::remove_tree(dir, UNFINISHED).map_err(|error| failed(error, what()))?;
    let file = File::from(make_file(dir, UNFINISHED)?);
    let writer = Writer::new(file, Meta::default()).map_err(|error| failure(error, what()))?;
    pack(dir, snapshot, writer, &Places::new())
}

/// Ends an image with the names and attributes of what is in `fs`, and the content that it lacks.
pub(super) fn pack(
    dir: &OwnedFd,
    snapshot: &Snapshot,
    writer: Writer,
    places: &Places,
) -> Result<()> {
    let what = || format!("write the image of snapshot {}", snapshot.id);
    let system = |error| failed(error, what());
    let deletions = if snapshot.parents.is_empty() { Deletions::LeftOut } else { Deletions::Kept };
    let packed = || -> Result<()> {
        let layer = fs::open_dir_at(dir, "fs").map_err(system)?;
        // Overlay tells layers apart by it, so no two may have the same.
        let uuid = random::bytes::<16>()?;
        image_of(&layer, writer, places, deletions, uuid)
            .map_err(|error| failure(error, what()))?;
        fs::rename(dir, UNFINISHED, dir, LAYER).map_err(system)
    };
    let packed = packed();
    if packed.is_err() {
        // On a full disk its room may be what the removal needs.
        let _ = tree::remove_tree(dir, UNFINISHED);
    }
    packed
}

/// Gives back the room that the image of an active takes.
pub(super) fn drop_both(dir: &OwnedFd, id: SnapshotId) -> Result<()> {
    for name in [UNFINISHED, LAYER] {
        tree::remove_tree(dir, name)
            .map_err(|error| failed(error, format!("drop the image of snapshot {id}")))?;
    }
    Ok(())
}

/// User and group of an image's root.
pub(super) fn owner(image: OwnedFd, id: SnapshotId) -> Result<(u32, u32)> {
    match root_of(&File::from(image)) {
        Ok(Some(root)) => Ok((root.uid, root.gid)),
        Ok(None) => Err(Error::data_loss(format!("the image of snapshot {id} is damaged"))),
        Err(error) => Err(failure(error, format!("read the image of snapshot {id}"))),
    }
}

/// Whether there is an image, down to its superblock.
pub(super) fn is_whole(dir: &OwnedFd, id: SnapshotId) -> Result<bool> {
    let what = || format!("look at the image of snapshot {id}");
    match fs::open_at(dir, LAYER, OFlags::RDONLY, 0) {
        Ok(image) => Ok(root_of(&File::from(image)).map_err(|e| failure(e, what()))?.is_some()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(failed(error, what())),
    }
}

/// As [`failed`] tells, of an error that came through the standard library.
fn failure(error: std::io::Error, what: String) -> Error {
    use lamina_core::Kind;
    use std::io::ErrorKind as E;
    let kind = match error.kind() {
        E::StorageFull | E::QuotaExceeded => Kind::ResourceExhausted,
        E::FileTooLarge | E::InvalidInput => Kind::InvalidArgument,
        E::PermissionDenied => Kind::PermissionDenied,
        E::ReadOnlyFilesystem => Kind::FailedPrecondition,
        _ if error.raw_os_error() == Some(lamina_sys::Errno::IO.raw_os_error()) => Kind::DataLoss,
        _ => Kind::Internal,
    };
    Error::new(kind, what).with_source(error)
}

//! Id-mapped mounts: files show other owners than the disk has.
//!
//! A map belongs to a mount and is given to it while it is attached nowhere (Linux 5.12). Overlay
//! itself cannot be mapped; its lower directories are, each as a copy of its own. Its upper
//! directory is not: whoever made it gave it the owner it shall have.

use std::os::fd::AsFd;

use lamina_sys::mount::{
    self as sys, FsContext, MountAttr, MountAttrFlags, Propagation, Recursive, Tree, UnmountFlags,
};
use lamina_sys::{fs, userns};

use super::Refused;
use super::modern::available;
use super::place::Place;
use crate::mount::layers::Layers;
use crate::mount::options::IdMaps;

/// Gives `tree` the maps.
pub(super) fn apply(tree: &Tree, maps: &IdMaps, recursive: Recursive) -> Result<(), Refused> {
    let namespace = userns::create(&maps.uids, &maps.gids)?;
    let attr = MountAttr { id_map: Some(namespace.as_fd()), ..MountAttr::NONE };
    Ok(tree.set_attributes(&attr, recursive)?)
}

/// The lower directories of an overlay, mapped. They must live until the overlay is made, which
/// then has copies of its own.
pub(super) struct MappedLayers<'a> {
    lower: Vec<Tree>,
    data: Vec<Tree>,
    /// Where they are attached, one on the other; taken off again on drop.
    attached: Option<(&'a Place, usize)>,
}

impl<'a> MappedLayers<'a> {
    /// Mapped copies that are attached nowhere.
    pub(super) fn detached(layers: &Layers, maps: &IdMaps) -> Result<Self, Refused> {
        let namespace = userns::create(&maps.uids, &maps.gids)?;
        let attr = MountAttr {
            set: MountAttrFlags::MOUNT_ATTR_RDONLY,
            propagation: Some(Propagation::PRIVATE),
            id_map: Some(namespace.as_fd()),
            ..MountAttr::NONE
        };
        let mapped = |path| -> Result<Tree, Refused> {
            let tree = available(sys::clone_tree(fs::open_handle(path)?, Recursive::No))?;
            tree.set_attributes(&attr, Recursive::No)?;
            Ok(tree)
        };
        Ok(MappedLayers {
            lower: layers.lower.iter().map(mapped).collect::<Result<_, _>>()?,
            data: layers.data.iter().map(mapped).collect::<Result<_, _>>()?,
            attached: None,
        })
    }

    /// Mapped copies attached at the place where the overlay will go, which covers them for a moment
    /// and no longer than this value lives. A crash leaves them to whoever clears that place.
    pub(super) fn attached(
        layers: &Layers,
        maps: &IdMaps,
        place: &'a Place,
    ) -> Result<Self, Refused> {
        let mut mapped = MappedLayers::detached(layers, maps)?;
        let mut count = 0;
        for tree in mapped.lower.iter().chain(&mapped.data) {
            let result = tree.attach(place);
            mapped.attached = Some((place, count));
            result?;
            count += 1;
            mapped.attached = Some((place, count));
        }
        Ok(mapped)
    }

    /// Makes them the layers of an overlay, by their descriptors' names: a layer as a descriptor is
    /// known only since Linux 6.13.
    pub(super) fn set(&self, context: &FsContext) -> Result<(), Refused> {
        for (key, trees) in [("lowerdir+", &self.lower), ("datadir+", &self.data)] {
            for tree in trees {
                context.set_string(key, fs::fd_path(tree))?;
            }
        }
        Ok(())
    }
}

impl Drop for MappedLayers<'_> {
    fn drop(&mut self) {
        let Some((place, count)) = self.attached else { return };
        for _ in 0..count {
            // Detached, so that nobody who looks in at this moment can keep it.
            if let Err(error) = sys::unmount(place.path(), UnmountFlags::DETACH) {
                tracing::warn!("an id-mapped layer stays mounted at {place}: {error}");
            }
        }
    }
}

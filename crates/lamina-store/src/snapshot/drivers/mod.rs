//! The back ends that are built in, and how one is opened by its name.
//!
//! | module | owns |
//! |---|---|
//! | [`overlay`] | `overlayfs`: a directory a snapshot, stacked by the kernel |
//! | [`native`] | `native`: a full copy a snapshot, on any file system |
//! | [`btrfs`] | `btrfs`: a subvolume a snapshot |
//! | [`blockfile`] | `blockfile`: an image with a file system a snapshot |
//! | [`erofs`] | `erofs`: an EROFS image a layer, stacked by the kernel's overlay |
//! | [`aufs`] | `aufs`: a directory a snapshot, where the kernel has it |
//! | [`devmapper`] | `devmapper`: a thin device a snapshot |
//! | [`zfs`] | `zfs`: a dataset a snapshot |
//! | `dirs` | the directories that most of them keep snapshots in |
//! | `extfs` | what an ext file system says of its own state |
//! | `medium` | their file system: durability, and what it lost |
//! | `kernel` | which file systems the kernel has |

pub mod aufs;
pub mod blockfile;
pub mod btrfs;
pub mod devmapper;
mod dirs;
pub mod erofs;
mod error;
mod extfs;
mod kernel;
mod medium;
pub mod native;
pub mod overlay;
mod program;
pub mod zfs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamina_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::driver::{Driver, OpenError};
use super::registry::Source;

/// A back end that is built in.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The snapshotter's name.
    pub name: &'static str,
    open: Open,
}

/// Opens a back end below the store's root.
type Open = fn(&Path, &Config) -> Result<Arc<dyn Driver>, OpenError>;

/// Every back end, the preferred one first.
pub const BUILTIN: &[Builtin] = &[
    Builtin {
        name: "overlayfs",
        open: |root, config| Ok(Arc::new(overlay::Overlay::open(root, &config.overlayfs)?)),
    },
    Builtin { name: "native", open: |root, _| Ok(Arc::new(native::Native::open(root)?)) },
    Builtin { name: "btrfs", open: |root, _| Ok(Arc::new(btrfs::Btrfs::open(root)?)) },
    Builtin {
        name: "blockfile",
        open: |root, config| Ok(Arc::new(blockfile::Blockfile::open(root, &config.blockfile)?)),
    },
    Builtin {
        name: "erofs",
        open: |root, config| Ok(Arc::new(erofs::Erofs::open(root, &config.erofs)?)),
    },
    Builtin { name: "aufs", open: |root, _| Ok(Arc::new(aufs::Aufs::open(root)?)) },
    Builtin {
        name: "devmapper",
        open: |root, config| Ok(Arc::new(devmapper::Devmapper::open(root, &config.devmapper)?)),
    },
    Builtin { name: "zfs", open: |root, _| Ok(Arc::new(zfs::Zfs::open(root)?)) },
];

/// The settings of all back ends, by containerd's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Of `overlayfs`.
    pub overlayfs: overlay::Config,
    /// Of `native`.
    pub native: RootConfig,
    /// Of `btrfs`.
    pub btrfs: RootConfig,
    /// Of `blockfile`.
    pub blockfile: blockfile::Config,
    /// Of `erofs`.
    pub erofs: erofs::Config,
    /// Of `aufs`.
    pub aufs: RootConfig,
    /// Of `devmapper`.
    pub devmapper: devmapper::Config,
    /// Of `zfs`.
    pub zfs: RootConfig,
}

/// The settings of a back end that can only be put elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootConfig {
    /// Where it keeps its files, instead of its place below the store's root.
    pub root_path: Option<PathBuf>,
}

impl Config {
    fn root_path(&self, name: &str) -> Option<&PathBuf> {
        match name {
            "overlayfs" => self.overlayfs.root_path.as_ref(),
            "native" => self.native.root_path.as_ref(),
            "btrfs" => self.btrfs.root_path.as_ref(),
            "blockfile" => self.blockfile.root_path.as_ref(),
            "erofs" => self.erofs.root_path.as_ref(),
            "aufs" => self.aufs.root_path.as_ref(),
            "devmapper" => self.devmapper.root_path.as_ref(),
            "zfs" => self.zfs.root_path.as_ref(),
            _ => None,
        }
    }
}

/// Where the snapshotter `name` keeps its files in the store at `store_root` (an absolute path).
pub fn root_of(name: &str, store_root: &Path, config: &Config) -> PathBuf {
    match config.root_path(name) {
        Some(path) => path.clone(),
        None => store_root.join(format!("io.containerd.snapshotter.v1.{name}")),
    }
}

/// Every back end as a store may open it, with these settings.
pub fn all(config: &Config) -> Vec<Source> {
    let source = |builtin: &Builtin| {
        let (open, config) = (builtin.open, config.clone());
        Source {
            name: builtin.name.to_owned(),
            root: config.root_path(builtin.name).cloned(),
            sync_remove: match builtin.name {
                "overlayfs" => config.overlayfs.sync_remove,
                "devmapper" => !config.devmapper.async_remove,
                _ => false,
            },
            open: Arc::new(move |root| open(root, &config)),
        }
    };
    BUILTIN.iter().map(source).collect()
}

/// Opens the back end `name` of the store at `store_root`, making its directories.
///
/// # Errors
/// [`OpenError::Skip`] when this host lacks what it needs. Else InvalidArgument for an unknown name
/// or a root that it cannot use, FailedPrecondition for a root that belongs to somebody else.
pub fn open_driver(
    name: &str,
    store_root: &Path,
    config: &Config,
) -> Result<Arc<dyn Driver>, OpenError> {
    let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == name) else {
        return Err(Error::invalid_argument(format!("no snapshotter is called {name:?}")).into());
    };
    let root = root_of(name, store_root, config);
    (builtin.open)(&root, config)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

//! The ways to mount, and the choice between them.
//!
//! The new mount API comes first: it has no limit on the length of all options together, its errors
//! carry the kernel's own words, and a mount becomes visible only when it is as it shall be. Where
//! the kernel lacks it, `mount(2)` does. A target is opened once and mounted on by its descriptor.

mod classic;
mod helper;
mod idmap;
mod modern;
mod place;
mod source;

use std::path::{Path, PathBuf};

use lamina_core::{Error, Mount, Result};
use lamina_sys::mount::Tree;

use self::place::Place;
use super::error::failed;
use super::plan::{Filesystem, Plan, plan};
use super::unmount::{How, unmount};

/// Mounts a list at one target, in order, with the best the kernel has. See [`Mounter::all`].
///
/// # Errors
/// Those of [`Mounter::all`].
pub fn all(mounts: &[Mount], target: &Path) -> Result<()> {
    Mounter::default().all(mounts, target)
}

/// Which calls are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// The newest that the kernel offers.
    #[default]
    Newest,
    /// As before Linux 6.15: the id-mapped layers of an overlay are attached at the target while the
    /// overlay is made.
    AttachedLayers,
    /// As before Linux 5.2: `mount(2)` only.
    Classic,
}

/// How mounts are made. The default is right for all but tests.
#[derive(Clone, Debug, Default)]
pub struct Mounter {
    /// Which calls are used.
    pub api: Api,
    /// Where the programs for FUSE types lie; `None` looks them up as a shell would.
    pub helpers: Option<PathBuf>,
}

impl Mounter {
    /// Mounts a list at one target, in order: later ones cover earlier ones, or lie below the target
    /// if they have a sub-path of their own. When one fails, those before it are unmounted again.
    ///
    /// # Errors
    /// NotFound for a target or source that does not exist; otherwise by what the kernel says. The
    /// message names the mount and the target, the chain has the kernel's words.
    pub fn all(&self, mounts: &[Mount], target: &Path) -> Result<()> {
        let mut done = Vec::new();
        for mount in mounts {
            match self.one(mount, target) {
                Ok(path) => done.extend(path),
                Err(error) => {
                    for path in done.iter().rev() {
                        if let Err(left) = unmount(path, How::Plain) {
                            let (path, left) = (path.display(), left.chain());
                            tracing::warn!("{path} stays mounted after a failed mount: {left}");
                        }
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// An EROFS image mounted nowhere, read-only; it goes with what is returned.
    ///
    /// # Errors
    /// By what the kernel says.
    pub(crate) fn image(&self, path: &Path) -> Result<Tree> {
        let mut plan = Filesystem::image(path);
        let what = |refused| match refused {
            Refused::Failed(error) => failed(error, format!("mount the image {}", path.display())),
            Refused::Unavailable => Error::unimplemented(format!(
                "mount the image {}: this kernel has no fsopen (Linux 5.2)",
                path.display()
            )),
        };
        if let Ok(tree) = modern::detached(&plan) {
            return Ok(tree);
        }
        // Held until the mount holds the device itself.
        let _device = source::attach_loop(&mut plan)?;
        modern::detached(&plan).map_err(what)
    }

    /// Mounts one; answers where there is a mount more now.
    fn one(&self, mount: &Mount, target: &Path) -> Result<Option<PathBuf>> {
        let plan = plan(mount)?;
        let place = Place::open(target, &mount.target)?;
        let what = || format!("mount {} ({}) at {}", mount.kind, mount.source, place);
        match plan {
            Plan::Helper(helper) => helper::run(&helper, &place, self.helpers.as_deref())?,
            Plan::Remount(change) => {
                classic::remount(&change, &place).map_err(|error| failed(error, what()))?;
                return Ok(None);
            }
            Plan::Bind(bind) => {
                self.choose(|| modern::bind(&bind, &place), || classic::bind(&bind, &place))
                    .map_err(|error| failed(error, what()))?;
            }
            Plan::Filesystem(plan) if self.by_file(&plan, &place) => {}
            Plan::Filesystem(mut plan) => {
                // Held until the mount holds the device itself.
                let _device = source::attach_loop(&mut plan)?;
                self.choose(
                    || modern::filesystem(&plan, &place, self.api),
                    || classic::filesystem(&plan, &place),
                )
                .map_err(|error| failed(error, what()))?;
            }
        }
        Ok(Some(place.into_path()))
    }

    /// Whether it was mounted from its file without a loop device, as newer kernels do with EROFS. What
    /// is wrong with the file is told by the loop device's mount.
    fn by_file(&self, plan: &Filesystem, place: &Place) -> bool {
        if plan.kind != "erofs" || plan.loop_device.is_none() || self.api == Api::Classic {
            return false;
        }
        match modern::filesystem(plan, place, self.api) {
            Ok(()) => true,
            Err(refused) => {
                tracing::debug!(?refused, source = %plan.source, "not without a loop device");
                false
            }
        }
    }

    fn choose(
        &self,
        modern: impl FnOnce() -> Result<(), Refused>,
        classic: impl FnOnce() -> lamina_sys::Result<()>,
    ) -> lamina_sys::Result<()> {
        if self.api == Api::Classic {
            return classic();
        }
        match modern() {
            Ok(()) => Ok(()),
            Err(Refused::Unavailable) => classic(),
            Err(Refused::Failed(error)) => Err(error),
        }
    }
}

/// Why the new API did not mount.
#[derive(Debug)]
enum Refused {
    /// This kernel's new API cannot do it; `mount(2)` may.
    Unavailable,
    /// The mount itself is at fault.
    Failed(lamina_sys::SysError),
}

impl From<lamina_sys::SysError> for Refused {
    fn from(error: lamina_sys::SysError) -> Refused {
        Refused::Failed(error)
    }
}

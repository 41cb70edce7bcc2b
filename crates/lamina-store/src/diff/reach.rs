//! What mounts show, for the time of one operation.
//!
//! A list of several, or one with types that only the mount manager knows (`format/…`, `erofs`), goes
//! through the manager first; what is left is mounted in a directory of its own. A crash in between
//! leaves things that the next start finds: see [`TempMounts::sweep`] and [`TRANSIENT`].
//!
//! [`TempMounts::sweep`]: crate::mount::temp::TempMounts::sweep

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_core::mount::{ActivateOptions, Activation};
use lamina_core::{Kind, Mount, Namespace, Result};

use super::LocalDiffer;
use crate::mount::manager::{Manager, TRANSIENT};
use crate::mount::read_only;
use crate::mount::temp::TempMount;

/// Mounted. Dropped, it is undone; [`Reached::with`] tells of errors of that.
#[derive(Debug)]
pub(super) struct Reached {
    // Dropped in this order.
    mounted: TempMount,
    _active: Option<Active>,
}

/// The manager's part.
#[derive(Debug)]
struct Active {
    manager: Manager,
    namespace: Namespace,
    name: String,
}

impl LocalDiffer {
    /// Mounts a list as it is.
    pub(super) fn reach(&self, mounts: &[Mount]) -> Result<Reached> {
        let (active, rest) = self.activate(mounts)?;
        // An error drops `active`, which undoes it.
        Ok(Reached { mounted: self.temp.mount(&rest)?, _active: active })
    }

    /// Mounts a list so that nothing can be written.
    pub(super) fn reach_read_only(&self, mounts: &[Mount]) -> Result<Reached> {
        self.reach(&read_only(mounts)?)
    }

    /// The manager's part, if it has one, and what is left to mount.
    fn activate(&self, mounts: &[Mount]) -> Result<(Option<Active>, Vec<Mount>)> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TRANSIENT}{}-{number}", std::process::id());
        // Without the lease: it is not there for longer than this call.
        let namespace = self.content.scope().namespace.clone();
        let scope = lamina_core::Scope::new(namespace.clone());
        match self.manager.activate(&scope, &name, mounts, &ActivateOptions::default()) {
            Ok(Activation { system, .. }) => {
                let active = Active { manager: self.manager.clone(), namespace, name };
                Ok((Some(active), system))
            }
            Err(error) if error.kind() == Kind::Unimplemented => Ok((None, mounts.to_vec())),
            Err(error) => Err(error),
        }
    }
}

impl Reached {
    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        self.mounted.path()
    }

    /// Runs `work` on it and undoes it.
    ///
    /// # Errors
    /// That of `work`, and one of unmounting, since what was written may not be there.
    pub(super) fn with<T>(self, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        // On an error the drop of `self` unmounts.
        let value = work(self.path())?;
        self.mounted.unmount()?;
        Ok(value)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if let Err(error) = self.manager.deactivate(&self.namespace, &self.name) {
            tracing::warn!("the mounts of {:?} are left: {}", self.name, error.chain());
        }
    }
}

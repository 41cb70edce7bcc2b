//! The life of an activation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use lamina_core::mount::{ActivateOptions, Activation, ActiveMount};
use lamina_core::{Error, Mount, MountManager, Namespace, Result, Scope, labels};

use super::adapter::Scoped;
use super::cut::{Cut, Wishes, cut};
use super::handler::Handlers;
use super::names::Names;
use super::targets::Targets;
use super::transform::{Context, transform};
use crate::db::Db;
use crate::db::activations::{ActivationRow, NewActivation};
use crate::fault::Steps;
use crate::mount::Mounter;

/// The mount manager of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Manager(Arc<Inner>);

/// Where and how it works.
#[derive(Clone, Debug)]
pub struct ManagerOptions {
    /// Its mount points, `<state>/io.containerd.mount-manager.v1.bolt/t`.
    pub targets: PathBuf,
    /// Directories besides the mount points in which transformers may make directories and file
    /// systems, such as the root of the snapshotters.
    pub allowed: Vec<PathBuf>,
    /// Types that it alone can mount.
    pub handlers: Handlers,
    /// How the others are mounted.
    pub mounter: Mounter,
    /// The id of this boot ([`lamina_sys::kernel::boot_id`]).
    pub boot: String,
    /// Who listens at `activate.row`, `activate.mounted`, `deactivate.row`, `deactivate.unmounted`.
    pub steps: Steps,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    targets: Targets,
    directories: Vec<PathBuf>,
    images: Vec<PathBuf>,
    boot: String,
    steps: Steps,
    names: Names,
    next: AtomicU64,
}

impl Manager {
    /// Opens the manager and clears what earlier runs left: activations of another boot, those that
    /// a crash cut short, those whose mounts are gone, and mount points that no row knows. What
    /// cannot be cleared is logged and tried again at the next start.
    ///
    /// # Errors
    /// Those of the database, and Internal when the mount points cannot be listed.
    pub fn open(db: Db, options: ManagerOptions) -> Result<Manager> {
        let mut directories = vec![options.targets.clone()];
        directories.extend(options.allowed.iter().cloned());
        let manager = Manager(Arc::new(Inner {
            db,
            targets: Targets {
                dir: options.targets,
                handlers: options.handlers,
                mounter: options.mounter,
            },
            directories,
            images: options.allowed,
            boot: options.boot,
            steps: options.steps,
            names: Names::default(),
            next: AtomicU64::new(1),
        }));
        manager.recover()?;
        Ok(manager)
    }

    /// The manager as one namespace and lease sees it.
    pub fn scoped(&self, scope: &Scope) -> Arc<dyn MountManager> {
        Arc::new(Scoped { manager: self.clone(), scope: scope.clone() })
    }

    /// Activates a list. Order: row, mounts, completed row; after an error the mounts go, then the
    /// row.
    ///
    /// # Errors
    /// Unimplemented when nothing needs the manager; AlreadyExists for a name in use; NotFound for a
    /// lease that is not there; otherwise what the mount that failed says.
    pub fn activate(
        &self,
        scope: &Scope,
        name: &str,
        mounts: &[Mount],
        options: &ActivateOptions,
    ) -> Result<Activation> {
        if name.is_empty() {
            return Err(Error::invalid_argument("an activation needs a name"));
        }
        labels::check(&options.labels)?;
        let inner = &*self.0;
        let wishes = Wishes { temporary: options.temporary, allow: &options.allow };
        let cut = cut(mounts, &wishes, |kind| inner.targets.handlers.get(kind).is_some())?
            .ok_or_else(|| {
                Error::unimplemented(format!("no mount of {name:?} needs the mount manager"))
            })?;
        let namespace = &scope.namespace;
        let _taken = inner.names.take(namespace, name);
        if let Some(row) = inner.row(namespace, name)? {
            if row.complete && row.boot == inner.boot {
                return Err(Error::already_exists(format!("activation {name:?}")));
            }
            inner.drop_activation(namespace, &row)?;
        }
        let id = inner.next.fetch_add(1, Ordering::Relaxed);
        let new = NewActivation {
            name: name.to_owned(),
            id,
            boot: inner.boot.clone(),
            labels: options.labels.clone(),
        };
        let at = scope.clone();
        inner.db.write(move |tx| tx.begin_activation(&at, &new))?;
        let result = inner.build(namespace, name, id, &cut, options);
        if result.is_err() {
            inner.abandon(namespace, name, id);
        }
        result
    }

    /// Ends an activation: its row is marked, the mounts go last one first, then the row. Also ends
    /// one that an earlier call or a crash left half way.
    ///
    /// # Errors
    /// NotFound for an unknown name. Unavailable for a mount that stays in use: the activation is
    /// then no longer listed, and this can be called again.
    pub fn deactivate(&self, namespace: &Namespace, name: &str) -> Result<()> {
        let inner = &*self.0;
        let _taken = inner.names.take(namespace, name);
        let row = inner.row(namespace, name)?.ok_or_else(|| not_found(name))?;
        inner.drop_activation(namespace, &row)
    }

    /// Ends the activation `id` if the name still stands for it, and says whether it did.
    ///
    /// # Errors
    /// As [`deactivate`](Self::deactivate).
    pub(crate) fn discard(&self, namespace: &Namespace, name: &str, id: u64) -> Result<bool> {
        let inner = &*self.0;
        let _taken = inner.names.take(namespace, name);
        match inner.row(namespace, name)?.filter(|row| row.id == id) {
            Some(row) => inner.drop_activation(namespace, &row).map(|()| true),
            None => Ok(false),
        }
    }

    /// One activation.
    ///
    /// # Errors
    /// NotFound for an unknown name, and for one that is not complete.
    pub fn info(&self, namespace: &Namespace, name: &str) -> Result<Activation> {
        let row = self.0.row(namespace, name)?.filter(|row| self.0.is_whole(row));
        row.map(Activation::from).ok_or_else(|| not_found(name))
    }

    /// All complete activations of a namespace, by name.
    ///
    /// # Errors
    /// Those of the database.
    pub fn list(&self, namespace: &Namespace) -> Result<Vec<Activation>> {
        let mut rows = self.0.db.read(|read| read.activations(namespace))?;
        rows.retain(|row| self.0.is_whole(row));
        Ok(rows.into_iter().map(Activation::from).collect())
    }

    fn recover(&self) -> Result<()> {
        let inner = &*self.0;
        let mut rows = inner.db.read(|read| read.all_activations())?;
        let mut ids = inner.targets.ids()?;
        let highest = rows.iter().map(|(_, row)| row.id).chain(ids.iter().copied()).max();
        inner.next.store(highest.unwrap_or(0) + 1, Ordering::Relaxed);
        rows.retain(|(namespace, row)| {
            let there = |active: &ActiveMount| inner.targets.is_there(active);
            let transient = row.name.starts_with(TRANSIENT);
            if !transient && inner.is_whole(row) && row.active.iter().all(there) {
                return true;
            }
            if let Err(error) = inner.drop_activation(namespace, row) {
                tracing::warn!("activation {:?} is left: {}", row.name, error.chain());
                return true;
            }
            false
        });
        ids.retain(|id| !rows.iter().any(|(_, row)| row.id == *id));
        for id in ids {
            if let Err(error) = inner.targets.clear(id) {
                tracing::warn!("mount points of activation {id} are left: {}", error.chain());
            }
        }
        Ok(())
    }
}

impl Inner {
    fn row(&self, namespace: &Namespace, name: &str) -> Result<Option<ActivationRow>> {
        self.db.read(|read| read.activation(namespace, name))
    }

    /// Whether a row stands for mounts that are there.
    fn is_whole(&self, row: &ActivationRow) -> bool {
        row.complete && row.boot == self.boot
    }

    /// Mounts the manager's part and completes the row.
    fn build(
        &self,
        namespace: &Namespace,
        name: &str,
        id: u64,
        cut: &Cut,
        options: &ActivateOptions,
    ) -> Result<Activation> {
        self.steps.reach("activate.row")?;
        let (active, system) = self.mount(id, cut, options.temporary)?;
        self.steps.reach("activate.mounted")?;
        let activation =
            Activation { name: name.to_owned(), active, system, labels: options.labels.clone() };
        let (namespace, stored) = (namespace.clone(), activation.clone());
        self.db.write(move |tx| tx.complete_activation(&namespace, &stored))?;
        Ok(activation)
    }

    /// Answers what was mounted and what is left for the caller.
    fn mount(&self, id: u64, cut: &Cut, temporary: bool) -> Result<(Vec<ActiveMount>, Vec<Mount>)> {
        let mut active: Vec<ActiveMount> = Vec::new();
        self.targets.make(id)?;
        for step in cut.steps.iter().take(cut.mounted) {
            let mount = transform(step, &self.context(&active))?;
            let mount_point = match active.last() {
                // One list for one place: a sub-path is below what the list has mounted so far.
                Some(last) if temporary && !mount.target.is_empty() => {
                    self.targets.mount_below(last.mount_point.as_ref(), &mount)?;
                    last.mount_point.clone()
                }
                _ => {
                    let point = self.targets.mount(id, active.len(), &mount, &active)?;
                    point.display().to_string()
                }
            };
            active.push(ActiveMount {
                mount,
                mount_point,
                mounted_at: Timestamp::now(),
                data: BTreeMap::new(),
            });
        }
        let mut rest = cut.steps.iter().skip(cut.mounted);
        let mut system = Vec::new();
        if let Some(step) = rest.next() {
            system.push(transform(step, &self.context(&active))?);
        }
        system.extend(rest.map(|step| step.mount.clone()));
        // Mounted to the end: what the caller mounts is that.
        if let (true, Some(last)) = (system.is_empty(), active.last()) {
            let read_only = last.mount.is_read_only().then_some("ro");
            let options = std::iter::once("rbind").chain(read_only);
            system.push(Mount::new("bind", &last.mount_point, options));
        }
        Ok((active, system))
    }

    fn context<'a>(&'a self, active: &'a [ActiveMount]) -> Context<'a> {
        Context { active, directories: &self.directories, images: &self.images }
    }

    /// After an error of `build`. What cannot be undone now keeps its row, incomplete, and is undone
    /// by whoever uses the name next, or at the next start.
    fn abandon(&self, namespace: &Namespace, name: &str, id: u64) {
        let (at, named) = (namespace.clone(), name.to_owned());
        let undone = self
            .targets
            .clear(id)
            .and_then(|()| self.db.write(move |tx| tx.delete_activation(&at, &named)));
        if let Err(error) = undone {
            tracing::warn!("failed activation {name:?} is left: {}", error.chain());
        }
    }

    fn drop_activation(&self, namespace: &Namespace, row: &ActivationRow) -> Result<()> {
        let (at, name) = (namespace.clone(), row.name.clone());
        if row.complete {
            self.db.write(move |tx| tx.reopen_activation(&at, &name))?;
        }
        self.steps.reach("deactivate.row")?;
        self.targets.clear(row.id)?;
        self.steps.reach("deactivate.unmounted")?;
        let (at, name) = (namespace.clone(), row.name.clone());
        self.db.write(move |tx| tx.delete_activation(&at, &name))
    }
}

/// What the name of an activation begins with that is the store's own, for the time of one operation:
/// found at the start, a crash left it.
pub(crate) const TRANSIENT: &str = "lamina-transient-";

fn not_found(name: &str) -> Error {
    Error::not_found(format!("activation {name:?}"))
}

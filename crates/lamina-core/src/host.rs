//! One host's stores in one hand: what the command line and the server are written against.

use std::fmt;
use std::sync::Arc;

use crate::Result;
use crate::container::ContainerStore;
use crate::content::ContentStore;
use crate::diff::Differ;
use crate::image::ImageStore;
use crate::layer::LayerStore;
use crate::lease::LeaseStore;
use crate::mount::MountManager;
use crate::namespace::{NamespaceStore, Scope};
use crate::sandbox::SandboxStore;
use crate::snapshot::Snapshotter;

/// Everything a host stores. A handle is cheap to make and shows what its scope may see.
pub trait Host: Send + Sync + fmt::Debug {
    /// Its namespaces.
    fn namespaces(&self) -> Arc<dyn NamespaceStore>;

    /// Blobs and ingests.
    fn content(&self, scope: &Scope) -> Arc<dyn ContentStore>;

    /// The snapshotter `name`.
    ///
    /// # Errors
    /// InvalidArgument for an empty name or one that is not loaded here, with the reason.
    fn snapshotter(&self, scope: &Scope, name: &str) -> Result<Arc<dyn Snapshotter>>;

    /// Layers on their way into the snapshotter `name`.
    ///
    /// # Errors
    /// As [`snapshotter`](Self::snapshotter); Unimplemented where layers are laid by somebody else.
    fn layers(&self, scope: &Scope, name: &str) -> Result<Arc<dyn LayerStore>>;

    /// Layers to and from mounts.
    fn differ(&self, scope: &Scope) -> Arc<dyn Differ>;

    /// Image records.
    fn images(&self, scope: &Scope) -> Arc<dyn ImageStore>;

    /// Container records.
    fn containers(&self, scope: &Scope) -> Arc<dyn ContainerStore>;

    /// Sandbox records.
    fn sandboxes(&self, scope: &Scope) -> Arc<dyn SandboxStore>;

    /// Leases.
    fn leases(&self, scope: &Scope) -> Arc<dyn LeaseStore>;

    /// The mount manager.
    fn mounts(&self, scope: &Scope) -> Arc<dyn MountManager>;
}
